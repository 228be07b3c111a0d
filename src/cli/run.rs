//! Carries out a plan: finds or starts the worker, attaches to it, and hands it to the loop that was asked for.

use super::error::CliError;
use super::files::OutputFile;
use super::plan::{Measuring, Naming, Plan, Target, Work};
use super::record::formats::Format;
use super::table::plan::Shape;
use super::wire::{AttachOptions, Attached, Reading};
use super::worker::Worker;
use super::{blocks, diff, doctor, dump, find, output, record, replay, table, vars};
use crate::demo::Demo;
use crate::model::Pid;
use crate::process::{self, privilege};
use crate::source::error::AttachError;
use std::time::Duration;

/// How long a process may take to become a Python.
const SETTING_UP: Duration = Duration::from_secs(1);

pub fn run(plan: &Plan, reading: &dyn Reading) -> anyhow::Result<()> {
    // A worker's socket is opened by the rights of whoever called.
    if !matches!(plan.target, Target::Socket(_))
        && let Err(error) = privilege::settle(plan.work.may_write())
    {
        output::say(&match error.remedy() {
            Some(remedy) => format!("{error}; try: {remedy}"),
            None => error.to_string(),
        });
    }
    if let Work::Table(look) = &plan.work {
        for word in look.words.iter().filter(|_| look.shape != Shape::Live) {
            output::say(word);
        }
    }
    match &plan.target {
        Target::Worker(pid) => worker(*pid, plan, reading)?,
        Target::Pool(whom) => match &plan.work {
            Work::Table(look) => table::of_pool(whom, plan, look, reading)?,
            // clap lets no second process pass beside these commands.
            Work::Blocks(_) | Work::Record(_) | Work::Dump(_) | Work::Compare(_) => {}
        },
        Target::Socket(path) => match &plan.work {
            Work::Table(look) => table::of_socket(path, look)?,
            // clap lets no socket pass beside these commands.
            Work::Blocks(_) | Work::Record(_) | Work::Dump(_) | Work::Compare(_) => {}
        },
        Target::Any => {
            let list_on_stdout = match &plan.work {
                Work::Table(look) => !matches!(look.shape, Shape::Json | Shape::OnceJson),
                Work::Blocks(_) | Work::Record(_) | Work::Compare(_) => false,
                Work::Dump(dumping) => !dumping.json,
            };
            if let Some(pid) = find::worker(reading, output::has_terminal(), list_on_stdout)? {
                worker(pid, plan, reading)?;
            }
        }
        Target::Difference => {
            if let Work::Compare(comparing) = &plan.work {
                diff::diff(comparing)?;
            }
        }
        Target::Recording(path, at, judged) => replay::replay(path, *at, judged, &plan.work)?,
        Target::Vars { pid, listing } => {
            let found = match pid {
                Some(pid) => Some(*pid),
                None => find::worker(reading, output::has_terminal(), !listing.json)?,
            };
            if let Some(pid) = found {
                process::whole_process(pid)
                    .map_err(AttachError::from)
                    .map_err(CliError::from)?;
                vars::list(pid, listing, reading)?;
            }
        }
        Target::Doctor { pid, as_json } => doctor::run(*pid, plan.work.measuring(), *as_json, reading)?,
        Target::Demo => {
            let demo = Demo::start().map_err(CliError::from)?;
            worker(demo.pid(), plan, reading)?;
        }
    }
    Ok(())
}

fn worker(pid: Pid, plan: &Plan, reading: &dyn Reading) -> anyhow::Result<()> {
    process::whole_process(pid)
        .map_err(AttachError::from)
        .map_err(CliError::from)?;
    // Before anything is sampled: what cannot be written need not be.
    let file = match &plan.work {
        Work::Record(wanted) => Some(OutputFile::open(&wanted.path, wanted.may_replace).map_err(CliError::from)?),
        Work::Table(_) | Work::Blocks(_) | Work::Dump(_) | Work::Compare(_) => None,
    };
    let measuring = plan.work.measuring();
    let options = attach_options(&plan.naming, measuring);
    if let Work::Dump(dumping) = &plan.work {
        return Ok(dump::show(pid, &options, dumping)?);
    }
    let keeps_all = matches!(&plan.work, Work::Record(wanted) if wanted.format == Format::Otop);
    let options = AttachOptions {
        dumps: keeps_all,
        ..options
    };
    let attached = attach(pid, &options, reading).map_err(CliError::from)?;
    attached.notes.iter().for_each(|note| output::say(note));
    // The reading threads have begun with what they need to set themselves up.
    privilege::is_set_up();
    let mut worker = Worker::new(attached, measuring);
    match (&plan.work, file) {
        (Work::Table(look), _) => table::of_worker(&mut worker, look),
        (Work::Blocks(following), _) => blocks::show(&mut worker, following),
        (Work::Record(wanted), Some(file)) => record::into_file(file, &mut worker, wanted),
        // Neither is about a worker that is read.
        (Work::Record(_), None) | (Work::Compare(_) | Work::Dump(_), _) => Ok(()),
    }
}

/// What an attach is told of the command line.
pub fn attach_options(naming: &Naming, measuring: &Measuring) -> AttachOptions {
    let Naming {
        session_from,
        agent_from,
        tenant_from,
    } = naming.clone();
    AttachOptions {
        rate_hz: measuring.rate_hz,
        stack_rate_hz: Some(measuring.stack_rate_hz),
        session_from,
        agent_from,
        tenant_from,
        own: measuring.own.clone(),
        dumps: false,
        interrupts: (!measuring.bpf).then_some(false),
        pauses: measuring.pauses,
    }
}

/// Attaches.
pub fn attach(pid: Pid, options: &AttachOptions, reading: &dyn Reading) -> Result<Attached, AttachError> {
    patiently(pid, || reading.attach(pid, options))
}

/// Attaches, by `look`. A process that has only just been started may still be the shell that starts it, or an
/// interpreter that is not set up yet; neither is held against it.
pub fn patiently<T>(pid: Pid, look: impl Fn() -> Result<T, AttachError>) -> Result<T, AttachError> {
    loop {
        let error = match look() {
            Ok(looked) => return Ok(looked),
            Err(error) => error,
        };
        let may_pass = matches!(
            error,
            AttachError::NotPython { .. }
                | AttachError::Unknown { .. }
                | AttachError::LayoutRefused { .. }
                | AttachError::Io { .. }
        );
        let is_young = || process::uptime(pid).is_ok_and(|uptime| uptime < SETTING_UP);
        if !may_pass || !is_young() {
            return Err(error);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}
