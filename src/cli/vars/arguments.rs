//! The command line of `otop vars` as clap reads it. Knows nothing of what is done with it.

use clap::Args;

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
