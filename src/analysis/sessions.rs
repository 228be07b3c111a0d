//! The sessions: who is live, since when, with what memory, and what they did since the attach. Nothing that has ended
//! keeps an entry; its name alone is kept for as long as a block may still be said to be its. Knows nothing of samples, of
//! threads, or of how a block is judged.

use super::block_log::Charge;
use super::tally::Shares;
use crate::model::{Census, Labels, Nanos, SessionFacts, SessionKey, Status};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// For so long a row says that its session failed.
const ERRORED_ROW: Nanos = Nanos(10_000_000_000);

/// Names are kept for so long after their session ended: what was sampled before comes later, and one that comes back is
/// named again by who samples it within ten seconds (`Owners::forget`) and not at once.
const NAMED: Nanos = Nanos(15_000_000_000);
/// So many of them at most, the last ones.
const MOST_NAMES: usize = 32_768;

#[derive(Debug)]
pub(super) struct Session {
    labels: Option<Arc<Labels>>,
    /// As the last census that had it said; None: only the sampler has seen it.
    pub facts: Option<SessionFacts>,
    pub first_seen: Nanos,
    last_sampled: Option<Nanos>,
    errored_since: Option<Nanos>,
    /// The last census did not have it, and had not read everything.
    missed: bool,
    /// Highest share of the memory, bytes.
    pub peak: Option<f64>,
    /// On-CPU time in the epochs that are closed, nanoseconds.
    pub cpu: f64,
    pub blocks: u64,
    pub blocked_ms: f64,
    /// One of them began before otop looked.
    pub blocked_is_lower_bound: bool,
    pub worst: Worst,
    slow_until: Nanos,
}

/// The longest block of a session.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Worst {
    /// 0: there was none.
    pub ms: f64,
    /// It began before otop looked.
    pub is_lower_bound: bool,
}

impl Worst {
    pub fn of(charge: &Charge) -> Worst {
        Worst {
            ms: charge.duration_ms,
            is_lower_bound: charge.is_lower_bound,
        }
    }

    pub fn max(self, other: Worst) -> Worst {
        if other.ms > self.ms { other } else { self }
    }
}

#[derive(Debug, Default)]
pub(super) struct Sessions {
    by_key: BTreeMap<SessionKey, Session>,
    /// Names of sessions without an entry, and since when they have none.
    names: BTreeMap<SessionKey, (Arc<Labels>, Nanos)>,
    /// The last instant of which something was said.
    now: Nanos,
    live: u64,
}

impl Session {
    fn new(first_seen: Nanos) -> Session {
        Session {
            labels: None,
            facts: None,
            first_seen,
            last_sampled: None,
            errored_since: None,
            missed: false,
            peak: None,
            cpu: 0.0,
            blocks: 0,
            blocked_ms: 0.0,
            blocked_is_lower_bound: false,
            worst: Worst::default(),
            slow_until: Nanos::ZERO,
        }
    }

    /// By the last census.
    pub fn is_live(&self) -> bool {
        self.facts.as_ref().is_some_and(|facts| facts.live)
    }

    /// It failed, and not long ago.
    fn is_errored(&self, now: Nanos) -> bool {
        self.errored_since.is_some_and(|since| now - since < ERRORED_ROW)
    }

    /// None: it has no row.
    pub fn status(&self, now: Nanos, blocks_now: bool, draining: bool) -> Option<Status> {
        if self.is_live() {
            Some(if blocks_now || now < self.slow_until {
                Status::Slow
            } else if draining {
                Status::Draining
            } else {
                Status::Active
            })
        } else {
            self.is_errored(now).then_some(Status::Errored)
        }
    }
}

impl Sessions {
    /// The sampler met this session.
    pub fn sampled(&mut self, key: SessionKey, at: Nanos) {
        let names = &self.names;
        let new = || Session {
            labels: names.get(&key).map(|(labels, _)| Arc::clone(labels)),
            ..Session::new(at)
        };
        self.by_key.entry(key).or_insert_with(new).last_sampled = Some(at);
        self.now = self.now.max(at);
    }

    /// The names of a session that the sampler met before a census did.
    pub fn name(&mut self, key: SessionKey, labels: &Arc<Labels>) {
        match self.by_key.get_mut(&key) {
            Some(session) => {
                session.labels.get_or_insert_with(|| Arc::clone(labels));
            }
            // Its first sample is on the way.
            None => {
                self.names.insert(key, (Arc::clone(labels), self.now));
            }
        }
    }

