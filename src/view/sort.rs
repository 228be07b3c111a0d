//! By what the rows are sorted: a column and a direction. Knows nothing of pins, filters and ties.

use super::UnknownName;
use super::columns::{COLUMNS, Column, Value};
use crate::model::SessionReport;
use std::cmp::Ordering;

/// The sort keys that the original has, in the order in which its `s` goes through them.
const ORIGINAL_SORTS: [&str; 5] = ["mem_mb", "cpu_pct", "duration_s", "agent_name", "session_id"];

/// By which column the rows are sorted, and in which direction.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sort {
    column: &'static Column,
    descending: bool,
}

impl Default for Sort {
    fn default() -> Sort {
        COLUMNS
            .iter()
            .find(|column| column.sort_name == Some(ORIGINAL_SORTS[0]))
            .map_or(
                Sort {
                    column: &COLUMNS[0],
                    descending: false,
                },
                Sort::by,
            )
    }
}

impl Sort {
    /// By this column, in its own direction.
    pub fn by(column: &'static Column) -> Sort {
        Sort {
            column,
            descending: column.descends,
        }
    }

    /// The sort that `--sort` names.
    pub fn parse(name: &str) -> Result<Sort, UnknownName> {
        COLUMNS
            .iter()
            .find(|column| column.sort_name == Some(name))
            .map(Sort::by)
            .ok_or_else(|| UnknownName::new("sort key", name, Sort::names()))
    }

    /// Every name that `--sort` takes: the original's first.
    pub fn names() -> Vec<&'static str> {
        let own = COLUMNS
            .iter()
            .filter_map(|column| column.sort_name)
            .filter(|name| !ORIGINAL_SORTS.contains(name));
        ORIGINAL_SORTS.into_iter().chain(own).collect()
    }

    pub fn name(self) -> &'static str {
        self.column.sort_name.unwrap_or(self.column.key)
    }

    pub fn column(self) -> &'static Column {
        self.column
    }

    pub fn is_descending(self) -> bool {
        self.descending
    }

    pub fn flipped(self) -> Sort {
        Sort {
            descending: !self.descending,
            ..self
        }
    }

    /// The next of all sorts, in its own direction.
    pub fn next(self) -> Sort {
        let names = Sort::names();
        let place = names.iter().position(|name| *name == self.name()).unwrap_or(0);
        Sort::parse(names[(place + 1) % names.len()]).unwrap_or_default()
    }

    pub(super) fn compare(self, a: &SessionReport, b: &SessionReport) -> Ordering {
        let (a, b) = ((self.column.value)(a), (self.column.value)(b));
        let order = match (a, b) {
            (Value::Number(a), Value::Number(b)) => a.total_cmp(&b),
            (Value::Text(a), Value::Text(b)) => a.cmp(b),
            // What is not known is last, whichever way the rest runs.
            (Value::Unknown, Value::Unknown) => return Ordering::Equal,
            (Value::Unknown, _) => return Ordering::Greater,
            (_, Value::Unknown) => return Ordering::Less,
            (Value::Number(_), Value::Text(_)) => Ordering::Less,
            (Value::Text(_), Value::Number(_)) => Ordering::Greater,
        };
        if self.descending { order.reverse() } else { order }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_original_sort_names_come_first_and_others_are_refused() {
        assert_eq!(Sort::names()[..5], ORIGINAL_SORTS);
        let error = Sort::parse("bogus").unwrap_err().to_string();
        assert!(
            error.contains("one of mem_mb, cpu_pct, duration_s, agent_name, session_id, "),
            "{error}"
        );
        assert_eq!(Sort::default().name(), "mem_mb");
        let mut sort = Sort::default();
        for _ in Sort::names() {
            sort = sort.next();
        }
        assert_eq!(sort.name(), "mem_mb", "s goes round");
    }
}
