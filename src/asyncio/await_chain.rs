//! What idle coroutines wait in: from a task's coroutine down through what it awaits, to what is no coroutine any more.
//! Knows nothing of tasks and sessions, nor of names and lines: a link is a code object and an instruction.
//!
//! Many chains are read together, hop by hop: each hop is one scatter read over all of them. The worker goes on
//! meanwhile, so that a chain may be put together from different instants: `holding` reads all of it again, and only
//! chains that are still the same are to be believed.

use crate::cpython::{CoroutineFrame, CoroutineState, GeneratorLayout, HeadOf, Heap, RawFrame, unqualified, word_at};
use crate::memory::{AddrMap, Fault, Scatter};
use crate::model::Addr;

/// Deeper chains are cut here.
pub const MOST_LINKS: usize = 256;
/// Classes that are remembered; a program with more starts over.
const MOST_CLASSES: usize = 10_000;
/// How much is read behind a frame's own words: its values, if it has few, so that the next hop needs no read of its own.
const VALUES: usize = 128;
/// Objects that are read in one go; with the largest frames some ten megabytes.
const TOGETHER: usize = 16_384;
/// `ob_refcnt`, `ob_type`, and the first field.
const SHORT_HEAD: usize = 24;

/// One coroutine, generator or async generator of a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    pub object: Addr,
    pub state: CoroutineState,
    /// What it runs and where.
    pub raw: RawFrame,
    /// Where its first local stands.
    pub locals: Addr,
    /// What it awaits; NULL: nothing, or that cannot be said.
    pub awaits: Addr,
}

/// Where a chain ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// At this future or task (`_asyncio.FutureIter` names it).
    Future(Addr),
    /// At this object, which is no coroutine of Python and is not looked into: an iterator, a coroutine of Cython.
    Object(Addr),
    /// The innermost link runs, or something that it called does.
    Running,
    /// The innermost link has not begun.
    NotStarted,
    /// It stands at a `yield` of its own, as `asyncio.sleep(0)` does.
    Yields,
    /// It has returned, or was closed.
    Finished,
    /// It goes deeper than is followed, or in a ring.
    Cut,
    /// What comes next could not be read or made no sense.
    Unreadable,
}

/// What a coroutine waits in, outermost first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    pub links: Vec<Link>,
    pub end: End,
}

/// What a class of awaitables is to a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    Coroutine,
    /// A generator or async generator: it may stand at a `yield` of its own.
    Generator,
    /// Its first field is what to go on with: `async_generator_asend` and `_athrow` (the async generator),
    /// `coroutine_wrapper` (the coroutine), `anext_awaitable` (what it wraps); Objects/genobject.c, iterobject.c.
    Wrapper,
    /// Its first field is the future: `_asyncio.FutureIter`.
    FutureIter,
    Other,
}

/// One object on the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hop {
    Link(Link, Option<End>),
    Through(Addr),
    End(End),
}

/// Reads chains. Remembers classes by their address, so `forget` it now and then.
pub struct ChainReader {
    layout: GeneratorLayout,
    /// Bytes that are read of an object, and of a frame object (3.8–3.10).
    head: usize,
    frame_head: usize,
    locals: u64,
    classes: AddrMap<Class>,
    first: Scatter,
    second: Scatter,
}

impl ChainReader {
    pub fn new(heap: &Heap) -> ChainReader {
        let layout = GeneratorLayout::new(&heap.offsets, heap.version);
        ChainReader {
            layout,
            head: match layout.frame_head {
                0 => layout.head + VALUES,
                _ => layout.head.max(SHORT_HEAD),
            },
            frame_head: layout.frame_head,
            locals: layout.first_local(),
            classes: AddrMap::default(),
            first: Scatter::new(),
            second: Scatter::new(),
        }
    }

    /// Forgets classes, so that memory which was freed and used again is looked at anew.
    pub fn forget(&mut self) {
        self.classes.clear();
    }

