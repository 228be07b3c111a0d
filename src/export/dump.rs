//! A dump as a tree for people, and as a line of JSON. Knows nothing of how it was read, nor of where it goes.

use super::about::utc;
use super::json::escape;
use crate::model::{Dump, DumpCallback, DumpFrame, DumpLoop, DumpTask, DumpThread, DumpWork, TaskState, WaitsFor};
use crate::view::{place, printable};
use std::fmt::Write;

/// The dump in one line, without the line feed.
pub fn json(dump: &Dump) -> String {
    match serde_json::to_string(dump) {
        Ok(line) => escape(&line),
        Err(error) => serde_json::json!({ "error": error.to_string() }).to_string(),
    }
}

/// The tree, with its line feeds.
pub fn text(dump: &Dump) -> String {
    let mut out = String::new();
    let worker = &dump.worker;
    let name = worker.name.as_deref().map_or(String::new(), |name| format!("{name}, "));
    let mut head = format!(
        "{name}PID {}, Python {}: {} and {} in all, read in {:.0} ms",
        worker.pid,
        worker.python,
        count(dump.sessions.len(), "session"),
        count(dump.tasks as usize, "task"),
        dump.took_ms,
    );
    match (dump.paused_ms, dump.changed) {
        (Some(ms), _) => {
            let _ = write!(head, "; the worker was stopped for {ms:.0} ms");
        }
        (None, 0) => head.push_str("; nothing moved meanwhile"),
        (None, changed) => {
            let _ = write!(
                head,
                "; {} moved on meanwhile, marked ~",
                count(changed as usize, "task")
            );
        }
    }
    if dump.unreadable > 0 {
        let _ = write!(head, "; {} not readable", dump.unreadable);
    }
    line(&mut out, "", &head);
    if let Some(recorded) = &dump.recorded {
        let then = format!(
            "recorded {}, {:.1} s into the recording and {} before the instant that is shown",
            utc(dump.taken_at),
            recorded.at_s,
            seconds(recorded.age_s)
        );
        line(&mut out, "", &then);
    }
    for event_loop in &dump.loops {
        line(&mut out, "", &words_of_loop(event_loop));
    }
    for session in &dump.sessions {
        let of = [("agent", &session.agent_name), ("tenant", &session.tenant)];
        let of = of
            .iter()
            .filter_map(|(word, name)| Some(format!(", {word} {}", name.as_deref()?)));
        let of: String = of.collect();
        out.push('\n');
        line(
            &mut out,
            "",
            &format!(
                "{}{of}: {}",
                session.session_id,
                count(session.work.tasks.len(), "task")
            ),
        );
        work(&mut out, &session.work);
    }
    if let Some(nobody) = dump.no_session.as_ref().filter(|nobody| !is_empty(nobody)) {
        out.push('\n');
        line(
            &mut out,
            "",
            &format!("of no session: {}", count(nobody.tasks.len(), "task")),
        );
        work(&mut out, nobody);
    }
    if dump.sessions.is_empty() && dump.no_session.is_none() {
        out.push('\n');
        line(&mut out, "", "no session fits");
    }
    out
}

fn is_empty(work: &DumpWork) -> bool {
    work.tasks.is_empty() && work.threads.is_empty() && work.callbacks.iter().all(Vec::is_empty)
}

fn words_of_loop(event_loop: &DumpLoop) -> String {
    let mut text = format!("{} loop", event_loop.kind);
    if let Some(thread) = &event_loop.thread {
        let _ = write!(text, " in thread {thread}");
    }
    if let Some(tid) = event_loop.tid {
        let _ = write!(text, " ({tid})");
    }
    match (event_loop.state, &event_loop.session_id) {
        (Some("running"), Some(session)) => {
            let _ = write!(text, " runs {session}");
        }
        (Some("running"), None) if event_loop.unreadable => {
            text.push_str(" runs a step whose session could not be read");
        }
        (Some("running"), None) => text.push_str(" runs a step of no session"),
        (Some(state), _) => {
            let _ = write!(text, " is {state}");
        }
        (None, _) => text.push_str(", whether it is in a step is not known"),
    }
    if let Some(ready) = event_loop.ready {
        let _ = write!(text, ", {} ready", count(ready as usize, "handle"));
    }
    match event_loop.timers {
        Some(timers) => {
            let _ = write!(text, ", {}", count(timers as usize, "timer"));
        }
        None => text.push_str(", its timers cannot be read"),
    }
    text
}

