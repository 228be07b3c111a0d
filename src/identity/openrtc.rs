//! OpenRTC's own record of its sessions: the coroutine pool, the executors that hold a job each, the counters. Knows
//! nothing of the socket and the samplers that the worker may or may not run: all of this is there with introspection
//! off.
//!
//! Read off openrtc 0.20.1 (runtime/coroutine_runtime.py, core/wiring.py, observability/metrics.py): a pool keeps one
//! task running `CoroutinePool._monitor_loop_lag`, whose `self` is the pool, also with no session at all.

use super::resolver::Resolver;
use crate::asyncio::{Task, codes, local, qualified_name};
use crate::cpython::{ABSENT, Heap};
use crate::memory::Fault;
use crate::model::{Addr, PoolFacts, SessionKey};
use std::collections::{HashMap, HashSet};

const MONITOR: &str = "CoroutinePool._monitor_loop_lag";
/// A pool that claims more sessions is damage.
const MOST_SESSIONS: usize = 100_000;

/// Finds the pool and looks at it.
#[derive(Debug, Default)]
pub struct Pool {
    address: Option<Addr>,
    /// Coroutines that are known to be none of the pool's.
    passed: HashSet<Addr>,
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
            Some(pool) => look(heap, pool, resolver, now_monotonic).map(Some),
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
        let mut is_monitor: HashMap<Addr, bool> = HashMap::new();
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
}

fn look(heap: &Heap, pool: Addr, resolver: &mut Resolver, now_monotonic: f64) -> Result<PoolLook, Fault> {
    let mut look = PoolLook {
        facts: facts(heap, pool, now_monotonic),
        ..PoolLook::default()
    };
    let executors = heap.attribute(pool, "_executors")?.ok_or(Fault::Implausible("pool"))?;
    for executor in heap.list_items(executors)?.into_iter().take(MOST_SESSIONS) {
        match session(heap, executor, resolver) {
            Ok(Some(session)) => look.sessions.push(session),
            // The executor has not launched its job yet, or the job is not named yet.
            Ok(None) => {}
            Err(fault @ (Fault::Gone | Fault::Budget)) => return Err(fault),
            Err(_) => look.unreadable += 1,
        }
    }
    Ok(look)
}

/// The counters; what cannot be read is not known, and costs nothing else.
fn facts(heap: &Heap, pool: Addr, now_monotonic: f64) -> PoolFacts {
    let of_pool = |name| heap.attribute(pool, name).ok().flatten();
    let metrics = of_pool("_job_entrypoint_fnc").and_then(|function| {
        let arguments = heap.attribute(function, "args").ok()??;
        let state = *heap.tuple_items(arguments).ok()?.first()?;
        heap.attribute(state, "metrics").ok()?
    });
    let metric = |name| metrics.and_then(|m| heap.attribute(m, name).ok().flatten());
    let count = |object: Option<Addr>| object.and_then(|o| u64::try_from(heap.int(o).ok()?).ok());
    PoolFacts {
        draining: of_pool("_draining").and_then(|o| heap.bool(o).ok()),
        max_sessions: count(of_pool("_max_concurrent_sessions")),
        started: count(metric("total_sessions_started")),
        failed: count(metric("total_session_failures")),
        last_error: metric("last_error").and_then(|o| heap.str(o).ok()),
        uptime_s: metric("started_at")
            .and_then(|o| heap.float(o).ok())
            .map(|at| now_monotonic - at),
    }
}

fn session(heap: &Heap, executor: Addr, resolver: &mut Resolver) -> Result<Option<PoolSession>, Fault> {
    let Some(task) = heap.attribute(executor, "_task")? else {
        return Ok(None);
    };
    if !heap.is_a(task, "Task")? {
        return Ok(None);
    }
    let context = heap.object(task, heap.offsets.task_context)?;
    let vars = heap.context(context)?.vars;
    let Some(key) = resolver.resolve(heap, vars)?.session else {
        return Ok(None);
    };
    let job = heap.attribute(executor, "_running_job")?;
    let info = resolver
        .value_of(heap, vars, "agents_job_context")?
        .map(|job| session_info(heap, job));
    let info = info.transpose()?.flatten();
    let float = |object: Addr, name| {
        heap.attribute(object, name)
            .ok()
            .flatten()
            .and_then(|o| heap.float(o).ok())
    };
    let exact = info.and_then(|(info, _)| float(info, "started_at"));
    let accepted = || job.and_then(|job| float(job, "accepted_at")).filter(|&at| at > 0.0);
    let failed = heap.attribute(executor, "_status")?.is_some_and(|status| {
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
