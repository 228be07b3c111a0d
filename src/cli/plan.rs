//! Typed arguments → meant arguments: what to watch, how to show it, and what to say about it beforehand. Decides, and
//! does nothing.

use super::args::{
    Arguments, BlocksArguments, Command, DiffArguments, DoctorArguments, LookArguments, MeasuringArguments,
    ProcessArguments, ProfileArguments, RecordArguments, ReplayArguments, ReplayWhat, VarsArguments,
};
use super::fleet::Whom;
use super::formats::Format;
use super::values::refresh_word;
use super::wire::{By, Narrow, Wanted};
use crate::identity::Spec;
use crate::model::{DumpAsked, Pid};
use crate::view::{COLUMNS, Column, Filter, Options, Sort, WORKER, parse_status};
use std::path::PathBuf;
use std::time::Duration;

/// What the original clamps to.
const REFRESH_HZ: std::ops::RangeInclusive<f64> = 0.5..=10.0;

/// The columns that the original documents; what a socket serves knows no others.
const ORIGINAL_COLUMNS: usize = 9;

/// What a table's percentages are about and how long a session stays slow in it, where nobody asks: no block depends on
/// them.
pub const WINDOW: Duration = Duration::from_secs(1);
const SLOW_WINDOW: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub struct Plan {
    pub target: Target,
    pub naming: Naming,
    pub work: Work,
}

/// What is made of the worker.
#[derive(Debug)]
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
    /// A recording, and how far into it.
    Recording(PathBuf, Option<Duration>),
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

/// How the worker is read and judged, whatever is made of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Measuring {
    /// Samples of session and step a second.
    pub rate_hz: f64,
    /// Full stacks a second.
    pub stack_rate_hz: f64,
    /// Places whose files are own code, besides those that are so anyway.
    pub own: Vec<String>,
    pub window: Duration,
    pub slow_threshold: Duration,
    pub slow_window: Duration,
}

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

/// `otop blocks`.
#[derive(Clone, Debug)]
pub struct Following {
    pub json: bool,
    /// None: until it is ended.
    pub time: Option<Duration>,
    /// Blocks of this length are what must not be.
    pub fail_on: Option<Duration>,
    pub measuring: Measuring,
}

/// `otop dump`.
#[derive(Clone, Debug, PartialEq)]
pub struct Dumping {
    pub json: bool,
    /// Stop the worker meanwhile.
    pub pause: bool,
    /// Which sessions.
    pub asked: DumpAsked,
    /// Nothing is measured; this has what is own code.
    pub measuring: Measuring,
}

/// `otop vars`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listing {
    /// Values are shown too.
    pub values: bool,
    pub json: bool,
}

/// `otop record`.
#[derive(Clone, Debug)]
pub struct Recording {
    pub path: PathBuf,
    pub may_replace: bool,
    pub format: Format,
    pub time: Duration,
    /// What a format counts that does not hold everything.
    pub profile: Wanted,
    pub measuring: Measuring,
}

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
}

impl Work {
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
        Some(Command::Doctor(DoctorArguments { pid, json: as_json })) => Plan {
            target: Target::Doctor {
                pid: pid.map(Pid),
                as_json,
            },
            naming: Naming::default(),
            work: Work::Table(brief_look()),
        },
        Some(Command::Vars(VarsArguments { pid, values, json })) => Plan {
            target: Target::Vars {
                pid: pid.map(Pid),
                listing: Listing { values, json },
            },
            naming: Naming::default(),
            work: Work::Table(brief_look()),
        },
        Some(Command::Demo(look)) => Plan {
            target: Target::Demo,
            naming: Naming::default(),
            work: Work::Table(self::look(look, has_terminal, COLUMNS)),
        },
        Some(Command::Blocks(BlocksArguments {
            process,
            time,
            json,
            fail_on,
            measuring,
        })) => {
            let (target, naming) = self::process(process);
            let following = Following {
                json,
                time,
                fail_on,
                measuring: self::measuring(measuring, WINDOW, SLOW_WINDOW),
            };
            Plan {
                target,
                naming,
                work: Work::Blocks(following),
            }
        }
        Some(Command::Dump(arguments)) => {
            let (target, naming) = self::process(arguments.process);
            let dumping = Dumping {
                json: arguments.json,
                pause: arguments.pause,
                asked: DumpAsked {
                    session: arguments.session,
                    agent: arguments.agent,
                    tenant: arguments.tenant,
                },
                measuring: Measuring {
                    rate_hz: 0.0,
                    stack_rate_hz: 0.0,
                    own: arguments.own,
                    window: WINDOW,
                    slow_threshold: Duration::ZERO,
                    slow_window: SLOW_WINDOW,
                },
            };
            Plan {
                target,
                naming,
                work: Work::Dump(dumping),
            }
        }
        Some(Command::Record(arguments)) => record(arguments),
        Some(Command::Replay(arguments)) => replay(arguments, has_terminal),
        Some(Command::Diff(arguments)) => diff(arguments),
        None => {
            let (target, naming) = process(arguments.worker.process);
            let target = match target {
                Target::Worker(pid) if arguments.worker.children => Target::Pool(Whom::Below(pid)),
                other => other,
            };
            let (target, columns) = match arguments.worker.socket {
                Some(path) => (Target::Socket(path), COLUMNS.get(..ORIGINAL_COLUMNS).unwrap_or(COLUMNS)),
                None => (target, COLUMNS),
            };
            let chosen = arguments.look.columns.is_some();
            let mut look = look(arguments.look, has_terminal, columns);
            if matches!(target, Target::Pool(_)) && !chosen {
                look.options.columns.insert(1, &WORKER);
            }
            Plan {
                target,
                naming,
                work: Work::Table(look),
            }
        }
    }
}

