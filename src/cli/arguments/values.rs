//! What a flag's value may be: numbers and times with their ranges, and names of variables. Every refusal says what would
//! be right. Knows nothing of what the values are for.

use crate::identity::{Spec, SpecError};
use crate::view::{printable, width};
use std::time::Duration;

/// Rates that make sense, both ends included.
pub struct Rates {
    least: f64,
    most: f64,
}

/// Times that make sense, both ends included.
pub struct Times {
    least: Duration,
    most: Duration,
}

/// Above, a sample would take longer than the time to the next one.
pub const RATE: Rates = Rates {
    least: 1.0,
    most: 10_000.0,
};

/// Below, a window holds too few batches of samples; above, it is a log and no table.
pub const WINDOW: Times = Times {
    least: Duration::from_millis(100),
    most: Duration::from_secs(600),
};

/// Below, the samples of a millisecond cannot tell a step from a block.
pub const SLOW_THRESHOLD: Times = Times {
    least: Duration::from_millis(1),
    most: Duration::from_secs(60),
};

pub const SLOW_WINDOW: Times = Times {
    least: Duration::from_millis(100),
    most: Duration::from_secs(3600),
};

/// A place in a recording.
pub const AT: Times = Times {
    least: Duration::ZERO,
    most: Duration::from_secs(168 * 3600),
};

/// Below, no batch of samples has come; above, it is a service and no look.
pub const FOR: Times = Times {
    least: Duration::from_millis(100),
    most: Duration::from_secs(168 * 3600),
};

pub const FAIL_ON: Times = Times {
    least: Duration::from_millis(1),
    most: Duration::from_secs(3600),
};

impl Rates {
    pub fn parse(&self, text: &str) -> Result<f64, String> {
        let (least, most) = (self.least, self.most);
        match text.trim().parse::<f64>() {
            Ok(rate) if (least..=most).contains(&rate) => Ok(rate),
            Ok(_) => Err(format!("{text} is not in {least} to {most}")),
            Err(_) => Err(format!("not a number; {least} to {most} a second are possible")),
        }
    }
}

impl Times {
    /// The nearest that could have been asked for.
    pub fn nearest(&self, time: Duration) -> Duration {
        time.clamp(self.least, self.most)
    }

    pub fn parse(&self, text: &str) -> Result<Duration, String> {
        let (least, most) = (written(self.least), written(self.most));
        match duration(text)? {
            time if (self.least..=self.most).contains(&time) => Ok(time),
            _ => Err(format!("{text} is not in {least} to {most}")),
        }
    }
}

/// Any number: what lies outside of the range is moved into it, with a word, as the original documents it.
pub fn refresh_rate(text: &str) -> Result<f64, String> {
    match text.trim().parse::<f64>() {
        // Without end it is moved like any other.
        Ok(rate) if !rate.is_nan() => Ok(rate),
        _ => Err("not a number; 0.5 to 10 a second are possible".to_owned()),
    }
}

/// What is said of a refresh rate that was moved.
pub fn refresh_word(given: f64, taken: f64) -> String {
    format!("--refresh-rate {given} is not in 0.5 to 10 Hz; {taken} is taken")
}

/// Where a text stands in the worker; the refusal has a caret under the place.
pub fn spec(text: &str) -> Result<Spec, String> {
    Spec::parse(text).map_err(|SpecError { at, what }| {
        let (before, after) = text.split_at_checked(at).unwrap_or((text, ""));
        let (before, after) = (printable(before), printable(after));
        format!("{what}\n  {before}{after}\n  {}^", " ".repeat(width(&before)))
    })
}

/// The beginning of a file's name as code objects have it. All names begin with nothing.
pub fn prefix(text: &str) -> Result<String, String> {
    if text.trim().is_empty() {
        return Err("the beginning of a file's name is needed, like /srv/app/".to_owned());
    }
    Ok(text.to_owned())
}

