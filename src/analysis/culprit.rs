//! Who is blamed for a block, and for what: the rules of `product.md`, and nothing else. Knows nothing of samples or of
//! names.

use super::where_time_went::Parts;
use crate::model::{Cause, CausesMs, Grounds, Nanos, SessionKey, ThreadIndex};

/// Who called for the garbage to be collected, as far as the frames show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Collection {
    /// Nobody: it was due. Or the frames do not show it. And in which other thread, which worked for whom, if most of it
    /// was seen there.
    Automatic(Option<(ThreadIndex, Option<SessionKey>)>),
    /// The loop's thread, by `gc.collect()`.
    ByStep,
    /// This thread, which worked for this session, or for none.
    ByThread(ThreadIndex, Option<SessionKey>),
}

/// What is said of a block.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Verdict {
    pub cause: Cause,
    pub causes_ms: CausesMs,
    /// None: nobody is blamed.
    pub culprit: Option<SessionKey>,
    /// The longest system call, if they are the cause; x86-64 number.
    pub syscall: Option<i32>,
    pub grounds: Grounds,
    /// Who kept the GIL, if waiting for it is the cause, or waiting for the garbage that it collected.
    pub holder: Option<ThreadIndex>,
}

/// Judges a stretch by where its time went. `step_owner` is None between steps and in a step of nobody.
pub(super) fn judge(
    parts: &Parts,
    step_owner: Option<SessionKey>,
    collection: Collection,
    threshold: Nanos,
) -> Verdict {
    let causes_ms = causes(parts);
    let cause = largest(&causes_ms);
    let threshold = threshold.0 as f64;
    // What the machine did excuses nobody who held the loop for the threshold without it: a step of 300 ms on the CPU
    // that waited another 400 ms for one is still a block of its owner's, whatever the larger share was.
    let largest_own = largest(&own(&causes_ms));
    // Where most of the waiting was for threads that yielded, nobody held the GIL for so long that it made the block; unless
    // one hold alone did.
    let keeper = parts.gil.keeper.filter(|keeper| {
        largest_own == Cause::Gil && (keeper.longest >= threshold || parts.gil.yielded <= parts.gil.kept)
    });
    let blamed_for = match largest_own {
        // One that yields blocks nobody; the step is then judged by what it did itself.
        Cause::Gil if keeper.is_none() && parts.cpu + parts.syscall >= threshold => {
            if parts.syscall > parts.cpu {
                Cause::Syscall
            } else {
                Cause::Cpu
            }
        }
        other => other,
    };
    let (mut holder, mut holder_session) = (keeper.and_then(|k| k.holder), keeper.and_then(|k| k.session));
    let collects = match collection {
        Collection::ByThread(thread, session) | Collection::Automatic(Some((thread, session))) => {
            Some((thread, session))
        }
        Collection::ByStep | Collection::Automatic(None) => None,
    };
    if let (Cause::Gc, Some((thread, session))) = (blamed_for, collects) {
        (holder, holder_session) = (Some(thread), session);
    }
    let doer = match blamed_for {
        Cause::Cpu | Cause::Syscall | Cause::Unknown => step_owner,
        Cause::Gil => keeper.and_then(|keeper| keeper.session),
        Cause::Gc => match collection {
            Collection::Automatic(_) => None,
            Collection::ByStep => step_owner,
            Collection::ByThread(_, session) => session,
        },
        Cause::Unscheduled | Cause::Stolen | Cause::Stopped | Cause::Suspended => None,
    };
    let is_long = parts.blameable() >= threshold;
    Verdict {
        cause,
        causes_ms,
        culprit: doer.filter(|_| is_long),
        syscall: parts.longest_syscall.filter(|_| blamed_for == Cause::Syscall),
        grounds: Grounds {
            blamed_for,
            holder: holder_session,
            gil_kept_ms: parts.gil.kept / 1e6,
            acquitted_by: (doer.is_some() && !is_long).then(|| largest(&machines(&causes_ms))),
        },
        holder,
    }
}

fn causes(parts: &Parts) -> CausesMs {
    CausesMs {
        cpu: parts.cpu / 1e6,
        // The sum of no floats is -0.0.
        syscall: parts.syscall / 1e6 + 0.0,
        gil: parts.gil.waited() / 1e6,
        gc: parts.gc.map(|nanos| nanos / 1e6),
        unscheduled: parts.unscheduled / 1e6,
        stolen: parts.stolen / 1e6,
        stopped: parts.stopped / 1e6,
        suspended: parts.suspended / 1e6,
        unknown: parts.unknown / 1e6,
    }
}

/// The shares that are somebody's doing.
fn own(causes: &CausesMs) -> CausesMs {
    CausesMs {
        unscheduled: 0.0,
        stolen: 0.0,
        stopped: 0.0,
        suspended: 0.0,
        ..*causes
    }
}

/// The shares that are the machine's.
fn machines(causes: &CausesMs) -> CausesMs {
    CausesMs {
        unscheduled: causes.unscheduled,
        stolen: causes.stolen,
        stopped: causes.stopped,
        suspended: causes.suspended,
        ..CausesMs::default()
    }
}

