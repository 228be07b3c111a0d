//! The columns of the table, as data: the only place that says what a column is called, how wide it may be, when it
//! leaves, how its cells read and how it sorts. Knows nothing of rows as a whole, nor of who draws them.

use super::UnknownName;
use super::cells;
use super::format;
use super::line::Piece;
use super::rows::Sums;
use crate::model::SessionReport;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Align {
    Left,
    Right,
}

/// What a session has in a column, as sorting sees it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    Unknown,
    Number(f64),
    Text(&'a str),
}

/// What a cell depends on besides its session.
#[derive(Clone, Copy, Debug)]
pub struct Context {
    pub is_pinned: bool,
    /// Cells that there are; more are cut off.
    pub room: usize,
}

/// One column. `key` is its name in `--columns`, `sort_name` in `--sort`.
pub struct Column {
    pub key: &'static str,
    pub heading: &'static str,
    pub sort_name: Option<&'static str>,
    pub descends: bool,
    pub align: Align,
    /// A column that has no room for `min` cells leaves. A column whose `max` is larger is elastic; otop's own columns
    /// come only where the elastic ones have `comfort`.
    pub min: usize,
    pub comfort: usize,
    pub max: usize,
    /// Where it is narrow, the column with the highest number leaves first.
    pub leaves: u8,
    pub help: &'static str,
    /// The cell of a session.
    pub cell: fn(&SessionReport, Context) -> Piece,
    /// The cell of a row that adds sessions up; None: there is no such sum.
    pub sum: fn(&Sums) -> Option<String>,
    pub value: for<'a> fn(&'a SessionReport) -> Value<'a>,
}

/// Columns with a higher number are otop's own; the original's nine come before them.
pub const LAST_OF_THE_ORIGINAL: u8 = 8;

impl Column {
    /// What is in it is a text, with room for another.
    pub fn is_elastic(&self) -> bool {
        self.max > self.min
    }

    pub fn is_of_the_original(&self) -> bool {
        self.leaves <= LAST_OF_THE_ORIGINAL
    }
}

impl PartialEq for Column {
    fn eq(&self, other: &Column) -> bool {
        self.key == other.key
    }
}

impl std::fmt::Debug for Column {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.key)
    }
}

fn number(value: Option<f64>) -> Value<'static> {
    value
        .filter(|known| known.is_finite())
        .map_or(Value::Unknown, Value::Number)
}

fn text(value: Option<&str>) -> Value<'_> {
    value.map_or(Value::Unknown, Value::Text)
}

/// Which worker a session runs in; in the table of a pool, behind the session.
pub static WORKER: Column = Column {
    key: "worker",
    heading: "worker",
    sort_name: None,
    descends: false,
    align: Align::Right,
    min: 7,
    comfort: 7,
    max: 7,
    leaves: 1,
    help: "PID of the worker that it runs in",
    cell: |session, _| cells::label(session.worker.map(|pid| pid.to_string()).as_deref()),
    sum: |_| None,
    value: |session| number(session.worker.map(f64::from)),
};

/// Where the fixed rows have their names if no column that is shown has room for a text; it has no name itself, and nothing
/// of a session.
pub static NAMELESS: Column = Column {
    key: "",
    heading: "",
    sort_name: None,
    descends: false,
    align: Align::Left,
    min: 12,
    comfort: 12,
    max: 12,
    leaves: 0,
    help: "",
    cell: |_, _| Piece::default(),
    sum: |_| None,
    value: |_| Value::Unknown,
};

