//! Reports of several workers → one, for one table: rows with their worker, sums where a sum makes sense. Nothing is
//! concluded that a worker's own report does not say.

use crate::model::{
    Block, Grounds, LeftOut, Member, PoolReport, Quality, Report, SCHEMA, SessionKey, SessionReport, Unattributed,
    WorkerReport,
};
use std::collections::HashMap;
use std::sync::Arc;

/// So many blocks of all workers together can be looked at again.
const MOST_RECENT: usize = 200;

/// One worker's report with what was asked besides.
#[derive(Clone, Debug)]
pub struct Watched {
    pub report: Report,
    /// Proportional set size; None: not to be had.
    pub pss_bytes: Option<u64>,
}

/// The reports as one. `root` and `left_out` are `PoolReport`'s.
pub fn merge(root: Option<i32>, watched: Vec<Watched>, left_out: LeftOut) -> Report {
    let members = watched.iter().map(member).collect();
    let reports = || watched.iter().map(|one| &one.report);
    let mut worker = worker(root, &watched);
    let quality = quality(reports());
    let unattributed = Unattributed {
        cpu_pct: sum(reports().map(|report| report.unattributed.cpu_pct)),
        cpu_s: sum(reports().map(|report| report.unattributed.cpu_s)),
        loop_pct: sum(reports().map(|report| report.unattributed.loop_pct)),
    };
    let unix_now = reports().filter_map(|report| report.unix_now).max_by(f64::total_cmp);
    worker.cpu_history = histories(reports().map(|report| &report.worker.cpu_history));
    let recent = recent(&watched);
    let (mut sessions, mut blocks) = (Vec::new(), Vec::new());
    for Watched { report, pss_bytes } in watched {
        let pid = report.worker.pid;
        let share = share(pss_bytes, report.worker.active_sessions);
        let own_key = |key| in_pool(pid, key);
        sessions.extend(report.sessions.into_iter().map(|session| SessionReport {
            key: own_key(session.key),
            worker: Some(pid),
            // Pages that a pool shares count once: the rows sum to the pool's share of memory.
            mem_mb: session.mem_mb.and(share).or(session.mem_mb),
            // A worker knows the highest share of its resident set alone, which is another measure: `Peaks`.
            peak_mb: session.peak_mb.filter(|_| share.is_none()),
            ..session
        }));
        blocks.extend(report.blocks.into_iter().map(|block| block_in_pool(pid, block)));
    }
    Report {
        schema: SCHEMA,
        worker,
        sessions,
        unattributed,
        blocks,
        quality,
        unix_now,
        recent,
        // A session's minutes are its worker's, whose keys are others.
        history: Vec::new(),
        pool: Some(PoolReport {
            root,
            members,
            left_out,
            is_over: false,
        }),
    }
}

/// The highest share of memory of each session of a pool, since it was first seen there.
#[derive(Debug, Default)]
pub struct Peaks(HashMap<SessionKey, f64>);

impl Peaks {
    /// Takes note of what the sessions have now, and fills in what they had at most. Those that are gone are forgotten.
    pub fn fill_in(&mut self, sessions: &mut [SessionReport]) {
        let mut now = HashMap::with_capacity(sessions.len());
        for session in sessions.iter_mut().filter(|session| session.peak_mb.is_none()) {
            let before = self.0.get(&session.key).copied();
            session.peak_mb = before.into_iter().chain(session.mem_mb).max_by(f64::total_cmp);
            now.extend(session.peak_mb.map(|peak| (session.key, peak)));
        }
        self.0 = now;
    }
}

/// Two workers may know one and the same id, and it is not the same session.
fn in_pool(pid: i32, key: SessionKey) -> SessionKey {
    SessionKey::of(&format!("{pid} {}", key.0))
}

/// The same of a block, whose number is its worker's too.
fn block_in_pool(pid: i32, block: Block) -> Block {
    Block {
        id: (u64::from(pid.unsigned_abs()) << 40) | block.id,
        culprit: block.culprit.map(|key| in_pool(pid, key)),
        grounds: Grounds {
            holder: block.grounds.holder.map(|key| in_pool(pid, key)),
            ..block.grounds
        },
        ..block
    }
}

/// The recent blocks of all, newest first.
fn recent(watched: &[Watched]) -> Vec<Arc<Block>> {
    let of_worker = |one: &Watched| {
        let pid = one.report.worker.pid;
        one.report
            .recent
            .iter()
            .map(move |block| (pid, Arc::clone(block)))
            .collect::<Vec<_>>()
    };
    let mut all: Vec<(i32, Arc<Block>)> = watched.iter().flat_map(of_worker).collect();
    // One that began before the attach is older than all whose begin is known. The order within a worker stays.
    let ended = |block: &Block| block.started_at.map_or(0.0, |began| began + block.duration_ms / 1e3);
    all.sort_by(|(_, one), (_, other)| {
        let goes_on = other.ongoing.cmp(&one.ongoing);
        goes_on.then_with(|| ended(other).total_cmp(&ended(one)))
    });
    all.truncate(MOST_RECENT);
    // Copied, stack and all: so only those that are shown.
    all.into_iter()
        .map(|(pid, block)| Arc::new(block_in_pool(pid, (*block).clone())))
        .collect()
}

fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1_048_576.0
}

fn share(pss_bytes: Option<u64>, sessions: Option<u64>) -> Option<f64> {
    match (pss_bytes, sessions) {
        (Some(pss), Some(live @ 1..)) => Some(megabytes(pss) / live as f64),
        _ => None,
    }
}

