//! Which sessions the table shows, in which order, and what the rest adds up to. Pinned rows first, then the sort,
//! ties to blocked time, CPU and id, so that the order is total. Knows nothing of cells and widths.

use super::filter::Filter;
use super::sort::Sort;
use crate::model::{Report, SessionKey, SessionReport};
use std::collections::BTreeSet;

/// What several sessions add up to. A sum of nothing that is known is not known.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sums {
    pub sessions: usize,
    pub mem_mb: Option<f64>,
    pub cpu_pct: Option<f64>,
    pub loop_pct: Option<f64>,
    pub tasks: Option<u64>,
    pub blocks: u64,
    pub blocked_ms: f64,
    pub worst_block_ms: Option<f64>,
    pub blocked_is_lower_bound: bool,
    pub worst_is_lower_bound: bool,
}

impl Sums {
    pub fn add(&mut self, session: &SessionReport) {
        fn plus(sum: &mut Option<f64>, value: Option<f64>) {
            if let Some(value) = value {
                *sum = Some(sum.unwrap_or(0.0) + value);
            }
        }
        self.sessions += 1;
        plus(&mut self.mem_mb, session.mem_mb);
        plus(&mut self.cpu_pct, session.cpu_pct);
        plus(&mut self.loop_pct, session.loop_pct);
        if let Some(tasks) = session.tasks {
            self.tasks = Some(self.tasks.unwrap_or(0).saturating_add(tasks));
        }
        self.blocks = self.blocks.saturating_add(session.blocks);
        self.blocked_ms += session.blocked_ms;
        if let Some(worst) = session.worst_block_ms
            && self.worst_block_ms.is_none_or(|known| worst > known)
        {
            self.worst_is_lower_bound = session.worst_is_lower_bound;
            self.worst_block_ms = Some(worst);
        }
        self.blocked_is_lower_bound |= session.blocked_is_lower_bound;
    }
}

/// The sessions that are shown, in order, and the sum of the others (None where nothing is hidden).
#[derive(Debug)]
pub struct Rows<'a> {
    pub shown: Vec<&'a SessionReport>,
    pub hidden: Option<Sums>,
}

pub fn choose<'a>(report: &'a Report, filter: &Filter, sort: Sort, pins: &BTreeSet<SessionKey>) -> Rows<'a> {
    let mut sums = Sums::default();
    let mut shown: Vec<&SessionReport> = Vec::with_capacity(report.sessions.len());
    for session in &report.sessions {
        if filter.shows(session) {
            shown.push(session)
        } else {
            sums.add(session)
        }
    }
    shown.sort_by(|a, b| {
        is_pinned(b, pins)
            .cmp(&is_pinned(a, pins))
            .then_with(|| sort.compare(a, b))
            .then_with(|| b.blocked_ms.total_cmp(&a.blocked_ms))
            .then_with(|| known(b.cpu_pct).total_cmp(&known(a.cpu_pct)))
            .then_with(|| a.session_id.cmp(&b.session_id))
            .then_with(|| a.key.cmp(&b.key))
    });
    Rows {
        shown,
        hidden: (sums.sessions > 0).then_some(sums),
    }
}

/// Unknown CPU sorts below every known one.
fn known(cpu_pct: Option<f64>) -> f64 {
    cpu_pct.filter(|value| value.is_finite()).unwrap_or(f64::NEG_INFINITY)
}

