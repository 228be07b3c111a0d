//! Carries out a plan: finds or starts the worker, attaches to it, and hands it to the loop that was asked for.

use super::error::CliError;
use super::files::OutputFile;
use super::fleet::{Fleet, Whom};
use super::formats::Format;
use super::plan::{Following, Look, Measuring, Naming, Plan, Recording, Shape, Target, Work};
use super::signals::Signals;
use super::socket::Socket;
use super::values::written;
use super::wire::{self, AttachOptions, Attached, Reading};
use super::worker::Worker;
use super::{blocks, diff, doctor, find, fleet_once, json, live, minutes, once, output, record, replay, vars};
use crate::demo::Demo;
use crate::model::{Block, Origin, Pid, Report};
use crate::process::{self, privilege};
use crate::source::error::AttachError;
use crate::tui::QuitKey;
use std::path::Path;
use std::time::Duration;

/// How long a process may take to become a Python.
const SETTING_UP: Duration = Duration::from_secs(1);

pub fn run(plan: &Plan, reading: &dyn Reading) -> anyhow::Result<()> {
    // A worker's socket is opened by the rights of whoever called.
    if !matches!(plan.target, Target::Socket(_))
        && let Err(error) = privilege::settle()
    {
        output::say(&error.to_string());
    }
    if let Work::Table(look) = &plan.work {
        for word in look.words.iter().filter(|_| look.shape != Shape::Live) {
            output::say(word);
        }
    }
    match &plan.target {
        Target::Worker(pid) => worker(*pid, plan, reading)?,
        Target::Pool(whom) => match &plan.work {
            Work::Table(look) => pool(whom, plan, look, reading)?,
            _ => return Err(CliError::OneWorker.into()),
        },
        Target::Socket(path) => match &plan.work {
            Work::Table(look) => socket(path, look)?,
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
        Target::Recording(path, at) => replay::replay(path, *at, plan)?,
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
        let look = || wire::dump(pid, &options, &dumping.asked, dumping.pause);
        let dump = patiently(pid, look).map_err(CliError::from)?;
        return Ok(output::write(&wire::dump_shown(&dump, dumping.json))?);
    }
    let keeps_all = matches!(&plan.work, Work::Record(wanted) if wanted.format == Format::Otop);
    let options = AttachOptions {
        dumps: keeps_all,
        ..options
    };
    let attached = attach(pid, &options, reading).map_err(CliError::from)?;
    // The reading threads have begun with what they need to set themselves up.
    privilege::only_read();
    let mut worker = Worker::new(attached, measuring);
    match (&plan.work, file) {
        (Work::Table(look), _) => table(&mut worker, look),
        (Work::Blocks(following), _) => follow_blocks(&mut worker, following),
        (Work::Record(wanted), Some(file)) => record_into(file, &mut worker, wanted),
        // Neither is about a worker that is read.
        (Work::Record(_), None) | (Work::Compare(_) | Work::Dump(_), _) => Ok(()),
    }
}

fn record_into(file: OutputFile, worker: &mut Worker, wanted: &Recording) -> anyhow::Result<()> {
    let signals = Signals::listen()?;
    // In a pipeline the keys may be another program's.
    let key = output::has_terminal().then(QuitKey::listen).flatten();
    let mut wants_to_quit = || key.as_ref().is_some_and(QuitKey::was_pressed);
    let origin = origin(worker.pid);
    Ok(record::record(
        worker,
        wanted,
        &origin,
        file,
        &signals,
        &mut wants_to_quit,
    )?)
}

/// What a file says of where it comes from.
pub fn origin(pid: Pid) -> Origin {
    Origin {
        otop: env!("CARGO_PKG_VERSION").to_owned(),
        command: process::command_line(pid).ok().map(|line| process::masked(&line)),
    }
}

/// The table of several workers, or a document of each.
fn pool(whom: &Whom, plan: &Plan, look: &Look, reading: &dyn Reading) -> anyhow::Result<()> {
    let options = attach_options(&plan.naming, &look.measuring);
    let mut fleet = Fleet::open(whom.clone(), options, &look.measuring, reading)?;
    let document = |report: &Report, pss: Option<u64>| wire::member_json(report, &look.options, pss);
    match look.shape {
        Shape::Live => live::watch(&mut fleet, look, &Signals::listen()?)?,
        Shape::Json => {
            let mut tell = |report: &Report, pss| output::write(&document(report, pss));
            fleet_once::stream(&mut fleet, &look.measuring, &Signals::listen()?, &mut tell)?;
        }
        Shape::Once => {
            fleet_once::once(&mut fleet, &look.measuring)?;
            output::write(&shown(&fleet.whole(), look))?;
        }
        Shape::OnceJson => {
            fleet_once::once(&mut fleet, &look.measuring)?;
            for member in fleet.members() {
                output::write(&document(&member.worker.report(), member.pss()))?;
            }
        }
    }
    Ok(())
}

fn table(worker: &mut Worker, look: &Look) -> anyhow::Result<()> {
    match look.shape {
        Shape::Live => {
            worker.keep_last(minutes::ring());
            live::watch(worker, look, &Signals::listen()?)?;
        }
        Shape::Json => {
            let mut tell = |report: &Report| output::write(&shown(report, look));
            json::stream(worker, look, &Signals::listen()?, &mut tell)?;
        }
        Shape::Once | Shape::OnceJson => {
            let report = once::watch(worker, &look.measuring)?;
            output::write(&shown(&report, look))?;
        }
    }
    Ok(())
}

fn follow_blocks(worker: &mut Worker, following: &Following) -> anyhow::Result<()> {
    let signals = Signals::listen()?;
    // In a pipeline the keys may be another program's.
    let key = output::has_terminal().then(QuitKey::listen).flatten();
    if key.is_some() {
        let threshold = written(following.measuring.slow_threshold);
        output::say(&format!(
            "follows blocks of {threshold} and longer in worker {}; q ends",
            worker.pid
        ));
    }
    let mut wants_to_quit = || key.as_ref().is_some_and(QuitKey::was_pressed);
    let mut tell = |event, block: &Block| output::write(&wire::block_line(event, block, following.json));
    Ok(blocks::follow(
        worker,
        following,
        &signals,
        &mut wants_to_quit,
        &mut tell,
    )?)
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
    }
}

