//! What one thread does, for a dump: whether it is in a step, whose that is, and its stack, all of one instant. Knows
//! nothing of tasks, nor of how it is put into words.
//!
//! By the time that all tasks are read the thread is elsewhere, so its words are read anew, before the stack and behind
//! it. `context_ver` moves with every context that is entered or left: the same number twice, and all that was read in
//! between is of one step, or of one pause between two.

use super::dump_parts::ThreadLook;
use super::said::EPOLL_WAITS;
use super::threads::find_tid;
use super::walk::Walker;
use super::whose::Carrier;
use crate::asyncio::{EventLoop, describe, running_loop_address};
use crate::cpython::{CONTEXT_WORDS, ContextWords, FrameWalk, RawStack, Stacks, ThreadState, word_at};
use crate::memory::Fault;
use crate::model::{Addr, LoopKind, Owner, Stack};
use crate::process::{Doing, ThreadClock};
use std::sync::Arc;

/// A running thread is looked at so often: its frames come and go while they are read, and so do short steps.
const TRIES: usize = 20;

/// What a thread is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Does {
    /// It runs in a context that somebody entered: of a loop, it is in a step.
    Step,
    /// It has nothing to do.
    Rest,
}

/// A thread at one instant.
struct Instant {
    context: Addr,
    /// None: not known.
    does: Option<Does>,
    owner: Owner,
    stack: Option<Arc<Stack>>,
}

impl Instant {
    /// Nothing is known.
    const NONE: Instant = Instant {
        context: Addr::NULL,
        does: None,
        owner: Owner::Torn,
        stack: None,
    };

    /// Of two looks the one that knows more is kept.
    fn known(&self) -> usize {
        usize::from(!self.context.is_null() || self.does.is_some())
            + usize::from(self.stack.is_some())
            + usize::from(!matches!(self.owner, Owner::Torn | Owner::Unreadable))
    }
}

impl Walker {
    /// One thread: what it runs, and its stack.
    pub(super) fn look_at(&mut self, thread: &ThreadState, stacks: &mut Stacks) -> Result<ThreadLook, Fault> {
        let tid = find_tid(&self.plan, &self.heap, thread);
        let event_loop = match running_loop_address(&self.heap, thread) {
            Ok(Some(address)) => describe(&self.heap, address, thread.address).ok(),
            Err(Fault::Gone) => return Err(Fault::Gone),
            _ => None,
        };
        let clock = tid.map(|tid| ThreadClock::open(self.plan.pid, tid));
        let mut instant = Instant::NONE;
        for _ in 0..TRIES {
            let (now, is_whole) = self.instant_of(thread, event_loop.as_ref(), clock.as_ref(), stacks)?;
            if now.known() > instant.known() {
                instant = now;
            }
            if is_whole {
                break;
            }
        }
        Ok(ThreadLook {
            context: instant.context,
            tid,
            name: tid.and_then(|tid| {
                let name = std::fs::read(format!("/proc/{}/task/{tid}/comm", self.plan.pid)).ok()?;
                Some(String::from_utf8_lossy(&name).trim_end_matches('\n').to_string())
            }),
            event_loop,
            does: instant.does,
            owner: instant.owner,
            stack: instant.stack,
        })
    }

    /// What can be proved of the thread at one instant, and whether that is all there is to know.
    fn instant_of(
        &mut self,
        thread: &ThreadState,
        event_loop: Option<&EventLoop>,
        clock: Option<&ThreadClock>,
        stacks: &mut Stacks,
    ) -> Result<(Instant, bool), Fault> {
        let nothing = Ok((Instant::NONE, false));
        let Some(before) = self.words_of(thread)? else {
            return nothing;
        };
        let context = Addr(word_at(&before, 0));
        let doing = clock.and_then(ThreadClock::doing);
        let words = match context {
            Addr::NULL => None,
            context => self.heap.context(context).ok(),
        };
        let walk = FrameWalk::new(&self.heap.offsets, self.heap.version);
        let (mut raw, mut again) = (RawStack::default(), RawStack::default());
        let read = walk.walk(self.heap.memory(), thread.address, &mut raw);
        let reread = walk.walk(self.heap.memory(), thread.address, &mut again);
        if self.words_of(thread)? != Some(before) {
            return nothing;
        }
        let does = does(context, words, event_loop, doing);
        // A loop between two steps works for nobody, whatever its base context holds.
        let works = !context.is_null() && (event_loop.is_none() || does == Some(Does::Step));
        // The context may be another's by the time that it is asked whose it is.
        let mut owner = Owner::Nobody;
        if works {
            let carrier = Carrier {
                context,
                link: Some(thread.address.offset(self.heap.offsets.tstate_context)),
                task: None,
            };
            let owners = self.whose.of(&self.heap, &mut self.resolver, &[carrier], false)?;
            owner = match owners.first() {
                Some(owner) if self.words_of(thread)? == Some(before) => *owner,
                _ => Owner::Torn,
            };
        }
        let mut stack = None;
        if read.is_ok() && reread.is_ok() && raw.frames == again.frames {
            let generation = self.heap.code_generation(&self.plan.runtime).ok();
            stack = generation.and_then(|generation| {
                let stack = stacks.resolve(&self.heap, &self.plan.runtime, &raw, generation);
                stack.ok()
            });
        }
        let is_whole = stack.is_some() && owner != Owner::Torn;
        let instant = Instant {
            context,
            does,
            owner,
            stack,
        };
        Ok((instant, is_whole))
    }

