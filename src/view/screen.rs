//! The whole live screen as data: what stands where in a terminal of this size, and what gave way. Knows nothing of
//! how lines get onto the terminal.

use super::action::{Binding, Mood};
use super::alarm;
use super::blocks_page;
use super::columns::COLUMNS;
use super::format;
use super::header::{self, Chart};
use super::keys;
use super::line::{Line, Parts, Piece, Tone};
use super::pages::Page;
use super::rows::Rows;
use super::session_page;
use super::sheet::Sheet;
use super::state::{Options, ViewState};
use super::table::{Table, Wanted};
use super::widths::Room;
use crate::model::{Nanos, Report, SessionKey};

/// From this size on there is room for a border around the header.
const BORDER_FROM: (usize, usize) = (60, 16);
/// Lower screens have no line about sort and filters.
const CAPTION_FROM: usize = 14;
/// Lower screens have no line about the selected session or the last block. Where it has a line, it has it always:
/// rows that move when one is selected are hard to follow.
const DETAIL_FROM: usize = 20;

/// What a terminal shows.
#[derive(Debug, Default)]
pub struct Picture {
    pub has_border: bool,
    pub title: Line,
    pub header: Vec<Line>,
    pub caption: Option<Line>,
    pub table: Table,
    /// Stands in place of caption, table and detail.
    pub sheet: Option<Sheet>,
    /// Stands in place of the rows, if there are none.
    pub nothing: Option<Line>,
    pub detail: Option<Line>,
    pub footer: Line,
    pub help: Option<Help>,
    /// Rows of sessions that fit.
    pub page_rows: usize,
    pub selected: Option<(usize, SessionKey)>,
}

/// The help overlay; scrolled so far that `first` is its first line.
#[derive(Debug, Default)]
pub struct Help {
    pub lines: Vec<Line>,
    pub first: usize,
}

/// Cells between two columns of the live table.
pub const GAP: usize = 1;

/// What to show on `width` × `height` cells.
pub fn picture(view: &ViewState, report: &Report, now: Nanos, width: usize, height: usize) -> Picture {
    let shown = view.shown(report);
    if *view.pages().page() != Page::Table {
        return page(view, shown, now, width, height);
    }
    let rows = view.rows(report);
    let has_border = width >= BORDER_FROM.0 && height >= BORDER_FROM.1;
    let inner = if has_border { width.saturating_sub(4) } else { width };
    let selected = view
        .selected_at(&rows)
        .and_then(|place| Some((place, rows.shown.get(place)?.key)));

    // Every line is paid for from the height: what must be there first, then the header by rank, the rest is rows.
    let has_caption = height >= CAPTION_FROM;
    let has_detail = height >= DETAIL_FROM;
    let frame = 1 + usize::from(has_border) + usize::from(has_caption) + usize::from(has_detail);
    let table_frame = 1 + 1 + usize::from(rows.hidden.is_some());
    let free = height.saturating_sub(frame + table_frame + 1);
    let header = fill(shown, inner, free, rows.shown.len());
    let page_rows = free.saturating_sub(header.len());

    let first = first_row(view.anchor(&rows), rows.shown.len(), page_rows);
    let window = first..(first + page_rows).min(rows.shown.len());
    let wanted = Wanted {
        columns: &view.options().columns,
        sort: view.options().sort,
        pins: view.pins(),
        selected: selected.map(|(_, key)| key),
        window: window.clone(),
    };
    let room = Room {
        width: Some(width),
        gap: GAP,
        edges: 0,
    };
    Picture {
        has_border,
        title: header::title(&shown.worker, view.stand(now), Some(inner)),
        header,
        caption: has_caption.then(|| caption(&rows, view.options(), Some(width))),
        table: Table::lay_out(shown, &rows, &wanted, room),
        nothing: nothing(shown, &rows, Some(width)),
        detail: has_detail.then(|| detail(shown, &rows, selected.map(|(place, _)| place), width)),
        footer: footer(view, place_of(&window, rows.shown.len()), width),
        help: view
            .help()
            .map(|first| help((view.mood(), view.is_replay()), first, width, height)),
        page_rows,
        selected,
        sheet: None,
    }
}

