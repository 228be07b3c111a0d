//! The command line as clap reads it. From this definition come `--help`, the man page and the completions. Here is what
//! all commands share; what one alone has lies in its own folder. Knows what each flag may hold, nothing of what is done
//! with it; `plan` makes of these arguments what is meant.

mod measuring;
mod process;
pub mod values;

pub use measuring::MeasuringArguments;
pub use process::ProcessArguments;

use super::blocks::{self, arguments::BlocksArguments};
use super::diff::{self, arguments::DiffArguments};
use super::doctor::arguments::DoctorArguments;
use super::dump::{self, arguments::DumpArguments};
use super::error::shell_word;
use super::record::{self, arguments::RecordArguments};
use super::replay::{self, arguments::ReplayArguments};
use super::table::arguments::{LookArguments, WorkerArguments};
use super::vars::arguments::VarsArguments;
use super::version;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory, Parser, Subcommand};
use std::ffi::OsString;

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
  sudo otop dump --pid 1234              once, where every task runs or waits
  sudo otop --pid 1234 --session-from 'log_context[\"call_id\"]' --session-from task:name
  sudo otop blocks --pid 1234            a line for every block of the loop, as it happens
  sudo otop blocks --pid 1234 --for 60s --fail-on 100ms
  sudo otop record --pid 1234 -o w.svg   a flame graph of 30 s, by session
  otop replay worker.otop                a recording, as if it were live
  otop demo                              start a sample worker and watch it
  otop doctor --pid 1234                 what decides whether this worker can be watched

Exit status:
  0  done
  1  anything that is not named below
  2  the command line is wrong
  3  no such process, or no worker was found
  4  the worker's memory may not be read
  5  not a Python that otop can read, or one without asyncio
  6  the worker ended before there was a figure
  7  --fail-on was met";

#[derive(Debug, Parser)]
#[command(name = "otop", version = version::short(), long_version = version::long(), about = ABOUT, long_about = LONG_ABOUT, after_help = AFTER)]
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
        let given: Vec<OsString> = std::env::args_os().collect();
        Arguments::of(&given).unwrap_or_else(|error| error.exit())
    }

    /// Of a command line that begins with the program's name.
    fn of(given: &[OsString]) -> Result<Arguments, clap::Error> {
        let arguments = Arguments::try_parse_from(given).map_err(|error| misplaced(error, given))?;
        arguments.check()?;
        Ok(arguments)
    }

    /// What no value alone can be wrong in.
    pub fn check(&self) -> Result<(), clap::Error> {
        let (command, checked) = match &self.command {
            Some(Command::Blocks(blocks)) => ("blocks", blocks.process.of_one().and_then(|()| blocks.check())),
            Some(Command::Record(record)) => ("record", record.process.of_one().and_then(|()| record.check())),
            Some(Command::Dump(dump)) => ("dump", dump.process.of_one()),
            Some(Command::Replay(replay)) => ("replay", replay.check()),
            Some(Command::Diff(diff)) => ("diff", diff.check()),
            Some(Command::Doctor(_) | Command::Demo(_) | Command::Vars(_)) => return Ok(()),
            None if self.worker.children && self.worker.process.pid.len() > 1 => {
                ("", Err(Conflict("--children is of one --pid".to_owned())))
            }
            None => return Ok(()),
        };
        checked.map_err(|Conflict(text)| usage_error(command, ErrorKind::ArgumentConflict, text))
    }
}

/// What is wrong with several arguments together, and what would be right.
#[derive(Debug, PartialEq, Eq)]
pub struct Conflict(pub String);

/// In clap's own words, with the usage of the command that was called, and with its exit code.
fn usage_error(command: &str, kind: ErrorKind, text: String) -> clap::Error {
    let mut whole = Arguments::command();
    // Without this a command does not know that it is otop's.
    whole.build();
    let error = |command: &mut clap::Command| command.error(kind, &text);
    match whole.find_subcommand_mut(command) {
        Some(command) => error(command),
        None => error(&mut whole),
    }
}

/// A word behind the table's flags: clap says of each that such a subcommand cannot be used with them. There may be none of
/// that name, and if there is, it only has to stand first.
fn misplaced(mut error: clap::Error, given: &[OsString]) -> clap::Error {
    let Some(ContextValue::String(word)) = error.get(ContextKind::InvalidSubcommand) else {
        return error;
    };
    if error.kind() != ErrorKind::ArgumentConflict {
        return error;
    }
    if Arguments::command().find_subcommand(word).is_none() {
        return usage_error(
            "",
            ErrorKind::InvalidSubcommand,
            format!("unrecognized subcommand '{word}'"),
        );
    }
    let Some(at) = given.iter().rposition(|argument| argument == word.as_str()) else {
        return error;
    };
    let mut moved = given.to_vec();
    let word = moved.remove(at);
    moved.insert(1, word);
    // Not every command has every flag of the table.
    if Arguments::try_parse_from(&moved).is_ok() {
        let words = moved
            .iter()
            .skip(1)
            .map(|argument| shell_word(&argument.to_string_lossy()));
        let line = words.fold("otop".to_owned(), |line, word| line + " " + &word);
        let tip = format!("the subcommand comes first: {line}").into();
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip]));
    }
    error
}

#[derive(Debug, Subcommand)]
pub enum Command {
    #[command(about = blocks::arguments::ABOUT, long_about = blocks::arguments::LONG_ABOUT, after_help = blocks::arguments::AFTER)]
    Blocks(BlocksArguments),
    #[command(about = dump::arguments::ABOUT, long_about = dump::arguments::LONG_ABOUT, after_help = dump::arguments::AFTER)]
    Dump(DumpArguments),
    /// List the contextvars in live tasks, and which would name sessions as a ready --session-from
    Vars(VarsArguments),
    #[command(about = record::arguments::ABOUT, long_about = record::arguments::LONG_ABOUT, after_help = record::arguments::AFTER)]
    Record(RecordArguments),
    #[command(about = replay::arguments::ABOUT, long_about = replay::arguments::LONG_ABOUT, after_help = replay::arguments::AFTER)]
    Replay(ReplayArguments),
    #[command(about = diff::arguments::ABOUT, long_about = diff::arguments::LONG_ABOUT, after_help = diff::arguments::AFTER)]
    Diff(DiffArguments),
    /// Start the bundled sample worker and watch it; without a terminal, print one snapshot
    Demo(LookArguments),
    /// Say everything that decides whether attaching works, and what mends it
    Doctor(DoctorArguments),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(line: &str) -> String {
        let given: Vec<OsString> = line.split(' ').map(OsString::from).collect();
        let error = Arguments::of(&given).expect_err("a wrong command line");
        assert_eq!(error.exit_code(), 2, "{error}");
        error.to_string()
    }

    #[test]
    fn a_word_behind_the_flags_is_no_subcommand_or_has_to_come_first() {
        let unknown = said("otop --pid 7 foo");
        assert!(
            unknown.starts_with("error: unrecognized subcommand 'foo'\n"),
            "{unknown}"
        );
        let misplaced = said("otop --pid 7 dump");
        assert!(
            misplaced.contains("tip: the subcommand comes first: otop dump --pid 7\n"),
            "{misplaced}"
        );
        // Of a flag that it does not have, no command is made.
        let other = said("otop --pid 7 --sort cpu_pct dump");
        assert!(!other.contains("tip:"), "{other}");
    }
}
