//! What the screen is about besides the table: the list of blocks, or one session alone; which block is selected, and how
//! far a page is scrolled. Knows nothing of how a page looks.

use super::action::{Mood, Step};
use crate::model::{Block, Report, SessionKey};

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Page {
    #[default]
    Table,
    Blocks,
    /// One session, by its key; its id stays when it has ended.
    Session {
        key: SessionKey,
        id: String,
    },
}

/// What a page showed when it was last drawn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PageSeen {
    /// The selected block: its place in the list, and its number.
    pub block: Option<(usize, u64)>,
    /// Lines of what scrolls, and the first of them that was shown.
    pub rows: usize,
    pub first: usize,
}

#[derive(Debug, Default)]
pub struct Pages {
    page: Page,
    /// The session was opened from the list of blocks, and leads back there.
    from_blocks: bool,
    /// The selected block; None: the newest, whichever that is.
    block: Option<u64>,
    /// First line of what scrolls.
    scroll: usize,
    seen: PageSeen,
}

impl Pages {
    pub fn page(&self) -> &Page {
        &self.page
    }

    pub fn mood(&self) -> Mood {
        match self.page {
            Page::Table => Mood::Table,
            Page::Blocks => Mood::Blocks,
            Page::Session { .. } => Mood::Session,
        }
    }

    pub fn scroll(&self) -> usize {
        self.scroll
    }

    /// Where the selection stands among the blocks; one that is forgotten leaves it to the one that took its place.
    pub fn selected_at(&self, report: &Report) -> Option<usize> {
        let last = report.recent.len().checked_sub(1)?;
        let Some(id) = self.block else { return Some(0) };
        let place = report.recent.iter().position(|block| block.id == id);
        Some(place.unwrap_or(self.seen.block.map_or(0, |(place, _)| place)).min(last))
    }

    pub fn selected<'a>(&self, report: &'a Report) -> Option<&'a Block> {
        report.recent.get(self.selected_at(report)?).map(AsRef::as_ref)
    }

    pub fn show_blocks(&mut self) {
        self.go(Page::Blocks);
        self.from_blocks = false;
        self.block = None;
    }

    pub fn show_session(&mut self, key: SessionKey, id: &str) {
        self.from_blocks = self.page == Page::Blocks;
        let id = id.to_owned();
        self.go(Page::Session { key, id });
    }

    /// Back by one page.
    pub fn close(&mut self) {
        let back = if self.from_blocks { Page::Blocks } else { Page::Table };
        self.from_blocks = false;
        self.go(back);
    }

    fn go(&mut self, page: Page) {
        self.page = page;
        self.scroll = 0;
    }

    pub fn select_block(&mut self, step: Step, report: &Report) {
        let Some(place) = self.selected_at(report) else { return };
        let last = report.recent.len().saturating_sub(1);
        let place = match step {
            Step::Up | Step::PageUp => place.saturating_sub(1),
            Step::Down | Step::PageDown => (place + 1).min(last),
            Step::First => 0,
            Step::Last => last,
        };
        // The newest stays the newest while nothing else is chosen.
        let id = report.recent.get(place).map(|block| block.id);
        self.block = if step == Step::First { None } else { id };
        self.scroll = 0;
    }

    /// Scrolls; how far it can go is known when it is drawn, and `saw` brings back what was possible.
    pub fn scroll_by(&mut self, step: Step) {
        self.scroll = step.scrolled(self.seen.first, self.seen.rows);
        self.seen.first = self.scroll;
    }

    pub fn saw(&mut self, seen: PageSeen) {
        // The list that is not on the screen keeps its selection.
        let block = seen.block.or(self.seen.block);
        self.seen = PageSeen { block, ..seen };
        self.scroll = seen.first;
        // Once the user has chosen one, it is that one; until then the newest.
        if self.block.is_some() {
            self.block = block.map(|(_, id)| id);
        }
    }
}
