//! To whom one step belongs, by whom it was seen to work for. Knows nothing of blocks, of blame or of time beyond sums.
//!
//! A step is its own context's. That may be given its session only within the step, and be given another one after that.
//! And it may enter the contexts of others: `Context.run`, a task that starts eagerly. A step that starts twenty tasks of
//! other sessions, each for a moment, is none of theirs; one in which an accepting loop's new task computes for long is
//! that task's.

use super::moment::session_of;
use crate::model::{Nanos, Sample, SessionKey};

/// At most so many sessions are told apart in one step.
const MOST: usize = 64;

/// Sessions, each with for how long, nanoseconds.
#[derive(Clone, Debug, Default)]
struct Times(Vec<(SessionKey, u64)>);

impl Times {
    fn add(&mut self, session: Option<SessionKey>, time: Nanos) {
        let Some(key) = session else { return };
        if let Some((_, nanos)) = self.0.iter_mut().find(|(known, _)| *known == key) {
            *nanos = nanos.saturating_add(time.0);
        } else if self.0.len() < MOST {
            self.0.push((key, time.0));
        }
    }

    /// Of equal ones the last.
    fn longest(&self) -> Option<(SessionKey, u64)> {
        self.0.iter().copied().max_by_key(|(_, nanos)| *nanos)
    }
}

/// Whom one step has worked for so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Workers {
    /// What the step's own context named. Before it names one, the step finds out whose it is: that counts for nobody.
    own: Times,
    /// What the contexts named that were entered within it.
    within: Times,
    /// All of it, nanoseconds.
    total: u64,
}

impl Workers {
    /// The step was seen so once more, and so much more time went by.
    pub fn add(&mut self, sample: &Sample, time: Nanos) {
        self.total = self.total.saturating_add(time.0);
        match sample.within {
            None => self.own.add(session_of(sample.owner), time),
            Some(step) => {
                self.own.add(session_of(step), time);
                // Its own context again, by another way.
                if sample.owner != step {
                    self.within.add(session_of(sample.owner), time);
                }
            }
        }
    }

    /// The one that most of the step was for, if that is one of a context that the step entered; else of those that its own
    /// context named the one that it had for longest.
    pub fn owner(&self) -> Option<SessionKey> {
        let most = self.within.longest().filter(|(_, nanos)| *nanos > self.total / 2);
        most.or_else(|| self.own.longest()).map(|(key, _)| key)
    }

    pub fn sessions(&self) -> impl Iterator<Item = SessionKey> {
        self.own.0.iter().chain(&self.within.0).map(|(key, _)| *key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Owner, State, ThreadIndex};

    const A: Owner = Owner::Session(SessionKey(1));
    const B: Owner = Owner::Session(SessionKey(2));

    fn of(seen: &[(Owner, Option<Owner>, u64)]) -> Option<SessionKey> {
        let mut workers = Workers::default();
        for &(owner, within, ms) in seen {
            let sample = Sample {
                thread: ThreadIndex(0),
                owner,
                within,
                step: Some(1),
                progress: 1,
                state: State::Runnable,
                cpu: None,
                run_delay: None,
            };
            workers.add(&sample, Nanos::from_millis(ms));
        }
        workers.owner()
    }

    #[test]
    fn a_step_is_its_own_contexts() {
        let nobody = Owner::Nobody;
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[(A, None, 9)]), Some(SessionKey(1)));
        // Middleware that finds out whose the request is.
        assert_eq!(of(&[(nobody, None, 90), (A, None, 10)]), Some(SessionKey(1)));
        // A consumer of several items.
        assert_eq!(of(&[(A, None, 90), (B, None, 10)]), Some(SessionKey(1)));
        assert_eq!(of(&[(A, None, 10), (B, None, 10)]), Some(SessionKey(2)));
    }

    #[test]
    fn what_it_starts_for_others_is_none_of_theirs_unless_it_was_most_of_it() {
        let nobody = Owner::Nobody;
        // An accepting loop that computes, then starts a session's task eagerly.
        assert_eq!(of(&[(nobody, None, 150), (A, Some(nobody), 4)]), None);
        assert_eq!(of(&[(nobody, None, 20), (A, Some(nobody), 150)]), Some(SessionKey(1)));
        // A step of A's that starts twenty tasks of others.
        let mut many = vec![(A, None, 3)];
        many.extend((10..30).map(|key| (Owner::Session(SessionKey(key)), Some(A), 8)));
        assert_eq!(of(&many), Some(SessionKey(1)));
        // The step's own context was never seen by itself.
        assert_eq!(of(&many[1..]), Some(SessionKey(1)));
        assert_eq!(of(&[(A, None, 60), (B, Some(A), 55)]), Some(SessionKey(1)));
        assert_eq!(of(&[(A, None, 60), (B, Some(A), 80)]), Some(SessionKey(2)));
        // Whose the step is could not be read: nobody is blamed for what was not most of it.
        assert_eq!(
            of(&[(A, Some(Owner::Unreadable), 40), (B, Some(Owner::Unreadable), 50)]),
            Some(SessionKey(2))
        );
        assert_eq!(
            of(&[(A, Some(Owner::Unreadable), 50), (B, Some(Owner::Unreadable), 50)]),
            None
        );
        // A context that was left before it could be seen whether it was the step's own is not taken for that.
        assert_eq!(of(&[(nobody, None, 150), (A, Some(Owner::Unreadable), 2)]), None);
        assert_eq!(
            of(&[(A, None, 150), (A, Some(Owner::Unreadable), 1)]),
            Some(SessionKey(1))
        );
        // It went into a copy of its own context.
        assert_eq!(of(&[(A, None, 10), (A, Some(A), 90)]), Some(SessionKey(1)));
    }

    #[test]
    fn it_does_not_grow() {
        let many = (0..1000).map(|key| (Owner::Session(SessionKey(key)), Some(A), 1));
        let seen: Vec<_> = many.collect();
        assert_eq!(of(&seen), Some(SessionKey(1)));
    }
}
