//! One stack, read as one instant, and the proof that it was one. Knows nothing of which threads matter, nor of sessions:
//! what proves those is read along, and judged elsewhere.
//!
//! The own-CPU way: the reading thread goes to the CPU that the worker's thread is on, which preempts it. While the
//! reading thread keeps that CPU, the other stands still, so everything read meanwhile is one instant: one scatter read of
//! the ranges in which the frames lay last time, and single reads for what was elsewhere. It is proved by the CPU that the
//! thread itself notes, read last; by its words, the same at the start and at the end; and by the reading thread not having
//! given up its CPU in between.
//!
//! The other-CPU way, where neither that nor an interrupt (`interrupt.rs`) is allowed, and for threads that are on no CPU: everything is read twice in one call, outermost first and then innermost
//! first, with the thread's words before, in the middle and after. It counts if `context_ver` never moved and both copies
//! hold the same frames. What is missing in the copies makes it unresolved.

use super::owners::Proofs;
use super::still::{Followed, Seat, WhichCpu, Words, WordsAt, look};
use super::threads::Thread;
use crate::cpython::{CONTEXT_HEAD, FrameWalk, Heap, RawStack, Runtime, Stacks};
use crate::memory::{Fault, Memory, Predictions, Scatter, Serve, Snapshot};
use crate::model::{Addr, Stack, StackMode};
use std::sync::Arc;

/// Bytes of a context's head, as they were read.
pub(super) type ContextHead = [u8; CONTEXT_HEAD];
/// A thread that is found elsewhere is followed this often; one that hops on is not to be had at this tick.
const HOPS: usize = 3;

/// What is known when a look begins.
pub(super) struct Start {
    pub words: Words,
    /// The CPU that the thread was on, where that was read together with the words.
    pub cpu: Option<u32>,
    /// `Seat::switches` before the words were read, if the seat was the same then.
    pub still_since: Option<u64>,
    /// How often the thread was given a CPU, if it has slept since the last look.
    pub runs: Option<u64>,
    pub generation: Option<u64>,
}

/// What one look saw.
pub(super) struct Instant {
    pub words: Words,
    /// It is proved that all was one instant.
    pub held: bool,
    pub mode: StackMode,
    /// `Seat::switches` that must not move as long as the instant is to last.
    pub switches: u64,
    /// The bytes of the current context; None: unreadable, or no context.
    pub context: Option<ContextHead>,
    /// `ctx_vars` of that context.
    pub vars: Addr,
    pub proofs: Proofs,
    pub stack: Option<Arc<Stack>>,
}

/// Slots of the scatter read.
struct Slots {
    context: Option<usize>,
    proofs: Proofs,
    current_frame: Option<usize>,
    middle: Option<usize>,
    end: usize,
    cpu: Option<usize>,
}

pub(super) struct Reader {
    pub at: WordsAt,
    pub stacks: Stacks,
    pub snapshot: Snapshot,
    pub walk: FrameWalk,
    predictions: Predictions,
    pub raw: RawStack,
    other: RawStack,
    small: Scatter,
}

impl Reader {
    pub fn new(heap: &Heap, memory: Box<dyn Memory>) -> Reader {
        let walk = FrameWalk::new(&heap.offsets, heap.version);
        Reader {
            at: WordsAt::new(&heap.offsets, walk.top_in_thread_state()),
            stacks: Stacks::new(),
            snapshot: Snapshot::new(memory),
            walk,
            predictions: Predictions::new(),
            raw: RawStack::default(),
            other: RawStack::default(),
            small: Scatter::new(),
        }
    }

