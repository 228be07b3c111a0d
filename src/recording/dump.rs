//! A dump as bytes, and back. The bytes are anybody's, as in `reading`. What is written here in some order is read here in
//! the same. Knows nothing of parts and files.

use super::bytes::{Damaged, In, Out};
use super::reading::{integer, many};
use super::words::{Numbers, Words};
use crate::model::*;

/// The words of loops and handles, by number.
const LOOP_KINDS: [&str; 3] = [
    LoopKind::Asyncio.name(),
    LoopKind::Uvloop.name(),
    LoopKind::Other.name(),
];
/// Each with whether the session could not be told.
const LOOP_STATES: [(&str, bool); 4] = [("running", false), ("idle", false), ("running", true), ("idle", true)];
/// Whether the stack is cut, and whether the session could not be told.
const THREAD_FLAGS: [(bool, bool); 4] = [(false, false), (true, false), (false, true), (true, true)];
const CALLBACK_KINDS: [&str; 2] = ["ready", "timer"];
const TASK_STATES: [TaskState; 4] = [
    TaskState::Running,
    TaskState::Ready,
    TaskState::Waiting,
    TaskState::Unknown,
];

fn write_one_of<T: PartialEq>(out: &mut Out, all: &[T], one: &T) {
    let place = all.iter().position(|known| known == one).unwrap_or(all.len());
    out.byte(place as u8);
}

fn read_one_of<T: Copy>(input: &mut In<'_>, all: &[T]) -> Result<T, Damaged> {
    all.get(usize::from(input.byte()?)).copied().ok_or(Damaged)
}

pub(super) fn write(out: &mut Out, numbers: &mut Numbers, dump: &Dump) {
    out.number(u64::from(dump.schema));
    out.signed(i64::from(dump.worker.pid));
    numbers.maybe_text(out, dump.worker.name.as_deref());
    numbers.text(out, &dump.worker.python);
    numbers.maybe_text(out, dump.worker.session_from.as_deref());
    out.float(dump.taken_at);
    out.float(dump.took_ms);
    for count in [dump.changed, dump.unreadable, dump.tasks] {
        out.number(u64::from(count));
    }
    out.number(dump.loops.len() as u64);
    for event_loop in &dump.loops {
        write_one_of(out, &LOOP_KINDS, &event_loop.kind);
        numbers.maybe_text(out, event_loop.thread.as_deref());
        out.maybe(event_loop.tid, |out, tid| out.signed(i64::from(tid)));
        let state = event_loop.state.map(|state| (state, event_loop.unreadable));
        out.maybe(state, |out, state| write_one_of(out, &LOOP_STATES, &state));
        numbers.maybe_text(out, event_loop.session_id.as_deref());
        out.maybe(event_loop.ready, |out, ready| out.number(u64::from(ready)));
        out.maybe(event_loop.timers, |out, timers| out.number(u64::from(timers)));
    }
    out.number(dump.sessions.len() as u64);
    for session in &dump.sessions {
        numbers.text(out, &session.session_id);
        numbers.maybe_text(out, session.agent_name.as_deref());
        numbers.maybe_text(out, session.tenant.as_deref());
        write_work(out, numbers, &session.work);
    }
    out.maybe(dump.no_session.as_ref(), |out, work| write_work(out, numbers, work));
}

pub(super) fn read(input: &mut In<'_>, words: &mut Words) -> Result<Dump, Damaged> {
    Ok(Dump {
        schema: input.small()?,
        worker: DumpWorker {
            pid: integer(input)?,
            name: maybe_text(input, words)?,
            python: text(input, words)?,
            session_from: maybe_text(input, words)?,
        },
        taken_at: input.float()?,
        took_ms: input.float()?,
        recorded: None,
        // Nobody's worker is stopped for a recording.
        paused_ms: None,
        changed: input.small()?,
        unreadable: input.small()?,
        tasks: input.small()?,
        loops: many(input, |input| {
            let kind = read_one_of(input, &LOOP_KINDS)?;
            let thread = maybe_text(input, words)?;
            let tid = input.maybe(integer)?;
            let state = input.maybe(|input| read_one_of(input, &LOOP_STATES))?;
            Ok(DumpLoop {
                kind,
                thread,
                tid,
                state: state.map(|(state, _)| state),
                unreadable: state.is_some_and(|(_, unreadable)| unreadable),
                session_id: maybe_text(input, words)?,
                ready: input.maybe(In::small)?,
                timers: input.maybe(In::small)?,
            })
        })?,
        sessions: many(input, |input| {
            Ok(DumpSession {
                session_id: text(input, words)?,
                agent_name: maybe_text(input, words)?,
                tenant: maybe_text(input, words)?,
                work: read_work(input, words)?,
            })
        })?,
        no_session: input.maybe(|input| read_work(input, words))?,
    })
}

