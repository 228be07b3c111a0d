//! The command line of `otop dump` as clap reads it, beside `args`, which has what all commands share. Knows nothing of
//! what is done with it.

use crate::cli::arguments::ProcessArguments;
use crate::cli::arguments::values;
use clap::Args;

pub const ABOUT: &str = "Show once where every task of every session runs or waits";

pub const LONG_ABOUT: &str = "\
Show once where every task of every session runs or waits: its state, what it waits for, and for how long where that is \
known, and its await chain with file and line, outermost first; callbacks that are pending, and threads that work for \
the session. Tasks of no session follow under their own heading. A loop that is blocked is shown like any other.

The worker goes on while it is read; tasks that moved on meanwhile are marked with ~. A task that runs is marked with \
>, a line of own code with *.";

pub const AFTER: &str = "\
Examples:
  sudo otop dump --pid 1234
  sudo otop dump --pid 1234 --session job-c1d550
  sudo otop dump --pid 1234 --json > evidence.json

Exit status: as of otop.";

/// `otop dump`.
#[derive(Debug, Args)]
pub struct DumpArguments {
    #[command(flatten)]
    pub process: ProcessArguments,

    /// One JSON document
    #[arg(long, help_heading = "Output")]
    pub json: bool,

    /// Only the session with this id
    #[arg(long, value_name = "ID", help_heading = "Sessions")]
    pub session: Option<String>,

    /// Only sessions of this agent
    #[arg(long, value_name = "NAME", help_heading = "Sessions")]
    pub agent: Option<String>,

    /// Only sessions of this tenant
    #[arg(long, value_name = "NAME", help_heading = "Sessions")]
    pub tenant: Option<String>,

    /// Stop the worker while it is read, so that all of it is of one instant; how long is said
    ///
    /// It is stopped for 1 s at most; a look that takes longer is given up. The stop ends some system calls of C code with
    /// EINTR, as a debugger's does (epoll_wait, semop, and recv with a timeout); Python begins its own again. Ctrl-Z does not
    /// suspend otop meanwhile; a SIGSTOP or a freezer does, and leaves the worker stopped until otop goes on.
    #[arg(long, help_heading = "Measuring")]
    pub pause: bool,

    /// Files that begin with this are own code, wherever they are installed; may be given more than once
    #[arg(long, value_name = "PREFIX", help_heading = "Measuring", value_parser = values::prefix)]
    pub own: Vec<String>,
}
