//! The rules of a resolver, worked out once: which of them are of the same right, and which are asked only where the better
//! ones give nothing. Knows nothing of memory.

use super::spec::{Reading, Spec};
use std::sync::Arc;

/// A spec, and what of it is worked out once.
pub(super) struct Rule {
    pub spec: Spec,
    pub readings: Vec<Reading>,
    /// What it gives is not told.
    pub gives_credentials: bool,
}

impl Rule {
    fn of(specs: &[Spec]) -> Vec<Rule> {
        let rule = |spec: &Spec| Rule {
            spec: spec.clone(),
            readings: spec.readings(),
            gives_credentials: spec.leads_to_a_credential(),
        };
        specs.iter().map(rule).collect()
    }
}

/// Lists of rules of the same right.
pub(super) type Rivals = Arc<[Vec<Rule>]>;

/// What names sessions where nothing better does.
#[derive(Clone)]
pub(super) struct Level {
    pub rank: u8,
    pub rivals: Rivals,
}

pub(super) fn rivals<'s>(lists: impl IntoIterator<Item = &'s Vec<Spec>>) -> Rivals {
    lists.into_iter().map(|specs| Rule::of(specs)).collect()
}
