//! The formats that a profile is written in, and how a file's ending tells which one is meant. Knows nothing of how a
//! format is made.

use clap::ValueEnum;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Interactive flame graph, an SVG for any browser
    Flamegraph,
    /// Folded stacks, a line each
    Folded,
    /// For <https://www.speedscope.app>
    Speedscope,
    /// For <https://profiler.firefox.com>
    Firefox,
    /// For pprof: gzipped protobuf
    Pprof,
    /// otop's own recording, which holds everything
    Otop,
}

/// Endings, the longer before the shorter.
const ENDINGS: [(&str, Format); 11] = [
    (".svg", Format::Flamegraph),
    (".folded", Format::Folded),
    (".collapsed", Format::Folded),
    (".txt", Format::Folded),
    (".speedscope.json", Format::Speedscope),
    (".speedscope", Format::Speedscope),
    (".firefox.json", Format::Firefox),
    (".pb.gz", Format::Pprof),
    (".pprof", Format::Pprof),
    (".pb", Format::Pprof),
    (".otop", Format::Otop),
];

impl Format {
    /// What the ending of the name asks for.
    pub fn of(path: &Path) -> Option<Format> {
        // It need not be UTF-8, and its ending may be known all the same.
        let name = path.file_name()?.as_bytes().to_ascii_lowercase();
        ENDINGS
            .iter()
            .find(|(ending, _)| name.ends_with(ending.as_bytes()))
            .map(|(_, format)| *format)
    }

    /// What is said where the name asks for none.
    pub fn unknown(path: &Path) -> String {
        let endings: Vec<&str> = ENDINGS.iter().map(|(ending, _)| *ending).collect();
        format!(
            "the ending of {} does not tell the format: end it in one of {}, or add --format",
            path.display(),
            endings.join(" ")
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ending_tells_the_format() {
        let of = |name: &str| Format::of(Path::new(name));
        assert_eq!(of("/tmp/A.SVG"), Some(Format::Flamegraph));
        assert_eq!(of("x.speedscope.json"), Some(Format::Speedscope));
        assert_eq!(of("x.firefox.json"), Some(Format::Firefox));
        assert_eq!(of("x.pb.gz"), Some(Format::Pprof));
        assert_eq!(of("x.otop"), Some(Format::Otop));
        assert_eq!(of("x.json"), None, "two formats end so");
        assert_eq!(of("-"), None);
        let name = std::ffi::OsStr::from_bytes(b"bad\xff.folded");
        assert_eq!(Format::of(Path::new(name)), Some(Format::Folded), "not UTF-8");
    }
}
