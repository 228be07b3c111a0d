//! How late the ticks were: a histogram with buckets of about 3 %, so that slices can be added up and stay small.
//! Knows nothing of why they were late.

use crate::model::Nanos;

/// Sub-buckets of each power of two.
const SUB_BUCKETS: u64 = 32;

/// Counts by bucket, sorted; only buckets that were hit take room.
#[derive(Clone, Debug, Default)]
pub(super) struct Lateness {
    counts: Vec<(u16, u64)>,
}

impl Lateness {
    pub fn add(&mut self, late: Nanos) {
        self.add_to(bucket(late.0), 1);
    }

    pub fn merge(&mut self, other: &Lateness) {
        for (bucket, count) in &other.counts {
            self.add_to(*bucket, *count);
        }
    }

    /// The lateness that 99 % of the ticks did not exceed, microseconds; None without ticks.
    pub fn p99_us(&self) -> Option<f64> {
        let all: u64 = self.counts.iter().map(|(_, count)| count).sum();
        let wanted = all - all / 100;
        let mut so_far = 0;
        for (bucket, count) in &self.counts {
            so_far += count;
            if so_far >= wanted {
                return Some(middle(*bucket) / 1e3);
            }
        }
        None
    }

    fn add_to(&mut self, bucket: u16, count: u64) {
        match self.counts.binary_search_by_key(&bucket, |(b, _)| *b) {
            Ok(found) => self.counts[found].1 += count,
            Err(place) => self.counts.insert(place, (bucket, count)),
        }
    }

    #[cfg(test)]
    pub fn entries(&self) -> usize {
        self.counts.len()
    }
}

/// Below `SUB_BUCKETS` each value is its own bucket; above, the top bits of the value are.
fn bucket(nanos: u64) -> u16 {
    if nanos < SUB_BUCKETS {
        return nanos as u16;
    }
    let shift = nanos.ilog2() - SUB_BUCKETS.ilog2();
    (u64::from(shift) * SUB_BUCKETS + (nanos >> shift)) as u16
}

/// The value in the middle of a bucket, nanoseconds.
fn middle(bucket: u16) -> f64 {
    let bucket = u64::from(bucket);
    if bucket < 2 * SUB_BUCKETS {
        return bucket as f64;
    }
    let shift = bucket / SUB_BUCKETS - 1;
    let top = bucket - shift * SUB_BUCKETS;
    (top as f64 + 0.5) * 2f64.powi(shift as i32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_is_within_three_percent_of_its_values() {
        for value in (0..64).flat_map(|bit| [1u64 << bit, (1u64 << bit) + (1u64 << bit) / 3, u64::MAX >> (63 - bit)]) {
            let back = middle(bucket(value));
            assert!(
                (back - value as f64).abs() <= value as f64 * 0.032,
                "{value} came back as {back}"
            );
        }
    }

    #[test]
    fn p99_leaves_one_percent_above() {
        let mut lateness = Lateness::default();
        assert_eq!(lateness.p99_us(), None);
        for _ in 0..990 {
            lateness.add(Nanos(10_000));
        }
        for _ in 0..10 {
            lateness.add(Nanos(900_000));
        }
        assert!((lateness.p99_us().unwrap() - 10.0).abs() < 0.4);
        lateness.add(Nanos(900_000));
        assert!((lateness.p99_us().unwrap() - 900.0).abs() < 30.0);
    }

    #[test]
    fn adding_two_is_adding_all_their_ticks() {
        let (mut one, mut other) = (Lateness::default(), Lateness::default());
        one.add(Nanos(5_000));
        for _ in 0..200 {
            other.add(Nanos(70_000));
        }
        one.merge(&other);
        assert!((one.p99_us().unwrap() - 70.0).abs() < 2.5);
    }
}
