//! Which ranges a reader will want, by what it wanted last time: so that a copy of all of them can be had in one read.
//! Knows nothing of what the bytes mean, nor of what the key stands for. A wrong guess costs time, and nothing else.

use super::QuickMap;
use crate::model::Addr;

/// Whose ranges; to be chosen so that the same key mostly means the same ranges.
pub type Key = (u64, Addr);

/// Another range of a scatter read costs 0.35 µs, about as much as a thousand bytes more of one (measured).
const GAP: u64 = 768;
/// A guess never grows beyond this.
const MOST_BYTES: u64 = 64 << 10;
const MOST_RANGES: usize = 48;
/// A range that was of no use so often in a row is dropped.
const IDLE: u8 = 32;
/// Keys that are remembered; beyond this the memory starts over.
const MOST_KEYS: usize = 16_384;

/// One range that was wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    pub start: Addr,
    pub length: usize,
    /// How late in its last walk it was first wanted: ranges are read in the opposite order.
    rank: u16,
    /// Walks in a row that did not want it.
    idle: u8,
}

impl Range {
    fn end(&self) -> u64 {
        self.start.0.saturating_add(self.length as u64)
    }
}

/// What was wanted, by key.
#[derive(Default)]
pub struct Predictions {
    known: QuickMap<Key, Vec<Range>>,
    /// What was wanted last with the same first half of the key: the first guess for a key that is new.
    last: QuickMap<u64, Key>,
}

impl Predictions {
    pub fn new() -> Predictions {
        Predictions::default()
    }

    /// What the reader will want, what it will want last first.
    pub fn of(&self, key: Key) -> &[Range] {
        let ranges = self.known.get(&key);
        let ranges = ranges.or_else(|| self.known.get(self.last.get(&key.0)?));
        ranges.map_or(&[], Vec::as_slice)
    }

    /// Tells how good the guess `of(key)` was: which of its ranges were wanted, in that order, and what was missing.
    pub fn learn(&mut self, key: Key, wanted: impl Fn(usize) -> bool, missed: &[(Addr, usize)]) {
        if !self.known.contains_key(&key) {
            if self.known.len() >= MOST_KEYS {
                self.known.clear();
                self.last.clear();
            }
            let guess = self.of(key).to_vec();
            self.known.insert(key, guess);
        }
        if self.last.get(&key.0) != Some(&key) {
            self.last.insert(key.0, key);
        }
        let Some(ranges) = self.known.get_mut(&key) else { return };
        let mut stale = false;
        for (place, range) in ranges.iter_mut().enumerate() {
            range.idle = if wanted(place) { 0 } else { range.idle.saturating_add(1) };
            stale |= range.idle >= IDLE;
        }
        if stale {
            ranges.retain(|range| range.idle < IDLE);
        }
        if missed.is_empty() {
            return;
        }
        for (rank, &(start, length)) in missed.iter().enumerate() {
            ranges.push(Range {
                start,
                length,
                rank: rank as u16,
                idle: 0,
            });
        }
        merge(ranges);
    }

    /// Forgets what it knows of the key, after a guess that could not be read.
    pub fn forget(&mut self, key: Key) {
        self.known.remove(&key);
        if self.last.get(&key.0) == Some(&key) {
            self.last.remove(&key.0);
        }
    }
}

/// Makes one of ranges that lie close together, and orders them: what was wanted last comes first.
fn merge(ranges: &mut Vec<Range>) {
    ranges.sort_unstable_by_key(|range| range.start);
    let mut merged: Vec<Range> = Vec::with_capacity(ranges.len());
    for range in ranges.drain(..) {
        match merged.last_mut() {
            Some(last) if range.start.0 <= last.end().saturating_add(GAP) => {
                let end = last.end().max(range.end());
                last.length = (end - last.start.0) as usize;
                last.rank = last.rank.min(range.rank);
                last.idle = last.idle.min(range.idle);
            }
            _ => merged.push(range),
        }
    }
    // What was of use lately stays, where not all can.
    merged.sort_by_key(|range| range.idle);
    let mut total = 0u64;
    merged.retain(|range| {
        total = total.saturating_add(range.length as u64);
        total <= MOST_BYTES
    });
    merged.truncate(MOST_RANGES);
    merged.sort_by_key(|range| std::cmp::Reverse(range.rank));
    *ranges = merged;
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: Key = (1, Addr(7));

    fn known(predictions: &Predictions, key: Key) -> Vec<(u64, usize)> {
        predictions.of(key).iter().map(|r| (r.start.0, r.length)).collect()
    }

    #[test]
    fn what_was_missed_is_known_the_next_time_neighbours_as_one_and_the_last_first() {
        let mut predictions = Predictions::new();
        let missed = [(Addr(0x1100), 88), (Addr(0x1000), 88), (Addr(0x9000), 88)];
        predictions.learn(KEY, |_| false, &missed);
        assert_eq!(known(&predictions, KEY), [(0x9000, 88), (0x1000, 0x100 + 88)]);
        // Another key of the same family begins with this guess; one of another family with none.
        assert_eq!(known(&predictions, (1, Addr(8))).len(), 2);
        assert!(known(&predictions, (2, Addr(7))).is_empty());
    }

    #[test]
    fn what_is_of_no_use_any_more_is_dropped() {
        let mut predictions = Predictions::new();
        predictions.learn(KEY, |_| false, &[(Addr(0x1000), 88), (Addr(0x9000), 88)]);
        for _ in 0..IDLE {
            assert_eq!(known(&predictions, KEY).len(), 2);
            let first = predictions.of(KEY)[0].start;
            predictions.learn(KEY, |place| place == 0, &[]);
            assert_eq!(predictions.of(KEY)[0].start, first);
        }
        assert_eq!(known(&predictions, KEY).len(), 1);
    }

    #[test]
    fn a_guess_has_bounds() {
        let mut predictions = Predictions::new();
        for i in 0..1000u64 {
            predictions.learn(KEY, |_| true, &[(Addr(0x10_0000 * (i + 1)), 4096)]);
        }
        let total: usize = predictions.of(KEY).iter().map(|r| r.length).sum();
        assert!(total as u64 <= MOST_BYTES && predictions.of(KEY).len() <= MOST_RANGES);
        // Addresses at the end of the space.
        predictions.learn(KEY, |_| true, &[(Addr(u64::MAX - 8), 4096)]);
    }
}
