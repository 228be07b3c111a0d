//! The list of recent blocks, newest first, and below it everything about the selected one: who, why with all shares, who
//! waited, who held the GIL, and the stack. Knows nothing of keys, nor of where the blocks come from.

use super::block_words as words;
use super::format;
use super::line::{Line, Parts, Piece, Tone};
use super::pages::{PageSeen, Pages};
use super::printable::{self, Keep};
use super::sheet::{Sheet, flow, scrolled};
use crate::model::{Block, Report, Where};

/// Cells of the columns that do not grow.
const WHEN: usize = 4;
const LENGTH: usize = 8;
/// A place that has less room says nothing.
const LEAST_PLACE: usize = 14;

/// Lower pages have no line with the columns' names.
const HEADING_FROM: usize = 10;

/// The page on `width` × `height` cells.
pub fn lay_out(report: &Report, pages: &Pages, width: usize, height: usize) -> Sheet {
    let blocks = &report.recent;
    let Some((place, block)) = pages.selected_at(report).zip(pages.selected(report)) else {
        let text = if report.worker.is_served {
            "a worker that speaks for itself tells of no blocks"
        } else {
            "no block since otop attached"
        };
        return Sheet {
            lines: vec![Line::from(Piece::dim(text)).cut(width)],
            ..Sheet::default()
        };
    };
    let detail = detail(report, block, width);
    // The list takes what the detail leaves, but two fifths at least; then there are its heading and the rule.
    let has_heading = height >= HEADING_FROM;
    let free = height.saturating_sub(1 + usize::from(has_heading));
    let least = (free * 2 / 5).max(1);
    let rows = free.saturating_sub(detail.len()).max(least).min(blocks.len()).min(free);
    let first = place.saturating_sub(rows / 2).min(blocks.len().saturating_sub(rows));
    let shown = blocks.iter().skip(first).take(rows);
    let who = shown
        .clone()
        .map(|block| who(block).width())
        .max()
        .unwrap_or(0)
        .clamp(3, (width * 3 / 10).max(10));

    let mut lines = Vec::new();
    if has_heading {
        lines.push(heading(who, width));
    }
    let above = lines.len();
    lines.extend(shown.map(|block| row(report, block, who, width)));
    lines.push(rule(&words::length(block), width));
    let rows_of_detail = height.saturating_sub(lines.len());
    let whole = detail.len();
    let (detail, first_of_detail) = scrolled(detail, pages.scroll(), rows_of_detail);
    lines.extend(detail);
    lines.truncate(height);
    let more = whole > rows_of_detail;
    Sheet {
        selected: Some(above + place - first),
        seen: PageSeen {
            block: Some((place, block.id)),
            rows: rows_of_detail,
            first: first_of_detail,
        },
        place: Some(format!(
            "{} of {}{}",
            place + 1,
            blocks.len(),
            if more { " ↕" } else { "" }
        )),
        lines,
    }
}

fn heading(who: usize, width: usize) -> Line {
    let names = [
        pad("ago", WHEN, true),
        pad("length", LENGTH, true),
        pad("who", who, false),
        "cause and place".to_owned(),
    ];
    Line::from(Piece::strong(names.join(" "))).cut(width)
}

/// A line across the screen with a word in it.
pub fn rule(word: &str, width: usize) -> Line {
    let start = format!("── {word} ");
    let rest = width.saturating_sub(printable::width(&start));
    Line::from(Piece::dim(start + &"─".repeat(rest))).cut(width)
}

fn pad(text: &str, width: usize, to_the_right: bool) -> String {
    let blank = " ".repeat(width.saturating_sub(text.chars().count()));
    if to_the_right {
        blank + text
    } else {
        text.to_owned() + &blank
    }
}

fn who(block: &Block) -> Piece {
    match words::culprit(block) {
        Some(id) => Piece::new(id, Tone::Slow),
        None => Piece::dim("nobody"),
    }
}

/// One block of a list.
pub fn row(report: &Report, block: &Block, who_width: usize, width: usize) -> Line {
    let tone = if block.ongoing { Tone::Alarm } else { Tone::Plain };
    let mut line = short_row(report, block, tone);
    line.push(who(block).padded(who_width, false, Keep::Ends));
    line.push(Piece::plain(" "));
    finish(line, block, width)
}