    /// The chains that begin with these coroutines, in their order.
    pub fn read(&mut self, heap: &Heap, coroutines: &[Addr]) -> Result<Vec<Chain>, Fault> {
        let empty = Chain {
            links: Vec::new(),
            end: End::Cut,
        };
        let mut chains = vec![empty; coroutines.len()];
        let mut open: Vec<(usize, Addr)> = coroutines.iter().copied().enumerate().collect();
        // A wrapper is followed by a link, so twice as many hops are enough for the longest chain.
        for _ in 0..2 * MOST_LINKS {
            if open.is_empty() {
                break;
            }
            let objects: Vec<Addr> = open.iter().map(|&(_, object)| object).collect();
            let hops = self.hops(heap, &objects)?;
            let mut next = Vec::new();
            for ((index, object), hop) in open.into_iter().zip(hops) {
                let Some(chain) = chains.get_mut(index) else { continue };
                match hop {
                    Hop::Through(wrapped) => next.push((index, wrapped)),
                    Hop::End(end) => chain.end = end,
                    Hop::Link(..)
                        if chain.links.len() >= MOST_LINKS || chain.links.iter().any(|link| link.object == object) => {}
                    Hop::Link(link, end) => {
                        chain.links.push(link);
                        match end {
                            Some(end) => chain.end = end,
                            None => next.push((index, link.awaits)),
                        }
                    }
                }
            }
            open = next;
        }
        Ok(chains)
    }

