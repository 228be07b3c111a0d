//! Windows: what slides, what tumbles, and what is since the attach.

use super::super::Settings;
use super::cpu::assert_near;
use super::stage::*;
use crate::model::*;

#[test]
fn the_window_slides_and_what_is_since_attach_stays() {
    let mut stage = Stage::new();
    stage.census(&["a"]);
    stage.step(of("a"), Doing::Run, 1_000.0);
    stage.run(2_000.0);
    let report = stage.report();
    assert_eq!(row(&report, "a").cpu_pct, Some(0.0));
    assert_near(row(&report, "a").cpu_s.unwrap(), 1.0, 0.01, "since attach");
    assert_near(report.quality.window_s, 1.0, 0.05, "window");
    assert_near(report.quality.hz_got, 1000.0, 1.0, "rate");
}

#[test]
fn a_longer_window_slides_too() {
    let settings = Settings {
        window: Nanos::from_millis(10_000),
        ..Settings::default()
    };
    let mut stage = Stage::with(settings, hello());
    stage.census(&["a"]);
    stage.step(of("a"), Doing::Run, 5_000.0);
    stage.run(10_000.0);
    assert_near(row(&stage.report(), "a").cpu_pct.unwrap(), 0.0, 0.6, "slid away");
    stage.step(of("a"), Doing::Run, 5_000.0);
    let report = stage.report();
    assert_near(row(&report, "a").cpu_pct.unwrap(), 50.0, 0.6, "half of it");
    assert_near(report.quality.window_s, 10.0, 0.06, "window");
}

#[test]
fn tumbling_windows_leave_nothing_out() {
    let mut stage = Stage::new().jittered(5);
    stage.census(&["a"]);
    let (mut cpu, mut length) = (0.0, 0.0);
    for i in 0..7 {
        for _ in 0..10 * (i + 1) {
            stage.step(of("a"), Doing::Run, 6.0);
            stage.run(4.0);
        }
        let report = stage.tumbling();
        assert_adds_up(&report);
        let total = row(&report, "a").cpu_pct.unwrap() + report.unattributed.cpu_pct.unwrap();
        cpu += total / 100.0 * report.quality.window_s;
        length += report.quality.window_s;
    }
    assert_near(length, (stage.now - ATTACHED_AT) as f64 / 1e9, 0.002, "all of the time");
    assert_near(cpu, stage.true_cpu_s("a"), 0.005, "all of the CPU time");
    let report = stage.tumbling();
    assert_near(
        row(&report, "a").cpu_s.unwrap() + report.unattributed.cpu_s.unwrap(),
        cpu,
        1e-6,
        "since attach",
    );
    assert_eq!(report.worker.cpu_pct, None, "nothing has been seen since");
    assert_eq!(row(&report, "a").cpu_pct, None);
}

#[test]
fn time_since_attach_never_runs_backwards_at_a_report_a_second() {
    let mut stage = Stage::new().jittered(9);
    stage.census(&["a", "b"]);
    let mut last = 0.0;
    for second in 0..8 {
        while stage.now < ATTACHED_AT + (second + 1) * 1_000_000_000 {
            stage.step(of("a"), Doing::Run, 0.7);
            stage.step(of("b"), Doing::Run, if second % 2 == 0 { 1.5 } else { 0.1 });
            stage.run(0.3);
        }
        let report = stage.report();
        let cpu_s = row(&report, "a").cpu_s.unwrap();
        assert!(cpu_s > last, "{cpu_s} after {last}");
        last = cpu_s;
        let again = stage.engine.report(Nanos(stage.now));
        assert_eq!(row(&again, "a").cpu_s, Some(cpu_s), "asking twice changes nothing");
    }
}

/// In the first second the session's samples stand for unseen work too, in the second they would not.
#[test]
fn what_a_report_said_of_the_time_since_attach_is_final() {
    let mut stage = Stage::new();
    stage.census(&["a", "b"]);
    stage.step(of("a"), Doing::Run, 20.0);
    for _ in 0..196 {
        stage.run(4.95);
        stage.step(Owner::Nobody, Doing::Run, 0.05);
    }
    let first = row(&stage.report(), "a").cpu_s.unwrap();
    stage.step(of("b"), Doing::Run, 900.0);
    stage.run(50.0);
    assert_eq!(row(&stage.report(), "a").cpu_s.unwrap(), first);
}
