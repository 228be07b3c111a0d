//! One tick: which context each Python thread runs in, proved, and what the kernel says of the thread. This is the path
//! that runs a thousand times a second. Knows nothing of schedules and channels, nor of what the samples mean.
//!
//! A tick is two scatter reads with the kernel's files in between. The first takes `(context, context_ver)` of every
//! thread at one instant, the GIL and the ready queues (`first.rs`). The second proves it: the context's own words, the place where
//! its variables keep the session, the text there, and `(context, context_ver)` again. A context that is met for the
//! first time is looked up in between; then the last read decides. Nothing is ever tried twice in a tick: what cannot
//! be proved is counted as torn, because a second try would select what stands still.

use super::attach::Plan;
use super::first::FirstRead;
use super::fixed::FixedWords;
use super::owners::{ContextWords, Owners};
use super::said::{Asker, LATELY, Said};
use super::still::{Words, WordsAt};
use super::threads::{DEEPEST_CONTEXT, QUIET_TICKS, Thread, Threads};
use crate::asyncio::{CallbackSlots, DEQUE_HEAD, ReadyWords, StepWords};
use crate::cpython::{CONTEXT_HEAD, Heap, word_at};
use crate::identity::{Naming, ProofSlots};
use crate::memory::{Fault, LiveMemory, Scatter};
use crate::model::{Addr, Batch, Gil, Labels, LoopKind, Nanos, Owner, Sample, SessionKey, State, ThreadIndex, Tick};
use crate::process::{Doing, ThreadClock};
use std::io;
use std::sync::Arc;

/// What one tick may read; a sampler that runs above others must not read for long.
const ONE_TICK: u64 = 4 << 20;
/// A thread that seems to sleep in one and the same step for this many ticks is asked whether it is stopped.
const STOPPED_AFTER: u32 = 20;
/// One that was woken, and waits for a CPU, has run no more often than when it fell asleep: so every third tick asks whether
/// it still sleeps. A wait for a CPU is then known to within three ticks.
const ASKED_EVERY: u32 = 3;

/// Takes ticks.
pub struct TickReader {
    plan: Plan,
    heap: Heap,
    owners: Owners,
    threads: Threads,
    asker: Asker,
    first: FirstRead,
    second: Scatter,
    /// Lists of one tick, kept so that the next need not allocate.
    words: Vec<Option<(Addr, u64)>>,
    queues: Vec<QueueRead>,
    states: Vec<Asked>,
    checks: Vec<Check>,
    /// When the last tick was.
    last_at: Nanos,
    /// What the last tick saw, if that holds for as long as no thread runs.
    rest: Option<Rest>,
}

/// What holds as long as no thread runs.
struct Rest {
    gil: Gil,
    collecting: Option<bool>,
    samples: Vec<Sample>,
}

/// The slots of what a loop's thread has beside its words.
struct QueueRead {
    thread: usize,
    ready: Option<usize>,
    turns: Option<usize>,
    /// The thread's words once more, behind all of it.
    again: usize,
    /// What proves whose the context is, where it is likely to be that of the last tick.
    early: Option<(usize, Option<ProofSlots>)>,
}

/// A chain of contexts, each entered within the one before.
struct Entered {
    outermost: Addr,
    /// The step's own. uvloop runs whatever is ready from within one context of its own, which is then the outermost.
    of_step: Addr,
}

/// What is read to prove whose a thread's context is: slots of the second read, or of the first.
struct Check {
    thread: usize,
    in_first: bool,
    context: usize,
    proof: Option<ProofSlots>,
    callback: Option<CallbackSlots>,
    words: usize,
}

/// What the kernel says of a thread, or would.
#[derive(Clone, Copy)]
struct Asked {
    said: Said,
    /// On-CPU time, and how long it waited for a CPU.
    times: Option<(Nanos, Nanos)>,
    /// It holds of the words of the first read, whatever ended since: the thread runs, or has not run for longer.
    lasts: bool,
}

const NOTHING: Asked = Asked {
    said: Said::only(State::Unknown),
    times: None,
    lasts: false,
};