/// A page in place of the table: what has to be read first stays above it.
fn page(view: &ViewState, shown: &Report, now: Nanos, width: usize, height: usize) -> Picture {
    let inner = if width >= BORDER_FROM.0 {
        width.saturating_sub(4)
    } else {
        width
    };
    let highest = if height >= DETAIL_FROM { 1 } else { 0 };
    let header: Vec<Line> = header::lines(shown, Some(inner), Chart::Small)
        .into_iter()
        .filter(|line| line.rank <= highest)
        .map(|line| line.line)
        .take((height / 8).max(1))
        .collect();
    let has_border = width >= BORDER_FROM.0 && height >= BORDER_FROM.1 && !header.is_empty();
    let title = header::title(&shown.worker, view.stand(now), Some(inner));
    let frame = 1 + header.len() + usize::from(has_border) + 1;
    let rows = height.saturating_sub(frame);
    let sheet = match view.pages().page() {
        Page::Session { key, id } => session_page::lay_out(shown, view.pages(), *key, id, width, rows),
        _ => blocks_page::lay_out(shown, view.pages(), width, rows),
    };
    Picture {
        has_border,
        title,
        header,
        footer: footer(view, sheet.place.clone(), width),
        help: view
            .help()
            .map(|first| help((view.mood(), view.is_replay()), first, width, height)),
        page_rows: rows,
        sheet: Some(sheet),
        ..Picture::default()
    }
}

/// `3–7 of 12`; None: all are shown.
fn place_of(window: &std::ops::Range<usize>, all: usize) -> Option<String> {
    (window.len() != all).then(|| format!("{}–{} of {all}", window.start + 1, window.end))
}

/// The header lines that fit into `free` lines beside the rows; with the large chart, if all of it fits. Alarms always
/// stay, the others leave as long as the sessions need their place; two thirds of the free lines is the most that
/// sessions can ask for.
fn fill(report: &Report, room: usize, free: usize, sessions: usize) -> Vec<Line> {
    let for_rows = sessions.clamp(1, (free * 2 / 3).max(5));
    let most = free.saturating_sub(for_rows);
    let mut lines = header::lines(report, Some(room), Chart::Large);
    if lines.len() > most {
        lines = header::lines(report, Some(room), Chart::Small);
    }
    while lines.len() > most {
        let Some(worst) = lines.iter().map(|line| line.rank).max().filter(|rank| *rank > 0) else {
            break;
        };
        lines.retain(|line| line.rank != worst);
    }
    // On a screen of a few lines one alarm has to do.
    lines.truncate(most.max(2).min(free.saturating_sub(1)));
    lines.into_iter().map(|line| line.line).collect()
}

/// The selection stays in the middle where it can.
fn first_row(selected: Option<usize>, sessions: usize, page_rows: usize) -> usize {
    let middle = selected.unwrap_or(0).saturating_sub(page_rows / 2);
    middle.min(sessions.saturating_sub(page_rows))
}

/// `otop: 6 session(s) (sort:mem_mb status:all agent:all tenant:all)`, as the original has it.
pub fn caption(rows: &Rows, options: &Options, room: Option<usize>) -> Line {
    let filter = &options.filter;
    let or_all = |name: &Option<String>| name.clone().unwrap_or_else(|| "all".to_owned());
    let turned = if options.sort.is_descending() == options.sort.column().descends {
        ""
    } else {
        " (reversed)"
    };
    let mut facts = format!(
        "sort:{}{turned} status:{} agent:{} tenant:{}",
        options.sort.name(),
        filter.status_name(),
        or_all(&filter.agent),
        or_all(&filter.tenant)
    );
    if !filter.text.is_empty() {
        facts.push_str(&format!(" text:{}", filter.text));
    }
    let line: Line = [
        Piece::strong(format!("otop: {} session(s)", rows.shown.len())),
        Piece::dim(format!(" ({facts})")),
    ]
    .into_iter()
    .collect();
    line.cut(room.unwrap_or(usize::MAX))
}

