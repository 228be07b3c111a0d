//! CPython's version number. Knows nothing of where it was found.

use std::fmt;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    pub major: u8,
    pub minor: u8,
    pub micro: u8,
    /// `PY_RELEASE_LEVEL`: 0xa alpha, 0xb beta, 0xc candidate, 0xf final.
    pub level: u8,
    pub serial: u8,
}

impl Version {
    /// From `PY_VERSION_HEX`, as `Py_Version` and `_Py_DebugOffsets.version` hold it. None where it is no version.
    pub fn from_hex(hex: u32) -> Option<Version> {
        let version = Version {
            major: (hex >> 24) as u8,
            minor: (hex >> 16) as u8,
            micro: (hex >> 8) as u8,
            level: (hex >> 4) as u8 & 0xf,
            serial: hex as u8 & 0xf,
        };
        let plausible = matches!(version.major, 2 | 3) && version.minor < 64 && (0xa..=0xf).contains(&version.level);
        plausible.then_some(version)
    }

    /// From text as `sys.version` begins, `3.10.13 (main, …`. None where it is none.
    pub fn parse(text: &str) -> Option<Version> {
        let end = text.find([' ', '(']).unwrap_or(text.len());
        let mut parts = text[..end].trim_end_matches('+').splitn(3, '.');
        let major = parts.next()?.parse().ok()?;
        let minor = parts.next()?.parse().ok()?;
        let rest = parts.next()?;
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let micro = rest[..digits].parse().ok()?;
        let (level, serial) = match &rest.as_bytes()[digits..] {
            [] => (0xf, 0),
            [b'a', ..] => (0xa, rest[digits + 1..].parse().ok()?),
            [b'b', ..] => (0xb, rest[digits + 1..].parse().ok()?),
            [b'r', b'c', ..] => (0xc, rest[digits + 2..].parse().ok()?),
            _ => return None,
        };
        Some(Version {
            major,
            minor,
            micro,
            level,
            serial,
        })
    }

    /// `(3, 11) <= version`
    pub fn at_least(self, major: u8, minor: u8) -> bool {
        (self.major, self.minor) >= (major, minor)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.micro)?;
        match self.level {
            0xa => write!(f, "a{}", self.serial),
            0xb => write!(f, "b{}", self.serial),
            0xc => write!(f, "rc{}", self.serial),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_spellings_agree() {
        for (hex, text) in [
            (0x030a_0df0, "3.10.13"),
            (0x030f_02f0, "3.15.2"),
            (0x030e_00c2, "3.14.0rc2"),
            (0x0308_12f0, "3.8.18"),
        ] {
            let version = Version::from_hex(hex).unwrap();
            assert_eq!(version.to_string(), text);
            assert_eq!(Version::parse(text), Some(version));
            assert_eq!(Version::parse(&format!("{text} (main, Jan  1 2026)")), Some(version));
        }
        assert_eq!(Version::parse("3.9.2+ (x)").map(|v| v.micro), Some(2));
        assert_eq!(Version::from_hex(0), None);
        assert_eq!(Version::parse("3.x"), None);
    }
}
