//! Which key does what, and how the help says it: one table for each mood of the screen. Footer, help overlay and
//! key handling all come from here. Knows nothing of how a terminal encodes keys.

use super::action::{Action, Binding, Key, Mood, Step, bind};
use super::line::{Line, Parts, Piece};

const QUIT: Binding = bind(
    &[Key::Char('q'), Key::Ctrl('c')],
    "q Ctrl-C",
    Action::Quit,
    Some((0, "quit")),
    "quit",
);
const REFRESH: Binding = bind(
    &[Key::Char('r')],
    "r",
    Action::Refresh,
    Some((5, "refresh")),
    "refresh now",
);
const FREEZE: Binding = bind(
    &[Key::Char(' ')],
    "Space",
    Action::Freeze,
    Some((7, "freeze")),
    "freeze the picture; sampling goes on",
);
const BLOCKS: Binding = bind(
    &[Key::Char('b')],
    "b",
    Action::Blocks,
    Some((2, "blocks")),
    "the recent blocks, each with its stack",
);
const HELP: Binding = bind(&[Key::Char('?')], "?", Action::Help, Some((1, "help")), "this help");

/// The keys of the table.
static TABLE_KEYS: &[Binding] = &[
    QUIT,
    bind(
        &[Key::Char('s')],
        "s",
        Action::NextSort,
        Some((3, "sort")),
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
        Some((4, "filter")),
        "all, active, slow, draining, errored",
    ),
    bind(
        &[Key::Char('/')],
        "/",
        Action::EnterText,
        Some((6, "find")),
        "show what contains a text (id, agent, tenant)",
    ),
    BLOCKS,
    bind(
        &[Key::Enter],
        "Enter",
        Action::Open,
        Some((8, "alone")),
        "the selected session alone: over time, its stack, its blocks",
    ),
    REFRESH,
    FREEZE,
    bind(
        &[Key::Char('p')],
        "p",
        Action::Pin,
        Some((9, "pin")),
        "keep the selected session on top",
    ),
    bind(
        &[Key::Char('y')],
        "y",
        Action::Yank,
        Some((10, "yank")),
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
    HELP,
    bind(
        &[Key::Escape],
        "Esc",
        Action::Close,
        None,
        "close the help, drop the text, drop the selection",
    ),
];

/// The keys of the list of blocks.
static BLOCKS_KEYS: &[Binding] = &[
    QUIT,
    bind(
        &[Key::Escape, Key::Char('b')],
        "Esc b",
        Action::Close,
        Some((2, "back")),
        "back to the table",
    ),
    bind(
        &[Key::Up, Key::Char('k')],
        "↑ k",
        Action::Select(Step::Up),
        None,
        "select the newer block",
    ),
    bind(
        &[Key::Down, Key::Char('j')],
        "↓ j",
        Action::Select(Step::Down),
        Some((3, "select")),
        "select the older block",
    ),
    bind(
        &[Key::Home, Key::Char('g')],
        "Home g",
        Action::Select(Step::First),
        None,
        "the newest block",
    ),
    bind(
        &[Key::End, Key::Char('G')],
        "End G",
        Action::Select(Step::Last),
        None,
        "the oldest block",
    ),
    bind(
        &[Key::PageUp],
        "PgUp",
        Action::Scroll(Step::PageUp),
        None,
        "scroll the stack back",
    ),
    bind(
        &[Key::PageDown],
        "PgDn",
        Action::Scroll(Step::PageDown),
        Some((6, "stack")),
        "scroll the stack",
    ),
    bind(
        &[Key::Enter],
        "Enter",
        Action::Open,
        Some((4, "session")),
        "the session that is to blame, alone",
    ),
    REFRESH,
    FREEZE,
    HELP,
];

/// The keys while one session is shown alone.
static SESSION_KEYS: &[Binding] = &[
    QUIT,
    bind(
        &[Key::Escape, Key::Enter],
        "Esc Enter",
        Action::Close,
        Some((2, "back")),
        "back to where you came from",
    ),
    bind(
        &[Key::Up, Key::Char('k')],
        "↑ k",
        Action::Scroll(Step::Up),
        None,
        "scroll up",
    ),
    bind(
        &[Key::Down, Key::Char('j')],
        "↓ j",
        Action::Scroll(Step::Down),
        Some((4, "scroll")),
        "scroll down",
    ),
    bind(&[Key::PageUp], "PgUp", Action::Scroll(Step::PageUp), None, "a page up"),
    bind(
        &[Key::PageDown],
        "PgDn",
        Action::Scroll(Step::PageDown),
        None,
        "a page down",
    ),
    bind(
        &[Key::Home, Key::Char('g')],
        "Home g",
        Action::Scroll(Step::First),
        None,
        "to the top",
    ),
    bind(
        &[Key::End, Key::Char('G')],
        "End G",
        Action::Scroll(Step::Last),
        None,
        "to the end",
    ),
    bind(
        &[Key::Char('y')],
        "y",
        Action::Yank,
        Some((8, "yank")),
        "copy its id to the clipboard",
    ),
    BLOCKS,
    REFRESH,
    FREEZE,
    HELP,
];

/// The keys while a text is typed; every other character is text.
static TEXT_KEYS: &[Binding] = &[
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

/// The keys of a mood.
pub fn bindings(mood: Mood) -> &'static [Binding] {
    match mood {
        Mood::Table => TABLE_KEYS,
        Mood::Text => TEXT_KEYS,
        Mood::Blocks => BLOCKS_KEYS,
        Mood::Session => SESSION_KEYS,
    }
}

/// What the key means now.
pub fn action_for(key: Key, mood: Mood) -> Option<Action> {
    let bound = bindings(mood)
        .iter()
        .find(|binding| binding.keys.contains(&key))
        .map(|binding| binding.action);
    match (bound, key) {
        (None, Key::Char(c)) if mood == Mood::Text => Some(Action::Type(c)),
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

    const MOODS: [Mood; 4] = [Mood::Table, Mood::Text, Mood::Blocks, Mood::Session];

    #[test]
    fn no_key_has_two_meanings_and_every_binding_is_explained() {
        for mood in MOODS {
            let mut seen = Vec::new();
            for binding in bindings(mood) {
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
        for mood in MOODS {
            assert_eq!(action_for(Key::Ctrl('c'), mood), Some(Action::Quit));
            let q = if mood == Mood::Text {
                Action::Type('q')
            } else {
                Action::Quit
            };
            assert_eq!(action_for(Key::Char('q'), mood), Some(q));
        }
        assert_eq!(action_for(Key::Char('z'), Mood::Table), None);
        assert_eq!(action_for(Key::Ctrl('z'), Mood::Text), None);
    }

    #[test]
    fn every_mood_has_a_way_back() {
        for mood in [Mood::Blocks, Mood::Session] {
            assert_eq!(action_for(Key::Escape, mood), Some(Action::Close));
        }
        assert_eq!(action_for(Key::Char('b'), Mood::Table), Some(Action::Blocks));
        assert_eq!(action_for(Key::Char('b'), Mood::Blocks), Some(Action::Close));
        assert_eq!(action_for(Key::Enter, Mood::Table), Some(Action::Open));
        assert_eq!(action_for(Key::Enter, Mood::Session), Some(Action::Close));
    }

    #[test]
    fn the_footer_keeps_quit_and_help_to_the_last() {
        assert_eq!(
            footer(TABLE_KEYS, 105).text(),
            "q quit  s sort  f filter  / find  b blocks  Enter alone  r refresh  Space freeze  p pin  y yank  ? help"
        );
        assert_eq!(
            footer(TABLE_KEYS, 80).text(),
            "q quit  s sort  f filter  / find  b blocks  r refresh  Space freeze  ? help"
        );
        assert_eq!(footer(TABLE_KEYS, 40).text(), "q quit  s sort  b blocks  ? help");
        assert_eq!(footer(TABLE_KEYS, 16).text(), "q quit  ? help");
        assert_eq!(footer(BLOCKS_KEYS, 40).text(), "q quit  Esc back  ↓ select  ? help");
        assert_eq!(footer(SESSION_KEYS, 40).text(), "q quit  Esc back  b blocks  ? help");
    }
}
