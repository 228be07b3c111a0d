//! Which threads there are is said once; what a batch that nobody took said of them, the next one says again. However many
//! threads come and go until somebody listens, that is no more than there were and there are. Knows nothing of channels.

use crate::model::{Batch, ThreadIndex};
use std::collections::HashSet;

/// The newest thread that anybody has been told of, by a sample too.
#[derive(Debug, Default)]
pub(super) struct Told(Option<ThreadIndex>);

impl Told {
    /// What has been told of, once this batch is taken. CPython counts its threads upwards, and gives no number twice.
    pub fn with(&self, batch: &Batch) -> Told {
        let facts = batch.threads.iter().map(|facts| facts.index);
        let newest = batch.samples.iter().map(|sample| sample.thread).chain(facts).max();
        Told(self.0.max(newest))
    }

    /// Of a batch that was not taken, what the next one has to say: of each thread that there is what was said last, and of
    /// each that ended that it did, unless it also began where nobody listened.
    pub fn again(&self, lost: Batch) -> Batch {
        let Batch {
            mut threads, mut ended, ..
        } = lost;
        let is_known = |index: ThreadIndex| Some(index) <= self.0;
        let gone: HashSet<ThreadIndex> = ended.iter().copied().filter(|&index| !is_known(index)).collect();
        ended.retain(|&index| is_known(index));
        let mut said = HashSet::new();
        threads.reverse();
        threads.retain(|facts| !gone.contains(&facts.index) && said.insert(facts.index));
        threads.reverse();
        Batch {
            threads,
            ended,
            ..Batch::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Nanos, Owner, Sample, State, ThreadFacts, Tid};

    fn facts(index: u32, is_loop: bool) -> ThreadFacts {
        ThreadFacts {
            index: ThreadIndex(index),
            tid: Tid(index as i32),
            name: "worker".to_owned(),
            is_loop,
        }
    }

    #[test]
    fn threads_that_come_and_go_unheard_are_forgotten_and_no_others() {
        let sample = Sample {
            // Its facts are not known yet.
            thread: ThreadIndex(2),
            owner: Owner::Nobody,
            within: None,
            step: None,
            progress: 0,
            state: State::Unknown,
            cpu: Some(Nanos(1)),
            run_delay: None,
        };
        let taken = Batch {
            threads: vec![facts(0, true), facts(1, false)],
            samples: vec![sample],
            ..Batch::default()
        };
        let told = Told::default().with(&taken);
        let mut batch = Batch::default();
        for round in 0..10_000 {
            // A new thread each time, which ends with the next one, and a loop that begins and ends.
            batch
                .threads
                .extend([facts(3 + round, false), facts(0, round % 2 == 0)]);
            if round > 0 {
                batch.ended.push(ThreadIndex(2 + round));
            }
            if round == 5_000 {
                batch.threads.push(facts(2, false));
                batch.ended.extend([ThreadIndex(1), ThreadIndex(2)]);
            }
            batch = told.again(batch);
            assert!(batch.threads.len() <= 3 && batch.ended.len() <= 2, "{batch:?}");
        }
        assert_eq!(batch.ended, [ThreadIndex(1), ThreadIndex(2)]);
        assert_eq!(batch.threads, [facts(2, false), facts(10_002, false), facts(0, false)]);
    }

    #[test]
    fn before_anybody_listened_every_thread_that_lives_is_said() {
        let lost = Batch {
            threads: vec![facts(0, true), facts(1, false)],
            ended: vec![ThreadIndex(0)],
            ..Batch::default()
        };
        let again = Told::default().again(lost);
        assert_eq!((again.threads, again.ended), (vec![facts(1, false)], vec![]));
    }
}
