//! Which sessions are shown: by status, agent and tenant as they are, by a text as a part. Knows nothing of their order.

use super::UnknownName;
use crate::model::{SessionReport, Status};

/// Which sessions are shown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// None: all.
    pub status: Option<Status>,
    pub agent: Option<String>,
    pub tenant: Option<String>,
    /// Part of the id, the agent or the tenant, in any case of letters.
    pub text: String,
}

pub(super) const STATUSES: [(&str, Option<Status>); 5] = [
    ("all", None),
    ("active", Some(Status::Active)),
    ("slow", Some(Status::Slow)),
    ("draining", Some(Status::Draining)),
    ("errored", Some(Status::Errored)),
];

/// The status that `--status` names; None: all.
pub fn parse_status(name: &str) -> Result<Option<Status>, UnknownName> {
    STATUSES
        .iter()
        .find(|(known, _)| *known == name)
        .map(|(_, status)| *status)
        .ok_or_else(|| UnknownName::new("status", name, STATUSES.iter().map(|(known, _)| *known).collect()))
}

impl Filter {
    pub fn status_name(&self) -> &'static str {
        STATUSES
            .iter()
            .find(|(_, status)| *status == self.status)
            .map_or("all", |(name, _)| name)
    }

    pub(super) fn next_status(&mut self) {
        let place = STATUSES
            .iter()
            .position(|(_, status)| *status == self.status)
            .unwrap_or(0);
        self.status = STATUSES[(place + 1) % STATUSES.len()].1;
    }

    pub fn shows(&self, session: &SessionReport) -> bool {
        let exactly = |wanted: &Option<String>, got: &Option<String>| wanted.is_none() || wanted == got;
        let contains = |text: Option<&str>| text.is_some_and(|text| contains_any_case(text, &self.text));
        self.status.is_none_or(|status| status == session.status)
            && exactly(&self.agent, &session.agent_name)
            && exactly(&self.tenant, &session.tenant)
            && (self.text.is_empty()
                || contains(Some(&session.session_id))
                || contains(session.agent_name.as_deref())
                || contains(session.tenant.as_deref()))
    }
}

fn contains_any_case(text: &str, part: &str) -> bool {
    text.to_lowercase().contains(&part.to_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::sample;

    #[test]
    fn filters_match_exactly_but_text_matches_parts() {
        let report = sample::report(sample::six());
        let count = |filter: Filter| report.sessions.iter().filter(|one| filter.shows(one)).count();
        assert_eq!(
            count(Filter {
                agent: Some("dental".into()),
                ..Filter::default()
            }),
            2
        );
        assert_eq!(
            count(Filter {
                agent: Some("Dental".into()),
                ..Filter::default()
            }),
            0
        );
        assert_eq!(
            count(Filter {
                tenant: Some("acme".into()),
                ..Filter::default()
            }),
            2
        );
        assert_eq!(
            count(Filter {
                tenant: Some("acm".into()),
                ..Filter::default()
            }),
            0
        );
        assert_eq!(
            count(Filter {
                status: Some(Status::Slow),
                ..Filter::default()
            }),
            1
        );
        assert_eq!(
            count(Filter {
                text: "DENT".into(),
                ..Filter::default()
            }),
            2
        );
        assert_eq!(
            count(Filter {
                text: "004HUV".into(),
                ..Filter::default()
            }),
            1
        );
        assert_eq!(
            count(Filter {
                text: "nobody".into(),
                ..Filter::default()
            }),
            0
        );
    }
}
