//! A list of ranges and the bytes that were read for them, reused from read to read so that the sampling path does not
//! allocate. Knows nothing of what the bytes mean.

use super::{Fault, Memory};
use crate::model::Addr;

/// Ranges to read together. `push` gives a slot number; after a read, `bytes(slot)` has what was there.
#[derive(Default)]
pub struct Scatter {
    ranges: Vec<(Addr, usize)>,
    /// Where each slot's bytes begin; set by a read.
    starts: Vec<usize>,
    bytes: Vec<u8>,
    /// Slots that were read; a bad range in the middle costs itself only.
    good: Vec<bool>,
    /// The slots by address, and what they come to where neighbours are read as one.
    by_address: Vec<u32>,
    merged: Vec<(Addr, usize)>,
    /// Of each merged range, where in `by_address` its slots end.
    last: Vec<usize>,
}

/// No caller needs more in one go; what is larger is damage.
const MOST_BYTES: usize = 64 << 20;
/// So many bytes between two ranges cost less than another range does: some 0.3 µs of the kernel's time, in which it
/// copies a few kilobytes (measured, Linux 6.18). Less than a page, so that none is touched that nobody asked for.
const NEAR: u64 = 1024;
/// A merged range is no longer than this, so that a bad one among many costs little.
const MOST_MERGED: u64 = 64 << 10;

impl Scatter {
    pub fn new() -> Scatter {
        Scatter::default()
    }

    pub fn clear(&mut self) {
        self.ranges.clear();
        self.good.clear();
    }

    pub fn len(&self) -> usize {
        self.ranges.len()
    }

    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// Asks for `length` bytes at `at`.
    pub fn push(&mut self, at: Addr, length: usize) -> usize {
        self.ranges.push((at, length));
        self.ranges.len() - 1
    }

    /// What is asked for: where, and how many bytes.
    pub fn ranges(&self) -> &[(Addr, usize)] {
        &self.ranges
    }

