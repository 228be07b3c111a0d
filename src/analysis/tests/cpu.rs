//! CPU time and the loop's time: what is concluded against what was played.

use super::stage::*;
use crate::model::*;

pub fn assert_near(got: f64, expected: f64, tolerance: f64, what: &str) {
    assert!(
        (got - expected).abs() <= tolerance,
        "{what}: {got}, expected {expected} ± {tolerance}"
    );
}

#[test]
fn busy_sessions_get_what_they_used() {
    let mut stage = Stage::new().jittered(3);
    stage.census(&["a", "b", "idle"]);
    for _ in 0..100 {
        stage.step(of("a"), Doing::Run, 6.0);
        stage.step(of("b"), Doing::Run, 2.0);
        stage.run(2.0);
    }
    let report = stage.report();
    assert_adds_up(&report);
    for (id, pct) in [("a", 60.0), ("b", 20.0), ("idle", 0.0)] {
        assert_near(row(&report, id).cpu_pct.unwrap(), pct, 2.5, id);
        assert_near(row(&report, id).loop_pct.unwrap(), pct, 2.5, id);
    }
    assert_eq!(row(&report, "idle").cpu_pct, Some(0.0));
    assert_near(report.worker.cpu_pct.unwrap(), 80.0, 1.0, "worker");
    assert_near(report.worker.loop_pct.unwrap(), 80.0, 2.5, "loop");
    assert_near(report.worker.loops[0].loop_pct.unwrap(), 80.0, 2.5, "the loop's own");
    assert_near(report.unattributed.cpu_pct.unwrap(), 0.0, 1.0, "unattributed");
}

#[test]
fn an_idle_loop_reads_zero_for_everyone() {
    let mut stage = Stage::new();
    stage.census(&["a"]);
    // Some work between two looks, as timers make it: the clock moves, no sample sees why.
    for _ in 0..200 {
        stage.run(4.98);
        stage.step(of("a"), Doing::Run, 0.02);
    }
    let report = stage.report();
    assert_eq!(row(&report, "a").cpu_pct, Some(0.0));
    assert_eq!(row(&report, "a").loop_pct, Some(0.0));
    assert!(report.unattributed.cpu_pct.unwrap() > 0.1);
    assert_adds_up(&report);
}

/// Over ten seconds, for steps of any length: the bar of the contract.
#[test]
fn steps_from_twenty_microseconds_to_half_a_second() {
    for (step_ms, seed) in [(0.02, 1), (0.2, 2), (1.3, 3), (15.0, 4), (500.0, 5)] {
        let mut stage = Stage::new().jittered(seed);
        stage.census(&["a", "b"]);
        while stage.now < ATTACHED_AT + 10_000_000_000 {
            stage.step(of("a"), Doing::Run, step_ms);
            stage.run(0.011);
            stage.step(of("b"), Doing::Run, step_ms / 2.0);
            stage.step(Owner::Nobody, Doing::Run, step_ms / 10.0);
            stage.run(step_ms);
        }
        let report = stage.report();
        assert_adds_up(&report);
        let mut rows = 0.0;
        for id in ["a", "b"] {
            let (got, truth) = (row(&report, id).cpu_s.unwrap(), stage.true_cpu_s(id));
            // The bar, and three standard deviations of counting samples of a thread that is busy n of 10,000 ticks.
            let sampling = 3.0 * (truth * 1000.0).sqrt() / 1000.0;
            assert_near(
                got,
                truth,
                truth * 0.03 + 0.02 + sampling,
                &format!("{id} at {step_ms} ms"),
            );
            rows += got;
        }
        let all: u64 = stage.truth.values().sum();
        assert_near(
            rows + report.unattributed.cpu_s.unwrap(),
            all as f64 / 1e9,
            0.02,
            "total",
        );
    }
}

#[test]
fn waiting_for_a_cpu_is_not_cpu() {
    let mut stage = Stage::new().jittered(7);
    stage.census(&["starved", "fed"]);
    for _ in 0..100 {
        // Runs 2 ms, but its thread waits for a CPU for 8 ms in the middle.
        stage.begin(LOOP, of("starved"), Doing::Run);
        stage.run(1.0);
        stage.doing(LOOP, Doing::WaitForCpu);
        stage.run(8.0);
        stage.doing(LOOP, Doing::Run);
        stage.run(1.0);
        stage.end(LOOP, Doing::Select);
        stage.step(of("fed"), Doing::Run, 4.0);
        stage.run(1.0);
    }
    let report = stage.report();
    for (id, pct) in [("starved", 2.0 / 15.0 * 100.0), ("fed", 4.0 / 15.0 * 100.0)] {
        assert_near(row(&report, id).cpu_pct.unwrap(), pct, 2.5, id);
    }
    assert_near(
        row(&report, "starved").loop_pct.unwrap(),
        10.0 / 15.0 * 100.0,
        3.0,
        "but it held the loop",
    );
}

