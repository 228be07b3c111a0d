//! What the arguments of `otop record` mean. Decides, and does nothing.

use super::arguments::RecordArguments;
use super::formats::Format;
use super::profile::wanted;
use crate::cli::plan::{Measuring, Plan, SLOW_WINDOW, WINDOW, Work, measuring, process};
use crate::cli::wire::Wanted;
use std::path::PathBuf;
use std::time::Duration;

/// `otop record`.
#[derive(Clone, Debug)]
pub struct Recording {
    pub path: PathBuf,
    pub may_replace: bool,
    pub format: Format,
    pub time: Duration,
    /// What a format counts that does not hold everything.
    pub profile: Wanted,
    pub measuring: Measuring,
}

pub fn plan(arguments: RecordArguments) -> Plan {
    let (target, naming) = process(arguments.process);
    let format = arguments.file.format();
    let recording = Recording {
        // Without a format clap has ended it.
        format: format.unwrap_or(Format::Otop),
        path: arguments.file.output,
        may_replace: arguments.file.force,
        time: arguments.time,
        profile: wanted(arguments.profile),
        measuring: measuring(arguments.measuring, WINDOW, SLOW_WINDOW),
    };
    Plan {
        target,
        naming,
        work: Work::Record(recording),
    }
}
