//! What occurs again and again in a part of a recording, by number: texts, frames, stacks, keys of sessions, places of dumps. Each is
//! written out where it is met first, with the next free number. Knows nothing of observations.

use super::bytes::{Damaged, In, Out};
use crate::model::{DumpFrame, Frame, SessionKey, Stack};
use std::collections::HashMap;
use std::sync::Arc;

/// A stack has no more frames than this.
const MOST_FRAMES: usize = 1 << 16;
/// A text has no more bytes than this: a worker's texts are read up to 4,096 characters, of four bytes at most, and some few
/// of them may stand in one.
const MOST_TEXT: usize = 64 << 10;
/// All texts that one part hands out have no more bytes than this, each counted as often as its number stands there: a number
/// takes a byte and may become a copy of the whole text. A part of ten thousand sessions and a dump of as many tasks hands
/// out some 15 MB.
pub(super) const MOST_HANDED_OUT: usize = 256 << 20;

/// Of a text that is longer, its beginning.
fn cut(text: &str) -> &str {
    text.get(..text.floor_char_boundary(MOST_TEXT)).unwrap_or(text)
}

/// The numbers that were given, for writing.
#[derive(Debug, Default)]
pub(super) struct Numbers {
    /// Counted as `Words` counts it.
    handed_out: usize,
    texts: HashMap<String, u64>,
    frames: HashMap<Arc<Frame>, u64>,
    /// By address, which the stack beside it keeps from being given to another one.
    stacks: HashMap<usize, (u64, Arc<Stack>)>,
    keys: HashMap<SessionKey, u64>,
    places: HashMap<DumpFrame, u64>,
}

impl Numbers {
    /// Bytes of all texts that a reader of the part will hand out.
    pub fn handed_out(&self) -> usize {
        self.handed_out
    }

    pub fn text(&mut self, out: &mut Out, text: &str) {
        let text = cut(text);
        self.handed_out += text.len();
        let next = self.texts.len() as u64;
        if let Some(number) = self.texts.get(text) {
            return out.number(*number);
        }
        self.texts.insert(text.to_owned(), next);
        out.number(next);
        out.text(text);
    }

    pub fn maybe_text(&mut self, out: &mut Out, text: Option<&str>) {
        out.maybe(text, |out, text| self.text(out, text));
    }

    pub fn key(&mut self, out: &mut Out, key: SessionKey) {
        let next = self.keys.len() as u64;
        let number = *self.keys.entry(key).or_insert(next);
        out.number(number);
        if number == next {
            out.word(key.0);
        }
    }

    pub fn stack(&mut self, out: &mut Out, stack: &Arc<Stack>) {
        let next = self.stacks.len() as u64;
        let address = Arc::as_ptr(stack).addr();
        if let Some((number, _)) = self.stacks.get(&address) {
            return out.number(*number);
        }
        self.stacks.insert(address, (next, Arc::clone(stack)));
        out.number(next);
        out.flag(stack.is_cut);
        let frames = stack.frames.get(..MOST_FRAMES).unwrap_or(&stack.frames);
        out.number(frames.len() as u64);
        for frame in frames {
            self.frame(out, frame);
        }
    }

    pub fn place(&mut self, out: &mut Out, place: &DumpFrame) {
        self.handed_out += cut(&place.function).len() + cut(&place.file).len();
        let next = self.places.len() as u64;
        if let Some(number) = self.places.get(place) {
            return out.number(*number);
        }
        self.places.insert(place.clone(), next);
        out.number(next);
        self.text(out, &place.function);
        self.text(out, &place.file);
        out.maybe(place.line, |out, line| out.number(u64::from(line)));
        out.flag(place.own);
    }

    fn frame(&mut self, out: &mut Out, frame: &Arc<Frame>) {
        let next = self.frames.len() as u64;
        if let Some(number) = self.frames.get(frame) {
            return out.number(*number);
        }
        self.frames.insert(Arc::clone(frame), next);
        out.number(next);
        self.text(out, &frame.function);
        self.text(out, &frame.file);
        out.number(u64::from(frame.line));
        out.number(u64::from(frame.first_line));
    }
}

/// What has the numbers, for reading.
#[derive(Debug, Default)]
pub(super) struct Words {
    handed_out: usize,
    texts: Vec<Arc<str>>,
    frames: Vec<Arc<Frame>>,
    stacks: Vec<Arc<Stack>>,
    keys: Vec<SessionKey>,
    places: Vec<DumpFrame>,
}

