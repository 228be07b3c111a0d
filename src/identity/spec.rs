//! The language of `--session-from`, `--agent-from` and `--tenant-from`: where a text stands in the worker, written in
//! one line. Knows nothing of memory, nor of which contextvars there are.
//!
//! ```text
//! spec    = source { step } { "|" filter }
//! source  = name                            a contextvar
//!         | quoted                          a contextvar, whatever characters its name has
//!         | "task:name"                     the name that the program gave to the task
//!         | "task:root"                     the root task: the one that nobody waits for, by name or number
//!         | "frame:" coroutine ":" local    a local variable of a coroutine that the task runs or waits in
//! step    = "." attribute                   what the instance stores: dictionary, inline values, slots, members of C types
//!         | "[" [ "-" ] digits "]"          an item of a tuple or a list, or a dictionary's int key
//!         | "[" quoted "]"                  a dictionary's key
//!         | "[" quoted "*" "]"              the first of a dictionary's keys that begins so
//! filter  = "hex" [ "(" digits ")" ]        an int in hexadecimal, with zeros in front up to so many digits
//!         | "strip" "(" quoted ")"          taken off the front of the text, where it is there
//! quoted  = '"' text '"' | "'" text "'"     with \\, \" and \' for themselves
//! ```
//!
//! The arguments of a `functools.partial` are `.args[1]` and `.keywords["name"]`. A coroutine is named as its
//! `__qualname__` has it: `Worker.run_job`, `serve.<locals>.handle`.
//!
//! What is said of a task holds for one that waits for it too, directly or through `gather`, `wait_for`, `wait`, `shield`
//! or a TaskGroup: the task itself first, then the one that waits for it, and so on. Which task created it is recorded
//! nowhere.
//!
//! **A contextvar's name may have dots**, so `a.b.c` has three readings. The whole of it, if there is such a variable;
//! else the longest beginning that is one, and the rest are attributes. A quoted name has one reading.

use std::fmt;

/// Longer specs are a mistake, and every step costs the sampler a read.
const MOST_STEPS: usize = 16;
/// Digits of 128 bits.
const MOST_HEX_DIGITS: u8 = 32;

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
}

/// What is done with the value at the end.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Filter {
    /// At least so many digits.
    Hex(u8),
    Strip(String),
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
        Parser { text, at: 0 }.spec()
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

    /// It begins with a task or a frame, so that the contextvars alone do not tell whose a context is.
    pub fn needs_task(&self) -> bool {
        matches!(self.source, Source::TaskName | Source::RootTask | Source::Local { .. })
    }
}

fn is_identifier(text: &str) -> bool {
    let mut characters = text.chars();
    characters.next().is_some_and(|c| c.is_alphabetic() || c == '_')
        && characters.all(|c| c.is_alphanumeric() || c == '_')
}

struct Parser<'t> {
    text: &'t str,
    at: usize,
}

impl<'t> Parser<'t> {
    fn rest(&self) -> &'t str {
        self.text.get(self.at..).unwrap_or("")
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn take(&mut self, expected: char) -> bool {
        let found = self.peek() == Some(expected);
        if found {
            self.at += expected.len_utf8();
        }
        found
    }

