//! Whole stacks with their sessions, each of one instant: which threads are looked at, in what order, and how
//! what one look has read spares another. Knows nothing of schedules and channels; what is said of each thread is in `look.rs`,
//! how one stack is read and proved in `instant.rs` and `interrupt.rs`.
//!
//! One attempt a tick: what cannot be proved is said to be unresolved. A second try would succeed most for what stands
//! still, and so make of a sample a selection.

mod look;

use super::attach::Plan;
use super::first::FirstRead;
use super::fixed::FixedWords;
use super::instant::{Instant, Reader};
use super::interrupt::Interrupts;
use super::owners::Owners;
use super::said::Asker;
use super::still::{Followed, Rest, Seat, Unseated};
use super::threads::Threads;
use crate::bpf::{ChainReader, Layout};
use crate::cpython::{Heap, rseq_cpu};
use crate::identity::Naming;
use crate::memory::{Fault, LiveMemory, QuickMap, Scatter};
use crate::model::{Addr, Batch, Labels, Nanos, SessionKey, StackBatch, StackMode, ThreadIndex};
use crate::process::{self, Freezer, Holds};
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError};

/// What the look at one thread may read.
const ONE_LOOK: u64 = 8 << 20;
/// Threads that are looked at in one tick; where there are more, they take turns.
const MOST_THREADS: usize = 32;
/// A thread that was nobody's is not looked at for this many ticks, unless it enters another context.
const BELIEVED: u8 = 16;

/// Takes stacks.
pub struct StackReader {
    plan: Plan,
    heap: Heap,
    owners: Owners,
    threads: Threads,
    followed: QuickMap<ThreadIndex, Followed>,
    reader: Reader,
    /// Where it is allowed; else a thread is read from its own CPU.
    interrupts: Option<Interrupts>,
    /// They are used, from one survey to the next.
    by_interrupts: bool,
    /// What was not copied in an interrupt.
    again: Scatter,
    /// What interrupts will be made of.
    loading: Option<Receiver<ChainReader>>,
    asker: Asker,
    freezer: Freezer,
    /// When otop itself held the worker.
    holds: Arc<Holds>,
    first: FirstRead,
    /// Threads to look at in this tick.
    chosen: Vec<usize>,
    turn: usize,
    rseq: Option<i64>,
}

/// What the first read of a tick shows beside the threads' own words.
#[derive(Clone, Copy)]
struct Around {
    /// When it began.
    since: Nanos,
    holder: Addr,
    collecting: bool,
    generation: Option<u64>,
}

/// The loop's thread, caught before anything else of the tick was read.
struct Caught {
    slot: usize,
    around: Around,
    /// No other thread ran since the last first read: what it had read of those still stands, and need not be read again.
    alone: bool,
    instant: Instant,
}

impl StackReader {
    /// `holds`: when otop itself held the worker.
    pub fn open(plan: Plan, naming: Naming, holds: Arc<Holds>) -> io::Result<StackReader> {
        let open = || LiveMemory::open(plan.pid);
        let heap = Heap::new(Box::new(open()?), plan.offsets.clone(), plan.version);
        let mappings = process::maps(plan.pid).unwrap_or_default();
        let rseq = rseq_cpu(heap.memory(), &mappings);
        let reader = Reader::new(&heap, Box::new(open()?));
        Ok(StackReader {
            interrupts: None,
            by_interrupts: false,
            again: Scatter::new(),
            loading: None,
            first: FirstRead::new(reader.at, FixedWords::new(&heap, &plan.runtime)),
            reader,
            asker: Asker::new(&plan),
            freezer: Freezer::of(plan.pid),
            holds,
            plan,
            heap,
            owners: Owners::new(naming),
            threads: Threads::new(),
            followed: QuickMap::default(),
            chosen: Vec::new(),
            turn: 0,
            rseq,
        })
    }

    /// Sessions that were met since the last call, with their names.
    pub fn take_new_labels(&mut self) -> Vec<(SessionKey, Arc<Labels>)> {
        self.owners.take_new_labels()
    }

