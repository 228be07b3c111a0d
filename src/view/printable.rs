//! The one gate between the worker's strings and a terminal: control, bidirectional and invisible characters become
//! visible escapes, widths are counted in terminal cells, and text is cut where a reader would cut it. Knows nothing
//! of tables and of colours.

use unicode_segmentation::UnicodeSegmentation;
use unicode_width::UnicodeWidthStr;

/// More marks than this on one letter are an attack on the lines above and below, not a language.
const MARKS_PER_LETTER: usize = 4;

/// Which part of a text survives when there is no room for all of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Keep {
    #[default]
    Start,
    Ends,
    End,
}

/// True for a character that moves the cursor, changes the direction of the text, or leaves no mark on the screen; and for
/// the two that no XML may hold, as flame graphs are.
pub fn is_unprintable(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{00ad}' | '\u{034f}' | '\u{061c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{fffe}'..='\u{ffff}'
            | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

/// The text with everything unprintable written out: `\n`, `\x1b`, `\u{202e}`.
pub fn printable(text: &str) -> String {
    if text.bytes().all(|byte| (0x20..0x7f).contains(&byte)) {
        return text.to_owned();
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_unprintable(c) {
            push_escape(&mut shown, c)
        } else {
            shown.push(c)
        }
    }
    tame_marks(shown)
}

fn push_escape(out: &mut String, c: char) {
    match c {
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        c if (c as u32) < 0x100 => out.push_str(&format!("\\x{:02x}", c as u32)),
        c => out.push_str(&format!("\\u{{{:x}}}", c as u32)),
    }
}

/// Writes out combining marks that have no letter to stand on, and those too many for one letter. After this no piece
/// of text can reach over into the one before it.
fn tame_marks(text: String) -> String {
    let harmless = |cluster: &str| cluster_width(cluster) > 0 && cluster.chars().count() <= MARKS_PER_LETTER + 1;
    if text.graphemes(true).all(harmless) {
        return text;
    }
    let mut tamed = String::with_capacity(text.len() + 16);
    for cluster in text.graphemes(true) {
        let stands = cluster_width(cluster) > 0;
        for (position, c) in cluster.chars().enumerate() {
            if stands && position <= MARKS_PER_LETTER {
                tamed.push(c)
            } else {
                push_escape(&mut tamed, c)
            }
        }
    }
    tamed
}

/// Cells that one user-perceived character takes.
fn cluster_width(cluster: &str) -> usize {
    // unicode-width calls these two zero wide, terminals draw them in a cell of their own; ratatui counts alike.
    let sound_marks = cluster.chars().filter(|c| matches!(c, '\u{ff9e}' | '\u{ff9f}')).count();
    cluster.width() + sound_marks
}

/// Cells that the text takes on a terminal. Counted by user-perceived character, as ratatui places them.
pub fn width(text: &str) -> usize {
    if text.is_ascii() {
        return text.len();
    }
    text.graphemes(true).map(cluster_width).sum()
}

/// The text in at most `room` cells; what is left out is marked by `…`.
pub fn fit(text: &str, room: usize, keep: Keep) -> String {
    if width(text) <= room {
        return text.to_owned();
    }
    if room == 0 {
        return String::new();
    }
    let left = room - 1;
    match keep {
        Keep::Start => format!("{}…", head(text, left)),
        Keep::End => format!("…{}", tail(text, left)),
        // The end of an id tells more than its start: ids of one program begin alike.
        Keep::Ends => format!("{}…{}", head(text, left / 2), tail(text, left - left / 2)),
    }
}

fn head(text: &str, room: usize) -> String {
    let mut used = 0;
    text.graphemes(true)
        .take_while(|cluster| {
            used += cluster_width(cluster);
            used <= room
        })
        .collect()
}

fn tail(text: &str, room: usize) -> &str {
    let mut used = 0;
    let mut start = text.len();
    for (position, cluster) in text.grapheme_indices(true).rev() {
        used += cluster_width(cluster);
        if used > room {
            break;
        }
        start = position;
    }
    &text[start..]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_could_act_on_a_terminal_is_written_out() {
        assert_eq!(printable("a\x1b[31mb"), "a\\x1b[31mb");
        assert_eq!(printable("two\nlines\r\t\0"), "two\\nlines\\r\\t\\x00");
        assert_eq!(printable("\u{7f}\u{9b}31m"), "\\x7f\\x9b31m");
        assert_eq!(printable("x\u{202e}gpj\u{2066}"), "x\\u{202e}gpj\\u{2066}");
        assert_eq!(
            printable("a\u{200b}b\u{2028}c\u{feff}"),
            "a\\u{200b}b\\u{2028}c\\u{feff}"
        );
    }

    #[test]
    fn every_character_that_acts_or_hides_is_known() {
        let ranges = [
            0..=0x1f,
            0x7f..=0x9f,
            0x200b..=0x200f,
            0x2028..=0x202e,
            0x2060..=0x206f,
            0xe0000..=0xe007f,
        ];
        for code in ranges
            .into_iter()
            .flatten()
            .chain([0xad, 0x61c, 0xfeff, 0xfffe, 0xffff])
        {
            assert!(char::from_u32(code).is_some_and(is_unprintable), "{code:x}");
        }
        assert!(
            !"aé会🚀\u{301}\u{a0}\u{2010}\u{2027}\u{2030}"
                .chars()
                .any(is_unprintable)
        );
    }

    #[test]
    fn languages_are_left_alone() {
        for text in [
            "plain",
            "größe",
            "e\u{301}te\u{301}",
            "会議-7",
            "звонок",
            "שלום",
            "नमस्ते",
            "🚀 go",
            "ｶﾞ",
        ] {
            assert_eq!(printable(text), text);
        }
    }

    #[test]
    fn marks_without_a_letter_or_too_many_on_one_are_written_out() {
        assert_eq!(printable("\u{301}a"), "\\u{301}a");
        assert_eq!(
            printable(&format!("a{}", "\u{301}".repeat(6))),
            "a\u{301}\u{301}\u{301}\u{301}\\u{301}\\u{301}"
        );
    }

    #[test]
    fn a_cut_is_marked_and_never_splits_a_wide_character() {
        assert_eq!(fit("AJ_0014qgHOf2aF", 8, Keep::Start), "AJ_0014…");
        assert_eq!(fit("AJ_0014qgHOf2aF", 8, Keep::End), "…gHOf2aF");
        assert_eq!(fit("AJ_0014qgHOf2aF", 8, Keep::Ends), "AJ_…f2aF");
        assert_eq!(fit("会議会議", 4, Keep::Start), "会…");
        assert_eq!(fit("会議会議", 6, Keep::End), "…会議");
        assert_eq!(fit("会議", 4, Keep::Start), "会議");
        assert_eq!(fit("会議", 1, Keep::Start), "…");
        assert_eq!(fit("会議", 0, Keep::Start), "");
    }

    proptest! {
        #[test]
        fn nothing_unprintable_survives(text in any::<String>()) {
            let shown = printable(&text);
            prop_assert!(!shown.chars().any(is_unprintable));
            prop_assert_eq!(printable(&shown), shown.clone());
        }

        #[test]
        fn a_cut_never_takes_more_than_its_room(text in "\\PC{0,40}", room in 0usize..30) {
            let text = printable(&text);
            for keep in [Keep::Start, Keep::Ends, Keep::End] {
                let cut = fit(&text, room, keep);
                prop_assert!(width(&cut) <= room, "{:?} is wider than {}", cut, room);
            }
        }
    }
}