    fn take_while(&mut self, fits: impl Fn(char) -> bool) -> &'t str {
        let rest = self.rest();
        let taken = rest.split_once(|c| !fits(c)).map_or(rest, |(taken, _)| taken);
        self.at += taken.len();
        taken
    }

    fn blanks(&mut self) {
        self.take_while(|c| c == ' ');
    }

    fn wrong<T>(&self, what: impl Into<String>) -> Result<T, SpecError> {
        Err(SpecError {
            at: self.at,
            what: what.into(),
        })
    }

    fn spec(mut self) -> Result<Spec, SpecError> {
        self.blanks();
        let (source, mut steps) = self.source()?;
        loop {
            if steps.len() > MOST_STEPS {
                return self.wrong(format!("more than {MOST_STEPS} steps"));
            }
            if self.take('.') {
                steps.push(Step::Attribute(self.identifier("an attribute's name")?));
            } else if self.take('[') {
                steps.push(self.subscript()?);
            } else {
                break;
            }
        }
        let mut filters = Vec::new();
        loop {
            self.blanks();
            if !self.take('|') {
                break;
            }
            if filters.len() >= MOST_STEPS {
                return self.wrong(format!("more than {MOST_STEPS} filters"));
            }
            self.blanks();
            filters.push(self.filter()?);
        }
        match self.peek() {
            None => Ok(Spec { source, steps, filters }),
            Some(_) => self.wrong("here a \".\", a \"[\" or a \"|\" may follow, or nothing"),
        }
    }

    fn source(&mut self) -> Result<(Source, Vec<Step>), SpecError> {
        if let Some(quote @ ('"' | '\'')) = self.peek() {
            let name = self.quoted(quote)?;
            return Ok((Source::Quoted(name), Vec::new()));
        }
        if self.rest().starts_with("task:") {
            self.at += "task:".len();
            return match self.take_while(|c| !is_special(c)) {
                "name" => Ok((Source::TaskName, Vec::new())),
                "root" => Ok((Source::RootTask, Vec::new())),
                found => {
                    self.at -= found.len();
                    self.wrong("task:name or task:root (a contextvar's name that begins so: in quotes)")
                }
            };
        }
        if self.rest().starts_with("frame:") {
            self.at += "frame:".len();
            let coroutine = self.take_while(|c| c != ':' && !matches!(c, '[' | ']' | '|' | '"' | '\''));
            if coroutine.is_empty() || coroutine.contains(char::is_whitespace) {
                self.at -= coroutine.len();
                return self.wrong("a coroutine's __qualname__ is missing: frame:COROUTINE:LOCAL");
            }
            if !self.take(':') {
                return self.wrong("a colon and a local variable are missing: frame:COROUTINE:LOCAL");
            }
            let local = self.identifier("a local variable")?;
            let coroutine = coroutine.to_owned();
            return Ok((Source::Local { coroutine, local }, Vec::new()));
        }
        self.name()
    }

    fn name(&mut self) -> Result<(Source, Vec<Step>), SpecError> {
        let mut parts = Vec::new();
        loop {
            if parts.len() > MOST_STEPS {
                return self.wrong(format!("more than {MOST_STEPS} dots"));
            }
            let part = self.take_while(|c| !is_special(c));
            // Blanks may stand before a `|`, and inside of a name.
            let last = self.peek() != Some('.');
            let part = if last { part.trim_end() } else { part };
            if let Some((at, _)) = part.char_indices().find(|(_, c)| c.is_control()) {
                self.at -= part.len() - at;
                return self.wrong("a control character");
            }
            if part.is_empty() {
                return self.wrong(match parts.is_empty() {
                    true => "a contextvar's name is needed",
                    false => "an attribute's name is missing",
                });
            }
            parts.push(part.to_owned());
            if last {
                return Ok((Source::Variable(parts), Vec::new()));
            }
            self.at += 1;
        }
    }

    fn identifier(&mut self, what: &str) -> Result<String, SpecError> {
        let found = self.take_while(|c| c.is_alphanumeric() || c == '_');
        if !is_identifier(found) {
            self.at -= found.len();
            return self.wrong(format!("{what} is missing"));
        }
        Ok(found.to_owned())
    }

    /// Behind the opening bracket.
    fn subscript(&mut self) -> Result<Step, SpecError> {
        self.blanks();
        let step = match self.peek() {
            Some(quote @ ('"' | '\'')) => {
                let key = self.quoted(quote)?;
                match self.take('*') {
                    true => Step::KeyPrefix(key),
                    false => Step::Key(key),
                }
            }
            _ => {
                let number = self.take_while(|c| c == '-' || c.is_ascii_digit());
                match number.parse() {
                    Ok(index) => Step::Index(index),
                    Err(_) => {
                        self.at -= number.len();
                        return self.wrong("an index or a key in quotes is missing");
                    }
                }
            }
        };
        self.blanks();
        if !self.take(']') {
            return self.wrong("the closing bracket is missing");
        }
        Ok(step)
    }

    fn quoted(&mut self, quote: char) -> Result<String, SpecError> {
        let opened_at = self.at;
        self.take(quote);
        let mut text = String::new();
        loop {
            match self.peek() {
                None => {
                    self.at = opened_at;
                    return self.wrong("the closing quote is missing");
                }
                Some(c) if c.is_control() => return self.wrong("a control character"),
                Some(c) if c == quote => {
                    self.take(c);
                    return Ok(text);
                }
                Some('\\') => {
                    self.take('\\');
                    match self.peek() {
                        Some(c @ ('\\' | '"' | '\'')) => {
                            self.take(c);
                            text.push(c);
                        }
                        _ => return self.wrong("after a \\ comes a \\ or a quote"),
                    }
                }
                Some(c) => {
                    self.take(c);
                    text.push(c);
                }
            }
        }
    }

    fn filter(&mut self) -> Result<Filter, SpecError> {
        let name = self.take_while(|c| c.is_alphanumeric() || c == '_');
        match name {
            "hex" if self.take('(') => {
                let digits = self.take_while(|c| c.is_ascii_digit());
                match digits.parse() {
                    Ok(count) if count <= MOST_HEX_DIGITS => self.closed(Filter::Hex(count)),
                    _ => {
                        self.at -= digits.len();
                        self.wrong(format!("a number of digits is missing, {MOST_HEX_DIGITS} at most"))
                    }
                }
            }
            "hex" => Ok(Filter::Hex(0)),
            "strip" => match (self.take('('), self.peek()) {
                (true, Some(quote @ ('"' | '\''))) => {
                    let prefix = self.quoted(quote)?;
                    self.closed(Filter::Strip(prefix))
                }
                _ => self.wrong("what to take off is missing: strip(\"prefix\")"),
            },
            other => {
                self.at -= other.len();
                self.wrong("a filter is missing: hex, hex(32) or strip(\"prefix\")")
            }
        }
    }

    fn closed(&mut self, filter: Filter) -> Result<Filter, SpecError> {
        match self.take(')') {
            true => Ok(filter),
            false => self.wrong("the closing parenthesis is missing"),
        }
    }
}

/// Characters that end a name which stands in no quotes.
fn is_special(c: char) -> bool {
    matches!(c, '.' | '[' | ']' | '|' | '"' | '\'')
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
