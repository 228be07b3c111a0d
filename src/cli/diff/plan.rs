//! What the arguments of `otop diff` mean. Decides, and does nothing.

use super::arguments::DiffArguments;
use crate::cli::plan::{Judged, Measuring, Naming, Plan, SLOW_THRESHOLD, SLOW_WINDOW, Target, WINDOW, Work};
use crate::cli::record::formats::Format;
use crate::cli::wire::{By, Narrow, Wanted};
use std::path::PathBuf;

/// `otop diff`.
#[derive(Clone, Debug)]
pub struct Comparing {
    /// Before and after: a recording, and what of it.
    pub sides: [(PathBuf, Wanted); 2],
    /// A file, whether it may be replaced, and its format.
    pub output: Option<(PathBuf, bool, Format)>,
    /// Functions to show.
    pub top: usize,
    pub measuring: Measuring,
    pub judged: Judged,
}

pub fn plan(arguments: DiffArguments) -> Plan {
    let side = |session: Option<String>, but| Wanted {
        mode: arguments.mode.into(),
        // Sessions of two recordings have different ids: it is functions that are compared.
        by: By::None,
        narrow: Narrow {
            session,
            but,
            ..Narrow::default()
        },
    };
    // What is looked at is what has changed: red is what the session has more of.
    let after = side(arguments.session.clone(), false);
    let before = match arguments.against_rest {
        true => side(arguments.session.clone(), true),
        false => side(arguments.against.clone(), false),
    };
    let after_path = arguments.after.clone().unwrap_or_else(|| arguments.before.clone());
    let output = arguments.output.clone();
    let comparing = Comparing {
        // Without a format clap has ended it.
        output: output.map(|path| {
            let format = Format::of(&path).unwrap_or(Format::Flamegraph);
            (path, arguments.force, format)
        }),
        top: arguments.top,
        measuring: Measuring {
            rate_hz: 0.0,
            stack_rate_hz: 0.0,
            bpf: true,
            own: Vec::new(),
            window: WINDOW,
            slow_threshold: SLOW_THRESHOLD,
            slow_window: SLOW_WINDOW,
            pauses: false,
        },
        judged: Judged {
            slow_threshold: arguments.slow_threshold,
            ..Judged::default()
        },
        sides: [(arguments.before, before), (after_path, after)],
    };
    Plan {
        target: Target::Difference,
        naming: Naming::default(),
        work: Work::Compare(comparing),
    }
}