/// What a number stands for: one that is known, or the next, which is read here.
fn word<T: Clone>(
    words: fn(&mut Words) -> &mut Vec<T>,
    all: &mut Words,
    input: &mut In<'_>,
    read: impl FnOnce(&mut Words, &mut In<'_>) -> Result<T, Damaged>,
) -> Result<T, Damaged> {
    let number = usize::try_from(input.number()?).map_err(|_| Damaged)?;
    let known = words(all);
    if let Some(word) = known.get(number) {
        return Ok(word.clone());
    }
    if number != known.len() {
        return Err(Damaged);
    }
    // A stack's frames are numbered while it is read, but no stacks are.
    let new = read(all, input)?;
    words(all).push(new.clone());
    Ok(new)
}

impl Words {
    pub fn text(&mut self, input: &mut In<'_>) -> Result<Arc<str>, Damaged> {
        let text = word(
            |all| &mut all.texts,
            self,
            input,
            |_, input| match input.text()? {
                text if text.len() <= MOST_TEXT => Ok(Arc::from(text)),
                _ => Err(Damaged),
            },
        )?;
        self.hand_out(text.len())?;
        Ok(text)
    }

    /// Counts bytes before they are copied any further.
    fn hand_out(&mut self, bytes: usize) -> Result<(), Damaged> {
        self.handed_out += bytes;
        match self.handed_out {
            0..=MOST_HANDED_OUT => Ok(()),
            _ => Err(Damaged),
        }
    }

    pub fn maybe_text(&mut self, input: &mut In<'_>) -> Result<Option<Arc<str>>, Damaged> {
        input.maybe(|input| self.text(input))
    }

    pub fn key(&mut self, input: &mut In<'_>) -> Result<SessionKey, Damaged> {
        word(
            |all| &mut all.keys,
            self,
            input,
            |_, input| Ok(SessionKey(input.word()?)),
        )
    }

    pub fn place(&mut self, input: &mut In<'_>) -> Result<DumpFrame, Damaged> {
        let place = word(
            |all| &mut all.places,
            self,
            input,
            |all, input| {
                Ok(DumpFrame {
                    function: all.text(input)?.to_string(),
                    file: all.text(input)?.to_string(),
                    line: input.maybe(In::small)?,
                    own: input.flag()?,
                })
            },
        )?;
        self.hand_out(place.function.len() + place.file.len())?;
        Ok(place)
    }

    /// `shared` gives the same stack for equal ones of other parts.
    pub fn stack(&mut self, input: &mut In<'_>, shared: &mut Shared) -> Result<Arc<Stack>, Damaged> {
        word(
            |all| &mut all.stacks,
            self,
            input,
            |all, input| {
                let is_cut = input.flag()?;
                let count = input.count(MOST_FRAMES)?;
                let mut frames = Vec::with_capacity(count);
                for _ in 0..count {
                    frames.push(all.frame(input, shared)?);
                }
                let frames = frames.into_boxed_slice();
                Ok(shared.stack(Stack { frames, is_cut }))
            },
        )
    }

    fn frame(&mut self, input: &mut In<'_>, shared: &mut Shared) -> Result<Arc<Frame>, Damaged> {
        word(
            |all| &mut all.frames,
            self,
            input,
            |all, input| {
                let (function, file) = (all.text(input)?, all.text(input)?);
                let (line, first_line) = (input.small()?, input.small()?);
                Ok(shared.frame(Frame {
                    function,
                    file,
                    line,
                    first_line,
                }))
            },
        )
    }
}

/// Frames and stacks across the parts of a recording: equal ones are one, so that the analysis counts pointers.
#[derive(Debug, Default)]
pub(super) struct Shared {
    frames: HashMap<Frame, Arc<Frame>>,
    stacks: HashMap<Stack, Arc<Stack>>,
}

/// So many are remembered; then they are forgotten, and equal ones are two from there on.
const MOST_SHARED: usize = 1 << 18;

impl Shared {
    fn frame(&mut self, frame: Frame) -> Arc<Frame> {
        if self.frames.len() >= MOST_SHARED {
            self.frames.clear();
        }
        let shared = self.frames.entry(frame);
        let new = Arc::new(shared.key().clone());
        Arc::clone(shared.or_insert(new))
    }

    fn stack(&mut self, stack: Stack) -> Arc<Stack> {
        if self.stacks.len() >= MOST_SHARED {
            self.stacks.clear();
        }
        let shared = self.stacks.entry(stack);
        let new = Arc::new(shared.key().clone());
        Arc::clone(shared.or_insert(new))
    }
}
