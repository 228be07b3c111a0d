//! One look at one thread, and what is said of it: what it does, whose it is, and with which stack. Knows nothing of which threads
//! are looked at.

use super::{Around, BELIEVED, ONE_LOOK, StackReader};
use crate::memory::{Fault, Scatter};
use crate::model::{Addr, Nanos, Owner, StackBatch, StackMode, StackSample, State};
use crate::process::Doing;
use crate::source::instant::{Instant, Start};
use crate::source::interrupt::Interrupts;
use crate::source::owners::{ContextWords, Seen};
use crate::source::place::{Place, place};
use crate::source::said::{LATELY, Said};
use crate::source::still::{Followed, Rest, Seat};

impl StackReader {
    /// Looks at one thread, and says what is to be said of it. `caught`: what it was doing, if that is known already.
    #[allow(clippy::too_many_arguments)] // what one look needs, each of another kind
    pub(super) fn look(
        &mut self,
        slot: usize,
        around: Around,
        still_since: Option<u64>,
        caught: Option<Instant>,
        seat: &mut dyn Seat,
        now: &dyn Fn() -> Nanos,
        batch: &mut StackBatch,
    ) -> Result<(), Fault> {
        self.heap.grant(ONE_LOOK);
        let Some(words) = self.first.words(slot) else {
            return Ok(());
        };
        let cpu = self.cpu_in_first(slot);
        let thread = &mut self.threads.all[slot];
        if !self.followed.contains_key(&thread.index) {
            let Some(new) = Followed::new(&self.plan, &self.heap, thread, self.rseq) else {
                return Ok(());
            };
            self.followed.insert(thread.index, new);
        }
        let Some(followed) = self.followed.get_mut(&thread.index) else {
            return Ok(());
        };
        // It has slept since the last look. One that was given a CPU meanwhile may be on it now, and asleep at the end of
        // this look with as many runs as at its beginning.
        let runs = match followed.rest {
            Rest::Awake => None,
            Rest::Asleep { runs: then } | Rest::Since { runs: then, .. } => {
                followed.clock.runs().filter(|&runs| runs == then)
            }
        };
        if caught.is_none() && repeat(followed, runs.is_some(), now, batch) {
            return Ok(());
        }
        let start = Start {
            words,
            cpu,
            still_since,
            runs,
            generation: around.generation,
        };
        let (heap, runtime, owners) = (&self.heap, &self.plan.runtime, &self.owners);
        let mut instant = caught;
        // One that sleeps is on no CPU, and a CPU that sleeps is not to be woken.
        let may_run = || runs.is_none() && followed.clock.doing() == Some(Doing::Runnable);
        let by_interrupts = self.by_interrupts && instant.is_none() && may_run();
        if let Some(interrupts) = self.interrupts.as_mut().filter(|_| by_interrupts) {
            followed.caught_on = interrupts.follow(heap, thread, followed, &self.reader, cpu, owners)?;
            if followed.caught_on.is_some() {
                let generation = interrupts.generation();
                let reader = &mut self.reader;
                instant = Some(interrupts.instant(heap, runtime, thread, followed, reader, generation)?);
            }
        }
        let known = |context: Addr, scatter: &mut Scatter| owners.push_proofs(context, scatter);
        let mut instant = match instant {
            Some(instant) => instant,
            None => self.reader.read(heap, runtime, thread, followed, start, seat, known)?,
        };
        let at = now();
        if instant.mode == StackMode::OtherCpu && !self.by_interrupts {
            batch.mode = StackMode::OtherCpu;
        }

        let holds_gil = thread.state.address == around.holder;
        // One that has the GIL, and went on less than two milliseconds ago, runs: nobody has to be asked.
        let went_on = followed
            .seen
            .is_some_and(|(when, words)| at - when < LATELY && words != instant.words);
        followed.seen = Some((at, instant.words));
        let mut runs_before = runs;
        let on_its_cpu = match instant.mode {
            StackMode::Interrupt => true,
            StackMode::OwnCpu => went_on && holds_gil && instant.held,
            StackMode::OtherCpu => false,
        };
        let mut said = if on_its_cpu {
            Said::only(State::Runnable)
        } else {
            runs_before = runs_before.or_else(|| followed.clock.runs());
            self.asker.ask(&followed.clock, thread.event_loop.as_ref())
        };
        let is_asleep = matches!(said.state, State::Syscall(_) | State::GilWait);
        // It slept before the look, sleeps after it, and was given no CPU in between.
        let slept = runs.is_some() && is_asleep && followed.clock.runs() == runs;
        instant.held |= slept;
        if !instant.held {
            instant.stack = None;
        }
        // A thread that was stopped seems to sleep in the call that it was in. To be stopped, or to go on, it needs a CPU.
        if slept && followed.clock.is_stopped(&self.freezer) == Some(true) {
            said = Said::only(State::Stopped);
        }
        // Of any part of the look it is not known whether the kernel was asked just then.
        let in_hold = self.holds.touch(around.since, now());
        if in_hold && said.state != State::Unknown {
            said.state = State::Stopped;
        }

        let place = place(&self.plan, &self.heap, &mut self.owners, thread, &instant, said.selects);
        let owner = match place {
            Place::Step | Place::Base if place == Place::Step || thread.event_loop.is_none() => {
                let context = ContextWords {
                    at: thread.state.address.offset(self.heap.offsets.tstate_context),
                    context: instant.words.context,
                    version: instant.words.version,
                };
                let left = self.heap.left();
                let beside = self
                    .interrupts
                    .as_ref()
                    .filter(|_| instant.mode == StackMode::Interrupt);
                let beside = beside.map(Interrupts::beside);
                let mut lasts = instant.held;
                let unproved = |read| {
                    self.owners
                        .lacks_proof(context.context, instant.vars, instant.proofs, read)
                };
                let read = match beside {
                    // What is known of it was not copied with it: that is read now, as far as it still can be.
                    Some(read) if unproved(read) => {
                        self.again.clear();
                        instant.proofs = self.owners.push_proofs(context.context, &mut self.again);
                        let words = self.reader.at.push(thread.state.address, &mut self.again);
                        self.again.read_each(self.heap.memory())?;
                        lasts = instant.words.same_step(self.reader.at.take(&self.again, words));
                        &self.again
                    }
                    Some(read) => read,
                    None => self.reader.snapshot.scatter(),
                };
                let seen = Seen {
                    vars: instant.vars,
                    read,
                    proofs: instant.proofs,
                    in_step: instant.held,
                    lasts,
                };
                let owner = self.owners.owner(&self.heap, context, context.context, seen)?;
                // It was looked up just now: that is of the same instant only if that still lasts.
                let looked_up = self.heap.left() != left;
                if looked_up && instant.mode == StackMode::OwnCpu && instant.held && seat.switches() != instant.switches
                {
                    Owner::Torn
                } else {
                    owner
                }
            }
            Place::Step | Place::Base | Place::None => Owner::Nobody,
            Place::Torn => Owner::Torn,
            Place::Unreadable => Owner::Unreadable,
        };
        let idles = place != Place::Step && said.selects;
        let speaks = if thread.event_loop.is_some() {
            !idles
        } else {
            owner != Owner::Nobody || holds_gil
        };
        let is_nobodys = owner == Owner::Nobody && thread.event_loop.is_none();
        followed.nobody = is_nobodys.then_some((instant.words.context, instant.words.version));
        followed.believed = BELIEVED;
        let collecting = around.collecting && holds_gil;
        let collects_explicitly = match &instant.stack {
            Some(_) if collecting => self.reader.calls_collect(&self.heap),
            _ => None,
        };
        let sample = StackSample {
            at,
            thread: thread.index,
            owner,
            context_version: instant.words.version,
            in_step: place == Place::Step,
            state: said.state,
            collecting,
            collects_explicitly,
            stack: instant.stack,
        };
        // What could not be proved is not said again for as long as it sleeps: the next look may show it.
        let is_known = sample.stack.is_some() && !matches!(owner, Owner::Torn | Owner::Unreadable);
        followed.rest = match runs_before.filter(|_| is_asleep && !in_hold) {
            Some(runs) if slept && (is_known || !speaks) => Rest::Since {
                runs,
                sample: speaks.then(|| Box::new(sample.clone())),
            },
            Some(runs) => Rest::Asleep { runs },
            None => Rest::Awake,
        };
        if speaks {
            batch.samples.push(sample);
        }
        Ok(())
    }
}

/// Says again what was seen of a thread that has slept since. False: it has not.
fn repeat(followed: &mut Followed, sleeps_on: bool, now: &dyn Fn() -> Nanos, batch: &mut StackBatch) -> bool {
    let Rest::Since { sample, .. } = &mut followed.rest else {
        return false;
    };
    if !sleeps_on {
        return false;
    }
    followed.believed = BELIEVED;
    if let Some(sample) = sample {
        sample.at = now();
        batch.samples.push((**sample).clone());
    }
    true
}
