//! Which blocks have begun and ended since the last look: each is told once when it goes on, and once when it is over, or
//! when nobody looks any more.
//! Knows nothing of how they are told.

use crate::export::block_line::BlockEvent;
use crate::model::{Block, Cause, Nanos};
use std::collections::BTreeMap;

/// How long a block that goes on may wait for the name of who is blamed, for its place, and for who called for the garbage
/// that is collected: they come from threads of their own.
const BEGAN_PATIENCE: Nanos = Nanos(60_000_000);
/// The same of one that is over: the last word of it.
const ENDED_PATIENCE: Nanos = Nanos(1_000_000_000);

/// What was told of the blocks so far.
#[derive(Debug, Default)]
pub struct Events {
    by_id: BTreeMap<u64, Told>,
}

#[derive(Clone, Copy, Debug)]
struct Told {
    first_seen: Nanos,
    first_ms: f64,
    ended_seen: Option<Nanos>,
    /// Length as it was told when it had begun.
    began_ms: Option<f64>,
    ended: bool,
}

/// When it is looked.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    /// `CLOCK_MONOTONIC`.
    pub now: Nanos,
    /// Up to when the loop was seen, and when otop attached: `CLOCK_REALTIME`, seconds.
    pub seen_until: f64,
    pub attached: f64,
    /// Samples further apart than this are none of one stretch.
    pub gap_s: f64,
    /// Stacks come, so a place may.
    pub stacks_come: bool,
    /// Nobody looks after this: what is known is all that will be.
    pub is_last: bool,
}

impl Events {
    /// What is to be told now of these blocks, all that there are; the oldest first.
    pub fn since_last<'b>(
        &mut self,
        blocks: impl Iterator<Item = &'b Block>,
        look: &Look,
    ) -> Vec<(BlockEvent, &'b Block)> {
        let mut known = std::mem::take(&mut self.by_id);
        let mut events = Vec::new();
        for block in blocks {
            let mut told = known.remove(&block.id).unwrap_or(Told {
                first_seen: look.now,
                first_ms: block.duration_ms,
                ended_seen: None,
                began_ms: None,
                ended: false,
            });
            if let Some(event) = told.event(block, look) {
                events.push((event, block));
            }
            self.by_id.insert(block.id, told);
        }
        events.sort_by_key(|(_, block)| block.id);
        events
    }
}

impl Told {
    fn event(&mut self, block: &Block, look: &Look) -> Option<BlockEvent> {
        let is_named = block.culprit.is_none() || block.session_id.is_some();
        if !block.ongoing {
            let seen = *self.ended_seen.get_or_insert(look.now);
            let is_due = is_named || look.is_last || look.now - seen >= ENDED_PATIENCE;
            if self.ended || !is_due {
                return None;
            }
            self.ended = true;
            return Some(BlockEvent::Ended);
        }
        // Of one that goes on still when nobody looks any more, this is the last word.
        if let Some(told_ms) = self.began_ms {
            let is_longer = block.duration_ms >= told_ms + 1.0;
            return (look.is_last && is_longer).then_some(BlockEvent::Began);
        }
        let has_place = block.file.is_some() || !look.stacks_come;
        // That garbage was called for, and by whom, only the frames show.
        let has_caller = block.grounds.blamed_for != Cause::Gc || block.culprit.is_some() || !look.stacks_come;
        let is_due =
            (is_named && has_place && has_caller) || look.is_last || look.now - self.first_seen >= BEGAN_PATIENCE;
        // One that is over and waits for its last stacks stands still.
        let goes_on = block.duration_ms > self.first_ms || look.seen_until - end_of(block, look) <= look.gap_s;
        if !is_due || !goes_on {
            return None;
        }
        self.began_ms = Some(block.duration_ms);
        Some(BlockEvent::Began)
    }
}

