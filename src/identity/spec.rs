//! The language of `--session-from`, `--agent-from` and `--tenant-from`: where a text stands in the worker, written in
//! one line. Knows nothing of memory, nor of which contextvars there are.
//!
//! ```text
//! spec    = source { step } { "|" filter }      no steps behind a task, whose name is a text
//! source  = name                            a contextvar
//!         | quoted                          a contextvar, whatever characters its name has
//!         | "task:name"                     the name that the program gave to the task
//!         | "task:root"                     the root task: the one that nobody waits for, by name or number
//!         | "frame:" coroutine ":" local    a local variable of a coroutine that the task runs or waits in
//! step    = "." attribute                   what the instance stores: dictionary, inline values, slots, members of C types
//!         | "[" [ "-" ] digits "]"          an item of a tuple or a list, or a dictionary's int key
//!         | "[" quoted "]"                  a dictionary's key
//!         | "[" quoted "*" "]"              the first of a dictionary's keys that begins so
//!         | "[?" attribute "]"              goes on from the same object, if it has that attribute
//! filter  = "hex" [ "(" digits ")" ]        an int in hexadecimal, with zeros in front up to so many digits
//!         | "strip" "(" quoted ")"          taken off the front of the text, where it is there
//!         | "address"                       an object that is no text, as Python tells it from its like: `Call at 0x7f12a4`
//! quoted  = '"' text '"' | "'" text "'"     with \\, \" and \' for themselves
//! ```
//!
//! The arguments of a `functools.partial` are `.args[1]` and `.keywords["name"]`. A coroutine is named as its
//! `__qualname__` has it: `Worker.run_job`, `serve.<locals>.handle`; from 3.11 on also as its code's, by which a stack calls
//! a decorator's wrapper. The outermost of that name that has such a local is meant.
//!
//! What is said of a task holds for one that waits for it too, directly or through `gather`, `wait_for`, `wait`, `shield`
//! or a TaskGroup: the task itself first, then the one that waits for it, and so on. Which task created it is recorded
//! nowhere.
//!
//! **A contextvar's name may have dots**, so `a.b.c` has three readings. The whole of it, if there is such a variable;
//! else the longest beginning that is one, and the rest are attributes. A quoted name has one reading.

use super::credentials::{is_name_of_a_text_that_is_one, is_name_of_one};
use super::spec_parser;
use std::fmt;

/// Where a text stands.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Spec {
    pub source: Source,
    pub steps: Vec<Step>,
    pub filters: Vec<Filter>,
}

/// What the path begins with.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// A contextvar's name up to the first bracket, parted at its dots: some of the parts may be attributes.
    Variable(Vec<String>),
    /// A contextvar's name that was written in quotes.
    Quoted(String),
    TaskName,
    RootTask,
    Local {
        coroutine: String,
        local: String,
    },
}

/// One hop from an object to the next.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    Attribute(String),
    Index(i64),
    Key(String),
    KeyPrefix(String),
    /// The same object, if it has this attribute.
    With(String),
}

/// What is done with the value at the end.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Filter {
    /// At least so many digits.
    Hex(u8),
    Strip(String),
    /// An object by its class and address, which no other has while it lives.
    Address,
}

/// One way to read a spec's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    pub variable: String,
    pub steps: Vec<Step>,
}

/// What is wrong with a spec, and where: `at` is the byte at which it was noticed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct SpecError {
    pub at: usize,
    pub what: String,
}

impl Spec {
    /// The contextvar of this name, and nothing else.
    pub fn variable(name: &str) -> Spec {
        Spec {
            source: Source::Quoted(name.to_owned()),
            steps: Vec::new(),
            filters: Vec::new(),
        }
    }

    pub fn parse(text: &str) -> Result<Spec, SpecError> {
        spec_parser::parse(text)
    }

    /// The contextvars that may be meant, and the path from each: the longest name first. Empty where it begins with a
    /// task or a frame.
    pub fn readings(&self) -> Vec<Reading> {
        match &self.source {
            Source::TaskName | Source::RootTask | Source::Local { .. } => Vec::new(),
            Source::Quoted(name) => vec![Reading {
                variable: name.clone(),
                steps: self.steps.clone(),
            }],
            Source::Variable(parts) => (1..=parts.len())
                .rev()
                .filter_map(|length| {
                    let (name, attributes) = parts.split_at_checked(length)?;
                    if !attributes.iter().all(|part| is_identifier(part)) {
                        return None;
                    }
                    let attributes = attributes.iter().cloned().map(Step::Attribute);
                    Some(Reading {
                        variable: name.join("."),
                        steps: attributes.chain(self.steps.iter().cloned()).collect(),
                    })
                })
                .collect(),
        }
    }

