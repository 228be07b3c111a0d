//! Which columns there is room for, and how wide each gets. Knows columns and the width of their contents, not the
//! contents.

use super::columns::{Column, LAST_OF_THE_ORIGINAL};
use super::format;

/// Columns with this number or a lower one are the last to leave: the id gets shorter first.
const LAST_TO_LEAVE: u8 = 2;
const SHORTEST_ID: usize = 5;

/// A column gets no wider where there is room without end: one id of thousands of characters would make every line as long.
const WIDEST: usize = 384;

/// The space in which the table has to live.
#[derive(Clone, Copy, Debug)]
pub struct Room {
    /// None: as much as it wants, each column up to `WIDEST`.
    pub width: Option<usize>,
    /// Cells between two columns, and at both ends together.
    pub gap: usize,
    pub edges: usize,
}

/// A column that is shown.
#[derive(Clone, Copy, Debug)]
pub struct Placed {
    pub column: &'static Column,
    pub width: usize,
    /// The little bar stands before the number.
    pub has_bar: bool,
}

/// A column that would like to be shown, and the width of its widest cell.
#[derive(Clone, Copy)]
pub struct Candidate {
    pub column: &'static Column,
    pub content: usize,
}

impl Candidate {
    fn is_elastic(&self) -> bool {
        self.column.is_elastic()
    }

    fn at_least(&self) -> usize {
        if self.is_elastic() {
            self.content.min(self.column.min)
        } else {
            self.content.max(self.column.min)
        }
    }

    fn in_comfort(&self) -> usize {
        if self.is_elastic() {
            self.content.min(self.column.comfort)
        } else {
            self.at_least()
        }
    }
}

/// The columns that fit, with their widths; one at least.
pub fn place(candidates: Vec<Candidate>, room: Room) -> Vec<Placed> {
    let Some(available) = room.width else {
        return candidates
            .iter()
            .map(|one| placed(one.column, one.content.min(WIDEST).max(one.at_least()), true))
            .collect();
    };
    let mut fit = Fit {
        columns: Vec::new(),
        available,
        room,
    };
    fit.columns = candidates.into_iter().map(|one| (one.in_comfort(), one)).collect();
    fit.drop_while_too_wide(LAST_OF_THE_ORIGINAL);
    if fit.excess() > 0 {
        fit.columns.iter_mut().for_each(|(width, one)| *width = one.at_least());
        fit.drop_while_too_wide(LAST_TO_LEAVE);
        while !fit.shorten_id() && fit.columns.len() > 1 {
            fit.drop_one(0);
        }
    }
    if let [(width, _)] = fit.columns.as_mut_slice() {
        *width = (*width).min(available.saturating_sub(room.edges)).max(1);
    }
    fit.grow();
    let has_bar = available.saturating_sub(fit.total()) > format::BAR;
    fit.columns
        .iter()
        .map(|(width, one)| placed(one.column, *width, has_bar))
        .collect()
}

fn placed(column: &'static Column, width: usize, room_for_bar: bool) -> Placed {
    let has_bar = room_for_bar && column.key == "cpu";
    Placed {
        column,
        width: width + if has_bar { format::BAR + 1 } else { 0 },
        has_bar,
    }
}

/// Columns with the widths that they have so far.
struct Fit {
    columns: Vec<(usize, Candidate)>,
    available: usize,
    room: Room,
}

impl Fit {
    fn total(&self) -> usize {
        let cells: usize = self.columns.iter().map(|(width, _)| width).sum();
        cells + self.room.gap * self.columns.len().saturating_sub(1) + self.room.edges
    }

    fn excess(&self) -> usize {
        self.total().saturating_sub(self.available)
    }

    fn drop_while_too_wide(&mut self, last: u8) {
        while self.excess() > 0 && self.columns.len() > 1 && self.drop_one(last + 1) {}
    }

    /// The column that leaves first goes, if its number is `from` or higher.
    fn drop_one(&mut self, from: u8) -> bool {
        let leaves = |one: &(usize, Candidate)| one.1.column.leaves;
        let Some(first) = self.columns.iter().map(leaves).max().filter(|first| *first >= from) else {
            return false;
        };
        self.columns.retain(|one| leaves(one) != first);
        true
    }

    /// Takes what is too much from the id, as long as something of it can be seen.
    fn shorten_id(&mut self) -> bool {
        let excess = self.excess();
        let id = self.columns.iter_mut().find(|(_, one)| one.column.leaves == 0);
        match id {
            _ if excess == 0 => true,
            Some((width, _)) if *width >= SHORTEST_ID + excess => {
                *width -= excess;
                true
            }
            _ => false,
        }
    }

    /// Gives what is left to the elastic columns, in the order in which they stay: the id has its room first.
    fn grow(&mut self) {
        let mut spare = self.available.saturating_sub(self.total());
        let mut order: Vec<usize> = (0..self.columns.len()).collect();
        order.sort_by_key(|&index| self.columns[index].1.column.leaves);
        for index in order {
            let (width, one) = &mut self.columns[index];
            let more = one.content.min(one.column.max).saturating_sub(*width).min(spare);
            *width += more;
            spare -= more;
        }
    }
}