impl TickReader {
    pub fn open(plan: Plan, naming: Naming) -> io::Result<TickReader> {
        let memory = LiveMemory::open(plan.pid)?;
        let heap = Heap::new(Box::new(memory), plan.offsets.clone(), plan.version);
        Ok(TickReader {
            first: FirstRead::new(
                WordsAt::new(&heap.offsets, heap.offsets.tstate_context),
                FixedWords::new(&heap, &plan.runtime),
            ),
            asker: Asker::new(&plan),
            plan,
            heap,
            owners: Owners::new(naming),
            threads: Threads::new(),
            second: Scatter::new(),
            words: Vec::new(),
            queues: Vec::new(),
            states: Vec::new(),
            checks: Vec::new(),
            last_at: Nanos::ZERO,
            rest: None,
        })
    }

    /// Sessions that were met since the last call, with their names.
    pub fn take_new_labels(&mut self) -> Vec<(SessionKey, Arc<Labels>)> {
        self.owners.take_new_labels()
    }

    /// Looks which threads there are and which run a loop; says in `batch` what changed. To be called some five times a
    /// second; between that, a tick that sees another newest thread asks for it.
    pub fn survey(&mut self, batch: &mut Batch) -> Result<(), Fault> {
        self.rest = None;
        self.owners.survey(&self.heap, &self.plan.runtime);
        self.first.forget();
        self.threads.survey(&self.plan, &self.heap, batch)
    }

    /// The CPUs that the threads with a loop are on, or were on last; without those of which it is not known.
    pub fn loop_cpus(&self) -> Vec<u32> {
        let loops = self.threads.all.iter().filter(|thread| thread.event_loop.is_some());
        loops.filter_map(|thread| thread.clock.as_ref()?.cpu()).collect()
    }

    /// True: the next tick would miss threads.
    pub fn is_stale(&self) -> bool {
        self.threads.stale
    }

    /// Forgets addresses, so that memory which was freed and used again is looked at anew; to be called now and then.
    pub fn forget(&mut self) {
        self.owners.forget();
        self.rest = None;
    }

    /// Takes one tick into `batch`. `late`, `own_wait` and `suspended` are the sampler's to say.
    pub fn tick(&mut self, tick: Tick, now: impl Fn() -> Nanos, batch: &mut Batch) -> Result<(), Fault> {
        self.heap.grant(ONE_TICK);
        if self.still_rests()?
            && let Some(rest) = &self.rest
        {
            let at = now();
            self.last_at = at;
            let first = batch.samples.len() as u32;
            batch.samples.extend_from_slice(&rest.samples);
            batch.ticks.push(Tick {
                at,
                gil: rest.gil,
                collecting: rest.collecting,
                first,
                count: rest.samples.len() as u32,
                ..tick
            });
            return Ok(());
        }
        let mut queues = std::mem::take(&mut self.queues);
        self.push_first(&mut queues);
        let at = self.first.take(&mut self.threads, self.heap.memory(), now)?;
        let holder = self.first.holder();
        let holder = self.threads.all.iter().find(|t| t.state.address == holder);
        let gil = Gil {
            holder: holder.map(|thread| thread.index),
            switches: self.first.gil().map_or(0, |gil| gil.switch_number),
        };
        let words = |slot| Some((self.first.words(slot)?.context, self.first.words(slot)?.version));
        let mut all_words = std::mem::take(&mut self.words);
        all_words.clear();
        all_words.extend((0..self.threads.all.len()).map(words));
        let words = all_words;
        let mut states = std::mem::take(&mut self.states);
        self.ask_kernel(&words, gil.holder, at, &mut states);
        let mut checks = std::mem::take(&mut self.checks);
        self.push_checks(&words, &queues, &states, &mut checks);
        self.second.read_each(self.heap.memory())?;

        let first = batch.samples.len() as u32;
        let mut next_check = checks.iter().peekable();
        for slot in 0..self.threads.all.len() {
            let check = next_check.next_if(|check| check.thread == slot);
            let Some(own) = words[slot] else { continue };
            let queue = queues.iter().find(|queue| queue.thread == slot);
            let said = states[slot];
            if let Some(sample) = self.sample(slot, own, check, queue, said)? {
                batch.samples.push(sample);
            }
        }
        (self.words, self.queues, self.states, self.checks) = (words, queues, states, checks);
        let collecting = self.first.collecting();
        self.last_at = at;
        let count = batch.samples.len() as u32 - first;
        self.rest = self.rests().then(|| Rest {
            gil,
            collecting,
            samples: batch.samples[first as usize..].to_vec(),
        });
        if let Some(rest) = &self.rest
            && rest
                .samples
                .iter()
                .any(|s| matches!(s.owner, Owner::Torn | Owner::Unreadable))
        {
            self.rest = None;
        }
        batch.ticks.push(Tick {
            at,
            gil,
            collecting,
            first,
            count,
            ..tick
        });
        Ok(())
    }