    /// What it leads to is a credential by the name of a place that it goes through, whatever the text looks like: as
    /// `otop vars` says of such a place. A coroutine's name keeps nothing.
    pub fn leads_to_a_credential(&self) -> bool {
        let is_one = |name: &str, steps: &[Step]| match steps.is_empty() {
            true => is_name_of_a_text_that_is_one(name),
            false => is_name_of_one(name),
        };
        let begins_with_one = match &self.source {
            Source::Local { local, .. } => is_one(local, &self.steps),
            Source::TaskName | Source::RootTask => false,
            // The longest name has in it what may be attributes too.
            Source::Variable(_) | Source::Quoted(_) => {
                let readings = self.readings();
                readings.iter().any(|reading| is_one(&reading.variable, &reading.steps))
            }
        };
        begins_with_one
            || self.steps.iter().enumerate().any(|(at, step)| match step {
                Step::Attribute(name) | Step::Key(name) | Step::KeyPrefix(name) => {
                    is_one(name, self.steps.get(at + 1..).unwrap_or_default())
                }
                Step::Index(_) | Step::With(_) => false,
            })
    }

    /// The name of the place that it ends in; nothing, where that has none.
    pub fn last_name(&self) -> &str {
        match (self.steps.last(), &self.source) {
            (Some(Step::Attribute(name) | Step::Key(name) | Step::KeyPrefix(name)), _) => name,
            (Some(Step::Index(_) | Step::With(_)), _) => "",
            (None, Source::Quoted(name) | Source::Local { local: name, .. }) => name,
            (None, Source::Variable(parts)) => parts.last().map_or("", String::as_str),
            (None, Source::TaskName | Source::RootTask) => "",
        }
    }

    /// It begins with a task or a frame, so that the contextvars alone do not tell whose a context is.
    pub fn needs_task(&self) -> bool {
        matches!(self.source, Source::TaskName | Source::RootTask | Source::Local { .. })
    }
}

pub(super) fn is_identifier(text: &str) -> bool {
    let mut characters = text.chars();
    characters.next().is_some_and(|c| c.is_alphabetic() || c == '_')
        && characters.all(|c| c.is_alphanumeric() || c == '_')
}

/// As it would be typed: what is printed parses to the same.
impl fmt::Display for Spec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.source {
            Source::Variable(parts) => f.write_str(&parts.join("."))?,
            // Without quotes where it has one reading and nothing in it that means something else.
            Source::Quoted(name) if is_identifier(name) => f.write_str(name)?,
            Source::Quoted(name) => quote(f, name)?,
            Source::TaskName => f.write_str("task:name")?,
            Source::RootTask => f.write_str("task:root")?,
            Source::Local { coroutine, local } => write!(f, "frame:{coroutine}:{local}")?,
        }
        for step in &self.steps {
            step.fmt(f)?;
        }
        for filter in &self.filters {
            match filter {
                Filter::Address => f.write_str("|address")?,
                Filter::Hex(0) => f.write_str("|hex")?,
                Filter::Hex(digits) => write!(f, "|hex({digits})")?,
                Filter::Strip(prefix) => {
                    f.write_str("|strip(")?;
                    quote(f, prefix)?;
                    f.write_str(")")?;
                }
            }
        }
        Ok(())
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::Attribute(name) => write!(f, ".{name}"),
            Step::With(name) => write!(f, "[?{name}]"),
            Step::Index(index) => write!(f, "[{index}]"),
            Step::Key(key) => {
                f.write_str("[")?;
                quote(f, key)?;
                f.write_str("]")
            }
            Step::KeyPrefix(key) => {
                f.write_str("[")?;
                quote(f, key)?;
                f.write_str("*]")
            }
        }
    }
}

fn quote(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    f.write_str("\"")?;
    for c in text.chars() {
        if matches!(c, '"' | '\\') {
            f.write_str("\\")?;
        }
        write!(f, "{c}")?;
    }
    f.write_str("\"")
}

#[cfg(test)]
#[path = "spec_tests.rs"]
mod tests;