/// The columns in their order: the original's nine, then otop's own.
pub static COLUMNS: &[Column] = &[
    Column {
        key: "session",
        heading: "session",
        sort_name: Some("session_id"),
        descends: false,
        align: Align::Left,
        min: 16,
        comfort: 24,
        max: usize::MAX,
        leaves: 0,
        help: "id of the call, request or agent run",
        cell: |session, _| cells::label(Some(&session.session_id)),
        sum: |_| None,
        value: |session| Value::Text(&session.session_id),
    },
    Column {
        key: "agent",
        heading: "agent",
        sort_name: Some("agent_name"),
        descends: false,
        align: Align::Left,
        min: 6,
        comfort: 12,
        max: 32,
        leaves: 3,
        help: "which agent runs it",
        cell: |session, _| cells::label(session.agent_name.as_deref()),
        sum: |_| None,
        value: |session| text(session.agent_name.as_deref()),
    },
    Column {
        key: "tenant",
        heading: "tenant",
        sort_name: Some("tenant"),
        descends: false,
        align: Align::Left,
        min: 6,
        comfort: 12,
        max: 32,
        leaves: 4,
        help: "for whom",
        cell: |session, _| cells::label(session.tenant.as_deref()),
        sum: |_| None,
        value: |session| text(session.tenant.as_deref()),
    },
    Column {
        key: "dur",
        heading: "dur(s)",
        sort_name: Some("duration_s"),
        descends: true,
        align: Align::Right,
        min: 6,
        comfort: 6,
        max: 6,
        leaves: 5,
        help: "seconds since it went live; + since otop first saw it",
        cell: |session, _| Piece::plain(format::seconds(session.duration_s, session.duration_is_lower_bound)),
        sum: |_| None,
        value: |session| number(session.duration_s),
    },
    Column {
        key: "mem",
        heading: "mem(MB)",
        sort_name: Some("mem_mb"),
        descends: true,
        align: Align::Right,
        min: 7,
        comfort: 7,
        max: 7,
        leaves: 6,
        help: "equal share of the worker's RSS, not a measurement",
        cell: |session, _| Piece::plain(format::megabytes(session.mem_mb)),
        sum: |sums| Some(format::megabytes(sums.mem_mb)),
        value: |session| number(session.mem_mb),
    },
    Column {
        key: "peak",
        heading: "peak",
        sort_name: Some("peak_mb"),
        descends: true,
        align: Align::Right,
        min: 5,
        comfort: 5,
        max: 5,
        leaves: 7,
        help: "the largest share since it was first seen",
        cell: |session, _| Piece::plain(format::megabytes(session.peak_mb)),
        sum: |_| None,
        value: |session| number(session.peak_mb),
    },
    Column {
        key: "cpu",
        heading: "cpu%",
        sort_name: Some("cpu_pct"),
        descends: true,
        align: Align::Right,
        min: 5,
        comfort: 5,
        max: 5,
        leaves: 1,
        help: "on-CPU time of its steps and threads, percent of one core",
        cell: |session, _| Piece::plain(format::percent(session.cpu_pct)),
        sum: |sums| Some(format::percent(sums.cpu_pct)),
        value: |session| number(session.cpu_pct),
    },
    Column {
        key: "status",
        heading: "status",
        sort_name: Some("status"),
        descends: true,
        align: Align::Left,
        min: 6,
        comfort: 6,
        max: 6,
        leaves: 2,
        help: "ACTIVE, SLOW (blocked the loop), DRAINING, ERRORED",
        cell: |session, _| cells::status(session.status),
        sum: |_| None,
        value: |session| Value::Number(f64::from(session.status as u8)),
    },
    Column {
        key: "pin",
        heading: "pin",
        sort_name: None,
        descends: false,
        align: Align::Left,
        min: 3,
        comfort: 3,
        max: 3,
        leaves: 8,
        help: "* stays on top (key p, or pinned by the worker)",
        cell: |_, context| Piece::strong(if context.is_pinned { "*" } else { "" }),
        sum: |_| None,
        value: |_| Value::Unknown,
    },
    Column {
        key: "loop",
        heading: "loop%",
        sort_name: Some("loop_pct"),
        descends: true,
        align: Align::Right,
        min: 5,
        comfort: 5,
        max: 5,
        leaves: 9,
        help: "share of the time in which its steps held the loop",
        cell: |session, _| Piece::plain(format::percent(session.loop_pct)),
        sum: |sums| Some(format::percent(sums.loop_pct)),
        value: |session| number(session.loop_pct),
    },
    Column {
        key: "blocked",
        heading: "blocked",
        sort_name: Some("blocked_ms"),
        descends: true,
        align: Align::Right,
        min: 7,
        comfort: 7,
        max: 7,
        leaves: 10,
        help: "blocks of the loop it is the culprit of, and their total",
        cell: |session, _| cells::blocked(session.blocks, session.blocked_ms, session.blocked_is_lower_bound),
        sum: |sums| {
            Some(
                cells::blocked(sums.blocks, sums.blocked_ms, sums.blocked_is_lower_bound)
                    .text()
                    .to_owned(),
            )
        },
        value: |session| number(Some(session.blocked_ms)),
    },
    Column {
        key: "worst",
        heading: "worst",
        sort_name: Some("worst_block_ms"),
        descends: true,
        align: Align::Right,
        min: 5,
        comfort: 5,
        max: 5,
        leaves: 11,
        help: "the longest of its blocks",
        cell: |session, _| cells::worst(session.worst_block_ms, session.worst_is_lower_bound),
        sum: |sums| {
            Some(
                cells::worst(sums.worst_block_ms, sums.worst_is_lower_bound)
                    .text()
                    .to_owned(),
            )
        },
        value: |session| number(session.worst_block_ms),
    },
    Column {
        key: "tasks",
        heading: "tasks",
        sort_name: Some("tasks"),
        descends: true,
        align: Align::Right,
        min: 5,
        comfort: 5,
        max: 5,
        leaves: 12,
        help: "unfinished tasks that carry its id",
        cell: |session, _| Piece::plain(format::count(session.tasks)),
        sum: |sums| Some(format::count(sums.tasks)),
        value: |session| number(session.tasks.map(|tasks| tasks as f64)),
    },
    Column {
        key: "where",
        heading: "where",
        sort_name: Some("where"),
        descends: false,
        align: Align::Left,
        min: 16,
        comfort: 16,
        max: 64,
        leaves: 13,
        help: "innermost line of own code that it runs or waits for",
        cell: |session, context| Piece::plain(format::where_it_is(session.place.as_ref(), context.room)),
        sum: |_| None,
        value: |session| text(session.place.as_ref().and_then(|place| place.file.as_deref())),
    },
];

