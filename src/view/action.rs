//! What can be pressed, what it can mean, and what a row of the table of keys is. Knows nothing of which key means what.

/// A key, whatever the terminal sends for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    Char(char),
    Ctrl(char),
    Up,
    Down,
    PageUp,
    PageDown,
    Home,
    End,
    Enter,
    Escape,
    Backspace,
}

/// A step of the selection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Up,
    Down,
    PageUp,
    PageDown,
    First,
    Last,
}

impl Step {
    /// The first row that is to be seen after the step. How far one can go is known when it is drawn.
    pub fn scrolled(self, first: usize, page: usize) -> usize {
        let page = page.max(1);
        match self {
            Step::Up => first.saturating_sub(1),
            Step::Down => first + 1,
            Step::PageUp => first.saturating_sub(page),
            Step::PageDown => first + page,
            Step::First => 0,
            // Rows are added to it.
            Step::Last => usize::MAX / 2,
        }
    }
}

/// Where a replay is to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Steer {
    Pause,
    Forward,
    Back,
    FarForward,
    FarBack,
    Faster,
    Slower,
}

/// What the user wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    Quit,
    Refresh,
    NextSort,
    SortLeft,
    SortRight,
    FlipSort,
    NextStatus,
    Select(Step),
    EnterText,
    Type(char),
    Erase,
    EraseAll,
    KeepText,
    ClearText,
    Freeze,
    /// The name of a file for the last minutes.
    AskName,
    Steer(Steer),
    Pin,
    Yank,
    /// The list of blocks, and back.
    Blocks,
    /// What is selected, alone.
    Open,
    /// What stands below a list.
    Scroll(Step),
    Help,
    Close,
}

/// What the screen is about; decides what a key means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mood {
    #[default]
    Table,
    /// A text is typed.
    Text,
    /// The name of a file is typed.
    Name,
    /// The list of blocks.
    Blocks,
    /// One session alone.
    Session,
}

/// One row of the table of keys.
pub struct Binding {
    pub keys: &'static [Key],
    /// How the help writes the keys.
    pub label: &'static str,
    pub action: Action,
    /// The word in the footer; the lower the rank, the longer it stays there.
    pub footer: Option<(u8, &'static str)>,
    pub help: &'static str,
}

/// A row that is in the help alone.
pub const fn bind(keys: &'static [Key], label: &'static str, action: Action, help: &'static str) -> Binding {
    Binding {
        keys,
        label,
        action,
        footer: None,
        help,
    }
}

impl Binding {
    pub const fn in_footer(mut self, rank: u8, word: &'static str) -> Binding {
        self.footer = Some((rank, word));
        self
    }
}
