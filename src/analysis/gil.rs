//! For whom a loop waited when it waited for the GIL, and whether that one yielded. Knows nothing of the rest of a
//! block, or of names.

use super::accounting::CLOCK_STANDS_STILL;
use super::clock_watch::ClockWatch;
use super::moment::{Moment, looks_on_cpu, session_of};
use crate::model::{Gil, SessionKey, ThreadIndex};

/// CPython asks a holder to yield after 5 ms; one that keeps the GIL for three times that does not heed it.
const YIELDS_WITHIN: f64 = 15e6;
/// A loop that waits for longer has woken meanwhile, and asked the holder to yield (`take_gil` in Python/ceval_gil.c, 3.8 to
/// 3.11 Python/ceval_gil.h: every 5 ms).
const HAS_ASKED: f64 = 7e6;
/// At most so many holders are told apart in one block.
const MOST_HOLDERS: usize = 64;

/// All waiting for the GIL in one stretch.
#[derive(Clone, Debug, Default)]
pub(super) struct GilWaits {
    now: Option<Hold>,
    /// The hold that was waited for last, while the loop does something else: it wakes every 5 ms to ask for the GIL,
    /// and on a busy machine it must wait for a CPU to ask.
    paused: Option<Hold>,
    kept: Vec<Kept>,
    /// Waiting for those that yielded, nanoseconds.
    yielded: f64,
    /// Waiting for one that held the GIL and wanted a CPU itself, nanoseconds.
    unscheduled: f64,
    /// Waiting for one that held the GIL and collected garbage, nanoseconds.
    collected: f64,
}

/// One thread's uninterrupted hold of the GIL, as far as the loop waited for it.
#[derive(Clone, Copy, Debug)]
struct Hold {
    holder: Option<ThreadIndex>,
    switches: u64,
    session: Option<SessionKey>,
    /// Nanoseconds.
    waited: f64,
    /// The part of it in which the holder collected garbage.
    collected: f64,
    /// The part of it in which the holder looked as if it ran.
    running: f64,
    /// It does now.
    runs: bool,
    /// The loop has asked it to yield. Before, a holder that would yield goes on, as long as the loop gets no CPU to ask.
    asked: bool,
    clocks: Option<ClockWatch>,
}

/// Waiting for a holder that did not yield.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kept {
    pub holder: Option<ThreadIndex>,
    pub session: Option<SessionKey>,
    /// Nanoseconds, of all its holds, and of the longest one.
    pub waited: f64,
    pub longest: f64,
    /// The part of it in which the holder looked as if it ran, and its clocks say that it neither ran nor wanted a CPU.
    pub riddle: f64,
}

/// The sums, nanoseconds.
#[derive(Clone, Debug, Default)]
pub(super) struct GilSums {
    /// Of holders that did not yield, the one that was waited for longest.
    pub keeper: Option<Kept>,
    /// For all that did not yield.
    pub kept: f64,
    pub yielded: f64,
    pub unscheduled: f64,
    /// For those that collected garbage meanwhile.
    pub collected: f64,
    /// For those whose CPU the hypervisor took.
    pub stolen: f64,
    /// Of `kept`, what would have been the hypervisor's if it had taken so much.
    pub riddle: f64,
}

impl GilSums {
    /// Waiting for the GIL, for whomever, but for those that collected garbage.
    pub fn waited(&self) -> f64 {
        self.kept + self.yielded
    }
}

impl GilWaits {
    /// The loop waits at this moment: for whom?
    pub fn observe(&mut self, moment: &Moment<'_>) {
        let gil = moment.tick.gil;
        // The loop itself may still stand there as the holder, or already: then it is not known whom it waited for.
        let holder = gil.holder.filter(|holder| *holder != moment.sample.thread);
        let sample = holder.and_then(|holder| moment.of_thread(holder));
        match &mut self.now {
            Some(hold) if hold.holder == holder && hold.switches == gil.switches => {
                if let Some(sample) = sample {
                    hold.session = session_of(sample.owner).or(hold.session);
                    hold.runs = looks_on_cpu(sample.state);
                    match &mut hold.clocks {
                        Some(clocks) => clocks.see(moment.at, sample),
                        none => *none = Some(ClockWatch::new(moment.at, None, sample)),
                    }
                }
            }
            _ => {
                self.stop(moment);
                let same = |hold: &Hold| hold.holder == holder && hold.switches == gil.switches;
                if let Some(mut hold) = self.paused.take_if(|hold| same(hold)) {
                    if !hold.asked
                        && let (Some(clocks), Some(sample)) = (&mut hold.clocks, sample)
                    {
                        clocks.pass(moment.at, sample);
                    }
                    hold.asked = true;
                    self.now = Some(hold);
                    return;
                }
                if let Some(over) = self.paused.take() {
                    self.close(over, false);
                }
                self.now = Some(Hold {
                    holder,
                    switches: gil.switches,
                    session: sample.and_then(|sample| session_of(sample.owner)),
                    waited: 0.0,
                    collected: 0.0,
                    running: 0.0,
                    runs: sample.is_some_and(|sample| looks_on_cpu(sample.state)),
                    asked: false,
                    clocks: sample.map(|sample| ClockWatch::new(moment.at, None, sample)),
                });
            }
        }
    }