fn work(out: &mut String, work: &DumpWork) {
    // What ends a sleep is said at the task, and so is that it has a step ready.
    let says_when = |task: &DumpTask| {
        task.waits_for
            .as_ref()
            .is_some_and(|waits_for| waits_for.left_s.is_some())
    };
    let shown = |callback: &&DumpCallback| match &callback.wakes {
        None => true,
        Some(name) => {
            let mut tasks = work.tasks.iter().filter(|task| task.name.as_ref() == Some(name));
            callback.due_in_s.is_some() && !tasks.any(says_when)
        }
    };
    let callbacks: Vec<&DumpCallback> = work.callbacks.iter().flatten().filter(shown).collect();
    let parts = work.tasks.len() + callbacks.len() + work.threads.len();
    let mut part = 0;
    let mut branch = || {
        part += 1;
        if part == parts {
            ("└─ ", "   ")
        } else {
            ("├─ ", "│  ")
        }
    };
    for told in &work.tasks {
        task(out, branch(), told);
    }
    for told in callbacks {
        line(out, branch().0, &words_of_callback(told));
    }
    for told in &work.threads {
        thread(out, branch(), told);
    }
}

fn task(out: &mut String, (branch, below): (&str, &str), told: &DumpTask) {
    let mut text = String::new();
    if told.state == TaskState::Running {
        text.push_str("> ");
    }
    if told.changed {
        text.push_str("~ ");
    }
    text.push_str(told.name.as_deref().unwrap_or("a task"));
    let _ = write!(text, " {}", told.state.name());
    if let Some(waits_for) = &told.waits_for {
        text.push_str(&words_of_wait(waits_for));
    }
    if let Some(waited) = told.waited_s {
        let _ = write!(text, ", has waited {}", seconds(waited));
    }
    line(out, branch, &text);
    frames(out, below, told.chain.iter());
    if told.is_cut {
        line(out, below, "  … deeper than is followed");
    }
}

/// Outermost first, so that the last line is where it stands. A line that calls itself is said once, with how often.
fn frames<'f>(out: &mut String, below: &str, frames: impl Iterator<Item = &'f DumpFrame>) {
    let mut frames = frames.peekable();
    while let Some(frame) = frames.next() {
        let mut times = 1;
        while frames.next_if_eq(&frame).is_some() {
            times += 1;
        }
        let mut text = words_of_frame(frame);
        if times > 1 {
            let _ = write!(text, " ({times} times)");
        }
        line(out, below, &text);
    }
}

fn words_of_wait(waits_for: &WaitsFor) -> String {
    let mut text = format!(" for {}", waits_for.kind.name());
    if let Some(what) = &waits_for.what {
        let _ = write!(text, " ({what})");
    }
    if let Some(pid) = waits_for.pid {
        let _ = write!(text, " {pid}");
    }
    if let Some(fd) = waits_for.fd {
        let _ = write!(text, ", fd {fd}");
    }
    if !waits_for.tasks.is_empty() {
        let _ = write!(text, ": {}", waits_for.tasks.join(", "));
    }
    match waits_for.left_s {
        Some(left) if left < 0.0 => {
            let _ = write!(text, ", overdue by {}", seconds(-left));
        }
        Some(left) => {
            let _ = write!(text, ", {} left", seconds(left));
        }
        None => {}
    }
    text
}

fn words_of_frame(frame: &DumpFrame) -> String {
    let mark = if frame.own { "* " } else { "  " };
    let at = place(Some(&frame.function), Some(&frame.file), frame.line);
    format!("{mark}{}", at.unwrap_or_default())
}

fn words_of_callback(callback: &DumpCallback) -> String {
    let at = place(callback.function.as_deref(), callback.file.as_deref(), callback.line);
    let at = at.unwrap_or_else(|| "a callback".to_owned());
    let wakes = callback.wakes.as_ref();
    let wakes = wakes.map_or_else(String::new, |task| format!(", wakes {task}"));
    match callback.due_in_s {
        None => format!("ready: {at}{wakes}"),
        Some(due) if due < 0.0 => format!("timer, overdue by {}: {at}{wakes}", seconds(-due)),
        Some(due) => format!("timer in {}: {at}{wakes}", seconds(due)),
    }
}

