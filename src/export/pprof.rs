//! pprof's format: a gzipped protocol buffer (`profile.proto` of github.com/google/pprof), written by hand: it is twenty
//! fields. Each sample carries its session, agent, tenant and thread as labels. Time of threads that are no event loop has a
//! value of its own, for pprof's percentages are of one value's sum. Knows nothing of files.

use super::about;
use crate::analysis::{Called, NodeId, Profile};
use crate::model::{Origin, SessionKey, ThreadIndex};
use flate2::Compression;
use flate2::write::GzEncoder;
use std::collections::{BTreeMap, HashMap};
use std::io::Write;

/// Numbers of fields in `profile.proto`.
mod field {
    pub const SAMPLE_TYPE: u64 = 1;
    pub const SAMPLE: u64 = 2;
    pub const LOCATION: u64 = 4;
    pub const FUNCTION: u64 = 5;
    pub const STRING_TABLE: u64 = 6;
    pub const TIME_NANOS: u64 = 9;
    pub const DURATION_NANOS: u64 = 10;
    pub const PERIOD_TYPE: u64 = 11;
    pub const PERIOD: u64 = 12;
    pub const COMMENT: u64 = 13;
    pub const DEFAULT_SAMPLE_TYPE: u64 = 14;
}

/// An error is the packer's.
pub fn render(profile: &Profile, origin: &Origin) -> std::io::Result<Vec<u8>> {
    let mut packer = GzEncoder::new(Vec::new(), Compression::default());
    packer.write_all(&message(profile, origin))?;
    packer.finish()
}

/// A message that is written.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn varint(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.0.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.0.push(number as u8);
    }

    fn number(&mut self, field: u64, number: u64) {
        self.varint(field << 3);
        self.varint(number);
    }

    fn bytes(&mut self, field: u64, bytes: &[u8]) {
        self.varint(field << 3 | 2);
        self.varint(bytes.len() as u64);
        self.0.extend(bytes);
    }

    fn packed(&mut self, field: u64, numbers: impl IntoIterator<Item = u64>) {
        let mut packed = Message::default();
        numbers.into_iter().for_each(|number| packed.varint(number));
        self.bytes(field, &packed.0);
    }
}

/// Texts by number; the first is empty.
struct Texts {
    all: Vec<String>,
    numbers: HashMap<String, u64>,
}

impl Texts {
    fn new() -> Texts {
        Texts {
            all: vec![String::new()],
            numbers: HashMap::from([(String::new(), 0)]),
        }
    }

    fn number(&mut self, text: &str) -> u64 {
        if let Some(number) = self.numbers.get(text) {
            return *number;
        }
        let number = self.all.len() as u64;
        self.all.push(text.to_owned());
        self.numbers.insert(text.to_owned(), number);
        number
    }
}

fn message(profile: &Profile, origin: &Origin) -> Vec<u8> {
    let (mut out, mut texts) = (Message::default(), Texts::new());
    let mode = profile.wanted.mode.name();
    let value_type = |texts: &mut Texts, kind: &str, unit: &str| {
        let mut message = Message::default();
        message.number(1, texts.number(kind));
        message.number(2, texts.number(unit));
        message.0
    };
    for (kind, unit) in [("samples", "count"), (mode, "nanoseconds"), ("threads", "nanoseconds")] {
        let message = value_type(&mut texts, kind, unit);
        out.bytes(field::SAMPLE_TYPE, &message);
    }
    let on_loops = profile.tree.on_loops();
    for ((node, thread, session), (count, nanos)) in sums(profile) {
        let mut sample = Message::default();
        let path = profile.tree.path(node);
        // A location has the number of its frame, and there is no number 0.
        sample.packed(1, path.iter().rev().map(|frame| u64::from(frame.0) + 1));
        let nanos = nanos.round() as u64;
        let values = match on_loops.get(node.0 as usize) {
            Some(false) => [count, 0, nanos],
            _ => [count, nanos, 0],
        };
        sample.packed(2, values);
        for (key, value) in labels(profile, thread, session) {
            let mut label = Message::default();
            label.number(1, texts.number(key));
            label.number(2, texts.number(&value));
            sample.bytes(3, &label.0);
        }
        out.bytes(field::SAMPLE, &sample.0);
    }
    frames(profile, &mut out, &mut texts);
    out.number(field::TIME_NANOS, (profile.began_unix * 1e9) as u64);
    out.number(field::DURATION_NANOS, (profile.seconds() * 1e9) as u64);
    let period_type = value_type(&mut texts, mode, "nanoseconds");
    out.bytes(field::PERIOD_TYPE, &period_type);
    let rate = profile.hello.stack_rate_hz.filter(|rate| *rate > 0.0);
    out.number(field::PERIOD, rate.map_or(0, |rate| (1e9 / rate) as u64));
    let facts = about::facts(profile, origin);
    let mut comments: Vec<String> = facts
        .into_iter()
        .map(|(name, value)| format!("{name}: {value}"))
        .collect();
    comments.extend(profile.nothing());
    for comment in comments {
        out.number(field::COMMENT, texts.number(&comment));
    }
    out.number(field::DEFAULT_SAMPLE_TYPE, texts.number(mode));
    for text in &texts.all {
        out.bytes(field::STRING_TABLE, text.as_bytes());
    }
    out.0
}

/// Stacks and nanoseconds of each place, thread and session.
type Sums = BTreeMap<(NodeId, Option<ThreadIndex>, Option<SessionKey>), (u64, f64)>;

