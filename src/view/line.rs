//! Text with a meaning instead of a colour: a `Line` of `Piece`s, each with a `Tone`. Every piece has passed the
//! sanitizer, because there is no other way to make one. Knows nothing of terminals, nor of what the text says.

use super::printable::{self, Keep};

/// What a piece of text means; how that looks is decided by whoever draws it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tone {
    #[default]
    Plain,
    Dim,
    Strong,
    Active,
    Slow,
    Draining,
    Errored,
    /// Has to be read first.
    Alarm,
    Chart,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Piece {
    text: String,
    tone: Tone,
}

impl Piece {
    pub fn new(text: impl AsRef<str>, tone: Tone) -> Piece {
        Piece {
            text: printable::printable(text.as_ref()),
            tone,
        }
    }

    pub fn plain(text: impl AsRef<str>) -> Piece {
        Piece::new(text, Tone::Plain)
    }

    pub fn dim(text: impl AsRef<str>) -> Piece {
        Piece::new(text, Tone::Dim)
    }

    pub fn strong(text: impl AsRef<str>) -> Piece {
        Piece::new(text, Tone::Strong)
    }

    pub fn text(&self) -> &str {
        &self.text
    }

    pub fn tone(&self) -> Tone {
        self.tone
    }

    pub fn width(&self) -> usize {
        printable::width(&self.text)
    }

    /// The piece in at most `room` cells.
    pub fn cut(&self, room: usize, keep: Keep) -> Piece {
        Piece {
            text: printable::fit(&self.text, room, keep),
            tone: self.tone,
        }
    }

