//! Proof that a thread of the worker stood still while it was read, or that it changed nothing. Knows nothing of frames and
//! sessions.
//!
//! While a thread of otop runs on a CPU, no other thread runs there. So a thread of the worker that was last on this very
//! CPU stands still until otop's thread gives the CPU up: all that is read of it meanwhile is one instant. Nothing is done
//! to it for that; the kernel's scheduler does what it does for any two threads on one CPU.

use super::attach::Plan;
use super::threads::Thread;
use crate::cpython::{Heap, Offsets, RawStack, cpu_of, rseq_at, word_at};
use crate::memory::{Fault, Scatter};
use crate::model::{Addr, Nanos, StackSample};
use crate::process::ThreadClock;

/// Where the reading thread itself runs.
pub trait Seat {
    /// The CPU that it is bound to; None: it is bound to none.
    fn cpu(&self) -> Option<u32>;
    /// Moves to that CPU, and stays there. False: that is not allowed.
    fn move_to(&mut self, cpu: u32) -> bool;
    /// Moves with every time that the reading thread gave up its CPU, or lost it.
    fn switches(&self) -> u64;
}

/// No seat: the reading thread is bound to no CPU, and goes to none.
pub struct Unseated;

impl Seat for Unseated {
    fn cpu(&self) -> Option<u32> {
        None
    }

    fn move_to(&mut self, _cpu: u32) -> bool {
        false
    }

    fn switches(&self) -> u64 {
        0
    }
}

/// The words of a thread state that show whether it went on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Words {
    /// What leads to the innermost frame.
    pub top: u64,
    pub context: Addr,
    pub version: u64,
    pub id: u64,
}

impl Words {
    /// The same thread, in the same step.
    pub fn same_step(self, other: Option<Words>) -> bool {
        other.is_some_and(|other| (other.context, other.version, other.id) == (self.context, self.version, self.id))
    }
}

/// Where those words stand in a thread state: one range.
#[derive(Clone, Copy, Debug)]
pub(super) struct WordsAt {
    from: u64,
    length: usize,
    top: usize,
    context: usize,
}

impl WordsAt {
    /// `top` is the offset of what leads to the innermost frame.
    pub fn new(offsets: &Offsets, top: u64) -> WordsAt {
        let from = top.min(offsets.tstate_context);
        WordsAt {
            from,
            length: (top.max(offsets.tstate_context + 16) + 8 - from) as usize,
            top: (top - from) as usize,
            context: (offsets.tstate_context - from) as usize,
        }
    }

    pub fn push(&self, thread_state: Addr, scatter: &mut Scatter) -> usize {
        scatter.push(thread_state.offset(self.from), self.length)
    }

    pub fn take(&self, scatter: &Scatter, slot: usize) -> Option<Words> {
        scatter.bytes(slot).map(|bytes| self.of(bytes))
    }

    /// The words, from the bytes of that range.
    pub fn of(&self, bytes: &[u8]) -> Words {
        Words {
            top: word_at(bytes, self.top),
            context: Addr(word_at(bytes, self.context)),
            version: word_at(bytes, self.context + 8),
            id: word_at(bytes, self.context + 16),
        }
    }

    /// Offset in a thread state, and length, of the range.
    pub fn range(&self) -> (u64, usize) {
        (self.from, self.length)
    }

    /// Where in the range the context's address is, and what leads to the innermost frame.
    pub fn context_and_top(&self) -> (usize, usize) {
        (self.context, self.top)
    }
}

/// Which CPU a thread is on, or was on last.
#[derive(Clone, Copy, Debug)]
pub(super) enum WhichCpu {
    /// The word where the C library has it (`cpython::rseq_cpu`).
    Word(Addr),
    /// `/proc/PID/task/TID/stat`: eight times as dear.
    Proc,
}

impl WhichCpu {
    /// `rseq` is how far the word stands from `pthread_self()`, where the C library has one.
    pub fn of(heap: &Heap, thread: &Thread, rseq: Option<i64>) -> WhichCpu {
        let at = rseq.map(|offset| rseq_at(thread.state.pthread, offset));
        let mut word = [0; 4];
        match at {
            Some(at) if heap.memory().read(at, &mut word).is_ok() && cpu_of(&word).is_some() => WhichCpu::Word(at),
            _ => WhichCpu::Proc,
        }
    }

    /// Asks for the word, as the last thing that is read.
    pub fn push(self, scatter: &mut Scatter) -> Option<usize> {
        match self {
            WhichCpu::Word(at) => Some(scatter.push(at, 4)),
            WhichCpu::Proc => None,
        }
    }

