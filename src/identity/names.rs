//! What is said of a session's agent and tenant, and how it is shown where different things are said. Knows nothing of
//! memory, nor of who says it.

use std::collections::BTreeSet;

/// Candidates that are shown where different things are said.
const MOST_SAID: usize = 4;

/// What is said of a session's agent and tenant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    pub agents: BTreeSet<String>,
    pub tenants: BTreeSet<String>,
}

impl Names {
    /// These, and what another context of the same session says.
    pub fn add(&mut self, more: &Names) {
        self.agents.extend(more.agents.iter().cloned());
        self.tenants.extend(more.tenants.iter().cloned());
    }
}

/// One name of all that are said; None: none is.
pub(super) fn one(said: &BTreeSet<String>) -> Option<String> {
    match said.len() {
        0 | 1 => said.first().cloned(),
        _ => Some(in_question(said)),
    }
}

/// What different things are said of: all of them, behind a `?`.
pub(super) fn in_question<'s>(said: impl IntoIterator<Item = &'s String>) -> String {
    let mut said: Vec<&str> = said.into_iter().map(String::as_str).collect();
    if said.len() > MOST_SAID {
        said.truncate(MOST_SAID);
        said.push("…");
    }
    format!("? {}", said.join(" | "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn what_differs_is_in_question_and_the_candidates_are_few() {
        assert_eq!(one(&said(&[])), None);
        assert_eq!(one(&said(&["sales"])).as_deref(), Some("sales"));
        assert_eq!(one(&said(&["support", "sales"])).as_deref(), Some("? sales | support"));
        let many = one(&said(&["a", "b", "c", "d", "e", "f"]));
        assert_eq!(many.as_deref(), Some("? a | b | c | d | …"));
    }

    #[test]
    fn contexts_of_one_session_add_up() {
        let mut all = Names::default();
        for agent in ["sales", "support", "sales"] {
            all.add(&Names {
                agents: said(&[agent]),
                tenants: said(&["acme"]),
            });
        }
        assert_eq!((all.agents.len(), one(&all.tenants).as_deref()), (2, Some("acme")));
    }
}
