//! The loops `--once` and `--json`, and what ends them, with scripted workers in place of real ones. They wait for what
//! the script sends; the only times in here are the windows that were asked for.

use super::error::CliError;
use super::plan::{Look, Measuring, Shape};
use super::signals::Signals;
use super::wire::Attached;
use super::worker::{Worker, now};
use super::{json, once};
use crate::model::*;
use crate::view::Options;
use std::sync::Arc;
use std::sync::mpsc::{self, Sender};
use std::time::{Duration, Instant};

pub(super) const LOOP: ThreadIndex = ThreadIndex(0);
/// `recvfrom`, as a loop that waits for a database sits in it.
pub(super) const RECVFROM: i32 = 45;

pub(super) fn look(window: Duration) -> Look {
    Look {
        shape: Shape::Once,
        options: Options::default(),
        refresh: Duration::from_secs(1),
        measuring: measuring(window),
        words: Vec::new(),
    }
}

pub(super) fn measuring(window: Duration) -> Measuring {
    Measuring {
        rate_hz: 1000.0,
        stack_rate_hz: 100.0,
        own: Vec::new(),
        window,
        slow_threshold: Duration::from_millis(50),
        slow_window: Duration::from_secs(5),
    }
}

/// A worker that sends what the script says, from a thread of its own.
pub(super) fn worker(look: &Look, script: impl FnOnce(&Sender<Observation>) + Send + 'static) -> Worker {
    let (send, observations) = mpsc::channel();
    let hello = Hello {
        pid: Pid(7),
        python: "3.12.1".to_owned(),
        name: Some("host".to_owned()),
        session_from: None,
        attached_at: now(),
        realtime_offset: 0,
        started_unix: None,
        vcpus: 2,
        rate_hz: 1_000.0,
        stack_rate_hz: None,
        library: None,
    };
    std::thread::spawn(move || script(&send));
    Worker::new(
        Attached {
            hello,
            observations,
            stop: Box::new(()),
        },
        &look.measuring,
    )
}

pub(super) fn census(asyncio_imported: bool) -> Observation {
    let labels = Arc::new(Labels {
        session_id: "a".to_owned(),
        agent: None,
        tenant: None,
    });
    let session = SessionFacts {
        key: SessionKey::of("a"),
        labels,
        live: true,
        tasks: 1,
        started_unix: None,
        errored: false,
        pinned: false,
        reading: None,
    };
    Observation::Census(Box::new(Census {
        at: now(),
        took: Nanos::ZERO,
        sessions: if asyncio_imported { vec![session] } else { Vec::new() },
        loops: Vec::new(),
        tasks: 1,
        session_from: Some("openrtc".to_owned()),
        asyncio_imported,
        pool: None,
        rss_bytes: None,
        host: HostFacts::default(),
        unreadable: 0,
        stopped: false,
    }))
}

/// One tick; the loop is in this step, and has not moved since.
pub(super) fn batch(step: Option<u64>) -> Observation {
    let sample = Sample {
        thread: LOOP,
        owner: Owner::Session(SessionKey::of("a")),
        step,
        progress: 1,
        state: State::Syscall(RECVFROM),
        cpu: Some(Nanos::ZERO),
        run_delay: Some(Nanos::ZERO),
    };
    let tick = Tick {
        at: now(),
        late: Nanos::ZERO,
        own_wait: Nanos::ZERO,
        suspended: Nanos::ZERO,
        gil: Gil::default(),
        collecting: None,
        first: 0,
        count: 1,
    };
    let thread = ThreadFacts {
        index: LOOP,
        tid: Tid(7),
        name: "main".to_owned(),
        is_loop: true,
    };
    Observation::Batch(Batch {
        ticks: vec![tick],
        samples: vec![sample],
        threads: vec![thread],
        ..Batch::default()
    })
}

/// Sends ticks until nobody takes them, or for so long.
pub(super) fn tick_on(send: &Sender<Observation>, step: Option<u64>, time: Duration) {
    let end = Instant::now() + time;
    while Instant::now() < end && send.send(batch(step)).is_ok() {
        std::thread::sleep(Duration::from_millis(1));
    }
}

pub(super) const LONG: Duration = Duration::from_secs(30);