    /// The CPU, by the word that was read, else by asking now.
    pub fn take(self, scatter: &Scatter, slot: Option<usize>, clock: &ThreadClock) -> Option<u32> {
        match slot {
            Some(slot) => cpu_of(scatter.bytes(slot)?),
            None => clock.cpu(),
        }
    }
}

/// Reads the words and the CPU of one thread now.
pub(super) fn look(
    heap: &Heap,
    at: WordsAt,
    thread: &Thread,
    which: WhichCpu,
    clock: &ThreadClock,
    scatter: &mut Scatter,
) -> Result<(Option<Words>, Option<u32>), Fault> {
    scatter.clear();
    let words = at.push(thread.state.address, scatter);
    let cpu = which.push(scatter);
    scatter.read_each(heap.memory())?;
    Ok((at.take(scatter, words), which.take(scatter, cpu, clock)))
}

/// What is known of a thread's sleep.
#[derive(Default)]
pub(super) enum Rest {
    /// It did not sleep at the last look.
    #[default]
    Awake,
    /// It was found asleep at the last look, having been given a CPU so often by then: if it has been no more often, it
    /// has slept since.
    Asleep { runs: u64 },
    /// It sleeps since it was read, as long as it was not given a CPU again.
    Since {
        runs: u64,
        /// What was seen of it; None: nothing to speak of.
        sample: Option<Box<StackSample>>,
    },
}

/// Where a thread's stacks begin.
///
/// A frame that is being left loses its `previous` a moment before, or after, another one is the current one (in 3.12 the
/// compiler orders that as it likes: `Python/bytecodes.c`, YIELD_VALUE), and then looks like a whole stack of one frame.
#[derive(Default)]
pub(super) struct Root {
    /// Where the outermost frame lies.
    known: Option<Addr>,
    /// Where it lay at the last walk that ended elsewhere.
    other: Option<Addr>,
}

impl Root {
    /// Whether a walk came to where they begin. A thread may begin anew elsewhere: then it does so twice.
    pub fn is(&mut self, raw: &RawStack) -> bool {
        let root = raw.places.last().copied();
        if raw.frames.len() > 1 || self.known == root || self.other == root {
            self.known = root;
            self.other = None;
            return true;
        }
        self.other = root;
        false
    }
}

/// One thread from look to look.
pub(super) struct Followed {
    pub which: WhichCpu,
    pub clock: ThreadClock,
    /// Where the first read of a tick has its CPU.
    pub in_first: Option<usize>,
    /// The CPU on which an interrupt caught it last.
    pub caught_on: Option<u32>,
    pub rest: Rest,
    /// When and with which words it was last seen.
    pub seen: Option<(Nanos, Words)>,
    pub root: Root,
    /// The context and version with which it was nobody's, and for how many looks that is believed.
    pub nobody: Option<(Addr, u64)>,
    pub believed: u8,
}

impl Followed {
    /// None: its number is not known (yet).
    pub fn new(plan: &Plan, heap: &Heap, thread: &Thread, rseq: Option<i64>) -> Option<Followed> {
        Some(Followed {
            which: WhichCpu::of(heap, thread, rseq),
            clock: ThreadClock::open(plan.pid, thread.tid?),
            in_first: None,
            caught_on: None,
            rest: Rest::Awake,
            seen: None,
            root: Root::default(),
            nobody: None,
            believed: 0,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpython::RawFrame;

    fn raw(places: &[u64]) -> RawStack {
        let frame = RawFrame {
            code: Addr(0x1000),
            instruction: 0,
        };
        RawStack {
            frames: vec![frame; places.len()],
            places: places.iter().copied().map(Addr).collect(),
            ..RawStack::default()
        }
    }

    #[test]
    fn a_frame_without_a_caller_is_a_stack_only_where_stacks_begin() {
        let mut root = Root::default();
        assert!(root.is(&raw(&[3, 2, 1])));
        assert!(!root.is(&raw(&[3])));
        assert!(root.is(&raw(&[1])) && root.is(&raw(&[2, 1])));
        // It began anew: not believed the first time.
        assert!(!root.is(&raw(&[7])) && root.is(&raw(&[7])) && root.is(&raw(&[7])));
        assert!(!root.is(&raw(&[3])) && root.is(&raw(&[7])));
        // Nor is the very first one.
        assert!(!Root::default().is(&raw(&[1])));
    }
}
