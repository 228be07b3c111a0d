//! The flags of the table: whose, and how it is shown. Knows nothing of what is done with them.

use crate::cli::arguments::values::{self, SLOW_WINDOW, WINDOW};
use crate::cli::arguments::{MeasuringArguments, ProcessArguments};
use crate::view::{COLUMNS, Column, Sort, choose_columns};
use clap::Args;
use clap::builder::PossibleValuesParser;
use std::path::PathBuf;
use std::time::Duration;

/// Which worker, and what names the sessions in it.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Worker")]
pub struct WorkerArguments {
    #[command(flatten)]
    pub process: ProcessArguments,

    /// The whole pool: every asyncio worker below the process, as they come and go
    #[arg(long, requires = "pid", conflicts_with = "socket")]
    pub children: bool,

    /// Show what the worker itself serves at its OpenRTC introspection socket
    #[arg(long, value_name = "PATH")]
    #[arg(conflicts_with_all = [
        "pid", "session_from", "agent_from", "tenant_from", "rate", "stack_rate", "no_bpf", "own", "slow_threshold", "slow_window",
        "pause",
    ])]
    pub socket: Option<PathBuf>,
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

    /// How long a session stays slow after it has blocked the loop, 100ms to 1h [default: 5s]
    #[arg(long, value_name = "TIME", help_heading = "Measuring")]
    #[arg(value_parser = |text: &str| SLOW_WINDOW.parse(text))]
    pub slow_window: Option<Duration>,

    #[command(flatten)]
    pub measuring: MeasuringArguments,

    /// Stop the worker for each walk over its tasks, so that each is of one instant; how long is shown
    ///
    /// It is stopped for 250 ms at most, and for a twentieth of the time: a walk that takes longer goes on while the worker
    /// runs. Where it cannot be stopped, that is shown, and it is tried again after a second, then after twice as long each
    /// time, 30 s at most. What it does not do meanwhile is `stopped` and nobody's fault. Each stop ends some system calls of
    /// C code with EINTR, as a debugger's does (epoll_wait, semop, and recv with a timeout); Python begins its own again.
    /// Ctrl-Z does not suspend otop then; a SIGSTOP or a freezer does, and leaves the worker stopped until otop goes on.
    #[arg(long, help_heading = "Measuring")]
    pub pause: bool,
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
