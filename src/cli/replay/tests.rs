//! Recordings and what is concluded of them: a replay says what was said live, and the recordings of older otops stay
//! readable.

use crate::analysis::{By, Engine, Mode, Settings, Wanted};
use crate::cli::error::CliError;
use crate::cli::record::formats::Format;
use crate::cli::replay::player::Player;
use crate::cli::scripted::{look, measuring};
use crate::cli::signals::Signals;
use crate::cli::table::json;
use crate::cli::wire::{self, Attached};
use crate::cli::worker::Worker;
use crate::export::sample;
use crate::model::{Nanos, Observation, Report};
use crate::recording::{Recorder, Recording, begin, end};
use crate::view::Options;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

/// One for each version of the format, made by `write_the_recording`.
const KEPT: [&str; 5] = ["v1.otop", "v2.otop", "v3.otop", "v4.otop", "v5.otop"];

fn kept(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/recordings")
        .join(name)
}

/// The sample's second as a recording.
fn recorded() -> Vec<u8> {
    let (mut bytes, mut recorder) = (begin(&sample::origin(), &sample::hello()), Recorder::default());
    let observations = sample::observations();
    let last = observations.last().map(|(at, _)| *at).expect("some");
    for (came, observation) in &observations {
        bytes.extend(
            recorder
                .take(*came, observation)
                .map(|part| part.bytes)
                .unwrap_or_default(),
        );
    }
    bytes.extend(recorder.close().map(|part| part.bytes).unwrap_or_default());
    bytes.extend(end(last));
    bytes
}

fn replayed(path: &Path) -> Worker {
    let recording = Recording::open(File::open(path).expect("there")).expect("a recording");
    let hello = recording.hello().clone();
    Worker::recorded(hello, Player::new(recording), &measuring(Duration::from_secs(1)))
}

/// What an engine says at the end, in every form.
fn said(engine: &mut Engine, now: Nanos) -> Vec<Vec<u8>> {
    let mut all = vec![
        wire::json(&engine.report(now), &Options::default()).into_bytes(),
        wire::json(&engine.tumbling_report(now), &Options::default()).into_bytes(),
        format!("{:?}", engine.blocks().collect::<Vec<_>>()).into_bytes(),
    ];
    for mode in [Mode::Wall, Mode::Cpu, Mode::Blocked] {
        let wanted = Wanted {
            mode,
            by: By::Agent,
            ..Wanted::default()
        };
        let profile = engine.profile(&wanted);
        for format in [
            Format::Folded,
            Format::Flamegraph,
            Format::Speedscope,
            Format::Firefox,
            Format::Pprof,
        ] {
            all.push(wire::profile(&profile, &sample::origin(), format).expect("made"));
        }
    }
    all
}

#[test]
fn a_replay_says_to_the_byte_what_was_said_live() {
    let observations = sample::observations();
    let mut recording = Recording::open(std::io::Cursor::new(recorded())).expect("a recording");
    let mut live = Engine::profiling(sample::hello(), Settings::default());
    let mut replay = Engine::profiling(recording.hello().clone(), Settings::default());
    for (came, observation) in observations {
        let arrived = recording.next_arrived().expect("readable").expect("as many");
        assert_eq!(arrived.at, came);
        live.observe(observation);
        replay.observe(arrived.observation);
        assert_eq!(
            wire::json(&live.report(came), &Options::default()),
            wire::json(&replay.report(came), &Options::default())
        );
    }
    assert!(recording.next_arrived().expect("readable").is_none() && recording.defect().is_none());
    let now = recording.until();
    live.settle();
    replay.settle();
    assert_eq!(said(&mut live, now), said(&mut replay, now));
}

