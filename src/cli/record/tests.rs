//! `otop record` of a scripted worker: what it says of its file, and where that is.

use super::formats::Format;
use super::plan::Recording;
use super::progress::line;
use super::*;
use crate::cli::plan::Judged;
use crate::cli::scripted::{self, batch, census, look};
use crate::cli::table::plan::Look;
use crate::cli::wire::Wanted;
use crate::model::{Labels, Observation, SessionKey};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::Sender;

/// A folder of its own, gone with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("otop-record-{name}-{}", std::process::id()));
        std::fs::create_dir(&path).expect("a new folder");
        Folder(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn labels(id: &str) -> Arc<Labels> {
    Arc::new(Labels {
        session_id: id.to_owned(),
        agent: None,
        tenant: None,
    })
}

/// A walk that meets this session, or none.
fn walk(id: Option<&str>) -> Observation {
    let mut walk = census(true);
    if let Observation::Census(census) = &mut walk {
        census.sessions.truncate(usize::from(id.is_some()));
        for (facts, id) in census.sessions.iter_mut().zip(id) {
            (facts.key, facts.labels) = (SessionKey::of(id), labels(id));
        }
    }
    walk
}

/// Two sessions after each other, and one so short that no walk met it; none of them lives at the end.
fn some(send: &Sender<Observation>) {
    let short = Observation::Labels(SessionKey::of("c"), labels("c"));
    for observation in [
        walk(Some("a")),
        batch(Some(1)),
        short,
        walk(Some("b")),
        batch(None),
        walk(None),
    ] {
        let _ = send.send(observation);
    }
}

fn wanted(path: &Path, format: Format) -> Recording {
    Recording {
        path: path.to_owned(),
        may_replace: false,
        format,
        time: Duration::from_millis(300),
        profile: Wanted::default(),
        measuring: scripted::measuring(Duration::from_secs(1)),
    }
}

/// Records what the script says, and does this as soon as there is something.
fn recorded(wanted: &Recording, meanwhile: impl Fn()) -> (Worker, Result<(), CliError>) {
    let look = Look {
        measuring: wanted.measuring.clone(),
        ..look(Duration::from_secs(1))
    };
    let mut worker = scripted::worker(&look, |send| {
        some(send);
        scripted::tick_on(send, None, Duration::from_millis(400));
    });
    let file = OutputFile::open(&wanted.path, false).expect("opened");
    let mut asked = 0;
    let mut wants_to_quit = || {
        asked += 1;
        if asked == 3 {
            meanwhile();
        }
        false
    };
    let origin = worker.origin();
    let done = record(
        &mut worker,
        wanted,
        &origin,
        file,
        &Signals::default(),
        &mut wants_to_quit,
    );
    (worker, done)
}

#[test]
fn sessions_are_those_that_the_file_has_and_not_those_that_live_at_its_end() {
    let folder = Folder::new("sessions");
    for (name, format) in [("x.otop", Format::Otop), ("x.folded", Format::Folded)] {
        let wanted = wanted(&folder.0.join(name), format);
        let (worker, done) = recorded(&wanted, || ());
        done.expect("written");
        assert!(
            many(&worker.counts()).ends_with(", 3 sessions"),
            "{}",
            many(&worker.counts())
        );
        let grows = (format == Format::Otop).then_some(1_200_000);
        let size = match grows {
            Some(_) => " · 3 sessions · 1.2 MB",
            None => " · 3 sessions · written at the end",
        };
        let line = line(&worker, grows, wanted.time);
        let at_80: String = line.chars().take(79).collect();
        for part in [" s left · ", " samples, ", "/s · ", size] {
            assert!(at_80.contains(part), "{at_80}: {part}");
        }
    }
    let many_more = Counts {
        sessions: MOST_SESSIONS as u64,
        ..Counts::default()
    };
    assert_eq!(sessions(&many_more), "100000 sessions and more");
}

#[test]
fn how_it_was_judged_is_in_the_recording_and_a_replay_does_the_same() {
    let folder = Folder::new("judged");
    let mut wanted = wanted(&folder.0.join("x.otop"), Format::Otop);
    let own = vec!["/srv/app/".to_owned()];
    (wanted.measuring.slow_threshold, wanted.measuring.own) = (Duration::from_millis(2), own.clone());
    recorded(&wanted, || ()).1.expect("written");
    let player = crate::cli::replay::open(&wanted.path).expect("a recording");
    let judging = player.origin().judging.clone();
    let mut measuring = scripted::measuring(Duration::from_secs(1));
    Judged::default().settle(judging.as_ref(), &mut measuring);
    assert_eq!(
        (measuring.slow_threshold, &measuring.own),
        (Duration::from_millis(2), &own)
    );
    // What is said now goes before.
    let said = Judged {
        slow_threshold: Some(Duration::from_millis(80)),
        slow_window: None,
        own: vec!["/opt/".to_owned()],
    };
    said.settle(judging.as_ref(), &mut measuring);
    assert_eq!(
        (measuring.slow_threshold, measuring.own),
        (Duration::from_millis(80), said.own)
    );
}

#[test]
fn a_recording_is_judged_within_what_could_have_been_asked_for() {
    let judged = |slow_threshold, slow_window| {
        let judging = Judging {
            slow_threshold: Nanos(slow_threshold),
            slow_window: Nanos(slow_window),
            own: vec![String::new()],
        };
        let mut measuring = scripted::measuring(Duration::from_secs(1));
        Judged::default().settle(Some(&judging), &mut measuring);
        assert!(measuring.own.is_empty(), "all names begin with nothing");
        (measuring.slow_threshold, measuring.slow_window)
    };
    assert_eq!(judged(0, 0), (Duration::from_millis(1), Duration::from_millis(100)));
    let longest = (Duration::from_secs(60), Duration::from_secs(3_600));
    assert_eq!(judged(u64::MAX, u64::MAX), longest);
    let mut measuring = scripted::measuring(Duration::from_secs(1));
    let before = measuring.clone();
    Judged::default().settle(None, &mut measuring);
    assert_eq!(measuring, before, "an older one says nothing");
}

#[test]
fn a_recording_that_was_taken_away_meanwhile_is_not_said_to_be_there() {
    let folder = Folder::new("taken");
    let (path, other) = (folder.0.join("x.otop"), folder.0.join("y.otop"));
    let wanted = wanted(&path, Format::Otop);
    let (_, done) = recorded(&wanted, || std::fs::rename(&path, &other).expect("it is there"));
    assert!(
        matches!(done, Err(CliError::File(FileError::Moved { to: Some(_), .. }))),
        "{done:?}"
    );
    assert!(std::fs::metadata(&other).is_ok_and(|file| file.len() > 0));
    let (_, done) = recorded(&wanted, || std::fs::remove_file(&path).expect("it is there"));
    assert!(
        matches!(done, Err(CliError::File(FileError::Removed { .. }))),
        "{done:?}"
    );
}