#[test]
fn once_gives_the_report_of_one_window() {
    let look = look(Duration::from_millis(200));
    let mut worker = worker(&look, |send| {
        let _ = send.send(census(true));
        tick_on(send, None, LONG);
    });
    let report = once::watch(&mut worker, &look.measuring).expect("a report");
    assert!(now() >= worker.attached_at + look.measuring.window.into());
    assert_eq!(report.sessions.len(), 1);
    assert!(
        (0.1..0.5).contains(&report.quality.window_s),
        "{}",
        report.quality.window_s
    );
}

#[test]
fn a_block_that_began_before_is_told_long_before_the_window_ends() {
    let look = look(LONG);
    let mut worker = worker(&look, |send| {
        let _ = send.send(census(true));
        tick_on(send, Some(1), LONG);
    });
    let report = once::watch(&mut worker, &look.measuring).expect("a report");
    let [block] = report.blocks.as_slice() else {
        panic!("one block: {:?}", report.blocks)
    };
    assert!(block.ongoing && block.duration_is_lower_bound && block.started_at.is_none());
    assert_eq!(block.session_id.as_deref(), Some("a"));
    assert!(now() < worker.attached_at + Nanos::from_millis(5_000));
}

#[test]
fn a_worker_that_ends_gives_what_there_was() {
    let look = look(LONG);
    let mut with_figure = worker(&look, |send| {
        let _ = send.send(census(true));
        let _ = send.send(batch(None));
        let _ = send.send(Observation::Ended(Ending::Exited));
    });
    let report = once::watch(&mut with_figure, &look.measuring).expect("there was a figure");
    assert_eq!(report.worker.condition.as_deref(), Some("exited"));

    let mut without = worker(&look, |send| {
        let _ = send.send(batch(None));
        let _ = send.send(Observation::Ended(Ending::Exited));
    });
    let error = once::watch(&mut without, &look.measuring).expect_err("there was none");
    assert!(matches!(error, CliError::EndedEarly { pid: Pid(7), .. }), "{error}");
}

#[test]
fn a_reading_side_that_falls_over_is_no_hang() {
    let look = look(LONG);
    let error = once::watch(&mut worker(&look, |_| {}), &look.measuring).expect_err("nothing came");
    assert!(error.to_string().contains("otop stopped reading"), "{error}");
}

#[test]
fn without_asyncio_once_says_so_before_a_long_window_ends() {
    let look = look(LONG);
    let mut worker = worker(&look, |send| {
        let _ = send.send(census(false));
        tick_on(send, None, LONG);
    });
    let error = once::watch(&mut worker, &look.measuring).expect_err("no asyncio");
    assert!(matches!(error, CliError::NoAsyncio(Pid(7))), "{error}");
}

#[test]
fn json_has_a_report_for_each_window_and_one_for_the_rest() {
    let look = look(Duration::from_millis(100));
    let mut worker = worker(&look, |send| {
        let _ = send.send(census(true));
        tick_on(send, None, Duration::from_millis(350));
        let _ = send.send(Observation::Ended(Ending::Exited));
    });
    let mut windows = Vec::new();
    let mut tell = |report: &Report| {
        windows.push((report.quality.window_s, report.worker.condition.clone()));
        Ok(())
    };
    json::stream(&mut worker, &look, &Signals::default(), &mut tell).expect("ended well");
    let (last, whole) = windows.split_last().expect("windows");
    assert_eq!(last.1.as_deref(), Some("exited"));
    assert!(
        !whole.is_empty() && whole.iter().all(|(_, condition)| condition.is_none()),
        "{windows:?}"
    );
    let sum: f64 = windows.iter().map(|(length, _)| length).sum();
    assert!((0.3..0.6).contains(&sum), "the windows leave no time out: {windows:?}");
}

#[test]
fn json_waits_for_asyncio_and_ends_with_its_reader() {
    let look = look(Duration::from_millis(100));
    let mut worker = worker(&look, |send| {
        let _ = send.send(census(false));
        tick_on(send, None, LONG);
    });
    let mut count = 0;
    let mut tell = |report: &Report| {
        count += 1;
        assert!(!report.worker.asyncio_imported && report.sessions.is_empty());
        let closed = std::io::Error::from_raw_os_error(nix::libc::EPIPE);
        if count < 3 {
            Ok(())
        } else {
            Err(CliError::Output {
                what: "out".to_owned(),
                error: closed,
            })
        }
    };
    let error = json::stream(&mut worker, &look, &Signals::default(), &mut tell).expect_err("closed");
    assert!(error.is_closed_output());
}
