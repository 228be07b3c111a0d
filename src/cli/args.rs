//! The command line as clap reads it. From this definition come `--help`, the man page and the completions. Knows what
//! each flag may hold, nothing of what is done with it; `plan` makes of these arguments what is meant.

use super::values::{self, FAIL_ON, FOR, RATE, SLOW_THRESHOLD, SLOW_WINDOW, WINDOW};
use crate::identity::Spec;
use crate::view::{COLUMNS, Column, Sort, choose_columns};
use clap::builder::PossibleValuesParser;
use clap::error::ErrorKind;
use clap::{Args, CommandFactory, Parser, Subcommand};
use std::path::PathBuf;
use std::time::Duration;

const ABOUT: &str = "Shows, from outside, who uses the CPU and who blocks the loop in a Python asyncio worker";

const LONG_ABOUT: &str = "\
Shows, from outside, the sessions that share one Python asyncio worker: who uses the CPU, who blocks the event loop, \
why, and since when.

The worker need not have been prepared and does not take part: otop reads its memory and its clocks through the kernel. \
It never signals, traces or writes to it. Reading another process needs its user's rights or root's.";

const AFTER: &str = "\
Examples:
  otop                                   find the asyncio workers here, and watch one
  sudo otop --pid 1234                   watch this worker live; ? shows the keys
  sudo otop --pid 1234 --once            one look at it, as text
  sudo otop --pid 1234 --sort cpu_pct    the greediest session first
  sudo otop --pid 1234 --status slow     only those who blocked the loop
  sudo otop --pid 1234 --json --window 10s >> worker.jsonl
  sudo otop --pid 1234 --session-from request_id
  sudo otop --pid 1234 --session-from 'log_context[\"call_id\"]' --session-from task:name
  sudo otop blocks --pid 1234            a line for every block of the loop, as it happens
  sudo otop blocks --pid 1234 --for 60s --fail-on 100ms
  otop demo                              start a sample worker and watch it

Exit status:
  0  done
  1  anything that is not named below
  2  the command line is wrong
  3  no such process, or no worker was found
  4  the worker's memory may not be read
  5  not a Python that otop can read, or one without asyncio
  6  the worker ended before there was a figure
  7  --fail-on was met";

const ABOUT_BLOCKS: &str = "Follow the blocks of the event loop, a line each, as they happen";

const LONG_ABOUT_BLOCKS: &str = "\
Follow the blocks of the event loop, a line each, as they happen.

