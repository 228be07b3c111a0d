//! The table of `--once` as text, drawn with boxes as the original draws it. The cells are the live table's. Knows
//! nothing of where the text goes.

use crate::model::Report;
use crate::view::{self, Chart, Line, Options, Piece, Room, Row, Table, Tone, Wanted};
use std::collections::BTreeSet;

/// A space on both sides of every cell, as the original has; and none, where that saves one of the original's columns.
const WIDE: (usize, usize) = (3, 4);
const TIGHT: (usize, usize) = (1, 2);

/// A narrower box has no room for anything.
const NARROWEST: usize = 20;

/// The whole picture, with its line feeds. `width` None: as wide as its content, so that nothing but what has no end is cut. Without
/// `colour` there is no escape code in it.
pub fn render(report: &Report, options: &Options, width: Option<usize>, colour: bool) -> String {
    let width = width.map(|width| width.max(NARROWEST));
    let pins = BTreeSet::new();
    let rows = view::choose_rows(report, &options.filter, options.sort, &pins);
    let wanted = Wanted {
        columns: &options.columns,
        sort: options.sort,
        pins: &pins,
        selected: None,
        window: 0..rows.shown.len(),
    };
    let lay_out = |(gap, edges)| Table::lay_out(report, &rows, &wanted, Room { width, gap, edges });
    let (wide, tight) = (lay_out(WIDE), lay_out(TIGHT));
    let originals = |table: &Table| {
        table
            .columns
            .iter()
            .filter(|placed| placed.column.is_of_the_original())
            .count()
    };
    let grid = match originals(&tight) > originals(&wide) {
        true => Grid {
            table: tight,
            padding: "",
        },
        false => Grid {
            table: wide,
            padding: " ",
        },
    };

    let mut out = Paper {
        text: String::new(),
        colour,
    };
    header(&mut out, report, width, grid.width());
    let caption = view::caption(&rows, options, width);
    let indent = grid.width().saturating_sub(caption.width()) / 2;
    out.pieces(&[&[Piece::plain(" ".repeat(indent))], caption.pieces()].concat());
    out.end();
    grid.draw(&mut out);
    if let Some(nothing) = view::nothing(report, &rows, width) {
        out.pieces(nothing.pieces());
        out.end();
    }
    out.text
}

/// The box around the header.
fn header(out: &mut Paper, report: &Report, width: Option<usize>, table: usize) {
    let room = width.map(|width| width.saturating_sub(4));
    let lines: Vec<Line> = view::header_lines(report, room, Chart::Large)
        .into_iter()
        .map(|line| line.line)
        .collect();
    // The title has two cells less than a line, for the corner's dash and blank.
    let title = view::title(&report.worker, None, room.map(|room| room.saturating_sub(1)));
    let content = lines
        .iter()
        .map(Line::width)
        .chain([title.width() + 1, table.saturating_sub(4)])
        .max()
        .unwrap_or(0);
    let inner = room.unwrap_or(content);

    out.frame("╭─ ");
    out.pieces(title.pieces());
    out.frame(&format!(
        " {}╮",
        "─".repeat((inner + 2).saturating_sub(title.width() + 3))
    ));
    out.end();
    for line in lines {
        out.frame("│ ");
        out.pieces(line.pieces());
        out.frame(&format!("{} │", " ".repeat(inner.saturating_sub(line.width()))));
        out.end();
    }
    out.frame(&format!("╰{}╯", "─".repeat(inner + 2)));
    out.end();
}

/// The table in its box.
struct Grid {
    table: Table,
    /// What stands on both sides of a cell.
    padding: &'static str,
}

impl Grid {
    fn widths(&self) -> impl Iterator<Item = usize> + '_ {
        self.table
            .columns
            .iter()
            .map(|placed| placed.width + 2 * self.padding.len())
    }

    fn width(&self) -> usize {
        self.widths().map(|width| width + 1).sum::<usize>() + 1
    }

    fn draw(&self, out: &mut Paper) {
        self.rule(out, ["┏", "━", "┳", "┓"]);
        self.row(out, &self.table.heading, "┃");
        self.rule(out, ["┡", "━", "╇", "┩"]);
        for Row { cells, .. } in &self.table.rows {
            self.row(out, cells, "│");
        }
        // The last rows are sums, not sessions.
        if !self.table.rows.is_empty() {
            self.rule(out, ["├", "─", "┼", "┤"]);
        }
        for Row { cells, .. } in &self.table.last {
            self.row(out, cells, "│");
        }
        self.rule(out, ["└", "─", "┴", "┘"]);
    }

    fn rule(&self, out: &mut Paper, [left, dash, cross, right]: [&str; 4]) {
        let dashes: Vec<String> = self.widths().map(|width| dash.repeat(width)).collect();
        out.pieces(&[Piece::plain(format!("{left}{}{right}", dashes.join(cross)))]);
        out.end();
    }

    fn row(&self, out: &mut Paper, cells: &[Piece], bar: &str) {
        for cell in cells {
            out.pieces(&[
                Piece::plain(format!("{bar}{}", self.padding)),
                cell.clone(),
                Piece::plain(self.padding),
            ]);
        }
        out.pieces(&[Piece::plain(bar)]);
        out.end();
    }
}

