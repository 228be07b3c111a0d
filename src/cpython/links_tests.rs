//! Hops through made-up memory of 3.12 and 3.8, each proved by its links: whatever of them changes is noticed.

use super::*;
use crate::cpython::WIDER_INT;
use crate::cpython::{Offsets, Version};
use crate::memory::{Image, Memory};

const TYPES: u64 = 0x10_0000;
const INT: u64 = 1 << 24;
const LIST: u64 = 1 << 25;
const TUPLE: u64 = 1 << 26;
const STR: u64 = 1 << 28;
const DICT: u64 = 1 << 29;

/// Made-up memory, with the offsets of one minor version.
struct World {
    image: Image,
    offsets: Offsets,
    minor: u8,
    next: u64,
}

impl World {
    fn new(minor: u8) -> World {
        let mut world = World {
            image: Image::new(),
            offsets: Offsets::of_minor(minor).unwrap(),
            minor,
            next: 0x20_0000,
        };
        for (place, (name, flags)) in [
            ("int", INT),
            ("list", LIST),
            ("tuple", TUPLE),
            ("str", STR),
            ("dict", DICT),
        ]
        .into_iter()
        .enumerate()
        {
            world.put_type(Addr(TYPES + place as u64 * 0x1000), name, flags, 0);
        }
        world
    }

    fn put_type(&mut self, at: Addr, name: &str, flags: u64, dictoffset: u64) {
        self.image.put(at, &[0; 900]);
        let text = at.offset(0x800);
        self.image.put(text, &[0; 64]);
        self.image.put(text, name.as_bytes());
        self.word(at.offset(self.offsets.type_name), text.0);
        self.word(at.offset(self.offsets.type_flags), flags);
        self.word(at.offset(self.offsets.type_dictoffset), dictoffset);
    }

    fn word(&mut self, at: Addr, word: u64) {
        self.image.put(at, &word.to_le_bytes());
    }

    fn object(&mut self, flag: u64, length: usize) -> Addr {
        let at = Addr(self.next);
        self.next += (length as u64).next_multiple_of(64) + 64;
        self.image.put(at, &vec![0; length]);
        let place = [INT, LIST, TUPLE, STR, DICT].iter().position(|&f| f == flag).unwrap();
        self.word(at.offset(8), TYPES + place as u64 * 0x1000);
        at
    }

    fn str(&mut self, text: &str) -> Addr {
        let at = self.object(STR, 128 + 4 * text.len());
        self.word(at.offset(self.offsets.str_length), text.chars().count() as u64);
        // compact, and ASCII or UCS-4
        let (state, data, bytes) = match text.is_ascii() {
            true => (0x64, self.offsets.str_ascii_data, text.as_bytes().to_vec()),
            false => {
                let bytes = text.chars().flat_map(|c| (c as u32).to_le_bytes()).collect();
                (0x30, self.offsets.str_compact_data, bytes)
            }
        };
        self.image.put(at.offset(self.offsets.str_state), &[state]);
        self.image.put(at.offset(data), &bytes);
        at
    }

    fn int(&mut self, value: u32) -> Addr {
        let at = self.object(INT, 64);
        self.word(
            at.offset(self.offsets.int_tag),
            if self.minor >= 12 { 1 << 3 } else { 1 },
        );
        self.image.put(at.offset(self.offsets.int_digits), &value.to_le_bytes());
        at
    }

    fn tuple(&mut self, items: &[Addr]) -> Addr {
        let at = self.object(TUPLE, 64 + 8 * items.len());
        self.word(at.offset(self.offsets.tuple_size), items.len() as u64);
        for (i, item) in items.iter().enumerate() {
            self.word(at.offset(self.offsets.tuple_items + 8 * i as u64), item.0);
        }
        at
    }

    fn list(&mut self, items: &[Addr]) -> Addr {
        let table = self.object(LIST, 8 * items.len() + 8);
        for (i, item) in items.iter().enumerate() {
            self.word(table.offset(8 * i as u64), item.0);
        }
        let at = self.object(LIST, 64);
        self.word(at.offset(self.offsets.list_size), items.len() as u64);
        self.word(at.offset(self.offsets.list_items), table.0);
        at
    }

