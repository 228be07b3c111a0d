//! Which specs name session, agent and tenant. Knows nothing of memory, nor of where they come from (`chooser.rs`).

use super::spec::Spec;

/// Specs of the same right, a list for each of those who say it; within a list the first that gives a text wins.
pub type Rank = Vec<Vec<Spec>>;

/// For each thing that is to be named, the specs in order: the first that gives a text wins. Agents and tenants
/// by ranks: the first in which anybody gives one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    pub session: Vec<Spec>,
    /// Others that name sessions with the same right: where they give another text, none is believed.
    pub rivals: Vec<Vec<Spec>>,
    /// How good those are that name sessions: the less, the better.
    pub rank: u8,
    /// Others that name sessions where those above give no text, the better ones first.
    pub others: Vec<(u8, Rank)>,
    pub agent: Vec<Rank>,
    pub tenant: Vec<Rank>,
    /// What the header calls them.
    pub name: String,
}

impl Rules {
    /// Sessions by these specs, and nothing else.
    pub fn of_specs(session: Vec<Spec>) -> Rules {
        Rules {
            name: Rules::name_of(&session).unwrap_or_default(),
            session,
            ..Rules::default()
        }
    }

    /// What the header calls these specs; None: there are none.
    pub fn name_of(session: &[Spec]) -> Option<String> {
        let names: Vec<String> = session.iter().map(Spec::to_string).collect();
        (!names.is_empty()).then(|| names.join(" or "))
    }
}
