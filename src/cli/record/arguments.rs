//! The command line of `otop record` as clap reads it. Knows nothing of what is done with it.

use super::formats::Format;
use super::profile::ProfileArguments;
use crate::cli::arguments::values::FOR;
use crate::cli::arguments::{Conflict, MeasuringArguments, ProcessArguments};
use clap::Args;
use std::path::PathBuf;
use std::time::Duration;

pub const ABOUT: &str = "Record for a time into a file: a flame graph, a profile, or everything";

pub const LONG_ABOUT: &str = "\
Record for a time into a file: a flame graph, a profile for speedscope, Firefox Profiler or pprof, or otop's own \
recording, which holds everything and which otop replay shows again.

The roots are the sessions. Threads that work for a session have a root of their own, outside the loop's time. What a \
frame waited for stands below it: [syscall recvfrom], [gil wait], [gc]. Time of which no stack could be proved is \
<unresolved>.

Ctrl-C and q end it early, and write; the second Ctrl-C ends otop.";

pub const AFTER: &str = "\
Examples:
  sudo otop record --pid 1234 -o worker.svg                      a flame graph of 30 s, by session
  sudo otop record --pid 1234 -o worker.otop --for 5m            everything, for otop replay
  sudo otop record --pid 1234 -o blocks.svg --mode blocked       only what blocked the loop
  sudo otop record --pid 1234 -o one.speedscope.json --session job-c1d550

Exit status: as of otop.";

/// `otop record`.
#[derive(Debug, Args)]
pub struct RecordArguments {
    #[command(flatten)]
    pub process: ProcessArguments,

    #[command(flatten)]
    pub file: FileArguments,

    /// Record for this time, 100ms to 168h; Ctrl-C ends it early, and writes
    #[arg(long = "for", value_name = "TIME", default_value = "30s", help_heading = "Output")]
    #[arg(value_parser = |text: &str| FOR.parse(text))]
    pub time: Duration,

    #[command(flatten)]
    pub profile: ProfileArguments,

    #[command(flatten)]
    pub measuring: MeasuringArguments,
}

impl RecordArguments {
    pub fn check(&self) -> Result<(), Conflict> {
        match self.file.format() {
            None => Err(Conflict(Format::unknown(&self.file.output))),
            Some(Format::Otop) if self.profile.is_given() => Err(Conflict(
                "a .otop recording holds everything: --mode, --by, --session, --agent and --tenant are for \
                 otop replay, which makes the other formats of it"
                    .to_owned(),
            )),
            Some(_) => Ok(()),
        }
    }
}

/// A file that is written.
#[derive(Debug, Args)]
pub struct FileArguments {
    /// File to write; - is standard output
    #[arg(short, long, value_name = "FILE", help_heading = "Output")]
    pub output: PathBuf,

    /// What to write [default: what the ending of FILE says]
    #[arg(long, value_name = "FORMAT", help_heading = "Output", value_enum)]
    pub format: Option<Format>,

    /// Replace FILE if it is there
    #[arg(long, help_heading = "Output")]
    pub force: bool,
}

impl FileArguments {
    pub fn format(&self) -> Option<Format> {
        self.format.or_else(|| Format::of(&self.output))
    }
}