    /// Reads one thread's stack. `push_proof` asks for what proves whose a context is.
    #[allow(clippy::too_many_arguments)] // what one look needs, each of another kind
    pub fn read(
        &mut self,
        heap: &Heap,
        runtime: &Runtime,
        thread: &Thread,
        followed: &mut Followed,
        mut start: Start,
        seat: &mut dyn Seat,
        push_proof: impl Fn(Addr, &mut Scatter) -> Proofs,
    ) -> Result<Instant, Fault> {
        let mode = self.follow(heap, runtime, thread, followed, &mut start, seat)?;
        let began = start.still_since.unwrap_or_else(|| seat.switches());
        // One that sleeps is no more in need of a second copy than one that stands still.
        let twice = mode == StackMode::OtherCpu && start.runs.is_none();
        let words = start.words;
        let key = (u64::from(thread.index.0), words.context);
        let slots = self.push(thread, followed.which, words, key, twice, push_proof);
        let whole = self.snapshot.take()?;
        if !whole {
            self.predictions.forget(key);
        }
        let end = self.at.take(self.snapshot.scatter(), slots.end);
        let same = |other: Option<Words>| words.same_step(other);
        let still = match mode {
            StackMode::OwnCpu => {
                end == Some(words)
                    && seat.cpu().is_some()
                    && followed.which.take(self.snapshot.scatter(), slots.cpu, &followed.clock) == seat.cpu()
            }
            StackMode::Interrupt | StackMode::OtherCpu => {
                same(end)
                    && slots
                        .middle
                        .is_none_or(|slot| same(self.at.take(self.snapshot.scatter(), slot)))
            }
        };
        let scatter = self.snapshot.scatter();
        let context = slots.context.and_then(|slot| scatter.bytes(slot));
        let context: Option<ContextHead> = context.and_then(|bytes| bytes.try_into().ok());
        let mut instant = Instant {
            words,
            held: false,
            mode,
            switches: began,
            vars: context
                .as_ref()
                .map_or(Addr::NULL, |head| heap.context_words(head).vars),
            context,
            proofs: slots.proofs,
            stack: None,
        };
        // One that may sleep is judged by its sleep too, later.
        if !still && start.runs.is_none() {
            return Ok(instant);
        }
        let left = heap.left();
        let resolved = match twice {
            false => self.walk_once(&slots, words),
            true => self.walk_twice(&slots, words),
        };
        let missed = !self.snapshot.missed().is_empty();
        let resolved = resolved && followed.root.is(&self.raw);
        if resolved {
            // What cannot be resolved leaves the owner as it is.
            let found = match mode {
                StackMode::OwnCpu => self.stacks.resolve_at_once(heap, &self.raw, start.generation),
                StackMode::Interrupt | StackMode::OtherCpu => {
                    self.stacks.resolve(heap, runtime, &self.raw, start.generation)
                }
            };
            instant.stack = match found {
                Ok(stack) => Some(stack),
                Err(fault @ (Fault::Gone | Fault::Denied)) => return Err(fault),
                Err(_) => None,
            };
        }
        instant.held = still;
        let read_live = missed || heap.left() != left;
        if read_live && still {
            let (end, cpu) = look(heap, self.at, thread, followed.which, &followed.clock, &mut self.small)?;
            instant.held = match mode {
                StackMode::OwnCpu => end == Some(words) && cpu == seat.cpu(),
                StackMode::Interrupt | StackMode::OtherCpu => same(end),
            };
        }
        if mode == StackMode::OwnCpu {
            instant.held &= seat.switches() == began;
        }
        if resolved && (instant.held || start.runs.is_some()) {
            let snapshot = &mut self.snapshot;
            let missed = std::mem::take(snapshot.missed());
            self.predictions.learn(key, |name| snapshot.was_wanted(name), &missed);
            *snapshot.missed() = missed;
        } else if twice && missed && still {
            self.learn_from_afar(heap, thread, followed, &slots, words, key)?;
        }
        Ok(instant)
    }

    /// Whether the innermost frame of the stack that was read last calls `gc.collect()`; None: that cannot be told.
    pub fn calls_collect(&mut self, heap: &Heap) -> Option<bool> {
        let innermost = self.raw.frames.first()?;
        self.stacks.calls_collect(heap, innermost)
    }

    /// Goes to the CPU of the thread, with the words as they are there.
    fn follow(
        &mut self,
        heap: &Heap,
        runtime: &Runtime,
        thread: &Thread,
        followed: &Followed,
        start: &mut Start,
        seat: &mut dyn Seat,
    ) -> Result<StackMode, Fault> {
        if start.cpu.is_some() && start.cpu == seat.cpu() && start.still_since.is_some() {
            return Ok(StackMode::OwnCpu);
        }
        let mut cpu = start.cpu;
        if cpu.is_none() {
            cpu = look(heap, self.at, thread, followed.which, &followed.clock, &mut self.small)?.1;
        }
        for _ in 0..HOPS {
            let Some(target) = cpu else {
                return Ok(StackMode::OtherCpu);
            };
            if seat.cpu() != Some(target) && !seat.move_to(target) {
                return Ok(StackMode::OtherCpu);
            }
            start.still_since = Some(seat.switches());
            let (words, now) = look(heap, self.at, thread, followed.which, &followed.clock, &mut self.small)?;
            // It ended, or another one took its place.
            start.words = words
                .filter(|words| words.id == thread.state.id)
                .ok_or(Fault::Unmapped)?;
            start.generation = heap.code_generation(runtime)?;
            cpu = now;
            if cpu == Some(target) {
                return Ok(StackMode::OwnCpu);
            }
        }
        // It hops faster than it can be followed: the proof will fail.
        Ok(StackMode::OwnCpu)
    }

