//! Several workers that are being watched as one: finds those that come, lets go of those that end, and keeps the cost of
//! all of them together within bounds. Knows nothing of terminals and formats; one worker alone is `worker`'s.

pub mod once;
#[cfg(test)]
mod tests;
mod unwatched;

use super::error::CliError;
use super::output;
use super::plan::Measuring;
use super::table::live::Figures;
use super::wire::{AttachOptions, Peaks, Reading, Watched, merge};
use super::worker::{Worker, now};
use crate::model::{LeftOut, Nanos, Pid, Report};
use crate::process::{self, Fingerprint, Sameness, candidates, family};
use crate::source::error::AttachError;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use unwatched::{Passed, Unwatched, refusal, refused_below, word};

/// Workers that are watched at once: each has three threads here.
pub const MOST: usize = 64;
/// Ticks and stacks a second that all workers share, and the least that one gets: a block of 50 ms has to be seen.
const TICKS: f64 = 4000.0;
const LEAST_TICKS: f64 = 100.0;
const STACKS: f64 = 400.0;
const LEAST_STACKS: f64 = 10.0;
/// How often to look who has come: one who comes is to show within two seconds, with the first figures.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How long one look may go on asking and attaching: keys want an answer.
const LOOK_FOR: Duration = Duration::from_millis(150);
/// The first look, before there is a picture: long, so that it is of all of them on a busy machine too.
const FIRST_LOOK: Duration = Duration::from_secs(15);
/// What is no worker is asked again after this: an import takes its time, and then a loop runs.
const ASK_AGAIN: Duration = Duration::from_millis(1000);
/// What does not look like Python is looked at again after as long as it has run, within these bounds: an embedded Python
/// comes with a library, mostly at once, and to see it takes reading all mappings of a process.
const LOOK_AGAIN: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(10));
/// A worker for which there is no place is asked again after this, whether it still is one.
const COUNT_AGAIN: Duration = Duration::from_secs(10);
/// How old a proportional set size may become.
const PSS_AGE: Duration = Duration::from_secs(5);
/// One that ended is shown for so long with what happened; it is to be gone within two seconds.
const SHOWN_ENDED: Nanos = Nanos(1_200_000_000);
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
    /// Who was named, so that a number that is given out again is not taken for the process that had it.
    named: Vec<Fingerprint>,
    /// Who was named and was not there, or is no process: nothing that comes under their numbers later is meant.
    missing: Vec<(Pid, Unwatched)>,
    members: BTreeMap<Pid, Member>,
    passed: BTreeMap<Pid, Passed>,
    next_look: Nanos,
    peaks: Peaks,
}

/// One of them.
pub struct Member {
    pub worker: Worker,
    /// Where its window of `--json` ends.
    pub window_end: Nanos,
    /// When it was asked, and what the answer was.
    pss: (Nanos, Option<u64>),
    /// When it was seen to have ended.
    ended_at: Option<Nanos>,
}

