//! The table as data: which columns and rows there are, what every cell says, how an action changes what is shown.
//! Pure: no clock, no terminal, no process; the same report and state give the same picture, for the live table
//! (`tui`) and for text (`export`) alike.
//!
//! Read in this order: `columns` and `cells` (what a column is), `filter`, `sort` and `rows` (which sessions, in which
//! order), `widths` and `table` (what fits), `header` and `alarm` (what stands above), `action`, `keys` and `state` (what
//! the user does), `pages` with `blocks_page` and `session_page` (what may stand in the table's place), `screen` (all of it
//! in a terminal of a given size). `line` and `printable` carry every string; nothing
//! of the worker's gets round them.

mod action;
mod alarm;
pub mod block_words;
mod blocks_page;
mod cells;
mod columns;
mod filter;
mod format;
mod header;
mod keys;
mod line;
mod pages;
mod printable;
mod rows;
#[cfg(test)]
pub(crate) mod sample;
mod screen;
mod session_page;
mod sheet;
mod sort;
mod state;
mod table;
#[cfg(test)]
mod tests;
mod widths;

pub use action::{Action, Key, Mood, Step};
pub use columns::{COLUMNS, Column, choose as choose_columns};
pub use filter::{Filter, parse_status};
pub use format::{short_path, stretch};
pub use header::{Chart, HeaderLine, lines as header_lines, title};
pub use keys::action_for;
pub use line::{Line, Piece, Tone};
pub use printable::{is_unprintable, printable, width};
pub use rows::{Rows, choose as choose_rows};
pub use screen::{GAP, Help, Picture, caption, nothing, picture};
pub use sheet::Sheet;
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