#[test]
fn a_thread_that_waits_for_a_cpu_whenever_it_is_woken_looks_no_busier() {
    let mut stage = Stage::new().jittered(13);
    stage.census(&["short", "long"]);
    let begins = stage.now;
    while stage.now < begins + 10_000_000_000 {
        for _ in 0..50 {
            // Woken, and for a moment without a CPU; then the loop's own work, and a short step.
            stage.doing(LOOP, Doing::WaitForCpu);
            stage.run(0.04);
            stage.doing(LOOP, Doing::Run);
            stage.run(0.03);
            stage.step(of("short"), Doing::Run, 0.02);
            stage.run(0.4);
        }
        stage.step(of("long"), Doing::Run, 20.0);
        stage.run(1.0);
    }
    let report = stage.report();
    for id in ["short", "long"] {
        let truth = stage.truth[&Some(key(id))] as f64 / 1e9;
        let said = row(&report, id).cpu_s.unwrap();
        assert_near(said, truth, truth * 0.03 + 0.02, id);
    }
    let truth = stage.truth[&None] as f64 / 1e9;
    assert_near(
        report.unattributed.cpu_s.unwrap(),
        truth,
        truth * 0.03 + 0.03,
        "the loop's own",
    );
}

#[test]
fn short_waits_between_two_looks_are_taken_back_too() {
    let mut stage = Stage::new().jittered(11);
    stage.census(&["starved", "fed"]);
    for _ in 0..80 {
        stage.begin(LOOP, of("starved"), Doing::Run);
        for _ in 0..20 {
            stage.run(0.25);
            stage.doing(LOOP, Doing::WaitForCpu);
            stage.run(0.35);
            stage.doing(LOOP, Doing::Run);
        }
        stage.end(LOOP, Doing::Select);
        stage.step(of("fed"), Doing::Run, 5.0);
    }
    let report = stage.report();
    let (starved, fed) = (
        row(&report, "starved").cpu_pct.unwrap(),
        row(&report, "fed").cpu_pct.unwrap(),
    );
    assert_near(starved / fed, 1.0, 0.13, "both used the same");
}

#[test]
fn asleep_in_a_system_call_is_not_cpu_but_holds_the_loop() {
    let mut stage = Stage::new();
    stage.census(&["sleeper", "worker"]);
    for _ in 0..20 {
        stage.step(of("sleeper"), Doing::Call(230), 30.0);
        stage.step(of("worker"), Doing::Run, 10.0);
        stage.run(10.0);
    }
    let report = stage.report();
    assert_eq!(row(&report, "sleeper").cpu_pct, Some(0.0));
    assert_near(row(&report, "sleeper").loop_pct.unwrap(), 60.0, 2.0, "held");
    assert_near(row(&report, "worker").cpu_pct.unwrap(), 20.0, 1.0, "cpu");
}

#[test]
fn work_in_threads_counts_for_its_session() {
    let mut stage = Stage::new();
    stage.thread(1, "asyncio_0", false);
    stage.thread(2, "other", false);
    stage.census(&["a"]);
    stage.begin(1, of("a"), Doing::Run);
    stage.doing(2, Doing::Run);
    stage.run(500.0);
    stage.end(1, Doing::Call(202));
    stage.run(500.0);
    let report = stage.report();
    assert_adds_up(&report);
    assert_near(row(&report, "a").cpu_pct.unwrap(), 50.0, 1.0, "thread of the session");
    assert_eq!(
        row(&report, "a").loop_pct,
        Some(0.0),
        "no thread but the loop's holds the loop"
    );
    assert_near(report.unattributed.cpu_pct.unwrap(), 100.0, 1.5, "thread of nobody");
}

