//! Several workers that are being watched as one: finds those that come, lets go of those that end, and keeps the cost of
//! all of them together within bounds. Knows nothing of terminals and formats; one worker alone is `worker`'s.

pub mod once;

use super::error::CliError;
use super::plan::Measuring;
use super::table::live::Figures;
use super::wire::{AttachOptions, Peaks, Reading, Watched, merge};
use super::worker::{Worker, now};
use crate::model::{Nanos, Pid, Report};
use crate::process::{self, Fingerprint, Sameness, candidates, family};
use crate::source::error::AttachError;
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

/// Workers that are watched at once: each has three threads here.
pub const MOST: usize = 64;
/// Ticks and stacks a second that all workers share, and the least that one gets: a block of 50 ms has to be seen.
const TICKS: f64 = 4000.0;
const LEAST_TICKS: f64 = 100.0;
const STACKS: f64 = 400.0;
const LEAST_STACKS: f64 = 10.0;
/// How often to look who has come: one who comes is to show within two seconds, with the first figures.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How long one look may go on attaching: keys want an answer.
const LOOK_FOR: Duration = Duration::from_millis(150);
/// The first look, before there is a picture: long, so that it is of all of them on a busy machine too.
const FIRST_LOOK: Duration = Duration::from_secs(15);
/// What is no worker is asked again after this: an import takes its time, and then a loop runs.
const ASK_AGAIN: Duration = Duration::from_millis(1000);
/// How old a proportional set size may become.
const PSS_AGE: Duration = Duration::from_secs(5);
/// Turns of a wait for news.
const TURN: Duration = Duration::from_millis(10);

/// Whose workers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whom {
    /// These.
    Named(Vec<Pid>),
    /// All that run below this process, and it too if it is one.
    Below(Pid),
}

pub struct Fleet<'r> {
    reading: &'r dyn Reading,
    options: AttachOptions,
    measuring: Measuring,
    whom: Whom,
    members: BTreeMap<Pid, Member>,
    passed: HashMap<Pid, Passed>,
    next_look: Nanos,
    left_out: usize,
    peaks: Peaks,
}

/// One of them.
pub struct Member {
    pub worker: Worker,
    /// Where its window of `--json` ends.
    pub window_end: Nanos,
    /// When it was asked, and what the answer was.
    pss: (Nanos, Option<u64>),
}

/// A process that is no worker, or not yet.
struct Passed {
    fingerprint: Fingerprint,
    ask_again: Nanos,
    why: Option<AttachError>,
}