/// `CLOCK_REALTIME` seconds.
fn end_of(block: &Block, look: &Look) -> f64 {
    block.started_at.unwrap_or(look.attached) + block.duration_ms / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{CausesMs, Grounds, SessionKey};

    const START: f64 = 1_700_000_000.0;

    /// A block of `a` that began at `START`.
    fn block(id: u64, ms: f64, ongoing: bool) -> Block {
        Block {
            id,
            culprit: Some(SessionKey::of("a")),
            grounds: Grounds::of(Cause::Cpu),
            session_id: Some("a".to_owned()),
            agent_name: None,
            tenant: None,
            step_session_id: None,
            holder_session_id: None,
            holder_thread: None,
            started_at: Some(START),
            duration_ms: ms,
            duration_is_lower_bound: false,
            ongoing,
            cause: Cause::Cpu,
            causes_ms: CausesMs::default(),
            syscall: None,
            function: None,
            file: Some("/srv/x.py".into()),
            line: None,
            stack: None,
            waiting: None,
        }
    }

    /// `ms` after the start of the block, all samples up to then being there.
    fn at(ms: u64) -> Look {
        Look {
            now: Nanos::from_millis(10_000 + ms),
            seen_until: START + ms as f64 / 1e3,
            attached: START - 10.0,
            gap_s: 0.02,
            stacks_come: true,
            is_last: false,
        }
    }

    fn told(events: &mut Events, blocks: &[Block], look: Look) -> Vec<(BlockEvent, u64)> {
        let told = events.since_last(blocks.iter(), &look);
        told.into_iter().map(|(event, block)| (event, block.id)).collect()
    }

    use BlockEvent::{Began, Ended};

    #[test]
    fn one_that_goes_on_is_told_twice_and_a_short_one_once() {
        let mut events = Events::default();
        assert_eq!(told(&mut events, &[block(1, 60.0, true)], at(61)), [(Began, 1)]);
        assert_eq!(told(&mut events, &[block(1, 110.0, true)], at(111)), []);
        // Over, and waiting for its last stacks.
        assert_eq!(told(&mut events, &[block(1, 130.0, true)], at(161)), []);
        let over = [block(2, 70.0, false), block(1, 130.0, false)];
        assert_eq!(told(&mut events, &over, at(261)), [(Ended, 1), (Ended, 2)]);
        assert_eq!(told(&mut events, &over, at(311)), []);
    }

    #[test]
    fn one_that_is_over_before_it_is_seen_does_not_begin() {
        let mut events = Events::default();
        assert_eq!(told(&mut events, &[block(1, 60.0, true)], at(100)), []);
        assert_eq!(told(&mut events, &[block(1, 60.0, true)], at(150)), []);
        assert_eq!(told(&mut events, &[block(1, 60.0, false)], at(200)), [(Ended, 1)]);
    }

    #[test]
    fn one_that_grows_goes_on_whatever_the_clocks_say() {
        let mut events = Events::default();
        assert_eq!(told(&mut events, &[block(1, 60.0, true)], at(5_000)), []);
        assert_eq!(told(&mut events, &[block(1, 110.0, true)], at(5_050)), [(Began, 1)]);
    }

    #[test]
    fn one_from_before_the_attach_counts_from_the_attach() {
        let mut events = Events::default();
        let unseen = Block {
            started_at: None,
            ..block(1, 55.0, true)
        };
        let look = Look {
            attached: START,
            ..at(56)
        };
        assert_eq!(told(&mut events, &[unseen], look), [(Began, 1)]);
    }

    #[test]
    fn a_name_and_a_place_are_waited_for_but_not_for_long() {
        let mut events = Events::default();
        let nameless = |ms, ongoing| Block {
            session_id: None,
            ..block(1, ms, ongoing)
        };
        let lost = |ms| Block {
            file: None,
            ..block(2, ms, true)
        };
        assert_eq!(told(&mut events, &[nameless(60.0, true), lost(60.0)], at(61)), []);
        assert_eq!(told(&mut events, &[nameless(90.0, true), lost(90.0)], at(91)), []);
        let both = [nameless(120.0, true), lost(120.0)];
        assert_eq!(told(&mut events, &both, at(121)), [(Began, 1), (Began, 2)]);
        assert_eq!(told(&mut events, &[nameless(130.0, false)], at(200)), []);
        assert_eq!(told(&mut events, &[nameless(130.0, false)], at(1_150)), []);
        assert_eq!(told(&mut events, &[nameless(130.0, false)], at(1_200)), [(Ended, 1)]);

        let mut events = Events::default();
        let without_stacks = Look {
            stacks_come: false,
            ..at(61)
        };
        assert_eq!(told(&mut events, &[lost(60.0)], without_stacks), [(Began, 2)]);
        let mut events = Events::default();
        let nobody = Block {
            culprit: None,
            session_id: None,
            ..block(3, 60.0, true)
        };
        assert_eq!(told(&mut events, &[nobody], at(61)), [(Began, 3)]);
    }

    #[test]
    fn who_called_for_garbage_is_waited_for_but_not_for_long() {
        let collected = |id, ms, culprit: Option<&str>| Block {
            culprit: culprit.map(SessionKey::of),
            session_id: culprit.map(str::to_owned),
            cause: Cause::Gc,
            grounds: Grounds::of(Cause::Gc),
            ..block(id, ms, true)
        };
        let mut events = Events::default();
        // It has a place, which is of a stack from before the collection.
        assert_eq!(told(&mut events, &[collected(1, 60.0, None)], at(61)), []);
        let called = [collected(1, 80.0, Some("a"))];
        assert_eq!(
            told(&mut events, &called, at(81)),
            [(Began, 1)],
            "as soon as it is known"
        );
        let mut events = Events::default();
        assert_eq!(told(&mut events, &[collected(1, 60.0, None)], at(61)), []);
        assert_eq!(told(&mut events, &[collected(1, 120.0, None)], at(121)), [(Began, 1)]);
        let mut events = Events::default();
        let without_stacks = Look {
            stacks_come: false,
            ..at(61)
        };
        assert_eq!(
            told(&mut events, &[collected(1, 60.0, None)], without_stacks),
            [(Began, 1)]
        );
    }

    #[test]
    fn the_last_look_waits_for_nothing() {
        let mut events = Events::default();
        let nameless = Block {
            session_id: None,
            ..block(1, 60.0, false)
        };
        let last = Look {
            is_last: true,
            ..at(61)
        };
        assert_eq!(told(&mut events, &[nameless], last), [(Ended, 1)]);
    }

    #[test]
    fn one_that_goes_on_to_the_end_is_told_once_more_as_far_as_it_came() {
        let last = |ms| Look {
            is_last: true,
            ..at(ms)
        };
        let mut events = Events::default();
        assert_eq!(told(&mut events, &[block(1, 60.0, true)], at(61)), [(Began, 1)]);
        assert_eq!(told(&mut events, &[block(1, 900.0, true)], at(901)), []);
        assert_eq!(told(&mut events, &[block(1, 1_500.0, true)], last(1_501)), [(Began, 1)]);
        // Nothing is said twice.
        let mut events = Events::default();
        assert_eq!(told(&mut events, &[block(1, 60.0, true)], at(61)), [(Began, 1)]);
        assert_eq!(told(&mut events, &[block(1, 60.0, true)], last(62)), []);
    }

    #[test]
    fn what_the_engine_forgets_is_forgotten() {
        let mut events = Events::default();
        told(&mut events, &[block(1, 60.0, false), block(2, 60.0, false)], at(100));
        told(&mut events, &[block(2, 60.0, false)], at(150));
        assert_eq!(events.by_id.len(), 1);
    }
}
