//! CPU time where a thread was not looked at for a while, or its clock does not say.

use super::cpu::assert_near;
use super::stage::*;
use crate::model::*;

#[test]
fn a_gap_is_the_sessions_only_if_both_ends_are_in_one_step() {
    // Both ends in the same step.
    let mut stage = Stage::new();
    stage.census(&["a", "b"]);
    stage.begin(LOOP, of("a"), Doing::Run);
    stage.run(10.0);
    stage.miss(80.0, 80.0);
    stage.run(10.0);
    let report = stage.report();
    assert_near(row(&report, "a").cpu_s.unwrap(), 0.1, 0.006, "same step");
    assert_near(row(&report, "a").loop_pct.unwrap(), 100.0, 2.0, "same step");

    // The same session, another step.
    let mut stage = Stage::new();
    stage.census(&["a", "b"]);
    stage.begin(LOOP, of("a"), Doing::Run);
    stage.run(10.0);
    stage.begin(LOOP, of("a"), Doing::Run);
    stage.miss(80.0, 80.0);
    stage.run(10.0);
    let report = stage.report();
    assert_near(row(&report, "a").cpu_s.unwrap(), 0.02, 0.006, "another step");
    assert_near(row(&report, "a").loop_pct.unwrap(), 20.0, 3.0, "another step");
    assert_near(report.unattributed.loop_pct.unwrap(), 80.0, 3.0, "another step");
    assert_near(report.unattributed.cpu_s.unwrap(), 0.08, 0.006, "another step");
    assert_eq!(report.quality.dropped, 79);
}

#[test]
fn what_a_thread_used_while_it_was_not_asked_is_counted_once_and_nobodys() {
    for doing in [Doing::Call(45), Doing::Run] {
        let mut stage = Stage::new();
        stage.thread(1, "pool", false);
        stage.census(&["a"]);
        stage.run(200.0);
        stage.ask(1, false);
        stage.doing(1, Doing::Run);
        stage.run(400.0);
        stage.doing(1, Doing::Call(202));
        stage.run(100.0);
        // It works for a session now.
        stage.begin(1, of("a"), doing);
        stage.ask(1, true);
        stage.run(20.0);
        stage.doing(1, Doing::Run);
        stage.run(30.0);
        stage.end(1, Doing::Call(202));
        stage.run(250.0);
        let report = stage.report();
        assert_adds_up(&report);
        let own = if doing == Doing::Run { 0.05 } else { 0.03 };
        assert_near(row(&report, "a").cpu_s.unwrap(), own, 0.006, "the session's");
        assert_near(report.unattributed.cpu_s.unwrap(), 0.4, 0.01, "nobody's");
        assert_near(report.worker.cpu_pct.unwrap(), 100.0 * (0.4 + own), 1.5, "the worker's");
    }
}

#[test]
fn a_long_gap_between_two_sleeps_is_nobodys() {
    let mut stage = Stage::new();
    stage.census(&["a"]);
    stage.run(100.0);
    stage.begin(LOOP, of("b"), Doing::Run);
    stage.miss(300.0, 0.0);
    stage.end(LOOP, Doing::Select);
    stage.run(10.0);
    stage.step(of("a"), Doing::Run, 40.0);
    stage.run(50.0);
    let report = stage.report();
    assert_adds_up(&report);
    assert_near(row(&report, "a").cpu_s.unwrap(), 0.04, 0.006, "the session's");
    assert_near(report.unattributed.cpu_s.unwrap(), 0.3, 0.006, "nobody's");
}

#[test]
fn a_gap_counts_only_as_far_as_the_thread_ran_in_it() {
    // Each uses 40 ms, one of them in a step with a gap in which it waits for a CPU.
    let mut stage = Stage::new();
    stage.census(&["a", "b"]);
    stage.begin(LOOP, of("a"), Doing::Run);
    stage.run(15.0);
    stage.doing(LOOP, Doing::WaitForCpu);
    stage.miss(60.0, 60.0);
    stage.doing(LOOP, Doing::Run);
    stage.miss(10.0, 10.0);
    stage.run(15.0);
    stage.end(LOOP, Doing::Select);
    stage.step(of("b"), Doing::Run, 40.0);
    stage.run(5.0);
    let report = stage.report();
    assert_near(row(&report, "a").cpu_s.unwrap(), 0.04, 0.004, "waited");

    // Or sleeps.
    let mut stage = Stage::new();
    stage.census(&["a", "b"]);
    stage.begin(LOOP, of("a"), Doing::Run);
    stage.run(20.0);
    stage.doing(LOOP, Doing::Call(230));
    stage.miss(200.0, 200.0);
    stage.doing(LOOP, Doing::Run);
    stage.run(20.0);
    stage.end(LOOP, Doing::Select);
    stage.step(of("b"), Doing::Run, 40.0);
    stage.run(5.0);
    let report = stage.report();
    assert_near(row(&report, "a").cpu_s.unwrap(), 0.04, 0.009, "slept");
}

