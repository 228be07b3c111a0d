//! Two profiles beside each other: which functions have more of the time in the one than in the other, and whether the two
//! can be compared at all. Knows nothing of how that is shown.

use super::call_tree::Called;
use super::profile::{Mode, Profile};
use crate::model::{Nanos, StackMode};
use std::collections::{BTreeMap, BTreeSet};

/// Two rates are unlike if they are further apart than this.
const LIKE: f64 = 1.01;

/// What a share is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Of {
    /// The recorded time.
    Time,
    /// All the time in the profile itself: what a session does, however much it does.
    Itself,
}

/// A function in two profiles; shares are percent.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// On an event loop; else in other threads, whose time lies beside the loop's.
    pub is_loop: bool,
    pub function: String,
    /// Empty: it is none of Python's.
    pub file: String,
    /// In itself, before and after.
    pub own: [f64; 2],
    /// With what it calls.
    pub all: [f64; 2],
}

impl Change {
    /// By how many points the time in itself has grown.
    pub fn own_growth(&self) -> f64 {
        self.own[1] - self.own[0]
    }

    /// By how many points the time with what it calls has grown.
    pub fn growth(&self) -> f64 {
        self.all[1] - self.all[0]
    }
}

/// Why these two cannot be compared; None: they can.
pub fn unlike(one: &Profile, other: &Profile) -> Option<String> {
    if one.wanted.mode != other.wanted.mode {
        let modes = [one, other].map(|profile| profile.wanted.mode.name());
        return Some(format!("one is of {} time and the other of {}", modes[0], modes[1]));
    }
    let thresholds = [one, other].map(|profile| profile.slow_threshold);
    if one.wanted.mode == Mode::Blocked && thresholds[0] != thresholds[1] {
        let [one, other] = thresholds.map(Nanos::as_millis_f64);
        return Some(format!(
            "blocks are those of {one} ms and longer in one and of {other} ms in the other; add --slow-threshold"
        ));
    }
    let rates = |what: &str, rates: [f64; 2]| {
        let [one, other] = rates;
        let is_like = one.max(other) <= one.min(other) * LIKE;
        (!is_like).then(|| format!("{what} were taken {one:.0} times a second in one and {other:.0} in the other"))
    };
    let samples = rates("samples", [one, other].map(|profile| profile.hello.rate_hz));
    let stacks = [one, other].map(|profile| profile.hello.stack_rate_hz.unwrap_or(0.0));
    let stack_modes = [one, other].map(|profile| profile.quality.stack_mode.as_deref());
    samples
        .or_else(|| rates("stacks", stacks))
        .or_else(|| match stack_modes {
            // By interrupts and from the worker's CPU every stack is of one instant, and they come to the same.
            [Some(one), Some(other)] if one != other && [one, other].contains(&StackMode::OtherCpu.name()) => Some(
                format!("stacks were read in the mode {one} in one and {other} in the other"),
            ),
            _ => None,
        })
}

/// All functions, those whose own time has changed most first; what runs on a loop and in other threads too, twice.
pub fn changes(before: &Profile, after: &Profile, of: Of) -> Vec<Change> {
    let (before, after) = (shares(before, of), shares(after, of));
    let functions: BTreeSet<&Place> = before.keys().chain(after.keys()).collect();
    let mut changes: Vec<Change> = functions
        .into_iter()
        .map(|function| {
            let of = |shares: &Shares| shares.get(function).copied().unwrap_or_default();
            let (one, other) = (of(&before), of(&after));
            Change {
                is_loop: function.is_loop,
                function: function.function.clone(),
                file: function.file.clone(),
                own: [one.own, other.own],
                all: [one.all, other.all],
            }
        })
        .collect();
    changes.sort_by(|one, other| {
        let by = |change: fn(&Change) -> f64| change(other).abs().total_cmp(&change(one).abs());
        by(Change::own_growth)
            .then_with(|| by(Change::growth))
            .then_with(|| (&one.function, &one.file).cmp(&(&other.function, &other.file)))
            .then_with(|| other.is_loop.cmp(&one.is_loop))
    });
    changes
}

/// What all of a profile is, nanoseconds; None: there is nothing in it.
pub fn whole(profile: &Profile, of: Of) -> Option<f64> {
    let whole = match of {
        Of::Time => profile.seconds() * 1e9,
        Of::Itself => profile.tree.total(),
    };
    (whole > 0.0).then_some(whole)
}

#[derive(Clone, Copy, Debug, Default)]
struct Share {
    own: f64,
    all: f64,
}

/// Whose share it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    function: String,
    file: String,
    is_loop: bool,
}

type Shares = BTreeMap<Place, Share>;

fn shares(profile: &Profile, of: Of) -> Shares {
    let mut shares = Shares::new();
    let Some(whole) = whole(profile, of) else { return shares };
    let tree = &profile.tree;
    let on_loops = tree.on_loops();
    for (place, node) in tree.nodes.iter().enumerate().filter(|(_, node)| node.own > 0.0) {
        let percent = node.own / whole * 100.0;
        let path = tree.path(super::NodeId(place as u32));
        let is_loop = on_loops.get(place).copied().unwrap_or(true);
        let name = |called| {
            let (function, file) = name(called)?;
            Some(Place {
                function,
                file,
                is_loop,
            })
        };
        let names: Vec<Place> = path.iter().filter_map(|frame| name(tree.called(*frame)?)).collect();
        if let Some(innermost) = names.last() {
            shares.entry(innermost.clone()).or_default().own += percent;
        }
        // One that calls itself has its time once.
        for name in names.into_iter().collect::<BTreeSet<_>>() {
            shares.entry(name).or_default().all += percent;
        }
    }
    shares
}

/// Function and file; None: a root, which is no function.
fn name(called: &Called) -> Option<(String, String)> {
    match called {
        Called::Root { .. } => None,
        Called::Python(frame) => Some((frame.function.to_string(), frame.file.to_string())),
        Called::Native(what) => Some((what.clone(), String::new())),
        Called::Unresolved => Some(("<unresolved>".to_owned(), String::new())),
        Called::Cut => None,
    }
}
