//! Which ids are another session's: where a context gives an id by a better rank and one by a lower rank, both are the
//! same session's, so that a context with the lower one alone belongs to it too. Shared by all threads that look. Knows
//! nothing of presets and memory.
//!
//! Starlette's BaseHTTPMiddleware, for one, runs the rest of a request in a task of its own: the outer task has only the
//! request's id, the inner one that and the id that the program gave to the session. That is one row, not two.
//!
//! An id that stood beside several sessions (a trace through several jobs) says of none of them that a context is theirs.

use crate::model::SessionKey;
use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Ids that are known to be another session's.
const MOST: usize = 20_000;
/// Sessions beside which an id is known to have stood; with more, it stood beside several anyway.
const MOST_BESIDE: usize = 4;
/// Ids of ids that are gone through for one answer.
const MOST_FOLLOWED: usize = 32;
/// Looks at all contexts, in each of which everything is learned anew, for which an alias is kept that none of them met.
const KEPT_FOR: u64 = 2;

/// An id, by what rank of rules it was found: a text may be a session's id by one, and a trace's by another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ranked {
    pub rank: u8,
    pub key: SessionKey,
}

/// Whose a context with an id is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Belongs {
    /// The id is no other session's.
    Itself,
    /// That session's; with its id as a text.
    To(SessionKey, Arc<str>),
    /// It stood beside several.
    Nobody,
}

/// Beside which sessions an id stood.
#[derive(Clone, Debug, Default)]
struct Beside {
    sessions: Vec<(Ranked, Arc<str>)>,
    /// There were more.
    are_many: bool,
    /// The look that met it last.
    met: u64,
}

/// What is known at one time.
#[derive(Clone, Debug, Default)]
struct Table {
    beside: HashMap<Ranked, Beside>,
    /// Looks at all contexts so far.
    looks: u64,
    /// Not all that was learned found room: at the last look, or since.
    is_full: bool,
    found_no_room: bool,
}

/// What all that look have learned. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Aliases {
    shared: Arc<Shared>,
    /// The table as it was last looked at, so that an answer takes no lock.
    mine: Arc<Table>,
    generation: u64,
}

#[derive(Debug, Default)]
struct Shared {
    /// Counts the changes.
    generation: AtomicU64,
    table: Mutex<Arc<Table>>,
}

impl Aliases {
    /// Takes over what others learned.
    pub fn refresh(&mut self) {
        if self.shared.generation.load(Ordering::Acquire) != self.generation {
            let table = self.shared.table.lock().unwrap_or_else(PoisonError::into_inner);
            self.generation = self.shared.generation.load(Ordering::Acquire);
            self.mine = Arc::clone(&table);
        }
    }

    /// A context gave `lower`, and by a better rank the session `of`, which is called `text`.
    pub fn learn(&mut self, lower: Ranked, of: Ranked, text: &str) {
        self.refresh();
        if lower.key == of.key || self.mine.knows(lower, of) {
            return;
        }
        self.change(|table| table.learn(lower, of, text));
    }

    /// Whose a context is that gives no other id than this, nor one of a better rank.
    pub fn belongs(&self, id: Ranked) -> Belongs {
        self.mine.belongs(id)
    }

    /// After a look at all contexts anew, which met these: what was not met for long is forgotten.
    pub fn keep(&mut self, met: &HashSet<Ranked>) {
        self.refresh();
        if !self.mine.beside.is_empty() {
            self.change(|table| table.keep(met));
        }
    }

    fn change(&mut self, change: impl FnOnce(&mut Table)) {
        let mut table = self.shared.table.lock().unwrap_or_else(PoisonError::into_inner);
        // Held here too it would be copied for every change.
        self.mine = Arc::default();
        change(Arc::make_mut(&mut table));
        self.generation = self.shared.generation.fetch_add(1, Ordering::AcqRel) + 1;
        self.mine = Arc::clone(&table);
    }
}

impl Table {
    fn knows(&self, lower: Ranked, of: Ranked) -> bool {
        let known = self.beside.get(&lower);
        known.is_some_and(|known| known.are_many || known.sessions.iter().any(|(session, _)| *session == of))
    }

    fn learn(&mut self, lower: Ranked, of: Ranked, text: &str) {
        if self.beside.len() >= MOST && !self.beside.contains_key(&lower) {
            (self.is_full, self.found_no_room) = (true, true);
            return;
        }
        let looks = self.looks;
        let known = self.beside.entry(lower).or_default();
        known.met = looks;
        match known.sessions.len() < MOST_BESIDE {
            _ if known.sessions.iter().any(|(session, _)| *session == of) => {}
            true => known.sessions.push((of, Arc::from(text))),
            false => known.are_many = true,
        }
    }

