//! The command line as clap reads it. From this definition come `--help`, the man page and the completions. Knows what
//! each flag may hold, nothing of what is done with it; `plan` makes of these arguments what is meant.

use super::args_dump::{self, DumpArguments};
use super::formats::Format;
use super::values::{self, AT, FAIL_ON, FOR, RATE, SLOW_THRESHOLD, SLOW_WINDOW, WINDOW};
use super::version;
use super::wire;
use crate::identity::Spec;
use crate::view::{COLUMNS, Column, Sort, choose_columns};
use clap::builder::PossibleValuesParser;
use clap::error::ErrorKind;
use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;
use std::time::Duration;

const ABOUT: &str = "Shows, from outside, who uses the CPU and who blocks the loop in a Python asyncio worker";

const LONG_ABOUT: &str = "\
Shows, from outside, the sessions that share one Python asyncio worker: who uses the CPU, who blocks the event loop, \
why, and since when.

The worker need not have been prepared and does not take part: otop reads its memory and its clocks through the kernel. \
It never signals, traces or writes to it. Reading another process needs its user's rights or root's.";

const AFTER: &str = "\
Examples:
  otop                                   find the asyncio workers here, and watch one
  sudo otop --pid 1234                   watch this worker live; ? shows the keys
  sudo otop --pid 1234 --once            one look at it, as text
  sudo otop --pid 1234 --sort cpu_pct    the greediest session first
  sudo otop --pid 1234 --status slow     only those who blocked the loop
  sudo otop --pid 1234 --json --window 10s >> worker.jsonl
  sudo otop --pid 1234 --session-from request_id
  sudo otop dump --pid 1234              once, where every task runs or waits
  sudo otop --pid 1234 --session-from 'log_context[\"call_id\"]' --session-from task:name
  sudo otop blocks --pid 1234            a line for every block of the loop, as it happens
  sudo otop blocks --pid 1234 --for 60s --fail-on 100ms
  sudo otop record --pid 1234 -o w.svg   a flame graph of 30 s, by session
  otop replay worker.otop                a recording, as if it were live
  otop demo                              start a sample worker and watch it
  otop doctor --pid 1234                 what decides whether this worker can be watched

Exit status:
  0  done
  1  anything that is not named below
  2  the command line is wrong
  3  no such process, or no worker was found
  4  the worker's memory may not be read
  5  not a Python that otop can read, or one without asyncio
  6  the worker ended before there was a figure
  7  --fail-on was met";

const ABOUT_BLOCKS: &str = "Follow the blocks of the event loop, a line each, as they happen";

const LONG_ABOUT_BLOCKS: &str = "\
Follow the blocks of the event loop, a line each, as they happen.

