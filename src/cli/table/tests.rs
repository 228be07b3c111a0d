//! The loops `--once` and `--json`, and what ends them, with scripted workers in place of real ones. They wait for what
//! the script sends; the only times in here are the windows that were asked for.

use super::{json, once};
use crate::cli::error::CliError;
use crate::cli::scripted::*;
use crate::cli::signals::Signals;
use crate::cli::worker::now;
use crate::model::*;
use std::time::Duration;

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

/// A worker whose loop has been stuck since before otop came, and the report of one window.
fn stuck(window: Duration) -> (Report, Nanos) {
    let look = look(window);
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
    (report, now() - worker.attached_at)
}

#[test]
fn a_block_that_began_before_is_told_before_the_window_ends() {
    let (report, _) = stuck(Duration::from_secs(1));
    // It is about what was seen up to then, and says so.
    assert!(report.quality.window_s < 0.9, "{}", report.quality.window_s);
}

/// The news is told in time, and the table is not cut short before it is known whose doing it is.
#[test]
fn a_worker_that_gets_no_cpu_is_told_at_once_and_keeps_its_window() {
    let look = look(Duration::from_secs(1));
    let mut worker = worker(&look, |send| {
        let _ = send.send(census(true));
        let starved = || {
            let Observation::Batch(mut batch) = batch(Some(1)) else {
                unreachable!("it is a batch")
            };
            batch
                .samples
                .iter_mut()
                .for_each(|sample| sample.state = State::Runnable);
            Observation::Batch(batch)
        };
        while send.send(starved()).is_ok() {
            std::thread::sleep(Duration::from_millis(1));
        }
    });
    let begin = worker.attached_at;
    let mut words = Vec::new();
    let mut say = |word: &str| words.push((word.to_owned(), now() - begin));
    let report = once::watch_for(&mut worker, &look.measuring, (LONG, LONG), &mut say).expect("a report");
    assert!(report.quality.window_s > 0.9, "{}", report.quality.window_s);
    assert_eq!(report.blocks.first().map(|block| block.cause), Some(Cause::Unscheduled));
    let [(word, at)] = words.as_slice() else {
        panic!("one word: {words:?}")
    };
    assert!(
        word.contains("(unscheduled: it got no CPU)") && word.ends_with("; its rows follow"),
        "{word}"
    );
    assert!(*at < Nanos::from_millis(500), "{at:?}");
}

/// On a busy machine the first walk takes its time: the news is told, and the table waits for its rows.
#[test]
fn an_emergency_has_its_rows_also_where_they_come_late() {
    let look = look(Duration::from_secs(1));
    let mut worker = worker(&look, |send| {
        tick_on(send, Some(1), Duration::from_millis(400));
        let _ = send.send(census(true));
        tick_on(send, Some(1), LONG);
    });
    let report = once::watch(&mut worker, &look.measuring).expect("a report");
    assert_eq!(report.sessions.len(), 1);
    assert_eq!(
        report.blocks.first().and_then(|block| block.session_id.as_deref()),
        Some("a")
    );
}

/// Two words: the news, and that the rows take their time. Neither speaks of a window that was not kept.
#[test]
fn a_long_first_walk_is_waited_for_with_a_word() {
    let look = look(Duration::from_millis(100));
    let mut worker = worker(&look, |send| {
        tick_on(send, Some(1), Duration::from_millis(600));
        let _ = send.send(census(true));
        tick_on(send, Some(1), LONG);
    });
    let mut words = Vec::new();
    let mut say = |word: &str| words.push(word.to_owned());
    let patience = (Duration::from_millis(200), LONG);
    let report = once::watch_for(&mut worker, &look.measuring, patience, &mut say).expect("a report");
    assert_eq!(report.sessions.len(), 1);
    let [news, wait] = words.as_slice() else {
        panic!("two words: {words:?}")
    };
    assert!(
        news.contains("blocks event loop") && news.ends_with("; its rows follow"),
        "{news}"
    );
    assert!(wait.starts_with("worker 7: the first walk"), "{wait}");
}

#[test]
fn a_walk_that_never_ends_costs_the_rows_and_no_more() {
    let look = look(Duration::from_millis(100));
    let mut sampled = worker(&look, |send| tick_on(send, None, LONG));
    let patience = (LONG, Duration::from_millis(300));
    let mut say = |_: &str| ();
    let report = once::watch_for(&mut sampled, &look.measuring, patience, &mut say).expect("a report");
    assert!(report.sessions.is_empty() && report.quality.samples > 0);
    assert_eq!((report.worker.active_sessions, report.worker.tasks), (None, None));
    assert!(!sampled.has_sessions(), "which is how the caller knows");

    let mut silent = worker(&look, |_| std::thread::sleep(LONG));
    let error = once::watch_for(&mut silent, &look.measuring, patience, &mut say).expect_err("nothing came");
    assert!(matches!(error, CliError::NoFigure { .. }), "{error}");
}

#[test]
fn a_longer_window_is_kept() {
    let (report, took) = stuck(Duration::from_millis(1_500));
    assert!(took >= Nanos::from_millis(1_500), "{took:?}");
    assert!(report.quality.window_s > 1.0, "{}", report.quality.window_s);
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
    json::stream(&mut worker, &look, &Signals::default(), &mut tell, &mut |_| {}).expect("ended well");
    let (last, whole) = windows.split_last().expect("windows");
    assert_eq!(last.1.as_deref(), Some("exited"));
    assert!(
        !whole.is_empty() && whole.iter().all(|(_, condition)| condition.is_none()),
        "{windows:?}"
    );
    let sum: f64 = windows.iter().map(|(length, _)| length).sum();
    assert!((0.3..0.6).contains(&sum), "the windows leave no time out: {windows:?}");
}

/// A document has no place for it, and a script's log has to say why nothing more comes.
#[test]
fn json_says_what_became_of_the_worker() {
    for (ending, word) in [
        (Ending::Exited, "worker 7 has ended (exited)"),
        (Ending::Execed, "worker 7 has ended (it runs another program now)"),
        (
            Ending::Lost("Operation not permitted".to_owned()),
            "worker 7 can no longer be read (Operation not permitted)",
        ),
        (Ending::Lost(String::new()), "worker 7 can no longer be read"),
    ] {
        let look = look(LONG);
        let mut worker = worker(&look, move |send| {
            let _ = send.send(census(true));
            let _ = send.send(batch(None));
            let _ = send.send(Observation::Ended(ending));
        });
        assert_eq!(worker.last_word(), None);
        let (mut documents, mut words) = (0, Vec::new());
        let mut tell = |_: &Report| {
            documents += 1;
            Ok(())
        };
        let mut say = |word: &str| words.push(word.to_owned());
        json::watch(&mut worker, &look, &Signals::default(), &mut tell, &mut say).expect("there was a figure");
        assert_eq!((documents, words), (1, vec![word.to_owned()]));
    }
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
    let mut words = Vec::new();
    let mut say = |word: &str| words.push(word.to_owned());
    let error = json::stream(&mut worker, &look, &Signals::default(), &mut tell, &mut say).expect_err("closed");
    assert!(error.is_closed_output());
    assert_eq!(words.len(), 1, "said once: {words:?}");
    assert!(words[0].contains("asyncio is not imported yet"), "{words:?}");
}