    /// Takes over who is live. Returns whether a session was forgotten. The names of `spoken_of` are kept, whether they
    /// live or not.
    pub fn census(&mut self, census: &Census, spoken_of: &BTreeSet<SessionKey>) -> bool {
        let at = census.at;
        self.now = self.now.max(at);
        for facts in census.sessions.iter().filter(|facts| facts.live || facts.errored) {
            let session = self.by_key.entry(facts.key).or_insert_with(|| Session::new(at));
            session.labels = Some(Arc::clone(&facts.labels));
            session.facts = Some(facts.clone());
            session.missed = false;
            // A session that goes on in spite of a failure is live, not errored.
            session.errored_since = if facts.live {
                None
            } else {
                session.errored_since.or(Some(at))
            };
        }
        let seen: BTreeSet<SessionKey> = census
            .sessions
            .iter()
            .filter(|facts| facts.live || facts.errored)
            .map(|facts| facts.key)
            .collect();
        let before = self.by_key.len();
        let is_whole = census.unreadable == 0;
        let names = &mut self.names;
        self.by_key.retain(|key, session| {
            let stays = seen.contains(key)
                || session.is_errored(at)
                // It may be among what could not be read; twice in a row it is not.
                || !(is_whole || std::mem::replace(&mut session.missed, true))
                // Met while the census was being made or after: the next one will tell.
                || (session.facts.is_none() && session.last_sampled.is_some_and(|sampled| sampled >= at));
            if let (false, Some(labels)) = (stays, &session.labels) {
                names.insert(*key, (Arc::clone(labels), at));
            }
            stays
        });
        let by_key = &self.by_key;
        self.names
            .retain(|key, (_, since)| !by_key.contains_key(key) && (spoken_of.contains(key) || at - *since < NAMED));
        if self.names.len() > MOST_NAMES {
            let mut since: Vec<Nanos> = self.names.values().map(|(_, since)| *since).collect();
            since.sort_unstable();
            let oldest = since.get(since.len() - MOST_NAMES).copied().unwrap_or_default();
            self.names
                .retain(|key, (_, since)| *since >= oldest || spoken_of.contains(key));
        }
        self.live = self.by_key.values().filter(|session| session.is_live()).count() as u64;
        if let Some(share) = self.memory_share(census.rss_bytes) {
            for session in self.by_key.values_mut().filter(|session| session.is_live()) {
                session.peak = Some(session.peak.map_or(share, |peak| peak.max(share)));
            }
        }
        self.by_key.len() < before
    }

    pub fn live(&self) -> u64 {
        self.live
    }

    /// Bytes of the worker's memory for each live session.
    pub fn memory_share(&self, rss_bytes: Option<u64>) -> Option<f64> {
        rss_bytes
            .filter(|_| self.live > 0)
            .map(|rss| rss as f64 / self.live as f64)
    }

    /// Adds the on-CPU time of an epoch.
    pub fn add_cpu(&mut self, shares: &Shares) {
        for (key, nanos) in &shares.sessions {
            if let Some(session) = self.by_key.get_mut(key) {
                session.cpu += nanos;
            }
        }
    }

    /// A block has ended; its culprit, if it has one, is charged with it.
    pub fn block_ended(&mut self, charge: &Charge, slow_window: Nanos) {
        if let Some(session) = charge.culprit.and_then(|key| self.by_key.get_mut(&key)) {
            session.blocks += 1;
            session.blocked_ms += charge.duration_ms;
            session.blocked_is_lower_bound |= charge.is_lower_bound;
            session.worst = session.worst.max(Worst::of(charge));
            session.slow_until = session.slow_until.max(charge.until + slow_window);
        }
    }

    /// The names of a session, also of one that has ended, as long as something may be said of it.
    pub fn labels(&self, key: SessionKey) -> Option<Arc<Labels>> {
        let labels = self.by_key.get(&key).and_then(|session| session.labels.as_ref());
        labels.or_else(|| Some(&self.names.get(&key)?.0)).cloned()
    }

    /// Its names are known, so that nothing waits for them.
    pub fn is_named(&self, key: SessionKey) -> bool {
        self.by_key.get(&key).is_some_and(|session| session.labels.is_some())
    }

    pub fn is_known(&self, key: SessionKey) -> bool {
        self.by_key.contains_key(&key)
    }

    pub fn iter(&self) -> impl Iterator<Item = (SessionKey, &Session)> {
        self.by_key.iter().map(|(key, session)| (*key, session))
    }

    #[cfg(test)]
    pub fn entries(&self) -> usize {
        self.by_key.len() + self.names.len()
    }
}
