//! A list of ranges and the bytes that were read for them, reused from read to read so that the sampling path does not
//! allocate. Knows nothing of what the bytes mean.

use super::{Fault, Memory};
use crate::model::Addr;

/// Ranges to read together. `push` gives a slot number; after `read`, `bytes(slot)` has what was there.
#[derive(Default)]
pub struct Scatter {
    ranges: Vec<(Addr, usize)>,
    starts: Vec<usize>,
    bytes: Vec<u8>,
    /// Slots that were read; a bad range in the middle costs itself only.
    good: Vec<bool>,
}

/// No caller needs more in one go; what is larger is damage.
const MOST_BYTES: usize = 64 << 20;

impl Scatter {
    pub fn new() -> Scatter {
        Scatter::default()
    }

    pub fn clear(&mut self) {
        self.ranges.clear();
        self.starts.clear();
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
        let start = self
            .starts
            .last()
            .map_or(0, |&s| s + self.ranges[self.ranges.len() - 1].1);
        self.ranges.push((at, length));
        self.starts.push(start);
        self.ranges.len() - 1
    }

    fn prepare(&mut self) -> Result<usize, Fault> {
        let total = self
            .starts
            .last()
            .map_or(0, |&s| s + self.ranges[self.ranges.len() - 1].1);
        if total > MOST_BYTES {
            return Err(Fault::Budget);
        }
        if self.bytes.len() < total {
            self.bytes.resize(total, 0);
        }
        self.good.clear();
        self.good.resize(self.ranges.len(), false);
        Ok(total)
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
}