/// The largest share; of equal ones the first.
fn largest(causes: &CausesMs) -> Cause {
    let all = [
        (Cause::Cpu, causes.cpu),
        (Cause::Syscall, causes.syscall),
        (Cause::Gil, causes.gil),
        (Cause::Gc, causes.gc.unwrap_or(0.0)),
        (Cause::Unscheduled, causes.unscheduled),
        (Cause::Stolen, causes.stolen),
        (Cause::Stopped, causes.stopped),
        (Cause::Suspended, causes.suspended),
    ];
    let mut largest = (Cause::Unknown, causes.unknown);
    for (cause, ms) in all.into_iter().rev() {
        if ms > 0.0 && ms >= largest.1 {
            largest = (cause, ms);
        }
    }
    largest.0
}

#[cfg(test)]
mod tests {
    use super::super::gil::{GilSums, Kept};
    use super::*;

    const STEP: SessionKey = SessionKey(1);
    const HOLDER: SessionKey = SessionKey(2);
    const MS: f64 = 1e6;

    fn parts(cpu: f64, syscall: f64, kept: f64, yielded: f64) -> Parts {
        let keeper = (kept > 0.0).then_some(Kept {
            holder: Some(ThreadIndex(7)),
            session: Some(HOLDER),
            waited: kept * MS,
            longest: kept * MS,
            riddle: 0.0,
        });
        Parts {
            cpu: cpu * MS,
            syscall: syscall * MS,
            gil: GilSums {
                keeper,
                kept: kept * MS,
                yielded: yielded * MS,
                ..GilSums::default()
            },
            longest_syscall: Some(45),
            ..Parts::default()
        }
    }

    #[test]
    fn every_rule() {
        let with = |change: fn(&mut Parts)| {
            let mut changed = parts(0.0, 0.0, 0.0, 0.0);
            change(&mut changed);
            changed
        };
        let table = [
            ("its own CPU", parts(60.0, 0.0, 0.0, 0.0), Cause::Cpu, Some(STEP)),
            (
                "its own system call",
                parts(20.0, 60.0, 0.0, 0.0),
                Cause::Syscall,
                Some(STEP),
            ),
            (
                "one that keeps the GIL",
                parts(20.0, 10.0, 60.0, 0.0),
                Cause::Gil,
                Some(HOLDER),
            ),
            (
                "one that yields, own time short",
                parts(49.0, 0.0, 0.0, 60.0),
                Cause::Gil,
                None,
            ),
            (
                "one that yields, own time long",
                parts(40.0, 11.0, 0.0, 60.0),
                Cause::Gil,
                Some(STEP),
            ),
            ("mostly yielded", parts(10.0, 0.0, 20.0, 40.0), Cause::Gil, None),
            ("not known", with(|p| p.unknown = 60.0 * MS), Cause::Unknown, Some(STEP)),
            (
                "unscheduled",
                with(|p| p.unscheduled = 60.0 * MS),
                Cause::Unscheduled,
                None,
            ),
            ("garbage", with(|p| p.gc = Some(60.0 * MS)), Cause::Gc, None),
            (
                "mostly garbage",
                with(|p| (p.cpu, p.gc) = (59.0 * MS, Some(60.0 * MS))),
                Cause::Gc,
                None,
            ),
            (
                "mostly its own, and some garbage",
                with(|p| (p.cpu, p.gc) = (40.0 * MS, Some(30.0 * MS))),
                Cause::Cpu,
                Some(STEP),
            ),
            ("stolen", with(|p| p.stolen = 60.0 * MS), Cause::Stolen, None),
            ("stopped", with(|p| p.stopped = 60.0 * MS), Cause::Stopped, None),
            ("suspended", with(|p| p.suspended = 60.0 * MS), Cause::Suspended, None),
            (
                "mostly unscheduled, and long without that",
                with(|p| (p.cpu, p.unscheduled) = (51.0 * MS, 60.0 * MS)),
                Cause::Unscheduled,
                Some(STEP),
            ),
            (
                "mostly unscheduled",
                with(|p| (p.cpu, p.unscheduled) = (49.0 * MS, 60.0 * MS)),
                Cause::Unscheduled,
                None,
            ),
            (
                "short without it",
                with(|p| (p.cpu, p.unscheduled) = (40.0 * MS, 20.0 * MS)),
                Cause::Cpu,
                None,
            ),
            (
                "short without theft",
                with(|p| (p.cpu, p.stolen) = (40.0 * MS, 20.0 * MS)),
                Cause::Cpu,
                None,
            ),
            (
                "short without a stop",
                with(|p| (p.cpu, p.stopped) = (40.0 * MS, 20.0 * MS)),
                Cause::Cpu,
                None,
            ),
            (
                "short without sleep",
                with(|p| (p.cpu, p.suspended) = (40.0 * MS, 20.0 * MS)),
                Cause::Cpu,
                None,
            ),
            (
                "exactly the threshold",
                with(|p| p.cpu = 50.0 * MS),
                Cause::Cpu,
                Some(STEP),
            ),
        ];
        for (name, parts, cause, culprit) in table {
            let verdict = judge(&parts, Some(STEP), Collection::Automatic(None), Nanos::from_millis(50));
            assert_eq!((verdict.cause, verdict.culprit), (cause, culprit), "{name}");
            assert_eq!(verdict.syscall.is_some(), cause == Cause::Syscall, "{name}");
        }
    }

