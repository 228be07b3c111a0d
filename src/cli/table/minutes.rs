//! The last minutes of the live table, and the file that key w writes of them. Knows nothing of keys and screens.

use crate::cli::error::CliError;
use crate::cli::files::{FileError, OutputFile};
use crate::cli::record::formats::Format;
use crate::cli::record::size;
use crate::cli::wire::{self, Engine, Settings, Wanted};
use crate::model::{Hello, Nanos, Origin};
use crate::recording::{Recording, Ring};
use std::io::Cursor;
use std::path::Path;

/// So much is kept, whichever is reached first.
const LONGEST: Nanos = Nanos(120_000_000_000);
const MOST_BYTES: usize = 4 << 20;

pub fn ring() -> Ring {
    Ring::new(LONGEST, MOST_BYTES)
}

/// Writes what the ring holds into a file, in the format that its name asks for. Returns the word that says so.
pub fn write(ring: &mut Ring, name: &str, about: (&Origin, &Hello, &Settings), now: Nanos) -> Result<String, CliError> {
    let (origin, hello, settings) = about;
    let path = Path::new(name);
    let Some(format) = Format::of(path) else {
        return Err(CliError::NoFormat(Format::unknown(path)));
    };
    let mut file = OutputFile::open(path, false)?;
    let from = ring.from().unwrap_or(now);
    let recording = ring.recording(origin, hello, now);
    let bytes = match format {
        Format::Otop => recording,
        format => profile(recording, origin, settings, format).map_err(|error| FileError::Io {
            path: path.to_owned(),
            error,
        })?,
    };
    file.add(&bytes)?;
    file.finish()?;
    let seconds = (now - from).as_secs_f64();
    Ok(format!(
        "the last {seconds:.0} s are in {} ({})",
        absolute(path),
        size(file.written())
    ))
}

/// The same minutes as a profile.
fn profile(recording: Vec<u8>, origin: &Origin, settings: &Settings, format: Format) -> std::io::Result<Vec<u8>> {
    let mut recording = Recording::open(Cursor::new(recording)).map_err(std::io::Error::other)?;
    let mut engine = Engine::profiling(recording.hello().clone(), settings.clone());
    while let Some(arrived) = recording.next_arrived()? {
        engine.observe(arrived.observation);
    }
    engine.settle();
    wire::profile(&engine.profile(&Wanted::default()), origin, format)
}

/// Where it is, for somebody who does not know where otop was started.
fn absolute(path: &Path) -> String {
    std::path::absolute(path).map_or_else(|_| path.display().to_string(), |path| path.display().to_string())
}
