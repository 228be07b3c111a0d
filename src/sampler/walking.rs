//! The walker thread: how often to walk, whether the worker is stopped for it, and how often to look whether loops make
//! progress. Knows nothing of what is read then.

use super::{ended, monotonic, own_cpu, scheduling};
use crate::memory::Fault;
use crate::model::{Census, Ending, Nanos, Observation, Pause};
use crate::process::{self, Holds, PauseError, ProcessError, Sameness, WhilePaused, privilege};
use crate::source::{Broken, Plan, Walker};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SendError, SyncSender};
use std::thread;
use std::time::Duration;

/// A session is to show, and to be gone, within a second: two walks, and time to draw.
const EVERY: Duration = Duration::from_millis(350);
/// A walk may take this share of the time at most, and hold the worker for as much; a program with very many tasks is walked
/// less often.
const SHARE: u32 = 20;
/// The longest pause, for programs with a hundred thousand tasks.
const LONGEST: Duration = Duration::from_secs(5);

/// The longest that the worker is held for a walk: that of some ten thousand tasks that were never met takes half of it. One
/// that takes longer goes on as the worker does, like any without a pause.
pub(super) const HELD_AT_MOST: Duration = Duration::from_millis(250);
/// After a pause that was refused, or was too short, the worker is left alone for so long; after each further one for twice
/// as long as before,
const LEFT_ALONE: Nanos = Nanos(1_000_000_000);
/// but for no longer than this.
const LEFT_ALONE_AT_MOST: Nanos = Nanos(30_000_000_000);

/// Between the walks, the loops are looked at so often: a block of the threshold (50 ms) is seen twice while it lasts.
const WATCH: Duration = Duration::from_millis(25);

/// Walks, and between the walks watches the loops, until told to stop or the worker ends. `pauses`: the worker is stopped
/// for each walk, and this is told of it.
pub fn run(mut walker: Walker, plan: &Plan, pauses: Option<&Holds>, to: &SyncSender<Observation>, stop: &AtomicBool) {
    let mut pauses = pauses.map(Pauses::new);
    if pauses.is_some() {
        // Those that walk, and those that hold the worker meanwhile, are its children.
        scheduling::go_first_with_children();
    }
    privilege::only_read();
    let mut next_walk = monotonic();
    while !stop.load(Ordering::Relaxed) {
        let seen = match monotonic() >= next_walk {
            true => walk(&mut walker, plan, pauses.as_mut(), to).map(|pause| next_walk = monotonic() + pause),
            false => watch(&mut walker, plan, to),
        };
        match seen {
            Ok(()) => {}
            Err(End::Worker(detail)) => return ended(plan, &detail, to),
            Err(End::Said(ending)) => {
                let _ = to.send(Observation::Ended(ending));
                return;
            }
            Err(End::Nobody) => return,
        }
        std::thread::park_timeout(WATCH.min(Duration::from(next_walk - monotonic())));
    }
}

/// Why there is nothing more to do.
enum End {
    /// The worker can no longer be read.
    Worker(String),
    Said(Ending),
    /// Nobody listens.
    Nobody,
}

impl From<SendError<Observation>> for End {
    fn from(_: SendError<Observation>) -> End {
        End::Nobody
    }
}

/// Walks once. Returns for how long not to walk again.
fn walk(
    walker: &mut Walker,
    plan: &Plan,
    pauses: Option<&mut Pauses>,
    to: &SyncSender<Observation>,
) -> Result<Nanos, End> {
    // A worker that ended and whose number was given out again would be read by `process_vm_readv` without a word.
    if plan.fingerprint.still_same() != Sameness::Same {
        return Err(End::Worker(String::new()));
    }
    let (walked, took, pause) = match pauses {
        Some(pauses) => pauses.walk(walker, plan)?,
        None => {
            let (walked, took) = timed(|| walker.walk(monotonic));
            (walked, took, None)
        }
    };
    match walked {
        Ok(census) => {
            to.send(Observation::Census(Box::new(Census { pause, ..census })))?;
            Ok((took * SHARE).clamp(EVERY, LONGEST).into())
        }
        Err(Broken::Fault(fault @ (Fault::Gone | Fault::Denied))) => Err(End::Worker(fault.to_string())),
        // The worker changed under the walk: the next one will do.
        Err(Broken::Fault(_)) => Ok(EVERY.into()),
        Err(Broken::Refused(refused)) => Err(End::Said(Ending::Lost(format!("layout refused: {refused}")))),
    }
}

/// What a walk saw, what it took of a CPU or of the worker's time, and what became of the pause.
type Walked = (Result<Census, Broken>, Duration, Option<Pause>);

/// Walks in pauses, as long as there may be any.
struct Pauses<'a> {
    holds: &'a Holds,
    refusals: Refusals,
}