    /// A general table: hash, key, value.
    fn dict(&mut self, items: &[(Addr, Addr)]) -> Addr {
        let o = self.offsets.clone();
        let keys = self.object(DICT, 256 + 24 * items.len());
        self.image.put(keys, &[0; 64]);
        match self.minor >= 11 {
            true => self.image.put(keys.offset(o.dictkeys_size), &[5, 5, 0]),
            false => self.word(keys.offset(o.dictkeys_size), 32),
        }
        self.word(keys.offset(o.dictkeys_nentries), items.len() as u64);
        for (i, (key, value)) in items.iter().enumerate() {
            let entry = keys.offset(o.dictkeys_indices + 32 + 24 * i as u64);
            self.word(entry.offset(8), key.0);
            self.word(entry.offset(16), value.0);
        }
        let at = self.object(DICT, 64);
        self.word(at.offset(o.dict_used), items.len() as u64);
        self.word(at.offset(o.dict_keys), keys.0);
        at
    }

    fn heap(&self) -> Heap {
        let version = Version::parse(&format!("3.{}.1", self.minor)).unwrap();
        Heap::new(Box::new(self.image.clone()), self.offsets.clone(), version)
    }

    fn holds(&self, links: &Links) -> bool {
        links.iter().all(|(at, known)| {
            let mut bytes = vec![0; known.len()];
            self.image.read(*at, &mut bytes).is_ok() && bytes == *known
        })
    }
}

#[test]
fn items_of_tuples_and_lists_from_both_ends() {
    for minor in [8, 12, 15] {
        let mut world = World::new(minor);
        let items: Vec<Addr> = (0..3).map(|i| world.int(i)).collect();
        for sequence in [world.tuple(&items), world.list(&items)] {
            for (index, found) in [
                (0, Some(0)),
                (2, Some(2)),
                (3, None),
                (-1, Some(2)),
                (-3, Some(0)),
                (-4, None),
                (i64::MAX, None),
                (i64::MIN, None),
            ] {
                let mut links = Links::new();
                let item = world.heap().item_by(sequence, index, &mut links).unwrap();
                assert_eq!(item, found.map(|i: usize| items[i]), "3.{minor} {index}");
                assert!(world.holds(&links));
            }
        }
    }
}

#[test]
fn a_list_that_shrinks_or_moves_is_noticed() {
    let mut world = World::new(12);
    let (a, b) = (world.int(1), world.int(2));
    let list = world.list(&[a, b]);
    let mut links = Links::new();
    assert_eq!(world.heap().item_by(list, 1, &mut links), Ok(Some(b)));
    let before = world.image.clone();
    for (at, word) in [
        (list.offset(world.offsets.list_size), 1),
        (list.offset(world.offsets.list_items), a.0),
    ] {
        world.word(at, word);
        assert!(!world.holds(&links));
        world.image = before.clone();
    }
    assert!(world.holds(&links));
}

#[test]
fn keys_of_dictionaries() {
    for minor in [8, 12, 15] {
        let mut world = World::new(minor);
        let texts = ["trace", "current-span-7f", "schlüssel", ""];
        let mut items: Vec<(Addr, Addr)> = Vec::new();
        for text in texts {
            items.push((world.str(text), world.int(items.len() as u32)));
        }
        items.push((world.int(42), world.int(4)));
        let dict = world.dict(&items);
        let heap = world.heap();
        for (key, place) in [
            (Key::Text("trace"), Some(0)),
            (Key::Text("schlüssel"), Some(2)),
            (Key::Text(""), Some(3)),
            (Key::Text("trac"), None),
            (Key::Text("schluessel"), None),
            (Key::Prefix("current-span-"), Some(1)),
            (Key::Prefix("sch"), Some(2)),
            (Key::Prefix("x"), None),
            (Key::Int(42), Some(4)),
            (Key::Int(7), None),
        ] {
            let mut links = Links::new();
            let found = heap.dict_item_by(dict, key, &mut links);
            assert_eq!(found, Ok(place.map(|i: usize| items[i].1)), "3.{minor} {key:?}");
            assert!(world.holds(&links));
        }
    }
}

