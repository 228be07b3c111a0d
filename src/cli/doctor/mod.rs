//! `otop doctor`: everything that decides whether attaching works, each with a verdict, the fact that shows it and the
//! line that mends it. The words and codes of a failure are `error`'s, here as everywhere. Attaches as every command does,
//! for half a second, and so knows what an attach would give.

mod access;
pub mod arguments;
mod finding;
mod inside;
mod machine;

use crate::cli::error::{CliError, Exit};
use crate::cli::plan::Measuring;
use crate::cli::wire::Reading;
use crate::cli::{find, output};
use crate::model::Pid;
use crate::process;
use crate::source::error::AttachError;
use finding::{Diagnosis, Finding};

/// Prints what was found out; a worker that cannot be watched is an error that has been said.
pub fn run(pid: Option<Pid>, measuring: &Measuring, as_json: bool, reading: &dyn Reading) -> Result<(), CliError> {
    let diagnosis = diagnose(pid, measuring, reading);
    let text = if as_json { diagnosis.json() } else { diagnosis.text() };
    output::write(&text)?;
    match diagnosis.exit {
        Exit::Done => Ok(()),
        exit => Err(CliError::Diagnosed(exit)),
    }
}

fn diagnose(pid: Option<Pid>, measuring: &Measuring, reading: &dyn Reading) -> Diagnosis {
    let mut findings = machine::findings();
    let exit = match pid {
        Some(pid) => worker(pid, measuring, reading, &mut findings),
        None => {
            findings.extend(machine::rules());
            workers(reading, &mut findings)
        }
    };
    Diagnosis { pid, findings, exit }
}

/// Which workers there are, as `otop` alone would find them.
fn workers(reading: &dyn Reading, findings: &mut Vec<Finding>) -> Exit {
    let census = find::census(reading);
    let count = |n: usize, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
    let fact = format!(
        "{} found, {} that this user may not read",
        count(census.workers, "asyncio worker"),
        count(census.unreadable.count, "Python process").replace("processs", "processes")
    );
    if census.workers > 0 {
        findings.push(Finding::ok("workers", fact));
        return Exit::Done;
    }
    let error = find::none(census.unreadable);
    findings.push(failed("workers", &error));
    error.exit()
}

fn worker(pid: Pid, measuring: &Measuring, reading: &dyn Reading, findings: &mut Vec<Finding>) -> Exit {
    if let Err(error) = process::whole_process(pid) {
        let error = CliError::from(AttachError::from(error));
        findings.push(failed("process", &error));
        return error.exit();
    }
    findings.push(access::what_it_is(pid));
    access::gates(pid, findings);
    match inside::look_into(pid, measuring, reading, findings) {
        Ok(()) => Exit::Done,
        Err(error) => error.exit(),
    }
}

/// A failure in the words that every command has for it.
fn failed(check: &'static str, error: &CliError) -> Finding {
    Finding::no(check, error.to_string(), error.remedies())
}
