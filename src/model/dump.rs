//! Where every task of every session runs or waits, once: what `otop dump` shows. The types are the JSON contract of
//! `dump --json`, version 1; what is not known is null. Knows nothing of how it is read or drawn.

use super::OwnCode;
use serde::Serialize;

/// Which sessions; None: all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DumpAsked {
    pub session: Option<String>,
    pub agent: Option<String>,
    pub tenant: Option<String>,
}

impl DumpAsked {
    /// Only some sessions are asked for.
    pub fn narrows(&self) -> bool {
        *self != DumpAsked::default()
    }

    /// The session with these names is one of them.
    pub fn fits(&self, session_id: &str, agent: Option<&str>, tenant: Option<&str>) -> bool {
        let same = |asked: &Option<String>, is: Option<&str>| asked.as_deref().is_none_or(|asked| Some(asked) == is);
        same(&self.session, Some(session_id)) && same(&self.agent, agent) && same(&self.tenant, tenant)
    }
}

/// The worker at one look.
#[derive(Clone, Debug, Serialize)]
pub struct Dump {
    pub schema: u32,
    pub worker: DumpWorker,
    /// When the look began, seconds of `CLOCK_REALTIME`.
    pub taken_at: f64,
    /// How long it took, milliseconds.
    pub took_ms: f64,
    /// Null: it is of a worker that runs.
    pub recorded: Option<DumpRecorded>,
    /// How long the worker was stopped for it, milliseconds (`--pause`); null: it was not.
    pub paused_ms: Option<f64>,
    /// Tasks that moved on while they were looked at, or of which could not be told whose they are; each is marked.
    pub changed: u32,
    /// Tasks, handles and threads that could not be read or made no sense, or of which could not be told whose they are.
    pub unreadable: u32,
    /// Tasks of all sessions and of none.
    pub tasks: u32,
    pub loops: Vec<DumpLoop>,
    pub sessions: Vec<DumpSession>,
    /// What belongs to no session; null where only some sessions were asked for.
    pub no_session: Option<DumpWork>,
}

/// Where in a recording a dump was taken.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct DumpRecorded {
    /// Seconds from the begin of the recording.
    pub at_s: f64,
    /// How long before the instant that was asked for, seconds.
    pub age_s: f64,
}

impl Dump {
    /// The same with these sessions only, as if no others had been looked at.
    pub fn narrowed(mut self, asked: &DumpAsked) -> Dump {
        if asked.narrows() {
            let fits = |session: &DumpSession| {
                let (agent, tenant) = (session.agent_name.as_deref(), session.tenant.as_deref());
                asked.fits(&session.session_id, agent, tenant)
            };
            self.sessions.retain(fits);
            self.no_session = None;
            let tasks = self.sessions.iter().flat_map(|session| &session.work.tasks);
            self.changed = tasks.filter(|task| task.changed).count() as u32;
        }
        self
    }