/// `500ms`, `1s`, `1.5s`, `2m`, `1h`: a number and its unit.
fn duration(text: &str) -> Result<Duration, String> {
    const EXPECTED: &str = "a time has a number and a unit, like 500ms, 1s or 2m";
    let text = text.trim();
    let unit_at = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .ok_or_else(|| EXPECTED.to_owned())?;
    let (number, unit) = text.split_at(unit_at);
    let seconds = match unit.trim() {
        "us" | "µs" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        _ => return Err(EXPECTED.to_owned()),
    };
    let number: f64 = number.parse().map_err(|_| EXPECTED.to_owned())?;
    Duration::try_from_secs_f64(number * seconds).map_err(|_| format!("{text} is too long"))
}

/// The way that it would be typed.
pub fn written(time: Duration) -> String {
    let ms = time.as_millis();
    let units = [(3_600_000, "h"), (60_000, "m"), (1000, "s")];
    let whole = units.iter().find(|(unit, _)| ms > 0 && ms.is_multiple_of(*unit));
    whole.map_or(format!("{ms}ms"), |(unit, name)| format!("{}{name}", ms / unit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_with_their_units() {
        let cases = [
            ("500ms", 500),
            ("1s", 1000),
            ("1.5s", 1500),
            ("2m", 120_000),
            ("0.1s", 100),
            (" 1 s ", 1000),
        ];
        for (text, ms) in cases {
            assert_eq!(WINDOW.parse(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        assert_eq!(SLOW_THRESHOLD.parse("1500us"), Ok(Duration::from_micros(1500)));
        assert_eq!(SLOW_WINDOW.parse("1h"), Ok(Duration::from_secs(3600)));
    }

    #[test]
    fn what_is_no_time_or_an_absurd_one_is_refused_with_what_would_be_right() {
        for text in [
            "", "1", "s", "-1s", "1x", "NaNs", "infs", "1..5s", "1s2", "1e3s", "１s", ".",
        ] {
            let refusal = WINDOW.parse(text).expect_err(text);
            assert!(refusal.contains("like 500ms, 1s or 2m"), "{text}: {refusal}");
        }
        for text in ["0s", "99ms", "11m", "1000h"] {
            let refusal = WINDOW.parse(text).expect_err(text);
            assert_eq!(refusal, format!("{text} is not in 100ms to 10m"));
        }
        assert!(
            WINDOW
                .parse(&format!("{}h", "9".repeat(400)))
                .is_err_and(|refusal| refusal.contains("too long"))
        );
    }

    #[test]
    fn rates_have_a_range() {
        assert_eq!(RATE.parse("1000"), Ok(1000.0));
        assert_eq!(RATE.parse("10000"), Ok(10_000.0));
        for text in ["0", "-5", "10001", "NaN", "inf", "0.5"] {
            assert_eq!(RATE.parse(text), Err(format!("{text} is not in 1 to 10000")));
        }
        assert!(
            RATE.parse("many")
                .is_err_and(|refusal| refusal.contains("not a number"))
        );
    }

    #[test]
    fn a_refresh_rate_is_any_number() {
        assert_eq!(refresh_rate("0"), Ok(0.0));
        assert_eq!(refresh_rate("-3"), Ok(-3.0));
        assert_eq!(refresh_rate("inf"), Ok(f64::INFINITY));
        assert_eq!(refresh_rate("-1e400"), Ok(f64::NEG_INFINITY));
        for text in ["NaN", "fast", ""] {
            assert!(refresh_rate(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_spec_is_refused_with_a_caret_under_the_place() {
        for name in ["request_id", "wunsch-nr:ä", "my.app.session", "a['k'*][0]|hex(32)"] {
            assert!(spec(name).is_ok(), "{name}");
        }
        let cases = [
            ("", "a contextvar's name is needed\n  \n  ^"),
            ("a..b", "an attribute's name is missing\n  a..b\n    ^"),
            ("通話[", "an index or a key in quotes is missing\n  通話[\n       ^"),
        ];
        for (text, refusal) in cases {
            assert_eq!(spec(text), Err(refusal.to_owned()));
        }
        let refusal = spec("a\u{1b}[2J").expect_err("a control character");
        assert!(!refusal.contains('\u{1b}'), "{refusal:?}");
    }

    #[test]
    fn a_place_is_any_path() {
        assert_eq!(prefix("/srv/app"), Ok("/srv/app".to_owned()));
        assert!(prefix(" ").is_err_and(|refusal| refusal.contains("/srv/app/")));
    }
}
