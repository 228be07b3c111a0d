//! How fast to take samples: as fast as was asked for, and less where the machine is too busy to keep that. Knows nothing
//! of what is sampled.

use crate::model::Nanos;

/// Judged so often.
const EVERY: Nanos = Nanos(1_000_000_000);
/// More than one tick in so many that came a period late: the rate is not kept.
const HINDERED: u32 = 10;
/// Fewer than one in so many: it is.
const KEPT: u32 = 100;
/// After so many good stretches in a row the next higher rate is tried again.
const GOOD: u32 = 5;
/// It is halved so often at most.
const HALVINGS: u32 = 5;

/// Follows one schedule.
#[derive(Debug)]
pub(super) struct Pace {
    asked_hz: f64,
    halvings: u32,
    began: Nanos,
    taken: u32,
    hindered: u32,
    good: u32,
}

impl Pace {
    pub fn new(asked_hz: f64, now: Nanos) -> Pace {
        Pace {
            asked_hz,
            halvings: 0,
            began: now,
            taken: 0,
            hindered: 0,
            good: 0,
        }
    }

    /// Takes one tick, and how many periods had gone by without one just before it. Returns the rate to go on with, where
    /// that is another one. A single long pause, in which the machine was stopped or stolen, is no reason to go slower.
    pub fn tick(&mut self, missed: u32, now: Nanos) -> Option<f64> {
        self.taken += 1;
        self.hindered += u32::from(missed > 0);
        if now - self.began < EVERY {
            return None;
        }
        let (taken, hindered) = (self.taken, self.hindered);
        (self.began, self.taken, self.hindered) = (now, 0, 0);
        self.good = if hindered.saturating_mul(KEPT) < taken {
            self.good + 1
        } else {
            0
        };
        if hindered > 1 && hindered.saturating_mul(HINDERED) > taken && self.halvings < HALVINGS {
            self.halvings += 1;
        } else if self.good >= GOOD && self.halvings > 0 {
            self.halvings -= 1;
        } else {
            return None;
        }
        self.good = 0;
        Some(self.asked_hz / f64::from(1 << self.halvings))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A second of ticks at this rate, of which one in `of` comes late; what was said at its end.
    fn second(pace: &mut Pace, now: &mut u64, hz: u64, of: u64) -> Option<f64> {
        let mut said = None;
        for tick in 0..=hz {
            *now += 1_000_000_000 / hz;
            let late = of > 0 && tick % of == 0;
            said = pace.tick(u32::from(late), Nanos(*now)).or(said);
        }
        said
    }

    #[test]
    fn what_is_not_kept_is_lowered_and_tried_again() {
        let (mut now, mut pace) = (0, Pace::new(1000.0, Nanos::ZERO));
        assert_eq!(second(&mut pace, &mut now, 1000, 0), None);
        assert_eq!(second(&mut pace, &mut now, 1000, 4), Some(500.0));
        assert_eq!(second(&mut pace, &mut now, 500, 4), Some(250.0));
        let calm: Vec<_> = (0..6).map(|_| second(&mut pace, &mut now, 250, 0)).collect();
        assert!(calm.contains(&Some(500.0)) && !calm.contains(&Some(1000.0)), "{calm:?}");
    }

    #[test]
    fn it_never_gives_up() {
        let (mut now, mut pace) = (0, Pace::new(1000.0, Nanos::ZERO));
        let said: Vec<_> = (0..20).filter_map(|_| second(&mut pace, &mut now, 30, 2)).collect();
        assert_eq!(said.last(), Some(&31.25));
        assert_eq!(said.len(), 5);
    }

    #[test]
    fn one_long_pause_is_no_reason() {
        let mut pace = Pace::new(1000.0, Nanos::ZERO);
        assert_eq!(pace.tick(3_000, Nanos(3_000_000_000)), None);
    }
}
