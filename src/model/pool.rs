//! Several workers in one table: who they are, and what each of them has. Knows nothing of how they were found.

/// The workers that a report puts together.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PoolReport {
    /// The process that they are all below; None: they were named one by one.
    pub root: Option<i32>,
    /// Ascending by PID.
    pub members: Vec<Member>,
    pub left_out: LeftOut,
    /// All have ended, and nobody can come any more.
    pub is_over: bool,
}

/// Who is there and not watched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LeftOut {
    /// Workers for which there is no place.
    pub too_many: usize,
    /// Python processes that may not be read.
    pub unreadable: usize,
    /// Workers in which nothing is named as was asked for, and Pythons that otop does not know.
    pub refused: usize,
}

/// One worker of a pool.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Member {
    pub pid: i32,
    pub python: String,
    pub loop_kind: Option<String>,
    pub sessions: Option<u64>,
    /// Percent of one core, over the window.
    pub cpu_pct: Option<f64>,
    /// The busiest loop's share of the window outside of select.
    pub loop_pct: Option<f64>,
    pub ready: Option<u64>,
    pub tasks: Option<u64>,
    /// Proportional set size, MiB; None: not to be had.
    pub pss_mb: Option<f64>,
    /// How long its loop has been blocked, where it is now.
    pub blocked_ms: Option<f64>,
    /// What happened to it: `stopped`, `exited`, …; None while it runs.
    pub condition: Option<String>,
}