A block that goes on is told when it passes --slow-threshold (\"blocks\", \"so far\") and again when it is over \
(\"blocked\"); one that is over by the time otop looks is told once. [slow-session] is a session that is to blame, \
with a ? where the cause is not known; [slow-loop] is a block that no session is to blame for. ≥ is a lower bound: \
the block began before otop looked, or more sessions may have waited.

q and Ctrl-C end it.";

const AFTER_BLOCKS: &str = "\
Lines:
  [slow-session] session_id=job-c1d550 blocked event loop for 320ms (syscall: recvfrom) at requests/adapters.py:667 \
in send, called from agents/booking.py:41 in lookup; ≥ 12 sessions waited
  [slow-loop] event loop blocked for 90ms (unscheduled: it got no CPU)

--fail-on counts a block if it is that long without what the machine did to it (unscheduled, stolen, stopped, \
suspended) and without waiting for threads that did yield the GIL; whether a session is to blame or not.

Exit status: as of otop; 7 if --fail-on was met.";

const SESSION_FROM: &str = "\
Where the session's id stands in the worker. May be given several times: the first that fits wins [default: as the \
packages in use keep it]

A SPEC begins with one of
  NAME                   a contextvar; in quotes, if other characters than
                         letters, digits, _ - : and dots are in its name
  task:name              the name that the program gave to the task
  frame:COROUTINE:LOCAL  a local variable of a coroutine (its __qualname__)
                         that the task runs or waits in
and goes on with any of
  .ATTRIBUTE             what the instance stores: in a dictionary, as
                         inline values, in slots; .args of a partial
  [0] [-1]               an item of a tuple or a list; a dict's int key
  [\"key\"]                a dict's key
  [\"prefix\"*]            the first of a dict's keys that begins so
  |hex |hex(32)          an int in hexadecimal, with zeros in front
  |strip(\"prefix\")       taken off the front, where it is there

A contextvar's name may have dots: a.b is the contextvar a.b, if there is one, and else the attribute b of a. Text, ints \
and UUIDs are ids; what else a path leads to is refused.";

const ABOUT_RECORD: &str = "Record for a time into a file: a flame graph, a profile, or everything";

const LONG_ABOUT_RECORD: &str = "\
Record for a time into a file: a flame graph, a profile for speedscope, Firefox Profiler or pprof, or otop's own \
recording, which holds everything and which otop replay shows again.

The roots are the sessions. Threads that work for a session have a root of their own, outside the loop's time. What a \
frame waited for stands below it: [syscall recvfrom], [gil wait], [gc]. Time of which no stack could be proved is \
<unresolved>.

Ctrl-C and q end it early, and write; the second Ctrl-C ends otop.";

const AFTER_RECORD: &str = "\
Examples:
  sudo otop record --pid 1234 -o worker.svg                      a flame graph of 30 s, by session
  sudo otop record --pid 1234 -o worker.otop --for 5m            everything, for otop replay
  sudo otop record --pid 1234 -o blocks.svg --mode blocked       only what blocked the loop
  sudo otop record --pid 1234 -o one.speedscope.json --session job-c1d550

Exit status: as of otop.";

const ABOUT_REPLAY: &str = "Show a recording as if it were live: the table, blocks, dumps, and every other format";

const LONG_ABOUT_REPLAY: &str = "\
Show a .otop recording as if it were live: the table over the recorded time, --once, --json, blocks, dump; and with -o a flame \
graph or a profile of it.

A dump is of the last instant that one was recorded of, which is said: every two seconds, less often of very many tasks.

In the live table Space pauses, n and N step a second on and back, ] and [ ten seconds, + and - change the speed.";

const AFTER_REPLAY: &str = "\
Examples:
  otop replay worker.otop                            the live table over the recorded time
  otop replay worker.otop --once --at 12s            the table at that instant
  otop replay worker.otop --json --window 5s         a document for every five seconds
  otop replay worker.otop blocks                     a line for every block
  otop replay worker.otop dump --at 12s              where every task ran or waited then
  otop replay worker.otop -o blocks.svg --mode blocked

Exit status: as of otop.";

const ABOUT_DIFF: &str = "Compare two recordings, or two sessions of one, function by function";

const LONG_ABOUT_DIFF: &str = "\
Compare two recordings, or two sessions of one, function by function. Two recordings are compared by percent of the \
recorded time, two sessions by percent of each one's own time. Recordings that were not taken alike are refused.";

const AFTER_DIFF: &str = "\
Examples:
  otop diff before.otop after.otop
  otop diff before.otop after.otop -o change.svg      red has grown, blue has shrunk
  otop diff worker.otop --session job-1 --against-rest
  otop diff worker.otop --session job-1 --against job-2 --mode cpu

Exit status: as of otop.";

#[derive(Debug, Parser)]
#[command(name = "otop", version = version::short(), long_version = version::long(), about = ABOUT, long_about = LONG_ABOUT, after_help = AFTER)]
#[command(
    args_conflicts_with_subcommands = true,
    disable_help_subcommand = true,
    infer_long_args = false
)]
pub struct Arguments {
    #[command(flatten)]
    pub worker: WorkerArguments,
    #[command(flatten)]
    pub look: LookArguments,
    #[command(subcommand)]
    pub command: Option<Command>,
}

impl Arguments {
    /// The command line of this process; one that is wrong ends it, as clap does.
    pub fn read() -> Arguments {
        let arguments = Arguments::parse();
        arguments.check().unwrap_or_else(|error| error.exit());
        arguments
    }

    /// What no value alone can be wrong in.
    pub fn check(&self) -> Result<(), clap::Error> {
        if self.worker.children && self.worker.process.pid.len() > 1 {
            return Err(conflict("--children is of one --pid".to_owned()));
        }
        match &self.command {
            Some(Command::Blocks(blocks)) => blocks.process.of_one().and_then(|()| blocks.check()),
            Some(Command::Record(record)) => record.process.of_one().and_then(|()| record.check()),
            Some(Command::Replay(replay)) => replay.check(),
            Some(Command::Diff(diff)) => diff.check(),
            Some(Command::Doctor(_) | Command::Dump(_) | Command::Demo(_) | Command::Vars(_)) | None => Ok(()),
        }
    }
}

fn conflict(text: String) -> clap::Error {
    Arguments::command().error(ErrorKind::ArgumentConflict, text)
}

impl ProcessArguments {
    /// For the commands that are about one worker.
    fn of_one(&self) -> Result<(), clap::Error> {
        match self.pid.len() {
            0 | 1 => Ok(()),
            _ => Err(conflict(
                "this command is about one --pid; the table takes several".to_owned(),
            )),
        }
    }
}

impl BlocksArguments {
    fn check(&self) -> Result<(), clap::Error> {
        let blocks = self;
        let threshold = blocks.measuring.slow_threshold;
        match blocks.fail_on.filter(|limit| *limit < threshold) {
            None => Ok(()),
            Some(limit) => {
                let [limit, threshold] = [limit, threshold].map(values::written);
                let text = format!(
                    "--fail-on {limit} is below --slow-threshold {threshold}, and shorter ones are no blocks: \
                     add --slow-threshold {limit}"
                );
                Err(conflict(text))
            }
        }
    }
}

#[derive(Debug, Subcommand)]
pub enum Command {
    #[command(about = ABOUT_BLOCKS, long_about = LONG_ABOUT_BLOCKS, after_help = AFTER_BLOCKS)]
    Blocks(BlocksArguments),
    #[command(about = args_dump::ABOUT, long_about = args_dump::LONG_ABOUT, after_help = args_dump::AFTER)]
    Dump(DumpArguments),
    /// List the contextvars in live tasks, and which would name sessions as a ready --session-from
    Vars(VarsArguments),
    #[command(about = ABOUT_RECORD, long_about = LONG_ABOUT_RECORD, after_help = AFTER_RECORD)]
    Record(RecordArguments),
    #[command(about = ABOUT_REPLAY, long_about = LONG_ABOUT_REPLAY, after_help = AFTER_REPLAY)]
    Replay(ReplayArguments),
    #[command(about = ABOUT_DIFF, long_about = LONG_ABOUT_DIFF, after_help = AFTER_DIFF)]
    Diff(DiffArguments),
    /// Start the bundled sample worker and watch it; without a terminal, print one snapshot
    Demo(LookArguments),
    /// Say everything that decides whether attaching works, and what mends it
    Doctor(DoctorArguments),
}

/// Whom to examine.
#[derive(Debug, Args)]
pub struct DoctorArguments {
    /// Process to examine [default: this machine, and how many workers are on it]
    #[arg(long, value_name = "PID", allow_negative_numbers = true)]
    #[arg(value_parser = clap::value_parser!(i32).range(1..))]
    pub pid: Option<i32>,

    /// One JSON document, on one line
    #[arg(long)]
    pub json: bool,
}

/// Which worker, and what of its contextvars is shown.
#[derive(Debug, Default, Args)]
pub struct VarsArguments {
    /// Process to look at [default: the only asyncio worker here, or a choice]
    #[arg(long, value_name = "PID", allow_negative_numbers = true)]
    #[arg(value_parser = clap::value_parser!(i32).range(1..))]
    pub pid: Option<i32>,

    /// Show some of the values too; what may be a credential never is
    #[arg(long)]
    pub values: bool,

    /// As one JSON document
    #[arg(long)]
    pub json: bool,
}

/// Which worker, and what names the sessions in it.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Worker")]
pub struct WorkerArguments {
    #[command(flatten)]
    pub process: ProcessArguments,

    /// The whole pool: every asyncio worker below the process, as they come and go
    #[arg(long, requires = "pid", conflicts_with = "socket")]
    pub children: bool,

    /// Show what the worker itself serves at its OpenRTC introspection socket
    #[arg(long, value_name = "PATH")]
    #[arg(conflicts_with_all = [
        "pid", "session_from", "agent_from", "tenant_from", "rate", "stack_rate", "own", "slow_threshold", "slow_window",
    ])]
    pub socket: Option<PathBuf>,
}

