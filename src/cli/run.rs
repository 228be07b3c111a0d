//! Carries out a plan: finds or starts the worker, attaches to it, and hands it to the loop that was asked for.

use super::error::CliError;
use super::plan::{Look, Naming, Plan, Shape, Target};
use super::signals::Signals;
use super::socket::Socket;
use super::wire::{self, AttachOptions, Attached, Reading};
use super::worker::Worker;
use super::{doctor, find, json, live, once, output};
use crate::demo::Demo;
use crate::model::{Pid, Report};
use crate::process::{self, privilege};
use crate::source::error::AttachError;
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
    for word in plan.look.words.iter().filter(|_| plan.look.shape != Shape::Live) {
        output::say(word);
    }
    match &plan.target {
        Target::Worker(pid) => worker(*pid, plan, reading)?,
        Target::Socket(path) => socket(path, &plan.look)?,
        Target::Any => {
            let list_on_stdout = !matches!(plan.look.shape, Shape::Json | Shape::OnceJson);
            if let Some(pid) = find::worker(reading, output::has_terminal(), list_on_stdout)? {
                worker(pid, plan, reading)?;
            }
        }
        Target::Doctor { pid, as_json } => doctor::run(*pid, &plan.look, *as_json, reading)?,
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
    let options = attach_options(&plan.naming, &plan.look);
    let attached = attach(pid, &options, reading).map_err(CliError::from)?;
    // The reading threads have begun with what they need to set themselves up.
    privilege::only_read();
    let mut worker = Worker::new(attached, &plan.look);
    match plan.look.shape {
        Shape::Live => live::watch(&mut worker, &plan.look, &Signals::listen()?)?,
        Shape::Json => {
            let mut tell = |report: &Report| output::write(&shown(report, &plan.look));
            json::stream(&mut worker, &plan.look, &Signals::listen()?, &mut tell)?;
        }
        Shape::Once | Shape::OnceJson => {
            let report = once::watch(&mut worker, &plan.look)?;
            output::write(&shown(&report, &plan.look))?;
        }
    }
    Ok(())
}

/// What an attach is told of the command line.
pub fn attach_options(naming: &Naming, look: &Look) -> AttachOptions {
    let Naming {
        session_from,
        agent_from,
        tenant_from,
    } = naming.clone();
    AttachOptions {
        stack_rate_hz: None,
        rate_hz: look.rate_hz,
        session_from,
        agent_from,
        tenant_from,
        own: Vec::new(),
    }
}

/// Attaches. A process that has only just been started may still be the shell that starts it, or an interpreter that is
/// not set up yet; neither is held against it.
pub fn attach(pid: Pid, options: &AttachOptions, reading: &dyn Reading) -> Result<Attached, AttachError> {
    loop {
        let error = match reading.attach(pid, options) {
            Ok(attached) => return Ok(attached),
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
        look.window
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
