//! The command line of `otop diff` as clap reads it. Knows nothing of what is done with it.

use crate::cli::arguments::Conflict;
use crate::cli::arguments::values::SLOW_THRESHOLD;
use crate::cli::record::formats::Format;
use crate::cli::record::profile::ModeArgument;
use clap::Args;
use std::path::PathBuf;
use std::time::Duration;

pub const ABOUT: &str = "Compare two recordings, or two sessions of one, function by function";

pub const LONG_ABOUT: &str = "\
Compare two recordings, or two sessions of one, function by function. Two recordings are compared by percent of the \
recorded time, two sessions by percent of each one's own time. Recordings that were not taken alike are refused.";

pub const AFTER: &str = "\
Examples:
  otop diff before.otop after.otop
  otop diff before.otop after.otop -o change.svg      red has grown, blue has shrunk
  otop diff worker.otop --session job-1 --against-rest
  otop diff worker.otop --session job-1 --against job-2 --mode cpu

Exit status: as of otop.";

/// `otop diff`.
#[derive(Debug, Args)]
pub struct DiffArguments {
    /// Recording to compare with
    #[arg(value_name = "A")]
    pub before: PathBuf,

    /// Recording that is compared
    #[arg(value_name = "B", required_unless_present = "session", conflicts_with = "session")]
    pub after: Option<PathBuf>,

    /// Look at this session of A; red is what it has more of
    #[arg(
        long,
        value_name = "ID",
        help_heading = "Sessions of one recording",
        requires = "other"
    )]
    pub session: Option<String>,

    /// Session of A that it is compared with
    #[arg(
        long,
        value_name = "ID",
        help_heading = "Sessions of one recording",
        requires = "session",
        group = "other"
    )]
    pub against: Option<String>,

    /// Compare it with all the others together
    #[arg(
        long,
        help_heading = "Sessions of one recording",
        requires = "session",
        group = "other"
    )]
    pub against_rest: bool,

    /// What counts
    #[arg(
        long,
        value_name = "MODE",
        help_heading = "Profile",
        value_enum,
        default_value = "wall"
    )]
    pub mode: ModeArgument,

    /// From which length on a standing loop counts as blocked, for --mode blocked [default: as it was recorded]
    #[arg(long, value_name = "TIME", help_heading = "Profile")]
    #[arg(value_parser = |text: &str| SLOW_THRESHOLD.parse(text))]
    pub slow_threshold: Option<Duration>,

    /// Functions to show of the event loop, and as many of other threads
    #[arg(long, value_name = "N", default_value = "30", help_heading = "Output")]
    pub top: usize,

    /// File for the differential flame graph (.svg), or its stacks with both counts (.folded)
    #[arg(short, long, value_name = "FILE", help_heading = "Output")]
    pub output: Option<PathBuf>,

    /// Replace FILE if it is there
    #[arg(long, help_heading = "Output", requires = "output")]
    pub force: bool,
}

impl DiffArguments {
    pub fn check(&self) -> Result<(), Conflict> {
        match self.output.as_ref().map(|path| (path, Format::of(path))) {
            None | Some((_, Some(Format::Flamegraph | Format::Folded))) => Ok(()),
            Some((path, _)) => Err(Conflict(format!(
                "a difference is written as .svg or .folded, and {} is neither",
                path.display()
            ))),
        }
    }
}
