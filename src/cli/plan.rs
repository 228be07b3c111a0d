//! Typed arguments → meant arguments: what to watch, and what to make of it. Here is what all commands share; what one
//! alone means lies in its own folder. Decides, and does nothing.

use super::arguments::values;
use super::arguments::{Arguments, Command, MeasuringArguments, ProcessArguments};
use super::blocks::plan::Following;
use super::diff::plan::Comparing;
use super::doctor::arguments::DoctorArguments;
use super::dump::plan::Dumping;
use super::fleet::Whom;
use super::record::plan::Recording;
use super::table::plan::{Look, Shape};
use super::vars::Listing;
use super::vars::arguments::VarsArguments;
use super::{blocks, diff, dump, record, replay, table};
use crate::identity::Spec;
use crate::model::{Judging, Nanos, Pid};
use crate::view::Options;
use std::path::PathBuf;
use std::time::Duration;

/// What a table's percentages are about and how long a session stays slow in it, where nobody asks: no block depends on
/// them.
pub const WINDOW: Duration = Duration::from_secs(1);
pub const SLOW_WINDOW: Duration = Duration::from_secs(5);
/// From which length on a block is one, where nobody asks.
pub const SLOW_THRESHOLD: Duration = Duration::from_millis(50);

#[derive(Debug)]
pub struct Plan {
    pub target: Target,
    pub naming: Naming,
    pub work: Work,
}

/// What is made of the worker.
#[derive(Clone, Debug)]
pub enum Work {
    /// The table, live or once, or its document.
    Table(Look),
    /// A line for each block.
    Blocks(Following),
    /// Where every task is, once.
    Dump(Dumping),
    /// A file.
    Record(Recording),
    /// A table of what has changed.
    Compare(Comparing),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    Worker(Pid),
    /// The only asyncio worker of this machine, or the one that is picked.
    Any,
    /// Several workers in one table.
    Pool(Whom),
    Socket(PathBuf),
    /// A recording, how far into it, and how it is to be judged.
    Recording(PathBuf, Option<Duration>, Judged),
    /// Recordings that are compared.
    Difference,
    Demo,
    /// The contextvars of this process, or of the only worker.
    Vars {
        pid: Option<Pid>,
        listing: Listing,
    },
    /// What decides whether attaching works, to this process or to any.
    Doctor {
        pid: Option<Pid>,
        as_json: bool,
    },
}

/// What names sessions, agents and tenants; empty: what is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Naming {
    pub session_from: Vec<Spec>,
    pub agent_from: Vec<Spec>,
    pub tenant_from: Vec<Spec>,
}

/// How the worker is read and judged, whatever is made of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Measuring {
    /// Samples of session and step a second.
    pub rate_hz: f64,
    /// Full stacks a second.
    pub stack_rate_hz: f64,
    /// A BPF program may be used to read them.
    pub bpf: bool,
    /// Places whose files are own code, besides those that are so anyway.
    pub own: Vec<String>,
    pub window: Duration,
    pub slow_threshold: Duration,
    pub slow_window: Duration,
    /// Stop the worker for each walk over its tasks.
    pub pauses: bool,
}

/// How a recording is to be judged, as far as it was said; else as it was when it was made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Judged {
    pub slow_threshold: Option<Duration>,
    pub slow_window: Option<Duration>,
    pub own: Vec<String>,
}

impl Judged {
    /// What counts then. The recording is anybody's: it is followed as far as one could have asked for the same.
    pub fn settle(&self, recorded: Option<&Judging>, measuring: &mut Measuring) {
        let then = |time: Nanos| Duration::from(time);
        let threshold = recorded.map(|judging| values::SLOW_THRESHOLD.nearest(then(judging.slow_threshold)));
        let window = recorded.map(|judging| values::SLOW_WINDOW.nearest(then(judging.slow_window)));
        let own = recorded.map_or(&[][..], |judging| &judging.own);
        let own = if self.own.is_empty() { own } else { &self.own };
        if let Some(threshold) = self.slow_threshold.or(threshold) {
            measuring.slow_threshold = threshold;
        }
        if let Some(window) = self.slow_window.or(window) {
            measuring.slow_window = window;
        }
        measuring.own = own
            .iter()
            .filter(|prefix| values::prefix(prefix).is_ok())
            .cloned()
            .collect();
    }
}

