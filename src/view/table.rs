//! The table itself: the text of every cell of the rows that are seen. Cells come out at their exact width, so whoever
//! draws them only has to put them side by side. Knows nothing of borders and colours.

use super::columns::{Align, Column, Context, NAMELESS};
use super::format;
use super::line::Piece;
use super::printable::{self, Keep};
use super::rows::{Rows, is_pinned};
use super::sort::Sort;
use super::widths::{Candidate, Placed, Room, place};
use crate::model::{Report, SessionKey, SessionReport};
use std::collections::{BTreeSet, HashSet};
use std::ops::Range;

/// Rows whose labels are measured besides those that are seen; to measure ten thousand would take longer than to draw.
const MEASURED: usize = 500;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Row {
    pub cells: Vec<Piece>,
    pub is_selected: bool,
}

#[derive(Debug, Default)]
pub struct Table {
    pub columns: Vec<Placed>,
    pub heading: Vec<Piece>,
    pub rows: Vec<Row>,
    /// `hidden`, where a filter hides something, and `unattributed`.
    pub last: Vec<Row>,
}

/// What decides about the table besides the rows.
pub struct Wanted<'a> {
    pub columns: &'a [&'static Column],
    pub sort: Sort,
    pub pins: &'a BTreeSet<SessionKey>,
    pub selected: Option<SessionKey>,
    /// Which of the shown sessions get a row.
    pub window: Range<usize>,
}

impl Table {
    pub fn lay_out(report: &Report, rows: &Rows, wanted: &Wanted, room: Room) -> Table {
        let window = rows.shown.get(wanted.window.clone()).unwrap_or(&[]);
        let content = |&column: &&'static Column| {
            let arrow = usize::from(column == wanted.sort.column());
            let content = content_width(column, rows, window).max(column.heading.len() + arrow);
            Candidate { column, content }
        };
        let contents: Vec<Candidate> = wanted.columns.iter().map(content).collect();
        let Fixed { columns, all, last } = fixed(report, rows, contents, room);
        let keeps: Vec<Keep> = columns.iter().map(|placed| keep(placed, rows, window)).collect();
        let kept = |row: &[Piece]| -> Vec<Piece> {
            let at = |placed: &Placed| all.iter().position(|column| *column == placed.column);
            columns
                .iter()
                .map(|placed| {
                    let cell = at(placed).and_then(|place| row.get(place)).cloned().unwrap_or_default();
                    cell.padded(placed.width, placed.column.align == Align::Right, Keep::Start)
                })
                .collect()
        };
        let body = window.iter().map(|session| Row {
            cells: columns
                .iter()
                .zip(&keeps)
                .map(|(placed, keep)| cell(placed, session, wanted.pins, *keep))
                .collect(),
            is_selected: wanted.selected == Some(session.key),
        });
        Table {
            heading: columns.iter().map(|placed| heading(placed, wanted.sort)).collect(),
            rows: body.collect(),
            last: last
                .iter()
                .map(|row| Row {
                    cells: kept(row),
                    is_selected: false,
                })
                .collect(),
            columns,
        }
    }

    /// Cells of one row with its gaps and edges.
    pub fn width(&self, room: Room) -> usize {
        let cells: usize = self.columns.iter().map(|placed| placed.width).sum();
        cells + room.gap * self.columns.len().saturating_sub(1) + room.edges
    }
}

/// Cells that the widest cell takes. Labels are measured in more rows than are seen, so that scrolling does not move
/// the columns; numbers hardly differ, and are measured in the rows that are seen.
fn content_width(column: &Column, rows: &Rows, window: &[&SessionReport]) -> usize {
    let everything = Context {
        is_pinned: true,
        room: usize::MAX,
    };
    let wide = |session: &&SessionReport| (column.cell)(session, everything).width();
    let seen = window.iter().map(wide).max().unwrap_or(0);
    match column.is_elastic() {
        true => rows.shown.iter().take(MEASURED).map(wide).max().unwrap_or(0).max(seen),
        false => seen,
    }
}

/// Which part of the ids to keep where they have to be cut: the one that keeps most of them apart.
fn keep(placed: &Placed, rows: &Rows, window: &[&SessionReport]) -> Keep {
    if placed.column.key != "session" {
        return Keep::Start;
    }
    let ids: Vec<String> = rows
        .shown
        .iter()
        .take(MEASURED)
        .chain(window)
        .map(|session| printable::printable(&session.session_id))
        .filter(|id| printable::width(id) > placed.width)
        .collect();
    let all = ids.iter().collect::<HashSet<_>>().len();
    let distinct = |keep| {
        let cuts: HashSet<String> = ids.iter().map(|id| printable::fit(id, placed.width, keep)).collect();
        cuts.len()
    };
    let mut best = (Keep::Start, distinct(Keep::Start));
    for other in [Keep::Ends, Keep::End] {
        if best.1 == all {
            break;
        }
        let kept = distinct(other);
        if kept > best.1 {
            best = (other, kept);
        }
    }
    best.0
}

