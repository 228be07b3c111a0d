//! Contexts in which a loop's next step is likely to run. `call_soon` and `create_task` make a context for each step, and
//! CPython keeps those that are over for the next ones (the free list of `_context_alloc` in Python/context.c), so that a few
//! dozen addresses come again and again, side by side in memory. Read along with the thread's words, a context that was
//! foreseen is proved before a step of some microseconds is over. Knows nothing of whose they are.

use crate::cpython::CONTEXT_HEAD;
use crate::memory::Scatter;
use crate::model::Addr;

/// Addresses that are remembered. Of three sessions' callbacks or tasks, ten at a time, the next was among the last 24 in 93 to
/// 97 ticks of 100, among the last 8 in 60 to 64 (3.8 to 3.13); of timers in 66.
const MOST: usize = 24;
/// Contexts so near to each other are read in one range, as what lies between costs less than another one (`memory/scatter.rs`).
const NEAR: u64 = 512;
/// Callbacks and tasks lay in two or three, timers in six: what is read must not take long itself.
const MOST_RANGES: usize = 4;
const LONGEST_RANGE: u64 = 4096;
/// After a context that was left before it could be read, they are read along for so many ticks: where steps are long, that
/// is never, and costs nothing.
const TICKS: u32 = 256;

/// What is foreseen of one thread.
#[derive(Debug, Default)]
pub(super) struct Foreseen {
    /// The last that were met, the newest first.
    contexts: Vec<Addr>,
    /// Where those lie, as of when they were asked for last.
    ranges: Vec<(Addr, usize)>,
    /// There were others since.
    is_stale: bool,
    ticks_left: u32,
}

/// Slots of a scatter read: the ranges that were asked for.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ForeseenSlots {
    first: usize,
    count: usize,
}

impl Foreseen {
    /// A step runs in this context.
    pub fn meet(&mut self, context: Addr) {
        match self.contexts.iter().position(|known| *known == context) {
            Some(place) => self.contexts[..=place].rotate_right(1),
            None => {
                self.contexts.truncate(MOST - 1);
                self.contexts.insert(0, context);
                self.is_stale = true;
            }
        }
    }

    /// A context was left before it could be read.
    pub fn came_too_late(&mut self) {
        self.ticks_left = TICKS;
    }

    /// Asks for them, where steps are short. To be called once a tick.
    pub fn push(&mut self, scatter: &mut Scatter) -> ForeseenSlots {
        let first = scatter.len();
        if self.ticks_left > 0 {
            self.ticks_left -= 1;
            // Only now: where steps are long nobody asks, however many contexts there are.
            if std::mem::take(&mut self.is_stale) {
                self.arrange();
            }
            for &(at, length) in &self.ranges {
                scatter.push(at, length);
            }
        }
        ForeseenSlots {
            first,
            count: scatter.len() - first,
        }
    }

    /// Forgets them: some of that memory may be gone.
    pub fn forget(&mut self) {
        self.contexts.clear();
        self.ranges.clear();
    }

    /// Puts neighbours together. Where they lie in too many places, those that were met last count.
    fn arrange(&mut self) {
        let mut apart = std::mem::take(&mut self.ranges);
        apart.clear();
        for &context in &self.contexts {
            let end = context.0.saturating_add(CONTEXT_HEAD as u64);
            let near = apart.iter_mut().find_map(|range| {
                let so_far = range.0.0..range.0.0.saturating_add(range.1 as u64);
                let joined = so_far.start.min(context.0)..so_far.end.max(end);
                let is_near = context.0 <= so_far.end.saturating_add(NEAR) && so_far.start <= end.saturating_add(NEAR);
                (is_near && joined.end - joined.start <= LONGEST_RANGE).then_some((range, joined))
            });
            match near {
                Some((range, joined)) => *range = (Addr(joined.start), (joined.end - joined.start) as usize),
                None => apart.push((context, CONTEXT_HEAD)),
            }
        }
        apart.truncate(MOST_RANGES);
        self.ranges = apart;
    }
}

