//! What is said of a block, in words: who is to blame, what held the loop up, at which line, who had to wait. The alarm,
//! the list of blocks and `otop blocks` speak with these. Knows nothing of where the words stand.

use super::format;
use super::printable::{Keep, fit};
use crate::model::{Block, Cause, CausesMs, Report, Where};

/// Whom a block is blamed on; None: nobody. `?` stands for a name that is not known yet, and behind one that is a guess.
pub fn culprit(block: &Block) -> Option<String> {
    let guess = if block.grounds.blamed_for == Cause::Unknown {
        "?"
    } else {
        ""
    };
    match (&block.session_id, block.culprit) {
        (Some(id), _) => Some(format!("{id}{guess}")),
        (None, Some(_)) => Some("?".to_owned()),
        (None, None) => None,
    }
}

/// The cause, and what more is known of it: `syscall: recvfrom`.
pub fn cause(block: &Block) -> String {
    let is_blamed = culprit(block).is_some();
    let text = of_cause(block, block.cause);
    // Where the machine, or threads that yielded the GIL, have the largest share and somebody is blamed all the same, it is
    // for this. And where nobody is, this is what some code of the worker's did for long.
    let other = block.grounds.blamed_for;
    let ms = match other {
        // What yielded tells nobody anything.
        Cause::Gil => block.grounds.gil_kept_ms,
        other => share(&block.causes_ms, other),
    };
    if other != block.cause && (is_blamed || (other != Cause::Unknown && ms >= WORTH_SAYING)) {
        return format!("{text}; {}, {}", of_cause(block, other), format::stretch(ms));
    }
    match block.grounds.acquitted_by {
        // The cause alone would leave open why nobody is blamed for it.
        Some(machine) if !is_blamed && machine != block.cause => {
            let ms = share(&block.causes_ms, machine);
            format!("{text}; {}, {}", of_cause(block, machine), format::stretch(ms))
        }
        _ => text,
    }
}

fn of_cause(block: &Block, cause: Cause) -> String {
    let is_blamed = culprit(block).is_some();
    match cause {
        Cause::Syscall => block
            .syscall
            .as_ref()
            .map_or_else(|| "syscall".to_owned(), |name| format!("syscall: {name}")),
        Cause::Gil => held(block),
        // Whoever is blamed for a collection has called for it.
        Cause::Gc if is_blamed => "gc: gc.collect()".to_owned(),
        Cause::Unscheduled => "unscheduled: it got no CPU".to_owned(),
        Cause::Stolen => "stolen by the hypervisor".to_owned(),
        Cause::Suspended => "suspended: the machine slept".to_owned(),
        other => name(other).to_owned(),
    }
}

/// Who held the GIL, and for whom, where that is not who is blamed.
fn held(block: &Block) -> String {
    let Some(thread) = &block.holder_thread else {
        return "gil".to_owned();
    };
    match block.grounds.holder {
        Some(holder) if block.culprit == Some(holder) => format!("gil: held by {thread}"),
        Some(_) => {
            let id = block.holder_session_id.as_deref().unwrap_or("?");
            format!(
                "gil: held by {thread}, of {}",
                as_word(&fit(id, ID_IN_WORDS, Keep::Ends))
            )
        }
        None => format!("gil: held by {thread}, of no session"),
    }
}

/// An id as one word, so that what follows it cannot be taken for a part of it.
pub fn as_word(id: &str) -> String {
    if id.is_empty() || id.chars().any(char::is_whitespace) {
        format!("{id:?}")
    } else {
        id.to_owned()
    }
}

/// Cells of an id that is not the culprit's: an id of 200 characters must not push the place off the screen.
const ID_IN_WORDS: usize = 64;

/// Milliseconds: the threshold of a block, unless another was set.
const WORTH_SAYING: f64 = 50.0;

/// The cause in one word, as JSON has it.
pub fn name(cause: Cause) -> &'static str {
    match cause {
        Cause::Cpu => "cpu",
        Cause::Syscall => "syscall",
        Cause::Gil => "gil",
        Cause::Gc => "gc",
        Cause::Unscheduled => "unscheduled",
        Cause::Stolen => "stolen",
        Cause::Stopped => "stopped",
        Cause::Suspended => "suspended",
        Cause::Unknown => "unknown",
    }
}

