//! What one thread's words, the proof of them and the kernel's word come to: whose it is, in which step, and what it does.
//! Knows nothing of how they are read.

use super::{Asked, Check, InFirst, QueueRead, STOPPED_AFTER, TickReader};
use crate::asyncio::StepWords;
use crate::cpython::{CONTEXT_HEAD, word_at};
use crate::memory::{Fault, Scatter};
use crate::model::{Addr, LoopKind, Owner, Sample, State};
use crate::process::ThreadClock;
use crate::source::owners::{ContextWords, Seen};
use crate::source::still::Words;
use crate::source::threads::DEEPEST_CONTEXT;

/// A chain of contexts, each entered within the one before.
struct Entered {
    outermost: Addr,
    /// The step's own. uvloop runs whatever is ready from within one context of its own, which is then the outermost.
    of_step: Addr,
}

impl TickReader {
    pub(super) fn sample(
        &mut self,
        slot: usize,
        (context, version): (Addr, u64),
        check: Option<&Check>,
        queue: Option<&QueueRead>,
        Asked { said, times, held, .. }: Asked,
    ) -> Result<Option<Sample>, Fault> {
        let mut owner = Owner::Nobody;
        let mut within = None;
        let mut outermost = Addr::NULL;
        let mut is_outermost = true;
        // Whether the thread was still in the same context, of the same step, when the context had been read; and whether
        // it is known where that was entered from.
        let (mut stayed, mut is_told) = (true, true);
        // What the kernel said, it said of that step.
        let mut is_said_of_it = true;
        if let Some(check) = check {
            let (first, second) = (&self.first.scatter, &self.second);
            let (of_context, read) = (
                check.in_first.context(first, second),
                check.in_first.proofs(first, second),
            );
            let is_in_it =
                |words: Option<Words>| words.is_some_and(|words| (words.context, words.version) == (context, version));
            stayed = is_in_it(self.first.at.take(of_context, check.words));
            let end = self.first.at.take(read, check.end);
            let stays = stayed && is_in_it(end);
            // It has left the context, and nothing else ran Python code since.
            let has_left = end.is_some_and(|end| end.version == version.wrapping_add(1))
                && check.gil.is_some_and(|gil| self.first.gil_was_unmoved(read, gil));
            is_told = stayed;
            // It was asked between the two reads.
            is_said_of_it = match check.in_first {
                InFirst::Context => stays,
                InFirst::Nothing | InFirst::All => stayed,
            };
            let (slot_of_head, offset) = check.context;
            let head = of_context
                .bytes(slot_of_head)
                .and_then(|bytes| bytes.get(offset..offset + CONTEXT_HEAD));
            match head.map(|b| (Addr(word_at(b, 8)), self.heap.context_words(b))) {
                Some((class, now)) if self.owners.is_context_type(&self.heap, class) => {
                    let lasts = stays || (has_left && (stayed || (!now.entered && !now.vars.is_null())));
                    let seen = (now.vars, stayed, lasts);
                    if stayed && ((said.selects && is_said_of_it) || !now.entered) {
                        self.threads.all[slot].base = context;
                    } else if now.entered && self.threads.all[slot].base.is_null() {
                        let thread = &self.threads.all[slot];
                        let base = thread.base_of_started(&self.plan, &self.heap, context, now.previous);
                        self.threads.all[slot].base = base;
                    }
                    if context == self.threads.all[slot].base {
                        // A thread of its own that names its session without entering a context works for it all the
                        // same; a loop between two steps works for nobody.
                        if self.threads.all[slot].event_loop.is_none() {
                            owner = self.owner(slot, (context, version), seen, check)?;
                            self.threads.all[slot].base_is_named = matches!(owner, Owner::Session(_));
                        }
                    } else {
                        // A context that was left already no longer says where it was entered from.
                        let base = self.threads.all[slot].base;
                        let is_alone = now.previous.is_null() || now.previous == base;
                        is_told = stayed && (stays || is_alone);
                        let entered = self.entered(slot, context, now.previous, is_told && !is_alone);
                        (outermost, is_outermost) = (entered.outermost, entered.outermost == context);
                        owner = self.owner(slot, (context, version), seen, check)?;
                        let is_loop = self.threads.all[slot].event_loop.is_some();
                        within = match is_loop {
                            true if !is_told => Some(Owner::Unreadable),
                            true if entered.of_step != context => {
                                Some(self.step_owner(slot, (context, version), entered.of_step)?)
                            }
                            _ => None,
                        };
                    }
                }
                _ if stayed => owner = Owner::Unreadable,
                _ => {
                    owner = Owner::Torn;
                    outermost = context;
                }
            }
        }
        let (taken, turn) = queue.map_or((None, None), |queue| self.queue_words(queue));
        let callback = check.filter(|_| stayed).and_then(|check| {
            let read = check.in_first.context(&self.first.scatter, &self.second);
            check.callback?.word(read)
        });
        let thread = &mut self.threads.all[slot];
        if queue.is_some_and(|queue| queue.foreseen.is_damaged(&self.first.scatter)) {
            thread.foreseen.forget();
        }
        if check.is_some() && thread.event_loop.is_some() {
            thread.foreseen.meet(context);
            if !stayed {
                thread.foreseen.came_too_late();
            }
        }
        let words = StepWords {
            context,
            version,
            outermost,
            is_outermost,
            stayed: is_told,
            taken,
            turn,
            callback,
        };
        let (kind, idle) = (
            thread.event_loop.map(|l| l.kind),
            thread.event_loop.and_then(|l| l.idle_context),
        );
        let (step, progress) = thread.tracker.look(words, kind, idle);
        if step.is_none() && kind == Some(LoopKind::Uvloop) {
            owner = if owner == Owner::Torn {
                Owner::Torn
            } else {
                Owner::Nobody
            };
        }
        // The step ended while the kernel was asked: whatever it said was said of another one, and the thread ran.
        let state = match is_said_of_it {
            _ if held => State::Stopped,
            true => said.state,
            false => State::Runnable,
        };
        let repeated = thread.last == (context, version);
        thread.stands = repeated;
        thread.last = (context, version);
        thread.last_idle = outermost.is_null();
        let sleeps = matches!(state, State::Syscall(_) | State::GilWait);
        thread.asleep = if repeated && sleeps { thread.asleep + 1 } else { 0 };
        // A signal wakes a thread before it stops it: one that has run and still sleeps where it slept may be stopped, and
        // so may one that sleeps outside of any system call, or slept when otop came.
        let ran = times.map(|(cpu, _)| cpu);
        let woke = repeated && ran.is_some() && thread.ran.is_some() && ran != thread.ran;
        let is_new = ran.is_some() && thread.ran.is_none();
        thread.ran = ran;
        let suspect = sleeps && (woke || is_new || state == State::Syscall(-1));
        let mut state = state;
        if suspect || (thread.asleep >= STOPPED_AFTER && thread.asleep.is_multiple_of(STOPPED_AFTER)) {
            thread.asleep = STOPPED_AFTER;
            let is_stopped = |clock: &ThreadClock| clock.is_stopped(&self.freezer);
            if thread.clock.as_ref().and_then(is_stopped) == Some(true) {
                state = State::Stopped;
                thread.asleep = STOPPED_AFTER - 1;
            }
        }
        let elsewhere = matches!(state, State::Syscall(0..)) && !said.selects;
        if thread.event_loop.is_some() && step.is_none() && elsewhere && thread.asleep >= STOPPED_AFTER {
            // No loop does that for long: it may be over, and the thread do something else.
            self.threads.stale |= thread.asleep.is_multiple_of(STOPPED_AFTER);
        }
        let matters = thread.matters() || state != State::Unknown;
        if !matters {
            return Ok(None);
        }
        Ok(Some(Sample {
            thread: thread.index,
            owner,
            within: within.filter(|_| step.is_some()),
            step,
            progress,
            state,
            cpu: times.map(|(cpu, _)| cpu),
            run_delay: times.map(|(_, delay)| delay),
        }))
    }

