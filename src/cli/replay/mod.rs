//! `otop replay`: a recording in the place of a worker. What is asked of it is answered by the same loops that ask a live
//! one; only the live table needs to be steered. Knows nothing of how a recording is laid out.

pub mod arguments;
pub mod plan;
pub mod player;
#[cfg(test)]
mod tests;

use super::dump::plan::Dumping;
use super::error::{CliError, NoFile};
use super::files::OutputFile;
use super::plan::{Judged, Work};
use super::record::write_profile;
use super::signals::Signals;
use super::table::live::{self, Figures};
use super::table::plan::Shape;
use super::worker::{Worker, now};
use super::{blocks, output, table, wire};
use crate::model::{Block, Nanos, Origin, OwnCode, Report};
use crate::recording::Recording;
use crate::view::Steer;
use player::Player;
use std::fs::File;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;
use std::time::Duration;

/// Replays run at these speeds.
const SPEEDS: [f64; 9] = [0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 64.0];
const NORMAL: usize = 3;
const STEP: Nanos = Nanos(1_000_000_000);
const LEAP: Nanos = Nanos(10_000_000_000);

/// Opens a recording that is to be replayed, with a word if it is not whole.
pub fn open(path: &Path) -> Result<Player, CliError> {
    let failed = |error: crate::recording::RecordingError| CliError::Recording {
        path: path.to_owned(),
        error,
    };
    let not_one = |what| CliError::NotARecording {
        path: path.to_owned(),
        what,
    };
    if path == Path::new("-") {
        return Err(not_one(NoFile::Dash));
    }
    let kind = std::fs::metadata(path)
        .map_err(|error| failed(error.into()))?
        .file_type();
    match kind {
        kind if kind.is_file() => {}
        kind if kind.is_dir() => return Err(not_one(NoFile::Folder)),
        // It would be waited for, and cannot be gone back in.
        kind if kind.is_fifo() => return Err(not_one(NoFile::Pipe)),
        _ => return Err(not_one(NoFile::Other)),
    }
    let file = File::open(path).map_err(|error| failed(error.into()))?;
    let recording = Recording::open(file).map_err(failed)?;
    let is_whole = recording.defect().is_none();
    let player = Player::new(recording);
    if player.is_over() {
        return Err(CliError::NothingRecorded {
            path: path.to_owned(),
            is_whole: is_whole && player.defect().is_none(),
        });
    }
    if let Some(defect) = player.defect().filter(|_| !is_whole) {
        output::say(&format!("{}: {defect}", path.display()));
    }
    Ok(player)
}

/// Does with the recording what was asked for. `at`: how far into it.
pub fn replay(path: &Path, at: Option<Duration>, judged: &Judged, work: &Work) -> anyhow::Result<()> {
    let player = open(path)?;
    let was_whole = player.defect().is_none();
    let (hello, origin) = (player.hello().clone(), player.origin().clone());
    let mut work = work.clone();
    judged.settle(origin.judging.as_ref(), work.measuring_mut());
    let mut worker = Worker::recorded(hello, player, work.measuring());
    let instant = at.map(|at| worker.attached_at + at.into());
    match &work {
        Work::Table(look) => match (look.shape, instant) {
            (Shape::Live, _) => {
                worker.pass(instant.unwrap_or(worker.attached_at));
                live::watch(&mut Replay::of(worker), look, &Signals::listen()?)?;
                return Ok(());
            }
            (Shape::Json, _) => {
                let mut tell = |report: &Report| output::write(&table::shown(report, look));
                table::json::stream(&mut worker, look, &Signals::listen()?, &mut tell, &mut |_| {})?;
            }
            (Shape::Once | Shape::OnceJson, Some(instant)) => {
                worker.pass(instant.min(last(&worker)));
                output::write(&table::shown(&worker.last_report(), look))?;
            }
            (Shape::Once | Shape::OnceJson, None) => {
                let report = table::once::watch(&mut worker, &look.measuring)?;
                output::write(&table::shown(&report, look))?;
            }
        },
        Work::Blocks(following) => {
            let mut tell = |event, block: &Block| output::write(&wire::block_line(event, block, following.json));
            let signals = Signals::listen()?;
            blocks::follow(
                &mut worker,
                following,
                &signals,
                &mut || false,
                &mut tell,
                &mut output::say,
            )?;
        }
        Work::Dump(dumping) => output::write(&dump(&mut worker, path, instant, dumping)?)?,
        Work::Compare(_) => {}
        Work::Record(wanted) => {
            let file = OutputFile::open(&wanted.path, wanted.may_replace).map_err(CliError::from)?;
            export(&mut worker, &origin, wanted, file)?;
        }
    }
    let defect = worker.player().and_then(Player::defect).filter(|_| was_whole);
    if let Some(defect) = defect {
        output::say(&format!("{}: {defect}", path.display()));
    }
    Ok(())
}

