//! The line that says how far a recording is, on standard error, if that is a terminal. Knows nothing of what is recorded.

use crate::cli::record::formats::Format;
use crate::cli::record::plan::Recording;
use crate::cli::record::{left, sessions, size};
use crate::cli::worker::Worker;
use crate::model::Nanos;
use std::io::{self, IsTerminal, Write};
use std::time::Duration;

/// Time between two pictures.
const PERIOD: Nanos = Nanos(200_000_000);

pub struct Progress {
    is_shown: bool,
    next: Nanos,
    time: Duration,
    /// The file grows; others are made when all has come, and nobody can say before how large they will be.
    grows: bool,
    has_drawn: bool,
}

impl Progress {
    pub fn begin(worker: &Worker, wanted: &Recording) -> Progress {
        Progress {
            is_shown: io::stderr().is_terminal(),
            next: worker.now(),
            time: wanted.time,
            grows: wanted.format == Format::Otop,
            has_drawn: false,
        }
    }

    /// Draws it, if it is due. `written`: bytes of the file so far.
    pub fn show(&mut self, worker: &Worker, written: u64) {
        let now = worker.now();
        if !self.is_shown || now < self.next {
            return;
        }
        self.next = now + PERIOD;
        self.has_drawn = true;
        let columns = crossterm::terminal::size().map_or(80, |(columns, _)| usize::from(columns));
        let line: String = line(worker, self.grows.then_some(written), self.time)
            .chars()
            .take(columns.saturating_sub(1))
            .collect();
        let _ = write!(io::stderr(), "\r\x1b[K{line}");
    }

    /// Leaves an empty line for what is said next.
    pub fn end(&mut self) {
        if std::mem::take(&mut self.has_drawn) {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}

/// `1234 · 18 s left · 11870 samples, 998/s · 6 sessions · 1.2 MB · Ctrl-C ends it · 1187 stacks`. What 80 columns cut off
/// is what matters least. `written`: of a file that grows.
pub(super) fn line(worker: &Worker, written: Option<u64>, time: Duration) -> String {
    let counts = worker.counts();
    let passed = (worker.now() - worker.attached_at).as_secs_f64();
    let rate = if passed > 0.0 {
        counts.ticks as f64 / passed
    } else {
        0.0
    };
    format!(
        "{} · {:.0} s left · {} samples, {rate:.0}/s · {} · {} · Ctrl-C ends it · {} stacks",
        worker.pid,
        left(worker, time).as_secs_f64().ceil(),
        counts.ticks,
        sessions(&counts),
        written.map_or_else(|| "written at the end".to_owned(), size),
        counts.stacks,
    )
}
