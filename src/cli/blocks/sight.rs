//! How short a block may be and still be seen, while blocks are followed: what has to be said when that is worse than what
//! was asked for, and for how long it was. Silence must not be taken for a loop that was never blocked. Knows nothing of why
//! samples are missing.

use crate::cli::arguments::values::written;
use crate::cli::wire::TICKS_IN_A_BLOCK;
use crate::model::Nanos;
use crate::view::stretch;
use std::time::Duration;

/// Two words are no closer together: on a machine that is just about too busy it changes all the time.
const BETWEEN_WORDS: Nanos = Nanos(5_000_000_000);

/// Within a hundredth it is the same length: three periods of 30 Hz are 100 ms, give or take a nanosecond.
const SAME: f64 = 1.01;

/// What is seen of blocks, from the first look to the last.
#[derive(Debug)]
pub struct Sight {
    /// What was asked for: `--slow-threshold`, `--rate`, `--fail-on`.
    threshold: Nanos,
    rate_hz: f64,
    limit: Option<Duration>,
    /// The shortest block of which was spoken last, and when.
    said: Nanos,
    said_at: Option<Nanos>,
    began: Nanos,
    looked: Nanos,
    shortest: Nanos,
    /// For how long blocks that would have met the limit could not be seen, and which were the shortest that could at the
    /// worst of that time.
    blind: Nanos,
    worst: Nanos,
}

/// What cannot be seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Missed {
    Nothing,
    /// Blocks that would have been told.
    Some,
    /// Blocks that would have met the limit.
    Limit,
}

impl Sight {
    pub fn of(threshold: Nanos, rate_hz: f64, limit: Option<Duration>, now: Nanos) -> Sight {
        Sight {
            threshold,
            rate_hz,
            limit,
            said: threshold,
            said_at: None,
            began: now,
            looked: now,
            shortest: threshold,
            blind: Nanos::ZERO,
            worst: Nanos::ZERO,
        }
    }

    /// Takes note of the shortest block that can be seen now; what is to be said of it.
    pub fn look(&mut self, now: Nanos, shortest: Nanos) -> Option<String> {
        if self.missed(self.shortest) == Missed::Limit {
            self.blind += now - self.looked;
            self.worst = self.worst.max(self.shortest);
        }
        (self.looked, self.shortest) = (now, shortest);
        let missed = self.missed(shortest);
        let is_news = missed != self.missed(self.said) || (missed != Missed::Nothing && shortest.0 >= 2 * self.said.0);
        let is_soon = self.said_at.is_some_and(|at| now - at < BETWEEN_WORDS);
        if !is_news || is_soon {
            return None;
        }
        (self.said, self.said_at) = (shortest, Some(now));
        Some(self.word(missed))
    }

    /// What has to be said at the end, where the limit was not met.
    pub fn last_word(&self) -> Option<String> {
        let limit = self.limit.filter(|_| self.blind > Nanos::ZERO)?;
        let [blind, all, worst] = [self.blind, self.looked - self.began, self.worst].map(Nanos::as_millis_f64);
        Some(format!(
            "--fail-on {} was not met by what was seen, but for {} of {} no block under {} could be seen",
            written(limit),
            stretch(blind),
            stretch(all),
            stretch(worst)
        ))
    }

    fn missed(&self, shortest: Nanos) -> Missed {
        let is_over = |wanted: Nanos| shortest.0 as f64 > wanted.0 as f64 * SAME;
        match self.limit {
            Some(limit) if is_over(limit.into()) => Missed::Limit,
            _ if is_over(self.threshold) => Missed::Some,
            _ => Missed::Nothing,
        }
    }

