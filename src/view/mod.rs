//! The table as data: which columns and rows there are, what every cell says, how an action changes what is shown.
//! Pure: no clock, no terminal, no process; the same report and state give the same picture, for the live table
//! (`tui`) and for text (`export`) alike.
//!
//! Read in this order: `columns` and `cells` (what a column is), `filter`, `sort` and `rows` (which sessions, in which
//! order), `widths` and `table` (what fits), `header` and `alarm` (what stands above), `keys` and `state` (what the
//! user does), `screen` (all of it in a terminal of a given size). `line` and `printable` carry every string; nothing
//! of the worker's gets round them.

mod alarm;
pub mod block_words;
mod cells;
mod columns;
mod filter;
mod format;
mod header;
mod keys;
mod line;
mod printable;
mod rows;
#[cfg(test)]
pub(crate) mod sample;
mod screen;
mod sort;
mod state;
mod table;
#[cfg(test)]
mod tests;
mod widths;

pub use columns::{COLUMNS, Column, choose as choose_columns};
pub use filter::{Filter, parse_status};
pub use format::place;
pub use format::stretch;
pub use header::{Chart, HeaderLine, lines as header_lines, title};
pub use keys::{Action, Binding, Key, Step, TABLE_KEYS, TEXT_KEYS, action_for};
pub use line::{Line, Piece, Tone};
pub use printable::{is_unprintable, printable, width};
pub use rows::{Rows, choose as choose_rows};
pub use screen::{GAP, Help, Picture, caption, nothing, picture};
pub use sort::Sort;
pub use state::{Effect, Options, ViewState};
pub use table::{Row, Table, Wanted};
pub use widths::{Placed, Room};

/// A name that is none of those that are known here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{given:?} is not a {what}: one of {}", valid.join(", "))]
pub struct UnknownName {
    what: &'static str,
    given: String,
    valid: Vec<&'static str>,
}

impl UnknownName {
    fn new(what: &'static str, given: &str, valid: Vec<&'static str>) -> UnknownName {
        UnknownName {
            what,
            given: printable(given),
            valid,
        }
    }
}
