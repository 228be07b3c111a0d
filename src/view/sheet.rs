//! A page of plain lines, in place of the table. Knows nothing of what the lines say.

use super::line::{Line, Parts, Piece};
use super::pages::PageSeen;

/// The lines of a page, from its top.
#[derive(Debug, Default)]
pub struct Sheet {
    pub lines: Vec<Line>,
    /// Which of them is selected.
    pub selected: Option<usize>,
    pub seen: PageSeen,
    /// What part of the whole is shown, for the footer.
    pub place: Option<String>,
}

/// As many parts on a line as fit, and the others on the next.
pub fn flow(parts: Parts, width: usize) -> Vec<Line> {
    let separator = Piece::dim(" · ");
    let mut lines = Vec::new();
    let mut rest = Some(parts);
    while let Some(parts) = rest {
        let (first, more) = parts.split(&separator, Some(width));
        lines.push(first.join(&separator, Some(width)));
        rest = more;
    }
    lines
}

/// The part of `lines` that fits into `rows`, from `first` on or as near to it as there is something to show; and which
/// line that is.
pub fn scrolled(lines: Vec<Line>, first: usize, rows: usize) -> (Vec<Line>, usize) {
    let first = first.min(lines.len().saturating_sub(rows));
    (lines.into_iter().skip(first).take(rows).collect(), first)
}
