//! Where a thread is, by the context that it was found in: in a step, or in none. Knows nothing of sessions and frames.

use super::attach::Plan;
use super::instant::Instant;
use super::owners::Owners;
use super::threads::Thread;
use crate::cpython::{Heap, word_at};
use crate::model::{Addr, LoopKind};

/// Where a thread is, as its context shows.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// In a context that was entered.
    Step,
    /// In the context that it has when it is in none that was entered.
    Base,
    /// In no context at all.
    None,
    Torn,
    Unreadable,
}

/// Finds it, and learns the thread's base context on the way.
pub(super) fn place(
    plan: &Plan,
    heap: &Heap,
    owners: &mut Owners,
    thread: &mut Thread,
    instant: &Instant,
    selects: bool,
) -> Place {
    let context = instant.words.context;
    if context.is_null() {
        return Place::None;
    }
    let Some(head) = &instant.context else {
        return if instant.held { Place::Unreadable } else { Place::Torn };
    };
    if !owners.is_context_type(heap, Addr(word_at(head, 8))) {
        return if instant.held { Place::Unreadable } else { Place::Torn };
    }
    let now = heap.context_words(head);
    if instant.held && (selects || !now.entered) {
        thread.base = context;
    } else if now.entered && thread.base.is_null() {
        thread.base = thread.base_of_started(plan, heap, context, now.previous);
    }
    let is_idle_handler = thread
        .event_loop
        .is_some_and(|l| l.kind == LoopKind::Uvloop && l.idle_context == Some(context));
    if context == thread.base || is_idle_handler || !now.entered {
        Place::Base
    } else {
        Place::Step
    }
}