fn member(watched: &Watched) -> Member {
    let Report { worker, blocks, .. } = &watched.report;
    let ongoing = blocks
        .iter()
        .filter(|block| block.ongoing)
        .map(|block| block.duration_ms);
    Member {
        pid: worker.pid,
        python: worker.python.clone(),
        loop_kind: worker.loop_kind.clone(),
        sessions: worker.active_sessions,
        cpu_pct: worker.cpu_pct,
        loop_pct: worker.loop_pct,
        ready: worker.ready,
        tasks: worker.tasks,
        pss_mb: watched.pss_bytes.map(megabytes),
        blocked_ms: ongoing.max_by(f64::total_cmp),
        condition: worker.condition.clone(),
    }
}

/// The pool as if it were one worker: sums, and the busiest loop.
fn worker(root: Option<i32>, watched: &[Watched]) -> WorkerReport {
    let all = || watched.iter().map(|one| &one.report.worker);
    let counts = |of: fn(&WorkerReport) -> Option<u64>| {
        let known: Vec<u64> = all().filter_map(of).collect();
        (!known.is_empty()).then(|| known.into_iter().fold(0, u64::saturating_add))
    };
    let agreed = |of: fn(&WorkerReport) -> Option<&str>| {
        let mut names: Vec<&str> = all().filter_map(of).collect();
        names.sort_unstable();
        names.dedup();
        (!names.is_empty()).then(|| names.join("+"))
    };
    let shares = watched
        .iter()
        .map(|one| one.pss_bytes.map(megabytes).or(one.report.worker.rss_mb));
    WorkerReport {
        name: Some(name(watched.len(), agreed(|worker| worker.name.as_deref()))),
        // Named one by one, they have no number together.
        pid: root.unwrap_or(0),
        python: agreed(|worker| Some(&worker.python)).unwrap_or_default(),
        loop_kind: agreed(|worker| worker.loop_kind.as_deref()),
        uptime_s: all().filter_map(|worker| worker.uptime_s).max_by(f64::total_cmp),
        active_sessions: counts(|worker| worker.active_sessions),
        max_sessions: counts(|worker| worker.max_sessions),
        started: counts(|worker| worker.started),
        failed: counts(|worker| worker.failed),
        last_error: all().find_map(|worker| worker.last_error.clone()),
        draining: all().filter_map(|worker| worker.draining).max(),
        rss_mb: sum(shares),
        cpu_pct: sum(all().map(|worker| worker.cpu_pct)),
        loop_pct: all().filter_map(|worker| worker.loop_pct).max_by(f64::total_cmp),
        ready: counts(|worker| worker.ready),
        tasks: counts(|worker| worker.tasks),
        session_from: agreed(|worker| worker.session_from.as_deref()),
        system: all().next().map(|worker| worker.system.clone()).unwrap_or_default(),
        asyncio_imported: true,
        ..WorkerReport::default()
    }
}

fn name(count: usize, host: Option<String>) -> String {
    let workers = if count == 1 { "worker" } else { "workers" };
    match host {
        Some(host) => format!("pool of {count} {workers} on {host}"),
        None => format!("pool of {count} {workers}"),
    }
}

/// The rates of the worst, the counts of all; each worker's report has the CPU of otop as a whole.
fn quality<'r>(reports: impl Iterator<Item = &'r Report>) -> Quality {
    let mut reports = reports.map(|report| &report.quality);
    let Some(first) = reports.next() else {
        return Quality::default();
    };
    let mut all = first.clone();
    for one in reports {
        if one.hz_got * all.hz_asked < all.hz_got * one.hz_asked {
            (all.hz_asked, all.hz_got) = (one.hz_asked, one.hz_got);
        }
        all.samples = all.samples.saturating_add(one.samples);
        all.torn = all.torn.saturating_add(one.torn);
        all.unreadable = all.unreadable.saturating_add(one.unreadable);
        all.dropped = all.dropped.saturating_add(one.dropped);
        all.unresolved = all
            .unresolved
            .into_iter()
            .chain(one.unresolved)
            .reduce(u64::saturating_add);
        all.blocks_from_ms = larger(all.blocks_from_ms, one.blocks_from_ms);
        all.late_p99_us = larger(all.late_p99_us, one.late_p99_us);
        all.otop_cpu_pct = larger(all.otop_cpu_pct, one.otop_cpu_pct);
        all.stack_hz_got = sum([all.stack_hz_got, one.stack_hz_got].into_iter());
        all.stack_hz_asked = sum([all.stack_hz_asked, one.stack_hz_asked].into_iter());
    }
    all
}

fn larger(one: Option<f64>, other: Option<f64>) -> Option<f64> {
    one.into_iter().chain(other).max_by(f64::total_cmp)
}

/// A sum of nothing that is known is not known.
fn sum(values: impl Iterator<Item = Option<f64>>) -> Option<f64> {
    values
        .flatten()
        .fold(None, |sum, value| Some(sum.unwrap_or(0.0) + value))
}

/// Second by second, the newest last; a worker that came later counts from then on.
fn histories<'r>(histories: impl Iterator<Item = &'r Vec<f64>>) -> Vec<f64> {
    let mut total: Vec<f64> = Vec::new();
    for history in histories {
        let missing = history.len().saturating_sub(total.len());
        total.splice(0..0, std::iter::repeat_n(0.0, missing));
        for (sum, value) in total.iter_mut().rev().zip(history.iter().rev()) {
            *sum += value;
        }
    }
    total
}

#[cfg(test)]
#[path = "tests/pool.rs"]
mod tests;