/// What to say where no session has a row.
pub fn nothing(report: &Report, rows: &Rows, room: Option<usize>) -> Option<Line> {
    // Whether there are sessions is known of a walk over the tasks.
    let was_walked = report.worker.is_served || report.worker.tasks.is_some();
    let text = match (&rows.hidden, rows.shown.is_empty()) {
        (_, false) => return None,
        (None, true) if !was_walked => "no walk over the tasks yet: what sessions there are is not known",
        (None, true) => "no live sessions",
        (Some(_), true) => "no session passes the filter",
    };
    Some(Line::from(Piece::dim(text)).cut(room.unwrap_or(usize::MAX)))
}

/// The selected session in full: its id may have been cut in the table, and its place may have had no column. While
/// none is selected, the last block.
fn detail(report: &Report, rows: &Rows, selected: Option<usize>, width: usize) -> Line {
    let Some(session) = selected.and_then(|place| rows.shown.get(place)) else {
        return alarm::last_block(report, Some(width)).unwrap_or_default();
    };
    let mut parts = Parts::default();
    parts.add(0, [Piece::strong(&session.session_id)]);
    parts.add(1, [Piece::plain(format::where_it_is(session.place.as_ref(), width))]);
    if let Some(worst) = session.worst_block_ms {
        parts.add(
            2,
            [Piece::new(
                format!("worst block {}", format::stretch(worst)),
                Tone::Slow,
            )],
        );
    }
    parts.join(&Piece::dim(" · "), Some(width))
}

fn footer(view: &ViewState, place: Option<String>, width: usize) -> Line {
    let keys_now = keys::bindings_now(view.mood(), view.is_replay());
    if matches!(view.mood(), Mood::Text | Mood::Name) {
        let keys = keys::footer(keys_now.iter().copied(), width);
        let room = width.saturating_sub(keys.width() + 9);
        let text = Piece::plain(view.typed()).cut(room, super::printable::Keep::End);
        let begin = if view.mood() == Mood::Name { "file: " } else { "/" };
        let typed = [Piece::strong(begin), text, Piece::strong("▏ ")];
        return typed
            .into_iter()
            .chain(keys.pieces().iter().cloned())
            .collect::<Line>()
            .cut(width);
    }
    if let Some(message) = view.message() {
        return Line::from(Piece::strong(message)).cut(width);
    }
    let Some(place) = place else {
        return keys::footer(keys_now.iter().copied(), width);
    };
    let mut line = keys::footer(
        keys_now.iter().copied(),
        width.saturating_sub(place.chars().count() + 2),
    );
    let blank = width.saturating_sub(line.width() + place.chars().count());
    line.push(Piece::plain(" ".repeat(blank)));
    line.push(Piece::dim(place));
    line.cut(width)
}

fn help((mood, is_replay): (Mood, bool), first: usize, width: usize, height: usize) -> Help {
    // The border takes two lines and four cells.
    let (room, most) = (width.saturating_sub(4), height.saturating_sub(2).max(1));
    let row = |name: &str, text: &str| -> Line {
        let name = Piece::strong(name).padded(10, false, super::printable::Keep::Start);
        [name, Piece::plain(text)].into_iter().collect::<Line>().cut(room)
    };
    let title = |text: &str| Line::from(Piece::dim(text)).cut(room);
    let keys = |bindings: &[&Binding]| -> Vec<Line> {
        bindings
            .iter()
            .map(|binding| row(binding.label, binding.help))
            .collect()
    };
    // A page explains its own keys, the table also itself.
    let mut lines = vec![title(match mood {
        Mood::Blocks => "Keys in the list of blocks",
        Mood::Session => "Keys with one session alone",
        Mood::Table | Mood::Text | Mood::Name => "Keys",
    })];
    lines.extend(keys(&keys::bindings_now(mood, is_replay)));
    if mood == Mood::Table {
        lines.push(title("While a text is typed"));
        lines.extend(keys(&keys::bindings_now(Mood::Text, false)));
        lines.push(title("Columns"));
        lines.extend(COLUMNS.iter().map(|column| row(column.heading, column.help)));
        lines.push(row("hidden", "the sum of the sessions that the filters hide"));
        lines.push(row("unattr…", "loop and thread time that belongs to no session"));
    }
    let first = first.min(lines.len().saturating_sub(most));
    let lines = lines.into_iter().skip(first).take(most).collect();
    Help { lines, first }
}