/// What is written on, with colours or without.
struct Paper {
    text: String,
    colour: bool,
}

impl Paper {
    fn pieces(&mut self, pieces: &[Piece]) {
        for piece in pieces {
            self.write(piece.text(), code(piece.tone()));
        }
    }

    fn frame(&mut self, text: &str) {
        self.write(text, "34");
    }

    fn write(&mut self, text: &str, code: &str) {
        if !self.colour || code.is_empty() || text.is_empty() {
            self.text.push_str(text);
            return;
        }
        self.text.push_str(&format!("\x1b[{code}m{text}\x1b[0m"));
    }

    fn end(&mut self) {
        // A cell that ends a line may be blank to its end; nobody wants to copy that.
        let kept = self.text.trim_end_matches(' ').len();
        self.text.truncate(kept);
        self.text.push('\n');
    }
}

/// How a tone looks: the codes of the original's colours.
fn code(tone: Tone) -> &'static str {
    match tone {
        Tone::Plain => "",
        Tone::Dim => "2",
        Tone::Strong => "1",
        Tone::Active => "32",
        Tone::Slow => "33",
        Tone::Draining => "36",
        Tone::Errored => "31",
        Tone::Alarm => "1;37;41",
        Tone::Chart => "36",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Cause, Status};
    use crate::view::{Filter, sample};
    use proptest::prelude::*;

    fn six() -> Report {
        sample::report(sample::six())
    }

    #[test]
    fn as_wide_as_its_content() {
        insta::assert_snapshot!(render(&six(), &Options::default(), None, false));
    }

    #[test]
    fn in_120_and_80_and_40_columns() {
        let mut report = six();
        report
            .blocks
            .push(sample::block_now(Some("AJ_0014qgHOf2aF"), Cause::Syscall));
        for width in [120, 80, 40] {
            let text = render(&report, &Options::default(), Some(width), false);
            insta::assert_snapshot!(format!("once-{width}"), text);
        }
    }

    #[test]
    fn a_filter_that_hides_everything_says_so() {
        let filter = Filter {
            status: Some(Status::Errored),
            ..Filter::default()
        };
        let text = render(
            &six(),
            &Options {
                filter,
                ..Options::default()
            },
            Some(100),
            false,
        );
        assert!(text.ends_with("no session passes the filter\n"), "{text}");
        assert!(
            text.contains("│ hidden (6) ") && text.contains("│ unattributed "),
            "{text}"
        );
        let text = render(&sample::report(Vec::new()), &Options::default(), None, false);
        assert!(text.ends_with("no live sessions\n"), "{text}");
        let mut unseen = sample::report(Vec::new());
        (unseen.worker.tasks, unseen.worker.loop_kind) = (None, None);
        let text = render(&unseen, &Options::default(), None, false);
        assert!(text.contains("what sessions there are is not known"), "{text}");
        assert!(
            !text.contains("no live sessions") && !text.contains("no loop"),
            "{text}"
        );
    }

    #[test]
    fn colours_are_the_originals_and_go_away() {
        let with = render(&six(), &Options::default(), None, true);
        assert!(
            with.contains("\x1b[32mACTIVE") && with.contains("\x1b[33mSLOW"),
            "{with}"
        );
        let mut bare = String::new();
        let mut rest = with.as_str();
        while let Some((before, after)) = rest.split_once("\x1b[") {
            bare.push_str(before);
            rest = after.split_once('m').unwrap().1;
        }
        bare.push_str(rest);
        assert_eq!(bare, render(&six(), &Options::default(), None, false));
    }

    #[test]
    fn an_id_without_end_makes_no_line_as_long_where_there_is_no_terminal() {
        let (endless, long) = ("x".repeat(10_000), "y".repeat(300));
        let sessions = vec![
            sample::session(&endless, &endless, &endless, 1.0),
            sample::session(&long, "a", "t", 1.0),
        ];
        let text = render(&sample::report(sessions), &Options::default(), None, false);
        let widest = text.lines().map(view::width).max().unwrap_or(0);
        assert!(widest < 1500, "{widest}");
        assert!(text.contains(&long) && text.contains("x…"), "{text}");
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

        #[test]
        fn no_line_is_too_wide_and_nothing_in_it_is_unprintable(width in 1usize..220, id in any::<String>()) {
            let mut sessions: Vec<_> =
                sample::HOSTILE.iter().map(|hostile| sample::session(hostile, &id, hostile, 1.0)).collect();
            sessions.push(sample::session(&id, &id, &id, 120.0));
            let mut report = sample::report(sessions);
            report.worker.name = Some(id.clone());
            report.blocks.push(sample::block_now(Some(&id), Cause::Unknown));
            for room in [Some(width), None] {
                let text = render(&report, &Options::default(), room, false);
                for line in text.lines() {
                    prop_assert!(!line.chars().any(view::is_unprintable), "{:?}", line);
                    prop_assert!(room.is_none_or(|room| view::width(line) <= room.max(NARROWEST)), "{:?} in {:?}", line, room);
                }
                // An id may have the sign of a cut in it, and then nothing was.
                prop_assert!(room.is_some() || id.contains('…') || !text.contains('…'), "something was cut: {}", text);
            }
        }
    }
}
