//! OpenRTC's own record of its sessions: the coroutine pool, the executors that hold a job each, the counters. Knows
//! nothing of the socket and the samplers that the worker may or may not run: all of this is there with introspection
//! off.
//!
//! Read off openrtc 0.20.1 (runtime/coroutine_runtime.py, core/wiring.py, observability/metrics.py): a pool keeps one
//! task running `CoroutinePool._monitor_loop_lag`, whose `self` is the pool, also with no session at all.

use super::credentials::error_shown;
use super::resolver::Resolver;
use crate::asyncio::{Task, codes, local, qualified_name};
use crate::cpython::{ABSENT, Heap};
use crate::memory::{AddrMap, AddrSet, Fault};
use crate::model::{Addr, PoolFacts, SessionKey};

const MONITOR: &str = "CoroutinePool._monitor_loop_lag";
/// A pool that claims more sessions is damage.
const MOST_SESSIONS: usize = 100_000;

/// Finds the pool and looks at it.
#[derive(Debug, Default)]
pub struct Pool {
    address: Option<Addr>,
    /// Coroutines that are known to be none of the pool's.
    passed: AddrSet,
    /// Jobs by executor, as they were read in full.
    known: AddrMap<Known>,
    looks: u32,
}

/// For so many looks a job is known that is still held as it was.
const KNOWN_FOR: u32 = 4;

/// A job that was read in full, and what shows that it is still the same.
#[derive(Clone, Debug)]
struct Known {
    held: Held,
    session: PoolSession,
    /// The look at which it was read.
    read_at: u32,
}

/// What an executor holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Held {
    task: Addr,
    vars: Addr,
    job: Option<Addr>,
    status: Option<Addr>,
}

/// What the pool's record says at one instant.
#[derive(Clone, Debug, Default)]
pub struct PoolLook {
    pub facts: PoolFacts,
    pub sessions: Vec<PoolSession>,
    /// Executors that could not be read.
    pub unreadable: u32,
}

/// A job that an executor holds.
#[derive(Clone, Debug)]
pub struct PoolSession {
    pub key: SessionKey,
    /// `SessionInfo.started_at`, or, before there is one, when the job was accepted: a few milliseconds earlier.
    pub started_unix: Option<f64>,
    /// The started-at is the SessionInfo's own.
    pub started_exactly: bool,
    pub errored: bool,
}

impl Pool {
    /// Looks at the pool, if the worker has one. None: it has none.
    pub fn look(
        &mut self,
        heap: &Heap,
        tasks: &[Task],
        resolver: &mut Resolver,
        now_monotonic: f64,
    ) -> Result<Option<PoolLook>, Fault> {
        if heap.offsets.coro_frame == ABSENT {
            return Ok(None);
        }
        if self
            .address
            .is_none_or(|pool| heap.is_a(pool, "CoroutinePool") != Ok(true))
        {
            self.address = self.find(heap, tasks)?;
        }
        match self.address {
            Some(pool) => self.look_at(heap, pool, resolver, now_monotonic).map(Some),
            None => Ok(None),
        }
    }

    /// Looks at the coroutines that were not there before: which code they run, in one read, and what its name is, once
    /// for each code.
    fn find(&mut self, heap: &Heap, tasks: &[Task]) -> Result<Option<Addr>, Fault> {
        let new: Vec<Addr> = tasks
            .iter()
            .map(|t| t.coroutine)
            .filter(|c| !self.passed.contains(c))
            .collect();
        self.passed = tasks.iter().map(|t| t.coroutine).collect();
        let mut is_monitor: AddrMap<bool> = AddrMap::default();
        for (&coroutine, code) in new.iter().zip(codes(heap, &new)?) {
            let Some(code) = code else { continue };
            let monitor = match is_monitor.get(&code) {
                Some(&monitor) => monitor,
                None => match qualified_name(heap, code) {
                    Err(fault @ (Fault::Gone | Fault::Budget)) => return Err(fault),
                    name => *is_monitor.entry(code).or_insert(name.is_ok_and(|name| name == MONITOR)),
                },
            };
            if monitor {
                let pool = local(heap, coroutine, 0)?;
                if heap.is_a(pool, "CoroutinePool")? {
                    return Ok(Some(pool));
                }
            }
        }
        Ok(None)
    }

    fn look_at(
        &mut self,
        heap: &Heap,
        pool: Addr,
        resolver: &mut Resolver,
        now_monotonic: f64,
    ) -> Result<PoolLook, Fault> {
        let mut look = PoolLook {
            facts: facts(heap, pool, now_monotonic),
            ..PoolLook::default()
        };
        self.looks = self.looks.wrapping_add(1);
        let mut before = std::mem::take(&mut self.known);
        let executors = heap.attribute(pool, "_executors")?.ok_or(Fault::Implausible("pool"))?;
        for executor in heap.list_items(executors)?.into_iter().take(MOST_SESSIONS) {
            match self.known(heap, executor, before.remove(&executor), resolver) {
                Ok(Some(known)) => {
                    look.sessions.push(known.session.clone());
                    self.known.insert(executor, known);
                }
                // The executor has not launched its job yet, or the job is not named yet.
                Ok(None) => {}
                Err(fault @ (Fault::Gone | Fault::Budget)) => return Err(fault),
                Err(_) => look.unreadable += 1,
            }
        }
        Ok(look)
    }