    /// Says anew which frames are own code.
    pub fn judge_own(&mut self, own: &OwnCode) {
        let sessions = self.sessions.iter_mut().map(|session| &mut session.work);
        for work in sessions.chain(&mut self.no_session) {
            let chains = work.tasks.iter_mut().flat_map(|task| &mut task.chain);
            let stacks = work.threads.iter_mut().flat_map(|thread| &mut thread.stack);
            for frame in chains.chain(stacks) {
                frame.own = own.is_own(&frame.file);
            }
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DumpWorker {
    pub pid: i32,
    pub name: Option<String>,
    pub python: String,
    pub session_from: Option<String>,
}

/// One running event loop.
#[derive(Clone, Debug, Serialize)]
pub struct DumpLoop {
    pub kind: &'static str,
    pub thread: Option<String>,
    pub tid: Option<i32>,
    /// `running`: in a step; `idle`: waits for something to do; null: not known, as between two steps.
    pub state: Option<&'static str>,
    /// Whose step it is in; null: nobody's, or that could not be told.
    pub session_id: Option<String>,
    /// It is in a step, and whose that is could not be told.
    pub unreadable: bool,
    /// Handles in its ready queue.
    pub ready: Option<u32>,
    /// Timers that were not cancelled; null: they cannot be read (uvloop).
    pub timers: Option<u32>,
}

#[derive(Clone, Debug, Serialize)]
pub struct DumpSession {
    pub session_id: String,
    pub agent_name: Option<String>,
    pub tenant: Option<String>,
    #[serde(flatten)]
    pub work: DumpWork,
}

/// What there is of one session, or of none.
#[derive(Clone, Debug, Default, Serialize)]
pub struct DumpWork {
    pub tasks: Vec<DumpTask>,
    /// Handles that are ready or due later; null: they cannot be read (uvloop).
    pub callbacks: Option<Vec<DumpCallback>>,
    /// Threads that work for it, the loop's own among them while it is in its step.
    pub threads: Vec<DumpThread>,
}

#[derive(Clone, Debug, Serialize)]
pub struct DumpTask {
    pub name: Option<String>,
    pub state: TaskState,
    /// How long it has waited, seconds; null: not known.
    pub waited_s: Option<f64>,
    pub waits_for: Option<WaitsFor>,
    /// From the task's coroutine down to what waits.
    pub chain: Vec<DumpFrame>,
    /// The chain goes on, and is not followed further.
    pub is_cut: bool,
    /// It moved on while it was looked at: what is said of it may be of different instants. Or whose it is could not be
    /// told: then it stands under no session.
    pub changed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum TaskState {
    /// In a step.
    Running,
    /// Its next step is in the loop's queue.
    Ready,
    Waiting,
    /// Not to be told.
    Unknown,
}

impl TaskState {
    pub fn name(self) -> &'static str {
        match self {
            TaskState::Running => "running",
            TaskState::Ready => "ready",
            TaskState::Waiting => "waiting",
            TaskState::Unknown => "unknown",
        }
    }
}

/// A place in the worker's source.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct DumpFrame {
    pub function: String,
    pub file: String,
    /// Null: the instruction belongs to no line.
    pub line: Option<u32>,
    /// The worker's own code.
    pub own: bool,
}

/// What a task waits for.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct WaitsFor {
    pub kind: WaitKind,
    /// More about it, for people: `Queue.get`, a function, a name.
    pub what: Option<String>,
    /// Tasks that it waits for, by name.
    pub tasks: Vec<String>,
    /// When it is over at the latest by itself, seconds from the look; below 0: overdue.
    pub left_s: Option<f64>,
    pub fd: Option<i32>,
    pub pid: Option<i64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum WaitKind {
    Sleep,
    Lock,
    Event,
    Condition,
    Semaphore,
    Barrier,
    Queue,
    /// One other task.
    Task,
    /// Several tasks: `asyncio.wait`, a task group.
    Tasks,
    Gather,
    Socket,
    Stream,
    Process,
    /// A thread of an executor, `asyncio.to_thread`. Of a future of `concurrent.futures` is not known who works for it, so
    /// this is what one of a process pool or of another loop is called too.
    Thread,
    /// A future of which no more is known.
    Future,
    /// An awaitable that is none of asyncio's.
    Other,
}

impl WaitKind {
    /// By number, as recordings have it: only ever added to, at the end.
    pub const ALL: [WaitKind; 16] = [
        WaitKind::Sleep,
        WaitKind::Lock,
        WaitKind::Event,
        WaitKind::Condition,
        WaitKind::Semaphore,
        WaitKind::Barrier,
        WaitKind::Queue,
        WaitKind::Task,
        WaitKind::Tasks,
        WaitKind::Gather,
        WaitKind::Socket,
        WaitKind::Stream,
        WaitKind::Process,
        WaitKind::Thread,
        WaitKind::Future,
        WaitKind::Other,
    ];

    pub fn name(self) -> &'static str {
        match self {
            WaitKind::Sleep => "sleep",
            WaitKind::Lock => "lock",
            WaitKind::Event => "event",
            WaitKind::Condition => "condition",
            WaitKind::Semaphore => "semaphore",
            WaitKind::Barrier => "barrier",
            WaitKind::Queue => "queue",
            WaitKind::Task => "task",
            WaitKind::Tasks => "tasks",
            WaitKind::Gather => "gather",
            WaitKind::Socket => "socket",
            WaitKind::Stream => "stream",
            WaitKind::Process => "process",
            WaitKind::Thread => "thread",
            WaitKind::Future => "future",
            WaitKind::Other => "other",
        }
    }
}

/// A handle that waits to be run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DumpCallback {
    /// `ready`, or `timer`.
    pub kind: &'static str,
    pub function: Option<String>,
    pub file: Option<String>,
    pub line: Option<u32>,
    /// Seconds until a timer is due; below 0: overdue.
    pub due_in_s: Option<f64>,
    /// The task that it wakes, where that is all it does.
    pub wakes: Option<String>,
}

#[derive(Clone, Debug, Serialize)]
pub struct DumpThread {
    pub name: Option<String>,
    pub tid: Option<i32>,
    /// It runs an event loop.
    pub is_loop: bool,
    /// Innermost first.
    pub stack: Vec<DumpFrame>,
    /// The stack goes deeper than it was followed.
    pub is_cut: bool,
    /// For whom it works could not be told: it stands under no session.
    pub unreadable: bool,
}