impl<'r> Fleet<'r> {
    /// Looks who is there. Fails where none of the named is a process, and where all of them are refused: whoever asks about
    /// four workers, one of which has just died, asks about the other three.
    pub fn open(
        whom: Whom,
        options: AttachOptions,
        measuring: &Measuring,
        reading: &'r dyn Reading,
    ) -> Result<Fleet<'r>, CliError> {
        let mut fleet = Fleet::of(whom, options, measuring, reading);
        if fleet.named.is_empty() {
            return Err(fleet.nothing());
        }
        fleet.look(FIRST_LOOK);
        if !fleet.members.is_empty() {
            return Ok(fleet);
        }
        let mut refused: Vec<CliError> = match &fleet.whom {
            Whom::Below(root) => refused_below(*root, fleet.not_watched().map(|(_, is)| is)),
            Whom::Named(_) => match fleet.passed.values().any(|one| matches!(one.is, Unwatched::Refused(_))) {
                true => return Err(fleet.nothing()),
                false => return Ok(fleet),
            },
        };
        if refused.is_empty() {
            return Ok(fleet);
        }
        let first = refused.remove(0);
        for error in &refused {
            output::say(&refusal(error));
        }
        Err(first)
    }

    /// The same before the first look.
    fn of(whom: Whom, options: AttachOptions, measuring: &Measuring, reading: &'r dyn Reading) -> Fleet<'r> {
        let pids = match &whom {
            Whom::Named(pids) => pids.as_slice(),
            Whom::Below(root) => std::slice::from_ref(root),
        };
        let identify = |pid: Pid| -> Result<Fingerprint, AttachError> {
            process::whole_process(pid)?;
            Ok(Fingerprint::of(pid)?)
        };
        let (mut named, mut missing) = (Vec::new(), Vec::new());
        for &pid in pids {
            match identify(pid) {
                Ok(fingerprint) => named.push(fingerprint),
                Err(error) => missing.push((pid, Unwatched::Refused(error))),
            }
        }
        Fleet {
            reading,
            options,
            measuring: measuring.clone(),
            named,
            missing,
            whom,
            members: BTreeMap::new(),
            passed: BTreeMap::new(),
            next_look: Nanos::ZERO,
            peaks: Peaks::default(),
        }
    }

    /// Why none of those who were named can be watched: the first refusal, those of processes that are there before the
    /// others. What is said of the rest is said.
    fn nothing(&self) -> CliError {
        let refused = self.not_watched().find_map(|(pid, is)| match is {
            Unwatched::Refused(error) => Some((pid, error.clone())),
            _ => None,
        });
        let Some((first, error)) = refused else {
            return self.nobody();
        };
        for word in self.words(Some(first)) {
            output::say(&word);
        }
        error.into()
    }

    /// Who is not watched, and what is known of each.
    fn not_watched(&self) -> impl Iterator<Item = (Pid, &Unwatched)> {
        let passed = self.passed.iter().map(|(pid, passed)| (*pid, &passed.is));
        passed.chain(self.missing.iter().map(|(pid, is)| (*pid, is)))
    }

    pub fn members(&mut self) -> impl Iterator<Item = &mut Member> {
        self.members.values_mut()
    }

    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Who is there and not watched, of all that have been asked so far.
    pub fn left_out(&self) -> LeftOut {
        unwatched::count(self.not_watched().map(|(_, is)| is))
    }

    /// Why those who were named are not watched, a line each; nobody below a root was, and those that are alike have one.
    /// `but`: is said elsewhere.
    pub fn words(&self, but: Option<Pid>) -> Vec<String> {
        let others = self.not_watched().filter(|(pid, _)| Some(*pid) != but);
        match &self.whom {
            Whom::Named(_) => others.filter_map(|(pid, is)| word(pid, is)).collect(),
            Whom::Below(root) => {
                let refused = refused_below(*root, others.map(|(_, is)| is));
                refused.iter().map(refusal).collect()
            }
        }
    }

    /// Nobody is left, and nobody can come any more.
    pub fn is_over(&self) -> bool {
        self.members.is_empty() && !self.can_grow()
    }

    fn can_grow(&self) -> bool {
        self.named.iter().any(is_there)
    }

    /// Why there is nobody: those who were named are Python without a loop, or without asyncio, as is said of each; below a
    /// process no worker runs.
    pub fn nobody(&self) -> CliError {
        match &self.whom {
            Whom::Named(_) => CliError::NoLoops {
                lack_asyncio: self
                    .passed
                    .values()
                    .any(|one| matches!(one.is, Unwatched::WithoutAsyncio)),
            },
            Whom::Below(root) => CliError::NoWorkerBelow { pid: *root },
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

    /// Lets go of those that ended a while ago. The last ones stay, where nobody can come any more: these are the last
    /// figures.
    fn let_go(&mut self) {
        let at = now();
        for member in self.members.values_mut() {
            if member.worker.ending().is_some() {
                member.ended_at.get_or_insert(at);
            }
        }
        if !self.is_alive() {
            return;
        }
        let is_shown = |ended_at: Option<Nanos>| ended_at.is_none_or(|ended_at| at - ended_at < SHOWN_ENDED);
        self.members.retain(|_, member| is_shown(member.ended_at));
    }

    /// A worker lives, or may come.
    fn is_alive(&self) -> bool {
        self.members.values().any(|member| member.ended_at.is_none()) || self.can_grow()
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
        let left_out = self.left_out();
        let watched = self.members.values_mut().map(|member| Watched {
            report: member.worker.report_with_blocks(),
            pss_bytes: member.pss(),
        });
        let mut report = merge(root, watched.collect(), left_out);
        self.peaks.fill_in(&mut report.sessions);
        if let Some(pool) = &mut report.pool {
            pool.is_over = !self.is_alive();
        }
        report
    }

    fn look(&mut self, time: Duration) {
        let pids = self.there();
        self.passed.retain(|pid, _| pids.contains(pid));
        for pid in pids {
            if !self.members.contains_key(&pid) {
                self.get_to_know(pid);
            }
        }
        // Rates are shared among those who are there and those who come now.
        let pythons = self.passed.values().filter(|one| !matches!(one.is, Unwatched::Foreign));
        let sharers = (self.members.len() + pythons.count()).min(MOST);
        // Not before it is known who is there: that took its own time, and must not take theirs.
        let end = now() + Nanos::from(time);
        for pid in self.queue() {
            self.consider(pid, sharers);
            // What the others have to say does not wait until all have come.
            self.take_waiting();
            // Whoever is left has a turn at the next look.
            if now() >= end {
                break;
            }
        }
        self.ask_memory(end);
        self.next_look = now() + Nanos::from(LOOK_EVERY);
    }

    /// The processes that are meant and live.
    fn there(&self) -> BTreeSet<Pid> {
        let named = self.named.iter().filter(|one| is_there(one)).map(Fingerprint::pid);
        match &self.whom {
            Whom::Named(_) => named.collect(),
            Whom::Below(_) => named
                .flat_map(|root| std::iter::once(root).chain(family::below(root)))
                .collect(),
        }
    }

    /// Takes note of a process that is new, runs another program now, or was no Python for a while.
    fn get_to_know(&mut self, pid: Pid) {
        if let Some(passed) = self.passed.get(&pid) {
            let is_old_news = matches!(passed.is, Unwatched::Foreign) && passed.ask_again <= now();
            if !is_old_news && passed.fingerprint.still_same() == Sameness::Same {
                return;
            }
        }
        self.passed.remove(&pid);
        let Ok(fingerprint) = Fingerprint::of(pid) else { return };
        // Whoever was named hears why it is none.
        let is_python = matches!(self.whom, Whom::Named(_)) || candidates::looks_like_python(pid);
        let (is, ask_again) = if is_python {
            (Unwatched::Unasked, now())
        } else {
            let (least, most) = LOOK_AGAIN;
            let patience = process::uptime(pid).unwrap_or(least).clamp(least, most);
            (Unwatched::Foreign, now() + Nanos::from(patience))
        };
        let passed = Passed {
            fingerprint,
            is,
            ask_again,
        };
        self.passed.insert(pid, passed);
    }

    /// Who is to have a turn, whoever has been due for longest first. Newcomers and those who are asked again take turns:
    /// neither can keep the other waiting for ever.
    fn queue(&self) -> Vec<Pid> {
        let (now, is_full) = (now(), self.is_full());
        let due = self.passed.iter().filter(|(_, passed)| passed.is_due(now, is_full));
        let mut due: Vec<(Nanos, Pid, bool)> = due
            .map(|(pid, passed)| (passed.ask_again, *pid, matches!(passed.is, Unwatched::Unasked)))
            .collect();
        due.sort_unstable();
        let (new, again): (Vec<_>, Vec<_>) = due.into_iter().partition(|(_, _, is_new)| *is_new);
        let (mut new, mut again) = (new.into_iter(), again.into_iter());
        let mut queue = Vec::new();
        loop {
            let before = queue.len();
            queue.extend(new.next().map(|(_, pid, _)| pid));
            queue.extend(again.next().map(|(_, pid, _)| pid));
            if queue.len() == before {
                return queue;
            }
        }
    }

    fn is_full(&self) -> bool {
        self.members.len() >= MOST
    }

    /// Takes a process up, if it runs a loop and there is a place.
    fn consider(&mut self, pid: Pid, sharers: usize) {
        // The place that was free when the look began may have been taken.
        let is_due = |passed: &Passed| passed.is_due(now(), self.is_full());
        if !self.passed.get(&pid).is_some_and(is_due) {
            return;
        }
        let is = match self.reading.probe(pid) {
            Ok(probe) if !probe.has_asyncio => Unwatched::WithoutAsyncio,
            Ok(probe) if probe.loop_kind.is_none() => Unwatched::Idle,
            Ok(_) if self.is_full() => Unwatched::TooMany,
            Ok(_) => match self.reading.attach(pid, &self.shared(sharers)) {
                Ok(attached) => {
                    let worker = Worker::new(attached, &self.measuring);
                    let window_end = worker.attached_at + Nanos::from(self.measuring.window);
                    self.passed.remove(&pid);
                    let member = Member {
                        worker,
                        window_end,
                        pss: (now(), family::pss_bytes(pid).ok()),
                        ended_at: None,
                    };
                    self.members.insert(pid, member);
                    return;
                }
                Err(error) => Unwatched::Refused(error),
            },
            Err(error) => Unwatched::Refused(error),
        };
        let patience = match is {
            Unwatched::TooMany => COUNT_AGAIN,
            _ => ASK_AGAIN,
        };
        if let Some(passed) = self.passed.get_mut(&pid) {
            passed.is = is;
            passed.ask_again = now() + Nanos::from(patience);
        }
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

/// It lives, under whatever program.
fn is_there(one: &Fingerprint) -> bool {
    one.still_same() != Sameness::Exited
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
        self.let_go();
    }

    fn report(&mut self) -> Report {
        self.whole()
    }
}