/// A process that is read, and what names the sessions in it.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Worker")]
pub struct ProcessArguments {
    /// Process to watch; the table takes several [default: the only asyncio worker here, or a choice]
    #[arg(long, value_name = "PID", allow_negative_numbers = true)]
    #[arg(value_parser = clap::value_parser!(i32).range(1..))]
    pub pid: Vec<i32>,

    /// Where the session's id stands; several: the first that fits wins [default: as the packages in use keep it]
    #[arg(long, value_name = "SPEC", value_parser = values::spec, long_help = SESSION_FROM)]
    pub session_from: Vec<Spec>,

    /// Where the agent's name stands
    #[arg(long, value_name = "SPEC", value_parser = values::spec)]
    pub agent_from: Vec<Spec>,

    /// Where the tenant's name stands
    #[arg(long, value_name = "SPEC", value_parser = values::spec)]
    pub tenant_from: Vec<Spec>,
}

/// How a worker is read, whatever is made of it.
#[derive(Debug, Args)]
pub struct MeasuringArguments {
    /// Samples a second of session and step, 1 to 10000
    #[arg(long, value_name = "HZ", default_value = "1000", help_heading = "Measuring")]
    #[arg(value_parser = |text: &str| RATE.parse(text), allow_negative_numbers = true)]
    pub rate: f64,

