//! The reading threads: the sampler, which takes ticks by a schedule, the stack sampler, which takes whole stacks by one of
//! its own, the walker, which takes walks, and for recordings one that takes dumps; all hand what they saw to one bounded
//! channel. Beside them one that gives the kernel a program, and ends. Knows nothing of what is concluded from it.

mod affinity;
mod aside;
mod dumping;
mod labels;
mod naming;
mod pace;
mod pausing;
mod reach;
mod recorded_dumps;
mod retelling;
mod schedule;
mod scheduling;
mod stacking;
mod ticking;
mod walking;

pub use crate::bpf::Refusal as NoInterrupts;
pub use dumping::{Dumped, dump};
pub use reach::{Reach, may_interrupt, reach};

use self::dumping::Dumper;
use crate::bpf::ChainReader;
use crate::cpython::ONE_WALK;
use crate::identity::{Inventory, Naming, Spec, disagree, inventory};
use crate::model::{Addr, Hello, LoopKind, Nanos, Observation, OwnCode, Pid};
use crate::process::{self, Holds, Host, PauseError, Sameness};
use crate::source::error::AttachError;
use crate::source::{Attachment, Plan, StackReader, TickReader, Walker};
use nix::time::{ClockId, clock_gettime};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// Batches and walks that may wait to be taken; about three seconds of them. What comes on top is dropped, and counted.
const WAITING: usize = 64;

/// So many stacks a second are read by interrupts, where nothing else was asked for. An interrupt costs the worker a few
/// microseconds, where a look from its CPU costs it tens; it costs otop half as much again, which counts where there are many.
const INTERRUPTS_UP_TO: f64 = 250.0;

/// The first rows are made meanwhile, and the CPU is theirs.
const NOT_BEFORE: Duration = Duration::from_millis(40);

/// What one look at all contextvars may read.
const INVENTORY_BUDGET: u64 = 16 * ONE_WALK;

/// What to sample, and how often.
#[derive(Clone, Debug, Default)]
pub struct AttachOptions {
    /// Ticks a second.
    pub rate_hz: f64,
    /// Full stacks a second; None: none are taken.
    pub stack_rate_hz: Option<f64>,
    /// What names sessions, agents and tenants, the first that fits; none: what is known.
    pub session_from: Vec<Spec>,
    pub agent_from: Vec<Spec>,
    pub tenant_from: Vec<Spec>,
    /// Places whose files are own code, beside those that are so anyway.
    pub own: Vec<String>,
    /// Read stacks inside interrupts of the CPU that the worker's thread is on, where that is allowed, and not from that
    /// CPU; None: up to `INTERRUPTS_UP_TO` a second.
    pub interrupts: Option<bool>,
    /// Take dumps too, every few seconds.
    pub dumps: bool,
    /// Stop the worker for each walk, and for a dump.
    pub pauses: bool,
}

/// A worker that is being watched.
pub struct Attached {
    pub hello: Hello,
    pub observations: Receiver<Observation>,
    /// What is to be said of the options: a spec that leads nowhere yet.
    pub notes: Vec<String>,
    /// Tells the threads to end when it is dropped.
    pub stop: StopHandle,
}

/// Tells the reading threads to end.
pub struct StopHandle {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Drop for StopHandle {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // They end with their next wake-up, and hold nothing that anybody waits for; the stack sampler may sleep for as
        // long as its period, which whoever asked `--once` need not wait for.
        for thread in self.threads.drain(..) {
            thread.thread().unpark();
        }
    }
}

/// What a look at a process tells about it as a worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    pub python: String,
    /// `asyncio`, `uvloop`, both, or another; None: it runs no loop, or has not imported asyncio.
    pub loop_kind: Option<String>,
    /// It has imported asyncio.
    pub has_asyncio: bool,
    pub sessions: usize,
}

/// `CLOCK_MONOTONIC`
pub fn monotonic() -> Nanos {
    clock(ClockId::CLOCK_MONOTONIC)
}

pub(crate) fn clock(id: ClockId) -> Nanos {
    // The clocks that are asked for exist on every Linux; there is nothing to do where one does not.
    clock_gettime(id).map_or(Nanos::ZERO, |t| {
        Nanos(
            (t.tv_sec() as u64)
                .saturating_mul(1_000_000_000)
                .saturating_add(t.tv_nsec() as u64),
        )
    })
}

