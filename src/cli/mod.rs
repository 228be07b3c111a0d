//! The only room that knows both towers: reads the command line, wires the reading side to the explaining side, owns the
//! loops and the terminal, and makes of every error one line and an exit code.
//!
//! Read in this order: `args` (what can be said), `plan` (what is meant), `run` (which loop), `worker` (what comes in),
//! then the loops `once`, `json`, `live`, `blocks` (with `events`), and `socket` for what a worker serves itself. `error` has every failure's text,
//! exit code and remedy; `wire` names what the other rooms are asked for.

mod args;
mod args_dump;
mod blocks;
#[cfg(test)]
mod blocks_tests;
mod crash;
mod diff;
mod doctor;
mod error;
mod events;
mod files;
mod find;
mod fleet;
mod fleet_once;
mod formats;
mod generate;
mod json;
mod live;
#[cfg(test)]
mod loops_tests;
mod minutes;
mod once;
mod output;
mod plan;
mod player;
mod progress;
mod record;
#[cfg(test)]
mod recordings_tests;
mod replay;
mod run;
mod signals;
mod snapshot;
mod socket;
mod values;
mod vars;
mod version;
pub mod wire;
mod worker;

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
    let arguments = args::Arguments::read();
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
