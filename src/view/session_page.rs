//! One session alone: its figures over the last minutes, its stack while it runs, where it waits, its blocks. Knows nothing
//! of keys, nor of who measured.

use super::block_words as words;
use super::blocks_page::{row_of_session, rule, stack_lines};
use super::cells;
use super::format;
use super::line::{Line, Parts, Piece, Tone};
use super::pages::{PageSeen, Pages};
use super::sheet::{Sheet, flow, scrolled};
use crate::model::{Block, HistoryStretch, Report, SessionKey, SessionReport, SessionUse, Where};
use std::sync::Arc;

/// A chart that has less room is none.
const LEAST_CHART: usize = 8;
/// A chart's full height is this at least, so that next to nothing looks like it; percent.
const LEAST_TOP: f64 = 10.0;
const SECOND: f64 = 1e9;

/// The page of this session on `width` × `height` cells.
pub fn lay_out(report: &Report, pages: &Pages, key: SessionKey, id: &str, width: usize, height: usize) -> Sheet {
    let session = report.sessions.iter().find(|one| one.key == key);
    let blocks: Vec<&Block> = report
        .recent
        .iter()
        .map(AsRef::as_ref)
        .filter(|block| block.culprit == Some(key))
        .collect();
    let mut lines = vec![name(session, id, width)];
    let charts = [
        (
            "CPU ",
            session.and_then(|one| one.cpu_pct),
            cpu as fn(&SessionUse) -> f32,
        ),
        ("LOOP", session.and_then(|one| one.loop_pct), held),
    ];
    for (what, now, of) in charts {
        lines.push(chart(report, key, what, now, of, width));
    }
    let mut body = session.map(|session| facts(session, width)).unwrap_or_default();
    if let Some(session) = session {
        body.extend(place(session, width));
    }
    if !report.worker.is_served {
        body.extend(blocks_of(report, session, &blocks, width));
    }
    let rows = height.saturating_sub(lines.len());
    let whole = body.len();
    let (body, first) = scrolled(body, pages.scroll(), rows);
    lines.extend(body);
    lines.truncate(height);
    Sheet {
        lines,
        selected: None,
        seen: PageSeen {
            block: None,
            rows,
            first,
        },
        place: (whole > rows).then(|| format!("{}–{} of {whole} ↕", first + 1, (first + rows).min(whole))),
    }
}

fn cpu(used: &SessionUse) -> f32 {
    used.cpu_pct
}

fn held(used: &SessionUse) -> f32 {
    used.loop_pct
}

fn name(session: Option<&SessionReport>, id: &str, width: usize) -> Line {
    let mut parts = Parts::default();
    parts.add(0, [Piece::strong(id)]);
    match session {
        None => parts.add(0, [Piece::new("not live any more", Tone::Slow)]),
        Some(session) => {
            parts.add(1, [cells::status(session.status)]);
            for label in [&session.agent_name, &session.tenant].into_iter().flatten() {
                parts.add(2, [Piece::plain(label)]);
            }
        }
    }
    parts.join(&Piece::dim(" · "), Some(width))
}

/// `CPU  17.4% ▁▂▃▅█ max 22.0%, 3 min`
fn chart(
    report: &Report,
    key: SessionKey,
    what: &str,
    now: Option<f64>,
    of: fn(&SessionUse) -> f32,
    width: usize,
) -> Line {
    let sign = if now.is_some() { "%" } else { "" };
    let figure = format!("{:>6}{sign:<1} ", format::percent(now));
    let mut line: Line = [Piece::dim(what), Piece::plain(figure)].into_iter().collect();
    let Some(span) = span(&report.history) else {
        return line.cut(width);
    };
    let label = |top: f64| {
        format!(
            " max {}%, {}",
            format::percent(Some(top)),
            format::age(Some(span / SECOND))
        )
    };
    // As wide as it can get.
    let room = width.saturating_sub(line.width() + label(1000.0).len());
    if room < LEAST_CHART {
        return line.cut(width);
    }
    let values = columns(&report.history, key, of, room);
    let top = values.iter().copied().fold(0.0, f64::max);
    let scaled: Vec<f64> = values.iter().map(|value| value / top.max(LEAST_TOP) * 100.0).collect();
    line.push(Piece::new(format::chart(&scaled, room, 1).concat(), Tone::Chart));
    line.push(Piece::dim(label(top)));
    line.cut(width)
}

/// Nanoseconds that the history is about.
fn span(history: &[Arc<HistoryStretch>]) -> Option<f64> {
    let (first, last) = (history.first()?, history.last()?);
    Some((last.to - first.from).0 as f64).filter(|span| *span > 0.0)
}

/// At most `room` means, oldest first, of equal parts of the history: of a second at least, and no finer than it is.
fn columns(history: &[Arc<HistoryStretch>], key: SessionKey, of: fn(&SessionUse) -> f32, room: usize) -> Vec<f64> {
    let (Some(span), Some(last)) = (span(history), history.last()) else {
        return Vec::new();
    };
    let count = room
        .min((span / SECOND).round().max(1.0) as usize)
        .min(history.len())
        .max(1);
    let part = span / count as f64;
    let mut sums = vec![(0.0, 0.0); count];
    for stretch in history {
        let value = stretch
            .used
            .binary_search_by_key(&key, |used| used.key)
            .ok()
            .and_then(|place| stretch.used.get(place))
            .map_or(0.0, |used| f64::from(of(used)));
        // From the newest end on, so that a column's time is over before it is drawn.
        let (from, to) = ((last.to - stretch.to).0 as f64, (last.to - stretch.from).0 as f64);
        let first = (from / part) as usize;
        for (place, (sum, time)) in sums.iter_mut().enumerate().skip(first) {
            let (begin, end) = (place as f64 * part, (place + 1) as f64 * part);
            let shared = to.min(end) - from.max(begin);
            if shared <= 0.0 {
                break;
            }
            *sum += value * shared;
            *time += shared;
        }
    }
    let means = sums
        .iter()
        .map(|(sum, time)| if *time > 0.0 { sum / time } else { 0.0 });
    means.rev().collect()
}

