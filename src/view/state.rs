//! What the user has chosen, and how an action changes it. `update` is a function of the state, the action and the
//! report; what has to happen outside of it comes back as an `Effect`. Knows nothing of keys, screens and clocks.

use super::action::{Action, Mood, Steer, Step};
use super::columns::{COLUMNS, Column};
use super::filter::Filter;
use super::pages::{Page, Pages};
use super::printable;
use super::rows::{self, Rows};
use super::screen::Picture;
use super::sort::Sort;
use crate::model::{Nanos, Report, SessionKey, SessionReport};
use std::collections::BTreeSet;

/// A longer text finds nothing, and would not fit into the footer.
const LONGEST_TEXT: usize = 200;

/// What the command line can say about the table; the same for the live table, `--once` and `--json`.
#[derive(Clone, Debug)]
pub struct Options {
    pub sort: Sort,
    pub filter: Filter,
    pub columns: Vec<&'static Column>,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            sort: Sort::default(),
            filter: Filter::default(),
            columns: COLUMNS.iter().collect(),
        }
    }
}

/// What an action asks of the world outside.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Effect {
    Nothing,
    Quit,
    /// A new report is wanted now.
    Refresh,
    /// This text belongs on the clipboard. It is printable.
    Copy(String),
    /// The last minutes belong into a file of this name.
    Write(String),
    Steer(Steer),
}

/// The picture that Space froze.
#[derive(Debug)]
struct Frozen {
    report: Report,
    at: Nanos,
}

/// Everything that the user has chosen.
#[derive(Debug, Default)]
pub struct ViewState {
    options: Options,
    pins: BTreeSet<SessionKey>,
    selected: Option<SessionKey>,
    frozen: Option<Frozen>,
    message: Option<String>,
    is_typing: bool,
    /// The name of a file that is typed.
    name: Option<String>,
    /// Where a replay is; None: this is none.
    replay: Option<String>,
    pages: Pages,
    /// First line of the help that is shown; None: no help.
    help: Option<usize>,
    /// What the last picture showed: where the selection stood, how many rows a page has, which columns there were.
    seen_at: usize,
    /// That the selected session is not shown has been said.
    misses_selected: bool,
    seen_rows: usize,
    seen_columns: Vec<&'static Column>,
}

impl ViewState {
    pub fn new(options: Options) -> ViewState {
        ViewState {
            options,
            ..ViewState::default()
        }
    }

    pub fn options(&self) -> &Options {
        &self.options
    }

    pub fn is_typing(&self) -> bool {
        self.is_typing
    }

    /// What a key means now.
    pub fn mood(&self) -> Mood {
        match (self.is_typing, &self.name) {
            (true, _) => Mood::Text,
            (false, Some(_)) => Mood::Name,
            (false, None) => self.pages.mood(),
        }
    }

    /// Says where a replay is.
    pub fn set_replay(&mut self, place: Option<String>) {
        self.replay = place;
    }

    pub fn is_replay(&self) -> bool {
        self.replay.is_some()
    }

    /// What is typed: a name of a file, or else a text to find.
    pub(super) fn typed(&self) -> &str {
        self.name.as_deref().unwrap_or(&self.options.filter.text)
    }

    fn typed_mut(&mut self) -> &mut String {
        self.name.as_mut().unwrap_or(&mut self.options.filter.text)
    }

    pub fn message(&self) -> Option<&str> {
        self.message.as_deref()
    }

    /// Puts a word into the message line; it stays until the next key.
    pub fn say(&mut self, message: impl Into<String>) {
        self.message = Some(message.into());
    }

    /// Takes a word back that is no longer true, if it still stands there.
    pub fn unsay(&mut self, message: &str) {
        self.message = self.message.take().filter(|said| said != message);
    }

    pub(super) fn pages(&self) -> &Pages {
        &self.pages
    }

    pub(super) fn pins(&self) -> &BTreeSet<SessionKey> {
        &self.pins
    }

    pub(super) fn help(&self) -> Option<usize> {
        self.help
    }

    /// The report that is shown: the frozen one, or the given.
    pub fn shown<'a>(&'a self, report: &'a Report) -> &'a Report {
        self.frozen.as_ref().map_or(report, |frozen| &frozen.report)
    }

    /// What the picture is, if it is not of this instant: how long ago it was frozen, or where in a recording it is.
    pub fn stand(&self, now: Nanos) -> Option<String> {
        let age = self.frozen.as_ref().map(|frozen| (now - frozen.at).as_secs_f64());
        age.map(|age| format!("FROZEN {:.0} s", age.max(0.0).floor()))
            .or_else(|| self.replay.clone())
    }

