//! What the table's flags mean: whose table, what it shows and in which shape. Decides, and does nothing.

use super::arguments::{LookArguments, WorkerArguments};
use crate::cli::arguments::values::refresh_word;
use crate::cli::fleet::Whom;
use crate::cli::plan::{Measuring, Naming, Plan, SLOW_WINDOW, Target, Work, measuring, process};
use crate::view::{COLUMNS, Column, Filter, Options, Sort, WORKER, parse_status};
use std::time::Duration;

/// What the original clamps to.
const REFRESH_HZ: std::ops::RangeInclusive<f64> = 0.5..=10.0;

/// The columns that the original documents; what a socket serves knows no others.
const ORIGINAL_COLUMNS: usize = 9;

#[derive(Clone, Debug)]
pub struct Look {
    pub shape: Shape,
    pub options: Options,
    /// Time between two pictures.
    pub refresh: Duration,
    pub measuring: Measuring,
    /// What the user should know before it begins.
    pub words: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    Live,
    /// One window as text.
    Once,
    /// One window as a JSON document.
    OnceJson,
    /// One JSON document per window.
    Json,
}

pub fn plan(worker: WorkerArguments, look: LookArguments, has_terminal: bool) -> Plan {
    let (target, naming) = process(worker.process);
    let target = match target {
        Target::Worker(pid) if worker.children => Target::Pool(Whom::Below(pid)),
        other => other,
    };
    let (target, columns) = match worker.socket {
        Some(path) => (Target::Socket(path), COLUMNS.get(..ORIGINAL_COLUMNS).unwrap_or(COLUMNS)),
        None => (target, COLUMNS),
    };
    let chosen = look.columns.is_some();
    let mut look = meant(look, has_terminal, columns);
    if matches!(target, Target::Pool(_)) && !chosen {
        look.options.columns.insert(1, &WORKER);
    }
    Plan {
        target,
        naming,
        work: Work::Table(look),
    }
}

/// `otop demo`: the same table, of a worker that is still to be started.
pub fn demo(look: LookArguments, has_terminal: bool) -> Plan {
    Plan {
        target: Target::Demo,
        naming: Naming::default(),
        work: Work::Table(meant(look, has_terminal, COLUMNS)),
    }
}

/// How it is shown; `columns` where none were asked for.
pub fn meant(arguments: LookArguments, has_terminal: bool, columns: &'static [Column]) -> Look {
    let shape = match (arguments.once, arguments.json) {
        (true, true) => Shape::OnceJson,
        (false, true) => Shape::Json,
        (true, false) => Shape::Once,
        (false, false) if has_terminal => Shape::Live,
        // Nobody could see it change, so it is shown once.
        (false, false) => Shape::Once,
    };
    let hz = arguments.refresh_rate.clamp(*REFRESH_HZ.start(), *REFRESH_HZ.end());
    let words = if hz == arguments.refresh_rate {
        Vec::new()
    } else {
        vec![refresh_word(arguments.refresh_rate, hz)]
    };
    Look {
        shape,
        options: Options {
            // clap has let known names pass only.
            sort: Sort::parse(&arguments.sort).unwrap_or_default(),
            filter: Filter {
                status: parse_status(&arguments.status).unwrap_or_default(),
                agent: arguments.agent,
                tenant: arguments.tenant,
                text: String::new(),
            },
            columns: arguments.columns.unwrap_or_else(|| columns.iter().collect()),
        },
        refresh: Duration::from_secs_f64(1.0 / hz),
        measuring: Measuring {
            pauses: arguments.pause,
            ..measuring(
                arguments.measuring,
                arguments.window,
                arguments.slow_window.unwrap_or(SLOW_WINDOW),
            )
        },
        words,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::arguments::Arguments;
    use crate::cli::plan;
    use crate::model::Pid;
    use clap::Parser;

    fn planned(line: &[&str], has_terminal: bool) -> (Target, Naming, Look) {
        let line = std::iter::once("otop").chain(line.iter().copied());
        let Plan { target, naming, work } = plan::plan(
            Arguments::try_parse_from(line).expect("a right command line"),
            has_terminal,
        );
        let Work::Table(look) = work else {
            panic!("no table: {work:?}")
        };
        (target, naming, look)
    }

    #[test]
    fn what_is_watched() {
        let target = |line: &[&str]| planned(line, true).0;
        assert_eq!(target(&[]), Target::Any);
        assert_eq!(target(&["--pid", "12"]), Target::Worker(Pid(12)));
        assert_eq!(target(&["--socket", "top.sock"]), Target::Socket("top.sock".into()));
        assert_eq!(target(&["demo", "--once"]), Target::Demo);
        let doctor = |pid, as_json| Target::Doctor { pid, as_json };
        assert_eq!(target(&["doctor"]), doctor(None, false));
        assert_eq!(
            target(&["doctor", "--pid", "12", "--json"]),
            doctor(Some(Pid(12)), true)
        );
    }

    #[test]
    fn without_a_terminal_the_live_table_is_shown_once() {
        let shape = |line: &[&str], terminal| planned(line, terminal).2.shape;
        assert_eq!(shape(&[], true), Shape::Live);
        assert_eq!(shape(&[], false), Shape::Once);
        assert_eq!(shape(&["--once"], true), Shape::Once);
        for terminal in [true, false] {
            assert_eq!(shape(&["--json"], terminal), Shape::Json);
            assert_eq!(shape(&["--once", "--json"], terminal), Shape::OnceJson);
            assert_eq!(
                shape(&["demo"], terminal),
                if terminal { Shape::Live } else { Shape::Once }
            );
        }
    }

    #[test]
    fn the_refresh_rate_is_moved_into_its_range_with_a_word() {
        for (given, hz) in [
            ("0", 0.5),
            ("-1", 0.5),
            ("0.5", 0.5),
            ("2", 2.0),
            ("10", 10.0),
            ("99", 10.0),
        ] {
            let look = planned(&["--refresh-rate", given], true).2;
            assert_eq!(look.refresh, Duration::from_secs_f64(1.0 / hz), "{given}");
            assert_eq!(
                look.words.is_empty(),
                given.parse() == Ok(hz),
                "{given}: {:?}",
                look.words
            );
        }
        let look = planned(&["--refresh-rate", "99"], true).2;
        assert_eq!(look.words, ["--refresh-rate 99 is not in 0.5 to 10 Hz; 10 is taken"]);
    }

    #[test]
    fn the_defaults_are_the_documented_ones() {
        let (_, naming, look) = planned(&[], true);
        assert_eq!(naming, Naming::default());
        let measuring = &look.measuring;
        assert_eq!((measuring.rate_hz, look.refresh), (1000.0, Duration::from_secs(1)));
        assert_eq!((measuring.stack_rate_hz, measuring.own.len()), (100.0, 0));
        assert_eq!(
            (measuring.window, measuring.slow_window),
            (Duration::from_secs(1), Duration::from_secs(5))
        );
        assert_eq!(
            (measuring.slow_threshold, look.options.sort.name()),
            (Duration::from_millis(50), "mem_mb")
        );
        assert_eq!(look.options.columns.len(), COLUMNS.len());
        assert_eq!(planned(&["--socket", "x"], true).2.options.columns.len(), 9);
    }
}
