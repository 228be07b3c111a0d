//! What was concluded: the JSON contract of `product.md`, version 1, as types. What is not known is `None`, which
//! serde writes as `null`; never 0 and never "". Knows nothing of how it was concluded, nor of how it is drawn.

use super::{Frame, Nanos, PoolReport, SessionKey, Stack};
use serde::Serialize;
use std::sync::Arc;

/// The version of the JSON contract.
pub const SCHEMA: u32 = 1;

/// One window of one worker.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    pub schema: u32,
    pub worker: WorkerReport,
    pub sessions: Vec<SessionReport>,
    pub unattributed: Unattributed,
    pub blocks: Vec<Block>,
    pub quality: Quality,
    /// When this is so, `CLOCK_REALTIME` seconds; None: a worker says it of itself.
    #[serde(skip)]
    pub unix_now: Option<f64>,
    /// Blocks since the attach, newest first, as far back as somebody may look; empty where nobody does.
    #[serde(skip)]
    pub recent: Vec<Arc<Block>>,
    /// The last minutes, a stretch of about a second each, oldest first.
    #[serde(skip)]
    pub history: Vec<Arc<HistoryStretch>>,
    /// Who they are, where this is of several workers.
    #[serde(skip)]
    pub pool: Option<PoolReport>,
}

/// Who used something in a stretch of time.
#[derive(Clone, Debug, PartialEq)]
pub struct HistoryStretch {
    pub from: Nanos,
    pub to: Nanos,
    /// By key. Sessions that used next to nothing are not among them.
    pub used: Vec<SessionUse>,
}

/// What one session used in a stretch of time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SessionUse {
    pub key: SessionKey,
    /// Percent of one core.
    pub cpu_pct: f32,
    /// Percent of the stretch.
    pub loop_pct: f32,
}

impl SessionUse {
    /// Nothing so far.
    pub fn of(key: SessionKey) -> SessionUse {
        SessionUse {
            key,
            cpu_pct: 0.0,
            loop_pct: 0.0,
        }
    }
}

/// `worker.session_from` where nothing names sessions and tasks stand for them, each with those that it waits for.
pub const TASKS: &str = "tasks";

#[derive(Clone, Debug, Default, Serialize)]
pub struct WorkerReport {
    pub name: Option<String>,
    pub pid: i32,
    pub python: String,
    /// `asyncio`, `uvloop`, another loop's class; several kinds are joined with `+`. None: no loop runs (yet).
    #[serde(rename = "loop")]
    pub loop_kind: Option<String>,
    pub uptime_s: Option<f64>,
    pub active_sessions: Option<u64>,
    pub max_sessions: Option<u64>,
    pub started: Option<u64>,
    pub failed: Option<u64>,
    pub last_error: Option<String>,
    pub draining: Option<bool>,
    /// Resident set, MiB, as the original counts (VmRSS / 1024 of kB).
    pub rss_mb: Option<f64>,
    /// All threads, percent of one core, over the window.
    pub cpu_pct: Option<f64>,
    /// The busiest loop's share of the window outside select.
    pub loop_pct: Option<f64>,
    /// Handles ready in all loops.
    pub ready: Option<u64>,
    pub tasks: Option<u64>,
    pub session_from: Option<String>,
    pub loops: Vec<LoopReport>,
    /// The worker's `cpu_pct`, a value a second, oldest first, at most 60.
    pub cpu_history: Vec<f64>,
    pub system: SystemReport,
    /// What happened to the worker, if something did: `exited`, `execed`, `stopped`, `frozen`, `lost: …`; None while it runs.
    #[serde(skip)]
    pub condition: Option<String>,
    /// False only where it is known to be absent.
    #[serde(skip)]
    pub asyncio_imported: bool,
    /// The worker itself serves all this at its socket; otop has measured nothing of it.
    #[serde(skip)]
    pub is_served: bool,
}