    /// Full stacks a second, 1 to 10000
    #[arg(long, value_name = "HZ", default_value = "100", help_heading = "Measuring")]
    #[arg(value_parser = |text: &str| RATE.parse(text), allow_negative_numbers = true)]
    pub stack_rate: f64,

    /// Files that begin with this are own code, wherever they are installed; may be given more than once
    #[arg(long, value_name = "PREFIX", help_heading = "Measuring", value_parser = values::prefix)]
    pub own: Vec<String>,

    /// From which length on a standing loop counts as blocked, 1ms to 1m
    #[arg(long, value_name = "TIME", default_value = "50ms", help_heading = "Measuring")]
    #[arg(value_parser = |text: &str| SLOW_THRESHOLD.parse(text))]
    pub slow_threshold: Duration,
}

/// `otop blocks`.
#[derive(Debug, Args)]
pub struct BlocksArguments {
    #[command(flatten)]
    pub process: ProcessArguments,

    /// End after this time, 100ms to 168h [default: with q, Ctrl-C or the worker]
    #[arg(long = "for", value_name = "TIME", help_heading = "Output", value_parser = |text: &str| FOR.parse(text))]
    pub time: Option<Duration>,

    /// One JSON object per event, a line each
    #[arg(long, help_heading = "Output")]
    pub json: bool,

    /// End with exit status 7 if there was a block of this length, 1ms to 1h
    #[arg(long, value_name = "TIME", help_heading = "Output", value_parser = |text: &str| FAIL_ON.parse(text))]
    pub fail_on: Option<Duration>,