    fn owner(
        &mut self,
        slot: usize,
        (context, version): (Addr, u64),
        (vars, in_step, lasts): (Addr, bool, bool),
        check: &Check,
    ) -> Result<Owner, Fault> {
        let words = self.context_words(slot, (context, version));
        let read = check.in_first.proofs(&self.first.scatter, &self.second);
        let seen = Seen {
            vars,
            read,
            proofs: check.proofs,
            in_step,
            lasts,
        };
        self.owners.owner(&self.heap, words, context, seen)
    }

    /// Whose the step is whose own context is `of_step`, from which the thread has gone on into another one.
    fn step_owner(&mut self, slot: usize, words: (Addr, u64), of_step: Addr) -> Result<Owner, Fault> {
        // The task of a context that is not the current one is not at hand.
        if self.owners.needs_task() {
            return Ok(Owner::Unreadable);
        }
        let words = self.context_words(slot, words);
        let mut read = Scatter::new();
        let head = read.push(of_step, CONTEXT_HEAD);
        let proofs = self.owners.push_proofs(of_step, &mut read);
        read.read_each(self.heap.memory())?;
        let Some(head) = read.bytes(head) else {
            return Ok(Owner::Unreadable);
        };
        let vars = self.heap.context_words(head).vars;
        let seen = Seen {
            vars,
            read: &read,
            proofs,
            // The words were not read along with it.
            in_step: false,
            lasts: false,
        };
        self.owners.owner(&self.heap, words, of_step, seen)
    }

    fn context_words(&self, slot: usize, (context, version): (Addr, u64)) -> ContextWords {
        let at = self.threads.all[slot].state.address;
        ContextWords {
            at: at.offset(self.heap.offsets.tstate_context),
            context,
            version,
        }
    }

    /// The chain of entered contexts that ends in `context`. `is_nested`: it was entered from another, `previous`.
    fn entered(&self, slot: usize, context: Addr, previous: Addr, is_nested: bool) -> Entered {
        let thread = &self.threads.all[slot];
        let base = thread.base;
        let mut entered = Entered {
            outermost: context,
            of_step: context,
        };
        if !is_nested {
            return entered;
        }
        let idle = thread.event_loop.and_then(|event_loop| event_loop.idle_context);
        let mut at = previous;
        for _ in 0..DEEPEST_CONTEXT {
            match self.heap.context(at) {
                Ok(words) if words.entered => {
                    entered.outermost = at;
                    if Some(at) != idle {
                        entered.of_step = at;
                    }
                    at = words.previous;
                }
                _ => break,
            }
            if at.is_null() || at == base {
                break;
            }
        }
        entered
    }
}
