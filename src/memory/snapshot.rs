//! A copy of some ranges, read in one go, that is itself a `Memory`: what is walked in it is walked at the instant of
//! that read. What the copy lacks is read live, and noted, so that the caller can say whether that instant still lasted,
//! and take it along the next time. Knows nothing of what the bytes mean.

use super::{Fault, Memory, Scatter};
use crate::model::Addr;
use std::cell::{Cell, RefCell};

/// A walk that reads more than this live has nothing to do with the copy.
const MOST_MISSES: usize = 1024;
/// What is missing is read with its whole page: there are others like it nearby, and one page costs hardly more.
const PAGE: u64 = 4096;
const MOST_PAGES: usize = 64;

/// One range that answers reads.
struct Covered {
    start: u64,
    end: u64,
    /// Where its copies are: the first and, where it was read twice, the second.
    slots: [usize; 2],
    /// What the caller called it.
    name: usize,
}

/// Which copy answers reads, and what happens to those that it cannot answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Serve {
    /// The first copy; what it lacks is read live.
    FirstAndLive,
    /// The first copy alone.
    First,
    /// The second copy alone.
    Second,
}

pub struct Snapshot {
    live: Box<dyn Memory>,
    scatter: Scatter,
    covered: Vec<Covered>,
    serve: Serve,
    /// By the caller's names: wanted since `serve`.
    wanted: RefCell<Vec<bool>>,
    missed: RefCell<Vec<(Addr, usize)>>,
    pages: RefCell<Vec<(u64, Box<[u8; PAGE as usize]>)>>,
    pages_used: Cell<usize>,
    /// Where the last read was answered from.
    last: Cell<usize>,
}

impl Snapshot {
    pub fn new(live: Box<dyn Memory>) -> Snapshot {
        Snapshot {
            live,
            scatter: Scatter::new(),
            covered: Vec::new(),
            serve: Serve::First,
            wanted: RefCell::default(),
            missed: RefCell::default(),
            pages: RefCell::default(),
            pages_used: Cell::new(0),
            last: Cell::new(0),
        }
    }

    /// Forgets the copy, for the next one.
    pub fn clear(&mut self) {
        self.scatter.clear();
        self.covered.clear();
        self.pages_used.set(0);
        self.missed.get_mut().clear();
        self.wanted.get_mut().clear();
    }

    /// To add slots that answer no reads themselves.
    pub fn scatter_mut(&mut self) -> &mut Scatter {
        &mut self.scatter
    }

    /// What was read.
    pub fn scatter(&self) -> &Scatter {
        &self.scatter
    }

    /// Adds a range that answers reads; `name` is what `was_wanted` will call it.
    pub fn cover(&mut self, name: usize, start: Addr, length: usize) {
        let slot = self.scatter.push(start, length);
        self.covered.push(Covered {
            start: start.0,
            end: start.0.saturating_add(length as u64),
            slots: [slot, slot],
            name,
        });
    }

    /// Adds all ranges that answer reads a second time, in the opposite order.
    pub fn cover_again(&mut self) {
        for covered in self.covered.iter_mut().rev() {
            covered.slots[1] = self
                .scatter
                .push(Addr(covered.start), (covered.end - covered.start) as usize);
        }
    }

    /// Reads everything. True: all of it could be read.
    pub fn take(&mut self) -> Result<bool, Fault> {
        self.scatter.read_each(&*self.live)?;
        self.covered.sort_unstable_by_key(|covered| covered.start);
        let names = self.covered.iter().map(|covered| covered.name + 1).max().unwrap_or(0);
        self.wanted.get_mut().resize(names, false);
        let whole = |covered: &Covered| covered.slots.iter().all(|&slot| self.scatter.bytes(slot).is_some());
        Ok(self.covered.iter().all(whole))
    }

    /// Says which copy answers from now on.
    pub fn serve(&mut self, serve: Serve) {
        self.serve = serve;
        self.missed.get_mut().clear();
    }

    /// What the copy lacked, since `serve`.
    pub fn missed(&mut self) -> &mut Vec<(Addr, usize)> {
        self.missed.get_mut()
    }

    /// Reads answered from that range.
    pub fn was_wanted(&self, name: usize) -> bool {
        self.wanted.borrow().get(name).copied().unwrap_or(false)
    }

    /// Answers from the copy.
    fn in_copy(&self, at: u64, into: &mut [u8]) -> Option<()> {
        let end = at.checked_add(into.len() as u64)?;
        let fits = |covered: &Covered| covered.start <= at && end <= covered.end;
        let place = Some(self.last.get()).filter(|&place| self.covered.get(place).is_some_and(fits));
        let place = place.or_else(|| self.covered.partition_point(|c| c.start <= at).checked_sub(1))?;
        let covered = self.covered.get(place).filter(|covered| fits(covered))?;
        let bytes = self
            .scatter
            .bytes(covered.slots[usize::from(self.serve == Serve::Second)])?;
        let from = (at - covered.start) as usize;
        into.copy_from_slice(bytes.get(from..from + into.len())?);
        self.last.set(place);
        if let Some(wanted) = self.wanted.borrow_mut().get_mut(covered.name) {
            *wanted = true;
        }
        Some(())
    }

    /// Answers from a page that was read live before, or is now.
    fn in_page(&self, at: u64, into: &mut [u8]) -> Option<()> {
        let (start, from) = (at & !(PAGE - 1), (at & (PAGE - 1)) as usize);
        let part = from..from + into.len();
        let used = self.pages_used.get();
        let mut pages = self.pages.borrow_mut();
        if part.end > PAGE as usize || start == 0 {
            return None;
        }
        if let Some((_, bytes)) = pages.iter().take(used).find(|(page, _)| *page == start) {
            into.copy_from_slice(bytes.get(part)?);
            return Some(());
        }
        if used == MOST_PAGES {
            return None;
        }
        if used == pages.len() {
            pages.push((0, Box::new([0; PAGE as usize])));
        }
        let (page, bytes) = pages.get_mut(used)?;
        self.live.read(Addr(start), &mut bytes[..]).ok()?;
        *page = start;
        self.pages_used.set(used + 1);
        into.copy_from_slice(bytes.get(part)?);
        Some(())
    }
}

