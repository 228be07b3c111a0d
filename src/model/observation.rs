//! What the reading side saw, and what it could not see: plain values, no conclusions. Three facts stay three: a
//! session, no session, unreadable. Knows nothing of how they are read, and nothing of what they mean.

use super::{Dump, Nanos, Pid, SessionKey, StackBatch, Tid, Waiting};
use std::sync::Arc;

/// One thing that the reading side says, in the order in which it was seen.
#[derive(Clone, Debug)]
pub enum Observation {
    /// The samples of some tens of milliseconds, from the sampler thread.
    Batch(Batch),
    /// The stacks of some tens of milliseconds, from the stack sampler.
    Stacks(StackBatch),
    /// One walk over all tasks, from the walker thread.
    Census(Box<Census>),
    /// Who waits for a loop that makes no progress, from the walker thread.
    Waiting(Waiting),
    /// The names of a session that the sampler met before a walk did.
    Labels(SessionKey, Arc<Labels>),
    /// One walk that kept everything, from the thread that takes dumps for a recording; and when it was taken.
    Dump(Nanos, Box<Dump>),
    /// The worker is no longer there to be read; nothing follows.
    Ended(Ending),
}

/// What is known of the worker once, at attach.
#[derive(Clone, Debug)]
pub struct Hello {
    pub pid: Pid,
    /// Version as the worker's own memory states it, `3.12.1`.
    pub python: String,
    /// Host name in the worker's UTS namespace, which is the name OpenRTC gives its worker; None: not to be had.
    pub name: Option<String>,
    /// What names the sessions, for the header: `openrtc` (a preset), or the SPEC that was given.
    pub session_from: Option<String>,
    /// When otop attached, `CLOCK_MONOTONIC`.
    pub attached_at: Nanos,
    /// `CLOCK_REALTIME` minus `CLOCK_MONOTONIC` at attach, nanoseconds; makes wall-clock times of monotonic ones.
    pub realtime_offset: i128,
    /// When the process started, `CLOCK_REALTIME` seconds.
    pub started_unix: Option<f64>,
    /// CPUs of the host; None: not known.
    pub vcpus: Option<u32>,
    /// Samples a second that were asked for.
    pub rate_hz: f64,
    /// Full stacks a second that were asked for; None: none are taken.
    pub stack_rate_hz: Option<f64>,
    /// Where the interpreter's standard library is, as code objects name it (the folder of `os.py`); None: not found.
    pub library: Option<String>,
}

/// The names of one session, from the worker's memory; control characters are still in them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Labels {
    pub session_id: String,
    pub agent: Option<String>,
    pub tenant: Option<String>,
}

/// Index of a thread in `Census::threads` and `Batch::threads`; never reused while otop is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ThreadIndex(pub u32);

/// Whom a sample belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// The thread ran in a context that carries this session's id, and this was proved.
    Session(SessionKey),
    /// The thread ran in no context, in its base context, or in one without a session.
    Nobody,
    /// The context changed while it was read, so nothing can be said.
    Torn,
    /// The context could not be read or made no sense.
    Unreadable,
}

/// What the kernel says the thread was doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// On a CPU or waiting for one; the clocks of the sample tell which, later.
    Runnable,
    /// Asleep, waiting to take the GIL (a futex inside the GIL's own structure).
    GilWait,
    /// Asleep in this system call (x86-64 number).
    Syscall(i32),
    /// Stopped by a signal or a tracer (state T or t), or frozen.
    Stopped,
    /// Not asked, or the kernel did not say.
    Unknown,
}