    /// Which of the chains are still as they were read: all of their links, in one go.
    pub fn holding<'c>(
        &mut self,
        heap: &Heap,
        chains: impl Iterator<Item = &'c Chain> + Clone,
    ) -> Result<Vec<bool>, Fault> {
        let links: Vec<Link> = chains.clone().flat_map(|chain| chain.links.iter().copied()).collect();
        let still = self.still(heap, &links)?;
        let mut still = still.into_iter();
        let all = |chain: &Chain| {
            // Not `all`, which would stop at the first.
            let count = still.by_ref().take(chain.links.len()).filter(|still| *still).count();
            count == chain.links.len()
        };
        Ok(chains.map(all).collect())
    }

    /// Which of these links stand where they stood, and await what they awaited.
    pub fn still(&mut self, heap: &Heap, links: &[Link]) -> Result<Vec<bool>, Fault> {
        let objects: Vec<Addr> = links.iter().map(|link| link.object).collect();
        let hops = self.hops(heap, &objects)?;
        let same = |(hop, link): (Hop, &Link)| matches!(hop, Hop::Link(now, _) if now == *link);
        Ok(hops.into_iter().zip(links).map(same).collect())
    }

    /// Which of these links stand where they stood; what they await is not asked.
    pub fn still_at(&mut self, heap: &Heap, links: &[Link]) -> Result<Vec<bool>, Fault> {
        if self.frame_head > 0 {
            return self.still(heap, links);
        }
        let mut still = Vec::with_capacity(links.len());
        for together in links.chunks(TOGETHER) {
            self.first.clear();
            for link in together {
                self.first.push(link.object, self.layout.head);
            }
            heap.spend(together.len().saturating_mul(self.layout.head))?;
            self.first.read_near(heap.memory())?;
            for (slot, link) in together.iter().enumerate() {
                let head = self.first.bytes(slot);
                let now = head.and_then(|head| self.layout.of_head(link.object, head).ok());
                still.push(matches!(now, Some(HeadOf::Frame(now))
                    if now.state == link.state && now.raw == Some(link.raw)));
            }
        }
        Ok(still)
    }

    fn hops(&mut self, heap: &Heap, objects: &[Addr]) -> Result<Vec<Hop>, Fault> {
        let mut hops = Vec::with_capacity(objects.len());
        for together in objects.chunks(TOGETHER) {
            hops.append(&mut self.hops_together(heap, together)?);
        }
        Ok(hops)
    }

    fn hops_together(&mut self, heap: &Heap, objects: &[Addr]) -> Result<Vec<Hop>, Fault> {
        self.first.clear();
        for &object in objects {
            self.first.push(object, self.head);
        }
        heap.spend(objects.len().saturating_mul(self.head))?;
        self.first.read_near(heap.memory())?;
        let mut hops = Vec::with_capacity(objects.len());
        // Frames whose words are known, and what is to be read for each before it is a link.
        let mut frames: Vec<(usize, Class, Addr, CoroutineFrame)> = Vec::new();
        let mut frame_objects: Vec<(usize, Class, Addr)> = Vec::new();
        for (slot, &object) in objects.iter().enumerate() {
            let mut short = [0; SHORT_HEAD];
            let bytes = match self.first.bytes(slot) {
                Some(bytes) => bytes,
                // The object may be the last thing before an unmapped page, and shorter than a coroutine is.
                None if object.0 >= 4096 && heap.read(object, 0, &mut short).is_ok() => &short[..],
                None => {
                    hops.push(Hop::End(End::Unreadable));
                    continue;
                }
            };
            let class = class_of(heap, &mut self.classes, Addr(word_at(bytes, 8)));
            let field = Addr(word_at(bytes, 16));
            hops.push(match class {
                Class::Wrapper => Hop::Through(field),
                Class::FutureIter if field.is_null() => Hop::End(End::Unreadable),
                Class::FutureIter => Hop::End(End::Future(field)),
                Class::Other => Hop::End(End::Object(object)),
                Class::Coroutine | Class::Generator => {
                    match self.layout.of_head(object, bytes) {
                        Ok(HeadOf::Frame(frame)) => frames.push((slot, class, object, frame)),
                        Ok(HeadOf::FrameObject(frame)) => frame_objects.push((slot, class, frame)),
                        Err(_) => {}
                    }
                    // Until it is known better.
                    Hop::End(End::Unreadable)
                }
            });
        }
        if !frame_objects.is_empty() {
            self.second.clear();
            let length = self.locals as usize + VALUES;
            for &(_, _, frame) in &frame_objects {
                self.second.push(frame, length);
            }
            heap.spend(frame_objects.len().saturating_mul(length))?;
            self.second.read_near(heap.memory())?;
            for (asked, &(slot, class, at)) in frame_objects.iter().enumerate() {
                let mut short = Vec::new();
                let bytes = match self.second.bytes(asked) {
                    Some(bytes) => bytes,
                    None => {
                        short.resize(self.frame_head, 0);
                        match heap.read(at, 0, &mut short) {
                            Ok(()) => &short[..],
                            Err(_) => continue,
                        }
                    }
                };
                if let Ok(frame) = self.layout.of_frame_object(at, bytes) {
                    frames.push((slot, class, at, frame));
                }
            }
        }
        self.finish(heap, objects, &frames, &frame_objects, &mut hops);
        Ok(hops)
    }

    /// Makes links of frames: finds what each awaits, in what was read already or by a read of its own.
    fn finish(
        &self,
        heap: &Heap,
        objects: &[Addr],
        frames: &[(usize, Class, Addr, CoroutineFrame)],
        frame_objects: &[(usize, Class, Addr)],
        hops: &mut [Hop],
    ) {
        for &(slot, class, place, frame) in frames {
            let (Some(&object), Some(hop)) = (objects.get(slot), hops.get_mut(slot)) else {
                continue;
            };
            let Some(raw) = frame.raw else {
                *hop = Hop::End(End::Finished);
                continue;
            };
            let mut link = Link {
                object,
                state: frame.state,
                raw,
                locals: place.offset(self.locals),
                awaits: Addr::NULL,
            };
            let end = match (frame.state, frame.awaited_at) {
                (CoroutineState::Created, _) => Some(End::NotStarted),
                (CoroutineState::Executing, _) => Some(End::Running),
                (CoroutineState::Suspended, Some(at)) => {
                    let delegates = match (frame.delegates, class) {
                        (Some(known), _) => Ok(known),
                        (None, Class::Coroutine) => Ok(true),
                        (None, _) => heap.is_delegating(&raw),
                    };
                    let bytes = match frame_objects.binary_search_by_key(&slot, |&(slot, ..)| slot) {
                        Ok(asked) => self.second.bytes(asked),
                        Err(_) => self.first.bytes(slot),
                    };
                    let inside = at.0.wrapping_sub(place.0) as usize;
                    let word = match bytes.and_then(|bytes| bytes.get(inside..inside.checked_add(8)?)) {
                        Some(word) => Ok(word_at(word, 0)),
                        None => heap.word(at, 0),
                    };
                    match (delegates, word) {
                        (Ok(false), _) => Some(End::Yields),
                        (Ok(true), Ok(word)) => {
                            link.awaits = self.layout.awaited(word);
                            link.awaits.is_null().then_some(End::Unreadable)
                        }
                        _ => Some(End::Unreadable),
                    }
                }
                (CoroutineState::Suspended, None) => Some(End::Yields),
                (CoroutineState::Finished, _) => Some(End::Finished),
            };
            *hop = Hop::Link(link, end);
        }
    }
}

fn class_of(heap: &Heap, classes: &mut AddrMap<Class>, class: Addr) -> Class {
    if let Some(&known) = classes.get(&class) {
        return known;
    }
    let found = match heap.name_of_type(class).as_deref().map(unqualified) {
        Ok("coroutine") => Class::Coroutine,
        Ok("generator" | "async_generator") => Class::Generator,
        Ok("async_generator_asend" | "async_generator_athrow" | "coroutine_wrapper" | "anext_awaitable") => {
            Class::Wrapper
        }
        Ok("FutureIter") => Class::FutureIter,
        Ok(_) => Class::Other,
        // Not to be remembered: there may be a class here the next time.
        Err(_) => return Class::Other,
    };
    if classes.len() >= MOST_CLASSES {
        classes.clear();
    }
    classes.insert(class, found);
    found
}