    #[command(flatten)]
    pub measuring: MeasuringArguments,
}

/// `otop record`.
#[derive(Debug, Args)]
pub struct RecordArguments {
    #[command(flatten)]
    pub process: ProcessArguments,

    #[command(flatten)]
    pub file: FileArguments,

    /// Record for this time, 100ms to 168h; Ctrl-C ends it early, and writes
    #[arg(long = "for", value_name = "TIME", default_value = "30s", help_heading = "Output")]
    #[arg(value_parser = |text: &str| FOR.parse(text))]
    pub time: Duration,

    #[command(flatten)]
    pub profile: ProfileArguments,

    #[command(flatten)]
    pub measuring: MeasuringArguments,
}

impl RecordArguments {
    fn check(&self) -> Result<(), clap::Error> {
        match self.file.format() {
            None => Err(conflict(Format::unknown(&self.file.output))),
            Some(Format::Otop) if self.profile.is_given() => Err(conflict(
                "a .otop recording holds everything: --mode, --by, --session, --agent and --tenant are for \
                 otop replay, which makes the other formats of it"
                    .to_owned(),
            )),
            Some(_) => Ok(()),
        }
    }
}

/// `otop replay`.
#[derive(Debug, Args)]
#[command(mut_arg("rate", |arg| arg.hide(true).conflicts_with("file")))]
#[command(mut_arg("stack_rate", |arg| arg.hide(true).conflicts_with("file")))]
pub struct ReplayArguments {
    /// Recording that otop record has written
    #[arg(value_name = "FILE")]
    pub file: PathBuf,

    /// What to show of it [default: the table]
    #[arg(value_name = "WHAT", value_enum, conflicts_with_all = ["once", "output"])]
    pub what: Option<ReplayWhat>,

    /// How far into the recording: where the live table begins, the end of the window of --once, or when the
    /// dump was taken at the latest
    #[arg(long, value_name = "TIME", help_heading = "Output", value_parser = |text: &str| AT.parse(text))]
    #[arg(conflicts_with = "output")]
    pub at: Option<Duration>,

    /// File to write another format into; - is standard output
    #[arg(short, long, value_name = "FILE", help_heading = "Output", conflicts_with_all = ["once", "json"])]
    pub output: Option<PathBuf>,

    /// What to write [default: what the ending of FILE says]
    #[arg(
        long,
        value_name = "FORMAT",
        help_heading = "Output",
        value_enum,
        requires = "output"
    )]
    pub format: Option<Format>,

    /// Replace FILE if it is there
    #[arg(long, help_heading = "Output", requires = "output")]
    pub force: bool,

    /// What counts [default: wall]
    #[arg(long, value_name = "MODE", help_heading = "Profile", value_enum, requires = "output")]
    pub mode: Option<ModeArgument>,

    /// What the roots are [default: session]
    #[arg(long, value_name = "WHAT", help_heading = "Profile", value_enum, requires = "output")]
    pub by: Option<ByArgument>,

    /// Only this session
    #[arg(long, value_name = "ID", help_heading = "Profile")]
    pub session: Option<String>,

    #[command(flatten)]
    pub look: LookArguments,
}

/// `otop diff`.
#[derive(Debug, Args)]
pub struct DiffArguments {
    /// Recording to compare with
    #[arg(value_name = "A")]
    pub before: PathBuf,

    /// Recording that is compared
    #[arg(value_name = "B", required_unless_present = "session", conflicts_with = "session")]
    pub after: Option<PathBuf>,