#[test]
fn torn_and_unreadable_samples_are_nobodys_and_counted() {
    let mut stage = Stage::new();
    stage.census(&["a"]);
    stage.begin(LOOP, of("a"), Doing::Run);
    stage.run(100.0);
    stage.owner(LOOP, Owner::Torn);
    stage.run(60.0);
    stage.owner(LOOP, Owner::Unreadable);
    stage.run(40.0);
    let report = stage.report();
    assert_eq!(
        (report.quality.samples, report.quality.torn, report.quality.unreadable),
        (100, 60, 40)
    );
    assert_near(row(&report, "a").cpu_pct.unwrap(), 50.0, 2.5, "half");
    assert_near(report.unattributed.cpu_pct.unwrap(), 50.0, 2.5, "half");
}

#[test]
fn several_loops_are_all_seen() {
    let mut stage = Stage::new();
    stage.thread(1, "second", true);
    stage.census(&["a"]);
    stage.begin(LOOP, of("a"), Doing::Run);
    stage.begin(1, of("a"), Doing::Call(230));
    stage.run(500.0);
    stage.end(LOOP, Doing::Select);
    stage.run(500.0);
    let report = stage.report();
    assert_near(row(&report, "a").loop_pct.unwrap(), 150.0, 2.0, "sum over the loops");
    assert_near(report.worker.loop_pct.unwrap(), 100.0, 0.5, "the busiest loop");
    assert_near(report.worker.loops[0].loop_pct.unwrap(), 50.0, 1.0, "the first loop");
}

#[test]
fn between_steps_the_loop_is_idle_only_while_it_waits_for_events() {
    for (doing, busy, cpu) in [
        (Doing::Run, 100.0, 100.0),
        (Doing::WaitForGil, 100.0, 0.0),
        (Doing::Select, 0.0, 0.0),
        (Doing::Call(202), 100.0, 0.0),
        (Doing::Call(7), 0.0, 0.0),
        (Doing::Stopped, 100.0, 0.0),
    ] {
        let mut stage = Stage::new();
        stage.census(&["a"]);
        stage.doing(LOOP, doing);
        stage.run(1_000.0);
        let report = stage.report();
        assert_near(report.worker.loop_pct.unwrap(), busy, 0.5, &format!("{doing:?}"));
        assert_near(report.unattributed.loop_pct.unwrap(), busy, 0.5, &format!("{doing:?}"));
        assert_near(report.unattributed.cpu_pct.unwrap(), cpu, 1.0, &format!("{doing:?}"));
        assert_eq!(row(&report, "a").loop_pct, Some(0.0));
    }
}

#[test]
fn threads_that_nobody_watches_are_unattributed() {
    let mut stage = Stage::new();
    stage.census(&["a"]);
    stage.run(500.0);
    stage.other_cpu += 250_000_000;
    stage.run(500.0);
    let report = stage.report();
    assert_near(report.worker.cpu_pct.unwrap(), 25.0, 0.1, "worker");
    assert_near(report.unattributed.cpu_pct.unwrap(), 25.0, 0.1, "unattributed");
}

#[test]
fn what_a_session_used_is_unattributed_when_it_has_ended() {
    let mut stage = Stage::new();
    stage.census(&["a", "b"]);
    stage.step(of("a"), Doing::Run, 200.0);
    stage.step(of("b"), Doing::Run, 300.0);
    stage.run(100.0);
    stage.census(&["b"]);
    let report = stage.report();
    assert_eq!(report.sessions.len(), 1);
    assert_near(report.unattributed.cpu_s.unwrap(), 0.2, 0.006, "since attach");
    assert_near(report.unattributed.cpu_pct.unwrap(), 200.0 / 6.0, 1.5, "in the window");
    assert_near(row(&report, "b").cpu_s.unwrap(), 0.3, 0.006, "the other");
    assert_adds_up(&report);
}

#[test]
fn a_thread_that_ends_takes_nothing_with_it() {
    let mut stage = Stage::new();
    stage.thread(1, "asyncio_0", false);
    stage.census(&["a"]);
    stage.begin(1, of("a"), Doing::Run);
    stage.run(333.0);
    stage.doing(1, Doing::Call(202));
    stage.end_thread(1);
    stage.run(100.0);
    for report in [stage.report(), stage.tumbling()] {
        assert_near(row(&report, "a").cpu_s.unwrap(), 0.333, 0.006, "since attach");
        assert_near(
            row(&report, "a").cpu_pct.unwrap(),
            33_300.0 / 433.0,
            2.0,
            "in the window",
        );
        assert_adds_up(&report);
    }
}