    /// Takes what somebody else has read: the bytes of each slot, where they could be.
    pub fn fill<'b>(&mut self, read: impl Fn(usize) -> Option<&'b [u8]>) -> Result<(), Fault> {
        self.prepare()?;
        for slot in 0..self.ranges.len() {
            let (start, length) = (self.starts[slot], self.ranges[slot].1);
            if let Some(bytes) = read(slot).filter(|bytes| bytes.len() == length) {
                self.bytes[start..start + length].copy_from_slice(bytes);
                self.good[slot] = true;
            }
        }
        Ok(())
    }

    /// Where a slot's bytes are asked for.
    pub fn at(&self, slot: usize) -> Option<Addr> {
        self.ranges.get(slot).map(|(at, _)| *at)
    }

    fn prepare(&mut self) -> Result<usize, Fault> {
        self.starts.clear();
        let mut total = 0usize;
        for &(_, length) in &self.ranges {
            self.starts.push(total);
            total = total.saturating_add(length);
        }
        self.make_room(total)?;
        Ok(total)
    }

    fn make_room(&mut self, total: usize) -> Result<(), Fault> {
        if total > MOST_BYTES {
            return Err(Fault::Budget);
        }
        if self.bytes.len() < total {
            self.bytes.resize(total, 0);
        }
        self.good.clear();
        self.good.resize(self.ranges.len(), false);
        Ok(())
    }

    /// Reads all ranges, in as many goes as there are bad ones among them: not one instant, but a bad range costs only
    /// itself.
    pub fn read_each(&mut self, memory: &dyn Memory) -> Result<(), Fault> {
        let total = self.prepare()?;
        let mut next = 0;
        while next < self.ranges.len() {
            let into = &mut self.bytes[self.starts[next]..total];
            let whole = memory.read_ranges(&self.ranges[next..], into)?;
            self.good[next..next + whole].fill(true);
            next += whole + 1;
        }
        Ok(())
    }

    /// Reads all ranges as `read_each` does, but in the order of their addresses, and with what lies between near ones:
    /// for many objects that were allocated side by side. Nothing is said of the order in time.
    pub fn read_near(&mut self, memory: &dyn Memory) -> Result<(), Fault> {
        let total = self.merge();
        self.make_room(total)?;
        let (mut next, mut start, mut slots) = (0, 0, 0..0);
        while next < self.merged.len() {
            let whole = memory.read_ranges(&self.merged[next..], &mut self.bytes[start..total])?;
            for place in next..(next + whole + 1).min(self.merged.len()) {
                let ((at, length), last) = (self.merged[place], self.last[place]);
                slots = slots.end..last;
                for slot in self.by_address[slots.clone()].iter().map(|&slot| slot as usize) {
                    self.starts[slot] = start + (self.ranges[slot].0.0 - at.0) as usize;
                    self.good[slot] = place < next + whole;
                }
                start += length;
            }
            next += whole + 1;
        }
        // Of a merged range that is not whole each slot is read by itself.
        for slot in 0..self.ranges.len() {
            if !self.good[slot] {
                let (at, length) = self.ranges[slot];
                let into = &mut self.bytes[self.starts[slot]..][..length];
                self.good[slot] = memory.read_ranges(&[(at, length)], into)? == 1;
            }
        }
        Ok(())
    }

    /// Sorts the slots by address and fills `merged`; returns the sum of the lengths.
    fn merge(&mut self) -> usize {
        self.starts.clear();
        self.starts.resize(self.ranges.len(), 0);
        self.by_address.clear();
        self.by_address.extend(0..self.ranges.len() as u32);
        let ranges = &self.ranges;
        self.by_address.sort_unstable_by_key(|&slot| ranges[slot as usize].0);
        self.merged.clear();
        self.last.clear();
        let mut total = 0usize;
        for (place, &slot) in self.by_address.iter().enumerate() {
            let (at, length) = self.ranges[slot as usize];
            let end = at.0.saturating_add(length as u64);
            match self.merged.last_mut() {
                Some((first, so_far))
                    if at.0 <= first.0.saturating_add(*so_far as u64).saturating_add(NEAR)
                        && end.saturating_sub(first.0) <= MOST_MERGED =>
                {
                    let longer = ((end - first.0) as usize).max(*so_far);
                    total = total.saturating_add(longer - *so_far);
                    *so_far = longer;
                    if let Some(last) = self.last.last_mut() {
                        *last = place + 1;
                    }
                }
                _ => {
                    self.merged.push((at, length));
                    self.last.push(place + 1);
                    total = total.saturating_add(length);
                }
            }
        }
        total
    }

    /// The bytes of a slot; None where they could not be read.
    pub fn bytes(&self, slot: usize) -> Option<&[u8]> {
        if !*self.good.get(slot)? {
            return None;
        }
        self.bytes
            .get(self.starts[slot]..self.starts[slot] + self.ranges[slot].1)
    }

    /// The little-endian word at `offset` of a slot.
    pub fn u64(&self, slot: usize, offset: usize) -> Option<u64> {
        let bytes = self.bytes(slot)?.get(offset..offset + 8)?;
        Some(u64::from_le_bytes(bytes.try_into().ok()?))
    }

    /// The pointer at `offset` of a slot.
    pub fn pointer(&self, slot: usize, offset: usize) -> Option<Addr> {
        self.u64(slot, offset).map(Addr)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::Image;

    #[test]
    fn a_bad_range_costs_only_itself() {
        let mut image = Image::new();
        image.put(Addr(0x1000), &1u64.to_le_bytes());
        image.put(Addr(0x3000), &3u64.to_le_bytes());
        let mut scatter = Scatter::new();
        for at in [0x1000, 0x2000, 0x3000] {
            scatter.push(Addr(at), 8);
        }
        scatter.read_each(&image).unwrap();
        assert_eq!(
            (scatter.u64(0, 0), scatter.u64(1, 0), scatter.u64(2, 0)),
            (Some(1), None, Some(3))
        );
    }

    #[test]
    fn what_somebody_else_has_read_is_taken_slot_by_slot() {
        let mut scatter = Scatter::new();
        for length in [2, 3, 4] {
            scatter.push(Addr(0x1000), length);
        }
        let read: [Option<&[u8]>; 3] = [Some(&[1, 2]), None, Some(&[1, 2, 3])];
        scatter.fill(|slot| read[slot]).unwrap();
        // The last one is too short.
        assert_eq!(
            [0, 1, 2].map(|slot| scatter.bytes(slot)),
            [Some(&[1, 2][..]), None, None]
        );
    }

    /// Whatever the ranges are, near, far, overlapping, empty, unmapped: each slot has what `read_each` gives it.
    #[test]
    fn neighbours_that_are_read_as_one_are_what_they_are_alone() {
        let mut image = Image::new();
        for page in [0x1000u64, 0x2000, 0x2c00, 0x9000, 0x10_0000] {
            let bytes: Vec<u8> = (0..0x400u64).map(|i| (page / 0x100 + i * 7) as u8).collect();
            image.put(Addr(page), &bytes);
        }
        let asked = [
            (0x2010, 16),
            (0x1000, 8),
            (0x10_0000, 0x400),
            (0x1008, 24),
            (0x1010, 8),
            (0x1400, 8),
            (0x23f8, 16),
            (0x2c00, 8),
            (0x2020, 0),
            (0x5000, 0),
            (u64::MAX - 4, 16),
            (0x9100, 8),
            (0x1100, 8),
            (0x1100, 8),
        ];
        let (mut near, mut each) = (Scatter::new(), Scatter::new());
        for _ in 0..2 {
            near.clear();
            each.clear();
            for (at, length) in asked {
                near.push(Addr(at), length);
                each.push(Addr(at), length);
            }
            near.read_near(&image).unwrap();
            each.read_each(&image).unwrap();
            for (slot, what) in asked.iter().enumerate() {
                assert_eq!(near.bytes(slot), each.bytes(slot), "{what:x?}");
            }
            assert_eq!(near.bytes(2).map(<[u8]>::len), Some(0x400));
            assert!(near.merged.len() < 8, "{:x?}", near.merged);
        }
    }
}
