//! The words that both towers share: what the reading side saw (`observation`, `stacks`), what the explaining side
//! concluded (`report`), and the one rule that both go by (`own_code`). Knows nothing of processes, of CPython, of terminals,
//! or of how anything is read or drawn.

mod dump;
mod ids;
mod observation;
mod origin;
mod own_code;
mod pool;
mod report;
mod stacks;

pub use dump::{
    Dump, DumpAsked, DumpCallback, DumpFrame, DumpLoop, DumpRecorded, DumpSession, DumpTask, DumpThread, DumpWork,
    DumpWorker, TaskState, WaitKind, WaitsFor,
};
pub use ids::{Addr, Nanos, Pid, SessionKey, Tid};
pub use observation::{
    Batch, Census, Ending, Gil, Hello, HostFacts, Labels, LoopFacts, LoopKind, Observation, Owner, Pause, PoolFacts,
    Reading, Sample, SessionFacts, State, ThreadFacts, ThreadIndex, Tick,
};
pub use origin::{Judging, Origin};
pub use own_code::OwnCode;
pub use pool::{LeftOut, Member, PoolReport};
pub use report::{
    Block, Cause, CausesMs, Grounds, HistoryStretch, LoopReport, Quality, Report, SCHEMA, SessionReport, SessionUse,
    Status, SystemReport, TASKS, Unattributed, Where, WorkerReport,
};
pub use stacks::{Frame, OUTER_FRAMES_CUT, Peer, Stack, StackBatch, StackMode, StackSample, Waiting};