/// Why, and until when, the worker is left alone.
#[derive(Default)]
struct Refusals {
    last: Option<(String, Nanos)>,
    in_a_row: u32,
}

impl Refusals {
    fn note(&mut self, why: String, now: Nanos) {
        let doubled = LEFT_ALONE.0 << self.in_a_row.min(16);
        self.in_a_row = self.in_a_row.saturating_add(1);
        self.last = Some((why, now + Nanos(doubled).min(LEFT_ALONE_AT_MOST)));
    }

    /// Why the worker is to be left alone at `now`.
    fn at(&self, now: Nanos) -> Option<&str> {
        let (why, until) = self.last.as_ref()?;
        (now < *until).then_some(why)
    }
}

impl Pauses<'_> {
    fn new(holds: &Holds) -> Pauses<'_> {
        Pauses {
            holds,
            refusals: Refusals::default(),
        }
    }

    /// Walks while the worker is stopped; where that may not be (a debugger came), while it runs.
    fn walk(&mut self, walker: &mut Walker, plan: &Plan) -> Result<Walked, End> {
        let mut held = None;
        let mut walked = None;
        if self.refusals.at(monotonic()).is_none() {
            let stopped = walker.is_stopped();
            let work = || timed(|| walker.walk_in(stopped, monotonic));
            match process::while_paused(plan.pid, self.holds, HELD_AT_MOST, work) {
                Ok(WhilePaused {
                    result,
                    held: for_so_long,
                    whole,
                }) => {
                    held = Some(for_so_long);
                    walked = Some(result);
                    match whole {
                        true => self.refusals = Refusals::default(),
                        false => {
                            let most = HELD_AT_MOST.as_millis();
                            let why =
                                format!("the walk took longer than {most} ms, for which the worker is held at most");
                            self.refusals.note(why, monotonic());
                        }
                    }
                }
                Err(PauseError::Process(ProcessError::Gone(_))) => return Err(End::Worker(String::new())),
                Err(refused) => self.refusals.note(refused.to_string(), monotonic()),
            }
        }
        let (census, took) = walked.unwrap_or_else(|| as_anyone(|| timed(|| walker.walk(monotonic))));
        let pause = Pause {
            held: held.map(Nanos::from),
            longest: self.holds.longest(),
            refused: self.refusals.at(monotonic()).map(str::to_owned),
        };
        Ok((census, took.max(held.unwrap_or_default()), Some(pause)))
    }
}

/// Does `work` on a thread that does not go first: nobody waits for it.
fn as_anyone<T: Send>(mut work: impl FnMut() -> T + Send) -> T {
    let done = thread::scope(|scope| {
        let ordinary = || {
            scheduling::go_with_all();
            work()
        };
        let walking = thread::Builder::new().name("otop-walk".to_owned());
        let walking = walking.spawn_scoped(scope, ordinary).ok()?;
        Some(walking.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    });
    // Where no thread can be started, this one does.
    done.unwrap_or_else(work)
}

/// `work`, and what it used of a CPU. Not the clock on the wall: on a loaded machine a walk that had to wait for a CPU is
/// no reason to look less often.
fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let before = own_cpu();
    let done = work();
    (done, Duration::from(own_cpu() - before))
}

/// Looks once whether the loops make progress.
fn watch(walker: &mut Walker, plan: &Plan, to: &SyncSender<Observation>) -> Result<(), End> {
    match walker.watch(monotonic) {
        Ok(waiting) => {
            if !waiting.is_empty() && plan.fingerprint.still_same() != Sameness::Same {
                return Err(End::Worker(String::new()));
            }
            for waiting in waiting {
                to.send(Observation::Waiting(waiting))?;
            }
            Ok(())
        }
        Err(Broken::Fault(fault @ (Fault::Gone | Fault::Denied))) => Err(End::Worker(fault.to_string())),
        // The next look will do.
        Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_a_refusal_the_worker_is_left_alone_twice_as_long_as_before() {
        let mut refusals = Refusals::default();
        let mut now = Nanos::from_millis(5);
        assert_eq!(refusals.at(now), None);
        for seconds in [1, 2, 4, 8, 16, 30, 30] {
            refusals.note("traced".to_owned(), now);
            now += Nanos::from_millis(1000 * seconds);
            assert_eq!(refusals.at(now - Nanos(1)), Some("traced"), "{seconds}");
            assert_eq!(refusals.at(now), None, "{seconds}");
        }
    }

    #[test]
    fn work_that_nobody_waits_for_is_done_by_an_ordinary_thread() {
        let thread = thread::spawn(|| {
            scheduling::go_first_with_children();
            as_anyone(|| thread::current().name().map(str::to_owned))
        });
        assert_eq!(thread.join().expect("it ends").as_deref(), Some("otop-walk"));
    }
}
