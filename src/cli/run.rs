//! Carries out a plan: finds or starts the worker, attaches to it, and hands it to the loop that was asked for.

use super::error::CliError;
use super::plan::{Following, Look, Measuring, Naming, Plan, Shape, Target, Work};
use super::signals::Signals;
use super::socket::Socket;
use super::values::written;
use super::wire::{self, AttachOptions, Reading};
use super::worker::Worker;
use super::{blocks, find, json, live, once, output};
use crate::demo::Demo;
use crate::model::{Block, Pid, Report};
use crate::process;
use crate::source::error::AttachError;
use crate::tui::QuitKey;
use std::path::Path;
use std::time::Duration;

/// How long a process may take to become a Python.
const SETTING_UP: Duration = Duration::from_secs(1);

pub fn run(plan: &Plan, reading: &dyn Reading) -> anyhow::Result<()> {
    if let Work::Table(look) = &plan.work {
        for word in look.words.iter().filter(|_| look.shape != Shape::Live) {
            output::say(word);
        }
    }
    match &plan.target {
        Target::Worker(pid) => worker(*pid, plan, reading)?,
        Target::Socket(path) => match &plan.work {
            Work::Table(look) => socket(path, look)?,
            // clap lets no socket pass beside these commands.
            Work::Blocks(_) | Work::Dump(_) => {}
        },
        Target::Any => {
            let list_on_stdout = match &plan.work {
                Work::Table(look) => !matches!(look.shape, Shape::Json | Shape::OnceJson),
                Work::Blocks(_) => false,
                Work::Dump(dumping) => !dumping.json,
            };
            if let Some(pid) = find::worker(reading, output::has_terminal(), list_on_stdout)? {
                worker(pid, plan, reading)?;
            }
        }
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
    let Naming {
        session_from,
        agent_from,
        tenant_from,
    } = plan.naming.clone();
    let options = |measuring: Option<&Measuring>, own: &[String]| AttachOptions {
        rate_hz: measuring.map_or(0.0, |measuring| measuring.rate_hz),
        stack_rate_hz: measuring.map(|measuring| measuring.stack_rate_hz),
        session_from: session_from.clone(),
        agent_from: agent_from.clone(),
        tenant_from: tenant_from.clone(),
        own: own.to_vec(),
    };
    let watched = |measuring: &Measuring| -> anyhow::Result<Worker> {
        let options = options(Some(measuring), &measuring.own);
        let attached = patiently(pid, || reading.attach(pid, &options)).map_err(CliError::from)?;
        Ok(Worker::new(attached, measuring))
    };
    match &plan.work {
        Work::Table(look) => table(&mut watched(&look.measuring)?, look),
        Work::Blocks(following) => follow_blocks(&mut watched(&following.measuring)?, following),
        Work::Dump(dumping) => {
            let options = options(None, &dumping.own);
            let look = || wire::dump(pid, &options, &dumping.asked, dumping.pause);
            let dump = patiently(pid, look).map_err(CliError::from)?;
            Ok(output::write(&wire::dump_shown(&dump, dumping.json))?)
        }
    }
}

fn table(worker: &mut Worker, look: &Look) -> anyhow::Result<()> {
    match look.shape {
        Shape::Live => live::watch(worker, look, &Signals::listen()?)?,
        Shape::Json => {
            let mut tell = |report: &Report| output::write(&shown(report, look));
            json::stream(worker, look, &Signals::listen()?, &mut tell)?;
        }
        Shape::Once | Shape::OnceJson => {
            let report = once::watch(worker, look)?;
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

fn shown(report: &Report, look: &Look) -> String {
    match look.shape {
        Shape::Once | Shape::Live => wire::text(report, &look.options, output::width(), output::wants_colour()),
        Shape::OnceJson | Shape::Json => wire::json(report, &look.options),
    }
}
