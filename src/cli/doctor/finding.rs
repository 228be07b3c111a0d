//! What the doctor says of one thing that decides: a verdict, the fact that shows it, and what mends it; and all of them
//! as text or JSON. Knows nothing of how they were found out.

use crate::cli::error::Exit;
use crate::model::Pid;
use crate::view::{printable, width};
use serde::Serialize;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    Ok,
    /// Attaching works, with something that otop could have or show less.
    Limited,
    /// This is why attaching does not work, or would be.
    No,
    /// Not to be learned here, or not reached.
    Unknown,
}

impl Verdict {
    fn word(self) -> &'static str {
        match self {
            Verdict::Ok => "ok",
            Verdict::Limited => "limited",
            Verdict::No => "NO",
            Verdict::Unknown => "?",
        }
    }
}

/// One thing that decides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub check: &'static str,
    pub verdict: Verdict,
    pub fact: String,
    /// Lines that mend it, the one to try first in front; empty where there is nothing to mend.
    pub mend: Vec<String>,
}

impl Finding {
    pub fn ok(check: &'static str, fact: impl Into<String>) -> Finding {
        Finding::with(Verdict::Ok, check, fact, Vec::new())
    }

    pub fn unknown(check: &'static str, fact: impl Into<String>) -> Finding {
        Finding::with(Verdict::Unknown, check, fact, Vec::new())
    }

    pub fn limited(check: &'static str, fact: impl Into<String>, mend: Vec<String>) -> Finding {
        Finding::with(Verdict::Limited, check, fact, mend)
    }

    pub fn no(check: &'static str, fact: impl Into<String>, mend: Vec<String>) -> Finding {
        Finding::with(Verdict::No, check, fact, mend)
    }

    fn with(verdict: Verdict, check: &'static str, fact: impl Into<String>, mend: Vec<String>) -> Finding {
        Finding {
            check,
            verdict,
            fact: fact.into(),
            mend,
        }
    }
}

/// All that was found out, in the order in which it decides.
#[derive(Clone, Debug)]
pub struct Diagnosis {
    /// None: the machine was asked, and no worker.
    pub pid: Option<Pid>,
    pub findings: Vec<Finding>,
    /// What `otop --pid` would end with.
    pub exit: Exit,
}

#[derive(Serialize)]
struct Document<'d> {
    schema: u32,
    otop: &'static str,
    pid: Option<i32>,
    exit_code: u8,
    checks: &'d [Finding],
}

impl Diagnosis {
    /// One line of JSON, with its line feed.
    pub fn json(&self) -> String {
        let document = Document {
            schema: crate::model::SCHEMA,
            otop: env!("CARGO_PKG_VERSION"),
            pid: self.pid.map(|pid| pid.0),
            exit_code: self.exit as u8,
            checks: &self.findings,
        };
        crate::export::json::line(&document) + "\n"
    }

    /// A line for each finding, what mends it below, and the conclusion.
    pub fn text(&self) -> String {
        let widest = self.findings.iter().map(|finding| width(finding.check)).max();
        let widest = widest.unwrap_or(0);
        let mut text = String::new();
        for Finding {
            check,
            verdict,
            fact,
            mend,
        } in &self.findings
        {
            let line = format!("{:<8} {check:<widest$}  {}", verdict.word(), printable(fact));
            text.push_str(line.trim_end());
            text.push('\n');
            for (place, way) in mend.iter().enumerate() {
                let word = if place == 0 { "try:" } else { "or:" };
                text.push_str(&format!("{:<8} {:<widest$}  {word:<4} {}\n", "", "", printable(way)));
            }
        }
        text.push('\n');
        text.push_str(&self.conclusion());
        text.push('\n');
        text
    }

    fn conclusion(&self) -> String {
        let limits = |verdict| self.findings.iter().any(|finding| finding.verdict == verdict);
        match (self.pid, self.exit) {
            (Some(pid), Exit::Done) if limits(Verdict::Limited) => {
                format!("otop --pid {pid} works, with the limits above.")
            }
            (Some(pid), Exit::Done) => format!("otop --pid {pid} works."),
            (Some(pid), exit) => format!("otop --pid {pid} does not work: exit code {}.", exit as u8),
            (None, Exit::Done) => "otop works here.".to_owned(),
            (None, exit) => format!("otop finds nothing to watch: exit code {}.", exit as u8),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn diagnosis() -> Diagnosis {
        Diagnosis {
            pid: Some(Pid(7)),
            findings: vec![
                Finding::ok("user", "root"),
                Finding::no(
                    "yama",
                    "a fact with \u{1b}[2J \u{9b}31m \u{202e} in it",
                    vec!["sudo x".to_owned(), "sudo y".to_owned()],
                ),
            ],
            exit: Exit::NotPermitted,
        }
    }

    #[test]
    fn a_line_each_with_what_mends_it_and_no_control_characters() {
        let text = diagnosis().text();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.first(), Some(&"ok       user  root"));
        assert!(text.contains("NO       yama  a fact"), "{text}");
        assert!(
            text.contains("try: sudo x\n") && text.contains("or:  sudo y\n"),
            "{text}"
        );
        assert!(text.ends_with("exit code 4.\n"), "{text}");
        assert!(!text.chars().any(|c| c.is_control() && c != '\n'), "{text:?}");
    }

    #[test]
    fn the_document_has_the_same() {
        let line = diagnosis().json();
        // The command line is the worker's own, and a terminal obeys C1 characters too.
        assert!(!line.trim_end().chars().any(crate::view::is_unprintable), "{line:?}");
        let document: serde_json::Value = serde_json::from_str(&line).expect("JSON");
        assert_eq!(document["exit_code"], 4);
        assert_eq!(document["checks"][1]["verdict"], "no");
        assert_eq!(document["checks"][1]["mend"][1], "sudo y");
        assert_eq!(document["checks"][0]["mend"].as_array().map(Vec::len), Some(0));
    }
}