    /// Every thread that matters slept from before its words were read until the end of the tick, and so did whoever had
    /// the GIL last: until one of them runs, or another takes the GIL, nothing of what was seen can change.
    fn rests(&self) -> bool {
        let Some((last_holder, _)) = self.first.last_gil() else {
            return false;
        };
        let threads = &self.threads.all;
        threads
            .iter()
            .filter(|thread| thread.matters())
            .all(|thread| thread.rests)
            && threads
                .iter()
                .any(|thread| thread.rests && thread.state.address == last_holder)
            && !self.threads.stale
    }

    /// Asks whether what the last tick saw still holds. A worker that waits for something to do costs next to nothing so.
    fn still_rests(&mut self) -> Result<bool, Fault> {
        if self.rest.is_none() || self.threads.stale {
            return Ok(false);
        }
        for thread in self.threads.all.iter_mut().filter(|thread| thread.rests) {
            let Some(clock) = &thread.clock else { return Ok(false) };
            let due = (thread.asleep + 1).is_multiple_of(STOPPED_AFTER);
            let runs = clock.runs();
            if due || runs.is_none() || runs != thread.slept.map(|(runs, _)| runs) {
                return Ok(false);
            }
            if (thread.asleep + 1).is_multiple_of(ASKED_EVERY) && clock.doing() == Some(Doing::Runnable) {
                thread.slept = None;
                return Ok(false);
            }
        }
        if self.threads.all.len() > 1 && !self.first.gil_is_unmoved(self.heap.memory())? {
            return Ok(false);
        }
        let quiet = |thread: &Thread| thread.quiet.saturating_add(1) == QUIET_TICKS;
        if self.threads.all.iter().any(quiet) {
            return Ok(false);
        }
        for thread in &mut self.threads.all {
            thread.asleep = thread.asleep.saturating_add(u32::from(thread.rests));
            thread.quiet = thread.quiet.saturating_add(u32::from(thread.quiet > 0));
        }
        Ok(true)
    }

    /// Asks for the first read: of each loop its words, its queue, and its words once more. A loop that stood in one step
    /// at the last two ticks is likely to stand there now: what proves that comes along, and spares the second read.
    fn push_first(&mut self, queues: &mut Vec<QueueRead>) {
        self.first.begin(&self.threads);
        let at = self.first.at;
        let first = &mut self.first.scatter;
        queues.clear();
        for (slot, thread) in self.threads.all.iter().enumerate() {
            let Some(event_loop) = thread.event_loop else { continue };
            let context = thread.last.0;
            let early = (thread.stands && !thread.last_idle && !context.is_null()).then(|| {
                let head = first.push(context, CONTEXT_HEAD);
                (head, self.owners.push_proof(context, first))
            });
            queues.push(QueueRead {
                thread: slot,
                early,
                ready: event_loop.ready.map(|ready| first.push(ready, DEQUE_HEAD)),
                turns: event_loop.turns.map(|turns| first.push(turns, 8)),
                again: at.push(thread.state.address, first),
            });
        }
    }