/// One thread at one tick.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    pub thread: ThreadIndex,
    pub owner: Owner,
    /// Whose the step is, where the thread runs in a context that was entered within the step (`Context.run`, an eager
    /// task) and not in the step's own; None: in the step's own, or in no step of a loop.
    pub within: Option<Owner>,
    /// Serial number of the step that the thread is in, counted from attach and per thread; the same number in two
    /// samples means one and the same step. None: in no step (for an event-loop thread: between callbacks or idle).
    pub step: Option<u64>,
    /// Moves whenever the thread was seen to have begun or ended a step or taken a handle from the ready queue; the
    /// same number in two samples means that the loop made no visible progress between them.
    pub progress: u64,
    pub state: State,
    /// On-CPU time of the thread since its start (`schedstat`, first field). Up to one scheduler tick (4 ms at
    /// HZ 250) old while the thread runs on another CPU; exact while it sleeps. None: not asked at this tick.
    pub cpu: Option<Nanos>,
    /// Time that the thread has waited for a CPU since its start (`schedstat`, second field); grows when the wait ends.
    pub run_delay: Option<Nanos>,
}

/// The GIL at one tick.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gil {
    /// The thread that holds it; None: it is free, the holder is not a known thread, or it could not be read.
    pub holder: Option<ThreadIndex>,
    /// Moves with every change of hands (`gil.switch_number`).
    pub switches: u64,
}

/// All samples of one instant. Its samples are `Batch::samples[first..first + count]`.
#[derive(Clone, Copy, Debug)]
pub struct Tick {
    /// When the words were read, `CLOCK_MONOTONIC`.
    pub at: Nanos,
    /// How much later than planned the sampler woke.
    pub late: Nanos,
    /// How long the sampler itself has waited for a CPU since the last tick; what is late beyond that was not the
    /// scheduler of this machine (stolen by the hypervisor, or the machine slept).
    pub own_wait: Nanos,
    /// How long the machine was suspended since the last tick (`CLOCK_BOOTTIME` against `CLOCK_MONOTONIC`).
    pub suspended: Nanos,
    /// How long otop itself held the worker (`--pause`) since the last tick. A recording does not keep it: the samples that
    /// were taken meanwhile say `Stopped`.
    pub held: Nanos,
    pub gil: Gil,
    /// A garbage collection is going on in the main interpreter (`gc.collecting`), by whoever holds the GIL; None: it
    /// could not be read.
    pub collecting: Option<bool>,
    pub first: u32,
    pub count: u32,
}

/// A thread that appears in samples.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ThreadFacts {
    pub index: ThreadIndex,
    pub tid: Tid,
    /// Name as the kernel has it (`comm`).
    pub name: String,
    /// The thread runs an event loop now.
    pub is_loop: bool,
}

/// Everything that the sampler saw since the last batch.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    pub ticks: Vec<Tick>,
    pub samples: Vec<Sample>,
    /// Threads that are new, or changed, since the last batch.
    pub threads: Vec<ThreadFacts>,
    /// Threads that ended since the last batch, with their last known CPU time.
    pub ended: Vec<ThreadIndex>,
    /// Ticks that the sampler left out because it was late by more than a period.
    pub missed: u32,
    /// On-CPU time of the whole worker, all threads and those that ended (`CLOCK_PROCESS_CPUTIME_ID` of the worker).
    pub process_cpu: Option<Nanos>,
    /// On-CPU time of otop itself, whole process, since its start.
    pub otop_cpu: Nanos,
    /// Batches that were thrown away because nobody took them.
    pub dropped_batches: u64,
    /// How long the hypervisor has kept CPUs from this machine, all together, since it booted; asked before the first tick,
    /// when what was taken in the last 10 ms may be missing. None: it was not asked.
    pub steal: Option<Nanos>,
}