fn write_work(out: &mut Out, numbers: &mut Numbers, work: &DumpWork) {
    out.number(work.tasks.len() as u64);
    for task in &work.tasks {
        numbers.maybe_text(out, task.name.as_deref());
        write_one_of(out, &TASK_STATES, &task.state);
        out.maybe(task.waited_s, Out::float);
        out.maybe(task.waits_for.as_ref(), |out, wait| write_wait(out, numbers, wait));
        write_frames(out, numbers, &task.chain);
        out.flag(task.is_cut);
        out.flag(task.changed);
    }
    out.maybe(work.callbacks.as_ref(), |out, callbacks| {
        out.number(callbacks.len() as u64);
        for callback in callbacks {
            write_one_of(out, &CALLBACK_KINDS, &callback.kind);
            numbers.maybe_text(out, callback.function.as_deref());
            numbers.maybe_text(out, callback.file.as_deref());
            out.maybe(callback.line, |out, line| out.number(u64::from(line)));
            out.maybe(callback.due_in_s, Out::float);
            numbers.maybe_text(out, callback.wakes.as_deref());
        }
    });
    out.number(work.threads.len() as u64);
    for thread in &work.threads {
        numbers.maybe_text(out, thread.name.as_deref());
        out.maybe(thread.tid, |out, tid| out.signed(i64::from(tid)));
        out.flag(thread.is_loop);
        write_frames(out, numbers, &thread.stack);
        write_one_of(out, &THREAD_FLAGS, &(thread.is_cut, thread.unreadable));
    }
}

fn read_work(input: &mut In<'_>, words: &mut Words) -> Result<DumpWork, Damaged> {
    Ok(DumpWork {
        tasks: many(input, |input| {
            Ok(DumpTask {
                name: maybe_text(input, words)?,
                state: read_one_of(input, &TASK_STATES)?,
                waited_s: input.maybe(In::float)?,
                waits_for: input.maybe(|input| read_wait(input, words))?,
                chain: many(input, |input| words.place(input))?,
                is_cut: input.flag()?,
                changed: input.flag()?,
            })
        })?,
        callbacks: input.maybe(|input| {
            many(input, |input| {
                Ok(DumpCallback {
                    kind: read_one_of(input, &CALLBACK_KINDS)?,
                    function: maybe_text(input, words)?,
                    file: maybe_text(input, words)?,
                    line: input.maybe(In::small)?,
                    due_in_s: input.maybe(In::float)?,
                    wakes: maybe_text(input, words)?,
                })
            })
        })?,
        threads: many(input, |input| {
            let name = maybe_text(input, words)?;
            let tid = input.maybe(integer)?;
            let is_loop = input.flag()?;
            let stack = many(input, |input| words.place(input))?;
            let (is_cut, unreadable) = read_one_of(input, &THREAD_FLAGS)?;
            Ok(DumpThread {
                name,
                tid,
                is_loop,
                stack,
                is_cut,
                unreadable,
            })
        })?,
    })
}

fn write_wait(out: &mut Out, numbers: &mut Numbers, wait: &WaitsFor) {
    write_one_of(out, &WaitKind::ALL, &wait.kind);
    numbers.maybe_text(out, wait.what.as_deref());
    out.number(wait.tasks.len() as u64);
    for task in &wait.tasks {
        numbers.text(out, task);
    }
    out.maybe(wait.left_s, Out::float);
    out.maybe(wait.fd, |out, fd| out.signed(i64::from(fd)));
    out.maybe(wait.pid, Out::signed);
}

fn read_wait(input: &mut In<'_>, words: &mut Words) -> Result<WaitsFor, Damaged> {
    Ok(WaitsFor {
        kind: read_one_of(input, &WaitKind::ALL)?,
        what: maybe_text(input, words)?,
        tasks: many(input, |input| text(input, words))?,
        left_s: input.maybe(In::float)?,
        fd: input.maybe(integer)?,
        pid: input.maybe(In::signed)?,
    })
}

fn write_frames(out: &mut Out, numbers: &mut Numbers, frames: &[DumpFrame]) {
    out.number(frames.len() as u64);
    for frame in frames {
        numbers.place(out, frame);
    }
}

fn text(input: &mut In<'_>, words: &mut Words) -> Result<String, Damaged> {
    Ok(words.text(input)?.to_string())
}

fn maybe_text(input: &mut In<'_>, words: &mut Words) -> Result<Option<String>, Damaged> {
    Ok(words.maybe_text(input)?.map(|text| text.to_string()))
}
