//! Who has a row, and what stands in it beside the time.

use super::stage::*;
use crate::model::*;
use std::sync::Arc;

fn ids(report: &Report) -> Vec<&str> {
    report.sessions.iter().map(|row| row.session_id.as_str()).collect()
}

#[test]
fn nothing_is_known_before_anything_was_seen() {
    let mut stage = Stage::new();
    let report = stage.engine.report(Nanos(ATTACHED_AT));
    assert!(report.sessions.is_empty() && report.blocks.is_empty());
    assert_eq!(report.worker.active_sessions, None);
    assert_eq!(report.worker.cpu_pct, None);
    assert_eq!(report.worker.loop_pct, None);
    assert_eq!(report.unattributed.cpu_pct, None);
    assert_eq!(report.unattributed.cpu_s, None);
    assert_eq!(report.quality.late_p99_us, None);
    assert_eq!(report.worker.loop_kind, None);
}

#[test]
fn rows_are_those_of_the_last_census() {
    let mut stage = Stage::new();
    stage.census(&["a", "b"]);
    stage.run(100.0);
    assert_eq!(ids(&stage.report()), ["a", "b"]);
    stage.step(of("new"), Doing::Run, 5.0);
    stage.run(2.0);
    assert_eq!(ids(&stage.report()), ["a", "b"], "not before a census has it");
    stage.census(&["b", "new"]);
    let report = stage.report();
    assert_eq!(ids(&report), ["b", "new"]);
    assert!(
        row(&report, "new").cpu_s.unwrap() > 0.004,
        "what was seen before the census counts"
    );
    assert_eq!(report.worker.active_sessions, Some(2));
}

#[test]
fn a_census_that_could_not_read_everything_ends_nobody() {
    let mut stage = Stage::new();
    stage.census(&["a", "b"]);
    stage.step(of("a"), Doing::Run, 100.0);
    stage.run(5.0);
    stage.unreadable = 1;
    stage.census(&["b"]);
    let report = stage.report();
    assert_eq!(ids(&report), ["a", "b"]);
    assert!(row(&report, "a").cpu_s.unwrap() > 0.09);
    // It comes back with what it had; and what is missing twice in a row is gone.
    stage.census(&["a", "b"]);
    assert_eq!(row(&stage.report(), "a").blocks, 1);
    stage.census(&["b"]);
    stage.census(&["b"]);
    assert_eq!(ids(&stage.report()), ["b"]);
    stage.census(&["a", "b"]);
    assert_eq!(row(&stage.report(), "a").blocks, 0, "this is another one");
    // What was read whole says it at once.
    stage.unreadable = 0;
    stage.census(&["b"]);
    assert_eq!(ids(&stage.report()), ["b"]);
}

#[test]
fn cancelled_handles_keep_no_row_alive() {
    let mut stage = Stage::new();
    stage.census_of(vec![
        SessionFacts {
            live: false,
            ..facts("gone")
        },
        facts("here"),
    ]);
    assert_eq!(ids(&stage.report()), ["here"]);
}

#[test]
fn memory_is_an_equal_share_and_sums_to_the_rss() {
    let mut stage = Stage::new();
    stage.rss = Some(300 << 20);
    stage.census(&["a", "b"]);
    stage.rss = Some(240 << 20);
    stage.census(&["a", "b", "c"]);
    let report = stage.report();
    let sum: f64 = report.sessions.iter().map(|row| row.mem_mb.unwrap()).sum();
    assert!((sum - 240.0).abs() < 1e-9);
    assert_eq!(report.worker.rss_mb, Some(240.0));
    assert_eq!(row(&report, "a").mem_mb, Some(80.0));
    assert_eq!(row(&report, "a").peak_mb, Some(150.0));
    assert_eq!(row(&report, "c").peak_mb, Some(80.0));
    stage.rss = None;
    stage.census(&["a"]);
    assert_eq!(row(&stage.report(), "a").mem_mb, None);
}

#[test]
fn durations_come_from_the_worker_or_from_the_first_look() {
    let mut stage = Stage::new();
    let wall_at_attach = (REALTIME_OFFSET + i128::from(ATTACHED_AT)) as f64 / 1e9;
    stage.run(500.0);
    stage.census_of(vec![
        SessionFacts {
            started_unix: Some(wall_at_attach - 30.0),
            ..facts("known")
        },
        SessionFacts {
            started_unix: Some(wall_at_attach + 99.0),
            ..facts("future")
        },
        facts("not"),
    ]);
    stage.run(1_500.0);
    let report = stage.report();
    let known = row(&report, "known");
    assert!((known.duration_s.unwrap() - 32.0).abs() < 1e-3 && !known.duration_is_lower_bound);
    assert_eq!(row(&report, "future").duration_s, Some(0.0));
    let not = row(&report, "not");
    assert!((not.duration_s.unwrap() - 1.5).abs() < 1e-3 && not.duration_is_lower_bound);
}