    /// The executor's job: as it is known, if it is held as it was, else read in full.
    fn known(
        &self,
        heap: &Heap,
        executor: Addr,
        before: Option<Known>,
        resolver: &mut Resolver,
    ) -> Result<Option<Known>, Fault> {
        let Some(held) = held(heap, executor)? else {
            return Ok(None);
        };
        if let Some(before) = before
            && before.held == held
            && self.looks.wrapping_sub(before.read_at) < KNOWN_FOR
        {
            return Ok(Some(before));
        }
        let session = session(heap, &held, resolver)?;
        Ok(session.map(|session| Known {
            held,
            session,
            read_at: self.looks,
        }))
    }
}

/// The counters; what cannot be read is not known, and costs nothing else.
fn facts(heap: &Heap, pool: Addr, now_monotonic: f64) -> PoolFacts {
    let names = ["_job_entrypoint_fnc", "_draining", "_max_concurrent_sessions"];
    let [entry, draining, most] = heap.attributes(pool, names).unwrap_or_default();
    let metrics = entry.and_then(|function| {
        let arguments = heap.attribute(function, "args").ok()??;
        let state = *heap.tuple_items(arguments).ok()?.first()?;
        heap.attribute(state, "metrics").ok()?
    });
    let names = [
        "total_sessions_started",
        "total_session_failures",
        "last_error",
        "started_at",
    ];
    let metrics = metrics.and_then(|metrics| heap.attributes(metrics, names).ok());
    let [started, failed, last_error, started_at] = metrics.unwrap_or_default();
    let count = |object: Option<Addr>| object.and_then(|o| u64::try_from(heap.int(o).ok()?).ok());
    PoolFacts {
        draining: draining.and_then(|o| heap.bool(o).ok()),
        max_sessions: count(most),
        started: count(started),
        failed: count(failed),
        last_error: last_error.and_then(|o| heap.str(o).ok()).map(error_shown),
        uptime_s: started_at.and_then(|o| heap.float(o).ok()).map(|at| now_monotonic - at),
    }
}

/// None: the executor has not launched its job yet.
fn held(heap: &Heap, executor: Addr) -> Result<Option<Held>, Fault> {
    let [task, job, status] = heap.attributes(executor, ["_task", "_running_job", "_status"])?;
    let Some(task) = task else { return Ok(None) };
    if !heap.is_a(task, "Task")? {
        return Ok(None);
    }
    let context = heap.object(task, heap.offsets.task_context)?;
    let vars = heap.context(context)?.vars;
    Ok(Some(Held {
        task,
        vars,
        job,
        status,
    }))
}

/// None: the job is not named yet.
fn session(heap: &Heap, held: &Held, resolver: &mut Resolver) -> Result<Option<PoolSession>, Fault> {
    let Some(key) = resolver.resolve(heap, held.vars)?.session else {
        return Ok(None);
    };
    let info = resolver
        .value_of(heap, held.vars, "agents_job_context")?
        .map(|job| session_info(heap, job));
    let info = info.transpose()?.flatten();
    let float = |object: Addr, name| {
        heap.attribute(object, name)
            .ok()
            .flatten()
            .and_then(|o| heap.float(o).ok())
    };
    let exact = info.and_then(|(info, _)| float(info, "started_at"));
    let accepted = || {
        held.job
            .and_then(|job| float(job, "accepted_at"))
            .filter(|&at| at > 0.0)
    };
    let failed = held.status.is_some_and(|status| {
        let value = heap
            .attribute(status, "_value_")
            .ok()
            .flatten()
            .and_then(|v| heap.str(v).ok());
        value.as_deref() == Some("failed")
    });
    Ok(Some(PoolSession {
        key,
        started_unix: exact.or_else(accepted),
        started_exactly: exact.is_some(),
        errored: failed || info.is_some_and(|(_, error)| error),
    }))
}

/// From the `JobContext`: the SessionInfo, and whether an error was recorded with it. None before `run_session`
/// returned and after the session's end.
fn session_info(heap: &Heap, job: Addr) -> Result<Option<(Addr, bool)>, Fault> {
    let Some(finish) = heap.attribute(job, "_openrtc_session_finish")? else {
        return Ok(None);
    };
    let Some(arguments) = heap.attribute(finish, "args")? else {
        return Ok(None);
    };
    let arguments = heap.tuple_items(arguments)?;
    match arguments.get(1) {
        Some(&info) if heap.is_a(info, "SessionInfo")? => {
            let error = match arguments.get(3) {
                Some(&error) => !heap.is_a(error, "NoneType")?,
                None => false,
            };
            Ok(Some((info, error)))
        }
        _ => Ok(None),
    }
}
