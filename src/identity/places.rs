//! Where texts were found: a variable, or a place one step behind it; in how many tasks, with how many different values, and
//! how well it would name sessions. Knows nothing of how they are read.

use super::credentials::{Likeness, is_name_of_a_text_that_is_one, is_name_of_one, likeness, words};
use super::inventory::Held;
use super::spec::{Spec, Step};
use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{Hash, Hasher};

/// Variables that are kept.
const MOST_VARIABLES: usize = 5_000;
/// Places behind them that are kept, of all and of one: a dictionary with keys of its own in every task pushes nobody out.
const MOST_INSIDE: usize = 5_000;
const MOST_INSIDE_OF_ONE: usize = 500;
/// Different values that are told apart; beyond this it is a lower bound.
const MOST_DISTINCT: usize = 10_000;
/// Examples of a value, and how many characters of each.
const MOST_EXAMPLES: usize = 3;
const LONGEST_EXAMPLE: usize = 60;
/// Longer texts are not read to their end (`cpython`, str).
const LONGEST_READ: usize = 4096;
/// From which share of its different values on, one in so many, a place is one for credentials: a client's token among
/// forty ids makes no secret of them.
const SHARE_OF_CREDENTIALS: usize = 4;

/// All that were met. One that is known goes on to be counted when there is no room for more.
#[derive(Default)]
pub(super) struct Places {
    variables: HashMap<String, Place>,
    inside: HashMap<String, HashMap<Step, Place>>,
    count_inside: usize,
    /// There were more.
    pub is_full: bool,
}

/// A place that leads to a text.
#[derive(Default)]
pub(super) struct Place {
    types: BTreeMap<String, usize>,
    holders: usize,
    distinct: HashSet<u64>,
    is_lower_bound: bool,
    has_name_of_a_credential: bool,
    examples: Vec<String>,
    /// Holders in which it is a text or a number.
    texts: usize,
    /// Different texts, and those of them that are credentials, or look like some.
    distinct_texts: usize,
    credentials: usize,
    look_alikes: usize,
}

impl Places {
    /// Another task has the variable.
    pub fn add(&mut self, name: &str, class: &str, hash: u64, text: Option<&str>) {
        if !self.variables.contains_key(name) && self.variables.len() >= MOST_VARIABLES {
            self.is_full = true;
            return;
        }
        let place = self.variables.entry(name.to_owned()).or_default();
        place.add(name, class, hash, text);
    }

    /// And one step behind it stands a text.
    pub fn add_inside(&mut self, name: &str, step: &Step, text: &str) {
        let inside = self.inside.entry(name.to_owned()).or_default();
        if !inside.contains_key(step) {
            if inside.len() >= MOST_INSIDE_OF_ONE || self.count_inside >= MOST_INSIDE {
                self.is_full = true;
                return;
            }
            self.count_inside += 1;
        }
        let place = inside.entry(step.clone()).or_default();
        if place.holders == 0 {
            place.has_name_of_a_credential = is_name_of_one(name);
        }
        let inner = match step {
            Step::Attribute(name) | Step::Key(name) | Step::KeyPrefix(name) => name.as_str(),
            Step::Index(_) | Step::With(_) => "",
        };
        place.add(inner, "", hash_of(text), Some(text));
    }

    /// There are more objects under this name than were looked into: what was counted behind it is a lower bound.
    pub fn note_more_inside(&mut self, name: &str) {
        for place in self.inside.get_mut(name).into_iter().flat_map(HashMap::values_mut) {
            place.note_more();
        }
    }

    pub fn all(self) -> impl Iterator<Item = (String, Option<Step>, Place)> {
        let variables = self.variables.into_iter().map(|(name, place)| (name, None, place));
        let inside = self.inside.into_iter().flat_map(|(name, inside)| {
            let each = inside.into_iter();
            each.map(move |(step, place)| (name.clone(), Some(step), place))
        });
        variables.chain(inside)
    }
}

/// Last words of names of ids.
const IDS: [&str; 7] = ["id", "rid", "sid", "uid", "cid", "uuid", "guid"];