    /// So much more of the waiting that was last observed, nanoseconds. `collecting`: the holder collects garbage.
    pub fn add(&mut self, nanos: f64, collecting: bool) {
        if let Some(hold) = self.now.as_mut().or(self.paused.as_mut()) {
            hold.waited += nanos;
            hold.asked |= hold.waited >= HAS_ASKED;
            hold.collected += if collecting { nanos } else { 0.0 };
            hold.running += if hold.runs { nanos } else { 0.0 };
        }
    }

    /// The loop has asked for this GIL, which has not changed hands since: whatever it seems to do, it waits for a holder that
    /// did not yield. It wakes every 5 ms to ask again, and on a busy machine that takes long.
    pub fn asks_for(&self, gil: Gil) -> bool {
        let hold = self.now.as_ref().or(self.paused.as_ref());
        hold.is_some_and(|hold| {
            hold.asked && hold.holder.is_some() && (hold.holder, hold.switches) == (gil.holder, gil.switches)
        })
    }

    /// The wait is over at this moment, or it is for somebody else now.
    pub fn stop(&mut self, moment: &Moment<'_>) {
        let Some(mut hold) = self.now.take() else { return };
        if let Some(clocks) = &mut hold.clocks
            && let Some(sample) = hold.holder.and_then(|holder| moment.of_thread(holder))
        {
            clocks.see(moment.at, sample);
        }
        if let Some(before) = self.paused.replace(hold) {
            self.close(before, false);
        }
    }

    /// Books a hold that is over, or as far as it has come.
    fn close(&mut self, hold: Hold, ongoing: bool) {
        let unscheduled = hold.unscheduled(ongoing);
        self.unscheduled += unscheduled;
        let ran = hold.waited - unscheduled;
        // When in that time it wanted a CPU is not known.
        let collected = if hold.waited > 0.0 {
            hold.collected * ran / hold.waited
        } else {
            0.0
        };
        self.collected += collected;
        let waited = ran - collected;
        if waited > YIELDS_WITHIN {
            self.keep(Kept {
                holder: hold.holder,
                session: hold.session,
                waited,
                longest: waited,
                riddle: hold.riddle(ongoing).min(waited),
            });
        } else {
            self.yielded += waited;
        }
    }

    /// The sums so far, the wait that is going on included. `taken`: what the hypervisor took; what is found to have been
    /// that is subtracted.
    pub fn sums(&self, taken: &mut f64) -> GilSums {
        let mut all = self.clone();
        for (hold, ongoing) in [(all.paused.take(), false), (all.now.take(), true)] {
            if let Some(hold) = hold {
                all.close(hold, ongoing);
            }
        }
        let mut stolen = 0.0;
        for kept in &mut all.kept {
            let part = kept.riddle.min(*taken);
            (kept.waited, kept.riddle) = (kept.waited - part, kept.riddle - part);
            // Which of its holds that was in is not known.
            kept.longest = (kept.longest - part).max(0.0);
            (stolen, *taken) = (stolen + part, *taken - part);
        }
        GilSums {
            keeper: all
                .kept
                .iter()
                .copied()
                .max_by(|one, other| one.waited.total_cmp(&other.waited)),
            kept: all.kept.iter().map(|kept| kept.waited).sum(),
            yielded: all.yielded,
            collected: all.collected,
            unscheduled: all.unscheduled,
            stolen,
            riddle: all.kept.iter().map(|kept| kept.riddle).sum(),
        }
    }

    /// The sessions of all that were waited for.
    pub fn sessions(&self) -> impl Iterator<Item = SessionKey> {
        let holds = self.now.iter().chain(&self.paused).map(|hold| hold.session);
        holds.chain(self.kept.iter().map(|kept| kept.session)).flatten()
    }

    fn keep(&mut self, kept: Kept) {
        let known = self
            .kept
            .iter()
            .position(|known| known.holder == kept.holder && known.session == kept.session);
        match known {
            Some(known) => {
                self.kept[known].waited += kept.waited;
                self.kept[known].longest = self.kept[known].longest.max(kept.longest);
                self.kept[known].riddle += kept.riddle;
            }
            None if self.kept.len() < MOST_HOLDERS => self.kept.push(kept),
            None => self.yielded += kept.waited,
        }
    }
}

impl Hold {
    /// The part for which the holder itself wanted a CPU and got none: it could not have yielded.
    fn unscheduled(&self, ongoing: bool) -> f64 {
        let Some(clocks) = self.clocks else { return 0.0 };
        let now = if ongoing { clocks.waits_now() } else { 0.0 };
        (clocks.waited() + now).min(self.waited)
    }

    /// The part in which it looked as if it ran, and did not, nor wanted a CPU.
    fn riddle(&self, ongoing: bool) -> f64 {
        let Some(clocks) = self.clocks.filter(ClockWatch::are_known) else {
            return 0.0;
        };
        let left = self.running - clocks.ran() - self.unscheduled(ongoing);
        // The clock of a running thread is a scheduler tick old: so much is none.
        if left > CLOCK_STANDS_STILL.0 as f64 { left } else { 0.0 }
    }
}
