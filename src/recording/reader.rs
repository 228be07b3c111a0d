//! Reads a recording, part by part. The file is anybody's: it may be another one's, a newer otop's, cut off in the middle,
//! or changed on purpose. What is whole is read; where it ends, and why, is said. Knows nothing of names of files.

use super::bytes::{Damaged, In};
use super::part::{self, HEAD, Head, kind};
use super::reading::{self, Reading};
use super::words::Shared;
use super::{MAGIC, VERSION};
use crate::model::{Hello, Nanos, Observation, Origin};
use std::io::{self, Read, Seek, SeekFrom};

/// Why a file cannot be replayed.
#[derive(Debug, thiserror::Error)]
pub enum RecordingError {
    #[error("it is no recording of otop's: it does not begin as one")]
    Foreign,
    #[error("a newer otop recorded it (format {version}; this one reads up to {VERSION})")]
    Newer { version: u16 },
    #[error("it is damaged at its begin, or was cut off before anything was recorded")]
    NoBegin,
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// An observation, and when it came (`CLOCK_MONOTONIC` of the machine that recorded).
#[derive(Clone, Debug)]
pub struct Arrived {
    pub at: Nanos,
    pub observation: Observation,
}

/// A recording that is read.
#[derive(Debug)]
pub struct Recording<F> {
    file: F,
    origin: Origin,
    hello: Hello,
    /// When the last observation of the last whole part came.
    until: Nanos,
    /// Where the observations begin, and where the last whole part ends.
    first: u64,
    whole: u64,
    is_finished: bool,
    place: u64,
    part: Option<OpenPart>,
    shared: Shared,
    is_damaged: bool,
}

/// The part that is being read.
#[derive(Debug)]
struct OpenPart {
    bytes: Vec<u8>,
    place: usize,
    at: Nanos,
    reading: Reading,
}

impl<F: Read + Seek> Recording<F> {
    /// Reads what the recording is about, and looks through the heads of its parts.
    pub fn open(mut file: F) -> Result<Recording<F>, RecordingError> {
        let size = file.seek(SeekFrom::End(0))?;
        file.rewind()?;
        let mut begin = [0; MAGIC.len() + 2];
        if !filled(&mut file, &mut begin)? || begin.get(..MAGIC.len()) != Some(&MAGIC[..]) {
            return Err(RecordingError::Foreign);
        }
        let [.., low, high] = begin;
        let version = u16::from_le_bytes([low, high]);
        if version == 0 || version > VERSION {
            return Err(RecordingError::Newer { version });
        }
        let mut place = begin.len() as u64;
        let about = part_at(&mut file, &mut place, size)?.filter(|(head, _)| head.kind == kind::ABOUT);
        let (_, about) = about.ok_or(RecordingError::NoBegin)?;
        let (origin, hello) = about_of(&about, version).map_err(|Damaged| RecordingError::NoBegin)?;
        let mut recording = Recording {
            file,
            until: hello.attached_at,
            origin,
            hello,
            first: place,
            whole: place,
            is_finished: false,
            place,
            part: None,
            shared: Shared::default(),
            is_damaged: false,
        };
        recording.look_through(size)?;
        Ok(recording)
    }

    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    pub fn hello(&self) -> &Hello {
        &self.hello
    }

    /// When its last observation came.
    pub fn until(&self) -> Nanos {
        self.until
    }

    /// What keeps it from being whole; None: it was finished, and nothing is damaged so far.
    pub fn defect(&self) -> Option<&'static str> {
        match (self.is_damaged, self.is_finished) {
            (true, _) => Some("the recording is damaged, and was read up to there"),
            (false, false) => Some("the recording was cut off, and was read up to its last whole part"),
            (false, true) => None,
        }
    }

    /// From the begin again.
    pub fn rewind(&mut self) {
        self.place = self.first;
        self.part = None;
    }