    /// Looks which threads there are; to be called some five times a second.
    pub fn survey(&mut self) -> Result<(), Fault> {
        self.interrupts.take_if(|interrupts| interrupts.refused);
        self.take_program();
        self.owners.survey(&self.heap, &self.plan.runtime);
        // Where a context's task tells whose it is, each is looked up by itself, which takes longer than a short step: from the
        // worker's own CPU it stands still meanwhile.
        self.by_interrupts = self.interrupts.is_some() && !self.owners.by_context();
        // Whoever takes ticks says which threads there are.
        let mut unsaid = Batch::default();
        self.first.forget();
        self.threads.survey(&self.plan, &self.heap, &mut unsaid)?;
        for ended in unsaid.ended {
            self.followed.remove(&ended);
        }
        Ok(())
    }

    /// What a program has to copy for reading by interrupts.
    pub fn layout(&self) -> Layout {
        Interrupts::layout(&self.reader)
    }

    /// Reads by interrupts from the survey on that finds the program there, which is soon: the kernel takes some milliseconds to prove it.
    pub fn will_interrupt(&mut self, loading: Receiver<ChainReader>) {
        self.loading = Some(loading);
    }

    /// Threads are read by interrupts of their CPUs: a seat on those is not needed, and in the way.
    pub fn interrupts(&self) -> bool {
        self.by_interrupts
    }

    /// The CPUs that the loops' threads were on last.
    pub fn loop_cpus(&self) -> Vec<u32> {
        let loops = self.threads.all.iter().filter(|thread| thread.event_loop.is_some());
        loops
            .filter_map(|thread| self.followed.get(&thread.index)?.clock.cpu())
            .collect()
    }

    /// True: the next tick would miss threads, or be taken in another way than it could be.
    pub fn is_stale(&mut self) -> bool {
        self.take_program() || self.threads.stale
    }

    /// Takes the program, if it is there by now. True: it has just come.
    fn take_program(&mut self) -> bool {
        match self.loading.as_ref().map(Receiver::try_recv) {
            Some(Ok(chain)) => {
                let interrupts = Interrupts::new(self.plan.pid, chain, &self.heap, &self.plan.runtime);
                self.interrupts = Some(interrupts);
                true
            }
            Some(Err(TryRecvError::Disconnected)) => {
                self.loading = None;
                false
            }
            Some(Err(TryRecvError::Empty)) | None => false,
        }
    }

    /// From now on code objects are looked at again before they are believed, where the worker does not count those that
    /// it freed (up to 3.13); to be called about once a second.
    pub fn look_again(&mut self) {
        if !self.plan.version.at_least(3, 14) {
            self.reader.stacks.look_again();
        }
    }

    /// Forgets addresses, so that memory which was freed and used again is looked at anew; to be called now and then.
    pub fn forget(&mut self) {
        self.owners.forget();
    }

    /// Takes the stacks of one tick into `batch`. `seat` is where the calling thread runs.
    pub fn tick(&mut self, seat: &mut dyn Seat, now: &dyn Fn() -> Nanos, batch: &mut StackBatch) -> Result<(), Fault> {
        let seat: &mut dyn Seat = if self.by_interrupts { &mut Unseated } else { seat };
        if self.by_interrupts {
            batch.mode = StackMode::Interrupt;
        }
        let began = seat.switches();
        let mut caught = self.catch_ahead(now)?;
        let around = match &caught {
            Some(caught) if caught.alone => caught.around,
            _ => self.read_first(now)?,
        };
        batch.ticks += 1;
        self.choose(around.holder);
        let mut chosen = std::mem::take(&mut self.chosen);
        // Those on this CPU stand still already, and going on to another one costs some ten microseconds.
        let here = seat.cpu();
        if here.is_some() {
            chosen.sort_by_key(|&slot| self.cpu_in_first(slot) != here);
        }
        // What was copied with it is there until another one is caught.
        if let Some(place) = caught
            .as_ref()
            .and_then(|caught| chosen.iter().position(|slot| *slot == caught.slot))
        {
            chosen.swap(0, place);
        }
        let mut still_since = Some(began);
        for &slot in &chosen {
            let before = seat.cpu();
            let (around, caught) = match caught.take_if(|caught| caught.slot == slot) {
                Some(caught) => (caught.around, Some(caught.instant)),
                None => (around, None),
            };
            let done = self.look(slot, around, still_since, caught, seat, now, batch);
            if seat.cpu() != before {
                still_since = None;
            }
            // What else may have gone wrong with one thread is no loss to the others.
            if let Err(fault @ (Fault::Gone | Fault::Denied)) = done {
                self.chosen = chosen;
                return Err(fault);
            }
        }
        self.chosen = chosen;
        Ok(())
    }

