//! The command line of `otop blocks` as clap reads it. Knows nothing of what is done with it.

use crate::cli::arguments::values::{self, FAIL_ON, FOR};
use crate::cli::arguments::{Conflict, MeasuringArguments, ProcessArguments};
use crate::cli::blocks::sight::{is_seen_at, rate_for};
use crate::cli::plan::SLOW_THRESHOLD;
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
suspended) and without waiting for threads that did yield the GIL; whether a session is to blame or not. A block shorter \
than three samples is not seen: a limit below three of --rate is refused, and where the machine leaves fewer samples that \
is said when it begins, when it is over, and at the end.

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
    pub fn check(&self) -> Result<(), Conflict> {
        let Some(limit) = self.fail_on else { return Ok(()) };
        let MeasuringArguments {
            rate, slow_threshold, ..
        } = self.measuring;
        let slow_threshold = slow_threshold.unwrap_or(SLOW_THRESHOLD);
        let text = values::written(limit);
        if limit < slow_threshold {
            let threshold = values::written(slow_threshold);
            return Err(Conflict(format!(
                "--fail-on {text} is below --slow-threshold {threshold}, and shorter ones are no blocks: \
                 add --slow-threshold {text}"
            )));
        }
        // A limit that cannot be seen to be met would pass whatever the worker does.
        if !is_seen_at(limit, rate) {
            let needed = rate_for(limit);
            return Err(Conflict(format!(
                "--fail-on {text} is shorter than three samples at --rate {rate}, and shorter blocks are not seen: \
                 add --rate {needed}"
            )));
        }
        Ok(())
    }
}
