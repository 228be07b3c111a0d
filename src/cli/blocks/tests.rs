//! The loop of `otop blocks` and what ends it, with scripted workers in place of real ones.

use super::follow;
use crate::cli::blocks::plan::Following;
use crate::cli::error::{CliError, Exit};
use crate::cli::scripted::{LONG, batch, census, look, measuring, tick_on, worker};
use crate::cli::signals::Signals;
use crate::export::block_line::BlockEvent::{self, Began, Ended};
use crate::model::{Block, Ending, Observation};
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

fn following(time: Option<Duration>, fail_on: Option<u64>) -> Following {
    Following {
        json: false,
        time,
        fail_on: fail_on.map(Duration::from_millis),
        measuring: measuring(Duration::from_secs(1)),
    }
}

/// What is told of a worker that does what the script says, and how it ends.
fn told(
    following: &Following,
    script: impl FnOnce(&Sender<Observation>) + Send + 'static,
) -> (Vec<(BlockEvent, Block)>, Result<(), CliError>) {
    let mut told = Vec::new();
    let mut worker = worker(&look(Duration::from_secs(1)), script);
    let mut tell = |event, block: &Block| {
        told.push((event, block.clone()));
        Ok(())
    };
    let ended = follow(
        &mut worker,
        following,
        &Signals::default(),
        &mut || false,
        &mut tell,
        &mut |_| {},
    );
    (told, ended)
}

/// A block of 300 ms, and then a loop that runs on.
fn blocks_once(send: &Sender<Observation>) {
    let _ = send.send(census(true));
    tick_on(send, None, Duration::from_millis(30));
    tick_on(send, Some(1), Duration::from_millis(300));
    tick_on(send, None, Duration::from_millis(100));
}

#[test]
fn a_block_begins_and_ends_and_a_worker_that_ends_ends_it_all() {
    let (told, ended) = told(&following(None, None), |send| {
        blocks_once(send);
        let _ = send.send(Observation::Ended(Ending::Exited));
    });
    ended.expect("done");
    let [(Began, began), (Ended, over)] = told.as_slice() else {
        panic!("a beginning and an end: {told:?}")
    };
    assert!(began.ongoing && !over.ongoing && began.id == over.id);
    assert!(began.duration_ms >= 50.0 && began.duration_ms < over.duration_ms);
    assert_eq!(over.session_id.as_deref(), Some("a"));
}

#[test]
fn the_time_ends_it_with_a_block_that_goes_on() {
    let start = Instant::now();
    let (told, ended) = told(&following(Some(Duration::from_millis(400)), Some(100)), |send| {
        let _ = send.send(census(true));
        tick_on(send, Some(1), LONG);
    });
    assert!((Duration::from_millis(400)..LONG).contains(&start.elapsed()));
    let [(Began, block), (Began, last)] = told.as_slice() else {
        panic!("it does not end, and its last word is how far it came: {told:?}")
    };
    assert!(block.duration_is_lower_bound && block.started_at.is_none());
    assert!(last.ongoing && last.duration_ms > block.duration_ms + 100.0, "{told:?}");
    let error = ended.expect_err("it is longer than 100 ms");
    assert_eq!(error.exit(), Exit::FailOnMet);
    assert!(matches!(error, CliError::FailOnMet { blocks: 1, .. }), "{error}");
}

#[test]
fn the_limit_is_met_or_not() {
    let limit = |limit| {
        let (_, ended) = told(&following(Some(Duration::from_millis(1_500)), Some(limit)), |send| {
            blocks_once(send);
            tick_on(send, None, LONG);
        });
        ended
    };
    let error = limit(100).expect_err("300 ms are more");
    assert!(
        error
            .to_string()
            .starts_with("--fail-on 100ms was met by 1 block, the longest "),
        "{error}"
    );
    limit(10_000).expect("300 ms are less");
}

#[test]
fn a_key_ends_it() {
    let mut worker = worker(&look(Duration::from_secs(1)), |send| {
        let _ = send.send(census(true));
        tick_on(send, None, LONG);
    });
    let mut asked = 0;
    let mut pressed = || {
        asked += 1;
        asked > 3
    };
    let mut tell = |_, _: &Block| Ok(());
    let start = Instant::now();
    let ended = follow(
        &mut worker,
        &following(None, Some(100)),
        &Signals::default(),
        &mut pressed,
        &mut tell,
        &mut |_| {},
    );
    ended.expect("done");
    assert!(start.elapsed() < LONG);
}

#[test]
fn a_reader_that_goes_is_done_and_the_limit_holds_all_the_same() {
    let gone = |fail_on| {
        let mut worker = worker(&look(Duration::from_secs(1)), |send| {
            blocks_once(send);
            tick_on(send, None, LONG);
        });
        let mut tell = |event, _: &Block| match event {
            Began => Ok(()),
            Ended => Err(CliError::Output {
                what: "out".to_owned(),
                error: std::io::Error::from_raw_os_error(nix::libc::EPIPE),
            }),
        };
        let following = following(Some(LONG), fail_on);
        let signals = Signals::default();
        follow(&mut worker, &following, &signals, &mut || false, &mut tell, &mut |_| {}).expect_err("closed")
    };
    assert!(gone(None).is_closed_output());
    assert_eq!(gone(Some(100)).exit(), Exit::FailOnMet);
}

#[test]
fn without_a_figure_or_without_asyncio_silence_is_no_success() {
    let (_, ended) = told(&following(None, None), |send| {
        let _ = send.send(batch(None));
        let _ = send.send(Observation::Ended(Ending::Exited));
    });
    assert!(matches!(ended, Err(CliError::EndedEarly { .. })), "{ended:?}");
    let (_, ended) = told(&following(Some(Duration::from_millis(200)), Some(100)), |send| {
        let _ = send.send(census(false));
        tick_on(send, None, LONG);
    });
    assert!(matches!(ended, Err(CliError::NoAsyncio(_))), "{ended:?}");
}

/// A machine that leaves ten samples a second of a thousand: blocks of less than 300 ms are not seen, so a limit of 100 ms
/// that is not met says little.
#[test]
fn a_limit_that_could_have_been_met_unseen_is_no_silent_success() {
    let mut worker = worker(&look(Duration::from_secs(1)), |send| {
        let _ = send.send(census(true));
        let end = Instant::now() + LONG;
        while Instant::now() < end && send.send(batch(None)).is_ok() {
            std::thread::sleep(Duration::from_millis(100));
        }
    });
    let mut words = Vec::new();
    let ended = follow(
        &mut worker,
        &following(Some(Duration::from_millis(2_000)), Some(100)),
        &Signals::default(),
        &mut || false,
        &mut |_, _| Ok(()),
        &mut |word| words.push(word.to_owned()),
    );
    ended.expect("it was not met");
    let [begins, ends] = words.as_slice() else {
        panic!("when it begins and at the end: {words:?}")
    };
    assert!(
        begins.starts_with("no block under ") && begins.ends_with("so --fail-on 100ms could be met unseen"),
        "{begins}"
    );
    assert!(
        ends.starts_with("--fail-on 100ms was not met by what was seen, but for "),
        "{ends}"
    );
}