const CAUSES: [Cause; 9] = [
    Cause::Cpu,
    Cause::Syscall,
    Cause::Gil,
    Cause::Gc,
    Cause::Unscheduled,
    Cause::Stolen,
    Cause::Stopped,
    Cause::Suspended,
    Cause::Unknown,
];

/// The shares that there are, the largest first, in milliseconds.
pub fn shares(causes: &CausesMs) -> Vec<(Cause, f64)> {
    let mut shares: Vec<(Cause, f64)> = CAUSES.into_iter().map(|cause| (cause, share(causes, cause))).collect();
    // Less than half a millisecond would be said to be 0.
    shares.retain(|(_, ms)| *ms >= 0.5);
    shares.sort_by(|(_, one), (_, other)| other.total_cmp(one));
    shares
}

fn share(causes: &CausesMs, cause: Cause) -> f64 {
    match cause {
        Cause::Cpu => causes.cpu,
        Cause::Syscall => causes.syscall,
        Cause::Gil => causes.gil,
        Cause::Gc => causes.gc.unwrap_or(0.0),
        Cause::Unscheduled => causes.unscheduled,
        Cause::Stolen => causes.stolen,
        Cause::Stopped => causes.stopped,
        Cause::Suspended => causes.suspended,
        Cause::Unknown => causes.unknown,
    }
}

/// What the machine does to a worker, for which nobody in it is blamed.
fn is_the_machines(cause: Cause) -> bool {
    matches!(
        cause,
        Cause::Unscheduled | Cause::Stolen | Cause::Stopped | Cause::Suspended
    )
}

/// Milliseconds of the block that are the worker's own doing: without what the machine did to it, and without waiting for
/// threads that did yield the GIL, which blocks nobody.
pub fn own_ms(block: &Block) -> f64 {
    let causes = CAUSES
        .into_iter()
        .filter(|cause| !is_the_machines(*cause) && *cause != Cause::Gil);
    let own: f64 = causes.map(|cause| share(&block.causes_ms, cause)).sum();
    own + block.grounds.gil_kept_ms
}

/// `320 ms`, and `≥ 320 ms` where it began before otop looked.
pub fn length(block: &Block) -> String {
    let bound = if block.duration_is_lower_bound { "≥ " } else { "" };
    format!("{bound}{}", format::stretch(block.duration_ms))
}

/// Seconds since it ended; None: when that was is not known.
pub fn ended_ago(report: &Report, block: &Block) -> Option<f64> {
    let ended = block.started_at.map(|began| began + block.duration_ms / 1e3);
    report.unix_now.zip(ended).map(|(now, ended)| now - ended)
}

/// Where the loop was held up, the innermost line first, and then the innermost line of own code, if it is another.
pub fn places(block: &Block) -> (Option<String>, Option<String>) {
    let own = format::place(block.function.as_deref(), block.file.as_deref(), block.line);
    let innermost = block.stack.as_ref().and_then(|stack| stack.first());
    let inner = innermost
        .filter(|at| !is_same_line(at, &own_place(block)))
        .and_then(|at| format::place(at.function.as_deref(), at.file.as_deref(), at.line));
    match inner {
        Some(inner) => (Some(inner), own),
        None => (own, None),
    }
}

/// The innermost line of own code.
pub fn own_place(block: &Block) -> Where {
    Where {
        function: block.function.clone(),
        file: block.file.clone(),
        line: block.line,
        state: None,
    }
}