    fn belongs(&self, id: Ranked) -> Belongs {
        let mut open = vec![id];
        let mut followed: Vec<Ranked> = Vec::new();
        let mut found: Option<(SessionKey, &Arc<str>)> = None;
        while let Some(next) = open.pop() {
            let Some(known) = self.beside.get(&next) else { continue };
            if known.are_many || followed.len() >= MOST_FOLLOWED {
                return Belongs::Nobody;
            }
            followed.push(next);
            for (session, text) in &known.sessions {
                if self.beside.contains_key(session) {
                    // Each leads to a better rank, so that this ends.
                    open.push(*session);
                } else if found.is_some_and(|(key, _)| key != session.key) {
                    return Belongs::Nobody;
                } else {
                    found = Some((session.key, text));
                }
            }
        }
        match found {
            Some((key, text)) => Belongs::To(key, Arc::clone(text)),
            // Of what found no room nothing is known, and nothing is guessed.
            None if self.is_full => Belongs::Nobody,
            None => Belongs::Itself,
        }
    }

    fn keep(&mut self, met: &HashSet<Ranked>) {
        self.looks += 1;
        let looks = self.looks;
        self.beside.retain(|lower, known| {
            if met.contains(lower) || known.sessions.iter().any(|(session, _)| met.contains(session)) {
                known.met = looks;
            }
            looks - known.met <= KEPT_FOR
        });
        self.is_full = std::mem::take(&mut self.found_no_room);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(rank: u8, id: &str) -> Ranked {
        Ranked {
            rank,
            key: SessionKey::of(id),
        }
    }

    fn to(id: &str) -> Belongs {
        Belongs::To(SessionKey::of(id), Arc::from(id))
    }

    #[test]
    fn an_id_is_the_sessions_beside_which_it_stood() {
        let mut aliases = Aliases::default();
        assert_eq!(aliases.belongs(session(7, "request")), Belongs::Itself);
        aliases.learn(session(7, "request"), session(2, "call"), "call");
        assert_eq!(aliases.belongs(session(7, "request")), to("call"));
        // The same text by another rank is another id.
        assert_eq!(aliases.belongs(session(9, "request")), Belongs::Itself);
        assert_eq!(aliases.belongs(session(2, "call")), Belongs::Itself);
    }

    #[test]
    fn an_id_beside_several_sessions_is_nobodys() {
        let mut aliases = Aliases::default();
        for i in 0..9 {
            let call = format!("call-{i}");
            aliases.learn(session(7, "trace"), session(2, &call), &call);
            let belongs = aliases.belongs(session(7, "trace"));
            assert_eq!(belongs, if i == 0 { to("call-0") } else { Belongs::Nobody });
        }
    }

    #[test]
    fn ids_of_ids_are_followed_and_a_circle_ends() {
        let mut aliases = Aliases::default();
        aliases.learn(session(9, "trace"), session(7, "request"), "request");
        assert_eq!(aliases.belongs(session(9, "trace")), to("request"));
        aliases.learn(session(7, "request"), session(2, "call"), "call");
        assert_eq!(aliases.belongs(session(9, "trace")), to("call"));
        // Beside both: one and the same.
        aliases.learn(session(9, "trace"), session(2, "call"), "call");
        assert_eq!(aliases.belongs(session(9, "trace")), to("call"));
        // What no program does.
        aliases.learn(session(2, "call"), session(9, "trace"), "trace");
        assert_eq!(aliases.belongs(session(9, "trace")), Belongs::Nobody);
    }

    #[test]
    fn who_shares_them_comes_to_the_same() {
        let mut walker = Aliases::default();
        let mut sampler = walker.clone();
        walker.learn(session(7, "request"), session(2, "call"), "call");
        sampler.refresh();
        assert_eq!(sampler.belongs(session(7, "request")), to("call"));
        sampler.learn(session(7, "request"), session(2, "other"), "other");
        walker.refresh();
        assert_eq!(walker.belongs(session(7, "request")), Belongs::Nobody);
    }

    #[test]
    fn what_is_gone_is_forgotten_and_what_lives_is_not() {
        let mut aliases = Aliases::default();
        for id in ["gone", "id-lives", "session-lives"] {
            aliases.learn(session(7, id), session(2, &format!("{id}-call")), id);
        }
        let met = HashSet::from([session(7, "id-lives"), session(2, "session-lives-call")]);
        for _ in 0..=KEPT_FOR {
            aliases.keep(&met);
        }
        assert_eq!(aliases.belongs(session(7, "gone")), Belongs::Itself);
        for id in ["id-lives", "session-lives"] {
            assert!(matches!(aliases.belongs(session(7, id)), Belongs::To(..)), "{id}");
        }
    }

    #[test]
    fn where_there_is_no_room_nothing_is_guessed() {
        let mut table = Table::default();
        for i in 0..=MOST {
            table.learn(
                session(7, &format!("request-{i}")),
                session(2, &format!("call-{i}")),
                "",
            );
        }
        assert_eq!(table.beside.len(), MOST);
        assert_eq!(table.belongs(session(7, &format!("request-{MOST}"))), Belongs::Nobody);
        for _ in 0..=KEPT_FOR {
            table.keep(&HashSet::new());
        }
        assert_eq!(table.belongs(session(7, "request-0")), Belongs::Itself);
    }
}
