//! Percentages in a picture of `inferno`'s: it gives each frame's share of all, and here it becomes the share of the frame's
//! own root, where there are several that must not be added up. Knows nothing of what the roots are.

use std::ops::Range;

/// A frame of the picture, by inferno's attributes and title.
struct Frame<'s> {
    /// Where its title stands in the picture.
    title: Range<usize>,
    text: &'s str,
    /// Where it begins and how wide it is, in counts.
    begin: u64,
    width: u64,
}

/// Rewrites the percentages: those below each of `roots`, which are first-level frames, become parts of that root, and what
/// is above them has none. A picture that is not understood is left as it is.
pub fn of_own_root(svg: &str, roots: &[&str]) -> String {
    let frames = frames(svg);
    // In the order of the picture a root's own frame need not come before its children.
    let roots: Vec<Range<u64>> = roots.iter().filter_map(|root| span(&frames, root)).collect();
    let all: u64 = frames.iter().map(|frame| frame.width).max().unwrap_or(0);
    let mut text = String::with_capacity(svg.len());
    let mut copied = 0;
    for frame in &frames {
        let root = roots
            .iter()
            .find(|root| root.start <= frame.begin && frame.begin + frame.width <= root.end);
        let Some(title) = retold(frame, root, all) else {
            continue;
        };
        text.push_str(svg.get(copied..frame.title.start).unwrap_or_default());
        text.push_str(&title);
        copied = frame.title.end;
    }
    text.push_str(svg.get(copied..).unwrap_or_default());
    text
}

fn frames(svg: &str) -> Vec<Frame<'_>> {
    const TITLE: &str = "<title>";
    let mut frames = Vec::new();
    for (at, _) in svg.match_indices(TITLE) {
        let begin = at + TITLE.len();
        let Some(rest) = svg.get(begin..) else { continue };
        let Some((text, rest)) = rest.split_once("</title>") else {
            break;
        };
        // Up to the next frame: the attributes are this one's.
        let own = rest.split_once(TITLE).map_or(rest, |(own, _)| own);
        let number = |name: &str| own.split_once(name)?.1.split_once('"')?.0.parse().ok();
        if let (Some(from), Some(width)) = (number("fg:x=\""), number("fg:w=\"")) {
            frames.push(Frame {
                title: begin..begin + text.len(),
                text,
                begin: from,
                width,
            });
        }
    }
    frames
}

/// Where the widest frame of this name lies: a root is wider than any namesake below it, or as wide.
fn span(frames: &[Frame<'_>], root: &str) -> Option<Range<u64>> {
    let is_it = |frame: &&Frame<'_>| name_and_figures(frame.text).is_some_and(|(name, _)| name == root);
    let widest = frames.iter().filter(is_it).max_by_key(|frame| frame.width)?;
    Some(widest.begin..widest.begin + widest.width)
}

/// `lookup (x.py:3)` and `12 µs, 4.50%` of `lookup (x.py:3) (12 µs, 4.50%)`.
fn name_and_figures(title: &str) -> Option<(&str, &str)> {
    let (name, figures) = title.strip_suffix(')')?.rsplit_once(" (")?;
    Some((name, figures))
}

/// The title with percentages of its root; None: it is left.
fn retold(frame: &Frame<'_>, root: Option<&Range<u64>>, all: u64) -> Option<String> {
    let (name, figures) = name_and_figures(frame.text)?;
    // The count has commas of its own, but no blank behind them.
    let (count, percentages) = figures.rsplit_once(", ")?;
    let Some(root) = root else {
        return Some(format!("{name} ({count})"));
    };
    let root_width = root.end.saturating_sub(root.start).max(1) as f64;
    let share = frame.width as f64 / root_width * 100.0;
    // By how much it has changed is known as a share of all only.
    let (_, change) = percentages.split_once("; ").unzip();
    let change = match change {
        None => String::new(),
        Some(change) => {
            let change: f64 = change.strip_suffix('%')?.parse().ok()?;
            format!("; {:+.2}%", change * all as f64 / root_width)
        }
    };
    Some(format!("{name} ({count}, {share:.2}%{change})"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(title: &str, x: u64, w: u64) -> String {
        format!("<g><title>{title}</title><rect x=\"0%\" fg:x=\"{x}\" fg:w=\"{w}\"/><text>t</text></g>")
    }

    #[test]
    fn each_share_is_of_the_root_that_it_is_below() {
        let svg = [
            frame("f (a.py:1) (30 µs, 30.00%)", 0, 30),
            frame("event loop (80 µs, 80.00%)", 0, 80),
            frame("g (20 µs, 20.00%; -10.00%)", 80, 20),
            frame("other threads (20 µs, 20.00%)", 80, 20),
            frame("all (1,000 µs, 100%)", 0, 100),
        ]
        .concat();
        let told = of_own_root(&svg, &["event loop", "other threads"]);
        let expected = [
            frame("f (a.py:1) (30 µs, 37.50%)", 0, 30),
            frame("event loop (80 µs, 100.00%)", 0, 80),
            frame("g (20 µs, 100.00%; -50.00%)", 80, 20),
            frame("other threads (20 µs, 100.00%)", 80, 20),
            frame("all (1,000 µs)", 0, 100),
        ]
        .concat();
        assert_eq!(told, expected);
    }

    #[test]
    fn a_picture_that_is_not_understood_is_left_as_it_is() {
        for svg in [
            "",
            "<title>",
            "<title>x</title>",
            "<title>x (1 µs, much%)</title><rect fg:x=\"0\" fg:w=\"x\"/>",
        ] {
            assert_eq!(of_own_root(svg, &["event loop"]), svg);
        }
    }
}