impl Work {
    pub fn measuring_mut(&mut self) -> &mut Measuring {
        match self {
            Work::Table(look) => &mut look.measuring,
            Work::Blocks(following) => &mut following.measuring,
            Work::Record(recording) => &mut recording.measuring,
            Work::Dump(dumping) => &mut dumping.measuring,
            Work::Compare(comparing) => &mut comparing.measuring,
        }
    }

    /// A file may be written: one that was named, or that key w will.
    pub fn may_write(&self) -> bool {
        match self {
            Work::Table(look) => look.shape == Shape::Live,
            Work::Record(_) => true,
            Work::Compare(comparing) => comparing.output.is_some(),
            Work::Blocks(_) | Work::Dump(_) => false,
        }
    }

    pub fn measuring(&self) -> &Measuring {
        match self {
            Work::Table(look) => &look.measuring,
            Work::Blocks(following) => &following.measuring,
            Work::Record(recording) => &recording.measuring,
            Work::Dump(dumping) => &dumping.measuring,
            Work::Compare(comparing) => &comparing.measuring,
        }
    }
}

/// `has_terminal`: somebody can look at a live table and press keys.
pub fn plan(arguments: Arguments, has_terminal: bool) -> Plan {
    match arguments.command {
        Some(Command::Doctor(DoctorArguments { pid, json: as_json })) => no_table(Target::Doctor {
            pid: pid.map(Pid),
            as_json,
        }),
        Some(Command::Vars(VarsArguments { pid, values, json })) => no_table(Target::Vars {
            pid: pid.map(Pid),
            listing: Listing { values, json },
        }),
        Some(Command::Demo(look)) => table::plan::demo(look, has_terminal),
        Some(Command::Blocks(arguments)) => blocks::plan::plan(arguments),
        Some(Command::Dump(arguments)) => dump::plan::plan(arguments),
        Some(Command::Record(arguments)) => record::plan::plan(arguments),
        Some(Command::Replay(arguments)) => replay::plan::plan(arguments, has_terminal),
        Some(Command::Diff(arguments)) => diff::plan::plan(arguments),
        None => table::plan::plan(arguments.worker, arguments.look, has_terminal),
    }
}

/// Which worker, and what names the sessions in it.
pub fn process(arguments: ProcessArguments) -> (Target, Naming) {
    let ProcessArguments {
        pid,
        session_from,
        agent_from,
        tenant_from,
    } = arguments;
    let naming = Naming {
        session_from,
        agent_from,
        tenant_from,
    };
    let target = match pid.as_slice() {
        [] => Target::Any,
        [pid] => Target::Worker(Pid(*pid)),
        several => Target::Pool(Whom::Named(several.iter().copied().map(Pid).collect())),
    };
    (target, naming)
}

pub fn measuring(arguments: MeasuringArguments, window: Duration, slow_window: Duration) -> Measuring {
    Measuring {
        rate_hz: arguments.rate,
        stack_rate_hz: arguments.stack_rate,
        bpf: !arguments.no_bpf,
        own: arguments.own,
        window,
        slow_threshold: arguments.slow_threshold.unwrap_or(SLOW_THRESHOLD),
        slow_window,
        pauses: false,
    }
}

/// How long the doctor looks at a worker: long enough for a rate, short enough for a person who waits.
const DOCTORS_LOOK: Duration = Duration::from_millis(500);

/// A plan with all defaults, for what shows no table.
fn no_table(target: Target) -> Plan {
    let look = Look {
        shape: Shape::Once,
        options: Options::default(),
        refresh: Duration::from_secs(1),
        measuring: Measuring {
            rate_hz: 1000.0,
            stack_rate_hz: 100.0,
            bpf: true,
            own: Vec::new(),
            window: DOCTORS_LOOK,
            slow_threshold: SLOW_THRESHOLD,
            slow_window: SLOW_WINDOW,
            pauses: false,
        },
        words: Vec::new(),
    };
    Plan {
        target,
        naming: Naming::default(),
        work: Work::Table(look),
    }
}