    #[test]
    fn nobody_is_named_as_the_holder_where_most_yielded() {
        for (own, kept, yielded) in [(30.0, 18.0, 80.0), (60.0, 18.0, 80.0)] {
            let verdict = judge(
                &parts(own, 0.0, kept, yielded),
                Some(STEP),
                Collection::Automatic(None),
                Nanos::from_millis(50),
            );
            assert_eq!((verdict.holder, verdict.grounds.holder), (None, None));
        }
    }

    #[test]
    fn one_long_hold_is_blamed_however_much_others_yielded() {
        let judged = |kept: f64, longest: f64| {
            let mut parts = parts(30.0, 0.0, kept, 150.0);
            parts.gil.keeper = parts.gil.keeper.map(|keeper| Kept {
                longest: longest * MS,
                ..keeper
            });
            let verdict = judge(&parts, Some(STEP), Collection::Automatic(None), Nanos::from_millis(50));
            (verdict.culprit, verdict.holder, verdict.grounds.blamed_for)
        };
        assert_eq!(judged(90.0, 90.0), (Some(HOLDER), Some(ThreadIndex(7)), Cause::Gil));
        assert_eq!(judged(49.0, 49.0), (None, None, Cause::Gil));
        assert_eq!(
            judged(90.0, 20.0),
            (None, None, Cause::Gil),
            "in short holds, as those who yield"
        );
    }

    #[test]
    fn what_yielded_is_not_what_a_step_is_blamed_for() {
        for (cpu, syscall, blamed_for) in [(40.0, 11.0, Cause::Cpu), (11.0, 40.0, Cause::Syscall)] {
            let parts = parts(cpu, syscall, 18.0, 80.0);
            let verdict = judge(&parts, Some(STEP), Collection::Automatic(None), Nanos::from_millis(50));
            assert_eq!((verdict.cause, verdict.culprit), (Cause::Gil, Some(STEP)));
            assert_eq!(verdict.grounds.blamed_for, blamed_for);
            assert_eq!(verdict.grounds.gil_kept_ms, 18.0);
        }
    }

    #[test]
    fn what_acquits_somebody_is_said_and_what_acquits_nobody_is_not() {
        let acquitted_by = |cpu: f64, owner| {
            let parts = Parts {
                cpu: cpu * MS,
                stopped: 25.0 * MS,
                unscheduled: 5.0 * MS,
                ..Parts::default()
            };
            let verdict = judge(&parts, owner, Collection::Automatic(None), Nanos::from_millis(50));
            assert_eq!(verdict.cause, Cause::Cpu);
            verdict.grounds.acquitted_by
        };
        assert_eq!(acquitted_by(42.0, Some(STEP)), Some(Cause::Stopped));
        assert_eq!(acquitted_by(50.0, Some(STEP)), None, "it is blamed");
        assert_eq!(acquitted_by(42.0, None), None, "nobody would be");
    }

    #[test]
    fn a_holder_is_named_only_where_the_gil_is_the_cause() {
        let named = judge(
            &parts(20.0, 0.0, 60.0, 0.0),
            Some(STEP),
            Collection::Automatic(None),
            Nanos::from_millis(50),
        );
        assert_eq!(
            (named.holder, named.grounds.holder),
            (Some(ThreadIndex(7)), Some(HOLDER))
        );
        let not = judge(
            &parts(60.0, 0.0, 20.0, 0.0),
            Some(STEP),
            Collection::Automatic(None),
            Nanos::from_millis(50),
        );
        assert_eq!((not.holder, not.grounds.holder), (None, None));
    }

    #[test]
    fn garbage_that_was_called_for_is_somebodys_doing() {
        let parts = Parts {
            gc: Some(60.0 * MS),
            ..Parts::default()
        };
        let culprit = |collection| judge(&parts, Some(STEP), collection, Nanos::from_millis(50)).culprit;
        assert_eq!(culprit(Collection::Automatic(None)), None);
        assert_eq!(culprit(Collection::ByStep), Some(STEP));
        assert_eq!(
            culprit(Collection::ByThread(ThreadIndex(7), Some(HOLDER))),
            Some(HOLDER)
        );
        assert_eq!(culprit(Collection::ByThread(ThreadIndex(7), None)), None);
    }

    #[test]
    fn nobodys_step_blames_nobody() {
        assert_eq!(
            judge(
                &parts(60.0, 0.0, 0.0, 0.0),
                None,
                Collection::Automatic(None),
                Nanos::from_millis(50)
            )
            .culprit,
            None
        );
    }
}