    pub fn rows<'a>(&'a self, report: &'a Report) -> Rows<'a> {
        rows::choose(self.shown(report), &self.options.filter, self.options.sort, &self.pins)
    }

    /// Where the selected session stands among these rows. One that is no longer there leaves nobody selected: a key that
    /// was meant for it must not act on the one that took its place.
    pub fn selected_at(&self, rows: &Rows) -> Option<usize> {
        let key = self.selected?;
        rows.shown.iter().position(|session| session.key == key)
    }

    /// The row that stays where it is on the screen: the selected one, else the one that took its place.
    pub(super) fn anchor(&self, rows: &Rows) -> Option<usize> {
        let last = rows.shown.len().checked_sub(1)?;
        self.selected?;
        Some(self.selected_at(rows).unwrap_or(self.seen_at.min(last)))
    }

    /// Takes note of what the user sees now. Whoever draws calls this after each picture.
    pub fn saw(&mut self, picture: &Picture) {
        self.seen_rows = picture.page_rows;
        self.seen_columns = picture.table.columns.iter().map(|placed| placed.column).collect();
        if let Some(help) = &picture.help {
            self.help = Some(help.first);
        }
        if let Some(sheet) = &picture.sheet {
            self.pages.saw(sheet.seen);
            return;
        }
        // Whoever is not shown for a moment, because of a filter or of a walk that missed it, is selected again when it is.
        match picture.selected {
            Some((place, _)) => {
                self.seen_at = place;
                self.misses_selected = false;
            }
            None if self.selected.is_some() && !self.is_typing && !self.misses_selected => {
                self.misses_selected = true;
                self.say("the selected session is no longer shown, and none is selected: ↑ ↓ choose another");
            }
            None => {}
        }
    }

    /// Does what the action says. `now` is `CLOCK_MONOTONIC`.
    pub fn update(&mut self, action: Action, report: &Report, now: Nanos) -> Effect {
        self.message = None;
        match action {
            Action::Quit => return Effect::Quit,
            Action::Refresh => return Effect::Refresh,
            Action::NextSort => self.options.sort = self.options.sort.next(),
            Action::SortLeft => self.sort_beside(false),
            Action::SortRight => self.sort_beside(true),
            Action::FlipSort => self.options.sort = self.options.sort.flipped(),
            Action::NextStatus => self.options.filter.next_status(),
            Action::Select(step) | Action::Scroll(step) if self.help.is_some() => self.scroll_help(step),
            Action::Select(step) if *self.pages.page() == Page::Blocks => {
                let shown = self.frozen.as_ref().map_or(report, |frozen| &frozen.report);
                self.pages.select_block(step, shown);
            }
            Action::Select(step) => self.select(step, report),
            Action::EnterText => {
                self.is_typing = true;
                self.help = None;
            }
            Action::Type(c) => {
                if self.typed().chars().count() < LONGEST_TEXT {
                    self.typed_mut().push(c);
                }
            }
            Action::Erase => {
                self.typed_mut().pop();
            }
            Action::EraseAll => self.typed_mut().clear(),
            Action::KeepText if self.name.is_some() => {
                return self.name.take().map_or(Effect::Nothing, Effect::Write);
            }
            Action::KeepText => self.is_typing = false,
            Action::ClearText if self.name.is_some() => self.name = None,
            Action::ClearText => {
                self.is_typing = false;
                self.options.filter.text.clear();
            }
            Action::Freeze => {
                self.frozen = match self.frozen {
                    Some(_) => None,
                    None => Some(Frozen {
                        report: report.clone(),
                        at: now,
                    }),
                };
            }
            Action::AskName if report.quality.kept_bytes.is_none() => {
                self.say("the last minutes are kept while a worker is read live, and only then");
            }
            Action::AskName => {
                self.name = Some(format!("otop-{}.otop", report.worker.pid));
                self.help = None;
            }
            Action::Steer(steer) => return Effect::Steer(steer),
            Action::Pin => self.pin(report),
            Action::Yank => return self.yank(report),
            Action::Blocks => self.pages.show_blocks(),
            Action::Open => self.open(report),
            Action::Scroll(step) => self.pages.scroll_by(step),
            Action::Help => self.help = if self.help.is_some() { None } else { Some(0) },
            Action::Close => self.close(),
        }
        Effect::Nothing
    }