fn record(arguments: RecordArguments) -> Plan {
    let (target, naming) = process(arguments.process);
    let format = arguments.file.format();
    let recording = Recording {
        // Without a format clap has ended it.
        format: format.unwrap_or(Format::Otop),
        path: arguments.file.output,
        may_replace: arguments.file.force,
        time: arguments.time,
        profile: wanted(arguments.profile),
        measuring: measuring(arguments.measuring, WINDOW, SLOW_WINDOW),
    };
    Plan {
        target,
        naming,
        work: Work::Record(recording),
    }
}

fn replay(arguments: ReplayArguments, has_terminal: bool) -> Plan {
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
    let (agent, tenant, json) = (show.agent.clone(), show.tenant.clone(), show.json);
    let look = look(show, has_terminal, COLUMNS);
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
            pause: false,
            asked: DumpAsked { session, agent, tenant },
            measuring: look.measuring,
        }),
        (None, None) => Work::Table(look),
    };
    Plan {
        target: Target::Recording(file, at),
        naming: Naming::default(),
        work,
    }
}

fn diff(arguments: DiffArguments) -> Plan {
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
            own: Vec::new(),
            window: WINDOW,
            slow_threshold: arguments.slow_threshold,
            slow_window: SLOW_WINDOW,
        },
        sides: [(arguments.before, before), (after_path, after)],
    };
    Plan {
        target: Target::Difference,
        naming: Naming::default(),
        work: Work::Compare(comparing),
    }
}

fn wanted(arguments: ProfileArguments) -> Wanted {
    Wanted {
        mode: arguments.mode.unwrap_or_default().into(),
        by: arguments.by.unwrap_or_default().into(),
        narrow: Narrow {
            session: arguments.session,
            agent: arguments.agent,
            tenant: arguments.tenant,
            but: false,
        },
    }
}

fn process(arguments: ProcessArguments) -> (Target, Naming) {
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

fn measuring(arguments: MeasuringArguments, window: Duration, slow_window: Duration) -> Measuring {
    Measuring {
        rate_hz: arguments.rate,
        stack_rate_hz: arguments.stack_rate,
        own: arguments.own,
        window,
        slow_threshold: arguments.slow_threshold,
        slow_window,
    }
}

fn look(arguments: LookArguments, has_terminal: bool, columns: &'static [Column]) -> Look {
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
        measuring: measuring(arguments.measuring, arguments.window, arguments.slow_window),
        words,
    }
}

/// How long the doctor looks at a worker: long enough for a rate, short enough for a person who waits.
const DOCTORS_LOOK: Duration = Duration::from_millis(500);

/// A look with all defaults, for what shows no table.
fn brief_look() -> Look {
    Look {
        shape: Shape::Once,
        options: Options::default(),
        refresh: Duration::from_secs(1),
        measuring: Measuring {
            rate_hz: 1000.0,
            stack_rate_hz: 100.0,
            own: Vec::new(),
            window: DOCTORS_LOOK,
            slow_threshold: Duration::from_millis(50),
            slow_window: SLOW_WINDOW,
        },
        words: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    fn planned(line: &[&str], has_terminal: bool) -> (Target, Naming, Look) {
        let line = std::iter::once("otop").chain(line.iter().copied());
        let Plan { target, naming, work } = plan(
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

    fn blocks(line: &[&str]) -> Result<(Target, Naming, Following), clap::Error> {
        let line = ["otop", "blocks"].into_iter().chain(line.iter().copied());
        let arguments = Arguments::try_parse_from(line)?;
        arguments.check()?;
        let Plan { target, naming, work } = plan(arguments, true);
        match work {
            Work::Blocks(following) => Ok((target, naming, following)),
            other => panic!("no blocks: {other:?}"),
        }
    }

    #[test]
    fn blocks_are_followed_as_they_were_asked_for() {
        let (target, naming, following) = blocks(&[]).expect("nothing is needed");
        assert_eq!((target, naming), (Target::Any, Naming::default()));
        assert_eq!((following.json, following.time, following.fail_on), (false, None, None));
        let table = planned(&[], true).2.measuring;
        assert_eq!(following.measuring, table, "the defaults are the table's");

        let line = "--pid 7 --session-from x --for 60s --json --fail-on 100ms --rate 500 --stack-rate 10 --own /srv/a \
                    --own /srv/b --slow-threshold 80ms";
        let (target, naming, following) = blocks(&line.split(' ').collect::<Vec<_>>()).expect("right");
        assert_eq!(
            (target, naming.session_from),
            (Target::Worker(Pid(7)), vec![Spec::parse("x").expect("a spec")])
        );
        assert!(following.json);
        assert_eq!(following.time, Some(Duration::from_secs(60)));
        assert_eq!(following.fail_on, Some(Duration::from_millis(100)));
        let wanted = Measuring {
            rate_hz: 500.0,
            stack_rate_hz: 10.0,
            own: vec!["/srv/a".to_owned(), "/srv/b".to_owned()],
            slow_threshold: Duration::from_millis(80),
            ..table
        };
        assert_eq!(following.measuring, wanted);
    }

    #[test]
    fn a_limit_below_the_threshold_would_never_be_met() {
        let error = blocks(&["--fail-on", "20ms"]).expect_err("20 ms is no block");
        let text = error.to_string();
        assert!(
            text.contains("--fail-on 20ms is below --slow-threshold 50ms")
                && text.contains("add --slow-threshold 20ms"),
            "{text}"
        );
        assert_eq!(error.exit_code(), 2);
        assert!(blocks(&["--fail-on", "20ms", "--slow-threshold", "20ms"]).is_ok());
        assert!(blocks(&["--fail-on", "50ms"]).is_ok());
    }
}
