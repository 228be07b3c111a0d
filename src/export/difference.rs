//! A difference for people: a table of functions, and a flame graph in which what has grown is red and what has shrunk is
//! blue. Knows nothing of files.

use super::folded::{Path, paths};
use super::{about, flamegraph};
use crate::analysis::{CallTree, Called, Change, Of, Profile, changes, whole};
use crate::model::Origin;
use crate::view::{printable, short_path};
use std::collections::BTreeMap;
use std::fmt::Write;

/// One side of a comparison.
#[derive(Clone, Copy, Debug)]
pub struct Side<'p> {
    pub name: &'p str,
    pub profile: &'p Profile,
    pub origin: &'p Origin,
}

/// A change of less than this many points is none that could be told from chance.
const WORTH_SAYING: f64 = 0.05;

/// The functions that have changed most: `top` of the event loops and `top` of other threads at most.
pub fn table(before: Side<'_>, after: Side<'_>, of: Of, top: usize) -> String {
    let mut text = String::new();
    for (letter, side) in [("A", before), ("B", after)] {
        // Writing into a string cannot fail.
        let _ = writeln!(text, "{letter}  {}", about_side(side));
    }
    let what = match of {
        Of::Time => "percent of the recorded time",
        Of::Itself => "percent of each one's own time",
    };
    let mode = before.profile.wanted.mode;
    let _ = writeln!(text, "{} time ({}), {what}\n", mode.name(), mode.meaning());
    let changes = changes(before.profile, after.profile, of);
    let worth = |change: &&Change| change.own_growth().abs() >= WORTH_SAYING || change.growth().abs() >= WORTH_SAYING;
    let worth: Vec<&Change> = changes.iter().filter(worth).collect();
    if worth.is_empty() {
        let _ = writeln!(text, "no function has changed by more than {WORTH_SAYING} points");
        return text;
    }
    // As in the flame graph: threads work beside the loop, and the two together may be more than all of the time.
    for (half, is_loop) in [(flamegraph::LOOPS, true), (flamegraph::THREADS, false)] {
        let of_half: Vec<&Change> = worth
            .iter()
            .copied()
            .filter(|change| change.is_loop == is_loop)
            .collect();
        if !of_half.is_empty() {
            half_of_table(&mut text, half, &of_half, top);
        }
    }
    text
}

fn half_of_table(text: &mut String, half: &str, worth: &[&Change], top: usize) {
    if !text.ends_with("\n\n") {
        text.push('\n');
    }
    let _ = writeln!(text, "{half}");
    let _ = writeln!(text, "      itself             with what it calls");
    let _ = writeln!(text, "     A      B  change       A      B  change  function");
    for change in worth.iter().take(top) {
        let ([own_a, own_b], [all_a, all_b]) = (change.own, change.all);
        let file = match change.file.as_str() {
            "" => String::new(),
            file => format!(" ({})", short_path(file)),
        };
        let _ = writeln!(
            text,
            "{own_a:6.1} {own_b:6.1} {:+7.1}  {all_a:6.1} {all_b:6.1} {:+7.1}  {}",
            change.own_growth(),
            change.growth(),
            printable(&format!("{}{file}", change.function))
        );
    }
    if worth.len() > top {
        let _ = writeln!(text, "and {} more (--top)", worth.len() - top);
    }
}

/// The differential flame graph: as wide as B, coloured by the change.
pub fn picture(before: Side<'_>, after: Side<'_>, of: Of) -> std::io::Result<Vec<u8>> {
    let mut facts = vec![("A", about_side(before)), ("B", about_side(after))];
    facts.extend(about::facts(after.profile, after.origin));
    let subtitle = format!("A {} · B {}", about_side(before), about_side(after));
    let title = format!(
        "otop · {} · what B has more (red) or less (blue) than A",
        after.profile.wanted.mode.name()
    );
    let mut stacks = flamegraph::Stacks::default();
    for (line, is_loop) in lines(before.profile, after.profile, of) {
        stacks.add(is_loop, line);
    }
    if stacks.is_empty() {
        stacks.add(true, "nothing was sampled 1 1".to_owned());
    }
    flamegraph::draw(stacks, title, subtitle, &facts)
}

/// Folded stacks with two counts, millionths of the whole: A's and B's.
pub fn folded(before: Side<'_>, after: Side<'_>, of: Of) -> Vec<u8> {
    let mut text = String::new();
    for (letter, side) in [("A", before), ("B", after)] {
        let _ = writeln!(text, "# {letter}: \"{}\"", about_side(side));
    }
    for (line, _) in lines(before.profile, after.profile, of) {
        let _ = writeln!(text, "{line}");
    }
    text.into_bytes()
}

/// The lines, and whether each is of an event loop.
fn lines(before: &Profile, after: &Profile, of: Of) -> Vec<(String, bool)> {
    let mut counts: BTreeMap<(String, bool), [u64; 2]> = BTreeMap::new();
    for (side, profile) in [before, after].into_iter().enumerate() {
        let Some(whole) = whole(profile, of) else { continue };
        for Path { stack, nanos, is_loop } in stacks(&profile.tree) {
            if let Some(count) = counts.entry((stack, is_loop)).or_default().get_mut(side) {
                *count += (nanos / whole * 1e6).round() as u64;
            }
        }
    }
    let counts = counts.into_iter().filter(|(_, counts)| *counts != [0, 0]);
    counts
        .map(|((stack, is_loop), [one, other])| (format!("{stack} {one} {other}"), is_loop))
        .collect()
}

