//! What each session used in the last minutes, for whoever shows one alone. A stretch of about a second holds those that
//! used something: no more of them fit into it than the CPUs and the loop have time for, so ten thousand idle sessions
//! take no room. Knows nothing of who is live.

use super::percent;
use super::tally::Tally;
use crate::model::{HistoryStretch, Nanos, SessionUse};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// Stretches are remembered for so long.
const KEPT: Nanos = Nanos(300_000_000_000);
/// And so many of them.
const MOST: usize = 400;
/// Less is drawn as nothing, and remembered as nothing; percent.
const LEAST: f64 = 0.05;

#[derive(Debug, Default)]
pub(super) struct History {
    /// Oldest first.
    stretches: VecDeque<Arc<HistoryStretch>>,
}

impl History {
    /// Takes over a stretch that is closed.
    pub fn add(&mut self, tally: &Tally) {
        let Some((from, to)) = tally.span.filter(|(from, to)| to > from) else {
            return;
        };
        let mut by_session: BTreeMap<_, SessionUse> = BTreeMap::new();
        let of = |nanos: f64| percent(nanos, tally.length());
        for (key, nanos) in &tally.cpu().sessions {
            by_session.entry(*key).or_insert_with(|| SessionUse::of(*key)).cpu_pct = of(*nanos) as f32;
        }
        for (key, nanos) in &tally.held().sessions {
            by_session.entry(*key).or_insert_with(|| SessionUse::of(*key)).loop_pct = of(*nanos) as f32;
        }
        let used = by_session.into_values();
        let stretch = HistoryStretch {
            from,
            to,
            used: used
                .filter(|one| f64::from(one.cpu_pct.max(one.loop_pct)) >= LEAST)
                .collect(),
        };
        self.stretches.push_back(Arc::new(stretch));
        while self.stretches.len() > MOST || self.stretches.front().is_some_and(|first| to - first.from > KEPT) {
            self.stretches.pop_front();
        }
    }

    /// Oldest first.
    pub fn stretches(&self) -> Vec<Arc<HistoryStretch>> {
        self.stretches.iter().cloned().collect()
    }
}
