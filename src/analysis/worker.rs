//! What is said of the worker as a whole, its loops and its host. Knows nothing of sessions one by one.

use super::tally::Tally;
use super::{Engine, percent, wall_clock};
use crate::model::{
    Census, Ending, HostFacts, LoopFacts, LoopKind, LoopReport, Nanos, SystemReport, ThreadIndex, WorkerReport,
};
use std::collections::BTreeSet;

pub(super) fn report(engine: &Engine, now: Nanos, window: &Tally) -> WorkerReport {
    let census = engine.census.as_ref();
    let pool = census.and_then(|census| census.pool.clone()).unwrap_or_default();
    let loops = census.map_or(&[][..], |census| &census.loops);
    let length = Some(window.length()).filter(|length| *length > 0.0);
    let hello = &engine.hello;
    WorkerReport {
        name: hello.name.clone(),
        pid: hello.pid.0,
        python: hello.python.clone(),
        loop_kind: kinds(loops),
        uptime_s: uptime(engine, now),
        active_sessions: census.map(|_| engine.sessions.live()),
        max_sessions: pool.max_sessions,
        started: pool.started,
        failed: pool.failed,
        last_error: pool.last_error,
        draining: pool.draining,
        rss_mb: census
            .and_then(|census| census.rss_bytes)
            .map(|bytes| bytes as f64 / 1_048_576.0),
        cpu_pct: length.map(|length| percent(window.total_cpu, length)),
        loop_pct: window
            .threads
            .keys()
            .filter_map(|thread| busy_pct(window, *thread))
            .max_by(f64::total_cmp),
        ready: ready(loops),
        tasks: census.map(|census| u64::from(census.tasks)),
        session_from: census.and_then(|census| census.session_from.clone()),
        loops: loops.iter().map(|facts| loop_report(engine, facts, window)).collect(),
        cpu_history: engine.windows.history(),
        system: system(census.map(|census| &census.host), hello.vcpus),
        condition: condition(engine, census),
        // Before the first walk nothing is known of it.
        asyncio_imported: census.is_none_or(|census| census.asyncio_imported),
        is_served: false,
    }
}

fn loop_report(engine: &Engine, facts: &LoopFacts, window: &Tally) -> LoopReport {
    let thread = facts
        .thread
        .and_then(|index| engine.threads.get(index))
        .and_then(|thread| thread.facts.as_ref());
    LoopReport {
        kind: kind(facts.kind).to_owned(),
        tid: thread.map(|thread| thread.tid.0),
        thread: thread.map(|thread| thread.name.clone()),
        loop_pct: facts.thread.and_then(|index| busy_pct(window, index)),
        ready: facts.ready.map(u64::from),
        tasks: Some(u64::from(facts.tasks)),
    }
}

fn busy_pct(window: &Tally, thread: ThreadIndex) -> Option<f64> {
    window.busy(thread).map(|nanos| percent(nanos, window.length()))
}

fn kind(kind: LoopKind) -> &'static str {
    match kind {
        LoopKind::Asyncio => "asyncio",
        LoopKind::Uvloop => "uvloop",
        LoopKind::Other => "other",
    }
}

fn kinds(loops: &[LoopFacts]) -> Option<String> {
    let kinds: BTreeSet<LoopKind> = loops.iter().map(|facts| facts.kind).collect();
    let names: Vec<&str> = kinds.into_iter().map(kind).collect();
    (!names.is_empty()).then(|| names.join("+"))
}

/// Handles ready in all loops; None: no loop's can be read.
fn ready(loops: &[LoopFacts]) -> Option<u64> {
    loops
        .iter()
        .filter_map(|facts| facts.ready)
        .map(u64::from)
        .reduce(|one, other| one + other)
}

/// The pool's, which is older than its census; else the process's.
fn uptime(engine: &Engine, now: Nanos) -> Option<f64> {
    let census = engine.census.as_ref();
    let of_pool = census.and_then(|census| {
        let then = census.pool.as_ref()?.uptime_s?;
        Some(then + (now - census.at).as_secs_f64())
    });
    of_pool.or_else(|| {
        let started = engine.hello.started_unix?;
        Some((wall_clock(&engine.hello, now, engine.suspended) - started).max(0.0))
    })
}

fn system(host: Option<&HostFacts>, vcpus: Option<u32>) -> SystemReport {
    let host = host.cloned().unwrap_or_default();
    SystemReport {
        cpu_pct: host.cpu_pct,
        vcpus,
        mem_used_bytes: host.mem_used_bytes,
        mem_total_bytes: host.mem_total_bytes,
        swap_used_bytes: host.swap_used_bytes,
        swap_total_bytes: host.swap_total_bytes,
        load1: host.load.map(|load| load[0]),
        load5: host.load.map(|load| load[1]),
        load15: host.load.map(|load| load[2]),
        net_rate_bps: host.net_rate_bps,
    }
}

/// What happened to the worker; None while it runs. Of the samples and the census the later one knows.
fn condition(engine: &Engine, census: Option<&Census>) -> Option<String> {
    match &engine.ending {
        Some(Ending::Exited) => return Some("exited".to_owned()),
        Some(Ending::Execed) => return Some("execed".to_owned()),
        Some(Ending::Lost(why)) => return Some(format!("lost: {why}")),
        None => {}
    }
    let by_census = census.map(|census| (census.at, census.stopped || census.frozen));
    // Where otop itself stops the worker now and then, a tick may have seen just that.
    let by_ticks = engine
        .stopped
        .filter(|_| census.is_none_or(|census| census.pause.is_none()));
    let (_, stopped) = by_census.max(by_ticks)?;
    // The samples do not tell the two apart.
    let by_group = census.is_some_and(|census| census.frozen);
    stopped.then(|| if by_group { "frozen" } else { "stopped" }.to_owned())
}
