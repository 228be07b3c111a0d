//! The command line of `otop blocks` as clap reads it. Knows nothing of what is done with it.

use crate::cli::arguments::values::{self, FAIL_ON, FOR};
use crate::cli::arguments::{MeasuringArguments, ProcessArguments, conflict};
use clap::Args;
use std::time::Duration;

pub const ABOUT: &str = "Follow the blocks of the event loop, a line each, as they happen";

pub const LONG_ABOUT: &str = "\
Follow the blocks of the event loop, a line each, as they happen.

A block that goes on is told when it passes --slow-threshold (\"blocks\", \"so far\") and again when it is over \
(\"blocked\"); one that is over by the time otop looks is told once. [slow-session] is a session that is to blame, \
with a ? where the cause is not known; [slow-loop] is a block that no session is to blame for. ≥ is a lower bound: \
the block began before otop looked, or more sessions may have waited.

q and Ctrl-C end it.";

pub const AFTER: &str = "\
Lines:
  [slow-session] session_id=job-c1d550 blocked event loop for 320ms (syscall: recvfrom) at requests/adapters.py:667 \
in send, called from agents/booking.py:41 in lookup; ≥ 12 sessions waited
  [slow-loop] event loop blocked for 90ms (unscheduled: it got no CPU)

--fail-on counts a block if it is that long without what the machine did to it (unscheduled, stolen, stopped, \
suspended) and without waiting for threads that did yield the GIL; whether a session is to blame or not.

Exit status: as of otop; 7 if --fail-on was met.";

/// `otop blocks`.
#[derive(Debug, Args)]
pub struct BlocksArguments {
    #[command(flatten)]
    pub process: ProcessArguments,

    /// End after this time, 100ms to 168h [default: with q, Ctrl-C or the worker]
    #[arg(long = "for", value_name = "TIME", help_heading = "Output", value_parser = |text: &str| FOR.parse(text))]
    pub time: Option<Duration>,

    /// One JSON object per event, a line each
    #[arg(long, help_heading = "Output")]
    pub json: bool,

    /// End with exit status 7 if there was a block of this length, 1ms to 1h
    #[arg(long, value_name = "TIME", help_heading = "Output", value_parser = |text: &str| FAIL_ON.parse(text))]
    pub fail_on: Option<Duration>,

    #[command(flatten)]
    pub measuring: MeasuringArguments,
}

impl BlocksArguments {
    pub fn check(&self) -> Result<(), clap::Error> {
        let threshold = self.measuring.slow_threshold;
        match self.fail_on.filter(|limit| *limit < threshold) {
            None => Ok(()),
            Some(limit) => {
                let [limit, threshold] = [limit, threshold].map(values::written);
                let text = format!(
                    "--fail-on {limit} is below --slow-threshold {threshold}, and shorter ones are no blocks: \
                     add --slow-threshold {limit}"
                );
                Err(conflict(text))
            }
        }
    }
}