    /// Look at this session of A; red is what it has more of
    #[arg(
        long,
        value_name = "ID",
        help_heading = "Sessions of one recording",
        requires = "other"
    )]
    pub session: Option<String>,

    /// Session of A that it is compared with
    #[arg(
        long,
        value_name = "ID",
        help_heading = "Sessions of one recording",
        requires = "session",
        group = "other"
    )]
    pub against: Option<String>,

    /// Compare it with all the others together
    #[arg(
        long,
        help_heading = "Sessions of one recording",
        requires = "session",
        group = "other"
    )]
    pub against_rest: bool,

    /// What counts
    #[arg(
        long,
        value_name = "MODE",
        help_heading = "Profile",
        value_enum,
        default_value = "wall"
    )]
    pub mode: ModeArgument,

    /// From which length on a standing loop counts as blocked, for --mode blocked
    #[arg(long, value_name = "TIME", default_value = "50ms", help_heading = "Profile")]
    #[arg(value_parser = |text: &str| SLOW_THRESHOLD.parse(text))]
    pub slow_threshold: Duration,

    /// Functions to show
    #[arg(long, value_name = "N", default_value = "30", help_heading = "Output")]
    pub top: usize,

    /// File for the differential flame graph (.svg), or its stacks with both counts (.folded)
    #[arg(short, long, value_name = "FILE", help_heading = "Output")]
    pub output: Option<PathBuf>,

    /// Replace FILE if it is there
    #[arg(long, help_heading = "Output", requires = "output")]
    pub force: bool,
}

impl DiffArguments {
    fn check(&self) -> Result<(), clap::Error> {
        match self.output.as_ref().map(|path| (path, Format::of(path))) {
            None | Some((_, Some(Format::Flamegraph | Format::Folded))) => Ok(()),
            Some((path, _)) => Err(conflict(format!(
                "a difference is written as .svg or .folded, and {} is neither",
                path.display()
            ))),
        }
    }
}

/// What of a recording is shown, beside the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ReplayWhat {
    /// A line for each block
    Blocks,
    /// Where every task ran or waited
    Dump,
}

impl ReplayArguments {
    fn check(&self) -> Result<(), clap::Error> {
        if self.what == Some(ReplayWhat::Blocks) && self.at.is_some() {
            return Err(conflict(
                "the argument '--at <TIME>' cannot be used with 'blocks'".to_owned(),
            ));
        }
        if self.session.is_some() && self.output.is_none() && self.what != Some(ReplayWhat::Dump) {
            return Err(conflict(
                "--session is for dump, and for what -o writes: end it in dump, or add -o FILE".to_owned(),
            ));
        }
        let Some(output) = &self.output else {
            return Ok(());
        };
        match self.format.or_else(|| Format::of(output)) {
            None => Err(conflict(Format::unknown(output))),
            Some(Format::Otop) => Err(conflict("it is a .otop recording already: cp copies it".to_owned())),
            Some(_) => Ok(()),
        }
    }
}

/// A file that is written.
#[derive(Debug, Args)]
pub struct FileArguments {
    /// File to write; - is standard output
    #[arg(short, long, value_name = "FILE", help_heading = "Output")]
    pub output: PathBuf,

    /// What to write [default: what the ending of FILE says]
    #[arg(long, value_name = "FORMAT", help_heading = "Output", value_enum)]
    pub format: Option<Format>,

    /// Replace FILE if it is there
    #[arg(long, help_heading = "Output")]
    pub force: bool,
}

impl FileArguments {
    pub fn format(&self) -> Option<Format> {
        self.format.or_else(|| Format::of(&self.output))
    }
}

/// What a profile counts, and whose.
#[derive(Debug, Args)]
pub struct ProfileArguments {
    /// What counts [default: wall]
    #[arg(long, value_name = "MODE", help_heading = "Profile", value_enum)]
    pub mode: Option<ModeArgument>,

    /// What the roots are [default: session]
    #[arg(long, value_name = "WHAT", help_heading = "Profile", value_enum)]
    pub by: Option<ByArgument>,

    /// Only this session
    #[arg(long, value_name = "ID", help_heading = "Profile")]
    pub session: Option<String>,

    /// Only sessions of this agent
    #[arg(long, value_name = "NAME", help_heading = "Profile")]
    pub agent: Option<String>,

    /// Only sessions of this tenant
    #[arg(long, value_name = "NAME", help_heading = "Profile")]
    pub tenant: Option<String>,
}