#[test]
fn a_session_counts_from_the_first_sample_that_met_it() {
    let mut stage = Stage::new();
    stage.step(of("a"), Doing::Run, 5.0);
    stage.run(395.0);
    stage.flush();
    stage.step(of("a"), Doing::Run, 100.0);
    stage.census(&["a"]);
    stage.run(500.0);
    let duration = row(&stage.report(), "a").duration_s.unwrap();
    assert!((duration - 1.0).abs() < 0.002, "{duration}");
}

#[test]
fn a_failure_that_left_a_record_stays_ten_seconds() {
    let mut stage = Stage::new();
    let failed = || SessionFacts {
        live: false,
        errored: true,
        ..facts("failed")
    };
    stage.census(&["a", "failed"]);
    stage.run(1_000.0);
    stage.census_of(vec![facts("a"), failed()]);
    let report = stage.report();
    let row_of_failed = row(&report, "failed");
    assert_eq!((row_of_failed.status, row_of_failed.mem_mb), (Status::Errored, None));
    assert_eq!(report.worker.active_sessions, Some(1));
    assert_eq!(row(&report, "a").mem_mb, Some(100.0));
    // The record goes, the row stays; and when the row has gone, the record does not bring it back.
    for still_recorded in [false, true] {
        let mut stage = Stage::new();
        stage.census_of(vec![facts("a"), failed()]);
        for _ in 0..9 {
            stage.run(1_000.0);
            stage.census_of(if still_recorded {
                vec![facts("a"), failed()]
            } else {
                vec![facts("a")]
            });
            assert_eq!(ids(&stage.report()), ["a", "failed"]);
        }
        for _ in 0..5 {
            stage.run(1_000.0);
            stage.census_of(if still_recorded {
                vec![facts("a"), failed()]
            } else {
                vec![facts("a")]
            });
            assert_eq!(ids(&stage.report()), ["a"], "recorded still: {still_recorded}");
        }
    }
}

#[test]
fn statuses_by_rank() {
    let mut stage = Stage::new();
    stage.draining = Some(true);
    stage.run(10.0);
    stage.census_of(vec![
        facts("calm"),
        facts("slow"),
        SessionFacts {
            live: false,
            errored: true,
            ..facts("failed")
        },
        SessionFacts {
            errored: true,
            ..facts("goes on")
        },
    ]);
    stage.step(of("slow"), Doing::Run, 70.0);
    stage.run(5.0);
    let report = stage.report();
    for (id, status) in [
        ("calm", Status::Draining),
        ("slow", Status::Slow),
        ("failed", Status::Errored),
        ("goes on", Status::Draining),
    ] {
        assert_eq!(row(&report, id).status, status, "{id}");
    }
    assert_eq!(report.worker.draining, Some(true));
    stage.draining = Some(false);
    stage.census(&["calm"]);
    assert_eq!(row(&stage.report(), "calm").status, Status::Active);
}

#[test]
fn what_the_census_says_is_passed_on() {
    let mut stage = Stage::new();
    let reading = Reading {
        function: "lookup".into(),
        file: "/app/a.py".into(),
        line: 41,
        state: "waiting",
    };
    stage.census_of(vec![SessionFacts {
        labels: Arc::new(Labels {
            session_id: "a".into(),
            agent: None,
            tenant: Some("acme".into()),
        }),
        pinned: true,
        reading: Some(reading),
        ..facts("a")
    }]);
    let report = stage.report();
    let row = row(&report, "a");
    assert_eq!((row.agent_name.clone(), row.tenant.as_deref()), (None, Some("acme")));
    assert_eq!((row.pinned, row.tasks), (true, Some(3)));
    let place = row.place.clone().unwrap();
    assert_eq!((place.line, place.state), (Some(41), Some("waiting")));
    let worker = &report.worker;
    assert_eq!(
        (worker.loop_kind.as_deref(), worker.ready, worker.tasks),
        (Some("asyncio"), Some(2), Some(7))
    );
    assert_eq!(
        (worker.loops[0].tid, worker.loops[0].thread.as_deref()),
        (Some(1234), Some("MainThread"))
    );
    assert!(worker.asyncio_imported);
}

