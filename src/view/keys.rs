//! Which key does what, and how the help says it: one table for each mood of the screen. Footer, help overlay and
//! key handling all come from here. A line for each key, however long. Knows nothing of how a terminal encodes keys.

use super::action::{Action, Binding, Key, Mood, Steer, Step, bind};
use super::line::{Line, Parts, Piece};

const QUIT: Binding = bind(&[Key::Char('q'), Key::Ctrl('c')], "q Ctrl-C", Action::Quit, "quit").in_footer(0, "quit");
const REFRESH: Binding = bind(&[Key::Char('r')], "r", Action::Refresh, "refresh now").in_footer(5, "refresh");
const FREEZE: Binding = bind(
    &[Key::Char(' ')],
    "Space",
    Action::Freeze,
    "freeze the picture; sampling goes on",
)
.in_footer(7, "freeze");
const BLOCKS: Binding = bind(
    &[Key::Char('b')],
    "b",
    Action::Blocks,
    "the recent blocks, each with its stack",
)
.in_footer(2, "blocks");
const HELP: Binding = bind(&[Key::Char('?')], "?", Action::Help, "this help").in_footer(1, "help");

const ERASE: Binding = bind(
    &[Key::Backspace, Key::Ctrl('h')],
    "Backspace",
    Action::Erase,
    "erase a character",
);
const ERASE_ALL: Binding = bind(&[Key::Ctrl('u')], "Ctrl-U", Action::EraseAll, "erase all");
/// While a text is typed, q is text.
const QUIT_TYPING: Binding = bind(&[Key::Ctrl('c')], "Ctrl-C", Action::Quit, "quit");

/// The keys of the table.
#[rustfmt::skip]
static TABLE_KEYS: &[Binding] = &[
    QUIT,
    bind(&[Key::Char('s')], "s", Action::NextSort, "sort by the next key").in_footer(3, "sort"),
    bind(&[Key::Char('<'), Key::Char(',')], "<", Action::SortLeft, "sort by the column to the left"),
    bind(&[Key::Char('>'), Key::Char('.')], ">", Action::SortRight, "sort by the column to the right"),
    bind(&[Key::Char('I')], "I", Action::FlipSort, "turn the sort round"),
    bind(&[Key::Char('f')], "f", Action::NextStatus, "all, active, slow, draining, errored").in_footer(4, "filter"),
    bind(&[Key::Char('/')], "/", Action::EnterText, "show what contains a text (id, agent, tenant)").in_footer(6, "find"),
    BLOCKS,
    bind(&[Key::Char('w')], "w", Action::AskName, "write the last minutes into a file").in_footer(11, "write"),
    bind(&[Key::Enter], "Enter", Action::Open, "the selected session alone: over time, its stack, its blocks").in_footer(8, "alone"),
    REFRESH,
    FREEZE,
    bind(&[Key::Char('p')], "p", Action::Pin, "keep the selected session on top").in_footer(9, "pin"),
    bind(&[Key::Char('y')], "y", Action::Yank, "copy the selected id to the clipboard").in_footer(10, "yank"),
    bind(&[Key::Up, Key::Char('k')], "↑ k", Action::Select(Step::Up), "select the session above"),
    bind(&[Key::Down, Key::Char('j')], "↓ j", Action::Select(Step::Down), "select the session below"),
    bind(&[Key::PageUp], "PgUp", Action::Select(Step::PageUp), "a page up"),
    bind(&[Key::PageDown], "PgDn", Action::Select(Step::PageDown), "a page down"),
    bind(&[Key::Home, Key::Char('g')], "Home g", Action::Select(Step::First), "the first session"),
    bind(&[Key::End, Key::Char('G')], "End G", Action::Select(Step::Last), "the last session"),
    HELP,
    bind(&[Key::Escape], "Esc", Action::Close, "close the help, drop the text, drop the selection"),
];

/// The keys of the list of blocks.
#[rustfmt::skip]
static BLOCKS_KEYS: &[Binding] = &[
    QUIT,
    bind(&[Key::Escape, Key::Char('b')], "Esc b", Action::Close, "back to the table").in_footer(2, "back"),
    bind(&[Key::Up, Key::Char('k')], "↑ k", Action::Select(Step::Up), "select the newer block"),
    bind(&[Key::Down, Key::Char('j')], "↓ j", Action::Select(Step::Down), "select the older block").in_footer(3, "select"),
    bind(&[Key::Home, Key::Char('g')], "Home g", Action::Select(Step::First), "the newest block"),
    bind(&[Key::End, Key::Char('G')], "End G", Action::Select(Step::Last), "the oldest block"),
    bind(&[Key::PageUp], "PgUp", Action::Scroll(Step::PageUp), "scroll the stack back"),
    bind(&[Key::PageDown], "PgDn", Action::Scroll(Step::PageDown), "scroll the stack").in_footer(6, "stack"),
    bind(&[Key::Enter], "Enter", Action::Open, "the session that is to blame, alone").in_footer(4, "session"),
    REFRESH,
    FREEZE,
    HELP,
];

