//! What the arguments of `otop replay` mean: the work of another command, about a recording. Decides, and does nothing.

use super::arguments::{ReplayArguments, ReplayWhat};
use crate::cli::blocks::plan::Following;
use crate::cli::dump::plan::Dumping;
use crate::cli::plan::{Judged, Naming, Plan, Target, Work};
use crate::cli::record::formats::Format;
use crate::cli::record::plan::Recording;
use crate::cli::record::profile::{ProfileArguments, wanted};
use crate::cli::table;
use crate::model::DumpAsked;
use crate::view::COLUMNS;
use std::time::Duration;

pub fn plan(arguments: ReplayArguments, has_terminal: bool) -> Plan {
    let ReplayArguments {
        file,
        what,
        at,
        output,
        format,
        force,
        mode,
        by,
        session,
        look: show,
    } = arguments;
    let judged = Judged {
        slow_threshold: show.measuring.slow_threshold,
        slow_window: show.slow_window,
        own: show.measuring.own.clone(),
    };
    let (agent, tenant, json) = (show.agent.clone(), show.tenant.clone(), show.json);
    let look = table::plan::meant(show, has_terminal, COLUMNS);
    let work = match (output, what) {
        (Some(path), _) => Work::Record(Recording {
            // Without a format clap has ended it.
            format: format.or_else(|| Format::of(&path)).unwrap_or(Format::Folded),
            path,
            may_replace: force,
            time: Duration::ZERO,
            profile: wanted(ProfileArguments {
                mode,
                by,
                session,
                agent,
                tenant,
            }),
            measuring: look.measuring,
        }),
        (None, Some(ReplayWhat::Blocks)) => Work::Blocks(Following {
            json,
            time: None,
            fail_on: None,
            measuring: look.measuring,
        }),
        (None, Some(ReplayWhat::Dump)) => Work::Dump(Dumping {
            json,
            asked: DumpAsked { session, agent, tenant },
            measuring: look.measuring,
        }),
        (None, None) => Work::Table(look),
    };
    Plan {
        target: Target::Recording(file, at, judged),
        naming: Naming::default(),
        work,
    }
}