    /// Handles taken from the thread's queue, and libuv's turns, where they were read in the same step as its words.
    fn queue_words(&self, queue: &QueueRead) -> (Option<u64>, Option<u64>) {
        let first = &self.first.scatter;
        let words = |words: Option<Words>| words.map(|words| (words.context, words.version));
        if words(self.first.at.take(first, queue.again)) != words(self.first.words(queue.thread)) {
            return (None, None);
        }
        let ready = queue.ready.and_then(|slot| first.bytes(slot));
        let taken = ready.and_then(|head| ReadyWords::of_deque(&self.heap, head)?.taken);
        (taken, queue.turns.and_then(|slot| first.u64(slot, 0)))
    }

    /// Asks the kernel of the threads that matter at this tick.
    fn ask_kernel(
        &mut self,
        words: &[Option<(Addr, u64)>],
        holder: Option<ThreadIndex>,
        at: Nanos,
        states: &mut Vec<Asked>,
    ) {
        let last_at = self.last_at;
        states.clear();
        for (thread, own) in self.threads.all.iter_mut().zip(words) {
            let in_context =
                own.is_some_and(|(context, _)| !context.is_null() && (context != thread.base || thread.base_is_named));
            thread.quiet = if in_context { 0 } else { thread.quiet.saturating_add(1) };
            thread.rests = false;
            let matters = thread.matters() || holder == Some(thread.index);
            if !matters {
                states.push(NOTHING);
                continue;
            }
            if thread.clock.is_none() {
                thread.clock = thread.tid.map(|tid| ThreadClock::open(self.plan.pid, tid));
            }
            let Some(clock) = &thread.clock else {
                states.push(NOTHING);
                continue;
            };
            // The account first: one that sleeps after it, and has the same number of runs later, slept all the time.
            let account = clock.account();
            let runs = account.map(|(_, _, runs)| runs);
            if own.is_some_and(|own| own != thread.last) && at - last_at < LATELY {
                thread.went_on_at = at;
            }
            let runs_on = holder == Some(thread.index) && at - thread.went_on_at < LATELY;
            let slept = thread.slept.filter(|&(then, _)| runs == Some(then));
            let ask_again = (thread.asleep + 1).is_multiple_of(ASKED_EVERY);
            let said = match slept {
                Some((_, said)) if !ask_again => said,
                // One that has the GIL, and entered or left a context a moment ago, runs.
                _ if runs_on => Said::only(State::Runnable),
                _ => self.asker.ask(clock, thread.event_loop.as_ref()),
            };
            let sleeps = matches!(said.state, State::Syscall(_) | State::GilWait);
            thread.slept = runs.filter(|_| sleeps).map(|runs| (runs, said));
            thread.sleeps_at = said.sleeps_at.or(thread.sleeps_at);
            thread.rests = slept.is_some() && sleeps;
            let times = account.map(|(cpu, delay, _)| (cpu, delay));
            let lasts = thread.rests || said.state == State::Runnable;
            states.push(Asked { said, times, lasts });
        }
    }

    /// Collects the second read: of each thread that is in a context which was entered, or may be.
    fn push_checks(
        &mut self,
        words: &[Option<(Addr, u64)>],
        queues: &[QueueRead],
        states: &[Asked],
        checks: &mut Vec<Check>,
    ) {
        self.second.clear();
        checks.clear();
        for (slot, (thread, own)) in self.threads.all.iter().zip(words).enumerate() {
            let Some((context, version)) = *own else { continue };
            // The same words as at the last tick, when they were those of no step: nothing was entered since.
            // Only a loop's: in another thread `ContextVar.set` may name a session in the base context itself.
            let idle = thread.last_idle && thread.last == (context, version) && thread.event_loop.is_some();
            if context.is_null() || idle {
                continue;
            }
            let queue = queues.iter().find(|queue| queue.thread == slot);
            // Not where it slept only lately: it may have gone to sleep in another step, since the first read.
            if thread.last == (context, version)
                && states.get(slot).is_some_and(|asked| asked.lasts)
                && let Some((queue, (context, proof))) = queue.and_then(|queue| Some((queue, queue.early?)))
            {
                checks.push(Check {
                    thread: slot,
                    in_first: true,
                    context,
                    proof,
                    callback: None,
                    words: queue.again,
                });
                continue;
            }
            let head = self.second.push(context, CONTEXT_HEAD);
            let proof = self.owners.push_proof(context, &mut self.second);
            // What libuv runs is asked for once in each context: as long as that is not left, it cannot change.
            let libuv = thread
                .event_loop
                .and_then(|l| l.libuv)
                .filter(|_| thread.last != (context, version));
            let callback = libuv
                .zip(thread.sleeps_at)
                .map(|(libuv, at)| libuv.push(at, &mut self.second));
            checks.push(Check {
                thread: slot,
                in_first: false,
                context: head,
                proof,
                callback,
                words: self.first.at.push(thread.state.address, &mut self.second),
            });
        }
    }

