//! The command line of `otop doctor` as clap reads it. Knows nothing of what is done with it.

use clap::Args;

/// Whom to examine.
#[derive(Debug, Args)]
pub struct DoctorArguments {
    /// Process to examine [default: this machine, and how many workers are on it]
    #[arg(long, value_name = "PID", allow_negative_numbers = true)]
    #[arg(value_parser = clap::value_parser!(i32).range(1..))]
    pub pid: Option<i32>,

    /// One JSON document, on one line
    #[arg(long)]
    pub json: bool,
}