/// The same without who is to blame.
pub fn row_of_session(report: &Report, block: &Block, width: usize) -> Line {
    let tone = if block.ongoing { Tone::Alarm } else { Tone::Plain };
    finish(short_row(report, block, tone), block, width)
}

fn short_row(report: &Report, block: &Block, tone: Tone) -> Line {
    [
        Piece::new(age(report, block), tone).padded(WHEN, true, Keep::Start),
        Piece::plain(" "),
        Piece::plain(words::length(block)).padded(LENGTH, true, Keep::Start),
        Piece::plain(" "),
    ]
    .into_iter()
    .collect()
}

fn finish(mut line: Line, block: &Block, width: usize) -> Line {
    let cause = Piece::plain(words::cause(block));
    let own = format::place(block.function.as_deref(), block.file.as_deref(), block.line);
    let left = width.saturating_sub(line.width() + cause.width() + 4);
    line.push(cause);
    if let Some(own) = own.filter(|_| left >= LEAST_PLACE) {
        line.push(Piece::dim(" at "));
        line.push(Piece::plain(own));
    }
    line.cut(width)
}

/// `now`, or how long ago it ended; `—` where that is not known.
fn age(report: &Report, block: &Block) -> String {
    if block.ongoing {
        return "now".to_owned();
    }
    format::age(words::ended_ago(report, block))
}

/// Everything about one block.
fn detail(report: &Report, block: &Block, width: usize) -> Vec<Line> {
    let mut facts = Parts::default();
    let by = match words::culprit(block) {
        Some(id) => [Piece::plain("blamed on "), Piece::new(id, Tone::Slow)],
        None => [Piece::plain("nobody is to blame"), Piece::default()],
    };
    facts.add(0, by);
    let labels = [&block.agent_name, &block.tenant].into_iter().flatten();
    for label in labels.filter(|_| block.culprit.is_some()) {
        facts.add(0, [Piece::plain(label)]);
    }
    facts.add(0, [Piece::plain(words::cause(block))]);
    let is_others = |id: &&String| Some(id.as_str()) != block.session_id.as_deref();
    if let Some(holder) = block.holder_session_id.as_ref().filter(is_others) {
        facts.add(0, [Piece::plain(format!("the GIL was held by {holder}"))]);
    }
    if let Some(step) = block.step_session_id.as_ref().filter(is_others) {
        facts.add(0, [Piece::plain(format!("in a step of {step}"))]);
    }
    if let Some(waiting @ 1..) = block.waiting {
        let word = if block.ongoing { "waiting" } else { "waited" };
        facts.add(0, [Piece::plain(format!("≥ {waiting} {word}"))]);
    }
    if block.duration_is_lower_bound {
        facts.add(0, [Piece::plain("it began before otop looked")]);
    }
    let mut lines = flow(facts, width);
    let shares = words::shares(&block.causes_ms);
    if shares.len() > 1 {
        let mut parts = Parts::default();
        for (cause, ms) in shares {
            let part = ms / block.duration_ms.max(1e-9) * 100.0;
            let text = format!("{} {} ({part:.0}%)", words::name(cause), format::stretch(ms));
            parts.add(0, [Piece::plain(text)]);
        }
        lines.extend(flow(parts, width));
    }
    if report.worker.is_served {
        return lines;
    }
    match &block.stack {
        Some(stack) => lines.extend(stack_lines(stack, Some(&words::own_place(block)), width)),
        None => lines.push(Line::from(Piece::dim("no stack was read")).cut(width)),
    }
    lines
}

/// A stack, innermost first; the line of own code stands out.
pub fn stack_lines(stack: &[Where], own: Option<&Where>, width: usize) -> Vec<Line> {
    let own = stack
        .iter()
        .position(|at| own.is_some_and(|own| words::is_same_line(own, at)));
    let line = |(place, at): (usize, &Where)| {
        let text = format::place(at.function.as_deref(), at.file.as_deref(), at.line);
        let text = text.unwrap_or_else(|| format::UNKNOWN.to_owned());
        let (mark, tone) = if own == Some(place) {
            ("▸ ", Tone::Strong)
        } else {
            ("  ", Tone::Plain)
        };
        [Piece::new(mark, tone), Piece::new(text, tone)]
            .into_iter()
            .collect::<Line>()
            .cut(width)
    };
    stack.iter().enumerate().map(line).collect()
}