#[derive(Clone, Debug, Serialize)]
pub struct LoopReport {
    #[serde(rename = "loop")]
    pub kind: String,
    pub tid: Option<i32>,
    pub thread: Option<String>,
    pub loop_pct: Option<f64>,
    pub ready: Option<u64>,
    pub tasks: Option<u64>,
}

#[derive(Clone, Debug, Default, Serialize)]
pub struct SystemReport {
    pub cpu_pct: Option<f64>,
    pub vcpus: Option<u32>,
    pub mem_used_bytes: Option<u64>,
    pub mem_total_bytes: Option<u64>,
    pub swap_used_bytes: Option<u64>,
    pub swap_total_bytes: Option<u64>,
    pub load1: Option<f64>,
    pub load5: Option<f64>,
    pub load15: Option<f64>,
    pub net_rate_bps: Option<f64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    Active,
    Slow,
    Draining,
    Errored,
}

#[derive(Clone, Debug, Serialize)]
pub struct SessionReport {
    #[serde(skip)]
    pub key: SessionKey,
    /// PID of its worker, where there are several.
    #[serde(skip)]
    pub worker: Option<i32>,
    pub session_id: String,
    pub agent_name: Option<String>,
    pub tenant: Option<String>,
    pub duration_s: Option<f64>,
    /// The duration counts from when otop first saw the session, not from its start.
    pub duration_is_lower_bound: bool,
    pub mem_mb: Option<f64>,
    pub peak_mb: Option<f64>,
    /// Over the window; None: not enough was seen yet.
    pub cpu_pct: Option<f64>,
    pub cpu_s: Option<f64>,
    pub loop_pct: Option<f64>,
    pub status: Status,
    pub pinned: bool,
    pub tasks: Option<u64>,
    pub blocks: u64,
    pub blocked_ms: f64,
    pub worst_block_ms: Option<f64>,
    /// One of its blocks began before otop looked, so that `blocked_ms` was longer; and it is the longest of them.
    #[serde(skip)]
    pub blocked_is_lower_bound: bool,
    #[serde(skip)]
    pub worst_is_lower_bound: bool,
    #[serde(rename = "where")]
    pub place: Option<Where>,
    /// The stack that it mostly had, where it runs; None: it does not run, or nobody could tell. Shared with the samples.
    #[serde(skip)]
    pub stack: Option<Arc<Stack>>,
}

impl SessionReport {
    /// A session of which nothing is known but its id.
    pub fn unknown(id: &str) -> SessionReport {
        SessionReport {
            key: SessionKey::of(id),
            session_id: id.to_owned(),
            worker: None,
            agent_name: None,
            tenant: None,
            duration_s: None,
            duration_is_lower_bound: false,
            mem_mb: None,
            peak_mb: None,
            cpu_pct: None,
            cpu_s: None,
            loop_pct: None,
            status: Status::Active,
            pinned: false,
            tasks: None,
            blocks: 0,
            blocked_ms: 0.0,
            worst_block_ms: None,
            blocked_is_lower_bound: false,
            worst_is_lower_bound: false,
            place: None,
            stack: None,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Where {
    pub function: Option<Arc<str>>,
    pub file: Option<Arc<str>>,
    pub line: Option<u32>,
    pub state: Option<&'static str>,
}

impl Where {
    /// The place of a frame, of which nothing is known but where it is.
    pub fn of(frame: &Frame) -> Where {
        Where {
            function: Some(Arc::clone(&frame.function)),
            file: Some(Arc::clone(&frame.file)),
            line: (frame.line > 0).then_some(frame.line),
            state: None,
        }
    }
}

/// Loop and thread time that belongs to no live session, so that everything adds up.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Unattributed {
    pub cpu_pct: Option<f64>,
    pub cpu_s: Option<f64>,
    pub loop_pct: Option<f64>,
}

/// Where the time of a block went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Cause {
    Cpu,
    Syscall,
    Gil,
    Gc,
    Unscheduled,
    Stolen,
    Stopped,
    Suspended,
    Unknown,
}

/// Milliseconds of a block by cause; they sum to its duration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct CausesMs {
    pub cpu: f64,
    pub syscall: f64,
    pub gil: f64,
    /// None: not told apart, and so part of `cpu`.
    pub gc: Option<f64>,
    pub unscheduled: f64,
    pub stolen: f64,
    pub stopped: f64,
    pub suspended: f64,
    pub unknown: f64,
}

