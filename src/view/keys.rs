//! Which key does what, and how the help says it: one table for each mood of the screen. Footer, help overlay and
//! key handling all come from here. Knows nothing of how a terminal encodes keys.

use super::line::{Line, Parts, Piece};

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
    Pin,
    Yank,
    Help,
    Close,
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

const fn bind(
    keys: &'static [Key],
    label: &'static str,
    action: Action,
    footer: Option<(u8, &'static str)>,
    help: &'static str,
) -> Binding {
    Binding {
        keys,
        label,
        action,
        footer,
        help,
    }
}

/// The keys of the table.
pub static TABLE_KEYS: &[Binding] = &[
    bind(
        &[Key::Char('q'), Key::Ctrl('c')],
        "q Ctrl-C",
        Action::Quit,
        Some((0, "quit")),
        "quit",
    ),
    bind(
        &[Key::Char('s')],
        "s",
        Action::NextSort,
        Some((2, "sort")),
        "sort by the next key",
    ),
    bind(
        &[Key::Char('<'), Key::Char(',')],
        "<",
        Action::SortLeft,
        None,
        "sort by the column to the left",
    ),
    bind(
        &[Key::Char('>'), Key::Char('.')],
        ">",
        Action::SortRight,
        None,
        "sort by the column to the right",
    ),
    bind(&[Key::Char('I')], "I", Action::FlipSort, None, "turn the sort round"),
    bind(
        &[Key::Char('f')],
        "f",
        Action::NextStatus,
        Some((3, "filter")),
        "all, active, slow, draining, errored",
    ),
    bind(
        &[Key::Char('/')],
        "/",
        Action::EnterText,
        Some((5, "find")),
        "show what contains a text (id, agent, tenant)",
    ),
    bind(
        &[Key::Char('r')],
        "r",
        Action::Refresh,
        Some((4, "refresh")),
        "refresh now",
    ),
    bind(
        &[Key::Char(' ')],
        "Space",
        Action::Freeze,
        Some((6, "freeze")),
        "freeze the picture; sampling goes on",
    ),
    bind(
        &[Key::Char('p')],
        "p",
        Action::Pin,
        Some((7, "pin")),
        "keep the selected session on top",
    ),
    bind(
        &[Key::Char('y')],
        "y",
        Action::Yank,
        Some((8, "yank")),
        "copy the selected id to the clipboard",
    ),
    bind(
        &[Key::Up, Key::Char('k')],
        "↑ k",
        Action::Select(Step::Up),
        None,
        "select the session above",
    ),
    bind(
        &[Key::Down, Key::Char('j')],
        "↓ j",
        Action::Select(Step::Down),
        None,
        "select the session below",
    ),
    bind(&[Key::PageUp], "PgUp", Action::Select(Step::PageUp), None, "a page up"),
    bind(
        &[Key::PageDown],
        "PgDn",
        Action::Select(Step::PageDown),
        None,
        "a page down",
    ),
    bind(
        &[Key::Home, Key::Char('g')],
        "Home g",
        Action::Select(Step::First),
        None,
        "the first session",
    ),
    bind(
        &[Key::End, Key::Char('G')],
        "End G",
        Action::Select(Step::Last),
        None,
        "the last session",
    ),
    bind(&[Key::Char('?')], "?", Action::Help, Some((1, "help")), "this help"),
    bind(
        &[Key::Escape],
        "Esc",
        Action::Close,
        None,
        "close the help, drop the text, drop the selection",
    ),
];

/// The keys while a text is typed; every other character is text.
pub static TEXT_KEYS: &[Binding] = &[
    bind(
        &[Key::Enter],
        "Enter",
        Action::KeepText,
        Some((0, "keep")),
        "keep the text",
    ),
    bind(
        &[Key::Escape],
        "Esc",
        Action::ClearText,
        Some((0, "clear")),
        "drop the text",
    ),
    bind(
        &[Key::Backspace, Key::Ctrl('h')],
        "Backspace",
        Action::Erase,
        None,
        "erase a character",
    ),
    bind(&[Key::Ctrl('u')], "Ctrl-U", Action::EraseAll, None, "erase all"),
    bind(&[Key::Ctrl('c')], "Ctrl-C", Action::Quit, None, "quit"),
];

/// What the key means now.
pub fn action_for(key: Key, is_typing: bool) -> Option<Action> {
    let bindings = if is_typing { TEXT_KEYS } else { TABLE_KEYS };
    let bound = bindings
        .iter()
        .find(|binding| binding.keys.contains(&key))
        .map(|binding| binding.action);
    match (bound, key) {
        (None, Key::Char(c)) if is_typing => Some(Action::Type(c)),
        (bound, _) => bound,
    }
}

/// `q quit  ? help  s sort …`, as many as fit.
pub fn footer(bindings: &[Binding], room: usize) -> Line {
    let mut parts = Parts::default();
    for binding in bindings {
        if let Some((rank, word)) = binding.footer {
            let key = binding.label.split(' ').next().unwrap_or(binding.label);
            parts.add(rank, [Piece::strong(key), Piece::dim(format!(" {word}"))]);
        }
    }
    parts.join(&Piece::plain("  "), Some(room))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_key_has_two_meanings_and_every_binding_is_explained() {
        for bindings in [TABLE_KEYS, TEXT_KEYS] {
            let mut seen = Vec::new();
            for binding in bindings {
                assert!(!binding.help.is_empty() && !binding.label.is_empty() && !binding.keys.is_empty());
                for key in binding.keys {
                    assert!(!seen.contains(&key), "{key:?} twice");
                    seen.push(key);
                }
            }
        }
    }

    #[test]
    fn ctrl_c_quits_in_every_mood_but_q_is_text_while_typing() {
        for is_typing in [false, true] {
            assert_eq!(action_for(Key::Ctrl('c'), is_typing), Some(Action::Quit));
        }
        assert_eq!(action_for(Key::Char('q'), false), Some(Action::Quit));
        assert_eq!(action_for(Key::Char('q'), true), Some(Action::Type('q')));
        assert_eq!(action_for(Key::Char('z'), false), None);
        assert_eq!(action_for(Key::Ctrl('z'), true), None);
    }

    #[test]
    fn the_footer_keeps_quit_and_help_to_the_last() {
        assert_eq!(
            footer(TABLE_KEYS, 80).text(),
            "q quit  s sort  f filter  / find  r refresh  Space freeze  p pin  y yank  ? help"
        );
        assert_eq!(footer(TABLE_KEYS, 40).text(), "q quit  s sort  f filter  ? help");
        assert_eq!(footer(TABLE_KEYS, 16).text(), "q quit  ? help");
    }
}
