//! Whether the worker is one that otop reads, and how well: attaches, looks for half a second, and says what came of it.
//! Knows nothing of why memory may be read.

use super::failed;
use super::finding::Finding;
use super::machine::{out_of_quota, quota_words};
use crate::cli::error::CliError;
use crate::cli::master;
use crate::cli::plan::Measuring;
use crate::cli::run;
use crate::cli::table::once;
use crate::cli::wire::{self, Examination, Proved, Reading};
use crate::cli::worker::Worker;
use crate::model::{Pid, Report};
use crate::process;
use crate::process::container::Container;
use crate::process::cpu_group::{CpuGroup, Quota};
use crate::source::error::AttachError;

/// From which share of the asked ticks on a rate counts as kept.
const KEPT: f64 = 0.9;

/// What comes after the memory, in order. What is behind a failure is not reached, and says so.
const CHECKS: [&str; 9] = [
    "interpreter",
    "version",
    "layout",
    "asyncio",
    "loops",
    "uvloop",
    "sessions",
    "rate",
    "stacks",
];

/// Attaches and looks; the error is the one that attaching gives.
pub fn look_into(
    pid: Pid,
    measuring: &Measuring,
    reading: &dyn Reading,
    findings: &mut Vec<Finding>,
) -> Result<(), CliError> {
    let mut seen = Vec::new();
    let result = try_it(pid, measuring, reading, &mut seen);
    if let Err(error) = &result
        && let Some(check) = check_of(error)
    {
        // A failure takes the place of what was found before it.
        seen.retain(|finding: &Finding| finding.check != check);
        seen.push(failed(check, error));
    }
    for check in CHECKS {
        if !seen.iter().any(|finding| finding.check == check) {
            seen.push(Finding::unknown(check, "not reached"));
        }
    }
    let place = |finding: &Finding| CHECKS.iter().position(|check| *check == finding.check);
    seen.sort_by_key(place);
    findings.extend(seen);
    result
}

fn try_it(pid: Pid, measuring: &Measuring, reading: &dyn Reading, seen: &mut Vec<Finding>) -> Result<(), CliError> {
    let examination = reading.examine(pid)?;
    seen.extend(of_the_interpreter(&examination));
    let options = run::attach_options(&Default::default(), measuring);
    let throttling = Throttling::begin();
    let attached = run::attach(pid, &options, reading)?;
    let mut worker = Worker::new(attached, measuring);
    let report = once::watch(&mut worker, measuring)?;
    seen.extend(of_the_worker(pid, &examination, &report, &throttling.end()));
    Ok(())
}

/// The check that a failure belongs to; None: it was said already, of the memory or the process.
fn check_of(error: &CliError) -> Option<&'static str> {
    Some(match error {
        CliError::Attach(AttachError::NotPermitted { .. }) => return None,
        CliError::Attach(AttachError::NotPython { .. } | AttachError::OtherArchitecture { .. }) => "interpreter",
        CliError::Attach(
            AttachError::TooOld { .. } | AttachError::Unknown { .. } | AttachError::FreeThreaded { .. },
        ) => "version",
        CliError::Attach(AttachError::LayoutRefused { .. }) => "layout",
        CliError::NoAsyncio(_) => "asyncio",
        CliError::EndedEarly { .. } | CliError::NoFigure { .. } => "rate",
        _ => "interpreter",
    })
}

fn of_the_interpreter(seen: &Examination) -> Vec<Finding> {
    let interpreter = match &seen.interpreter {
        None => Finding::unknown("interpreter", "found in memory, in no file that is mapped"),
        Some(file) => {
            let kind = if file.is_program {
                "the program itself"
            } else {
                "a shared library"
            };
            let gone = match file.deleted {
                true => "; the file was deleted or replaced since, and is read from memory",
                false => "",
            };
            Finding::ok("interpreter", format!("{} ({kind}){gone}", file.path.display()))
        }
    };
    let layout = match seen.proved {
        Proved::Whole => Finding::ok("layout", "verified"),
        Proved::InPart => Finding::ok(
            "layout",
            "verified as far as there is something to verify it by: no loop runs, or no task lives, yet",
        ),
        Proved::WithoutAsyncio => Finding::ok("layout", "the interpreter's is verified; asyncio's cannot be yet"),
    };
    vec![
        interpreter,
        Finding::ok("version", format!("Python {}", seen.python)),
        layout,
    ]
}

/// What otop's control group kept from it while it looked.
#[derive(Default)]
struct Throttling {
    quota: Option<Quota>,
    /// So often, since the machine started or while otop looked.
    times: u64,
}

impl Throttling {
    fn begin() -> Throttling {
        let quota = CpuGroup::own().quota();
        let times = quota.as_ref().and_then(Quota::throttled).unwrap_or(0);
        Throttling { quota, times }
    }

    fn end(self) -> Throttling {
        let now = self.quota.as_ref().and_then(Quota::throttled).unwrap_or(0);
        Throttling {
            times: now.saturating_sub(self.times),
            ..self
        }
    }

    /// Why less came than was asked for, and what mends that; None: it was not this.
    fn cause(&self) -> Option<(String, Vec<String>)> {
        let quota = self.quota.as_ref().filter(|_| self.times > 0)?;
        let fact = format!(
            "{}, and had used that up {} times meanwhile",
            quota_words(quota),
            self.times
        );
        Some((fact, out_of_quota(quota, Container::here())))
    }
}