fn census(at: u64) -> Census {
    Census {
        at: Nanos(at),
        took: Nanos(0),
        sessions: vec![],
        loops: [LoopKind::Uvloop, LoopKind::Asyncio, LoopKind::Uvloop]
            .map(|kind| LoopFacts {
                kind,
                thread: None,
                ready: None,
                tasks: 1,
            })
            .to_vec(),
        tasks: 0,
        session_from: Some("openrtc".to_owned()),
        asyncio_imported: false,
        pool: Some(PoolFacts {
            uptime_s: Some(70.0),
            failed: Some(3),
            ..PoolFacts::default()
        }),
        rss_bytes: None,
        host: HostFacts {
            load: Some([1.0, 2.0, 3.0]),
            ..HostFacts::default()
        },
        unreadable: 4,
        stopped: true,
        frozen: false,
        pause: None,
    }
}

#[test]
fn the_workers_facts() {
    let mut stage = Stage::new();
    let report = stage.engine.report(Nanos(ATTACHED_AT));
    assert!(
        (report.worker.uptime_s.unwrap() - ATTACHED_AT as f64 / 1e9).abs() < 1e-3,
        "the process's own"
    );
    stage.engine.observe(Observation::Census(Box::new(census(ATTACHED_AT))));
    let report = stage.engine.report(Nanos(ATTACHED_AT + 2_000_000_000));
    let worker = report.worker;
    assert_eq!(
        worker.uptime_s,
        Some(72.0),
        "the pool's, which goes on after its census"
    );
    assert_eq!(worker.loop_kind.as_deref(), Some("asyncio+uvloop"));
    assert_eq!((worker.ready, worker.failed, worker.draining), (None, Some(3), None));
    assert_eq!((worker.system.load5, worker.system.vcpus), (Some(2.0), Some(2)));
    assert_eq!(worker.condition.as_deref(), Some("stopped"));
    stage.run(60.0);
    let report = stage.report();
    assert_eq!(report.worker.condition, None, "the samples know better by now");
    assert_eq!(report.quality.unreadable, 4);
}

#[test]
fn every_ending_is_told() {
    for (ending, text) in [
        (Ending::Exited, "exited"),
        (Ending::Execed, "execed"),
        (
            Ending::Lost("Operation not permitted".into()),
            "lost: Operation not permitted",
        ),
    ] {
        let mut stage = Stage::new();
        stage.engine.observe(Observation::Ended(ending));
        assert_eq!(
            stage.engine.report(Nanos(stage.now)).worker.condition.as_deref(),
            Some(text)
        );
    }
}

#[test]
fn the_quality_of_the_figures() {
    let mut stage = Stage::new();
    stage.census(&["a"]);
    stage.run(500.0);
    stage.engine.observe(Observation::Batch(Batch {
        dropped_batches: 2,
        missed: 3,
        ..Batch::default()
    }));
    stage.run(500.0);
    let quality = stage.report().quality;
    assert_eq!((quality.hz_asked, quality.stack_hz_asked), (1_000.0, None));
    assert!((quality.hz_got - 1_000.0).abs() < 1.0, "{}", quality.hz_got);
    assert_eq!((quality.samples, quality.torn), (1_000, 0));
    assert!(
        (80..=110).contains(&quality.dropped),
        "two batches of nearly fifty: {}",
        quality.dropped
    );
    assert!((quality.otop_cpu_pct.unwrap() - 2.0).abs() < 0.15);
    assert_eq!(quality.late_p99_us, Some(0.0));
}

#[test]
fn a_history_of_the_last_minute() {
    let mut stage = Stage::new();
    for _ in 0..3 {
        stage.begin(LOOP, Owner::Nobody, Doing::Run);
        stage.run(1_000.0);
        stage.end(LOOP, Doing::Select);
        stage.run(1_000.0);
    }
    let history = stage.report().worker.cpu_history;
    assert_eq!(history.len(), 5);
    for (value, expected) in history.iter().zip([100.0, 0.0, 100.0, 0.0, 100.0]) {
        assert!((value - expected).abs() < 6.0, "{history:?}");
    }
}

/// A census takes its time, and what it says is older than what the sampler saw meanwhile.
#[test]
fn a_session_that_began_during_a_census_is_not_forgotten() {
    let mut stage = Stage::new();
    stage.run(100.0);
    let began = stage.now;
    stage.run(1.0);
    stage.step(of("a"), Doing::Run, 60.0);
    stage.run(39.0);
    stage.census_at(began, vec![]);
    stage.run(400.0);
    stage.census(&["a"]);
    let report = stage.report();
    assert!(row(&report, "a").cpu_s.unwrap() > 0.05);
    assert!((row(&report, "a").duration_s.unwrap() - 0.5).abs() < 0.002);
    assert_eq!(row(&report, "a").blocks, 1);
}