fn thread(out: &mut String, (branch, below): (&str, &str), told: &DumpThread) {
    let mut text = match told.is_loop {
        true => "the loop's thread".to_owned(),
        false => "thread".to_owned(),
    };
    if let Some(name) = &told.name {
        let _ = write!(text, " {name}");
    }
    if let Some(tid) = told.tid {
        let _ = write!(text, " ({tid})");
    }
    if told.unreadable {
        text.push_str(", whose session could not be read");
    }
    line(out, branch, &text);
    // What lies outside of the loop's own `Handle._run` is the same for all.
    let run = |frame: &DumpFrame| {
        frame.file.ends_with("asyncio/events.py") && matches!(&*frame.function, "_run" | "Handle._run")
    };
    let outermost = match told.is_loop {
        true => told.stack.iter().position(run).unwrap_or(told.stack.len()),
        false => told.stack.len(),
    };
    if told.is_cut {
        line(out, below, "  … deeper than is followed");
    }
    frames(out, below, told.stack.iter().take(outermost).rev());
    if told.stack.is_empty() {
        line(out, below, "  its stack could not be read");
    }
}

fn line(out: &mut String, branch: &str, text: &str) {
    out.push_str(branch);
    out.push_str(&printable(text));
    out.push('\n');
}

fn count(number: usize, what: &str) -> String {
    match number {
        1 => format!("1 {what}"),
        n => format!("{n} {what}s"),
    }
}

fn seconds(seconds: f64) -> String {
    match seconds {
        s if s < 1.0 => format!("{:.0} ms", s * 1e3),
        s if s < 100.0 => format!("{s:.1} s"),
        s => format!("{s:.0} s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::WaitKind;

    fn of(state: Option<&'static str>, unreadable: bool) -> String {
        words_of_loop(&DumpLoop {
            kind: "asyncio",
            thread: None,
            tid: None,
            state,
            session_id: None,
            unreadable,
            ready: None,
            timers: Some(0),
        })
    }

    #[test]
    fn a_time_out_is_shown_and_the_end_of_a_sleep_only_at_the_task() {
        let task = |name: &str, left_s| DumpTask {
            name: Some(name.to_owned()),
            state: TaskState::Waiting,
            waits_for: Some(WaitsFor {
                kind: WaitKind::Tasks,
                what: None,
                tasks: Vec::new(),
                left_s,
                fd: None,
                pid: None,
            }),
            waited_s: None,
            chain: Vec::new(),
            is_cut: false,
            changed: false,
        };
        let callback = |kind, function: &str, due_in_s, wakes: &str| DumpCallback {
            kind,
            function: Some(function.to_owned()),
            file: None,
            line: None,
            due_in_s,
            wakes: Some(wakes.to_owned()),
        };
        let told = DumpWork {
            tasks: vec![task("sleeps", Some(30.0)), task("waits", None)],
            callbacks: Some(vec![
                callback("timer", "_set_result_unless_cancelled", Some(30.0), "sleeps"),
                callback("timer", "_release_waiter", Some(91.0), "waits"),
                callback("ready", "step", None, "waits"),
            ]),
            threads: Vec::new(),
        };
        let mut out = String::new();
        work(&mut out, &told);
        let timers: Vec<&str> = out
            .lines()
            .filter(|line| line.contains("timer") || line.contains("ready"))
            .collect();
        assert_eq!(timers, ["└─ timer in 91.0 s: _release_waiter, wakes waits"], "{out}");
    }

    #[test]
    fn no_session_and_one_that_could_not_be_read_are_two_things() {
        assert_eq!(
            of(Some("running"), false),
            "asyncio loop runs a step of no session, 0 timers"
        );
        assert_eq!(
            of(Some("running"), true),
            "asyncio loop runs a step whose session could not be read, 0 timers"
        );
        assert_eq!(of(Some("idle"), false), "asyncio loop is idle, 0 timers");
        assert_eq!(
            of(None, false),
            "asyncio loop, whether it is in a step is not known, 0 timers"
        );
        let mut out = String::new();
        let told = DumpThread {
            name: Some("pool".to_owned()),
            tid: Some(7),
            is_loop: false,
            stack: Vec::new(),
            is_cut: false,
            unreadable: true,
        };
        thread(&mut out, ("", ""), &told);
        assert!(
            out.starts_with("thread pool (7), whose session could not be read\n"),
            "{out}"
        );
    }
}