    /// The bytes of the thread's `context`, `context_ver` and `id`; None: they cannot be read, or are another thread's.
    fn words_of(&self, thread: &ThreadState) -> Result<Option<[u8; CONTEXT_WORDS]>, Fault> {
        let mut words = [0; CONTEXT_WORDS];
        let at = self.heap.offsets.tstate_context;
        match self.heap.read(thread.address, at, &mut words) {
            Ok(()) => Ok((word_at(&words, 16) == thread.id).then_some(words)),
            Err(fault @ (Fault::Gone | Fault::Budget)) => Err(fault),
            Err(_) => Ok(None),
        }
    }
}

/// What a thread in this context is at; None: not known. `words` are None where they cannot be read.
fn does(
    context: Addr,
    words: Option<ContextWords>,
    event_loop: Option<&EventLoop>,
    doing: Option<Doing>,
) -> Option<Does> {
    let selector = event_loop.and_then(|event_loop| event_loop.selector);
    let selects = matches!(doing, Some(Doing::Syscall { number, first, .. })
        if EPOLL_WAITS.contains(&number) && Some(first) == selector);
    // Between two handles uvloop stands in a context of its own.
    let between = event_loop
        .is_some_and(|event_loop| event_loop.kind == LoopKind::Uvloop && event_loop.idle_context == Some(context));
    let entered = match context {
        Addr::NULL => Some(false),
        _ => words.map(|words| words.entered),
    };
    match entered {
        _ if selects => Some(Does::Rest),
        Some(true) if !between => Some(Does::Step),
        // Between two steps a loop has no context of its own, whether it sleeps or goes on at once.
        Some(_) if selector.is_none() => Some(Does::Rest),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: Addr = Addr(0x1000);

    fn told(
        context: Addr,
        entered: Option<bool>,
        event_loop: Option<&EventLoop>,
        doing: Option<Doing>,
    ) -> Option<Does> {
        let words = entered.map(|entered| ContextWords {
            previous: Addr::NULL,
            vars: Addr::NULL,
            entered,
        });
        does(context, words, event_loop, doing)
    }

    #[test]
    fn a_loop_rests_only_where_it_sleeps_in_its_own_selector() {
        let asyncio = EventLoop {
            address: Addr(0x2000),
            thread_state: Addr(0x3000),
            kind: LoopKind::Asyncio,
            ready: None,
            idle_context: None,
            selector: Some(7),
            turns: None,
            libuv: None,
        };
        let waits = |first| {
            Some(Doing::Syscall {
                number: 232,
                first,
                second: 0,
                stack: 0,
            })
        };
        let own = Some(&asyncio);
        assert_eq!(told(HERE, Some(false), own, waits(7)), Some(Does::Rest));
        assert_eq!(told(Addr::NULL, None, own, waits(7)), Some(Does::Rest));
        // Run inside of a context that somebody entered, as `copy_context().run(asyncio.run, …)` does.
        assert_eq!(told(HERE, Some(true), own, waits(7)), Some(Does::Rest));
        assert_eq!(
            told(HERE, Some(true), own, waits(8)),
            Some(Does::Step),
            "another's selector"
        );
        assert_eq!(told(HERE, Some(true), own, Some(Doing::Runnable)), Some(Does::Step));
        assert_eq!(told(HERE, Some(true), own, None), Some(Does::Step));
        for doing in [Some(Doing::Runnable), Some(Doing::Asleep), waits(8), None] {
            assert_eq!(
                told(HERE, Some(false), own, doing),
                None,
                "between two steps: {doing:?}"
            );
            assert_eq!(told(Addr::NULL, None, own, doing), None, "{doing:?}");
            assert_eq!(told(HERE, None, own, doing), None, "not to be read: {doing:?}");
        }
        let uvloop = EventLoop {
            kind: LoopKind::Uvloop,
            idle_context: Some(HERE),
            ..asyncio
        };
        assert_eq!(told(HERE, Some(true), Some(&uvloop), Some(Doing::Runnable)), None);
        assert_eq!(told(HERE, Some(true), Some(&uvloop), waits(7)), Some(Does::Rest));
        let unknown = EventLoop {
            selector: None,
            ..asyncio
        };
        assert_eq!(told(HERE, Some(false), Some(&unknown), None), Some(Does::Rest));
        assert_eq!(told(HERE, Some(true), Some(&unknown), None), Some(Does::Step));
        assert_eq!(told(HERE, None, Some(&unknown), None), None);
        assert_eq!(
            told(HERE, Some(true), None, Some(Doing::Runnable)),
            Some(Does::Step),
            "another thread"
        );
    }
}