/// The value replaced, the key replaced, the table moved, an entry that comes: each is noticed.
#[test]
fn a_dictionary_that_changes_is_noticed() {
    let mut world = World::new(12);
    let (key, value, other) = (world.str("id"), world.str("a"), world.str("b"));
    let dict = world.dict(&[(key, value)]);
    let keys = world.heap().pointer(dict, world.offsets.dict_keys).unwrap();
    let entry = keys.offset(world.offsets.dictkeys_indices + 32);
    let (mut there, mut missing) = (Links::new(), Links::new());
    assert_eq!(
        world.heap().dict_item_by(dict, Key::Text("id"), &mut there),
        Ok(Some(value))
    );
    assert_eq!(world.heap().dict_item_by(dict, Key::Text("no"), &mut missing), Ok(None));
    let before = world.image.clone();
    for (at, of_what_is_there) in [
        (entry.offset(16), true),
        (entry.offset(8), true),
        (dict.offset(world.offsets.dict_keys), true),
        (dict.offset(world.offsets.dict_values), true),
        (keys.offset(world.offsets.dictkeys_nentries), false),
    ] {
        world.word(at, other.0);
        assert!(!world.holds(if of_what_is_there { &there } else { &missing }), "{at}");
        world.image = before.clone();
    }
    assert!(world.holds(&there) && world.holds(&missing));
}

#[test]
fn what_is_no_container_or_too_large_is_refused() {
    let mut world = World::new(12);
    let number = world.int(3);
    let dict = world.dict(&[]);
    world.word(dict.offset(world.offsets.dict_used), MOST_SEARCHED + 1);
    let heap = world.heap();
    let mut links = Links::new();
    assert!(heap.item_by(number, 0, &mut links).is_err());
    assert!(heap.dict_item_by(number, Key::Int(0), &mut links).is_err());
    assert!(heap.dict_item_by(dict, Key::Int(0), &mut links).is_err());
    assert!(heap.item_by(Addr(8), 0, &mut links).is_err());
}

#[test]
fn a_text_and_a_number_are_proved_by_their_bytes() {
    for minor in [8, 12] {
        let mut world = World::new(minor);
        for text in ["job-1", "", "通話-1"] {
            let object = world.str(text);
            let mut links = Links::new();
            assert_eq!(world.heap().str_by(object, &mut links).as_deref(), Ok(text));
            assert!(world.holds(&links));
            world.word(object.offset(world.offsets.str_length), 9);
            assert!(!world.holds(&links), "{text}");
        }
        let number = world.int(77);
        let mut links = Links::new();
        assert_eq!(world.heap().int_by(number, &mut links), Ok((false, 77)));
        world.image.put(number.offset(world.offsets.int_digits), &[78]);
        assert!(!world.holds(&links));
        let number = world.int(77);
        let six_digits = if minor >= 12 { 6 << 3 } else { 6 };
        world.word(number.offset(world.offsets.int_tag), six_digits);
        let mut links = Links::new();
        assert_eq!(world.heap().int_by(number, &mut links), Err(WIDER_INT));
        assert_eq!(world.heap().int_size_by(number, &mut links), Ok(()));
        assert!(world.holds(&links));
        world.word(number.offset(world.offsets.int_tag), six_digits / 6);
        assert!(!world.holds(&links));
    }
}

#[test]
fn the_dictionary_of_an_instance_of_3_8_is_found_by_its_type() {
    let mut world = World::new(8);
    let class = Addr(TYPES + 0x9000);
    world.put_type(class, "Thing", 0, 24);
    let (key, value) = (world.str("id"), world.str("a"));
    let dict = world.dict(&[(key, value)]);
    let thing = world.object(DICT, 64);
    world.word(thing.offset(8), class.0);
    world.word(thing.offset(24), dict.0);
    let mut links = Links::new();
    assert_eq!(world.heap().attribute_by(thing, "id", &mut links), Ok(Some(value)));
    assert_eq!(world.heap().attribute_by(thing, "no", &mut Links::new()), Ok(None));
    world.word(thing.offset(24), 0);
    assert!(!world.holds(&links));
}
