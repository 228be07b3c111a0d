//! Line tables of every Python (`scripts/record-lines`): otop reads in them what CPython reads. And in any other bytes
//! nothing that hurts. Knows nothing of processes.

use otop::cpython::{LineFormat, MINORS, Version};
use proptest::prelude::*;
use std::path::Path;

const FORMATS: [LineFormat; 3] = [LineFormat::Lnotab, LineFormat::Ranges, LineFormat::Locations];

fn bytes_of(hex: &str) -> Vec<u8> {
    (0..hex.len() / 2)
        .map(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).expect("hex"))
        .collect()
}

#[test]
fn lines_are_those_that_cpython_says() {
    for minor in MINORS {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/lines/3.{minor}"));
        let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path:?}: {e}"));
        let format = LineFormat::of(Version::parse(&format!("3.{minor}.0")).expect("a version"));
        assert!(text.lines().count() >= 20, "3.{minor}");
        for code in text.lines() {
            let mut words = code.split(' ');
            let name = words.next().expect("a name");
            let first: u32 = words.next().and_then(|w| w.parse().ok()).expect("a first line");
            let table = bytes_of(words.next().expect("a table"));
            let mut offset = 0;
            for run in words {
                let (line, count) = run.split_once('*').unwrap_or((run, "1"));
                for _ in 0..count.parse().expect("a count") {
                    // 0 is what CPython calls the line before the first.
                    let line = line.parse().ok().filter(|line| *line > 0);
                    assert_eq!(
                        format.line_at(&table, first, offset),
                        line,
                        "3.{minor}: {name} from line {first}, byte {offset}"
                    );
                    offset += 2;
                }
            }
            assert!(offset > 2, "3.{minor}: {name}");
            for before in [-1, -2] {
                assert_eq!(format.line_at(&table, first, before), Some(first), "3.{minor}: {name}");
            }
            // Behind the last instruction there is nothing, which `co_lnotab` alone does not say.
            if format != LineFormat::Lnotab {
                assert_eq!(format.line_at(&table, first, offset), None, "3.{minor}: {name}");
                let ends = format.ranges(&table, first).map(|range| range.end).max();
                assert_eq!(ends, Some(offset as u64), "3.{minor}: {name}");
            }
        }
    }
}

proptest! {
    /// Any bytes are some table: it ends, goes on without gaps, and every offset has one answer.
    #[test]
    fn any_bytes_are_some_table(table in proptest::collection::vec(any::<u8>(), 0..400), first: u32, offset: i64) {
        for format in FORMATS {
            let ranges: Vec<_> = format.ranges(&table, first).collect();
            prop_assert!(ranges.len() <= table.len() + 1);
            let mut at = 0;
            for range in &ranges {
                prop_assert_eq!(range.start, at);
                prop_assert!(range.end >= range.start);
                at = range.end;
            }
            for offset in [offset, offset % 2000] {
                let line = format.line_at(&table, first, offset);
                if offset < 0 {
                    prop_assert_eq!(line, Some(first));
                } else {
                    let holds = ranges.iter().find(|r| (r.start..r.end).contains(&(offset as u64)));
                    prop_assert_eq!(line, holds.and_then(|range| range.line));
                }
            }
        }
    }
}