    fn word(&self, missed: Missed) -> String {
        let from = stretch(self.shortest.as_millis_f64());
        let so = match (missed, self.limit) {
            (Missed::Nothing, _) => {
                let threshold = written(self.threshold.into());
                return format!("blocks of {threshold} and longer can be seen again");
            }
            (Missed::Limit, Some(limit)) => format!(", so --fail-on {} could be met unseen", written(limit)),
            _ => String::new(),
        };
        let by_itself = TICKS_IN_A_BLOCK as f64 * 1e3 / self.rate_hz;
        match by_itself * SAME >= self.shortest.as_millis_f64() {
            true => {
                let threshold = Duration::from(self.threshold);
                let (rate, needed) = (self.rate_hz, rate_for(threshold));
                format!("no block under {from} can be seen at --rate {rate}{so}; try: --rate {needed}")
            }
            false => format!(
                "no block under {from} can be seen now, for the machine leaves too few of {} samples a second{so}",
                self.rate_hz
            ),
        }
    }
}

/// The lowest rate at which a block of this length is seen, whole.
pub fn rate_for(block: Duration) -> f64 {
    (TICKS_IN_A_BLOCK as f64 / block.as_secs_f64() / SAME).ceil()
}

/// Whether a block of this length is seen at a rate, if that is got.
pub fn is_seen_at(block: Duration, rate_hz: f64) -> bool {
    block.as_secs_f64() * rate_hz * SAME >= TICKS_IN_A_BLOCK as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Nanos {
        Nanos::from_millis(ms)
    }

    fn sight(limit: Option<u64>, rate_hz: f64) -> Sight {
        Sight::of(ms(50), rate_hz, limit.map(Duration::from_millis), Nanos::ZERO)
    }

    #[test]
    fn what_cannot_be_seen_is_said_when_it_begins_and_when_it_is_over() {
        let mut sight = sight(Some(100), 1000.0);
        assert_eq!(sight.look(ms(1_000), ms(50)), None);
        let word = sight.look(ms(2_000), ms(75)).expect("it is worse than the threshold");
        assert_eq!(
            word,
            "no block under 75 ms can be seen now, for the machine leaves too few of 1000 samples a second"
        );
        assert_eq!(sight.last_word(), None, "the limit can be seen to be met");
        assert_eq!(sight.look(ms(3_000), ms(300)), None, "soon after a word");
        assert_eq!(sight.look(ms(6_000), ms(300)), None);
        let word = sight.look(ms(7_000), ms(300)).expect("worse than the limit");
        assert!(word.starts_with("no block under 300 ms can be seen now"), "{word}");
        assert!(word.ends_with(", so --fail-on 100ms could be met unseen"), "{word}");
        assert_eq!(sight.look(ms(9_000), ms(50)), None);
        let word = sight.look(ms(12_000), ms(50)).expect("it is back");
        assert_eq!(word, "blocks of 50ms and longer can be seen again");
        assert_eq!(
            sight.last_word().as_deref(),
            Some(
                "--fail-on 100ms was not met by what was seen, but for 6.0 s of 12.0 s no block under 300 ms could be seen"
            )
        );
    }

    #[test]
    fn a_low_rate_is_the_users_own_and_a_higher_one_mends_it() {
        let mut sight = sight(None, 10.0);
        assert_eq!(
            sight.look(ms(20), ms(300)).as_deref(),
            Some("no block under 300 ms can be seen at --rate 10; try: --rate 60")
        );
        assert_eq!(sight.look(ms(9_000), ms(300)), None, "once is enough");
        let word = sight.look(ms(10_000), ms(600)).expect("twice as bad");
        assert!(word.contains("600 ms") && word.contains("the machine"), "{word}");
        assert_eq!(sight.last_word(), None, "no limit");
    }

    #[test]
    fn three_samples_make_a_block() {
        let limit = Duration::from_millis(100);
        assert!(is_seen_at(limit, 30.0) && !is_seen_at(limit, 29.0));
        for length in [1, 7, 50, 100, 333, 60_000] {
            let length = Duration::from_millis(length);
            assert!(is_seen_at(length, rate_for(length)), "{length:?}");
        }
        let mut sight = sight(Some(100), 30.0);
        let word = sight
            .look(ms(20), Nanos(100_000_002))
            .expect("blocks of 50 ms are not seen");
        assert!(!word.contains("--fail-on"), "{word}");
    }
}
