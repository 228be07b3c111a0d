//! Where the two towers meet: what `cli` asks of the reading side and of the explaining side, in one file. Everything else
//! here is written against these names.

use super::record::formats::Format;
use crate::export::block_line::{self, BlockEvent};
use crate::model::{Block, Dump, DumpAsked, DumpRecorded, Hello, Observation, Origin, OwnCode, Pid, Report};
use crate::sampler;
use crate::source;
use crate::source::error::AttachError;
use crate::view::Options;
use std::any::Any;
use std::sync::mpsc::Receiver;

pub use crate::analysis::pool::{Peaks, Watched, merge};
pub use crate::analysis::{By, Emergency, Engine, Mode, Narrow, Profile, Settings, TICKS_IN_A_BLOCK, Wanted};
pub use crate::sampler::{AttachOptions, Dumped, NoInterrupts, Probe, Reach, Variables, may_interrupt, reach};
pub use crate::source::{Examination, Proved};

/// A worker that is being read.
pub struct Attached {
    pub hello: Hello,
    pub observations: Receiver<Observation>,
    /// What is to be said of the options, a line each.
    pub notes: Vec<String>,
    /// Reading ends when this is dropped.
    pub stop: Box<dyn Any>,
}

/// The reading side, as far as `cli` needs it; tests put scripted workers in its place.
pub trait Reading {
    fn attach(&self, pid: Pid, options: &AttachOptions) -> Result<Attached, AttachError>;
    fn probe(&self, pid: Pid) -> Result<Probe, AttachError>;
    fn variables(&self, pid: Pid) -> Result<Variables, AttachError>;
    /// What an attach finds in it, for the doctor.
    fn examine(&self, pid: Pid) -> Result<Examination, AttachError>;
}

/// Processes of this machine.
pub struct Machine;

impl Reading for Machine {
    fn attach(&self, pid: Pid, options: &AttachOptions) -> Result<Attached, AttachError> {
        let sampler::Attached {
            hello,
            observations,
            notes,
            stop,
        } = sampler::attach(pid, options)?;
        Ok(Attached {
            hello,
            observations,
            notes,
            stop: Box::new(stop),
        })
    }

    fn probe(&self, pid: Pid) -> Result<Probe, AttachError> {
        sampler::probe(pid)
    }

    fn variables(&self, pid: Pid) -> Result<Variables, AttachError> {
        sampler::variables(pid)
    }

    fn examine(&self, pid: Pid) -> Result<Examination, AttachError> {
        source::examine(pid)
    }
}

/// The table of one report as text.
pub fn text(report: &Report, options: &Options, width: Option<usize>, colour: bool) -> String {
    crate::export::text::render(report, options, width, colour)
}

/// One report of a pool's worker: the same, with its proportional set size beside `rss_mb`.
pub fn member_json(report: &Report, options: &Options, pss_bytes: Option<u64>) -> String {
    let mut line = crate::export::json::render_member(report, options, pss_bytes);
    line.push('\n');
    line
}

/// One report as a line of JSON, with its line feed.
pub fn json(report: &Report, options: &Options) -> String {
    let mut line = crate::export::json::render(report, options);
    line.push('\n');
    line
}

/// One look at everything in a worker.
pub fn dump(pid: Pid, options: &AttachOptions, asked: &DumpAsked) -> Result<Option<Dumped>, AttachError> {
    sampler::dump(pid, options, asked)
}

/// A dump of a recording, taken `at_s` seconds into it, as it is shown at an instant that is `age_s` later.
pub fn dump_of_then(dump: &Dump, (at_s, age_s): (f64, f64), asked: &DumpAsked, own: &OwnCode) -> Dump {
    let mut dump = dump.clone().narrowed(asked);
    dump.judge_own(own);
    dump.recorded = Some(DumpRecorded { at_s, age_s });
    dump
}

/// A dump as a tree, or as a line of JSON, with its line feed.
pub fn dump_shown(dump: &Dump, as_json: bool) -> String {
    match as_json {
        true => crate::export::dump::json(dump) + "\n",
        false => crate::export::dump::text(dump),
    }
}

/// One event of a block as a line, with its line feed.
pub fn block_line(event: BlockEvent, block: &Block, as_json: bool) -> String {
    let mut line = match as_json {
        true => block_line::json(event, block),
        false => block_line::text(event, block),
    };
    line.push('\n');
    line
}

/// A profile as a file's bytes.
pub fn profile(profile: &Profile, origin: &Origin, format: Format) -> std::io::Result<Vec<u8>> {
    use crate::export::{firefox, flamegraph, folded, pprof, speedscope};
    Ok(match format {
        Format::Flamegraph => flamegraph::render(profile, origin)?,
        Format::Folded => folded::render(profile, origin),
        Format::Speedscope => speedscope::render(profile, origin),
        Format::Firefox => firefox::render(profile, origin),
        Format::Pprof => pprof::render(profile, origin)?,
        Format::Otop => return Err(std::io::Error::other("a recording is not made of a profile")),
    })
}