impl Place {
    /// Another holder.
    pub fn add(&mut self, name: &str, class: &str, hash: u64, text: Option<&str>) {
        if self.holders == 0 {
            self.has_name_of_a_credential |= is_name_of_one(name);
        }
        if self.texts == 0 && text.is_some() {
            self.has_name_of_a_credential |= is_name_of_a_text_that_is_one(name);
        }
        self.holders += 1;
        if !class.is_empty() {
            *self.types.entry(class.to_owned()).or_default() += 1;
        }
        self.texts += usize::from(text.is_some());
        // Only the beginning of a very long text is read.
        self.is_lower_bound |= text.is_some_and(|text| text.chars().count() > LONGEST_READ);
        if self.distinct.len() >= MOST_DISTINCT {
            self.is_lower_bound |= !self.distinct.contains(&hash);
            return;
        }
        if !self.distinct.insert(hash) {
            return;
        }
        let Some(text) = text else { return };
        self.distinct_texts += 1;
        match likeness(text) {
            Likeness::Sure => self.credentials += 1,
            Likeness::Random => self.look_alikes += 1,
            Likeness::None if self.examples.len() < MOST_EXAMPLES => self.examples.push(example(text)),
            Likeness::None => {}
        }
    }

    pub fn distinct(&self) -> usize {
        self.distinct.len()
    }

    /// Holders in which it is a text or a number.
    pub fn texts(&self) -> usize {
        self.texts
    }

    fn is_credential(&self) -> bool {
        let many = self.credentials > 0 && self.credentials * SHARE_OF_CREDENTIALS >= self.distinct_texts;
        self.has_name_of_a_credential || many
    }

    /// Not all are looked at.
    pub fn note_more(&mut self) {
        self.is_lower_bound = true;
    }

    /// There are more than were told apart.
    pub fn is_lower_bound(&self) -> bool {
        self.is_lower_bound
    }

    /// Some of its texts look as random as a credential: a table whose sessions it names would show them.
    pub fn looks_like_credentials(&self) -> bool {
        self.look_alikes > 0
    }

    /// How well it would name sessions, 0 best; None: not at all.
    pub fn rank(&self, spec: &Spec) -> Option<u8> {
        if self.is_credential() || self.texts == 0 {
            return None;
        }
        let last = spec.last_name();
        let sounds_like_an_id = words(last).last().is_some_and(|word| IDS.contains(&word.as_str()));
        let last = last.to_lowercase();
        let several = self.distinct.len() > 1;
        let words = ["session", "call_", "call-", "conversation", "thread_id", "job"];
        let sounds_like_a_session = words.iter().any(|word| last.contains(word));
        Some(match (several, sounds_like_a_session, sounds_like_an_id) {
            (true, true, true) => 0,
            (true, true, false) => 1,
            (true, false, true) => 2,
            // Nothing says that these are ids.
            (true, false, false) if self.looks_like_credentials() => 6,
            (true, false, false) => 3,
            // One value: one session, perhaps.
            (false, true, _) => 4,
            (false, false, true) => 5,
            (false, false, false) => return None,
        })
    }

    pub fn held(self, name: String) -> Held {
        let is_credential = self.is_credential();
        Held {
            name,
            types: self.types,
            holders: self.holders,
            distinct: self.distinct.len(),
            distinct_is_lower_bound: self.is_lower_bound,
            is_credential,
            hides_values: self.credentials + self.look_alikes > 0,
            examples: if is_credential { Vec::new() } else { self.examples },
        }
    }
}

/// The beginning of a text.
fn example(text: &str) -> String {
    let mut example: String = text.chars().take(LONGEST_EXAMPLE).collect();
    if example.len() < text.len() {
        example.push('…');
    }
    example
}

