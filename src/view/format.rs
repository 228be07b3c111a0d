//! Numbers as a reader wants them. What is not known is `—`, never 0 and never nothing. Knows nothing of columns.

use super::printable::{printable, width};
use crate::model::Where;

/// Stands for a value that is not known.
pub const UNKNOWN: &str = "—";

/// Cells of the little bar beside a percentage, as the original has it.
pub const BAR: usize = 8;

fn known(value: Option<f64>) -> Option<f64> {
    value.filter(|number| number.is_finite())
}

fn or_unknown(value: Option<f64>, text: impl Fn(f64) -> String) -> String {
    known(value).map_or_else(|| UNKNOWN.to_owned(), text)
}

/// `17.4`; a percentage without its sign, because the heading has it.
pub fn percent(value: Option<f64>) -> String {
    // Adding zero turns the -0.0 that rounding leaves into 0.0.
    or_unknown(value, |number| format!("{:.1}", (number * 10.0).round() / 10.0 + 0.0))
}

/// `32.8`, and `0.02` for the small shares of a crowd.
pub fn megabytes(value: Option<f64>) -> String {
    or_unknown(value, |number| {
        if number < 0.95 {
            format!("{number:.2}")
        } else {
            format!("{number:.1}")
        }
    })
}

/// `106`, or `106+` where it is at least that.
pub fn seconds(value: Option<f64>, is_lower_bound: bool) -> String {
    let plus = if is_lower_bound { "+" } else { "" };
    or_unknown(value, |number| format!("{}{plus}", number.max(0.0) as u64))
}

pub fn count(value: Option<u64>) -> String {
    value.map_or_else(|| UNKNOWN.to_owned(), |number| number.to_string())
}

/// `320 ms`, `3.2 s`, `125 s`.
pub fn stretch(milliseconds: f64) -> String {
    match known(Some(milliseconds)) {
        None => UNKNOWN.to_owned(),
        Some(ms) if ms < 999.5 => format!("{:.0} ms", ms.max(0.0)),
        Some(ms) if ms < 99_950.0 => format!("{:.1} s", ms / 1e3),
        Some(ms) => format!("{:.0} s", ms / 1e3),
    }
}

/// The same without the space, for cells.
pub fn short_stretch(milliseconds: f64) -> String {
    stretch(milliseconds).replace(' ', "")
}

/// `12s`, `3m`, `2h`, `5d`: how long something took or is ago, whole and in four cells at most.
pub fn age(seconds: Option<f64>) -> String {
    or_unknown(seconds, |number| match number.max(0.0) as u64 {
        s @ 0..100 => format!("{s}s"),
        s @ 100..6000 => format!("{}m", s / 60),
        s @ 6000..360_000 => format!("{}h", s / 3600),
        s => format!("{}d", (s / 86_400).min(999)),
    })
}

/// `0h 01m`, as the original has it.
pub fn uptime(value: Option<f64>) -> String {
    or_unknown(value, |number| {
        let minutes = (number.max(0.0) / 60.0) as u64;
        format!("{}h {:02}m", minutes / 60, minutes % 60)
    })
}

/// `0.8G`, in powers of ten as the original counts.
pub fn gigabytes(value: Option<u64>) -> String {
    or_unknown(value.map(|bytes| bytes as f64), |bytes| format!("{:.1}G", bytes / 1e9))
}

/// `259 B/s`, `1.3 MB/s`.
pub fn byte_rate(value: Option<f64>) -> String {
    or_unknown(value, |bytes| match bytes {
        b if b < 999.5 => format!("{b:.0} B/s"),
        b if b < 999_500.0 => format!("{:.1} kB/s", b / 1e3),
        b if b < 999_500_000.0 => format!("{:.1} MB/s", b / 1e6),
        b => format!("{:.1} GB/s", b / 1e9),
    })
}

/// `█░░░░░░░`: how much of 100 % that is.
pub fn bar(value: Option<f64>) -> String {
    let full = known(value).map_or(0.0, |number| {
        (number / 100.0 * BAR as f64).round().clamp(0.0, BAR as f64)
    }) as usize;
    "█".repeat(full) + &"░".repeat(BAR - full)
}

/// The newest values as columns of `rows` lines, top line first, the newest at the right; 100 % fills it, more
/// stretches it.
pub fn chart(history: &[f64], columns: usize, rows: usize) -> Vec<String> {
    const EIGHTHS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let newest = &history[history.len().saturating_sub(columns)..];
    let top = newest
        .iter()
        .copied()
        .filter(|value| value.is_finite())
        .fold(100.0, f64::max);
    let heights = newest.iter().map(|value| match value.is_finite() {
        // A value that is known leaves a mark, even if it is 0.
        true => ((value / top * (rows * 8) as f64).round().max(1.0) as usize).min(rows * 8),
        false => 0,
    });
    let heights: Vec<usize> = heights.collect();
    (0..rows)
        .rev()
        .map(|row| {
            heights
                .iter()
                .map(|height| EIGHTHS[height.saturating_sub(row * 8).min(8)])
                .collect()
        })
        .collect()
}

/// `requests/adapters.py`: the last two parts of a path tell a reader which file it is.
pub fn short_path(path: &str) -> &str {
    let mut slashes = path.rmatch_indices('/');
    match (slashes.next(), slashes.next()) {
        (Some(_), Some((place, _))) => &path[place + 1..],
        _ => path.strip_prefix('/').unwrap_or(path),
    }
}