/// What the calling thread has used of a CPU.
fn own_cpu() -> Nanos {
    clock(ClockId::CLOCK_THREAD_CPUTIME_ID)
}

/// Looks once at `pid`.
pub fn probe(pid: Pid) -> Result<Probe, AttachError> {
    let Attachment {
        plan, proved, lists, ..
    } = crate::source::attach(pid)?;
    let python = plan.version.to_string();
    let naming = Naming {
        only_named: true,
        ..Naming::default()
    };
    let mut walker = Walker::open(plan, proved, lists, naming, OwnCode::default())
        .map_err(|e| AttachError::io(format!("/proc/{pid}/mem"), &e))?;
    let census = walker
        .walk(monotonic)
        .map_err(|broken| broken.into_error(pid, &python))?;
    let mut kinds: Vec<LoopKind> = census.loops.iter().map(|l| l.kind).collect();
    kinds.sort_unstable();
    kinds.dedup();
    let kinds: Vec<&str> = kinds.into_iter().map(LoopKind::name).collect();
    let sessions = census.sessions.iter().filter(|s| s.live).count();
    Ok(Probe {
        python,
        loop_kind: (!kinds.is_empty()).then(|| kinds.join("+")),
        has_asyncio: census.asyncio_imported,
        sessions,
    })
}

/// The contextvars in a worker's live tasks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variables {
    pub python: String,
    /// What names sessions where nothing is asked for; behind a `?` where it disagrees, as in the table.
    pub session_from: String,
    /// Before asyncio is imported there are no tasks.
    pub asyncio_imported: bool,
    pub inventory: Inventory,
}

/// Looks once at the contextvars of `pid`.
pub fn variables(pid: Pid) -> Result<Variables, AttachError> {
    let attachment = crate::source::attach(pid)?;
    let (naming, _) = naming::naming(&attachment, &AttachOptions::default())?;
    let Attachment { plan, heap, lists, .. } = &attachment;
    let rules = naming.rules(naming.fits());
    let mut found = Variables {
        python: plan.version.to_string(),
        session_from: rules.name.clone(),
        asyncio_imported: lists.is_some(),
        inventory: Inventory::default(),
    };
    if let Some(lists) = lists {
        heap.grant(INVENTORY_BUDGET);
        let of_fault = |fault| crate::source::of_fault(pid, fault);
        let threads = heap.thread_states(&plan.runtime).map_err(of_fault)?;
        let tasks = lists.walk(heap, &plan.runtime, &threads, &[]).map_err(of_fault)?;
        let threads: Vec<Addr> = threads.iter().map(|thread| thread.address).collect();
        found.inventory = inventory(heap, &tasks.pending, &threads, &rules);
        heap.grant(INVENTORY_BUDGET);
        if disagree(heap, &mut naming.resolver(naming.fits()), &tasks.pending, &threads) {
            found.session_from = format!("? {}", rules.name);
        }
    }
    Ok(found)
}

