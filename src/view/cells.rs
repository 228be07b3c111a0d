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

pub fn blocked(blocks: u64, milliseconds: f64) -> Piece {
    match blocks {
        0 => Piece::dim("0"),
        _ => Piece::new(
            format!("{blocks} / {}", format::short_stretch(milliseconds)),
            Tone::Slow,
        ),
    }
}

pub fn worst(milliseconds: Option<f64>) -> Piece {
    match milliseconds {
        None => Piece::dim(format::UNKNOWN),
        Some(ms) => Piece::new(format::short_stretch(ms), Tone::Slow),
    }
}