impl Memory for Snapshot {
    fn read(&self, at: Addr, into: &mut [u8]) -> Result<(), Fault> {
        if self.in_copy(at.0, into).is_some() {
            return Ok(());
        }
        let mut missed = self.missed.borrow_mut();
        if missed.len() >= MOST_MISSES {
            return Err(Fault::Budget);
        }
        missed.push((at, into.len()));
        if self.serve != Serve::FirstAndLive {
            return Err(Fault::Unmapped);
        }
        match self.in_page(at.0, into) {
            Some(()) => Ok(()),
            None => self.live.read(at, into),
        }
    }

    fn read_ranges(&self, ranges: &[(Addr, usize)], into: &mut [u8]) -> Result<usize, Fault> {
        let mut start = 0;
        for (done, &(at, length)) in ranges.iter().enumerate() {
            let Some(part) = into.get_mut(start..start + length) else {
                return Ok(done);
            };
            match self.read(at, part) {
                Ok(()) => start += length,
                Err(fault @ (Fault::Gone | Fault::Denied | Fault::Budget)) => return Err(fault),
                Err(_) => return Ok(done),
            }
        }
        Ok(ranges.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::{Image, LiveMemory};
    use crate::model::Pid;

    fn image() -> Image {
        let mut image = Image::new();
        image.put(Addr(0x1000), &[1; 64]);
        image.put(Addr(0x5000), &[5; 4096]);
        image
    }

    fn byte(snapshot: &Snapshot, at: u64) -> Result<u8, Fault> {
        let mut byte = [0];
        snapshot.read(Addr(at), &mut byte).map(|()| byte[0])
    }

    #[test]
    fn answers_from_the_copy_and_notes_what_it_lacks() {
        let mut snapshot = Snapshot::new(Box::new(image()));
        snapshot.clear();
        snapshot.cover(0, Addr(0x1000), 32);
        snapshot.cover(1, Addr(0x1020), 32);
        assert_eq!(snapshot.take(), Ok(true));
        snapshot.serve(Serve::FirstAndLive);
        assert_eq!(byte(&snapshot, 0x103f), Ok(1));
        assert_eq!((snapshot.was_wanted(0), snapshot.was_wanted(1)), (false, true));
        assert!(snapshot.missed().is_empty());
        assert_eq!(byte(&snapshot, 0x5004), Ok(5));
        assert_eq!(byte(&snapshot, 0x5abc), Ok(5));
        assert_eq!(byte(&snapshot, 0x9000), Err(Fault::Unmapped));
        assert_eq!(
            *snapshot.missed(),
            [(Addr(0x5004), 1), (Addr(0x5abc), 1), (Addr(0x9000), 1)]
        );
        snapshot.serve(Serve::First);
        assert_eq!(byte(&snapshot, 0x5004), Err(Fault::Unmapped));
        assert_eq!(byte(&snapshot, 0x1000), Ok(1));
    }

    #[test]
    fn a_range_that_cannot_be_read_costs_itself_and_is_said() {
        let mut snapshot = Snapshot::new(Box::new(image()));
        snapshot.clear();
        snapshot.cover(0, Addr(0x9000), 32);
        snapshot.cover(1, Addr(0x1000), 32);
        assert_eq!(snapshot.take(), Ok(false));
        snapshot.serve(Serve::FirstAndLive);
        assert_eq!(byte(&snapshot, 0x1000), Ok(1));
        assert_eq!(byte(&snapshot, 0x9000), Err(Fault::Unmapped));
        assert_eq!(byte(&snapshot, u64::MAX), Err(Fault::Unmapped));
    }

    #[test]
    fn a_walk_that_lives_on_misses_ends() {
        let mut snapshot = Snapshot::new(Box::new(image()));
        snapshot.clear();
        assert_eq!(snapshot.take(), Ok(true));
        snapshot.serve(Serve::FirstAndLive);
        assert!((0..MOST_MISSES).all(|_| byte(&snapshot, 0x5000) == Ok(5)));
        assert_eq!(byte(&snapshot, 0x5000), Err(Fault::Budget));
    }

    #[test]
    fn the_copies_are_of_their_instant_and_what_is_live_is_not() {
        use std::sync::atomic::{AtomicU64, Ordering};
        static CELL: AtomicU64 = AtomicU64::new(1);
        let at = Addr(CELL.as_ptr() as u64);
        let mut snapshot = Snapshot::new(Box::new(LiveMemory::open(Pid(std::process::id() as i32)).unwrap()));
        snapshot.clear();
        snapshot.cover(0, at, 8);
        snapshot.cover_again();
        assert_eq!(snapshot.take(), Ok(true));
        CELL.store(2, Ordering::SeqCst);
        for serve in [Serve::First, Serve::Second] {
            snapshot.serve(serve);
            let mut word = [0; 8];
            snapshot.read(at, &mut word).unwrap();
            assert_eq!(u64::from_le_bytes(word), 1);
        }
        snapshot.clear();
        assert_eq!(snapshot.take(), Ok(true));
        snapshot.serve(Serve::FirstAndLive);
        let mut word = [0; 8];
        snapshot.read(at, &mut word).unwrap();
        assert_eq!(u64::from_le_bytes(word), 2);
    }
}