/// The column with this key; its sort name and its heading are understood too.
pub fn by_key(name: &str) -> Option<&'static Column> {
    COLUMNS
        .iter()
        .chain([&WORKER])
        .find(|column| column.key == name || column.sort_name == Some(name) || column.heading == name)
}

/// The columns that `--columns` names, in its order, each once.
pub fn choose(names: &str) -> Result<Vec<&'static Column>, UnknownName> {
    let mut chosen: Vec<&'static Column> = Vec::new();
    for name in names.split(',').map(str::trim).filter(|name| !name.is_empty()) {
        let column = by_key(name).ok_or_else(|| UnknownName::new("column", name, keys()))?;
        if !chosen.contains(&column) {
            chosen.push(column);
        }
    }
    match chosen.is_empty() {
        true => Err(UnknownName::new("column", names, keys())),
        false => Ok(chosen),
    }
}

fn keys() -> Vec<&'static str> {
    COLUMNS.iter().map(|column| column.key).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headings_are_the_documented_ones_in_their_order() {
        let headings: Vec<_> = COLUMNS.iter().map(|column| column.heading).collect();
        let original = [
            "session", "agent", "tenant", "dur(s)", "mem(MB)", "peak", "cpu%", "status", "pin",
        ];
        assert_eq!(headings[..9], original);
        assert_eq!(headings[9..], ["loop%", "blocked", "worst", "tasks", "where"]);
    }

    #[test]
    fn every_column_has_room_for_its_heading_and_leaves_at_its_own_time() {
        let mut leaves: Vec<_> = COLUMNS.iter().map(|column| column.leaves).collect();
        leaves.sort_unstable();
        leaves.dedup();
        assert_eq!(leaves.len(), COLUMNS.len());
        for column in COLUMNS {
            assert!(
                column.min <= column.max && column.heading.len() <= column.max,
                "{}",
                column.key
            );
        }
    }

    #[test]
    fn what_is_unknown_is_a_dash_in_every_column_that_could_know_it() {
        let session = SessionReport::unknown("x");
        for column in COLUMNS {
            let cell = (column.cell)(
                &session,
                Context {
                    is_pinned: false,
                    room: 40,
                },
            );
            match column.key {
                "session" | "status" | "blocked" | "pin" => {}
                key => assert_eq!(cell.text(), "—", "{key}"),
            }
        }
    }

    #[test]
    fn a_blank_id_is_quoted() {
        assert_eq!(
            (COLUMNS[0].cell)(
                &SessionReport::unknown(" "),
                Context {
                    is_pinned: false,
                    room: 40
                }
            )
            .text(),
            "\" \""
        );
    }

    #[test]
    fn columns_are_chosen_by_key_in_the_given_order() {
        let keys = |names| {
            choose(names)
                .unwrap()
                .iter()
                .map(|column| column.key)
                .collect::<Vec<_>>()
        };
        assert_eq!(keys("status, cpu,session"), ["status", "cpu", "session"]);
        assert_eq!(keys("mem_mb,dur(s),mem"), ["mem", "dur"]);
        let error = choose("session,bogus").unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("\"bogus\" is not a column: one of session, agent"),
            "{error}"
        );
        assert!(choose("").is_err());
    }
}
