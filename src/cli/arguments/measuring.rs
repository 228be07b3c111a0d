//! How a worker is read and judged: the flags of all commands that measure. Knows nothing of how they are obeyed.

use super::values::{self, RATE, SLOW_THRESHOLD};
use clap::Args;
use std::time::Duration;

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

    /// Load no BPF program: full stacks are read from the CPU of the worker's thread
    #[arg(long, help_heading = "Measuring")]
    pub no_bpf: bool,

    /// Files that begin with this are own code, wherever they are installed; may be given more than once
    #[arg(long, value_name = "PREFIX", help_heading = "Measuring", value_parser = values::prefix)]
    pub own: Vec<String>,

    /// From which length on a standing loop counts as blocked, 1ms to 1m [default: 50ms]
    #[arg(long, value_name = "TIME", help_heading = "Measuring")]
    #[arg(value_parser = |text: &str| SLOW_THRESHOLD.parse(text))]
    pub slow_threshold: Option<Duration>,
}
