//! Numbers and texts as bytes, and back: small numbers take few bytes (LEB128), and what is read is bounded by what is
//! there. Knows nothing of what the numbers mean.

/// What was read makes no sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Damaged;

/// Bytes that grow.
#[derive(Debug, Default)]
pub(super) struct Out {
    pub bytes: Vec<u8>,
}

impl Out {
    pub fn byte(&mut self, byte: u8) {
        self.bytes.push(byte);
    }

    pub fn flag(&mut self, flag: bool) {
        self.byte(u8::from(flag));
    }

    /// Seven bits a byte, the lowest first.
    pub fn number(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.byte(number as u8 | 0x80);
            number >>= 7;
        }
        self.byte(number as u8);
    }

    /// `now` as its distance from `before`, whichever is larger.
    pub fn step(&mut self, before: u64, now: u64) {
        self.signed(now.wrapping_sub(before) as i64);
    }

    pub fn signed(&mut self, number: i64) {
        self.number(((number << 1) ^ (number >> 63)) as u64);
    }

    /// Bit for bit, so that a replay computes what was computed live.
    pub fn float(&mut self, number: f64) {
        self.bytes.extend(number.to_bits().to_le_bytes());
    }

    pub fn word(&mut self, number: u64) {
        self.bytes.extend(number.to_le_bytes());
    }

    pub fn text(&mut self, text: &str) {
        self.number(text.len() as u64);
        self.bytes.extend(text.as_bytes());
    }

    /// Whether there is one, and if so what.
    pub fn maybe<T>(&mut self, value: Option<T>, write: impl FnOnce(&mut Out, T)) {
        self.flag(value.is_some());
        if let Some(value) = value {
            write(self, value);
        }
    }
}

/// Bytes that are taken from the front.
#[derive(Clone, Copy, Debug)]
pub(super) struct In<'a> {
    bytes: &'a [u8],
}

impl<'a> In<'a> {
    pub fn new(bytes: &'a [u8]) -> In<'a> {
        In { bytes }
    }

    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Bytes that are left.
    pub fn left(&self) -> usize {
        self.bytes.len()
    }

    pub fn take(&mut self, count: usize) -> Result<&'a [u8], Damaged> {
        let (taken, rest) = self.bytes.split_at_checked(count).ok_or(Damaged)?;
        self.bytes = rest;
        Ok(taken)
    }

    pub fn byte(&mut self) -> Result<u8, Damaged> {
        let (byte, rest) = self.bytes.split_first().ok_or(Damaged)?;
        self.bytes = rest;
        Ok(*byte)
    }

    pub fn flag(&mut self) -> Result<bool, Damaged> {
        match self.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Damaged),
        }
    }

    pub fn number(&mut self) -> Result<u64, Damaged> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            // The tenth byte has room for one bit only.
            if shift == 63 && bits > 1 {
                return Err(Damaged);
            }
            number |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(Damaged)
    }

    pub fn small(&mut self) -> Result<u32, Damaged> {
        u32::try_from(self.number()?).map_err(|_| Damaged)
    }

    pub fn step(&mut self, before: u64) -> Result<u64, Damaged> {
        Ok(before.wrapping_add(self.signed()? as u64))
    }

    pub fn signed(&mut self) -> Result<i64, Damaged> {
        let number = self.number()?;
        Ok((number >> 1) as i64 ^ -((number & 1) as i64))
    }

    pub fn float(&mut self) -> Result<f64, Damaged> {
        Ok(f64::from_bits(self.word()?))
    }

    pub fn word(&mut self) -> Result<u64, Damaged> {
        let bytes = self.take(8)?;
        Ok(u64::from_le_bytes(bytes.try_into().map_err(|_| Damaged)?))
    }

    pub fn text(&mut self) -> Result<&'a str, Damaged> {
        let length = self.count(usize::MAX)?;
        std::str::from_utf8(self.take(length)?).map_err(|_| Damaged)
    }

    pub fn maybe<T>(&mut self, read: impl FnOnce(&mut In<'a>) -> Result<T, Damaged>) -> Result<Option<T>, Damaged> {
        match self.flag()? {
            true => read(self).map(Some),
            false => Ok(None),
        }
    }

    /// How many follow. Each takes a byte at least, so more than there are bytes is damage, and so is more than `most`.
    pub fn count(&mut self, most: usize) -> Result<usize, Damaged> {
        let count = usize::try_from(self.number()?).map_err(|_| Damaged)?;
        if count > self.bytes.len() || count > most {
            return Err(Damaged);
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_written_is_read(number: u64, before: u64, signed: i64, float in any::<u64>(), text in ".{0,40}") {
            let mut out = Out::default();
            out.number(number);
            out.step(before, number);
            out.signed(signed);
            out.float(f64::from_bits(float));
            out.text(&text);
            out.maybe(Some(7), Out::number);
            out.maybe(None, Out::number);
            let mut input = In::new(&out.bytes);
            prop_assert_eq!(input.number(), Ok(number));
            prop_assert_eq!(input.step(before), Ok(number));
            prop_assert_eq!(input.signed(), Ok(signed));
            prop_assert_eq!(input.float().map(f64::to_bits), Ok(float));
            prop_assert_eq!(input.text(), Ok(text.as_str()));
            prop_assert_eq!(input.maybe(|input| input.number()), Ok(Some(7)));
            prop_assert_eq!(input.maybe(|input| input.number()), Ok(None));
            prop_assert!(input.is_empty());
        }
    }

    #[test]
    fn numbers_that_are_too_long_are_damage() {
        assert_eq!(In::new(&[0xff; 9]).number(), Err(Damaged), "no end");
        assert_eq!(In::new(&[0xff; 12]).number(), Err(Damaged), "more than 64 bits");
        assert_eq!(
            In::new(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]).number(),
            Ok(u64::MAX)
        );
        assert_eq!(In::new(&[2]).flag(), Err(Damaged));
        assert_eq!(In::new(&[5, 1, 2]).count(9), Err(Damaged), "five in two bytes");
        assert_eq!(In::new(&[2, 1, 2]).count(1), Err(Damaged), "more than may be");
    }
}
