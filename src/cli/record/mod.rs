//! `otop record`: takes in for a time, and writes a file. Ends with the time, the worker, a key or a signal, and writes what
//! there is then. Knows nothing of how a format is made.

pub mod arguments;
pub mod formats;
pub mod plan;
pub mod profile;
mod progress;
#[cfg(test)]
mod tests;

use super::error::CliError;
use super::files::{FileError, OutputFile};
use super::output;
use super::signals::Signals;
use super::wire::{self, Profile};
use super::worker::{Counts, End, MOST_SESSIONS, Worker};
use crate::model::{Judging, Nanos, Origin, Pid};
use crate::process;
use crate::recording;
use crate::tui::QuitKey;
use formats::Format;
use plan::Recording;
use progress::Progress;
use std::time::Duration;

const STEP: Duration = Duration::from_millis(50);

/// How long after the end of the time its last samples may come.
const LATE_SAMPLES: Duration = Duration::from_millis(200);

/// How long after the end of the time the first figure may come: the first walk over a huge worker.
const FIRST_FIGURE: Duration = Duration::from_secs(5);

/// Records into the file until a key, a signal or the time ends it.
pub fn into_file(file: OutputFile, worker: &mut Worker, wanted: &Recording) -> anyhow::Result<()> {
    let signals = Signals::listen()?;
    // In a pipeline the keys may be another program's.
    let key = output::has_terminal().then(QuitKey::listen).flatten();
    let mut wants_to_quit = || key.as_ref().is_some_and(QuitKey::was_pressed);
    let origin = worker.origin();
    Ok(record(worker, wanted, &origin, file, &signals, &mut wants_to_quit)?)
}

/// What a file says of where it comes from, and how it is judged.
pub fn origin(pid: Pid, judging: Judging) -> Origin {
    Origin {
        otop: env!("CARGO_PKG_VERSION").to_owned(),
        command: process::command_line(pid).ok().map(|line| process::masked(&line)),
        judging: Some(judging),
    }
}

/// Records into the file. `wants_to_quit`: somebody has pressed the key.
pub fn record(
    worker: &mut Worker,
    wanted: &Recording,
    origin: &Origin,
    mut file: OutputFile,
    signals: &Signals,
    wants_to_quit: &mut dyn FnMut() -> bool,
) -> Result<(), CliError> {
    if wanted.format == Format::Otop {
        worker.keep_all();
        file.add(&recording::begin(origin, worker.hello()))?;
        // It grows under its own name, so that a kill leaves what there is.
        file.show()?;
    } else {
        worker.keep_profile();
    }
    let mut progress = Progress::begin(worker, wanted);
    let taken = take(worker, wanted, &mut file, signals, wants_to_quit, &mut progress);
    progress.end();
    if let Some(end) = taken? {
        output::say(&end.words());
    }
    worker.settle();
    if wanted.format == Format::Otop {
        write_parts(worker, &mut file, true)?;
        file.add(&recording::end(worker.now()))?;
        file.check_in_place()?;
    } else {
        let profile = worker.profile(&wanted.profile);
        write_profile(&profile, origin, wanted.format, &mut file)?;
    }
    output::say(&summary(worker, &file));
    if let missing @ 1.. = worker.parts_left_out() {
        output::say(&format!(
            "{missing} stretches were too large to be recorded, and are missing"
        ));
    }
    Ok(())
}

/// Writes a profile into a file that then appears; what there is room for, where there is not enough for all of it.
pub fn write_profile(
    profile: &Profile,
    origin: &Origin,
    format: Format,
    file: &mut OutputFile,
) -> Result<(), CliError> {
    let made = wire::profile(profile, origin, format);
    let bytes = made.map_err(|error| FileError::Io {
        path: file.path().to_owned(),
        error,
    })?;
    let whole = match format {
        // A line that is cut would be a stack that nobody saw.
        Format::Folded => |fitted: &[u8]| fitted.iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end + 1),
        _ => |fitted: &[u8]| fitted.len(),
    };
    if let Err(error) = file.add_what_fits(&bytes, whole) {
        if file.written() > 0 {
            file.finish()?;
            return Err(CliError::ProfileCut {
                error,
                kept: file.written(),
                whole: bytes.len() as u64,
            });
        }
        return Err(error.into());
    }
    file.finish()?;
    if let Some(why) = profile.nothing() {
        output::say(&format!("{why}; the file says so"));
    }
    Ok(())
}