fn last(worker: &Worker) -> Nanos {
    worker.player().map_or(worker.attached_at, Player::until)
}

/// The last dump up to an instant, or of all.
fn dump(worker: &mut Worker, path: &Path, instant: Option<Nanos>, dumping: &Dumping) -> Result<String, CliError> {
    let end = last(worker);
    let instant = instant.unwrap_or(end).min(end);
    worker.pass(instant);
    let Some((taken, found)) = worker.dump() else {
        worker.pass(end);
        return Err(CliError::NoDump {
            path: path.to_owned(),
            comes_later: worker.dump().is_some(),
        });
    };
    let place = (
        (taken - worker.attached_at).as_secs_f64(),
        (instant - taken).as_secs_f64(),
    );
    let own = OwnCode::new(worker.hello().library.clone(), dumping.measuring.own.clone());
    let shown = wire::dump_of_then(found, place, &dumping.asked, &own);
    Ok(wire::dump_shown(&shown, dumping.json))
}

/// Takes in the whole recording, for a profile of it.
pub fn take_all(worker: &mut Worker) {
    worker.keep_profile();
    worker.pass(last(worker));
    worker.settle();
}

/// Another format of the whole recording.
fn export(
    worker: &mut Worker,
    origin: &Origin,
    wanted: &super::record::plan::Recording,
    mut file: OutputFile,
) -> Result<(), CliError> {
    take_all(worker);
    write_profile(&worker.profile(&wanted.profile), origin, wanted.format, &mut file)
}

/// The live table of a recording.
struct Replay {
    worker: Worker,
    is_paused: bool,
    speed: usize,
    /// When time last passed, by this machine's clock.
    passed: Nanos,
}

impl Replay {
    fn of(worker: Worker) -> Replay {
        Replay {
            worker,
            is_paused: false,
            speed: NORMAL,
            passed: now(),
        }
    }

    fn speed(&self) -> f64 {
        SPEEDS.get(self.speed).copied().unwrap_or(1.0)
    }

    fn go_to(&mut self, instant: Nanos) {
        self.worker
            .pass(instant.clamp(self.worker.attached_at, last(&self.worker)));
    }
}

impl Figures for Replay {
    fn take_in(&mut self, patience: Duration) {
        std::thread::sleep(patience);
        let now = now();
        let passed = std::mem::replace(&mut self.passed, now);
        if !self.is_paused {
            let ahead = (now - passed).0 as f64 * self.speed();
            self.go_to(self.worker.now() + Nanos(ahead as u64));
        }
    }

    fn report(&mut self) -> Report {
        self.worker.report_with_blocks()
    }

    fn place(&self) -> Option<String> {
        let seconds = |nanos: Nanos| nanos.as_secs_f64();
        let (at, all) = (
            self.worker.now() - self.worker.attached_at,
            last(&self.worker) - self.worker.attached_at,
        );
        let pace = match (self.is_paused, at >= all) {
            (_, true) => "at its end".to_owned(),
            (true, false) => "paused".to_owned(),
            (false, false) => format!("×{}", self.speed()),
        };
        Some(format!("REPLAY {:.0} of {:.0} s, {pace}", seconds(at), seconds(all)))
    }

    fn steer(&mut self, steer: Steer) {
        let at = self.worker.now();
        match steer {
            Steer::Pause => self.is_paused = !self.is_paused,
            Steer::Forward => self.go_to(at + STEP),
            Steer::Back => self.go_to(at - STEP),
            Steer::FarForward => self.go_to(at + LEAP),
            Steer::FarBack => self.go_to(at - LEAP),
            Steer::Faster => self.speed = (self.speed + 1).min(SPEEDS.len() - 1),
            Steer::Slower => self.speed = self.speed.saturating_sub(1),
        }
    }
}