fn sums(profile: &Profile) -> Sums {
    let mut sums = Sums::new();
    for taken in &profile.tree.samples {
        let (count, nanos) = sums.entry((taken.node, taken.thread, taken.session)).or_default();
        *count += u64::from(taken.at.is_some());
        *nanos += taken.nanos;
    }
    sums
}

fn labels(profile: &Profile, thread: Option<ThreadIndex>, session: Option<SessionKey>) -> Vec<(&'static str, String)> {
    let mut all = vec![("thread", about::thread(profile, thread))];
    if let Some(labels) = session.and_then(|key| profile.labels.get(&key)) {
        all.push(("session", crate::view::printable(&labels.session_id)));
        let more = [("agent", &labels.agent), ("tenant", &labels.tenant)];
        all.extend(
            more.into_iter()
                .filter_map(|(key, name)| Some((key, crate::view::printable(name.as_deref()?)))),
        );
    }
    all
}

/// A location for each frame, and a function for each function.
fn frames(profile: &Profile, out: &mut Message, texts: &mut Texts) {
    let mut functions: HashMap<(String, String, u32), u64> = HashMap::new();
    for (place, called) in profile.tree.frames.iter().enumerate() {
        let (file, line, first_line) = match called {
            Called::Python(frame) => (crate::view::printable(&frame.file), frame.line, frame.first_line),
            _ => (String::new(), 0, 0),
        };
        let name = about::short(called);
        let next = functions.len() as u64 + 1;
        let function = *functions
            .entry((name.clone(), file.clone(), first_line))
            .or_insert(next);
        if function == next {
            let mut message = Message::default();
            message.number(1, function);
            message.number(2, texts.number(&name));
            message.number(3, texts.number(&name));
            message.number(4, texts.number(&file));
            message.number(5, u64::from(first_line));
            out.bytes(field::FUNCTION, &message.0);
        }
        let mut at = Message::default();
        at.number(1, function);
        at.number(2, u64::from(line));
        let mut location = Message::default();
        location.number(1, place as u64 + 1);
        location.bytes(4, &at.0);
        out.bytes(field::LOCATION, &location.0);
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;
    use crate::analysis::Wanted;
    use std::io::Read;

    /// The fields of a message: number, and what they hold.
    enum Held {
        Number(u64),
        Bytes(Vec<u8>),
    }

    fn varint(bytes: &mut &[u8]) -> u64 {
        let (mut number, mut shift) = (0, 0);
        loop {
            let (byte, rest) = bytes.split_first().expect("a whole number");
            *bytes = rest;
            number |= u64::from(byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                return number;
            }
        }
    }

    fn fields(mut bytes: &[u8]) -> Vec<(u64, Held)> {
        let mut all = Vec::new();
        while !bytes.is_empty() {
            let tag = varint(&mut bytes);
            let held = match tag & 7 {
                0 => Held::Number(varint(&mut bytes)),
                2 => {
                    let length = varint(&mut bytes) as usize;
                    let (held, rest) = bytes.split_at(length);
                    bytes = rest;
                    Held::Bytes(held.to_vec())
                }
                other => panic!("wire type {other}"),
            };
            all.push((tag >> 3, held));
        }
        all
    }

    fn parts(fields: &[(u64, Held)], wanted: u64) -> Vec<&[u8]> {
        let of = |(field, held): &'_ (u64, Held)| *field == wanted && matches!(held, Held::Bytes(_));
        let parts = fields.iter().filter(|field| of(field));
        parts
            .map(|(_, held)| {
                if let Held::Bytes(bytes) = held {
                    bytes.as_slice()
                } else {
                    &[]
                }
            })
            .collect()
    }

    #[test]
    fn totals_by_label_are_the_trees() {
        let profile = sample::profile(&Wanted::default());
        let packed = render(&profile, &sample::origin()).expect("packed");
        let mut bytes = Vec::new();
        flate2::read::GzDecoder::new(packed.as_slice())
            .read_to_end(&mut bytes)
            .expect("gzip");
        let all = fields(&bytes);
        let texts: Vec<String> = parts(&all, field::STRING_TABLE)
            .into_iter()
            .map(|text| String::from_utf8(text.to_vec()).expect("UTF-8"))
            .collect();
        let mut by_session: BTreeMap<String, [u64; 2]> = BTreeMap::new();
        for sample in parts(&all, field::SAMPLE) {
            let sample = fields(sample);
            let mut values = parts(&sample, 2)[0];
            let [_, of_loop, of_threads] = [(); 3].map(|()| varint(&mut values));
            for label in parts(&sample, 3) {
                let numbers: Vec<u64> = fields(label)
                    .into_iter()
                    .map(|(_, held)| if let Held::Number(number) = held { number } else { 0 })
                    .collect();
                if texts[numbers[0] as usize] == "session" {
                    let of = by_session.entry(texts[numbers[1] as usize].clone()).or_default();
                    *of = [of[0] + of_loop, of[1] + of_threads];
                }
            }
        }
        let a = crate::view::printable(sample::A);
        let ms = |id: &str| by_session[id].map(|nanos| nanos / 1_000_000);
        assert_eq!((ms(&a), ms("job-b")), ([340, 0], [0, 200]), "{by_session:?}");
        for text in [
            "worker: worker-1, PID 1234",
            "lookup",
            "/srv/app/agents/booking.py",
            "MainThread (1234)",
        ] {
            assert!(texts.iter().any(|known| known == text), "{text}: {texts:?}");
        }
        assert_eq!(texts[0], "");
    }
}
