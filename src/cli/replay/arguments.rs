//! The command line of `otop replay` as clap reads it. Knows nothing of what is done with it.

use crate::cli::arguments::Conflict;
use crate::cli::arguments::values::AT;
use crate::cli::record::formats::Format;
use crate::cli::record::profile::{ByArgument, ModeArgument};
use crate::cli::table::arguments::LookArguments;
use clap::{Args, ValueEnum};
use std::path::PathBuf;
use std::time::Duration;

pub const ABOUT: &str = "Show a recording as if it were live: the table, blocks, dumps, and every other format";

pub const LONG_ABOUT: &str = "\
Show a .otop recording as if it were live: the table over the recorded time, --once, --json, blocks, dump; and with -o a flame \
graph or a profile of it.

A dump is of the last instant that one was recorded of, which is said: every two seconds, less often of very many tasks.

In the live table Space pauses, n and N step a second on and back, ] and [ ten seconds, + and - change the speed.";

pub const AFTER: &str = "\
Examples:
  otop replay worker.otop                            the live table over the recorded time
  otop replay worker.otop --once --at 12s            the table at that instant
  otop replay worker.otop --json --window 5s         a document for every five seconds
  otop replay worker.otop blocks                     a line for every block
  otop replay worker.otop dump --at 12s              where every task ran or waited then
  otop replay worker.otop -o blocks.svg --mode blocked

Exit status: as of otop.";

/// Of what a recording was judged by.
const AS_RECORDED: [&str; 2] = [
    "From which length on a standing loop counts as blocked, 1ms to 1m [default: as it was recorded]",
    "How long a session stays slow after it has blocked the loop, 100ms to 1h [default: as it was recorded]",
];

/// `otop replay`.
#[derive(Debug, Args)]
#[command(mut_arg("rate", |arg| arg.hide(true).conflicts_with("file")))]
#[command(mut_arg("stack_rate", |arg| arg.hide(true).conflicts_with("file")))]
#[command(mut_arg("no_bpf", |arg| arg.hide(true).conflicts_with("file")))]
#[command(mut_arg("pause", |arg| arg.hide(true).conflicts_with("file")))]
#[command(mut_arg("slow_threshold", |arg| arg.help(AS_RECORDED[0])))]
#[command(mut_arg("slow_window", |arg| arg.help(AS_RECORDED[1])))]
pub struct ReplayArguments {
    /// Recording that otop record has written
    #[arg(value_name = "FILE")]
    pub file: PathBuf,

    /// What to show of it [default: the table]
    #[arg(value_name = "WHAT", value_enum, conflicts_with_all = ["once", "output"])]
    pub what: Option<ReplayWhat>,

    /// How far into the recording: where the live table begins, the end of the window of --once, or when the
    /// dump was taken at the latest
    #[arg(long, value_name = "TIME", help_heading = "Output", value_parser = |text: &str| AT.parse(text))]
    #[arg(conflicts_with = "output")]
    pub at: Option<Duration>,

    /// File to write another format into; - is standard output
    #[arg(short, long, value_name = "FILE", help_heading = "Output", conflicts_with_all = ["once", "json"])]
    pub output: Option<PathBuf>,

    /// What to write [default: what the ending of FILE says]
    #[arg(
        long,
        value_name = "FORMAT",
        help_heading = "Output",
        value_enum,
        requires = "output"
    )]
    pub format: Option<Format>,

    /// Replace FILE if it is there
    #[arg(long, help_heading = "Output", requires = "output")]
    pub force: bool,

    /// What counts [default: wall]
    #[arg(long, value_name = "MODE", help_heading = "Profile", value_enum, requires = "output")]
    pub mode: Option<ModeArgument>,

    /// What the roots are [default: session]
    #[arg(long, value_name = "WHAT", help_heading = "Profile", value_enum, requires = "output")]
    pub by: Option<ByArgument>,

    /// Only this session
    #[arg(long, value_name = "ID", help_heading = "Profile")]
    pub session: Option<String>,

    #[command(flatten)]
    pub look: LookArguments,
}

/// What of a recording is shown, beside the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ReplayWhat {
    /// A line for each block
    Blocks,
    /// Where every task ran or waited
    Dump,
}

impl ReplayArguments {
    pub fn check(&self) -> Result<(), Conflict> {
        if self.what == Some(ReplayWhat::Blocks) && self.at.is_some() {
            return Err(Conflict(
                "the argument '--at <TIME>' cannot be used with 'blocks'".to_owned(),
            ));
        }
        if self.session.is_some() && self.output.is_none() && self.what != Some(ReplayWhat::Dump) {
            return Err(Conflict(
                "--session is for dump, and for what -o writes: end it in dump, or add -o FILE".to_owned(),
            ));
        }
        let Some(output) = &self.output else {
            // clap lets them pass beside what has no output.
            let of_output = [
                ("--mode", self.mode.is_some()),
                ("--by", self.by.is_some()),
                ("--format", self.format.is_some()),
                ("--force", self.force),
            ];
            return match of_output.iter().find(|(_, is_given)| *is_given) {
                Some((name, _)) => Err(Conflict(format!("{name} is for what -o writes: add -o FILE"))),
                None => Ok(()),
            };
        };
        match self.format.or_else(|| Format::of(output)) {
            None => Err(Conflict(Format::unknown(output))),
            Some(Format::Otop) => Err(Conflict("it is a .otop recording already: cp copies it".to_owned())),
            Some(_) => Ok(()),
        }
    }
}