    /// The next observation; None: there is none, whatever the reason.
    pub fn next_arrived(&mut self) -> Result<Option<Arrived>, io::Error> {
        loop {
            if self.part.is_none() && !self.open_part()? {
                return Ok(None);
            }
            let Some(part) = &mut self.part else { continue };
            match part.next(&mut self.shared) {
                Ok(Some(arrived)) => return Ok(Some(arrived)),
                Ok(None) => self.part = None,
                Err(Damaged) => {
                    self.damaged();
                    return Ok(None);
                }
            }
        }
    }

    fn damaged(&mut self) {
        self.is_damaged = true;
        self.part = None;
        self.place = self.whole;
    }

    fn open_part(&mut self) -> io::Result<bool> {
        if self.place >= self.whole {
            return Ok(false);
        }
        self.file.seek(SeekFrom::Start(self.place))?;
        match part_at(&mut self.file, &mut self.place, self.whole)? {
            Some((head, bytes)) if head.kind == kind::OBSERVATIONS => {
                self.part = Some(OpenPart {
                    bytes,
                    place: 0,
                    at: head.from,
                    reading: Reading::default(),
                });
                Ok(true)
            }
            _ => {
                self.damaged();
                Ok(false)
            }
        }
    }

    /// Finds the last whole part by the heads alone.
    fn look_through(&mut self, size: u64) -> io::Result<()> {
        let mut place = self.first;
        while let Some(head) = head_at(&mut self.file, place)? {
            let next = place + HEAD as u64 + u64::from(head.1.length);
            if next > size {
                break;
            }
            match head.1.kind {
                kind::OBSERVATIONS => {
                    self.until = self.until.max(head.1.until);
                    self.whole = next;
                }
                kind::END => {
                    // It is short, and nothing else looks at it.
                    self.is_finished = part_at(&mut self.file, &mut place, size)?.is_some();
                    break;
                }
                _ => break,
            }
            place = next;
        }
        Ok(())
    }
}

impl OpenPart {
    fn next(&mut self, shared: &mut Shared) -> Result<Option<Arrived>, Damaged> {
        let mut input = In::new(self.bytes.get(self.place..).unwrap_or_default());
        if input.is_empty() {
            return Ok(None);
        }
        let before = input.left();
        self.at += Nanos(input.number()?);
        let observation = self.reading.observation(&mut input, shared)?;
        self.place += before - input.left();
        Ok(Some(Arrived {
            at: self.at,
            observation,
        }))
    }
}

/// The part at `place`, unpacked, which `place` then is behind; None: there is no whole one that ends before `end`.
fn part_at<F: Read + Seek>(file: &mut F, place: &mut u64, end: u64) -> io::Result<Option<(Head, Vec<u8>)>> {
    let Some((raw, head)) = head_at(file, *place)? else {
        return Ok(None);
    };
    let next = *place + HEAD as u64 + u64::from(head.length);
    if next > end {
        return Ok(None);
    }
    let mut packed = Vec::new();
    file.take(u64::from(head.length)).read_to_end(&mut packed)?;
    if packed.len() != head.length as usize {
        return Ok(None);
    }
    *place = next;
    Ok(part::unpack(&head, &raw, &packed).ok().map(|bytes| (head, bytes)))
}

fn head_at<F: Read + Seek>(file: &mut F, place: u64) -> io::Result<Option<([u8; HEAD], Head)>> {
    file.seek(SeekFrom::Start(place))?;
    let mut raw = [0; HEAD];
    if !filled(file, &mut raw)? {
        return Ok(None);
    }
    Ok(part::head(&raw).ok().map(|head| (raw, head)))
}

/// Fills the buffer; false: the file ends before.
fn filled(file: &mut impl Read, buffer: &mut [u8]) -> io::Result<bool> {
    match file.read_exact(buffer) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

fn about_of(bytes: &[u8], version: u16) -> Result<(Origin, Hello), Damaged> {
    let mut input = In::new(bytes);
    let mut origin = Origin {
        otop: input.text()?.to_owned(),
        command: input.maybe(|input| input.text().map(str::to_owned))?,
        judging: None,
    };
    let hello = reading::hello(&mut input)?;
    if version >= 3 {
        origin.judging = input.maybe(reading::judging)?;
    }
    Ok((origin, hello))
}
