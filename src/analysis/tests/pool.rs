//! Two workers that know the same id, and what they are together.

use super::*;
use crate::model::{Cause, CausesMs, Grounds};

fn session(id: &str, mem_mb: f64, cpu_pct: f64) -> SessionReport {
    SessionReport {
        mem_mb: Some(mem_mb),
        cpu_pct: Some(cpu_pct),
        ..SessionReport::unknown(id)
    }
}

fn watched(pid: i32, cpu_history: Vec<f64>, sessions: Vec<SessionReport>) -> Watched {
    Watched {
        report: Report {
            schema: SCHEMA,
            worker: WorkerReport {
                pid,
                python: "3.12.1".to_owned(),
                active_sessions: Some(sessions.len() as u64),
                cpu_pct: Some(30.0),
                loop_pct: Some(f64::from(pid)),
                rss_mb: Some(50.0),
                cpu_history,
                ..WorkerReport::default()
            },
            sessions,
            unattributed: Unattributed {
                cpu_pct: Some(10.0),
                ..Unattributed::default()
            },
            blocks: Vec::new(),
            quality: Quality {
                hz_asked: 1000.0,
                hz_got: 1000.0 - f64::from(pid),
                torn: 2,
                otop_cpu_pct: Some(4.0),
                ..Quality::default()
            },
            unix_now: None,
            recent: Vec::new(),
            history: Vec::new(),
            pool: None,
        },
        pss_bytes: Some(40 << 20),
    }
}

#[test]
fn the_same_id_in_two_workers_is_two_sessions() {
    let both = vec![
        watched(7, vec![1.0], vec![session("a", 25.0, 10.0), session("b", 25.0, 10.0)]),
        watched(9, vec![2.0, 3.0], vec![session("a", 50.0, 20.0)]),
    ];
    let left_out = LeftOut {
        too_many: 3,
        unreadable: 1,
        refused: 2,
    };
    let report = merge(Some(5), both, left_out);
    let workers: Vec<_> = report
        .sessions
        .iter()
        .map(|one| (one.session_id.as_str(), one.worker))
        .collect();
    assert_eq!(workers, [("a", Some(7)), ("b", Some(7)), ("a", Some(9))]);
    assert_ne!(report.sessions[0].key, report.sessions[2].key);
    let pool = report.pool.expect("it is one");
    assert_eq!((pool.root, pool.left_out, pool.members.len()), (Some(5), left_out, 2));
    assert_eq!(
        (report.worker.active_sessions, report.worker.loop_pct),
        (Some(3), Some(9.0))
    );
}

#[test]
fn it_still_adds_up() {
    let one = |pid| watched(pid, vec![1.0], vec![session("a", 50.0, 20.0)]);
    let report = merge(None, vec![one(1), one(2)], LeftOut::default());
    let rows: f64 = report.sessions.iter().filter_map(|one| one.cpu_pct).sum();
    assert_eq!(
        Some(rows + report.unattributed.cpu_pct.expect("known")),
        report.worker.cpu_pct
    );
    let shares: f64 = report.sessions.iter().filter_map(|one| one.mem_mb).sum();
    assert_eq!(Some(shares), report.worker.rss_mb, "shared pages once");
    // Otop is one process, whoever it watches; the worst rate is the one to know.
    assert_eq!((report.quality.otop_cpu_pct, report.quality.torn), (Some(4.0), 4));
    assert_eq!(report.quality.hz_got, 998.0);
}

#[test]
fn histories_end_with_the_same_second() {
    let both = vec![
        watched(7, vec![5.0], Vec::new()),
        watched(9, vec![2.0, 3.0], Vec::new()),
    ];
    assert_eq!(merge(None, both, LeftOut::default()).worker.cpu_history, [2.0, 8.0]);
}

#[test]
fn a_pool_of_nobody_knows_nothing() {
    let report = merge(Some(5), Vec::new(), LeftOut::default());
    assert_eq!(
        (report.worker.pid, report.worker.cpu_pct, report.worker.active_sessions),
        (5, None, None)
    );
    assert!(report.sessions.is_empty() && report.pool.is_some_and(|pool| pool.members.is_empty()));
}

fn block(id: u64, started_at: Option<f64>, ongoing: bool) -> Arc<Block> {
    Arc::new(Block {
        id,
        culprit: Some(SessionKey(1)),
        grounds: Grounds {
            holder: Some(SessionKey(1)),
            ..Grounds::of(Cause::Gil)
        },
        session_id: Some("a".to_owned()),
        agent_name: None,
        tenant: None,
        step_session_id: None,
        holder_session_id: None,
        holder_thread: None,
        started_at,
        duration_ms: 100.0,
        duration_is_lower_bound: started_at.is_none(),
        ongoing,
        cause: Cause::Cpu,
        causes_ms: CausesMs::default(),
        syscall: None,
        function: None,
        file: None,
        line: None,
        stack: None,
        waiting: None,
    })
}

#[test]
fn the_recent_blocks_of_all_are_one_list_newest_first() {
    let mut both = vec![
        watched(7, Vec::new(), vec![session("a", 1.0, 1.0)]),
        watched(9, Vec::new(), vec![session("a", 1.0, 1.0)]),
    ];
    both[0].report.recent = vec![block(3, Some(30.0), true), block(2, Some(10.0), false)];
    both[1].report.recent = vec![block(3, Some(20.0), false), block(1, None, false)];
    let report = merge(None, both, LeftOut::default());
    let began: Vec<_> = report.recent.iter().map(|block| block.started_at).collect();
    assert_eq!(began, [Some(30.0), Some(20.0), Some(10.0), None]);
    // Each worker numbers its own, and keys are by worker.
    assert_ne!(report.recent[0].id, report.recent[1].id);
    let culprits: Vec<_> = report.recent.iter().map(|block| block.culprit).collect();
    assert_eq!((culprits[0] == culprits[1], culprits[0] == culprits[2]), (false, true));
    let holders: Vec<_> = report.recent.iter().map(|block| block.grounds.holder).collect();
    assert_eq!(
        holders, culprits,
        "so that a session is the same one wherever it is spoken of"
    );
}

#[test]
fn what_the_worst_rate_cannot_see_is_said() {
    let mut both = vec![watched(7, Vec::new(), Vec::new()), watched(9, Vec::new(), Vec::new())];
    both[1].report.quality.blocks_from_ms = Some(90.0);
    both[1].report.quality.unresolved = Some(4);
    let quality = merge(None, both, LeftOut::default()).quality;
    assert_eq!((quality.blocks_from_ms, quality.unresolved), (Some(90.0), Some(4)));
}

#[test]
fn the_highest_share_stays_until_the_session_is_gone() {
    let mut peaks = Peaks::default();
    let mut at = |mem: &[(&str, f64)]| {
        let mut sessions: Vec<SessionReport> = mem.iter().map(|(id, mem)| session(id, *mem, 0.0)).collect();
        peaks.fill_in(&mut sessions);
        sessions.iter().map(|session| session.peak_mb).collect::<Vec<_>>()
    };
    assert_eq!(at(&[("a", 20.0), ("b", 10.0)]), [Some(20.0), Some(10.0)]);
    assert_eq!(at(&[("a", 5.0), ("b", 12.0)]), [Some(20.0), Some(12.0)]);
    assert_eq!(at(&[("b", 1.0)]), [Some(12.0)]);
    assert_eq!(at(&[("a", 5.0)]), [Some(5.0)], "another session of the same id");
}
