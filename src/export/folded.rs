//! Folded stacks: a line for each stack, frames joined by semicolons, outermost first, then its microseconds. What the
//! file is about stands before them in lines that begin with `#` and end in a quote, so that no reader takes one for a
//! stack. Knows nothing of files.

use super::about;
use crate::analysis::{CallTree, Profile};
use crate::model::Origin;
use std::fmt::Write;

pub fn render(profile: &Profile, origin: &Origin) -> Vec<u8> {
    let mut text = String::new();
    for (name, value) in about::facts(profile, origin) {
        // Writing into a string cannot fail.
        let _ = writeln!(text, "# {name}: \"{value}\"");
    }
    match profile.nothing() {
        Some(why) => {
            let _ = writeln!(text, "# {why}: \"\"");
        }
        None => {
            for Line { stack, micros, .. } in lines(&profile.tree) {
                let _ = writeln!(text, "{stack} {micros}");
            }
        }
    }
    text.into_bytes()
}

/// A stack, as a line has it.
pub(super) struct Line {
    pub stack: String,
    pub micros: u64,
    /// On an event loop, else in another thread.
    pub is_loop: bool,
}

/// Each stack once, with its microseconds. They sum to the tree's: what is lost by rounding is carried on.
pub(super) fn lines(tree: &CallTree) -> Vec<Line> {
    let mut carried = 0.0;
    let mut lines = Vec::new();
    for Path { stack, nanos, is_loop } in stacks(tree) {
        let micros = (nanos + carried) / 1e3;
        let whole = micros.round().max(0.0);
        carried = (micros - whole) * 1e3;
        if whole > 0.0 {
            lines.push(Line {
                stack,
                micros: whole as u64,
                is_loop,
            });
        }
    }
    lines
}

/// A stack's names from the outermost on, and the nanoseconds that were spent there and nowhere below.
pub(super) struct Path {
    pub stack: String,
    pub nanos: f64,
    /// On an event loop, else in another thread.
    pub is_loop: bool,
}

fn stacks(tree: &CallTree) -> Vec<Path> {
    // A semicolon would be a border between frames.
    let names: Vec<String> = tree
        .frames
        .iter()
        .map(|called| about::text(called).replace(';', ","))
        .collect();
    paths(tree, &names)
}

/// Each stack once, with a name given for each frame.
pub(super) fn paths(tree: &CallTree, names: &[String]) -> Vec<Path> {
    let mut paths: Vec<String> = Vec::with_capacity(tree.nodes.len());
    let mut stacks = Vec::new();
    for (node, is_loop) in tree.nodes.iter().zip(tree.on_loops()) {
        let name = names.get(node.frame.0 as usize).map_or("", String::as_str);
        let parent = node.parent.and_then(|parent| paths.get(parent.0 as usize));
        let path = parent.map_or_else(|| name.to_owned(), |parent| format!("{parent};{name}"));
        if node.own > 0.0 {
            stacks.push(Path {
                stack: path.clone(),
                nanos: node.own,
                is_loop,
            });
        }
        paths.push(path);
    }
    stacks
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;
    use crate::analysis::{Mode, Wanted};
    use crate::view::is_unprintable;

    fn text(mode: Mode) -> String {
        let wanted = Wanted {
            mode,
            ..Wanted::default()
        };
        String::from_utf8(render(&sample::profile(&wanted), &sample::origin())).expect("UTF-8")
    }

    #[test]
    fn a_line_for_each_stack_and_what_the_file_is_about() {
        insta::assert_snapshot!(text(Mode::Wall));
        insta::assert_snapshot!(text(Mode::Blocked));
    }

    #[test]
    fn the_lines_sum_to_the_tree_and_no_comment_can_be_taken_for_one() {
        let profile = sample::profile(&Wanted::default());
        let sum: u64 = lines(&profile.tree).iter().map(|line| line.micros).sum();
        assert!((sum as f64 - profile.tree.total() / 1e3).abs() <= 1.0);
        for line in text(Mode::Wall).lines() {
            // As inferno, flamegraph.pl and speedscope tell a stack: a number behind the last blank.
            let is_stack = line
                .rsplit_once(' ')
                .is_some_and(|(_, count)| count.parse::<f64>().is_ok());
            assert_eq!(is_stack, !line.starts_with('#'), "{line}");
            assert!(!line.chars().any(is_unprintable), "{line:?}");
        }
    }

    #[test]
    fn where_nothing_was_sampled_it_says_so() {
        let text = render(&sample::nothing(), &sample::origin());
        assert!(String::from_utf8_lossy(&text).contains("# nothing was sampled: "));
    }
}