fn facts(session: &SessionReport, width: usize) -> Vec<Line> {
    let mut parts = Parts::default();
    let mut add = |name: &str, value: String| parts.add(0, [Piece::dim(format!("{name} ")), Piece::plain(value)]);
    let unit = |value: Option<f64>, text: String, unit: &str| match value {
        Some(_) => format!("{text}{unit}"),
        None => text,
    };
    let live = format::seconds(session.duration_s, session.duration_is_lower_bound);
    add("live", unit(session.duration_s, live, " s"));
    add("tasks", format::count(session.tasks));
    let cpu_s = session
        .cpu_s
        .map_or_else(|| format::UNKNOWN.to_owned(), |s| format!("{s:.1} s"));
    add("CPU since attach", cpu_s);
    add(
        "memory share",
        unit(session.mem_mb, format::megabytes(session.mem_mb), " MB"),
    );
    add("peak", unit(session.peak_mb, format::megabytes(session.peak_mb), " MB"));
    flow(parts, width)
}

/// Its stack while it runs, and where it waits otherwise.
fn place(session: &SessionReport, width: usize) -> Vec<Line> {
    let at = session.place.as_ref();
    let text = format::where_it_is(at, width.saturating_sub(6));
    let mut lines = Vec::new();
    match &session.stack {
        Some(stack) if !stack.frames.is_empty() => {
            let frames: Vec<Where> = stack.frames.iter().map(|frame| Where::of(frame)).collect();
            lines.push(rule("runs", width));
            lines.extend(stack_lines(&frames, at, width));
        }
        _ => {
            let runs = at.is_some_and(|at| at.state == Some("running"));
            lines.push(rule(if runs { "runs" } else { "waits" }, width));
            lines.push(Line::from(Piece::plain(format!("  {text}"))).cut(width));
        }
    }
    lines
}

fn blocks_of(report: &Report, session: Option<&SessionReport>, blocks: &[&Block], width: usize) -> Vec<Line> {
    let title = match session.filter(|session| session.blocks > 0) {
        Some(session) => {
            let bound = |is_bound| if is_bound { "≥ " } else { "" };
            let all = format::stretch(session.blocked_ms);
            let worst = session.worst_block_ms.map_or_else(String::new, |worst| {
                let bound = bound(session.worst_is_lower_bound);
                format!(", worst {bound}{}", format::stretch(worst))
            });
            let bound = bound(session.blocked_is_lower_bound);
            format!("blocks: {}, {bound}{all} in all{worst}", session.blocks)
        }
        None => "blocks".to_owned(),
    };
    let mut lines = vec![rule(&title, width)];
    if blocks.is_empty() {
        lines.push(Line::from(Piece::dim("  none since otop attached")).cut(width));
    }
    for block in blocks {
        lines.push(row_of_session(report, block, width));
        // Of the one that goes on it matters where, if that does not stand above.
        let is_new = block.ongoing && session.is_none_or(|session| session.stack.is_none());
        if let Some(stack) = block.stack.as_ref().filter(|_| is_new) {
            lines.extend(stack_lines(stack, Some(&words::own_place(block)), width));
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Nanos;

    fn history(values: &[f32]) -> Vec<Arc<HistoryStretch>> {
        let second = |place: usize| Nanos(place as u64 * 1_000_000_000);
        let stretch = |(place, value): (usize, &f32)| {
            let used = SessionUse {
                cpu_pct: *value,
                ..SessionUse::of(SessionKey(7))
            };
            // Those that used nothing are not in it.
            let used = if *value > 0.0 { vec![used] } else { Vec::new() };
            Arc::new(HistoryStretch {
                from: second(place),
                to: second(place + 1),
                used,
            })
        };
        values.iter().enumerate().map(stretch).collect()
    }

    #[test]
    fn a_column_is_the_mean_of_its_part_of_the_time() {
        let drawn = |values: &[f32], room| columns(&history(values), SessionKey(7), cpu, room);
        assert_eq!(drawn(&[1.0, 2.0, 3.0], 10), [1.0, 2.0, 3.0]);
        assert_eq!(drawn(&[1.0, 3.0, 0.0, 8.0], 2), [2.0, 4.0]);
        assert_eq!(drawn(&[6.0, 6.0, 0.0], 2), [6.0, 2.0]);
        assert_eq!(drawn(&[], 5), [0.0; 0]);
        let nobody = columns(&history(&[1.0, 2.0]), SessionKey(8), cpu, 9);
        assert_eq!(nobody, [0.0, 0.0]);
        for room in 1..400 {
            let many = drawn(&[50.0; 300], room);
            assert!(many.len() <= room.min(300));
            assert!(many.iter().all(|value| (value - 50.0).abs() < 1e-6), "{room}: {many:?}");
        }
    }
}
