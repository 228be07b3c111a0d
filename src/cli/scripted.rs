//! For tests: a worker that sends what a script says, in the place of a real one, and the observations that scripts are
//! made of. Knows nothing of the loops that are tested with it.

use super::plan::Measuring;
use super::table::plan::{Look, Shape};
use super::wire::{AttachOptions, Attached, Examination, Probe, Reading, Variables};
use super::worker::{Worker, now};
use crate::model::*;
use crate::source::error::AttachError;
use crate::view::Options;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{self, Sender};
use std::time::{Duration, Instant};

pub const LOOP: ThreadIndex = ThreadIndex(0);
/// `recvfrom`, as a loop that waits for a database sits in it.
pub const RECVFROM: i32 = 45;
const EPOLL_WAIT: i32 = 232;
/// Longer than any loop under test goes on.
pub const LONG: Duration = Duration::from_secs(30);

pub fn look(window: Duration) -> Look {
    Look {
        shape: Shape::Once,
        options: Options::default(),
        refresh: Duration::from_secs(1),
        measuring: measuring(window),
        words: Vec::new(),
    }
}

pub fn measuring(window: Duration) -> Measuring {
    Measuring {
        rate_hz: 1000.0,
        stack_rate_hz: 100.0,
        bpf: true,
        own: Vec::new(),
        window,
        slow_threshold: Duration::from_millis(50),
        slow_window: Duration::from_secs(5),
        pauses: false,
    }
}

/// A worker that sends what the script says, from a thread of its own.
pub fn worker(look: &Look, script: impl FnOnce(&Sender<Observation>) + Send + 'static) -> Worker {
    Worker::new(attached(Pid(7), script), &look.measuring)
}

fn attached(pid: Pid, script: impl FnOnce(&Sender<Observation>) + Send + 'static) -> Attached {
    let (send, observations) = mpsc::channel();
    let hello = Hello {
        pid,
        python: "3.12.1".to_owned(),
        name: Some("host".to_owned()),
        session_from: None,
        attached_at: now(),
        realtime_offset: 0,
        started_unix: None,
        vcpus: Some(2),
        rate_hz: 1_000.0,
        stack_rate_hz: None,
        library: None,
    };
    std::thread::spawn(move || script(&send));
    Attached {
        hello,
        observations,
        notes: Vec::new(),
        stop: Box::new(()),
    }
}

/// A reading side in which every process is a worker that does what the script says, but for those of which something
/// else is told.
pub struct Scripted {
    pub script: fn(&Sender<Observation>),
    pub others: BTreeMap<Pid, Other>,
    /// How long one look into a process takes.
    pub takes: Duration,
    /// Who was looked into, in that order.
    pub probed: RefCell<Vec<Pid>>,
}

/// What is no worker.
#[derive(Clone)]
pub enum Other {
    /// Python that runs no loop.
    Idle,
    /// Python that has not imported asyncio.
    WithoutAsyncio,
    Refused(AttachError),
}

impl Default for Scripted {
    fn default() -> Scripted {
        Scripted {
            script: |send| {
                let _ = send.send(census(true));
                tick_on(send, None, LONG);
            },
            others: BTreeMap::new(),
            takes: Duration::ZERO,
            probed: RefCell::default(),
        }
    }
}

impl Reading for Scripted {
    fn attach(&self, pid: Pid, _: &AttachOptions) -> Result<Attached, AttachError> {
        Ok(attached(pid, self.script))
    }

    fn probe(&self, pid: Pid) -> Result<Probe, AttachError> {
        self.probed.borrow_mut().push(pid);
        std::thread::sleep(self.takes);
        let loop_kind = match self.others.get(&pid).cloned() {
            Some(Other::Refused(error)) => return Err(error),
            Some(Other::Idle | Other::WithoutAsyncio) => None,
            None => Some("asyncio".to_owned()),
        };
        Ok(Probe {
            python: "3.12.1".to_owned(),
            loop_kind,
            has_asyncio: !matches!(self.others.get(&pid), Some(Other::WithoutAsyncio)),
            sessions: 1,
        })
    }

    fn variables(&self, pid: Pid) -> Result<Variables, AttachError> {
        Err(AttachError::Gone(pid))
    }

    fn examine(&self, pid: Pid) -> Result<Examination, AttachError> {
        Err(AttachError::Gone(pid))
    }
}

pub fn census(asyncio_imported: bool) -> Observation {
    let labels = Arc::new(Labels {
        session_id: "a".to_owned(),
        agent: None,
        tenant: None,
    });
    let session = SessionFacts {
        key: SessionKey::of("a"),
        labels,
        live: true,
        tasks: 1,
        started_unix: None,
        errored: false,
        pinned: false,
        reading: None,
    };
    Observation::Census(Box::new(Census {
        at: now(),
        took: Nanos::ZERO,
        sessions: if asyncio_imported { vec![session] } else { Vec::new() },
        loops: Vec::new(),
        tasks: 1,
        session_from: Some("openrtc".to_owned()),
        asyncio_imported,
        pool: None,
        rss_bytes: None,
        host: HostFacts::default(),
        unreadable: 0,
        stopped: false,
        frozen: false,
        pause: None,
    }))
}

/// One tick; the loop is in this step, and has not moved since. None: it waits for something to do.
pub fn batch(step: Option<u64>) -> Observation {
    let sample = Sample {
        thread: LOOP,
        owner: Owner::Session(SessionKey::of("a")),
        within: None,
        step,
        progress: 1,
        state: State::Syscall(if step.is_some() { RECVFROM } else { EPOLL_WAIT }),
        cpu: Some(Nanos::ZERO),
        run_delay: Some(Nanos::ZERO),
    };
    let tick = Tick {
        at: now(),
        late: Nanos::ZERO,
        own_wait: Nanos::ZERO,
        suspended: Nanos::ZERO,
        held: Nanos::ZERO,
        gil: Gil::default(),
        collecting: None,
        first: 0,
        count: 1,
    };
    let thread = ThreadFacts {
        index: LOOP,
        tid: Tid(7),
        name: "main".to_owned(),
        is_loop: true,
    };
    Observation::Batch(Batch {
        ticks: vec![tick],
        samples: vec![sample],
        threads: vec![thread],
        ..Batch::default()
    })
}

/// Sends ticks until nobody takes them, or for so long.
pub fn tick_on(send: &Sender<Observation>, step: Option<u64>, time: Duration) {
    let end = Instant::now() + time;
    while Instant::now() < end && send.send(batch(step)).is_ok() {
        std::thread::sleep(Duration::from_millis(1));
    }
}