/// Attaches to `pid` and starts to watch it.
pub fn attach(pid: Pid, options: &AttachOptions) -> Result<Attached, AttachError> {
    let attachment = crate::source::attach(pid)?;
    let (naming, notes) = naming::naming(&attachment, options)?;
    let hello = hello(&attachment, options, &naming);
    let memory = |e| AttachError::io(format!("/proc/{pid}/mem"), &e);
    let own = OwnCode::new(hello.library.clone(), options.own.clone());
    let dumper = match options.dumps {
        true => Some(Dumper::open(&attachment, naming.clone(), own.clone())?),
        false => None,
    };
    let Attachment {
        plan, proved, lists, ..
    } = attachment;
    // What it does not do while otop itself holds it is nobody's doing: all who read it are told.
    let holds = Arc::new(Holds::default());
    let reader = TickReader::open(plan.clone(), naming.clone(), Arc::clone(&holds)).map_err(memory)?;
    let stacks = match options.stack_rate_hz {
        Some(rate) => Some((
            StackReader::open(plan.clone(), naming.clone(), Arc::clone(&holds)).map_err(memory)?,
            rate,
        )),
        None => None,
    };
    let walker = Walker::open(plan.clone(), proved, lists, naming, own).map_err(memory)?;
    let pauses = options.pauses.then(|| Arc::clone(&holds));
    if let Some(holds) = &pauses {
        process::not_to_be_suspended();
        // Whether that is allowed is to be known now, and not beneath a table. A machine too busy for it now may be quiet
        // at the walks.
        match process::while_paused(pid, holds, walking::HELD_AT_MOST, || ()) {
            Ok(_) | Err(PauseError::Stuck { .. }) => {}
            Err(error) => return Err(pausing::not_paused(error)),
        }
    }

    let (sender, observations) = sync_channel(WAITING);
    let stop = Arc::new(AtomicBool::new(false));
    let mut handle = StopHandle {
        stop: Arc::clone(&stop),
        threads: Vec::new(),
    };
    let spawn = |name: &str, run: Box<dyn FnOnce() + Send>| {
        let spawned = thread::Builder::new().name(name.to_string()).spawn(run);
        spawned.map_err(|e| AttachError::io(format!("starting the {name} thread"), &e))
    };
    let to = (sender.clone(), Arc::clone(&stop), plan.clone());
    let walking = spawn(
        "otop-walker",
        Box::new(move || walking::run(walker, &to.2, pauses.as_deref(), &to.0, &to.1)),
    )?;
    handle.threads.push(walking);
    if let Some((mut reader, rate)) = stacks {
        if options.interrupts.unwrap_or(rate <= INTERRUPTS_UP_TO) {
            // The kernel takes some milliseconds to prove the program: nobody waits for that. The thread that loads it has the
            // right to, and reads nothing of the worker.
            let (loaded, loading) = sync_channel(1);
            let layout = reader.layout();
            let load = move || {
                thread::sleep(NOT_BEFORE);
                if let Ok(chain) = ChainReader::load(layout) {
                    let _ = loaded.send(chain);
                }
            };
            handle.threads.push(spawn("otop-bpf", Box::new(load))?);
            reader.will_interrupt(loading);
        }
        let to = (sender.clone(), Arc::clone(&stop), plan.clone());
        let stacking = spawn(
            "otop-stacks",
            Box::new(move || stacking::run(reader, &to.2, rate, &to.0, &to.1)),
        )?;
        handle.threads.push(stacking);
    }
    if let Some(dumper) = dumper {
        let to = (sender.clone(), Arc::clone(&stop), plan.clone());
        let dumping = spawn(
            "otop-dumps",
            Box::new(move || recorded_dumps::run(dumper, &to.2, &to.0, &to.1)),
        )?;
        handle.threads.push(dumping);
    }
    let rate = options.rate_hz;
    let ticking = spawn(
        "otop-sampler",
        Box::new(move || ticking::run(reader, &plan, rate, &sender, &stop)),
    )?;
    handle.threads.push(ticking);
    Ok(Attached {
        hello,
        observations,
        notes,
        stop: handle,
    })
}

fn hello(attachment: &Attachment, options: &AttachOptions, naming: &Naming) -> Hello {
    let plan = &attachment.plan;
    let attached_at = monotonic();
    Hello {
        pid: plan.pid,
        python: plan.version.to_string(),
        name: process::uts_hostname(plan.pid),
        session_from: Some(naming.rules(naming.fits()).name),
        attached_at,
        realtime_offset: i128::from(clock(ClockId::CLOCK_REALTIME).0) - i128::from(attached_at.0),
        started_unix: process::started_unix(plan.pid).ok(),
        vcpus: Host::vcpus(),
        rate_hz: options.rate_hz,
        stack_rate_hz: options.stack_rate_hz,
        library: attachment.heap.library(&plan.runtime).unwrap_or_default(),
    }
}

/// Says how the worker ended, once reading it failed with `detail`.
fn ended(plan: &Plan, detail: &str, to: &SyncSender<Observation>) {
    use crate::model::Ending;
    let ending = match plan.fingerprint.what_became() {
        Sameness::Exited => Ending::Exited,
        Sameness::Execed => Ending::Execed,
        Sameness::Same => Ending::Lost(detail.to_string()),
    };
    // Nobody listens any more where this fails.
    let _ = to.send(Observation::Ended(ending));
}