impl<'r> Fleet<'r> {
    /// Looks who is there. Fails where a named process is none, and where the kernel refuses all of them.
    pub fn open(
        whom: Whom,
        options: AttachOptions,
        measuring: &Measuring,
        reading: &'r dyn Reading,
    ) -> Result<Fleet<'r>, CliError> {
        let named = match &whom {
            Whom::Named(pids) => pids.clone(),
            Whom::Below(root) => vec![*root],
        };
        for pid in named {
            process::whole_process(pid).map_err(AttachError::from)?;
        }
        let mut fleet = Fleet {
            reading,
            options,
            measuring: measuring.clone(),
            whom,
            members: BTreeMap::new(),
            passed: HashMap::new(),
            next_look: Nanos::ZERO,
            left_out: 0,
            peaks: Peaks::default(),
        };
        fleet.look(FIRST_LOOK);
        let refused = fleet.passed.values_mut().find_map(|passed| passed.why.take());
        match (fleet.members.is_empty(), refused) {
            (true, Some(error)) => Err(error.into()),
            _ => Ok(fleet),
        }
    }

    pub fn members(&mut self) -> impl Iterator<Item = &mut Member> {
        self.members.values_mut()
    }

    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    pub fn left_out(&self) -> usize {
        self.left_out
    }

    /// Nobody is left, and nobody can come any more.
    pub fn is_over(&self) -> bool {
        let gone = |pid: &Pid| process::whole_process(*pid).is_err();
        self.members.is_empty()
            && match &self.whom {
                Whom::Named(pids) => pids.iter().all(gone),
                Whom::Below(root) => gone(root),
            }
    }

    /// The first that was named, for errors.
    pub fn root(&self) -> Pid {
        match &self.whom {
            Whom::Named(pids) => pids.first().copied().unwrap_or(Pid(0)),
            Whom::Below(root) => *root,
        }
    }

    /// Lets go of those that ended; what they still had to say is in the list.
    pub fn take_ended(&mut self) -> Vec<Member> {
        let ended = self
            .members
            .iter()
            .filter(|(_, member)| member.worker.ending().is_some());
        let pids: Vec<Pid> = ended.map(|(pid, _)| *pid).collect();
        pids.iter().filter_map(|pid| self.members.remove(pid)).collect()
    }

    /// Takes in what has come from all of them; waits for the first of it, but not longer than this. Whoever has come is
    /// taken up on the way.
    pub fn wait(&mut self, patience: Duration) {
        if now() >= self.next_look {
            self.look(LOOK_FOR);
        }
        let until = now() + Nanos::from(patience);
        loop {
            let news = self.take_waiting();
            let now = now();
            if news || now >= until {
                return;
            }
            std::thread::sleep(TURN.min(Duration::from(until - now)));
        }
    }

    /// Takes in what has come; whether anything had.
    fn take_waiting(&mut self) -> bool {
        let mut news = false;
        for member in self.members.values_mut() {
            news |= member.worker.take_waiting();
        }
        news
    }

    /// Every worker's sliding window, as one.
    pub fn whole(&mut self) -> Report {
        let root = match &self.whom {
            Whom::Named(_) => None,
            Whom::Below(root) => Some(root.0),
        };
        let watched = self.members.values_mut().map(|member| Watched {
            report: member.worker.report_with_blocks(),
            pss_bytes: member.pss(),
        });
        let mut report = merge(root, watched.collect(), self.left_out);
        self.peaks.fill_in(&mut report.sessions);
        report
    }

    fn look(&mut self, time: Duration) {
        let begin = now();
        let end = begin + Nanos::from(time);
        let pids = match &self.whom {
            Whom::Named(pids) => pids.clone(),
            Whom::Below(root) => std::iter::once(*root).chain(family::below(*root)).collect(),
        };
        self.passed.retain(|pid, _| pids.contains(pid));
        self.left_out = 0;
        let unknown: Vec<Pid> = pids.into_iter().filter(|pid| !self.members.contains_key(pid)).collect();
        let pythons = || {
            unknown
                .iter()
                .filter(|pid| candidates::looks_like_python(**pid))
                .count()
        };
        // Rates are shared among those who are there and those who come now.
        let sharers = match unknown.is_empty() {
            true => self.members.len(),
            false => (self.members.len() + pythons()).min(MOST),
        };
        for pid in unknown {
            // Others have their turn at the next look.
            if now() >= end {
                break;
            }
            self.consider(pid, sharers);
            // What the others have to say does not wait until all have come.
            self.take_waiting();
        }
        self.ask_memory(end);
        self.next_look = now() + Nanos::from(LOOK_EVERY);
    }

    /// Takes a process up, if it runs a loop.
    fn consider(&mut self, pid: Pid, sharers: usize) {
        let Ok(fingerprint) = Fingerprint::of(pid) else { return };
        let known = self.passed.get(&pid);
        if known.is_some_and(|passed| passed.ask_again > now() && passed.fingerprint.still_same() == Sameness::Same) {
            return;
        }
        let why = match (&self.whom, candidates::looks_like_python(pid)) {
            // Whoever was named hears why it is none.
            (Whom::Below(_), false) => None,
            _ => match self.reading.probe(pid) {
                Ok(probe) if probe.loop_kind.is_none() => None,
                Ok(_) if self.members.len() >= MOST => {
                    self.left_out += 1;
                    return;
                }
                Ok(_) => match self.reading.attach(pid, &self.shared(sharers)) {
                    Ok(attached) => {
                        let worker = Worker::new(attached, &self.measuring);
                        let window_end = worker.attached_at + Nanos::from(self.measuring.window);
                        self.passed.remove(&pid);
                        let member = Member {
                            worker,
                            window_end,
                            pss: (now(), family::pss_bytes(pid).ok()),
                        };
                        self.members.insert(pid, member);
                        return;
                    }
                    Err(error) => Some(error),
                },
                Err(error) => Some(error),
            },
        };
        let passed = Passed {
            fingerprint,
            ask_again: now() + Nanos::from(ASK_AGAIN),
            why,
        };
        self.passed.insert(pid, passed);
    }

    /// What one of so many is asked for.
    fn shared(&self, sharers: usize) -> AttachOptions {
        let share = |asked: f64, all: f64, least: f64| asked.min((all / sharers.max(1) as f64).max(least));
        AttachOptions {
            rate_hz: share(self.options.rate_hz, TICKS, LEAST_TICKS),
            stack_rate_hz: self
                .options
                .stack_rate_hz
                .map(|asked| share(asked, STACKS, LEAST_STACKS)),
            ..self.options.clone()
        }
    }

    /// Asks for the memory of those of whom it is known longest ago, until the time is over.
    fn ask_memory(&mut self, end: Nanos) {
        let too_old = now() - Nanos::from(PSS_AGE);
        let mut stale: Vec<(Nanos, Pid)> = self
            .members
            .iter()
            .map(|(pid, member)| (member.pss.0, *pid))
            .filter(|(at, _)| *at <= too_old)
            .collect();
        stale.sort_unstable();
        for (_, pid) in stale {
            if now() >= end {
                return;
            }
            if let Some(member) = self.members.get_mut(&pid) {
                member.pss = (now(), family::pss_bytes(pid).ok());
            }
        }
    }
}

impl Member {
    /// Proportional set size, some seconds old.
    pub fn pss(&self) -> Option<u64> {
        self.pss.1
    }
}

impl Figures for Fleet<'_> {
    fn take_in(&mut self, patience: Duration) {
        self.wait(patience);
        drop(self.take_ended());
    }

    fn report(&mut self) -> Report {
        self.whole()
    }
}