    fn sample(
        &mut self,
        slot: usize,
        (context, version): (Addr, u64),
        check: Option<&Check>,
        queue: Option<&QueueRead>,
        Asked { said, times, .. }: Asked,
    ) -> Result<Option<Sample>, Fault> {
        let mut owner = Owner::Nobody;
        let mut within = None;
        let mut outermost = Addr::NULL;
        let mut is_outermost = true;
        // Whether the thread was still in the same context, of the same step, at the end of the second read.
        let mut stayed = true;
        if let Some(check) = check {
            let read = if check.in_first {
                &self.first.scatter
            } else {
                &self.second
            };
            let again = self.first.at.take(read, check.words);
            stayed = again.is_some_and(|again| (again.context, again.version) == (context, version));
            let head = read.bytes(check.context);
            match head.map(|b| (Addr(word_at(b, 8)), self.heap.context_words(b))) {
                Some((class, now)) if self.owners.is_context_type(&self.heap, class) => {
                    if stayed && (said.selects || !now.entered) {
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
                            owner = self.owner(slot, (context, version), now.vars, check)?;
                            self.threads.all[slot].base_is_named = matches!(owner, Owner::Session(_));
                        }
                    } else {
                        let entered = self.entered(slot, context, now.previous, stayed);
                        (outermost, is_outermost) = (entered.outermost, entered.outermost == context);
                        owner = self.owner(slot, (context, version), now.vars, check)?;
                        if entered.of_step != context && self.threads.all[slot].event_loop.is_some() {
                            within = Some(self.step_owner(slot, (context, version), entered.of_step)?);
                        }
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
        let thread = &mut self.threads.all[slot];
        let words = StepWords {
            context,
            version,
            outermost,
            is_outermost,
            stayed,
            taken,
            turn,
            callback: check
                .filter(|_| stayed)
                .and_then(|check| check.callback?.word(&self.second)),
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
        let state = if stayed { said.state } else { State::Runnable };
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
            if thread.clock.as_ref().and_then(ThreadClock::is_stopped) == Some(true) {
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
        vars: Addr,
        check: &Check,
    ) -> Result<Owner, Fault> {
        let words = self.context_words(slot, (context, version));
        let read = if check.in_first {
            &self.first.scatter
        } else {
            &self.second
        };
        self.owners.owner(&self.heap, words, context, vars, read, check.proof)
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
        let proof = self.owners.push_proof(of_step, &mut read);
        read.read_each(self.heap.memory())?;
        let Some(head) = read.bytes(head) else {
            return Ok(Owner::Unreadable);
        };
        let vars = self.heap.context_words(head).vars;
        self.owners.owner(&self.heap, words, of_step, vars, &read, proof)
    }

    fn context_words(&self, slot: usize, (context, version): (Addr, u64)) -> ContextWords {
        let at = self.threads.all[slot].state.address;
        ContextWords {
            at: at.offset(self.heap.offsets.tstate_context),
            context,
            version,
        }
    }

    /// The chain of entered contexts that ends in `context`.
    fn entered(&self, slot: usize, context: Addr, previous: Addr, stayed: bool) -> Entered {
        let thread = &self.threads.all[slot];
        let base = thread.base;
        let mut entered = Entered {
            outermost: context,
            of_step: context,
        };
        // A context that was left already no longer says where it was entered from.
        if !stayed || previous.is_null() || previous == base {
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
