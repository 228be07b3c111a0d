//! The line that an OpenRTC worker serves, as a report. What it does not serve is unknown; what it serves under a name
//! that means something else here (its `cpu_history` is the host's) is left out rather than shown as what it is not.

use crate::model::{Pid, Quality, Report, SCHEMA, SessionReport, Status, SystemReport, Unattributed, WorkerReport};
use serde::Deserialize;

#[derive(Deserialize)]
struct Snapshot {
    worker: Option<Worker>,
    sessions: Vec<Session>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Worker {
    name: Option<String>,
    uptime_s: Option<f64>,
    active_sessions: Option<u64>,
    max_sessions: Option<u64>,
    started: Option<u64>,
    failed: Option<u64>,
    draining: Option<bool>,
    system: System,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct System {
    cpu_pct: Option<f64>,
    vcpus: Option<u32>,
    mem_used_bytes: Option<u64>,
    mem_total_bytes: Option<u64>,
    swap_used_bytes: Option<u64>,
    swap_total_bytes: Option<u64>,
    load1: Option<f64>,
    load5: Option<f64>,
    load15: Option<f64>,
    net_rate_bps: Option<f64>,
}

#[derive(Deserialize)]
struct Session {
    session_id: String,
    agent_name: Option<String>,
    tenant: Option<String>,
    duration_s: Option<f64>,
    mem_mb: Option<f64>,
    peak_mb: Option<f64>,
    cpu_pct: Option<f64>,
    #[serde(default)]
    status: String,
    #[serde(default)]
    pinned: bool,
}

/// A report in which nothing is known.
pub fn nothing() -> Report {
    Report {
        schema: SCHEMA,
        worker: WorkerReport {
            asyncio_imported: true,
            is_served: true,
            ..WorkerReport::default()
        },
        sessions: Vec::new(),
        unattributed: Unattributed::default(),
        blocks: Vec::new(),
        quality: Quality::default(),
        unix_now: None,
        recent: Vec::new(),
        history: Vec::new(),
        pool: None,
    }
}

/// The line as a report, or what is wrong with it.
pub fn report(line: &[u8], owner: Option<Pid>) -> Result<Report, String> {
    if line.is_empty() {
        return Err("it closed the connection without a word".to_owned());
    }
    let snapshot: Snapshot = serde_json::from_slice(line).map_err(|error| error.to_string())?;
    let worker = snapshot.worker.unwrap_or_default();
    let system = worker.system;
    Ok(Report {
        worker: WorkerReport {
            name: worker.name,
            pid: owner.map_or(0, |pid| pid.0),
            uptime_s: worker.uptime_s,
            active_sessions: worker.active_sessions,
            max_sessions: worker.max_sessions,
            started: worker.started,
            failed: worker.failed,
            draining: worker.draining,
            system: SystemReport {
                cpu_pct: system.cpu_pct,
                vcpus: system.vcpus,
                mem_used_bytes: system.mem_used_bytes,
                mem_total_bytes: system.mem_total_bytes,
                swap_used_bytes: system.swap_used_bytes,
                swap_total_bytes: system.swap_total_bytes,
                load1: system.load1,
                load5: system.load5,
                load15: system.load15,
                net_rate_bps: system.net_rate_bps,
            },
            ..nothing().worker
        },
        sessions: snapshot.sessions.into_iter().map(session).collect(),
        ..nothing()
    })
}

fn session(served: Session) -> SessionReport {
    SessionReport {
        agent_name: served.agent_name,
        tenant: served.tenant,
        duration_s: served.duration_s,
        mem_mb: served.mem_mb,
        peak_mb: served.peak_mb,
        cpu_pct: served.cpu_pct,
        status: match served.status.as_str() {
            "slow" => Status::Slow,
            "draining" => Status::Draining,
            "errored" => Status::Errored,
            _ => Status::Active,
        },
        pinned: served.pinned,
        ..SessionReport::unknown(&served.session_id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As a real worker of OpenRTC 0.20.1 served it, shortened.
    const SERVED: &str = r#"{"worker": {"name": "vm", "uptime_s": 100.6, "active_sessions": 6, "max_sessions": 12,
        "started": 6, "failed": 0, "draining": true, "system": {"available": true, "cpu_pct": 100.0, "vcpus": 2,
        "mem_used_bytes": 807190528, "mem_total_bytes": 25276510208, "swap_used_bytes": 0, "swap_total_bytes": 0,
        "load1": 7.0, "load5": 6.8, "load15": 5.5, "net_rate_bps": 258.6}, "cpu_history": [90.0, 100.0]},
        "sessions": [{"session_id": "AJ_000sYfnHPcRu", "agent_name": "restaurant", "tenant": "acme", "duration_s": 100.5,
        "mem_mb": 33.0, "peak_mb": 33.5, "cpu_pct": 2.8, "status": "slow", "pinned": false}, {"session_id": "AJ_2",
        "agent_name": "dental", "tenant": null, "duration_s": 1.0, "mem_mb": 33.0, "peak_mb": 33.0, "cpu_pct": 17.4,
        "status": "active", "pinned": true}]}"#;

    #[test]
    fn what_is_served_is_shown_and_the_rest_is_unknown() {
        let report = report(SERVED.as_bytes(), Some(Pid(7))).expect("a snapshot");
        let worker = &report.worker;
        assert_eq!(
            (worker.name.as_deref(), worker.draining, worker.max_sessions),
            (Some("vm"), Some(true), Some(12))
        );
        assert_eq!(
            (worker.system.vcpus, worker.rss_mb, worker.cpu_pct),
            (Some(2), None, None)
        );
        let [first, second] = report.sessions.as_slice() else {
            panic!("two sessions")
        };
        assert_eq!(
            (first.status, first.peak_mb, first.loop_pct),
            (Status::Slow, Some(33.5), None)
        );
        assert_eq!((second.tenant.as_deref(), second.pinned), (None, true));
    }

    #[test]
    fn an_older_worker_that_serves_less_is_shown_with_less() {
        let report = report(br#"{"worker": null, "sessions": [{"session_id": "a"}]}"#, None).expect("a snapshot");
        assert_eq!((report.worker.name, report.sessions[0].cpu_pct), (None, None));
    }

    #[test]
    fn anything_else_is_refused_with_a_reason() {
        for line in [
            &b""[..],
            b"[]",
            b"{}",
            b"\xff",
            b"{\"sessions\": 1}",
            b"{\"sessions\": [{}]}",
        ] {
            assert!(report(line, None).is_err_and(|reason| !reason.is_empty()), "{line:?}");
        }
    }
}