/// Stacks by functions alone: a line that has moved is no difference.
fn stacks(tree: &CallTree) -> Vec<Path> {
    let name = |called: &Called| match called {
        Called::Python(frame) => printable(&format!("{} ({})", frame.function, short_path(&frame.file))),
        other => about::short(other),
    };
    let names: Vec<String> = tree
        .frames
        .iter()
        .map(|called| name(called).replace(';', ","))
        .collect();
    paths(tree, &names)
}

/// `worker.otop, worker-1, PID 1234, 30.0 s from …, session a`.
fn about_side(side: Side<'_>) -> String {
    let profile = side.profile;
    let worker = profile
        .hello
        .name
        .as_deref()
        .map_or_else(String::new, |name| format!("{name}, "));
    let only = profile
        .wanted
        .narrow
        .words()
        .map_or_else(String::new, |words| format!(", {words}"));
    let nothing = profile.nothing().map_or_else(String::new, |why| format!(": {why}"));
    printable(&format!(
        "{}: {worker}PID {}, {:.1} s from {}{only}{nothing}",
        side.name,
        profile.hello.pid,
        profile.seconds(),
        about::utc(profile.began_unix)
    ))
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;
    use crate::analysis::{By, Narrow, Wanted, unlike};

    fn of_session(id: &str, but: bool) -> Profile {
        let narrow = Narrow {
            session: Some(id.to_owned()),
            but,
            ..Narrow::default()
        };
        sample::profile(&Wanted {
            by: By::None,
            narrow,
            ..Wanted::default()
        })
    }

    fn side<'p>(name: &'p str, profile: &'p Profile, origin: &'p Origin) -> Side<'p> {
        Side { name, profile, origin }
    }

    #[test]
    fn functions_stand_in_the_order_of_their_change() {
        let (one, other, origin) = (
            of_session(sample::A, false),
            of_session(sample::A, true),
            sample::origin(),
        );
        let [before, after] = [side("one.otop", &one, &origin), side("one.otop", &other, &origin)];
        insta::assert_snapshot!(table(before, after, Of::Itself, 3));
        let svg = String::from_utf8(picture(before, after, Of::Itself).expect("drawn")).expect("UTF-8");
        assert!(svg.contains("<title>work (agents/booking.py) ("), "{svg}");
        let folded = String::from_utf8(folded(before, after, Of::Itself)).expect("UTF-8");
        assert!(
            folded.contains("(threads);work (agents/booking.py) 0 900000"),
            "{folded}"
        );
    }

    /// Threads work beside the loop: one column of both could sum to more than all of the time.
    #[test]
    fn what_runs_on_the_loop_and_in_other_threads_stands_in_both_halves() {
        let (before, origin) = (sample::profile(&Wanted::default()), sample::origin());
        let mut after = before.clone();
        let is_work = |called: &Called| matches!(called, Called::Python(frame) if &*frame.function == "work");
        let work = after.tree.frames.iter().position(is_work).expect("a thread's");
        after.tree.nodes.push(crate::analysis::Node {
            parent: None,
            frame: crate::analysis::FrameId(work as u32),
            own: before.seconds() * 0.7e9,
        });
        for node in &mut after.tree.nodes {
            if node.frame.0 as usize == work && node.parent.is_some() {
                node.own = before.seconds() * 0.9e9;
            }
        }
        let text = table(side("a", &before, &origin), side("b", &after, &origin), Of::Time, 9);
        let (of_loops, of_threads) = text.split_once("other threads").expect("both");
        assert!(
            of_loops.contains("event loop") && of_loops.contains("70.0   +70.0  work"),
            "{text}"
        );
        assert!(of_threads.contains("90.0") && !text.contains("160.0"), "{text}");
    }

    #[test]
    fn a_profile_and_itself_are_the_same() {
        let (one, origin) = (sample::profile(&Wanted::default()), sample::origin());
        let text = table(side("a", &one, &origin), side("a", &one, &origin), Of::Time, 9);
        assert!(text.contains("no function has changed"), "{text}");
        assert_eq!(unlike(&one, &one), None);
    }

    #[test]
    fn what_was_not_taken_alike_is_not_compared() {
        let one = sample::profile(&Wanted::default());
        let mut other = one.clone();
        other.hello.stack_rate_hz = Some(1_000.0);
        let why = "stacks were taken 100 times a second in one and 1000 in the other";
        assert_eq!(unlike(&one, &other).as_deref(), Some(why));
        let mut other = one.clone();
        other.quality.stack_mode = Some("other-cpu".to_owned());
        assert!(unlike(&one, &other).is_some_and(|why| why.contains("own-cpu in one and other-cpu")));
        other.quality.stack_mode = Some("interrupt".to_owned());
        assert_eq!(unlike(&one, &other), None);
        let mut other = one.clone();
        other.wanted.mode = crate::analysis::Mode::Cpu;
        assert_eq!(
            unlike(&one, &other).as_deref(),
            Some("one is of wall time and the other of cpu")
        );
        let of_blocks = |slow_threshold| {
            let mut one = one.clone();
            (one.wanted.mode, one.slow_threshold) = (crate::analysis::Mode::Blocked, slow_threshold);
            one
        };
        let [two, fifty] = [2, 50].map(|ms| of_blocks(crate::model::Nanos::from_millis(ms)));
        assert_eq!(
            unlike(&two, &fifty).as_deref(),
            Some("blocks are those of 2 ms and longer in one and of 50 ms in the other; add --slow-threshold")
        );
        assert_eq!(unlike(&two, &two), None);
    }
}