#[test]
fn what_a_worker_keeps_is_what_came() {
    let (send, observations) = mpsc::channel();
    let attached = Attached {
        hello: sample::hello(),
        observations,
        notes: Vec::new(),
        stop: Box::new(()),
    };
    let mut worker = Worker::new(attached, &measuring(Duration::from_secs(1)));
    worker.keep_all();
    let sent = sample::observations();
    for (_, observation) in &sent {
        send.send(observation.clone()).expect("taken");
    }
    worker.take_in(Duration::from_secs(30));
    let mut bytes = begin(&sample::origin(), worker.hello());
    for part in worker.take_parts(true) {
        bytes.extend(part.bytes);
    }
    bytes.extend(end(worker.now()));
    let mut recording = Recording::open(std::io::Cursor::new(bytes)).expect("a recording");
    let text = |observation: &Observation| format!("{observation:?}");
    for (_, observation) in &sent {
        let arrived = recording.next_arrived().expect("readable").expect("as many");
        assert_eq!(text(&arrived.observation), text(observation));
    }
}

#[test]
fn old_recordings_say_what_they_said() {
    for name in KEPT {
        let mut worker = replayed(&kept(name));
        worker.pass(worker.player().expect("a recording").until());
        let report = worker.last_report();
        let [a, b] = report.sessions.as_slice() else {
            panic!("two sessions")
        };
        assert_eq!((a.session_id.as_str(), b.session_id.as_str()), (sample::A, "job-b"));
        let near = |value: Option<f64>, expected: f64| value.is_some_and(|value| (value - expected).abs() < 0.5);
        assert!(near(a.loop_pct, 34.0) && near(b.cpu_pct, 20.0), "{a:?} {b:?}");
        let [block] = report.blocks.as_slice() else {
            panic!("one block: {:?}", report.blocks)
        };
        assert_eq!(
            (block.session_id.as_deref(), block.syscall.as_deref()),
            (Some(sample::A), Some("recvfrom"))
        );
        assert_eq!((block.function.as_deref(), block.waiting), (Some("send"), Some(1)));
        assert_eq!(report.quality.stack_hz_asked, Some(100.0));
    }
}

#[test]
fn a_replay_goes_back_and_says_the_same() {
    let mut worker = replayed(&kept("v1.otop"));
    let at = |worker: &Worker, ms: u64| worker.attached_at + Nanos::from_millis(ms);
    let say = |worker: &mut Worker, ms| {
        worker.pass(at(worker, ms));
        wire::json(&worker.report(), &Options::default())
    };
    let (first, second) = (say(&mut worker, 300), say(&mut worker, 900));
    assert_ne!(first, second);
    assert_eq!(say(&mut worker, 300), first);
    assert_eq!(say(&mut worker, 900), second);
}

#[test]
fn a_silence_of_years_is_no_queue_of_windows() {
    let mut recorder = Recorder::default();
    let mut bytes = begin(&sample::origin(), &sample::hello());
    let mut last = Nanos::ZERO;
    // The same again, fifty years later.
    for later in [Nanos::ZERO, Nanos(1_577_880_000_000_000_000)] {
        for (came, observation) in sample::observations() {
            last = came + later;
            bytes.extend(
                recorder
                    .take(last, &observation)
                    .map(|part| part.bytes)
                    .unwrap_or_default(),
            );
        }
    }
    bytes.extend(recorder.close().map(|part| part.bytes).unwrap_or_default());
    bytes.extend(end(last));
    let path = std::env::temp_dir().join(format!("otop-silence-{}.otop", std::process::id()));
    std::fs::write(&path, bytes).expect("written");
    let mut worker = replayed(&path);
    std::fs::remove_file(&path).expect("removed");
    let mut told = 0;
    let mut tell = |_: &Report| {
        told += 1;
        match told {
            0..100 => Ok(()),
            _ => Err(CliError::NoFormat("more than a hundred windows".to_owned())),
        }
    };
    let look = look(Duration::from_secs(1));
    json::stream(&mut worker, &look, &Signals::default(), &mut tell, &mut |_| {}).expect("it ends");
    assert!((1..10).contains(&told), "{told}");
}

/// Writes the recording of this version: once, when there is a new one. The older ones stay as they are.
#[test]
#[ignore = "writes tests/recordings"]
fn write_the_recording() {
    let newest = KEPT.last().expect("one");
    std::fs::write(kept(newest), recorded()).expect("written");
}
