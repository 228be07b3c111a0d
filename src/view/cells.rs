//! How the cells read that are more than a formatted number. Knows nothing of columns.

use super::format;
use super::line::{Piece, Tone};
use crate::model::Status;

pub fn label(value: Option<&str>) -> Piece {
    match value {
        None => Piece::dim(format::UNKNOWN),
        // A blank label would look like a cell that was forgotten.
        Some(blank) if blank.trim().is_empty() => Piece::plain(format!("{blank:?}")),
        Some(name) => Piece::plain(name),
    }
}

pub fn status(status: Status) -> Piece {
    match status {
        Status::Active => Piece::new("ACTIVE", Tone::Active),
        Status::Slow => Piece::new("SLOW", Tone::Slow),
        Status::Draining => Piece::new("DRAINING", Tone::Draining),
        Status::Errored => Piece::new("ERRORED", Tone::Errored),
    }
}

/// `is_lower_bound`: one of them began before otop looked.
pub fn blocked(blocks: u64, milliseconds: f64, is_lower_bound: bool) -> Piece {
    match blocks {
        0 => Piece::dim("0"),
        _ => {
            let length = at_least(milliseconds, is_lower_bound);
            Piece::new(format!("{blocks} / {length}"), Tone::Slow)
        }
    }
}

pub fn worst(milliseconds: Option<f64>, is_lower_bound: bool) -> Piece {
    match milliseconds {
        None => Piece::dim(format::UNKNOWN),
        Some(ms) => Piece::new(at_least(ms, is_lower_bound), Tone::Slow),
    }
}

/// `≥3.2s`
fn at_least(milliseconds: f64, is_lower_bound: bool) -> String {
    let bound = if is_lower_bound { "≥" } else { "" };
    format!("{bound}{}", format::short_stretch(milliseconds))
}