pub fn is_pinned(session: &SessionReport, pins: &BTreeSet<SessionKey>) -> bool {
    session.pinned || pins.contains(&session.key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Status;
    use crate::view::filter::STATUSES;
    use crate::view::sample;
    use proptest::prelude::*;

    fn ids(rows: &Rows) -> Vec<String> {
        rows.shown.iter().map(|session| session.session_id.clone()).collect()
    }

    fn order(report: &Report, sort: &str) -> Vec<String> {
        ids(&choose(
            report,
            &Filter::default(),
            Sort::parse(sort).unwrap(),
            &BTreeSet::new(),
        ))
    }

    #[test]
    fn equal_shares_are_sorted_by_who_blocked_then_by_cpu() {
        let report = sample::report(sample::six());
        let order = order(&report, "mem_mb");
        assert_eq!(order[0], "AJ_004huv9tJYKq", "the one that blocked");
        assert_eq!(order[1], "AJ_002K9ggw8rCx", "then the most CPU");
        assert_eq!(order[5], "AJ_003naxhwfGRC");
    }

    #[test]
    fn text_ascends_and_numbers_descend_until_flipped() {
        let report = sample::report(sample::six());
        assert_eq!(order(&report, "session_id")[0], "AJ_000sYfnHPcRu");
        assert_eq!(order(&report, "cpu_pct")[0], "AJ_004huv9tJYKq");
        let flipped = Sort::parse("cpu_pct").unwrap().flipped();
        let rows = choose(&report, &Filter::default(), flipped, &BTreeSet::new());
        assert_eq!(rows.shown[0].cpu_pct, Some(2.7));
    }

    #[test]
    fn unknown_is_last_in_both_directions() {
        let mut sessions = sample::six();
        sessions[2].cpu_pct = None;
        let report = sample::report(sessions);
        for sort in [
            Sort::parse("cpu_pct").unwrap(),
            Sort::parse("cpu_pct").unwrap().flipped(),
        ] {
            let rows = choose(&report, &Filter::default(), sort, &BTreeSet::new());
            assert_eq!(rows.shown[5].session_id, "AJ_002K9ggw8rCx");
        }
    }

    #[test]
    fn pinned_rows_stay_on_top() {
        let mut sessions = sample::six();
        sessions[3].pinned = true;
        let pins = BTreeSet::from([sessions[0].key]);
        let report = sample::report(sessions);
        for name in Sort::names() {
            let rows = choose(&report, &Filter::default(), Sort::parse(name).unwrap(), &pins);
            let top: BTreeSet<_> = ids(&rows)[..2].iter().cloned().collect();
            assert_eq!(
                top,
                BTreeSet::from(["AJ_000sYfnHPcRu".to_owned(), "AJ_003naxhwfGRC".to_owned()]),
                "{name}"
            );
        }
    }

    fn any_session() -> impl Strategy<Value = SessionReport> {
        let number = proptest::option::of(prop_oneof![Just(0.0), Just(f64::NAN), 0.0..200.0f64]);
        let name = proptest::option::of("[ab]{0,2}");
        (
            ("[ab]{0,3}", name.clone(), name),
            (number.clone(), number.clone(), number),
            0u64..4,
            any::<bool>(),
            0..4,
        )
            .prop_map(
                |((id, agent, tenant), (cpu, mem, share), blocks, pinned, status)| SessionReport {
                    agent_name: agent,
                    tenant,
                    cpu_pct: cpu,
                    mem_mb: mem,
                    loop_pct: share,
                    blocks,
                    blocked_ms: blocks as f64 * 60.0,
                    pinned,
                    status: [Status::Active, Status::Slow, Status::Draining, Status::Errored][status as usize],
                    ..SessionReport::unknown(&id)
                },
            )
    }

    fn close(a: Option<f64>, b: f64) -> bool {
        (a.unwrap_or(0.0) - b).abs() < 1e-6
    }

    proptest! {
        #[test]
        fn the_order_is_total_and_does_not_depend_on_the_order_before(
            sessions in proptest::collection::vec(any_session(), 0..12), sort in 0usize..13, flip: bool,
        ) {
            let sort = Sort::parse(Sort::names()[sort]).unwrap();
            let sort = if flip { sort.flipped() } else { sort };
            let mut once = sample::report(sessions);
            let first = choose(&once, &Filter::default(), sort, &BTreeSet::new());
            let shape = |rows: &Rows| rows.shown.iter().map(|s| format!("{s:?}")).collect::<Vec<_>>();
            let again = shape(&first);
            let keys: Vec<_> = first.shown.iter().map(|s| (s.key, s.cpu_pct.map(f64::to_bits))).collect();
            once.sessions.reverse();
            let second = choose(&once, &Filter::default(), sort, &BTreeSet::new());
            let other: Vec<_> = second.shown.iter().map(|s| (s.key, s.cpu_pct.map(f64::to_bits))).collect();
            // Sessions with one and the same id do not occur; for the others the order is one.
            let distinct: BTreeSet<_> = keys.iter().map(|(key, _)| key).collect();
            if distinct.len() == keys.len() {
                prop_assert_eq!(keys, other);
                prop_assert_eq!(again, shape(&second));
            }
        }

        #[test]
        fn shown_and_hidden_are_all(
            sessions in proptest::collection::vec(any_session(), 0..12), text in "[ab]{0,2}", status in 0usize..5,
        ) {
            let sessions: Vec<_> = sessions
                .into_iter()
                .map(|session| SessionReport { cpu_pct: session.cpu_pct.filter(|v| !v.is_nan()), ..session })
                .collect();
            let report = sample::report(sessions);
            let filter = Filter { status: STATUSES[status].1, text, ..Filter::default() };
            let rows = choose(&report, &filter, Sort::default(), &BTreeSet::new());
            let hidden = rows.hidden.clone().unwrap_or_default();
            prop_assert_eq!(rows.shown.len() + hidden.sessions, report.sessions.len());
            let mut total = Sums::default();
            report.sessions.iter().for_each(|session| total.add(session));
            let mut shown = Sums::default();
            rows.shown.iter().for_each(|session| shown.add(session));
            let both = shown.cpu_pct.unwrap_or(0.0) + hidden.cpu_pct.unwrap_or(0.0);
            prop_assert!(close(total.cpu_pct, both));
            prop_assert_eq!(total.blocks, shown.blocks + hidden.blocks);
            prop_assert_eq!(rows.hidden.is_some(), hidden.sessions > 0);
        }
    }
}