fn of_the_worker(pid: Pid, seen: &Examination, report: &Report, throttling: &Throttling) -> Vec<Finding> {
    let worker = &report.worker;
    let asyncio = Finding::ok("asyncio", "imported");
    let loops = match worker.loops.as_slice() {
        [] => match master::hint(pid, report) {
            Some((fact, way)) => Finding::limited("loops", fact, vec![way]),
            None => Finding::limited("loops", "asyncio is imported, and no loop runs", Vec::new()),
        },
        loops => {
            let each = loops.iter().map(|one| match (one.tid, &one.thread) {
                (Some(tid), Some(name)) => format!("{} in thread {tid} ({name})", one.kind),
                _ => one.kind.clone(),
            });
            Finding::ok("loops", each.collect::<Vec<_>>().join(", "))
        }
    };
    let uvloop = match &seen.uvloop {
        Some(version) => Finding::ok("uvloop", version.chars().take(40).collect::<String>()),
        None => Finding::ok("uvloop", "not imported"),
    };
    vec![
        asyncio,
        loops,
        uvloop,
        sessions(pid, report),
        rate(pid, report, throttling),
        stacks(pid, report, throttling),
    ]
}

fn sessions(pid: Pid, report: &Report) -> Finding {
    let worker = &report.worker;
    let named = match worker.session_from.as_deref() {
        Some(rule) => format!("by {rule}"),
        None => "and nothing that names any was met".to_owned(),
    };
    if !worker.loops.is_empty()
        && let Some((fact, way)) = master::hint(pid, report)
    {
        return Finding::limited("sessions", fact, vec![way]);
    }
    match worker.active_sessions {
        Some(0) | None => Finding::limited(
            "sessions",
            format!("none now, {named}"),
            vec![format!("otop vars --pid {pid} (what else would name sessions)")],
        ),
        Some(count) => Finding::ok("sessions", format!("{count} now, {named}")),
    }
}

fn rate(pid: Pid, report: &Report, throttling: &Throttling) -> Finding {
    let quality = &report.quality;
    let cpus = match (wire::reach(Some(pid)).worker_cpus, process::cpus_allowed(pid)) {
        (Some(false), Some(cpus)) => format!("; otop may not run on the worker's CPU {cpus}"),
        (_, Some(cpus)) => format!("; the worker may use CPU {cpus}"),
        _ => String::new(),
    };
    let fact = format!(
        "{:.0} of {:.0} samples a second came, {} torn, {} unreadable{cpus}",
        quality.hz_got, quality.hz_asked, quality.torn, quality.unreadable
    );
    let fewer = format!("otop --pid {pid} --rate {:.0}", quality.hz_got.max(1.0));
    kept(
        "rate",
        fact,
        quality.hz_got >= KEPT * quality.hz_asked,
        fewer,
        throttling,
    )
}

fn stacks(pid: Pid, report: &Report, throttling: &Throttling) -> Finding {
    let quality = &report.quality;
    let (Some(asked), Some(got)) = (quality.stack_hz_asked, quality.stack_hz_got) else {
        return Finding::unknown("stacks", "none were taken");
    };
    let fact = match &quality.stack_mode {
        Some(mode) => format!("{got:.0} of {asked:.0} a second came, {mode}"),
        None => format!("{got:.0} of {asked:.0} a second came"),
    };
    let fewer = format!("otop --pid {pid} --stack-rate {:.0}", got.max(1.0));
    kept("stacks", fact, got >= KEPT * asked, fewer, throttling)
}

/// `fewer`: what asks for no more than came.
fn kept(check: &'static str, fact: String, is_kept: bool, fewer: String, throttling: &Throttling) -> Finding {
    match (is_kept, throttling.cause()) {
        (true, _) => Finding::ok(check, fact),
        (false, None) => Finding::limited(check, fact, vec![fewer]),
        (false, Some((cause, ways))) => {
            let ways = ways.into_iter().chain([fewer]).collect();
            Finding::limited(check, format!("{fact}; {cause}"), ways)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::finding::Verdict;

    #[test]
    fn what_the_quota_kept_from_otop_is_named_and_mended_first() {
        let quota = Quota {
            cpus: 0.05,
            file: "/g/a/cpu.max".into(),
            text: "5000 of 100000 µs".to_owned(),
            none: "max",
            outside: None,
        };
        let of = |times: u64, is_kept: bool| {
            let throttling = Throttling {
                quota: Some(quota.clone()),
                times,
            };
            kept(
                "rate",
                "532 of 1000".to_owned(),
                is_kept,
                "--rate 532".to_owned(),
                &throttling,
            )
        };
        let throttled = of(9, false);
        assert!(
            throttled.fact.contains("/g/a/cpu.max: 5000 of 100000 µs"),
            "{throttled:?}"
        );
        assert!(throttled.fact.contains("9 times"), "{throttled:?}");
        assert_ne!(throttled.mend.first().map(String::as_str), Some("--rate 532"));
        assert_eq!(throttled.mend.last().map(String::as_str), Some("--rate 532"));
        // It had enough: then the machine was too slow.
        assert_eq!(of(0, false).fact, "532 of 1000");
        assert_eq!(of(9, true).verdict, Verdict::Ok);
    }
}
