//! Divides time among stacks: each thread's time for each session, as the session samples and the clocks have it, is spread
//! evenly over the stacks that were taken of it. Knows nothing of trees and of names.

use super::Mode;
use super::ledger::{Held, Ledger};
use super::loop_time;
use super::moment::{looks_on_cpu, session_of};
use super::syscall_names;
use super::tally::Shares;
use crate::model::{Nanos, SessionKey, Stack, StackSample, State, ThreadIndex};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A stack, and the time that falls to it.
#[derive(Clone, Debug)]
pub(super) struct Share {
    /// None: time of which no stack was taken.
    pub at: Option<Nanos>,
    pub thread: Option<ThreadIndex>,
    pub session: Option<SessionKey>,
    /// The loop's own time; else a thread's beside it.
    pub is_loop: bool,
    pub stack: Option<Arc<Stack>>,
    pub native: Option<String>,
    pub nanos: f64,
}

/// Time of one thread for one session, or for nobody.
#[derive(Debug, Default)]
struct Cell<'l> {
    nanos: f64,
    stacks: Vec<&'l StackSample>,
}

/// `total_cpu`: what the whole worker used, nanoseconds.
pub(super) fn divide(ledger: &Ledger, total_cpu: f64, mode: Mode, blocks: &[Held]) -> Vec<Share> {
    match mode {
        Mode::Wall => wall(ledger),
        Mode::Cpu => cpu(ledger, total_cpu),
        Mode::Blocked => blocked(ledger, blocks),
    }
}

type Cells<'l> = BTreeMap<(Option<ThreadIndex>, Option<SessionKey>), Cell<'l>>;

fn wall(ledger: &Ledger) -> Vec<Share> {
    let mut cells = Cells::new();
    let length = ledger.whole.length();
    for (thread, tally) in &ledger.whole.threads {
        if tally.observed > 0.0 {
            add(&mut cells, *thread, &tally.held_shares(length));
        }
    }
    for ((thread, session), nanos) in &ledger.spent {
        cells.entry((Some(*thread), Some(*session))).or_default().nanos += nanos;
    }
    for stack in &ledger.stacks {
        let owner = session_of(stack.owner);
        let whose = if is_loop(ledger, stack.thread) {
            loop_time::is_stack_busy(stack).then_some(owner.filter(|_| stack.in_step))
        } else {
            owner.map(Some)
        };
        if let Some(whose) = whose {
            give(&mut cells, stack, whose);
        }
    }
    shares(ledger, cells, Mode::Wall)
}

fn cpu(ledger: &Ledger, total_cpu: f64) -> Vec<Share> {
    let mut cells = Cells::new();
    for (thread, tally) in &ledger.whole.threads {
        add(&mut cells, *thread, &tally.cpu_shares());
    }
    let of_threads: f64 = cells.values().map(|cell| cell.nanos).sum();
    cells.entry((None, None)).or_default().nanos = (total_cpu - of_threads).max(0.0);
    for stack in ledger.stacks.iter().filter(|stack| looks_on_cpu(stack.state)) {
        give(&mut cells, stack, session_of(stack.owner));
    }
    shares(ledger, cells, Mode::Cpu)
}

/// Every block is divided by itself, and is its culprit's.
fn blocked(ledger: &Ledger, blocks: &[Held]) -> Vec<Share> {
    let mut by_thread: BTreeMap<ThreadIndex, Vec<&StackSample>> = BTreeMap::new();
    for stack in &ledger.stacks {
        by_thread.entry(stack.thread).or_default().push(stack);
    }
    for stacks in by_thread.values_mut() {
        stacks.sort_by_key(|stack| stack.at);
    }
    let mut all = Vec::new();
    for held in blocks {
        let stacks = by_thread.get(&held.held_by).map_or(&[][..], Vec::as_slice);
        let first = stacks.partition_point(|stack| stack.at < held.began);
        let last = stacks.partition_point(|stack| stack.at <= held.until);
        let cell = Cell {
            nanos: held.block.duration_ms * 1e6,
            stacks: stacks.get(first..last).unwrap_or_default().to_vec(),
        };
        // It is the loop that was blocked, whoever held it up.
        spread(cell, Some(held.thread), held.culprit, true, Mode::Blocked, &mut all);
    }
    all
}

fn add(cells: &mut Cells<'_>, thread: ThreadIndex, shares: &Shares) {
    for (session, nanos) in &shares.sessions {
        cells.entry((Some(thread), Some(*session))).or_default().nanos += nanos;
    }
    cells.entry((Some(thread), None)).or_default().nanos += shares.nobody;
}

fn give<'l>(cells: &mut Cells<'l>, stack: &'l StackSample, session: Option<SessionKey>) {
    // Where the session samples saw nothing there is nothing to divide.
    if let Some(cell) = cells.get_mut(&(Some(stack.thread), session)) {
        cell.stacks.push(stack);
    }
}

fn shares(ledger: &Ledger, cells: Cells<'_>, mode: Mode) -> Vec<Share> {
    let mut all = Vec::new();
    for ((thread, session), cell) in cells {
        let is_loop = thread.is_some_and(|thread| is_loop(ledger, thread));
        spread(cell, thread, session, is_loop, mode, &mut all);
    }
    all
}

/// Spreads a cell's time evenly over its stacks.
fn spread(
    cell: Cell<'_>,
    thread: Option<ThreadIndex>,
    session: Option<SessionKey>,
    is_loop: bool,
    mode: Mode,
    all: &mut Vec<Share>,
) {
    let count = cell.stacks.len();
    if count == 0 && cell.nanos > 0.0 {
        all.push(Share {
            at: None,
            thread,
            session,
            is_loop,
            stack: None,
            native: None,
            nanos: cell.nanos,
        });
    }
    for sample in cell.stacks {
        all.push(Share {
            at: Some(sample.at),
            thread,
            session,
            is_loop,
            stack: sample.stack.clone(),
            native: native(sample, mode),
            nanos: cell.nanos / count as f64,
        });
    }
}

fn is_loop(ledger: &Ledger, thread: ThreadIndex) -> bool {
    ledger.threads.get(&thread).is_some_and(|facts| facts.is_loop)
}

/// What was going on beneath the innermost frame, where that is not the frame's own code.
fn native(sample: &StackSample, mode: Mode) -> Option<String> {
    match sample.state {
        // A worker that was stopped while it collected does neither meanwhile.
        State::Stopped => Some("[stopped]".to_owned()),
        _ if sample.collecting => Some("[gc]".to_owned()),
        // What waits or sleeps is not counted there.
        _ if mode == Mode::Cpu => None,
        State::Syscall(..0) => Some("[asleep]".to_owned()),
        State::Syscall(number) => Some(format!("[syscall {}]", syscall_names::name(number))),
        State::GilWait => Some("[gil wait]".to_owned()),
        State::Runnable | State::Unknown => None,
    }
}