impl Batch {
    /// The samples of one of this batch's ticks.
    pub fn samples_of(&self, tick: &Tick) -> &[Sample] {
        let first = tick.first as usize;
        self.samples.get(first..first + tick.count as usize).unwrap_or(&[])
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LoopKind {
    Asyncio,
    Uvloop,
    /// Another loop class; its steps are told by contexts alone.
    Other,
}

impl LoopKind {
    /// As the header and the JSON say it.
    pub const fn name(self) -> &'static str {
        match self {
            LoopKind::Asyncio => "asyncio",
            LoopKind::Uvloop => "uvloop",
            LoopKind::Other => "other",
        }
    }
}

/// One running event loop.
#[derive(Clone, Debug)]
pub struct LoopFacts {
    pub kind: LoopKind,
    /// The thread that runs it; None: the thread is not known (yet).
    pub thread: Option<ThreadIndex>,
    /// Handles in `_ready`; None: unreadable.
    pub ready: Option<u32>,
    /// Unfinished tasks.
    pub tasks: u32,
}

/// One session at the time of a walk.
#[derive(Clone, Debug)]
pub struct SessionFacts {
    pub key: SessionKey,
    pub labels: Arc<Labels>,
    /// Live by the definition of `product.md`: the worker's own record holds it, or a task that is not done carries it.
    pub live: bool,
    /// Unfinished tasks that carry its id.
    pub tasks: u32,
    /// When it went live, `CLOCK_REALTIME` seconds, where the worker keeps it.
    pub started_unix: Option<f64>,
    /// A record of its failure survives.
    pub errored: bool,
    /// Pinned by the worker.
    pub pinned: bool,
    /// What it runs or waits for.
    pub reading: Option<Reading>,
}

/// A place in the worker's source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    pub function: Arc<str>,
    /// Absolute path as the code object has it.
    pub file: Arc<str>,
    pub line: u32,
    /// `running`, `waiting`, …
    pub state: &'static str,
}

/// What OpenRTC's (or LiveKit's) own record of the pool says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PoolFacts {
    pub draining: Option<bool>,
    pub max_sessions: Option<u64>,
    pub started: Option<u64>,
    pub failed: Option<u64>,
    pub last_error: Option<String>,
    /// Seconds since the pool started.
    pub uptime_s: Option<f64>,
}

/// The host, for the header.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HostFacts {
    /// Over the time since the last census; None: there was none.
    pub cpu_pct: Option<f64>,
    pub mem_used_bytes: Option<u64>,
    pub mem_total_bytes: Option<u64>,
    pub swap_used_bytes: Option<u64>,
    pub swap_total_bytes: Option<u64>,
    pub load: Option<[f64; 3]>,
    /// Received and sent, all interfaces but loopback, bytes a second.
    pub net_rate_bps: Option<f64>,
}

/// One walk over all tasks.
#[derive(Clone, Debug)]
pub struct Census {
    /// When the walk began, `CLOCK_MONOTONIC`.
    pub at: Nanos,
    /// How long the walk took.
    pub took: Nanos,
    pub sessions: Vec<SessionFacts>,
    pub loops: Vec<LoopFacts>,
    /// Unfinished tasks, all loops.
    pub tasks: u32,
    /// What names the sessions, as far as it was met: a preset, specs of the user's, or `tasks`.
    pub session_from: Option<String>,
    /// asyncio is imported; before that there are no loops and no sessions to see.
    pub asyncio_imported: bool,
    pub pool: Option<PoolFacts>,
    pub rss_bytes: Option<u64>,
    pub host: HostFacts,
    /// Objects that could not be read or made no sense in this walk.
    pub unreadable: u32,
    /// The process is stopped (state T or t), and not by otop.
    pub stopped: bool,
    /// Its control group is frozen.
    pub frozen: bool,
    /// Whether otop stopped it for the walk, where that was asked for.
    pub pause: Option<Pause>,
}

/// What became of stopping the worker for a walk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pause {
    /// For how long it was stopped for this walk; None: not at all.
    pub held: Option<Nanos>,
    /// The longest that it was stopped since the attach, for that and in tries that failed.
    pub longest: Nanos,
    /// Why it was not stopped for all of this walk, and was read as it ran.
    pub refused: Option<String>,
}

/// Why a worker can no longer be watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The process is gone (or a zombie, or its PID belongs to another process now).
    Exited,
    /// It runs another program now.
    Execed,
    /// It may no longer be read; the text is the kernel's.
    Lost(String),
}
