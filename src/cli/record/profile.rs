//! What a profile counts, and whose: as it is said, and as it is meant. Knows nothing of how it is made.

use crate::cli::wire::{By, Mode, Narrow, Wanted};
use clap::{Args, ValueEnum};

/// What a profile counts, and whose.
#[derive(Debug, Args)]
pub struct ProfileArguments {
    /// What counts [default: wall]
    #[arg(long, value_name = "MODE", help_heading = "Profile", value_enum)]
    pub mode: Option<ModeArgument>,

    /// What the roots are [default: session]
    #[arg(long, value_name = "WHAT", help_heading = "Profile", value_enum)]
    pub by: Option<ByArgument>,

    /// Only this session
    #[arg(long, value_name = "ID", help_heading = "Profile")]
    pub session: Option<String>,

    /// Only sessions of this agent
    #[arg(long, value_name = "NAME", help_heading = "Profile")]
    pub agent: Option<String>,

    /// Only sessions of this tenant
    #[arg(long, value_name = "NAME", help_heading = "Profile")]
    pub tenant: Option<String>,
}

impl ProfileArguments {
    pub fn is_given(&self) -> bool {
        let names = [&self.session, &self.agent, &self.tenant];
        self.mode.is_some() || self.by.is_some() || names.iter().any(|name| name.is_some())
    }
}

pub fn wanted(arguments: ProfileArguments) -> Wanted {
    Wanted {
        mode: arguments.mode.unwrap_or_default().into(),
        by: arguments.by.unwrap_or_default().into(),
        narrow: Narrow {
            session: arguments.session,
            agent: arguments.agent,
            tenant: arguments.tenant,
            but: false,
        },
    }
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub enum ModeArgument {
    /// Loop time: a session asleep in a system call on the loop is there, an idle loop is not
    #[default]
    Wall,
    /// Time on a CPU
    Cpu,
    /// Only what kept the loop for longer than --slow-threshold
    Blocked,
}

impl From<ModeArgument> for Mode {
    fn from(mode: ModeArgument) -> Mode {
        match mode {
            ModeArgument::Wall => Mode::Wall,
            ModeArgument::Cpu => Mode::Cpu,
            ModeArgument::Blocked => Mode::Blocked,
        }
    }
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub enum ByArgument {
    #[default]
    Session,
    Agent,
    Tenant,
    None,
}

impl From<ByArgument> for By {
    fn from(by: ByArgument) -> By {
        match by {
            ByArgument::Session => By::Session,
            ByArgument::Agent => By::Agent,
            ByArgument::Tenant => By::Tenant,
            ByArgument::None => By::None,
        }
    }
}
