//! What every exported file says about itself: the worker, when, how often it was looked at, and how good that was. And how
//! a frame is written. Knows nothing of any one format.

use crate::analysis::{Called, Mode, Profile};
use crate::model::{Block, OUTER_FRAMES_CUT, Origin, ThreadIndex};
use crate::view::block_words::name;
use crate::view::{printable, short_path};

/// Name and value of each fact, printable.
pub(super) fn facts(profile: &Profile, origin: &Origin) -> Vec<(&'static str, String)> {
    let (hello, quality) = (&profile.hello, &profile.quality);
    let name = hello
        .name
        .as_deref()
        .map_or_else(String::new, |name| format!("{name}, "));
    let unknown = || "not known".to_owned();
    let mut facts = vec![
        ("otop", origin.otop.clone()),
        ("worker", format!("{name}PID {}", hello.pid)),
        ("command", origin.command.clone().unwrap_or_else(unknown)),
        ("python", hello.python.clone()),
        ("session from", hello.session_from.clone().unwrap_or_else(unknown)),
        (
            "mode",
            format!("{}: {}", profile.wanted.mode.name(), profile.wanted.mode.meaning()),
        ),
        ("roots by", profile.wanted.by.name().to_owned()),
    ];
    if let Some(words) = profile.wanted.narrow.words() {
        facts.push(("only", words));
    }
    if profile.wanted.mode == Mode::Blocked {
        facts.push(("threshold", format!("{} ms", profile.slow_threshold.as_millis_f64())));
    }
    let rate = |got: f64, asked: f64| format!("{got:.1} of {asked:.0} a second");
    facts.push((
        "window",
        format!("{:.3} s from {}", profile.seconds(), utc(profile.began_unix)),
    ));
    facts.push((
        "samples",
        format!(
            "{}, {}, {} dropped; of their threads {} read, {} torn, {} unreadable",
            profile.ticks,
            rate(quality.hz_got, quality.hz_asked),
            quality.dropped,
            quality.samples,
            quality.torn,
            quality.unreadable,
        ),
    ));
    facts.push((
        "stacks",
        match (quality.stack_hz_got, quality.stack_hz_asked) {
            (Some(got), Some(asked)) => format!(
                "{}, {}; {} unresolved",
                quality.stack_mode.as_deref().unwrap_or("none"),
                rate(got, asked),
                quality.unresolved.unwrap_or(0)
            ),
            _ => "none were read".to_owned(),
        },
    ));
    facts
        .into_iter()
        .map(|(name, value)| (name, printable(&value)))
        .collect()
}

/// `otop · worker-1 · PID 1234 · wall by session`.
pub(super) fn title(profile: &Profile) -> String {
    let hello = &profile.hello;
    let name = hello
        .name
        .as_deref()
        .map_or_else(String::new, |name| format!("{name} · "));
    let only = profile.wanted.narrow.words();
    let only = only.map_or_else(String::new, |words| format!(" · {words}"));
    let (mode, by) = (profile.wanted.mode.name(), profile.wanted.by.name());
    printable(&format!("otop · {name}PID {} · {mode} by {by}{only}", hello.pid))
}

/// A frame in one piece of text, `lookup (agents/booking.py:41)`.
pub(super) fn text(called: &Called) -> String {
    match called {
        Called::Root { name, .. } => printable(name),
        Called::Python(frame) => {
            let line = if frame.line > 0 {
                format!(":{}", frame.line)
            } else {
                String::new()
            };
            printable(&format!("{} ({}{line})", frame.function, short_path(&frame.file)))
        }
        other => short(other),
    }
}

/// A frame without its place, `lookup`.
pub(super) fn short(called: &Called) -> String {
    match called {
        Called::Root { name, .. } => printable(name),
        Called::Python(frame) => printable(&frame.function),
        Called::Native(what) => what.clone(),
        Called::Unresolved => "<unresolved>".to_owned(),
        Called::Cut => OUTER_FRAMES_CUT.to_owned(),
    }
}

/// `[block] session a · 320 ms · syscall recvfrom · agents/booking.py:41 in lookup`.
pub(super) fn block(block: &Block) -> String {
    let mut text = match &block.session_id {
        Some(id) => format!("[block] session {id}"),
        None => "[block] nobody is blamed".to_owned(),
    };
    let least = if block.duration_is_lower_bound { "≥ " } else { "" };
    text += &format!(" · {least}{:.0} ms · {}", block.duration_ms, name(block.cause));
    if let Some(name) = &block.syscall {
        text += &format!(" {name}");
    }
    if let Some(place) = place(block) {
        text += &format!(" · {place}");
    }
    printable(&text)
}

/// `agents/booking.py:41 in lookup`, not printable yet.
pub(super) fn place(block: &Block) -> Option<String> {
    let (function, file) = (block.function.as_ref()?, block.file.as_ref()?);
    let line = block.line.map_or_else(String::new, |line| format!(":{line}"));
    Some(format!("{}{line} in {function}", short_path(file)))
}

/// `MainThread (1234)`.
pub(super) fn thread(profile: &Profile, thread: Option<ThreadIndex>) -> String {
    let facts = thread.and_then(|thread| profile.threads.get(&thread));
    facts.map_or_else(
        || "(threads not told apart)".to_owned(),
        |facts| printable(&format!("{} ({})", facts.name, facts.tid)),
    )
}

/// `2026-11-21T03:04:05Z`. Days to a date as by Howard Hinnant, "chrono-compatible low-level date algorithms".
pub(super) fn utc(unix: f64) -> String {
    let seconds = unix.clamp(0.0, 253_402_300_799.0) as i64;
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_dates() {
        assert_eq!(utc(0.0), "1970-01-01T00:00:00Z");
        assert_eq!(utc(951_782_400.0), "2000-02-29T00:00:00Z");
        assert_eq!(utc(1_700_000_000.9), "2023-11-14T22:13:20Z");
        assert_eq!(utc(f64::NAN), "1970-01-01T00:00:00Z");
    }
}