/// `agents/booking.py:41 in lookup`, as much of it as is known.
pub fn place(function: Option<&str>, file: Option<&str>, line: Option<u32>) -> Option<String> {
    let file = file.map(|file| match line {
        Some(line) => format!("{}:{line}", short_path(file)),
        None => short_path(file).to_owned(),
    });
    match (file, function) {
        (Some(file), Some(function)) => Some(format!("{file} in {function}")),
        (Some(file), None) => Some(file),
        (None, Some(function)) => Some(function.to_owned()),
        (None, None) => None,
    }
}

/// What a session runs or waits for, in at most `room` cells if that is possible without cutting: file and line stay
/// longest.
pub fn where_it_is(place_of: Option<&Where>, room: usize) -> String {
    let Some(at) = place_of else { return UNKNOWN.to_owned() };
    let (file, function, line) = (at.file.as_deref(), at.function.as_deref(), at.line);
    let Some(long) = place(function, file, line) else {
        return at.state.unwrap_or(UNKNOWN).to_owned();
    };
    let name = file.map(|file| file.rsplit('/').next().unwrap_or(file));
    let shorter = [
        at.state.as_ref().map(|state| format!("{long} ({state})")),
        Some(long),
        place(function, name, line),
        place(None, name, line),
    ];
    let mut texts = shorter.into_iter().flatten().peekable();
    while let Some(text) = texts.next() {
        if texts.peek().is_none() || width(&printable(&text)) <= room {
            return text;
        }
    }
    UNKNOWN.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_is_never_a_number() {
        assert_eq!(percent(None), "—");
        assert_eq!(percent(Some(f64::NAN)), "—");
        assert_eq!(megabytes(None), "—");
        assert_eq!(seconds(None, true), "—");
        assert_eq!(count(None), "—");
        assert_eq!(uptime(None), "—");
        assert_eq!(age(None), "—");
        assert_eq!(gigabytes(None), "—");
        assert_eq!(byte_rate(None), "—");
        assert_eq!(where_it_is(None, 9), "—");
    }

    #[test]
    fn numbers() {
        assert_eq!(percent(Some(17.44)), "17.4");
        assert_eq!(percent(Some(-0.01)), "0.0");
        assert_eq!(percent(Some(0.0)), "0.0");
        assert_eq!(megabytes(Some(32.84)), "32.8");
        assert_eq!(megabytes(Some(0.02)), "0.02");
        assert_eq!(seconds(Some(106.9), false), "106");
        assert_eq!(seconds(Some(106.9), true), "106+");
        assert_eq!(stretch(320.2), "320 ms");
        assert_eq!(stretch(999.7), "1.0 s");
        assert_eq!(stretch(3210.0), "3.2 s");
        assert_eq!(stretch(125_400.0), "125 s");
        assert_eq!(short_stretch(1234.0), "1.2s");
        let ages = [0.0, 99.9, 100.0, 5999.0, 6000.0, 360_000.0, 1e12].map(|seconds| age(Some(seconds)));
        assert_eq!(ages, ["0s", "99s", "1m", "99m", "1h", "4d", "999d"]);
        assert_eq!(uptime(Some(3725.0)), "1h 02m");
        assert_eq!(gigabytes(Some(25_276_510_208)), "25.3G");
        assert_eq!(byte_rate(Some(258.6)), "259 B/s");
        assert_eq!(byte_rate(Some(1.3e6)), "1.3 MB/s");
    }

    #[test]
    fn bars_and_charts() {
        assert_eq!(bar(Some(17.0)), "█░░░░░░░");
        assert_eq!(bar(Some(1600.0)), "████████");
        assert_eq!(bar(None), "░░░░░░░░");
        assert_eq!(chart(&[0.0, 50.0, 100.0], 10, 1), ["▁▄█"]);
        assert_eq!(chart(&[1.0, 50.0, 100.0], 2, 1), ["▄█"]);
        assert_eq!(chart(&[200.0, 100.0], 9, 2), ["█ ", "██"]);
        assert_eq!(chart(&[], 9, 1), [""]);
    }

    #[test]
    fn places() {
        assert_eq!(
            short_path("/usr/lib/python3/requests/adapters.py"),
            "requests/adapters.py"
        );
        assert_eq!(short_path("/main.py"), "main.py");
        assert_eq!(short_path("main.py"), "main.py");
        assert_eq!(short_path("app/main.py"), "app/main.py");
        assert_eq!(
            place(Some("send"), Some("/a/b/c.py"), Some(7)).as_deref(),
            Some("b/c.py:7 in send")
        );
        assert_eq!(place(None, None, Some(7)), None);
    }

    #[test]
    fn a_place_gets_shorter_before_it_is_cut() {
        let at = Where {
            function: Some("lookup".into()),
            file: Some("/srv/app/agents/booking.py".into()),
            line: Some(41),
            state: Some("running"),
        };
        assert_eq!(where_it_is(Some(&at), 60), "agents/booking.py:41 in lookup (running)");
        assert_eq!(where_it_is(Some(&at), 39), "agents/booking.py:41 in lookup");
        assert_eq!(where_it_is(Some(&at), 29), "booking.py:41 in lookup");
        assert_eq!(where_it_is(Some(&at), 22), "booking.py:41");
        assert_eq!(where_it_is(Some(&at), 2), "booking.py:41");
        let only_state = Where {
            function: None,
            file: None,
            ..at
        };
        assert_eq!(where_it_is(Some(&only_state), 60), "running");
    }
}
