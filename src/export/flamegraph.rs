//! The interactive flame graph, an SVG that a browser opens: click to zoom, Ctrl-F to search. Drawn by `inferno`. Knows
//! nothing of files.

use super::{about, folded};
use crate::analysis::Profile;
use crate::model::Origin;
use inferno::flamegraph::color::MultiPalette;
use inferno::flamegraph::{Options, Palette, TextTruncateDirection, from_lines};

/// The picture; an error is inferno's.
pub fn render(profile: &Profile, origin: &Origin) -> std::io::Result<Vec<u8>> {
    let lines = match profile.nothing() {
        // A picture of one frame, which says so.
        Some(why) => vec![format!("{} 1", why.replace(';', ","))],
        None => folded::lines(&profile.tree)
            .into_iter()
            .map(|(stack, micros)| format!("{stack} {micros}"))
            .collect(),
    };
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
    draw(lines, about::title(profile), subtitle, &about::facts(profile, origin))
}

/// Draws these lines, which have one count, or two to be compared.
pub(super) fn draw(
    lines: Vec<String>,
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
    let mut picture = Vec::new();
    from_lines(&mut options, lines.iter().map(String::as_str), &mut picture)?;
    Ok(with_facts(picture, facts))
}

/// Writes the facts into the picture's own description.
fn with_facts(picture: Vec<u8>, facts: &[(&'static str, String)]) -> Vec<u8> {
    let Ok(mut text) = String::from_utf8(picture) else {
        return Vec::new();
    };
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
    fn where_nothing_was_sampled_the_picture_says_so() {
        assert!(picture(&sample::nothing()).contains("nothing was sampled"));
    }
}
