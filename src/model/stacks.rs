//! Python stacks as the reading side saw them: frames, and whose they were. Frames and stacks are shared, so that a
//! thousand samples of one place are a thousand pointers. Knows nothing of how a stack is read or judged.

use super::{Nanos, Owner, SessionKey, State, ThreadIndex};
use std::sync::Arc;

/// One line of one function.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Frame {
    /// `co_qualname` (3.11 on), else `co_name`.
    pub function: Arc<str>,
    /// `co_filename`, as the code object has it: mostly an absolute path; `<frozen importlib._bootstrap>`, `<string>`.
    pub file: Arc<str>,
    /// The line that runs; 0: the instruction belongs to none.
    pub line: u32,
    /// The line on which the function begins (`co_firstlineno`).
    pub first_line: u32,
}

/// What stands, in place of a function, where the outermost frames of a stack are missing.
pub const OUTER_FRAMES_CUT: &str = "<outer frames cut>";

/// The frames of one thread at one instant.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Stack {
    /// Innermost first. Shims between C and Python are left out.
    pub frames: Box<[Arc<Frame>]>,
    /// It went deeper than otop follows; the outermost frames are missing.
    pub is_cut: bool,
}

/// How the stacks were read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StackMode {
    /// From the worker thread's own CPU: all reads of a sample are one instant.
    #[default]
    OwnCpu,
    /// By a BPF program, inside an interrupt of the worker thread's CPU: all of a sample is one instant.
    Interrupt,
    /// From another CPU, because neither of the others is allowed: what changed under the read is unresolved.
    OtherCpu,
}

impl StackMode {
    /// As `quality.stack_mode` says it.
    pub fn name(self) -> &'static str {
        match self {
            StackMode::OwnCpu => "own-cpu",
            StackMode::Interrupt => "interrupt",
            StackMode::OtherCpu => "other-cpu",
        }
    }
}

/// One thread, with its stack.
#[derive(Clone, Debug)]
pub struct StackSample {
    /// When it was read, `CLOCK_MONOTONIC`.
    pub at: Nanos,
    pub thread: ThreadIndex,
    pub owner: Owner,
    /// `context_ver` of the thread: the same number in two samples of one thread means that nothing was entered or left
    /// in between.
    pub context_version: u64,
    /// The thread was in a context that was entered: for a loop's thread, in a step.
    pub in_step: bool,
    pub state: State,
    /// A garbage collection was going on (`gc.collecting`), and this thread held the GIL.
    pub collecting: bool,
    /// `collecting`, and the innermost frame shows a call of `gc.collect()`; None: that could not be told.
    pub collects_explicitly: Option<bool>,
    /// None: not resolved; the sample counts as a tick of its session with a stack that is not known.
    pub stack: Option<Arc<Stack>>,
}

/// The stacks of some tens of milliseconds, from the stack sampler.
#[derive(Clone, Debug, Default)]
pub struct StackBatch {
    pub samples: Vec<StackSample>,
    /// When the last sample of this batch could have been taken: nothing older follows.
    pub until: Nanos,
    /// Instants at which stacks were to be read, and were.
    pub ticks: u32,
    /// Instants that were left out because the stack sampler was late by more than a period.
    pub missed: u32,
    pub mode: StackMode,
}

/// Who had something to do while a loop made no progress: a lower bound, because nobody polls the selector meanwhile.
#[derive(Clone, Debug)]
pub struct Waiting {
    /// When it was read, `CLOCK_MONOTONIC`.
    pub at: Nanos,
    /// The loop's thread.
    pub thread: ThreadIndex,
    /// Sessions with a handle ready or a timer due, each once; None: the loop's timers cannot be read (uvloop).
    pub sessions: Option<Vec<SessionKey>>,
    /// The loop's thread sleeps in a system call on a socket, and who is at its other end is known.
    pub peer: Option<Peer>,
}

/// The other end of a socket that a thread waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The system call, x86-64 number.
    pub syscall: i32,
    /// `10.0.0.5:5432`, `[2001:db8::5]:443`, `unix:/run/db.sock`: without blanks and control characters.
    pub address: Arc<str>,
}