A block that goes on is told when it passes --slow-threshold (\"blocks\", \"so far\") and again when it is over \
(\"blocked\"); one that is over by the time otop looks is told once. [slow-session] is a session that is to blame, \
with a ? where the cause is not known; [slow-loop] is a block that no session is to blame for. ≥ is a lower bound: \
the block began before otop looked, or more sessions may have waited.

q and Ctrl-C end it.";

const AFTER_BLOCKS: &str = "\
Lines:
  [slow-session] session_id=job-c1d550 blocked event loop for 320ms (syscall: recvfrom) at requests/adapters.py:667 \
in send, called from agents/booking.py:41 in lookup; ≥ 12 sessions waited
  [slow-loop] event loop blocked for 90ms (unscheduled: it got no CPU)

--fail-on counts a block if it is that long without what the machine did to it (unscheduled, stolen, stopped, \
suspended) and without waiting for threads that did yield the GIL; whether a session is to blame or not.

Exit status: as of otop; 7 if --fail-on was met.";

const SESSION_FROM: &str = "\
Where the session's id stands in the worker. May be given several times: the first that fits wins [default: as the \
packages in use keep it]

A SPEC begins with one of
  NAME                   a contextvar; in quotes, if other characters than
                         letters, digits, _ - : and dots are in its name
  task:name              the name that the program gave to the task
  frame:COROUTINE:LOCAL  a local variable of a coroutine (its __qualname__)
                         that the task runs or waits in
and goes on with any of
  .ATTRIBUTE             what the instance stores: in a dictionary, as
                         inline values, in slots; .args of a partial
  [0] [-1]               an item of a tuple or a list; a dict's int key
  [\"key\"]                a dict's key
  [\"prefix\"*]            the first of a dict's keys that begins so
  |hex |hex(32)          an int in hexadecimal, with zeros in front
  |strip(\"prefix\")       taken off the front, where it is there

A contextvar's name may have dots: a.b is the contextvar a.b, if there is one, and else the attribute b of a. Text, ints \
and UUIDs are ids; what else a path leads to is refused.";

#[derive(Debug, Parser)]
#[command(name = "otop", version, about = ABOUT, long_about = LONG_ABOUT, after_help = AFTER)]
#[command(
    args_conflicts_with_subcommands = true,
    disable_help_subcommand = true,
    infer_long_args = false
)]
pub struct Arguments {
    #[command(flatten)]
    pub worker: WorkerArguments,
    #[command(flatten)]
    pub look: LookArguments,
    #[command(subcommand)]
    pub command: Option<Command>,
}

impl Arguments {
    /// The command line of this process; one that is wrong ends it, as clap does.
    pub fn read() -> Arguments {
        let arguments = Arguments::parse();
        arguments.check().unwrap_or_else(|error| error.exit());
        arguments
    }

    /// What no value alone can be wrong in.
    pub fn check(&self) -> Result<(), clap::Error> {
        let Some(Command::Blocks(blocks)) = &self.command else {
            return Ok(());
        };
        let threshold = blocks.measuring.slow_threshold;
        match blocks.fail_on.filter(|limit| *limit < threshold) {
            None => Ok(()),
            Some(limit) => {
                let [limit, threshold] = [limit, threshold].map(values::written);
                let text = format!(
                    "--fail-on {limit} is below --slow-threshold {threshold}, and shorter ones are no blocks: \
                     add --slow-threshold {limit}"
                );
                Err(Arguments::command().error(ErrorKind::ArgumentConflict, text))
            }
        }
    }
}

#[derive(Debug, Subcommand)]
pub enum Command {
    #[command(about = ABOUT_BLOCKS, long_about = LONG_ABOUT_BLOCKS, after_help = AFTER_BLOCKS)]
    Blocks(BlocksArguments),
    /// List the contextvars in live tasks, and which would name sessions as a ready --session-from
    Vars(VarsArguments),
    /// Start the bundled sample worker and watch it; without a terminal, print one snapshot
    Demo(LookArguments),
}

/// Which worker, and what of its contextvars is shown.
#[derive(Debug, Default, Args)]
pub struct VarsArguments {
    /// Process to look at [default: the only asyncio worker here, or a choice]
    #[arg(long, value_name = "PID", allow_negative_numbers = true)]
    #[arg(value_parser = clap::value_parser!(i32).range(1..))]
    pub pid: Option<i32>,

    /// Show some of the values too; what may be a credential never is
    #[arg(long)]
    pub values: bool,

    /// As one JSON document
    #[arg(long)]
    pub json: bool,
}

/// Which worker, and what names the sessions in it.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Worker")]
pub struct WorkerArguments {
    #[command(flatten)]
    pub process: ProcessArguments,

    /// Show what the worker itself serves at its OpenRTC introspection socket
    #[arg(long, value_name = "PATH")]
    #[arg(conflicts_with_all = [
        "pid", "session_from", "agent_from", "tenant_from", "rate", "stack_rate", "own", "slow_threshold", "slow_window",
    ])]
    pub socket: Option<PathBuf>,
}

/// A process that is read, and what names the sessions in it.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Worker")]
pub struct ProcessArguments {
    /// Process to watch [default: the only asyncio worker here, or a choice]
    #[arg(long, value_name = "PID", allow_negative_numbers = true)]
    #[arg(value_parser = clap::value_parser!(i32).range(1..))]
    pub pid: Option<i32>,

    /// Where the session's id stands; several: the first that fits wins [default: as the packages in use keep it]
    #[arg(long, value_name = "SPEC", value_parser = values::spec, long_help = SESSION_FROM)]
    pub session_from: Vec<Spec>,

