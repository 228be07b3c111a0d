//! The proof of an answer: the bytes that must still be as they were for it to be right, and how long it may be believed.
//! Knows nothing of rules, nor of what the answer is.

use crate::cpython::Links;
use crate::memory::Scatter;
use crate::model::Addr;

/// Everything that must still be as it was for the same answer to be right: the variables of the context (`vars`, which
/// never change: a `ContextVar.set` makes new ones), every link from there to the place that keeps the value, and the
/// text itself. All of it, because all addresses may come back with another content within a few milliseconds: a
/// consumer that sets a new id for every item frees the old one, and the trie around it, just before.
#[derive(Clone, Debug)]
pub struct Proof {
    pub vars: Addr,
    /// Where, and which bytes.
    pub(super) parts: Links,
    pub(super) holds: Holds,
}

/// How long an answer may be believed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Holds {
    /// As long as what proves it is the same.
    #[default]
    Long,
    /// This once: something that was not at hand would decide.
    Once,
    /// Not at all: what decides moved on while it was looked at.
    Never,
}

/// The slots of a scatter in which a proof's bytes will be: the first, as many as the proof has parts.
#[derive(Clone, Copy, Debug)]
pub struct ProofSlots {
    first: usize,
}

impl Proof {
    /// Asks for the bytes that the proof needs, beside the context's own head.
    pub fn push(&self, scatter: &mut Scatter) -> ProofSlots {
        let first = scatter.len();
        for (at, bytes) in &self.parts {
            scatter.push(*at, bytes.len());
        }
        ProofSlots { first }
    }

    /// All of it was read, whatever it is.
    pub fn is_read(&self, scatter: &Scatter, slots: ProofSlots) -> bool {
        (0..self.parts.len()).all(|i| scatter.bytes(slots.first + i).is_some())
    }

    /// Whether the bytes that were read are still the same. `vars` is what the context's head holds now.
    pub fn holds(&self, vars: Addr, scatter: &Scatter, slots: ProofSlots) -> bool {
        self.holds == Holds::Long && self.holds_once(vars, scatter, slots)
    }

    /// The answer is for one look: at another, more may be at hand.
    pub fn is_for_once(&self) -> bool {
        self.holds != Holds::Long
    }

    /// As `holds`, for the look that follows at once: also for an answer that is for this once.
    pub fn holds_once(&self, vars: Addr, scatter: &Scatter, slots: ProofSlots) -> bool {
        let mut parts = self.parts.iter().enumerate();
        self.holds != Holds::Never
            && vars == self.vars
            && parts.all(|(i, (_, known))| scatter.bytes(slots.first + i) == Some(known.as_slice()))
    }
}