/// What a block was judged by, for the words that are said of it and for what counts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Grounds {
    /// The largest share that is somebody's doing; waiting for threads that yield the GIL is nobody's.
    pub blamed_for: Cause,
    /// The session of the thread that is named as the GIL's holder; None: it worked for none.
    pub holder: Option<SessionKey>,
    /// Milliseconds of `causes_ms.gil` in which the loop waited for threads that did not yield.
    pub gil_kept_ms: f64,
    /// What the machine did that leaves too little for somebody who would be blamed without it.
    pub acquitted_by: Option<Cause>,
}

impl Grounds {
    /// Of a block that is all of one cause, and of which no more is known.
    pub fn of(cause: Cause) -> Grounds {
        Grounds {
            blamed_for: cause,
            holder: None,
            gil_kept_ms: 0.0,
            acquitted_by: None,
        }
    }
}

#[derive(Clone, Debug, Serialize)]
pub struct Block {
    /// The same number from the first word about a block to the last; never used twice while otop is attached.
    #[serde(skip)]
    pub id: u64,
    /// The culprit's key, for whoever shows one session alone.
    #[serde(skip)]
    pub culprit: Option<SessionKey>,
    #[serde(skip)]
    pub grounds: Grounds,
    /// The culprit; None where nobody is blamed.
    pub session_id: Option<String>,
    pub agent_name: Option<String>,
    pub tenant: Option<String>,
    pub step_session_id: Option<String>,
    pub holder_session_id: Option<String>,
    /// Name and tid of the thread that held the GIL, `worker_0 (1234)`.
    pub holder_thread: Option<String>,
    /// `CLOCK_REALTIME` seconds; None where the block began before otop looked.
    pub started_at: Option<f64>,
    pub duration_ms: f64,
    pub duration_is_lower_bound: bool,
    pub ongoing: bool,
    pub cause: Cause,
    pub causes_ms: CausesMs,
    pub syscall: Option<String>,
    pub function: Option<Arc<str>>,
    pub file: Option<Arc<str>>,
    pub line: Option<u32>,
    pub stack: Option<Vec<Where>>,
    pub waiting: Option<u64>,
}

#[derive(Clone, Debug, Default, Serialize)]
pub struct Quality {
    pub window_s: f64,
    pub hz_asked: f64,
    pub hz_got: f64,
    /// The shortest block that can be told at the rate that is got, where that is longer than the threshold.
    #[serde(skip)]
    pub blocks_from_ms: Option<f64>,
    pub stack_hz_asked: Option<f64>,
    pub stack_hz_got: Option<f64>,
    pub stack_mode: Option<String>,
    pub samples: u64,
    pub torn: u64,
    pub unresolved: Option<u64>,
    pub unreadable: u64,
    pub dropped: u64,
    pub late_p99_us: Option<f64>,
    pub otop_cpu_pct: Option<f64>,
    /// The longest that otop has stopped the worker since the attach; None: nobody asked for it.
    pub paused_ms: Option<f64>,
    /// Why the worker was not stopped for all of the last walk.
    pub pause_refused: Option<String>,
    /// For how long it was stopped for the last walk.
    #[serde(skip)]
    pub paused_last_ms: Option<f64>,
    /// How many seconds of what was seen are kept to be written, and in how many bytes; None: nothing is.
    #[serde(skip)]
    pub kept_s: Option<f64>,
    #[serde(skip)]
    pub kept_bytes: Option<u64>,
}