    /// The piece in exactly `room` cells.
    pub fn padded(&self, room: usize, to_the_right: bool, keep: Keep) -> Piece {
        let cut = self.cut(room, keep);
        let blank = " ".repeat(room.saturating_sub(cut.width()));
        let text = if to_the_right {
            blank + &cut.text
        } else {
            cut.text + &blank
        };
        Piece { text, tone: self.tone }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Line {
    pieces: Vec<Piece>,
}

impl From<Piece> for Line {
    fn from(piece: Piece) -> Line {
        Line { pieces: vec![piece] }
    }
}

impl FromIterator<Piece> for Line {
    fn from_iter<I: IntoIterator<Item = Piece>>(pieces: I) -> Line {
        Line {
            pieces: pieces.into_iter().collect(),
        }
    }
}

impl Line {
    pub fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    pub fn push(&mut self, piece: Piece) {
        self.pieces.push(piece);
    }

    pub fn width(&self) -> usize {
        self.pieces.iter().map(Piece::width).sum()
    }

    /// The text alone.
    pub fn text(&self) -> String {
        self.pieces.iter().map(Piece::text).collect()
    }

    /// The line in at most `room` cells.
    pub fn cut(self, room: usize) -> Line {
        let mut left = room;
        let mut total = self.width();
        if total <= room {
            return self;
        }
        let mut pieces = Vec::new();
        for piece in self.pieces {
            // A piece that fits, but fills the line while more would follow, has to show that it is not the end.
            let wide = piece.width();
            let last = wide >= left && total > left;
            let piece = match last {
                true if wide > left => piece.cut(left, Keep::Start),
                true => Piece {
                    text: printable::fit(&format!("{}……", piece.text), left, Keep::Start),
                    ..piece
                },
                false => piece,
            };
            total -= wide;
            left -= piece.width().min(left);
            pieces.push(piece);
            if last {
                break;
            }
        }
        Line { pieces }
    }
}

/// Parts of a line that leave one by one, the highest rank first, until the rest fits.
#[derive(Debug, Default)]
pub struct Parts {
    parts: Vec<Part>,
}

#[derive(Debug)]
struct Part {
    rank: u8,
    line: Line,
    /// It may be cut down to so many cells before another part leaves.
    least: usize,
}

impl Part {
    /// Cells that it cannot do without.
    fn needs(&self) -> usize {
        self.line.width().min(self.least)
    }
}

impl Parts {
    pub fn add(&mut self, rank: u8, pieces: impl IntoIterator<Item = Piece>) {
        self.add_elastic(rank, usize::MAX, pieces);
    }

    /// A part that is cut where it is too long, but not to less than `least` cells.
    pub fn add_elastic(&mut self, rank: u8, least: usize, pieces: impl IntoIterator<Item = Piece>) {
        let line = pieces.into_iter().collect();
        self.parts.push(Part { rank, line, least });
    }

    /// The parts that fit into one line from the start, and the rest, if there is one.
    pub fn split(mut self, separator: &Piece, room: Option<usize>) -> (Parts, Option<Parts>) {
        let mut used = 0;
        let fitting = self.parts.iter().take_while(|part| {
            used += part.needs() + separator.width();
            used - separator.width() <= room.unwrap_or(usize::MAX)
        });
        let rest = self.parts.split_off(fitting.count().max(1).min(self.parts.len()));
        (self, (!rest.is_empty()).then_some(Parts { parts: rest }))
    }

    /// One line of what fits into `room` (all of it, where there is no limit), with `separator` between the parts.
    pub fn join(mut self, separator: &Piece, room: Option<usize>) -> Line {
        let gap = separator.width();
        let room = room.unwrap_or(usize::MAX);
        while self.parts.len() > 1 && self.needs(gap) > room {
            let Some(worst) = self.parts.iter().map(|part| part.rank).max() else {
                break;
            };
            // Of equals the right one goes first.
            let Some(place) = self.parts.iter().rposition(|part| part.rank == worst) else {
                break;
            };
            self.parts.remove(place);
        }
        let mut spare = room.saturating_sub(self.needs(gap));
        let mut line = Line::default();
        for (place, part) in self.parts.into_iter().enumerate() {
            if place > 0 {
                line.push(separator.clone());
            }
            let needs = part.needs();
            let more = (part.line.width() - needs).min(spare);
            spare -= more;
            line.pieces.extend(part.line.cut(needs + more).pieces);
        }
        line.cut(room)
    }

    /// Cells that all the parts cannot do without.
    fn needs(&self, gap: usize) -> usize {
        let parts: usize = self.parts.iter().map(|part| part.needs() + gap).sum();
        parts.saturating_sub(gap)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn parts_leave_by_rank_and_the_last_is_cut() {
        let line = |room| {
            let mut parts = Parts::default();
            parts.add(0, [Piece::plain("first")]);
            parts.add(2, [Piece::plain("least")]);
            parts.add(1, [Piece::plain("third")]);
            parts.join(&Piece::dim(" · "), Some(room)).text()
        };
        assert_eq!(line(21), "first · least · third");
        assert_eq!(line(20), "first · third");
        assert_eq!(line(12), "first");
        assert_eq!(line(4), "fir…");
    }

    #[test]
    fn an_elastic_part_is_cut_before_another_leaves() {
        let line = |room| {
            let mut parts = Parts::default();
            parts.add(0, [Piece::plain("first")]);
            parts.add_elastic(1, 6, [Piece::plain("a long text")]);
            parts.add(2, [Piece::plain("last")]);
            parts.join(&Piece::plain(" "), Some(room)).text()
        };
        assert_eq!(line(22), "first a long text last");
        assert_eq!(line(21), "first a long te… last");
        assert_eq!(line(17), "first a lon… last");
        assert_eq!(line(16), "first a long te…");
        assert_eq!(line(12), "first a lon…");
        assert_eq!(line(11), "first");
    }

    #[test]
    fn a_line_that_is_cut_between_two_pieces_says_so() {
        let line: Line = [Piece::plain("abc"), Piece::plain("def")].into_iter().collect();
        assert_eq!(line.clone().cut(6).text(), "abcdef");
        assert_eq!(line.clone().cut(3).text(), "ab…");
        assert_eq!(line.clone().cut(4).text(), "abc…");
        assert_eq!(line.cut(0).text(), "");
    }

    proptest! {
        #[test]
        fn a_cut_line_fits(texts in proptest::collection::vec("\\PC{0,8}", 0..6), room in 0usize..30) {
            let line: Line = texts.iter().map(Piece::plain).collect();
            let whole = line.width();
            let cut = line.cut(room);
            prop_assert!(cut.width() <= room);
            prop_assert!(whole > room || cut.width() == whole);
        }
    }
}