    /// Where the agent's name stands
    #[arg(long, value_name = "SPEC", value_parser = values::spec)]
    pub agent_from: Vec<Spec>,

    /// Where the tenant's name stands
    #[arg(long, value_name = "SPEC", value_parser = values::spec)]
    pub tenant_from: Vec<Spec>,
}

/// How a worker is read, whatever is made of it.
#[derive(Debug, Args)]
pub struct MeasuringArguments {
    /// Samples a second of session and step, 1 to 10000
    #[arg(long, value_name = "HZ", default_value = "1000", help_heading = "Measuring")]
    #[arg(value_parser = |text: &str| RATE.parse(text), allow_negative_numbers = true)]
    pub rate: f64,

    /// Full stacks a second, 1 to 10000
    #[arg(long, value_name = "HZ", default_value = "100", help_heading = "Measuring")]
    #[arg(value_parser = |text: &str| RATE.parse(text), allow_negative_numbers = true)]
    pub stack_rate: f64,

    /// Files that begin with this are own code, wherever they are installed; may be given more than once
    #[arg(long, value_name = "PREFIX", help_heading = "Measuring", value_parser = values::prefix)]
    pub own: Vec<String>,

    /// From which length on a standing loop counts as blocked, 1ms to 1m
    #[arg(long, value_name = "TIME", default_value = "50ms", help_heading = "Measuring")]
    #[arg(value_parser = |text: &str| SLOW_THRESHOLD.parse(text))]
    pub slow_threshold: Duration,
}

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

/// What to measure and how to show it.
#[derive(Debug, Args)]
pub struct LookArguments {
    /// Watch for one window, print the table, exit
    #[arg(long, help_heading = "Output")]
    pub once: bool,

    /// One JSON document per window, a line each; with --once a single one
    #[arg(long, help_heading = "Output")]
    pub json: bool,

    /// Pictures a second of the live table, 0.5 to 10
    #[arg(long, value_name = "HZ", default_value = "1.0", help_heading = "Output")]
    #[arg(value_parser = values::refresh_rate, allow_negative_numbers = true)]
    pub refresh_rate: f64,

    /// Column to sort by; in the live table key s goes on
    #[arg(long, value_name = "KEY", default_value = Sort::default().name(), help_heading = "Rows and columns")]
    #[arg(value_parser = PossibleValuesParser::new(Sort::names()))]
    pub sort: String,

    /// Show only sessions in this state; in the live table key f goes on
    #[arg(
        long,
        value_name = "STATUS",
        default_value = "all",
        help_heading = "Rows and columns"
    )]
    #[arg(value_parser = PossibleValuesParser::new(["all", "active", "slow", "draining", "errored"]))]
    pub status: String,

    /// Show only sessions of this agent
    #[arg(long, value_name = "NAME", help_heading = "Rows and columns")]
    pub agent: Option<String>,

    /// Show only sessions of this tenant
    #[arg(long, value_name = "NAME", help_heading = "Rows and columns")]
    pub tenant: Option<String>,

    #[arg(long, value_name = "LIST", help = columns_help(), help_heading = "Rows and columns")]
    #[arg(value_parser = choose_columns)]
    pub columns: Option<Columns>,

    /// Stretch of time that a percentage is about, 100ms to 10m
    #[arg(long, value_name = "TIME", default_value = "1s", help_heading = "Measuring")]
    #[arg(value_parser = |text: &str| WINDOW.parse(text))]
    pub window: Duration,

    /// How long a session stays slow after it has blocked the loop, 100ms to 1h
    #[arg(long, value_name = "TIME", default_value = "5s", help_heading = "Measuring")]
    #[arg(value_parser = |text: &str| SLOW_WINDOW.parse(text))]
    pub slow_window: Duration,

    #[command(flatten)]
    pub measuring: MeasuringArguments,
}

/// A name of its own, so that clap takes the list for one value.
pub type Columns = Vec<&'static Column>;

fn columns_help() -> String {
    let keys: Vec<&str> = COLUMNS.iter().map(|column| column.key).collect();
    format!(
        "Columns to show, in this order, with commas between them: {}",
        keys.join(", ")
    )
}