impl ProfileArguments {
    fn is_given(&self) -> bool {
        let names = [&self.session, &self.agent, &self.tenant];
        self.mode.is_some() || self.by.is_some() || names.iter().any(|name| name.is_some())
    }
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub enum ModeArgument {
    /// Loop time: a session asleep in a system call on the loop is there, an idle loop is not
    #[default]
    Wall,
    /// Time on a CPU
    Cpu,
    /// Only what kept the loop for longer than --slow-threshold
    Blocked,
}

impl From<ModeArgument> for wire::Mode {
    fn from(mode: ModeArgument) -> wire::Mode {
        match mode {
            ModeArgument::Wall => wire::Mode::Wall,
            ModeArgument::Cpu => wire::Mode::Cpu,
            ModeArgument::Blocked => wire::Mode::Blocked,
        }
    }
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub enum ByArgument {
    #[default]
    Session,
    Agent,
    Tenant,
    None,
}

impl From<ByArgument> for wire::By {
    fn from(by: ByArgument) -> wire::By {
        match by {
            ByArgument::Session => wire::By::Session,
            ByArgument::Agent => wire::By::Agent,
            ByArgument::Tenant => wire::By::Tenant,
            ByArgument::None => wire::By::None,
        }
    }
}

/// What to measure and how to show it.
#[derive(Debug, Args)]
pub struct LookArguments {
    /// Watch for one window, print the table, exit
    #[arg(long, help_heading = "Output")]
    pub once: bool,

    /// One JSON document per window, a line each; with --once a single one
    #[arg(long, help_heading = "Output")]
    pub json: bool,

    /// Pictures a second of the live table, 0.5 to 10
    #[arg(long, value_name = "HZ", default_value = "1.0", help_heading = "Output")]
    #[arg(value_parser = values::refresh_rate, allow_negative_numbers = true)]
    pub refresh_rate: f64,

    /// Column to sort by; in the live table key s goes on
    #[arg(long, value_name = "KEY", default_value = Sort::default().name(), help_heading = "Rows and columns")]
    #[arg(value_parser = PossibleValuesParser::new(Sort::names()))]
    pub sort: String,

    /// Show only sessions in this state; in the live table key f goes on
    #[arg(
        long,
        value_name = "STATUS",
        default_value = "all",
        help_heading = "Rows and columns"
    )]
    #[arg(value_parser = PossibleValuesParser::new(["all", "active", "slow", "draining", "errored"]))]
    pub status: String,

    /// Show only sessions of this agent
    #[arg(long, value_name = "NAME", help_heading = "Rows and columns")]
    pub agent: Option<String>,

    /// Show only sessions of this tenant
    #[arg(long, value_name = "NAME", help_heading = "Rows and columns")]
    pub tenant: Option<String>,

    #[arg(long, value_name = "LIST", help = columns_help(), help_heading = "Rows and columns")]
    #[arg(value_parser = choose_columns)]
    pub columns: Option<Columns>,

    /// Stretch of time that a percentage is about, 100ms to 10m
    #[arg(long, value_name = "TIME", default_value = "1s", help_heading = "Measuring")]
    #[arg(value_parser = |text: &str| WINDOW.parse(text))]
    pub window: Duration,

    /// How long a session stays slow after it has blocked the loop, 100ms to 1h
    #[arg(long, value_name = "TIME", default_value = "5s", help_heading = "Measuring")]
    #[arg(value_parser = |text: &str| SLOW_WINDOW.parse(text))]
    pub slow_window: Duration,

    #[command(flatten)]
    pub measuring: MeasuringArguments,
}

/// A name of its own, so that clap takes the list for one value.
pub type Columns = Vec<&'static Column>;

fn columns_help() -> String {
    let keys: Vec<&str> = COLUMNS.iter().map(|column| column.key).collect();
    format!(
        "Columns to show, in this order, with commas between them: {}",
        keys.join(", ")
    )
}