impl ForeseenSlots {
    /// The slot that has this context's head, and how far into it; None: it was not foreseen, or could not be read.
    pub fn of(&self, context: Addr, scatter: &Scatter) -> Option<(usize, usize)> {
        (self.first..self.first + self.count).find_map(|slot| {
            let offset = context.0.checked_sub(scatter.at(slot)?.0)?;
            let offset = usize::try_from(offset).ok()?;
            let length = scatter.bytes(slot)?.len();
            (offset.checked_add(CONTEXT_HEAD)? <= length).then_some((slot, offset))
        })
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Some of it could not be read.
    pub fn is_damaged(&self, scatter: &Scatter) -> bool {
        (self.first..self.first + self.count).any(|slot| scatter.bytes(slot).is_none())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::Image;

    const END: u64 = 0xa000;

    /// Each byte is the low byte of its address; nothing is mapped from `END` on.
    fn counting() -> Image {
        let mut image = Image::new();
        let bytes: Vec<u8> = (0x1000..END).map(|at| at as u8).collect();
        image.put(Addr(0x1000), &bytes);
        image
    }

    fn read(foreseen: &mut Foreseen) -> (Scatter, ForeseenSlots) {
        let mut scatter = Scatter::new();
        scatter.push(Addr(0x1000), 8);
        let slots = foreseen.push(&mut scatter);
        scatter.read_each(&counting()).expect("readable");
        (scatter, slots)
    }

    fn of(contexts: &[u64]) -> Foreseen {
        let mut foreseen = Foreseen::default();
        contexts.iter().for_each(|&context| foreseen.meet(Addr(context)));
        foreseen.came_too_late();
        foreseen
    }

    #[test]
    fn neighbours_are_read_as_one_and_each_is_found_in_it() {
        let contexts = [0x2000, 0x2100, 0x20a0, 0x5000, 0x1f00];
        let mut foreseen = of(&contexts);
        let (scatter, slots) = read(&mut foreseen);
        assert_eq!(scatter.len(), 3, "two places beside what was asked for before");
        for context in contexts {
            let (slot, offset) = slots.of(Addr(context), &scatter).expect("foreseen");
            assert_eq!(scatter.bytes(slot).expect("read")[offset], context as u8, "{context:x}");
        }
        assert_eq!(slots.of(Addr(0x3000), &scatter), None);
        assert_eq!(slots.of(Addr(0x1000), &scatter), None, "not one of its slots");
    }

    #[test]
    fn they_are_asked_for_only_where_steps_are_short() {
        let mut foreseen = of(&[0x2000]);
        for _ in 0..TICKS {
            assert_eq!(read(&mut foreseen).0.len(), 2);
        }
        assert_eq!(read(&mut foreseen).0.len(), 1);
        foreseen.came_too_late();
        assert_eq!(read(&mut foreseen).0.len(), 2);
    }

    #[test]
    fn what_is_read_is_bounded_and_the_newest_stay() {
        let far: Vec<u64> = (0..100).map(|n| 0x1000 + 0x400 * (n % 30)).collect();
        let mut foreseen = of(&far);
        let newest = *far.last().expect("a hundred");
        let (scatter, slots) = read(&mut foreseen);
        assert!(foreseen.contexts.len() <= MOST && foreseen.ranges.len() == MOST_RANGES);
        assert!(slots.of(Addr(newest), &scatter).is_some());
        let side_by_side: Vec<u64> = (0..100).map(|n| 0x1000 + 0x100 * n).collect();
        let mut foreseen = of(&side_by_side);
        read(&mut foreseen);
        let longest = foreseen.ranges.iter().map(|range| range.1).max();
        assert!(
            longest.is_some_and(|longest| longest <= LONGEST_RANGE as usize),
            "{longest:?}"
        );
    }

    #[test]
    fn memory_that_is_gone_is_noticed() {
        let mut foreseen = of(&[0x2000, END + 0x1000]);
        let (scatter, slots) = read(&mut foreseen);
        assert!(slots.is_damaged(&scatter));
        assert!(
            slots.of(Addr(0x2000), &scatter).is_some(),
            "a bad range costs only itself"
        );
        foreseen.forget();
        let (scatter, slots) = read(&mut foreseen);
        assert!(!slots.is_damaged(&scatter));
    }
}