/// Attaches.
pub fn attach(pid: Pid, options: &AttachOptions, reading: &dyn Reading) -> Result<Attached, AttachError> {
    patiently(pid, || reading.attach(pid, options))
}

/// Attaches, by `look`. A process that has only just been started may still be the shell that starts it, or an
/// interpreter that is not set up yet; neither is held against it.
fn patiently<T>(pid: Pid, look: impl Fn() -> Result<T, AttachError>) -> Result<T, AttachError> {
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

fn socket(path: &Path, look: &Look) -> anyhow::Result<()> {
    let period = if look.shape == Shape::Json {
        look.measuring.window
    } else {
        look.refresh
    };
    let mut socket = Socket::open(path, period);
    if look.shape == Shape::Live {
        return Ok(live::watch(&mut socket, look, &Signals::listen()?)?);
    }
    let signals = if look.shape == Shape::Json {
        Signals::listen()?
    } else {
        Signals::default()
    };
    loop {
        output::check_open()?;
        if signals.raised() {
            return Ok(());
        }
        let Some(answer) = socket.next() else { continue };
        let text = shown(&answer?, look);
        output::write(&text)?;
        if look.shape != Shape::Json {
            return Ok(());
        }
    }
}

pub fn shown(report: &Report, look: &Look) -> String {
    match look.shape {
        Shape::Once | Shape::Live => wire::text(report, &look.options, output::width(), output::wants_colour()),
        Shape::OnceJson | Shape::Json => wire::json(report, &look.options),
    }
}