pub fn is_same_line(one: &Where, other: &Where) -> bool {
    one.file == other.file && one.line == other.line && one.function == other.function
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::sample;

    fn block(session_id: Option<&str>, cause: Cause) -> Block {
        sample::block_now(session_id, cause)
    }

    #[test]
    fn every_cause_says_what_is_known_of_it() {
        let said = |session: Option<&str>, cause| super::cause(&block(session, cause));
        let table = [
            (Cause::Cpu, "cpu", "cpu"),
            (Cause::Syscall, "syscall: recvfrom", "syscall: recvfrom"),
            (Cause::Gil, "gil", "gil"),
            (Cause::Gc, "gc: gc.collect()", "gc"),
            (Cause::Unknown, "unknown", "unknown"),
        ];
        for (cause, blamed, nobody) in table {
            assert_eq!(
                (said(Some("a"), cause), said(None, cause)),
                (blamed.into(), nobody.into())
            );
        }
        assert_eq!(said(None, Cause::Unscheduled), "unscheduled: it got no CPU");
        assert_eq!(said(None, Cause::Stolen), "stolen by the hypervisor");
        assert_eq!(said(None, Cause::Stopped), "stopped");
        assert_eq!(said(None, Cause::Suspended), "suspended: the machine slept");
    }

    #[test]
    fn a_holder_of_the_gil_is_named_and_said_to_be_nobodys_where_it_is() {
        let mut held = block(Some("a"), Cause::Gil);
        held.holder_thread = Some("worker_0 (1234)".to_owned());
        held.grounds.holder = held.culprit;
        assert_eq!(cause(&held), "gil: held by worker_0 (1234)");
        (held.session_id, held.culprit, held.grounds.holder) = (None, None, None);
        assert_eq!(cause(&held), "gil: held by worker_0 (1234), of no session");
    }

    #[test]
    fn a_holder_that_is_acquitted_is_still_said_to_be_its_sessions() {
        let mut held = block(None, Cause::Gil);
        held.holder_thread = Some("worker_0 (1234)".to_owned());
        held.grounds.holder = Some(crate::model::SessionKey::of("b"));
        held.grounds.acquitted_by = Some(Cause::Stopped);
        (held.causes_ms.gil, held.causes_ms.stopped) = (42.0, 25.0);
        assert_eq!(cause(&held), "gil: held by worker_0 (1234), of ?; stopped, 25 ms");
        held.holder_session_id = Some("b".to_owned());
        assert_eq!(cause(&held), "gil: held by worker_0 (1234), of b; stopped, 25 ms");
        held.holder_session_id = Some("b, of no session".to_owned());
        assert_eq!(
            cause(&held),
            "gil: held by worker_0 (1234), of \"b, of no session\"; stopped, 25 ms"
        );
        held.holder_session_id = Some("b".repeat(200));
        assert!(cause(&held).chars().count() < 130, "{}", cause(&held));
    }

    #[test]
    fn what_acquits_is_said_behind_what_was_done() {
        let mut short = block(None, Cause::Cpu);
        (short.causes_ms.cpu, short.causes_ms.unscheduled) = (38.0, 21.0);
        assert_eq!(cause(&short), "cpu");
        short.grounds.acquitted_by = Some(Cause::Unscheduled);
        assert_eq!(cause(&short), "cpu; unscheduled: it got no CPU, 21 ms");
    }

    #[test]
    fn what_a_step_did_beside_threads_that_yielded_is_what_it_is_blamed_for() {
        let mut step = block(Some("a"), Cause::Gil);
        step.grounds.blamed_for = Cause::Cpu;
        (step.causes_ms.gil, step.causes_ms.cpu) = (302.0, 84.0);
        assert_eq!(cause(&step), "gil; cpu, 84 ms");
        assert_eq!(own_ms(&step), 84.0);
        step.cause = Cause::Unscheduled;
        assert_eq!(cause(&step), "unscheduled: it got no CPU; cpu, 84 ms");
    }

    #[test]
    fn whoever_is_blamed_besides_the_machine_is_blamed_for_something() {
        let mut starved = block(Some("a"), Cause::Unscheduled);
        starved.causes_ms.unscheduled = 400.0;
        starved.causes_ms.cpu = 300.0;
        starved.grounds.blamed_for = Cause::Cpu;
        assert_eq!(cause(&starved), "unscheduled: it got no CPU; cpu, 300 ms");
        starved.causes_ms.cpu = 0.0;
        starved.causes_ms.unknown = 60.0;
        starved.grounds.blamed_for = Cause::Unknown;
        assert_eq!(cause(&starved), "unscheduled: it got no CPU; unknown, 60 ms");
        assert_eq!(culprit(&starved).as_deref(), Some("a?"));
        (starved.session_id, starved.culprit) = (None, None);
        assert_eq!(cause(&starved), "unscheduled: it got no CPU");
    }

    #[test]
    fn what_nobodys_code_did_for_long_is_said_beside_the_machines_share() {
        let mut starved = block(None, Cause::Unscheduled);
        starved.causes_ms.unscheduled = 400.0;
        starved.causes_ms.cpu = 130.0;
        starved.grounds.blamed_for = Cause::Cpu;
        assert_eq!(cause(&starved), "unscheduled: it got no CPU; cpu, 130 ms");
        starved.causes_ms.cpu = 49.0;
        assert_eq!(cause(&starved), "unscheduled: it got no CPU");
        starved.causes_ms.gil = 217.0;
        starved.grounds.blamed_for = Cause::Gil;
        assert_eq!(cause(&starved), "unscheduled: it got no CPU", "of threads that yielded");
        starved.holder_thread = Some("worker_0 (1234)".to_owned());
        starved.grounds.gil_kept_ms = 217.0;
        assert_eq!(
            cause(&starved),
            "unscheduled: it got no CPU; gil: held by worker_0 (1234), of no session, 217 ms"
        );
    }

    #[test]
    fn nobody_a_guess_and_a_name_that_is_not_known_yet_are_three() {
        assert_eq!(culprit(&block(None, Cause::Cpu)), None);
        assert_eq!(culprit(&block(Some("a"), Cause::Unknown)).as_deref(), Some("a?"));
        let mut nameless = block(Some("a"), Cause::Cpu);
        assert_eq!(culprit(&nameless).as_deref(), Some("a"));
        nameless.session_id = None;
        assert_eq!(culprit(&nameless).as_deref(), Some("?"));
    }

    #[test]
    fn the_innermost_line_comes_first_and_own_code_is_not_said_twice() {
        let mut held = block(Some("a"), Cause::Cpu);
        let own = Some("requests/adapters.py:667 in send".to_owned());
        assert_eq!(places(&held), (own.clone(), None));
        let at = |function: &str, file: &str, line| Where {
            function: Some(function.into()),
            file: Some(file.into()),
            line: Some(line),
            state: None,
        };
        held.stack = Some(vec![at("recv", "/usr/lib/python3/ssl.py", 12)]);
        assert_eq!(
            places(&held),
            (Some("python3/ssl.py:12 in recv".to_owned()), own.clone())
        );
        held.stack = Some(vec![at(
            "send",
            "/usr/lib/python3/site-packages/requests/adapters.py",
            667,
        )]);
        assert_eq!(places(&held), (own, None));
        (held.function, held.file, held.line, held.stack) = (None, None, None, None);
        assert_eq!(places(&held), (None, None));
    }

    #[test]
    fn what_the_machine_did_and_threads_that_yield_are_not_the_workers_own() {
        let mut long = block(None, Cause::Unscheduled);
        long.causes_ms = CausesMs {
            cpu: 30.0,
            syscall: 5.0,
            gil: 40.0,
            gc: Some(7.0),
            unscheduled: 400.0,
            stolen: 1.0,
            stopped: 2.0,
            suspended: 3.0,
            unknown: 8.0,
        };
        assert_eq!(own_ms(&long), 50.0);
        long.grounds.gil_kept_ms = 16.0;
        assert_eq!(own_ms(&long), 66.0, "of the 40, 24 are yielded");
        (long.culprit, long.holder_thread) = (
            Some(crate::model::SessionKey::of("a")),
            Some("worker_0 (1234)".to_owned()),
        );
        assert_eq!(own_ms(&long), 66.0, "whoever is blamed");
        long.grounds.gil_kept_ms = 40.0;
        assert_eq!(own_ms(&long), 90.0);
        let order: Vec<Cause> = shares(&long.causes_ms).into_iter().map(|(cause, _)| cause).collect();
        assert_eq!(order[..3], [Cause::Unscheduled, Cause::Gil, Cause::Cpu]);
        assert_eq!(order.len(), 9);
    }
}