    /// Catches the loop's thread where it was caught last. None: it was not there, or there are several.
    fn catch_ahead(&mut self, now: &dyn Fn() -> Nanos) -> Result<Option<Caught>, Fault> {
        let Some(interrupts) = self.interrupts.as_mut().filter(|_| self.by_interrupts) else {
            return Ok(None);
        };
        let mut loops = self
            .threads
            .all
            .iter()
            .enumerate()
            .filter(|(_, thread)| thread.event_loop.is_some());
        let (Some((slot, thread)), None) = (loops.next(), loops.next()) else {
            return Ok(None);
        };
        let Some(followed) = self.followed.get_mut(&thread.index) else {
            return Ok(None);
        };
        let Some(cpu) = followed
            .caught_on
            .take()
            .filter(|_| matches!(followed.rest, Rest::Awake))
        else {
            return Ok(None);
        };
        let since = now();
        self.heap.grant(ONE_LOOK);
        if self.threads.stale || !interrupts.catch(thread, cpu, &self.owners)? {
            return Ok(None);
        }
        let gil = interrupts.gil();
        let around = Around {
            since,
            holder: gil
                .filter(|gil| gil.locked == 1)
                .map_or(Addr::NULL, |gil| gil.last_holder),
            collecting: interrupts.collecting() == Some(true),
            generation: interrupts.generation(),
        };
        let (heap, runtime, reader) = (&self.heap, &self.plan.runtime, &mut self.reader);
        let instant = interrupts.instant(heap, runtime, thread, followed, reader, around.generation)?;
        followed.caught_on = Some(cpu);
        let only_it_ran = gil.is_some_and(|gil| {
            let last = (gil.last_holder, gil.switch_number);
            self.first.last_gil() == Some(last) && gil.last_holder == thread.state.address
        });
        Ok(Some(Caught {
            slot,
            around,
            alone: only_it_ran && interrupts.newest() == Some(self.threads.newest),
            instant,
        }))
    }

    /// The words of the threads, and what stands around them.
    fn read_first(&mut self, now: &dyn Fn() -> Nanos) -> Result<Around, Fault> {
        let since = now();
        self.first.begin();
        for thread in self.threads.all.iter().filter(|thread| thread.event_loop.is_some()) {
            self.first.push_loop(thread);
            if let Some(followed) = self.followed.get_mut(&thread.index) {
                followed.in_first = followed.which.push(&mut self.first.scatter);
            }
        }
        self.first.take(&mut self.threads, self.heap.memory(), now)?;
        Ok(Around {
            since,
            holder: self.first.holder(),
            collecting: self.first.collecting() == Some(true),
            generation: self.first.generation(),
        })
    }

    fn cpu_in_first(&self, slot: usize) -> Option<u32> {
        let followed = self.followed.get(&self.threads.all.get(slot)?.index)?;
        followed.in_first?;
        followed
            .which
            .take(&self.first.scatter, followed.in_first, &followed.clock)
    }

    /// The threads that matter at this tick: those that run a loop, the one that holds the GIL, and those in a context that
    /// may be a session's.
    fn choose(&mut self, holder: Addr) {
        self.chosen.clear();
        for slot in 0..self.threads.all.len() {
            let Some(words) = self.first.words(slot) else { continue };
            let thread = &self.threads.all[slot];
            let followed = self.followed.get_mut(&thread.index);
            let nobodys = followed.is_some_and(|followed| {
                let same = followed.nobody == Some((words.context, words.version)) && followed.believed > 0;
                followed.believed = followed.believed.saturating_sub(1);
                same
            });
            let may_be_somebodys = !words.context.is_null() && !nobodys;
            if thread.event_loop.is_some() || thread.state.address == holder || may_be_somebodys {
                self.chosen.push(slot);
            }
        }
        if self.chosen.len() > MOST_THREADS {
            self.turn = (self.turn + MOST_THREADS) % self.chosen.len();
            self.chosen.rotate_left(self.turn);
            self.chosen.truncate(MOST_THREADS);
        }
    }
}