#[test]
fn what_an_idle_time_used_is_not_given_to_whom_runs_later() {
    let mut stage = Stage::new();
    stage.census(&["a"]);
    for _ in 0..4_000 {
        stage.run(4.98);
        stage.step(Owner::Nobody, Doing::Run, 0.02);
    }
    stage.step(of("a"), Doing::Run, 100.0);
    stage.run(50.0);
    assert_near(
        row(&stage.report(), "a").cpu_s.unwrap(),
        0.1,
        0.015,
        "its own, not the 80 ms before",
    );
}

#[test]
fn a_clock_that_runs_backwards_is_not_counted_twice() {
    let mut stage = Stage::new();
    let sample = |cpu| Sample {
        thread: ThreadIndex(9),
        owner: Owner::Nobody,
        within: None,
        step: None,
        progress: 0,
        state: State::Runnable,
        cpu: Some(Nanos::from_millis(cpu)),
        run_delay: None,
    };
    let tick = |at, first| Tick {
        at: Nanos(ATTACHED_AT) + Nanos::from_millis(at),
        late: Nanos::ZERO,
        own_wait: Nanos::ZERO,
        suspended: Nanos::ZERO,
        held: Nanos::ZERO,
        gil: Gil::default(),
        collecting: None,
        first,
        count: 1,
    };
    stage.engine.observe(Observation::Batch(Batch {
        ticks: vec![tick(100, 0), tick(110, 1), tick(120, 2), tick(105, 3)],
        samples: [0, 10, 5, 9].map(sample).to_vec(),
        ..Batch::default()
    }));
    let report = stage.engine.report(Nanos(ATTACHED_AT) + Nanos::from_millis(120));
    assert_near(report.unattributed.cpu_s.unwrap(), 0.010, 1e-9, "used");
    assert_near(
        report.quality.window_s,
        0.021,
        1e-9,
        "time that runs backwards stands still",
    );
}

#[test]
fn a_long_wait_for_a_cpu_that_is_not_over_is_not_counted_meanwhile() {
    let mut stage = Stage::new();
    stage.census(&["runs", "waits"]);
    stage.step(of("runs"), Doing::Run, 500.0);
    stage.begin(LOOP, of("waits"), Doing::WaitForCpu);
    stage.run(450.0);
    let report = stage.report();
    assert_near(row(&report, "runs").cpu_pct.unwrap(), 52.6, 2.0, "runs");
    assert!(row(&report, "waits").cpu_pct.unwrap() < 1.0);
}

#[test]
fn without_states_the_clock_tells_who_ran() {
    let mut stage = Stage::new();
    stage.blind(LOOP, true, false);
    stage.census(&["runs", "sleeps"]);
    for _ in 0..10 {
        stage.step(of("runs"), Doing::Run, 50.0);
        stage.step(of("sleeps"), Doing::Call(230), 50.0);
    }
    let report = stage.report();
    assert_near(row(&report, "runs").cpu_pct.unwrap(), 50.0, 2.5, "runs");
    assert!(row(&report, "sleeps").cpu_pct.unwrap() < 1.0);
    assert_adds_up(&report);
}

#[test]
fn without_a_clock_the_time_of_a_thread_is_unattributed() {
    let mut stage = Stage::new();
    stage.blind(LOOP, false, true);
    stage.census(&["a"]);
    stage.begin(LOOP, of("a"), Doing::Run);
    stage.run(500.0);
    let report = stage.report();
    assert_eq!(row(&report, "a").cpu_pct, Some(0.0));
    assert!(report.unattributed.cpu_pct.unwrap() > 80.0);
    assert!(stage.engine.entries() < 60, "and no sample waits for it");
}

#[test]
fn without_states_a_loop_between_steps_is_idle_if_its_clock_stands_still() {
    let mut stage = Stage::new();
    stage.blind(LOOP, true, false);
    stage.census(&["a"]);
    stage.run(1_000.0);
    assert_eq!(stage.report().worker.loop_pct, Some(0.0));
}