fn heading(placed: &Placed, sort: Sort) -> Piece {
    let name = placed.column.heading;
    let to_the_right = placed.column.align == Align::Right;
    let text = match (placed.column == sort.column(), sort.is_descending()) {
        (false, _) => name.to_owned(),
        (true, down) => {
            let arrow = if down { "▼" } else { "▲" };
            if to_the_right {
                format!("{arrow}{name}")
            } else {
                format!("{name}{arrow}")
            }
        }
    };
    Piece::strong(text).padded(placed.width, to_the_right, Keep::Start)
}

fn cell(placed: &Placed, session: &SessionReport, pins: &BTreeSet<SessionKey>, keep: Keep) -> Piece {
    let context = Context {
        is_pinned: is_pinned(session, pins),
        room: placed.width,
    };
    let piece = (placed.column.cell)(session, context);
    let to_the_right = placed.column.align == Align::Right;
    if !placed.has_bar {
        return piece.padded(placed.width, to_the_right, keep);
    }
    let number = piece.padded(placed.width.saturating_sub(format::BAR), to_the_right, keep);
    Piece::new(
        format!("{}{}", format::bar(session.cpu_pct), number.text()),
        piece.tone(),
    )
}

/// The columns that there is room for, with the rows that no sort and no filter moves: those have their names in the id's
/// column, else in the first with text in it that stays, else in one of their own.
struct Fixed {
    columns: Vec<Placed>,
    /// What `last` has a cell for.
    all: Vec<&'static Column>,
    last: Vec<Vec<Piece>>,
}

fn fixed(report: &Report, rows: &Rows, contents: Vec<Candidate>, room: Room) -> Fixed {
    let texts = contents
        .iter()
        .map(|one| one.column)
        .filter(|column| column.is_elastic());
    let (ids, others): (Vec<_>, Vec<_>) = texts.partition(|column| column.key == "session");
    let named = ids.into_iter().chain(others);
    named
        .map(|name| (name, fixed_in(name, report, rows, &contents, room)))
        .find(|(name, fixed)| fixed.columns.iter().any(|placed| placed.column == *name))
        .map(|(_, fixed)| fixed)
        .unwrap_or_else(|| {
            let own = Candidate {
                column: &NAMELESS,
                content: 0,
            };
            let contents: Vec<Candidate> = std::iter::once(own).chain(contents.iter().copied()).collect();
            fixed_in(&NAMELESS, report, rows, &contents, room)
        })
}

/// The same with the names in this column, if it stays.
fn fixed_in(name: &'static Column, report: &Report, rows: &Rows, contents: &[Candidate], room: Room) -> Fixed {
    let all: Vec<&'static Column> = contents.iter().map(|one| one.column).collect();
    let last = last_rows(report, rows, &all, name);
    let candidate = |(index, one): (usize, &Candidate)| {
        let fixed = last.iter().map(|row| row[index].width()).max().unwrap_or(0);
        Candidate {
            content: one.content.max(fixed),
            ..*one
        }
    };
    let columns = place(contents.iter().enumerate().map(candidate).collect(), room);
    Fixed { columns, all, last }
}

/// The rows that no sort and no filter moves, with a cell for every one of these columns, and their name in one of them.
fn last_rows(report: &Report, rows: &Rows, columns: &[&'static Column], name: &Column) -> Vec<Vec<Piece>> {
    let mut last = Vec::new();
    if let Some(hidden) = &rows.hidden {
        let cell = |&column: &&'static Column| match column == name {
            true => Piece::dim(format!("hidden ({})", hidden.sessions)),
            false => Piece::dim((column.sum)(hidden).unwrap_or_default()),
        };
        last.push(columns.iter().map(cell).collect());
    }
    let rest = &report.unattributed;
    let cell = |&column: &&'static Column| match column.key {
        _ if column == name => Piece::dim("unattributed"),
        "cpu" => Piece::plain(format::percent(rest.cpu_pct)),
        "loop" => Piece::plain(format::percent(rest.loop_pct)),
        _ => Piece::default(),
    };
    last.push(columns.iter().map(cell).collect());
    last
}