/// The keys while one session is shown alone.
#[rustfmt::skip]
static SESSION_KEYS: &[Binding] = &[
    QUIT,
    bind(&[Key::Escape, Key::Enter], "Esc Enter", Action::Close, "back to where you came from").in_footer(2, "back"),
    bind(&[Key::Up, Key::Char('k')], "↑ k", Action::Scroll(Step::Up), "scroll up"),
    bind(&[Key::Down, Key::Char('j')], "↓ j", Action::Scroll(Step::Down), "scroll down").in_footer(4, "scroll"),
    bind(&[Key::PageUp], "PgUp", Action::Scroll(Step::PageUp), "a page up"),
    bind(&[Key::PageDown], "PgDn", Action::Scroll(Step::PageDown), "a page down"),
    bind(&[Key::Home, Key::Char('g')], "Home g", Action::Scroll(Step::First), "to the top"),
    bind(&[Key::End, Key::Char('G')], "End G", Action::Scroll(Step::Last), "to the end"),
    bind(&[Key::Char('y')], "y", Action::Yank, "copy its id to the clipboard").in_footer(8, "yank"),
    BLOCKS,
    REFRESH,
    FREEZE,
    HELP,
];

/// The keys while a text is typed; every other character is text.
#[rustfmt::skip]
static TEXT_KEYS: &[Binding] = &[
    bind(&[Key::Enter], "Enter", Action::KeepText, "keep the text").in_footer(0, "keep"),
    bind(&[Key::Escape], "Esc", Action::ClearText, "drop the text").in_footer(0, "clear"),
    ERASE,
    ERASE_ALL,
    QUIT_TYPING,
];

/// The keys while the name of a file is typed.
#[rustfmt::skip]
static NAME_KEYS: &[Binding] = &[
    bind(&[Key::Enter], "Enter", Action::KeepText, "write the file; its ending tells the format").in_footer(0, "write"),
    bind(&[Key::Escape], "Esc", Action::ClearText, "write nothing").in_footer(0, "leave it"),
    ERASE,
    ERASE_ALL,
    QUIT_TYPING,
];

/// What keys mean while a recording is replayed, before anything else that they mean.
#[rustfmt::skip]
pub static REPLAY_KEYS: &[Binding] = &[
    bind(&[Key::Char(' ')], "Space", Action::Steer(Steer::Pause), "pause the replay, or let it go on").in_footer(1, "pause"),
    bind(&[Key::Char('n')], "n", Action::Steer(Steer::Forward), "a second on").in_footer(2, "step"),
    bind(&[Key::Char('N')], "N", Action::Steer(Steer::Back), "a second back"),
    bind(&[Key::Char(']')], "]", Action::Steer(Steer::FarForward), "ten seconds on").in_footer(4, "seek"),
    bind(&[Key::Char('[')], "[", Action::Steer(Steer::FarBack), "ten seconds back"),
    bind(&[Key::Char('+'), Key::Char('=')], "+", Action::Steer(Steer::Faster), "faster").in_footer(5, "speed"),
    bind(&[Key::Char('-')], "-", Action::Steer(Steer::Slower), "slower"),
];

/// The keys of a mood.
pub fn bindings(mood: Mood) -> &'static [Binding] {
    match mood {
        Mood::Table => TABLE_KEYS,
        Mood::Text => TEXT_KEYS,
        Mood::Name => NAME_KEYS,
        Mood::Blocks => BLOCKS_KEYS,
        Mood::Session => SESSION_KEYS,
    }
}

/// The keys of a mood, those of a replay before them, where this is one; none that means something else there.
pub fn bindings_now(mood: Mood, is_replay: bool) -> Vec<&'static Binding> {
    let steering = steering(mood, is_replay);
    let is_taken = |binding: &&Binding| steering.iter().any(|other| other.keys == binding.keys);
    let rest = bindings(mood).iter().filter(|binding| !is_taken(binding));
    // Quitting stays the first.
    let mut all: Vec<&Binding> = rest.collect();
    let first = usize::from(!all.is_empty());
    all.splice(first..first, steering.iter());
    all
}

fn steering(mood: Mood, is_replay: bool) -> &'static [Binding] {
    match mood {
        Mood::Text | Mood::Name => &[],
        _ if is_replay => REPLAY_KEYS,
        _ => &[],
    }
}

/// What the key means now.
pub fn action_for(key: Key, mood: Mood, is_replay: bool) -> Option<Action> {
    let is_typing = matches!(mood, Mood::Text | Mood::Name);
    let bound = steering(mood, is_replay)
        .iter()
        .chain(bindings(mood))
        .find(|binding| binding.keys.contains(&key))
        .map(|binding| binding.action);
    match (bound, key) {
        (None, Key::Char(c)) if is_typing => Some(Action::Type(c)),
        (bound, _) => bound,
    }
}

/// `q quit  ? help  s sort …`, as many as fit.
pub fn footer<'b>(bindings: impl IntoIterator<Item = &'b Binding>, room: usize) -> Line {
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

    const MOODS: [Mood; 5] = [Mood::Table, Mood::Text, Mood::Name, Mood::Blocks, Mood::Session];

    fn action_for(key: Key, mood: Mood) -> Option<Action> {
        super::action_for(key, mood, false)
    }

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
            let q = if matches!(mood, Mood::Text | Mood::Name) {
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
    fn a_replay_is_steered_and_keeps_the_other_keys() {
        for mood in [Mood::Table, Mood::Blocks, Mood::Session] {
            let replayed = |key| super::action_for(key, mood, true);
            assert_eq!(replayed(Key::Char(' ')), Some(Action::Steer(Steer::Pause)));
            assert_eq!(replayed(Key::Char('q')), Some(Action::Quit));
            assert_eq!(action_for(Key::Char(' '), mood), Some(Action::Freeze));
        }
        assert_eq!(
            super::action_for(Key::Char(' '), Mood::Text, true),
            Some(Action::Type(' '))
        );
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
            footer(TABLE_KEYS, 115).text(),
            "q quit  s sort  f filter  / find  b blocks  w write  Enter alone  r refresh  Space freeze  p pin  y yank  ? help"
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