    fn push(
        &mut self,
        thread: &Thread,
        which: WhichCpu,
        words: Words,
        key: (u64, Addr),
        twice: bool,
        push_proof: impl Fn(Addr, &mut Scatter) -> Proofs,
    ) -> Slots {
        let snapshot = &mut self.snapshot;
        snapshot.clear();
        let scatter = snapshot.scatter_mut();
        let (mut context, mut proofs) = (None, Proofs::default());
        if !words.context.is_null() {
            context = Some(scatter.push(words.context, CONTEXT_HEAD));
            proofs = push_proof(words.context, scatter);
        }
        let current_frame = self.walk.current_frame_at(words.top).filter(|_| words.top != 0);
        let mut current = None;
        if !twice {
            current = current_frame.map(|at| scatter.push(at, 8));
        }
        for (name, range) in self.predictions.of(key).iter().enumerate() {
            snapshot.cover(name, range.start, range.length);
        }
        let mut middle = None;
        if twice {
            middle = Some(self.at.push(thread.state.address, snapshot.scatter_mut()));
            current = current_frame.map(|at| snapshot.scatter_mut().push(at, 8));
            snapshot.cover_again();
        }
        let scatter = snapshot.scatter_mut();
        Slots {
            context,
            proofs,
            current_frame: current,
            middle,
            end: self.at.push(thread.state.address, scatter),
            cpu: which.push(scatter),
        }
    }

    /// The innermost frame; None: it could not be read.
    fn top(&self, slots: &Slots, words: Words) -> Option<Addr> {
        let scatter = self.snapshot.scatter();
        let words = slots.middle.map_or(Some(words), |slot| self.at.take(scatter, slot))?;
        match slots.current_frame {
            Some(slot) => scatter.pointer(slot, 0),
            None if self.walk.current_frame_at(words.top).is_some() => Some(Addr::NULL),
            None => Some(Addr(words.top)),
        }
    }

    /// Walks in the copy, and live where it has holes. True: to the root.
    fn walk_once(&mut self, slots: &Slots, words: Words) -> bool {
        self.snapshot.serve(Serve::FirstAndLive);
        let top = self.top(slots, words);
        top.is_some_and(|top| self.walk.walk_from(&self.snapshot, top, &mut self.raw).is_ok())
    }

    /// Walks in both copies. True: both times to the root, by the same way.
    fn walk_twice(&mut self, slots: &Slots, words: Words) -> bool {
        let Some(top) = self.top(slots, words) else {
            return false;
        };
        self.snapshot.serve(Serve::First);
        if self.walk.walk_from(&self.snapshot, top, &mut self.raw).is_err() {
            return false;
        }
        self.snapshot.serve(Serve::Second);
        if self.walk.walk_from(&self.snapshot, top, &mut self.other).is_err() {
            return false;
        }
        let same_way = self.raw.places == self.other.places && self.raw.is_cut == self.other.is_cut;
        // The innermost frame runs on: where it stood in the first copy it stood while all others were as they are.
        let same = match (&self.raw.frames[..], &self.other.frames[..]) {
            ([first, callers @ ..], [other, others @ ..]) => first.code == other.code && callers == others,
            (ours, others) => ours == others,
        };
        same_way && same
    }

    /// After copies that lacked a frame: finds out where the frames are, if the thread stays long enough, for the next
    /// tick. What it saw in passing would be garbage, and is not learned.
    fn learn_from_afar(
        &mut self,
        heap: &Heap,
        thread: &Thread,
        followed: &Followed,
        slots: &Slots,
        words: Words,
        key: (u64, Addr),
    ) -> Result<(), Fault> {
        if !self.walk_once(slots, words) {
            return Ok(());
        }
        let (end, _) = look(heap, self.at, thread, followed.which, &followed.clock, &mut self.small)?;
        if end.is_some_and(|end| (end.version, end.id) == (words.version, words.id)) {
            let missed = std::mem::take(self.snapshot.missed());
            let snapshot = &self.snapshot;
            self.predictions.learn(key, |name| snapshot.was_wanted(name), &missed);
        }
        Ok(())
    }
}
