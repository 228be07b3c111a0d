//! Parses a spec, the language of which `spec` describes; what is wrong is said with the place. Knows nothing of what a
//! spec means.

use super::spec::{Filter, Source, Spec, SpecError, Step, is_identifier};

/// Longer specs are a mistake, and every step costs the sampler a read.
pub(super) const MOST_STEPS: usize = 16;
/// Digits of 128 bits.
pub(super) const MOST_HEX_DIGITS: u8 = 32;

pub(super) fn parse(text: &str) -> Result<Spec, SpecError> {
    Parser { text, at: 0 }.spec()
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
        if matches!(source, Source::TaskName | Source::RootTask) && matches!(self.peek(), Some('.' | '[')) {
            return self.wrong("a task's name is a text, behind which a \"|\" may follow, or nothing");
        }
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
            Some('?') => {
                self.take('?');
                Step::With(self.identifier("an attribute's name")?)
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
            "address" => Ok(Filter::Address),
            "strip" => match (self.take('('), self.peek()) {
                (true, Some(quote @ ('"' | '\''))) => {
                    let prefix = self.quoted(quote)?;
                    self.closed(Filter::Strip(prefix))
                }
                _ => self.wrong("what to take off is missing: strip(\"prefix\")"),
            },
            other => {
                self.at -= other.len();
                self.wrong("a filter is missing: hex, hex(32), strip(\"prefix\") or address")
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