pub(super) fn hash_of(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Source;

    fn place(values: &[&str]) -> Place {
        let mut place = Place::default();
        for value in values {
            place.add("x", "str", hash_of(value), Some(value));
        }
        place
    }

    #[test]
    fn what_sounds_like_a_session_goes_before_what_has_more_values() {
        let two = place(&["a", "a", "b"]);
        let rank = |spec: &str| two.rank(&Spec::parse(spec).map(quoted).expect("a spec"));
        assert!(rank("session_id") < rank("request_id") && rank("request_id") < rank("path"));
        assert!(rank("'log'[\"call_id\"]") == rank("session_id"));
        let one = place(&["a", "a"]);
        assert_eq!(one.rank(&Spec::variable("path")), None);
        assert!(one.rank(&Spec::variable("session_id")).is_some());
    }

    fn quoted(spec: Spec) -> Spec {
        let readings = spec.readings();
        Spec {
            source: Source::Quoted(readings[0].variable.clone()),
            ..spec
        }
    }

    #[test]
    fn a_credential_is_never_kept_and_never_suggested() {
        let jwt = "eyJhbGciOiJIUzI1NiJ9.eyJ2aWRlbyI6eyJyb29tIjoieCJ9fQ.c2lnbmF0dXJl";
        let mut by_value = place(&["a", jwt]);
        assert_eq!(by_value.rank(&Spec::variable("session_id")), None);
        assert!(by_value.is_credential());
        by_value.add("x", "str", 7, Some("b"));
        assert_eq!(by_value.held("session_id".to_owned()).examples, Vec::<String>::new());
        let mut by_name = Place::default();
        by_name.add("api_key", "str", 1, Some("a"));
        assert!(by_name.is_credential());
        let mut auth = Place::default();
        auth.add("auth", "User", 1, None);
        assert!(!auth.is_credential(), "an object has more than its name says");
        auth.add("auth", "str", 2, Some("joe:swordfish"));
        assert!(auth.is_credential());
    }

    #[test]
    fn ten_thousand_values_are_counted_and_more_are_a_lower_bound() {
        let mut many = Place::default();
        for i in 0..MOST_DISTINCT + 5 {
            let text = format!("session-{i}");
            many.add("x", "str", hash_of(&text), Some(&text));
        }
        let held = many.held("x".to_owned());
        assert_eq!((held.distinct, held.distinct_is_lower_bound), (MOST_DISTINCT, true));
        assert_eq!((held.holders, held.examples.len()), (MOST_DISTINCT + 5, MOST_EXAMPLES));
        let long = "x".repeat(10_000);
        assert_eq!(place(&[&long]).examples[0].chars().count(), LONGEST_EXAMPLE + 1);
    }

    fn ranked(name: &str, values: &[&str]) -> Option<u8> {
        let mut place = Place::default();
        for value in values {
            place.add(name, "str", hash_of(value), Some(value));
        }
        place.rank(&quoted(Spec::variable(name)))
    }

    #[test]
    fn ids_that_look_random_are_suggested_and_not_shown() {
        let ids = [
            "CA0af7651916cd43dd8448eb211c80319c",
            "thread_aB3dE6gH9jK2mN5pQ8sT1vW4",
            "2MiCzL0oTFLGkvVoHaZVcVGpWqT",
        ];
        for name in ["call_sid", "thread_id", "trace"] {
            assert!(ranked(name, &ids).is_some(), "{name}");
        }
        let held = place(&ids).held("call_sid".to_owned());
        assert_eq!(
            (held.examples.len(), held.hides_values, held.is_credential),
            (0, true, false)
        );
        assert!(ranked("call_sid", &ids) < ranked("color", &["red", "blue"]));
        assert!(ranked("rid", &ids) < ranked("color", &["red", "blue"]));
        assert!(ranked("trace", &ids) > ranked("color", &["red", "blue"]));
        assert!(place(&ids).looks_like_credentials() && !place(&["a", "b"]).looks_like_credentials());
        assert!(ranked("footprint_id", &["a", "b"]).is_some());
    }

    #[test]
    fn one_token_among_forty_ids_makes_no_secret_of_them() {
        let jwt = "eyJhbGciOiJIUzI1NiJ9.eyJ2aWRlbyI6eyJyb29tIjoieCJ9fQ.c2lnbmF0dXJl";
        let mut ids: Vec<String> = (0..40).map(|i| format!("session-{i}")).collect();
        ids.insert(0, jwt.to_owned());
        let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
        assert_eq!(ranked("session_id", &ids), Some(0));
        let held = place(&ids).held("session_id".to_owned());
        assert_eq!(held.examples, ["session-0", "session-1", "session-2"]);
        assert!(held.hides_values && !held.is_credential);
    }

    #[test]
    fn what_is_known_is_counted_on_when_there_is_no_room_for_more() {
        let mut places = Places::default();
        for task in 0..200 {
            for key in 0..40 {
                places.add_inside("data", &Step::Key(format!("key-{task}-{key}")), "text");
            }
            places.add("session_id", "str", task, Some("a"));
            places.add_inside("log", &Step::Key("id".to_owned()), "text");
        }
        for _ in 0..5 {
            for name in 0..6_000 {
                places.add(&format!("variable-{name}"), "str", 7, Some("a"));
            }
        }
        assert!(places.is_full);
        let all: Vec<_> = places.all().collect();
        let holders = |name: &str, is_inside: bool| -> Vec<usize> {
            let them = all
                .iter()
                .filter(|(one, step, _)| one == name && step.is_some() == is_inside);
            them.map(|(_, _, place)| place.holders).collect()
        };
        assert_eq!(holders("session_id", false), [200]);
        assert_eq!(holders("variable-17", false), [5]);
        assert_eq!(holders("log", true), [200]);
        assert_eq!(holders("data", true).len(), MOST_INSIDE_OF_ONE);
        assert_eq!(all.iter().filter(|(_, step, _)| step.is_none()).count(), MOST_VARIABLES);
    }
}
