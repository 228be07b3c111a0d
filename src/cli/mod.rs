//! The only room that knows both towers: reads the command line, wires the reading side to the explaining side, owns the
//! loops and the terminal, and makes of every error one line and an exit code.
//!
//! A folder for each command: `arguments` is what can be said, `plan` what is meant, and the rest does it. `table` is the
//! command without a name, with `fleet` for several workers and `socket` for what a worker serves itself. Beside them is
//! what all commands share, in this order: `arguments`, `plan`, `run` (which command), `worker` (what comes in). `error`
//! has every failure's text, exit code and remedy; `wire` names what the other rooms are asked for.

mod arguments;
mod blocks;
mod crash;
mod diff;
mod doctor;
mod dump;
mod error;
mod files;
mod find;
mod fleet;
mod generate;
mod master;
mod output;
mod plan;
mod record;
mod replay;
mod run;
#[cfg(test)]
mod scripted;
mod signals;
mod socket;
mod table;
mod vars;
mod version;
pub mod wire;
mod worker;

use arguments::Arguments;
use clap::Parser;
use error::{CliError, Exit};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

/// The whole program. Usage errors, help and version end it inside of clap, as clap does.
pub fn main(reading: &dyn wire::Reading) -> ExitCode {
    if std::env::args_os().nth(1).is_some_and(|word| word == generate::WORD) {
        let arguments = generate::GenerateArguments::parse_from(std::env::args_os().skip(1));
        return finish(generate::generate(&arguments).map_err(anyhow::Error::from));
    }
    let arguments = Arguments::read();
    crash::note_panics();
    let plan = plan::plan(arguments, output::has_terminal());
    // The terminal is given back while the stack unwinds.
    let result = catch_unwind(AssertUnwindSafe(|| run::run(&plan, reading)));
    if let Some(note) = crash::noted() {
        output::say_line(&crash::line(&note));
        return ExitCode::from(Exit::Other as u8);
    }
    finish(result.unwrap_or(Ok(())))
}

fn finish(result: anyhow::Result<()>) -> ExitCode {
    let Err(error) = result else { return ExitCode::SUCCESS };
    let cause = error.downcast_ref::<CliError>();
    if cause.is_some_and(CliError::is_closed_output) {
        return ExitCode::SUCCESS;
    }
    if !cause.is_some_and(CliError::is_said) {
        output::say_line(&error::line(&error));
    }
    ExitCode::from(cause.map_or(Exit::Other, CliError::exit) as u8)
}