    /// Sorts by the next column that is on the screen and can be sorted by.
    fn sort_beside(&mut self, to_the_right: bool) {
        let columns = if self.seen_columns.is_empty() {
            &self.options.columns
        } else {
            &self.seen_columns
        };
        let sortable: Vec<_> = columns.iter().filter(|column| column.sort_name.is_some()).collect();
        if sortable.is_empty() {
            return;
        }
        let count = sortable.len();
        let next = match sortable
            .iter()
            .position(|column| **column == self.options.sort.column())
        {
            Some(place) if to_the_right => (place + 1) % count,
            Some(place) => (place + count - 1) % count,
            None if to_the_right => 0,
            None => count - 1,
        };
        self.options.sort = Sort::by(sortable[next]);
    }

    fn select(&mut self, step: Step, report: &Report) {
        let rows = self.rows(report);
        let Some(last) = rows.shown.len().checked_sub(1) else {
            return;
        };
        let page = self.seen_rows.max(1);
        let is_there = self.selected_at(&rows).is_some();
        let place = match (self.anchor(&rows), step) {
            (None, Step::Up | Step::PageUp | Step::Last) => last,
            (None, Step::Down | Step::PageDown | Step::First) => 0,
            (Some(place), Step::Up) => place.saturating_sub(1),
            // What took the place of one that is gone is the next one down.
            (Some(place), Step::Down) => place + usize::from(is_there),
            (Some(place), Step::PageUp) => place.saturating_sub(page),
            (Some(place), Step::PageDown) => place + page,
            (Some(_), Step::First) => 0,
            (Some(_), Step::Last) => last,
        };
        let place = place.min(last);
        let key = rows.shown[place].key;
        self.selected = Some(key);
        self.seen_at = place;
    }

    fn scroll_help(&mut self, step: Step) {
        let Some(first) = self.help else { return };
        self.help = Some(step.scrolled(first, self.seen_rows));
    }

    /// Shows alone what is selected.
    fn open(&mut self, report: &Report) {
        let shown = self.shown(report);
        let chosen = match self.pages.page() {
            Page::Blocks => {
                let block = self.pages.selected(shown);
                block.and_then(|block| Some((block.culprit?, block.session_id.clone()?)))
            }
            _ => self
                .session(report)
                .map(|session| (session.key, session.session_id.clone())),
        };
        match chosen {
            Some((key, id)) => self.pages.show_session(key, &id),
            None if *self.pages.page() == Page::Blocks => self.say("nobody is to blame for this one"),
            None => self.message = Some(self.nothing_selected()),
        }
    }

    /// The session that is selected, or shown alone.
    fn session<'a>(&'a self, report: &'a Report) -> Option<&'a SessionReport> {
        if let Page::Session { key, .. } = self.pages.page() {
            return self.shown(report).sessions.iter().find(|one| one.key == *key);
        }
        let rows = self.rows(report);
        self.selected_at(&rows).and_then(|place| rows.shown.get(place).copied())
    }

    fn pin(&mut self, report: &Report) {
        let session = self.session(report);
        let message = match session.map(|session| (session.key, session.pinned)) {
            None => Some(self.nothing_selected()),
            Some((_, true)) => Some("pinned by the worker itself".to_owned()),
            Some((key, false)) => {
                if !self.pins.remove(&key) {
                    self.pins.insert(key);
                }
                None
            }
        };
        self.message = message;
    }

    fn yank(&mut self, report: &Report) -> Effect {
        let session = self.session(report);
        let Some(id) = session.map(|session| session.session_id.clone()) else {
            self.message = Some(self.nothing_selected());
            return Effect::Nothing;
        };
        // What is pasted into a shell must not run there: a line feed in an id would.
        let text = printable::printable(&id);
        let escaped = if text == id {
            ""
        } else {
            " (with its control characters written out)"
        };
        self.say(format!("copied {text} to the clipboard{escaped}"));
        Effect::Copy(text)
    }

    fn nothing_selected(&self) -> String {
        let why = if self.selected.is_some() {
            "the selected session is no longer shown"
        } else {
            "no session is selected"
        };
        format!("{why}: choose one with ↑ ↓")
    }

    /// Esc: undoes one thing, the topmost first.
    fn close(&mut self) {
        if self.help.take().is_some() {
        } else if *self.pages.page() != Page::Table {
            self.pages.close();
        } else if !self.options.filter.text.is_empty() {
            self.options.filter.text.clear();
        } else {
            self.selected = None;
        }
    }
}