/// Takes in until it is time to end. How the worker ended, if it did that before.
fn take(
    worker: &mut Worker,
    wanted: &Recording,
    file: &mut OutputFile,
    signals: &Signals,
    wants_to_quit: &mut dyn FnMut() -> bool,
    progress: &mut Progress,
) -> Result<Option<End>, CliError> {
    let end = worker.attached_at + wanted.time.into();
    loop {
        worker.take_in(STEP);
        write_parts(worker, file, false)?;
        if signals.raised() || wants_to_quit() {
            return Ok(None);
        }
        if let Some(end) = worker.ending() {
            return match worker.has_figure() {
                true => Ok(Some(end)),
                false => Err(end.early()),
            };
        }
        let now = worker.now();
        if now >= end {
            let is_complete = worker.has_reached(end) || now >= end + LATE_SAMPLES.into();
            if is_complete && worker.has_figure() {
                // A picture of nothing would be taken for a worker that does nothing.
                return if worker.lacks_asyncio() {
                    Err(CliError::NoAsyncio(worker.pid))
                } else {
                    Ok(None)
                };
            }
            if now >= end + FIRST_FIGURE.into() {
                let seconds = (now - worker.attached_at).as_secs_f64() as u64;
                return Err(CliError::NoFigure {
                    pid: worker.pid,
                    seconds,
                });
            }
        }
        progress.show(worker, file.written());
    }
}

fn write_parts(worker: &mut Worker, file: &mut OutputFile, is_last: bool) -> Result<(), CliError> {
    for part in worker.take_parts(is_last) {
        if let Err(error) = file.add(&part.bytes) {
            let kept_s = (part.from - worker.attached_at).as_secs_f64();
            return Err(CliError::RecordingCut { error, kept_s });
        }
    }
    Ok(())
}

/// `30.0 s of worker 1234 are in x.svg: 29876 samples, 2990 stacks, 6 sessions, 1.2 MB`.
fn summary(worker: &Worker, file: &OutputFile) -> String {
    let counts = worker.counts();
    let seconds = (worker.now() - worker.attached_at).as_secs_f64();
    format!(
        "{seconds:.1} s of worker {} are in {}: {}, {}",
        worker.pid,
        file.path().display(),
        many(&counts),
        size(file.written())
    )
}

/// `29876 samples, 2990 stacks, 1 session`.
fn many(counts: &Counts) -> String {
    let parts = [
        one(counts.ticks, "sample"),
        one(counts.stacks, "stack"),
        sessions(counts),
    ];
    parts.join(", ")
}

/// Those that were met so far, whether they live still or not: as many as the file will have.
fn sessions(counts: &Counts) -> String {
    let more = if counts.sessions >= MOST_SESSIONS as u64 {
        " and more"
    } else {
        ""
    };
    one(counts.sessions, "session") + more
}

fn one(count: u64, what: &str) -> String {
    match count {
        1 => format!("1 {what}"),
        _ => format!("{count} {what}s"),
    }
}

/// `1.2 MB`, of a million bytes each.
pub fn size(bytes: u64) -> String {
    match bytes {
        0..1_000 => format!("{bytes} bytes"),
        1_000..1_000_000 => format!("{:.0} kB", bytes as f64 / 1e3),
        _ => format!("{:.1} MB", bytes as f64 / 1e6),
    }
}

/// When the recording is to end.
pub fn left(worker: &Worker, time: Duration) -> Nanos {
    worker.attached_at + Nanos::from(time) - worker.now()
}
