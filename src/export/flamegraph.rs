//! The interactive flame graph, an SVG that a browser opens: click to zoom, Ctrl-F to search. Drawn by `inferno`. Where
//! other threads were seen, the loops and the threads have a root each, of which the percentages below it are. Knows nothing
//! of files.

use super::{about, folded, shares};
use crate::analysis::Profile;
use crate::model::Origin;
use inferno::flamegraph::color::MultiPalette;
use inferno::flamegraph::{Options, Palette, TextTruncateDirection, from_lines};

/// Roots of the picture where other threads were seen; in the order in which they are drawn.
pub(super) const LOOPS: &str = "event loop";
pub(super) const THREADS: &str = "other threads";

/// The picture; an error is inferno's.
pub fn render(profile: &Profile, origin: &Origin) -> std::io::Result<Vec<u8>> {
    let mut stacks = Stacks::default();
    match profile.nothing() {
        // A picture of one frame, which says so.
        Some(why) => stacks.add(true, counted(&why.replace(';', ","), 1)),
        None => {
            for line in folded::lines(&profile.tree) {
                stacks.add(line.is_loop, counted(&line.stack, line.micros));
            }
        }
    }
    let quality = &profile.quality;
    let subtitle = format!(
        "{:.1} s from {} · {:.0} of {:.0} samples a second · {} stacks unresolved · otop {}",
        profile.seconds(),
        about::utc(profile.began_unix),
        quality.hz_got,
        quality.hz_asked,
        quality.unresolved.unwrap_or(0),
        origin.otop
    );
    draw(stacks, about::title(profile), subtitle, &about::facts(profile, origin))
}

/// A stack with its one count. Of a second number before it inferno would make a difference: one that ends a name, as that of
/// session 42, is put in quotes. A full stop would not do, for inferno reads `42.` too.
fn counted(stack: &str, micros: u64) -> String {
    let stack = stack.trim_end();
    match stack.rsplit_once(' ') {
        Some((before, number)) if number.chars().all(|c| c.is_ascii_digit() || c == '.') => {
            format!("{before} \"{number}\" {micros}")
        }
        _ => format!("{stack} {micros}"),
    }
}

/// Folded stacks, those of event loops and those of other threads. A line has one count, or two to be compared.
#[derive(Default)]
pub(super) struct Stacks {
    loops: Vec<String>,
    threads: Vec<String>,
}

impl Stacks {
    pub fn add(&mut self, is_loop: bool, line: String) {
        if is_loop { &mut self.loops } else { &mut self.threads }.push(line);
    }

    pub fn is_empty(&self) -> bool {
        self.loops.is_empty() && self.threads.is_empty()
    }
}

/// Draws them.
pub(super) fn draw(
    stacks: Stacks,
    title: String,
    subtitle: String,
    facts: &[(&'static str, String)],
) -> std::io::Result<Vec<u8>> {
    let mut options = Options::default();
    options.title = title;
    options.subtitle = Some(subtitle);
    options.count_name = "µs".to_owned();
    // The function is what is looked for, and its line is in the tip.
    options.text_truncate_direction = TextTruncateDirection::Right;
    options.colors = Palette::Multi(MultiPalette::Python);
    // The same recording gives the same picture.
    options.deterministic = true;
    let has_threads = !stacks.threads.is_empty();
    let below = |root: &str, lines: Vec<String>| -> Vec<String> {
        let below = |line| if has_threads { format!("{root};{line}") } else { line };
        lines.into_iter().map(below).collect()
    };
    let mut lines = below(LOOPS, stacks.loops);
    lines.extend(below(THREADS, stacks.threads));
    let mut picture = Vec::new();
    from_lines(&mut options, lines.iter().map(String::as_str), &mut picture)?;
    let Ok(mut text) = String::from_utf8(picture) else {
        return Ok(Vec::new());
    };
    if has_threads {
        text = shares::of_own_root(&text, &[LOOPS, THREADS]);
    }
    // What the picture says of a search is a share of what it shows, which may be zoomed, or be loops and threads.
    text = text.replace(
        r#""Matched: " + pct + "%""#,
        r#""Matched: " + pct + "% of what is shown""#,
    );
    Ok(with_facts(text, facts))
}

/// Writes the facts into the picture's own description.
fn with_facts(mut text: String, facts: &[(&'static str, String)]) -> Vec<u8> {
    let lines: Vec<String> = facts
        .iter()
        .map(|(name, value)| format!("{name}: {}", escaped(value)))
        .collect();
    let begin = text
        .find("<svg")
        .and_then(|svg| Some(svg + text.get(svg..)?.find('>')? + 1));
    if let Some(begin) = begin {
        text.insert_str(begin, &format!("<desc>{}</desc>", lines.join("\n")));
    }
    text.into_bytes()
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;
    use crate::analysis::Wanted;

    fn picture(profile: &Profile) -> String {
        String::from_utf8(render(profile, &sample::origin()).expect("drawn")).expect("UTF-8")
    }

    #[test]
    fn sessions_functions_and_facts_are_in_the_picture() {
        let svg = picture(&sample::profile(&Wanted::default()));
        let named = "<title>job-a,&lt;b&gt;&amp;\\x1b[31m";
        for text in [
            named,
            "<title>lookup (agents/booking.py:10) (",
            // 540 ms in all: of the loop's and of the threads' each name has its share.
            "<title>all (540,000 µs)",
            "<title>event loop (340,000 µs, 100.00%)",
            "<title>other threads (200,000 µs, 100.00%)",
            "<title>job-b (threads) (200,000 µs, 100.00%)",
            "% of what is shown",
            "[syscall recvfrom]",
            "&lt;unresolved&gt;",
        ] {
            assert!(svg.contains(text), "{text}: {svg}");
        }
        for text in [
            "<desc>otop: 0.1.0\n",
            "python worker.py --token ***",
            "worker-1",
            "search",
            "zoom",
        ] {
            assert!(svg.contains(text), "{text}");
        }
        assert!(
            !svg.chars()
                .any(|c| c != '\n' && c != '\t' && crate::view::is_unprintable(c))
        );
        assert_eq!(svg, picture(&sample::profile(&Wanted::default())), "the same each time");
    }

    #[test]
    fn a_session_called_42_is_no_count() {
        let mut profile = sample::profile(&Wanted::default());
        profile.tree = crate::analysis::CallTree::default();
        for (session, shown) in [
            ("42", "of session &quot;42&quot; ("),
            ("4.2", "of session &quot;4.2&quot; ("),
            ("42.", "of session &quot;42.&quot; ("),
            ("a 42 ", "of session a &quot;42&quot; ("),
            ("job-42", "of session job-42 ("),
        ] {
            profile.wanted.narrow.session = Some(session.to_owned());
            let svg = picture(&profile);
            assert!(
                svg.contains(&format!("<title>nothing was sampled {shown}")),
                "{session}: {svg}"
            );
        }
    }

    #[test]
    fn where_nothing_was_sampled_the_picture_says_so() {
        assert!(picture(&sample::nothing()).contains("nothing was sampled"));
    }
}
