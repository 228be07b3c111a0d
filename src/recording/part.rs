//! A part of a recording: packed, with a head that says how long it is and whether it is whole. Knows nothing of what is
//! in it.

use super::bytes::{Damaged, In, Out};
use crate::model::Nanos;
use flate2::Compression;
use flate2::Crc;
use flate2::read::DeflateDecoder;
use flate2::write::DeflateEncoder;
use std::io::{Read, Write};

/// Length of a part's head.
pub(super) const HEAD: usize = 1 + 4 + 4 + 8 + 8 + 4;
/// No part is longer than this, packed or not: what says so is damaged.
pub(super) const MOST: usize = 64 << 20;
/// Of it, what the CRC covers.
const CHECKED: usize = HEAD - 4;

pub(super) mod kind {
    pub const ABOUT: u8 = 1;
    pub const OBSERVATIONS: u8 = 2;
    pub const END: u8 = 3;
}

/// The head of a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub kind: u8,
    pub length: u32,
    pub unpacked: u32,
    pub from: Nanos,
    pub until: Nanos,
    crc: u32,
}

/// A part of a file; None: it would be longer than a part can be.
pub(super) fn pack(kind: u8, (from, until): (Nanos, Nanos), bytes: &[u8]) -> Option<Vec<u8>> {
    // The fastest level: a second of a busy worker is packed in a millisecond, a third larger than at the best.
    let mut packer = DeflateEncoder::new(Vec::new(), Compression::fast());
    let packed = packer.write_all(bytes).and_then(|()| packer.finish()).ok()?;
    if packed.len() > MOST || bytes.len() > MOST {
        return None;
    }
    let mut out = Out::default();
    out.byte(kind);
    out.bytes.extend(u32::try_from(packed.len()).ok()?.to_le_bytes());
    out.bytes.extend(u32::try_from(bytes.len()).ok()?.to_le_bytes());
    out.word(from.0);
    out.word(until.0);
    let crc = crc(&out.bytes, &packed);
    out.bytes.extend(crc.to_le_bytes());
    out.bytes.extend(packed);
    Some(out.bytes)
}

/// The head, if it can be one.
pub(super) fn head(bytes: &[u8; HEAD]) -> Result<Head, Damaged> {
    let mut input = In::new(bytes);
    let short = |input: &mut In<'_>| -> Result<u32, Damaged> {
        Ok(u32::from_le_bytes(input.take(4)?.try_into().map_err(|_| Damaged)?))
    };
    let head = Head {
        kind: input.byte()?,
        length: short(&mut input)?,
        unpacked: short(&mut input)?,
        from: Nanos(input.word()?),
        until: Nanos(input.word()?),
        crc: short(&mut input)?,
    };
    if head.length as usize > MOST || head.unpacked as usize > MOST {
        return Err(Damaged);
    }
    Ok(head)
}

/// What was packed; `raw` is the head as it was read.
pub(super) fn unpack(head: &Head, raw: &[u8; HEAD], packed: &[u8]) -> Result<Vec<u8>, Damaged> {
    let checked = raw.get(..CHECKED).ok_or(Damaged)?;
    if crc(checked, packed) != head.crc {
        return Err(Damaged);
    }
    let mut bytes = Vec::new();
    // Whatever the head promises, no more than that is unpacked.
    let unpacked = DeflateDecoder::new(packed)
        .take(u64::from(head.unpacked) + 1)
        .read_to_end(&mut bytes);
    if unpacked.is_err() || bytes.len() != head.unpacked as usize {
        return Err(Damaged);
    }
    Ok(bytes)
}

fn crc(head: &[u8], packed: &[u8]) -> u32 {
    let mut crc = Crc::new();
    crc.update(head);
    crc.update(packed);
    crc.sum()
}
