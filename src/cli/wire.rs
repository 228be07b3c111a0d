//! Where the two towers meet: what `cli` asks of the reading side and of the explaining side, in one file. Everything else
//! here is written against these names.

use crate::model::{Hello, Observation, Pid, Report};
use crate::source::error::AttachError;
use crate::view::Options;
use std::any::Any;
use std::sync::mpsc::Receiver;

pub use crate::analysis::{Engine, Settings};

/// What the reading side is told.
#[derive(Clone, Debug, PartialEq)]
pub struct AttachOptions {
    pub rate_hz: f64,
    pub session_from: Option<String>,
    pub agent_from: Option<String>,
    pub tenant_from: Option<String>,
}

/// A worker that is being read.
pub struct Attached {
    pub hello: Hello,
    pub observations: Receiver<Observation>,
    /// Reading ends when this is dropped.
    pub stop: Box<dyn Any>,
}

/// What can be learned of a process in passing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// `3.12.1`.
    pub python: String,
    /// None: no loop runs in it.
    pub loop_kind: Option<String>,
    pub sessions: usize,
}

/// The reading side, as far as `cli` needs it; tests put scripted workers in its place.
pub trait Reading {
    fn attach(&self, pid: Pid, options: &AttachOptions) -> Result<Attached, AttachError>;
    fn probe(&self, pid: Pid) -> Result<Probe, AttachError>;
}

/// The table of one report as text.
pub fn text(report: &Report, options: &Options, width: Option<usize>, colour: bool) -> String {
    crate::export::text::render(report, options, width, colour)
}

/// One report as a line of JSON, with its line feed.
pub fn json(report: &Report, options: &Options) -> String {
    let mut line = crate::export::json::render(report, options);
    line.push('\n');
    line
}

/// The reading side of this build.
pub struct Worker;

impl Reading for Worker {
    fn attach(&self, pid: Pid, options: &AttachOptions) -> Result<Attached, AttachError> {
        let _ = (pid, options);
        todo!("crate::source::attach")
    }

    fn probe(&self, pid: Pid) -> Result<Probe, AttachError> {
        let _ = pid;
        todo!("crate::source::probe")
    }
}
