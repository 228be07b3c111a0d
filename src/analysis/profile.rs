//! A profile: how much time was spent where, and for whom. The session samples give each session's total, its stacks
//! divide it; what has no proved stack is `<unresolved>`. Knows nothing of the formats that a profile is written in.

use super::call_tree::{CallTree, Called, NodeId, Taken};
use super::division::{self, Share};
use super::ledger::{Held, Ledger};
use super::{Engine, reporting, wall_clock};
use crate::model::{Block, Hello, Labels, Nanos, Quality, SessionKey, Stack, ThreadFacts, ThreadIndex};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// The root of what belongs to no session.
const UNATTRIBUTED: &str = "unattributed";

/// What counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// The loop's time: what runs, waits or sleeps in a step; an idle loop is not there.
    #[default]
    Wall,
    /// Time on a CPU.
    Cpu,
    /// What kept a loop longer than the threshold.
    Blocked,
}

/// What the roots are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum By {
    #[default]
    Session,
    Agent,
    Tenant,
    /// No roots but the threads'.
    None,
}

/// Whose time is wanted alone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Narrow {
    pub session: Option<String>,
    pub agent: Option<String>,
    pub tenant: Option<String>,
    /// Everything that `session` is not, in its place.
    pub but: bool,
}

/// Which profile is wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    pub mode: Mode,
    pub by: By,
    pub narrow: Narrow,
}

/// A profile of all the time that was observed.
#[derive(Clone, Debug)]
pub struct Profile {
    pub hello: Hello,
    pub wanted: Wanted,
    /// Blocks are those that are longer than this.
    pub slow_threshold: Nanos,
    /// First and last session sample, `CLOCK_MONOTONIC`; None: there was none.
    pub span: Option<(Nanos, Nanos)>,
    /// `CLOCK_REALTIME` seconds of its begin.
    pub began_unix: f64,
    pub quality: Quality,
    /// How often all threads that matter were looked at; `quality.samples` has each thread's.
    pub ticks: u64,
    /// Sessions that were met.
    pub sessions: usize,
    /// Stacks that were counted and not kept, because there were too many.
    pub stacks_left_out: u64,
    pub tree: CallTree,
    /// Blocks in the order in which they began, of those whose time is wanted.
    pub marks: Vec<Mark>,
    pub threads: BTreeMap<ThreadIndex, ThreadFacts>,
    pub labels: BTreeMap<SessionKey, Arc<Labels>>,
}

/// A block on the time line.
#[derive(Clone, Debug)]
pub struct Mark {
    pub thread: ThreadIndex,
    pub began: Nanos,
    pub until: Nanos,
    pub block: Block,
}

impl Mode {
    pub fn name(self) -> &'static str {
        match self {
            Mode::Wall => "wall",
            Mode::Cpu => "cpu",
            Mode::Blocked => "blocked",
        }
    }

    /// What it means, for people.
    pub fn meaning(self) -> &'static str {
        match self {
            Mode::Wall => "time in which the loop was held, running or asleep; an idle loop is not counted",
            Mode::Cpu => "time on a CPU",
            Mode::Blocked => "time in which the loop was kept for longer than the threshold",
        }
    }
}

impl By {
    pub fn name(self) -> &'static str {
        match self {
            By::Session => "session",
            By::Agent => "agent",
            By::Tenant => "tenant",
            By::None => "none",
        }
    }
}

impl Narrow {
    /// Whether this time is wanted.
    pub fn lets(&self, labels: Option<&Labels>) -> bool {
        let is = |wanted: &Option<String>, has: Option<&str>| wanted.is_none() || wanted.as_deref() == has;
        let session = is(&self.session, labels.map(|labels| labels.session_id.as_str()));
        let is_session = session != (self.but && self.session.is_some());
        is_session
            && is(&self.agent, labels.and_then(|labels| labels.agent.as_deref()))
            && is(&self.tenant, labels.and_then(|labels| labels.tenant.as_deref()))
    }

    /// `session a, tenant b`; None: all is wanted.
    pub fn words(&self) -> Option<String> {
        let session = if self.but { "all but session" } else { "session" };
        let parts = [
            (session, &self.session),
            ("agent", &self.agent),
            ("tenant", &self.tenant),
        ];
        let words: Vec<String> = parts
            .iter()
            .filter_map(|(what, name)| name.as_ref().map(|name| format!("{what} {name}")))
            .collect();
        (!words.is_empty()).then(|| words.join(", "))
    }
}

/// Whose time a root holds.
struct Roots<'a> {
    pub by: By,
    pub labels: &'a BTreeMap<SessionKey, Arc<Labels>>,
}

impl Roots<'_> {
    /// The root; None: none is wanted.
    pub fn root(&self, session: Option<SessionKey>, is_loop: bool) -> Option<Called> {
        let labels = session.map(|key| self.labels.get(&key));
        let of_threads = |name: &str| Called::Root {
            name: format!("{name}(threads)"),
            is_loop: false,
        };
        let name = match (self.by, labels) {
            (By::None, _) => return (!is_loop).then(|| of_threads("")),
            (_, None) => UNATTRIBUTED.to_owned(),
            (_, Some(None)) => "(a session without a name)".to_owned(),
            (By::Session, Some(Some(labels))) => labels.session_id.clone(),
            (By::Agent, Some(Some(labels))) => labels.agent.clone().unwrap_or_else(|| "(no agent)".to_owned()),
            (By::Tenant, Some(Some(labels))) => labels.tenant.clone().unwrap_or_else(|| "(no tenant)".to_owned()),
        };
        Some(match is_loop {
            true => Called::Root { name, is_loop },
            false => of_threads(&format!("{name} ")),
        })
    }
}

pub(super) fn profile(engine: &Engine, wanted: &Wanted) -> Profile {
    let empty = Ledger::default();
    let ledger = engine.ledger.as_deref().unwrap_or(&empty);
    let going_on = engine.log.ongoing().map(|(thread, entry)| Held::of(thread, entry));
    let mut blocks: Vec<Held> = ledger.blocks.iter().cloned().chain(going_on).collect();
    blocks.sort_by_key(|held| (held.began, held.thread));
    blocks.retain(|held| {
        let culprit = held.culprit.and_then(|key| ledger.labels.get(&key));
        wanted.narrow.lets(culprit.map(Arc::as_ref))
    });

    let shares = division::divide(ledger, engine.windows.total_cpu(), wanted.mode, &blocks);
    let span = ledger.whole.span;
    // The last stacks may have come after the last samples.
    let mut whole = ledger.whole.clone();
    whole.merge(&engine.booked);
    let mut quality = reporting::quality(engine, &whole);
    quality.dropped = quality.dropped.saturating_add(ledger.left_out);
    Profile {
        hello: engine.hello.clone(),
        wanted: wanted.clone(),
        slow_threshold: engine.settings.slow_threshold,
        span,
        began_unix: wall_clock(
            &engine.hello,
            span.map_or(engine.hello.attached_at, |(from, _)| from),
            Nanos::ZERO,
        ),
        quality,
        ticks: whole.ticks,
        sessions: ledger.labels.len(),
        stacks_left_out: ledger.left_out,
        tree: tree(shares, wanted, &ledger.labels),
        marks: blocks.into_iter().map(|held| mark(held, &ledger.labels)).collect(),
        threads: ledger.threads.clone(),
        labels: ledger.labels.clone(),
    }
}

fn tree(mut shares: Vec<Share>, wanted: &Wanted, labels: &BTreeMap<SessionKey, Arc<Labels>>) -> CallTree {
    let roots = Roots { by: wanted.by, labels };
    // What no stack was taken of has no place on the time line: at its end.
    shares.sort_by_key(|share| share.at.unwrap_or(Nanos(u64::MAX)));
    let mut tree = CallTree::default();
    let mut known: HashMap<(Option<NodeId>, *const Stack, Option<String>), NodeId> = HashMap::new();
    for share in &shares {
        let of = share.session.and_then(|key| labels.get(&key)).map(Arc::as_ref);
        if share.nanos <= 0.0 || !wanted.narrow.lets(of) {
            continue;
        }
        let root = roots.root(share.session, share.is_loop);
        let root = root.map(|root| tree.node(None, root));
        let stack = share.stack.as_deref();
        let same = (
            root,
            stack.map_or(std::ptr::null(), std::ptr::from_ref),
            share.native.clone(),
        );
        let node = *known
            .entry(same)
            .or_insert_with(|| tree.stack(root, stack, share.native.clone()));
        tree.take(Taken {
            at: share.at,
            node,
            nanos: share.nanos,
            thread: share.thread,
            session: share.session,
        });
    }
    tree
}

/// With the names that have become known since.
fn mark(held: Held, labels: &BTreeMap<SessionKey, Arc<Labels>>) -> Mark {
    let mut block = held.block;
    if let Some(labels) = held.culprit.and_then(|key| labels.get(&key)) {
        block.session_id = Some(labels.session_id.clone());
        block.agent_name.clone_from(&labels.agent);
        block.tenant.clone_from(&labels.tenant);
    }
    Mark {
        thread: held.thread,
        began: held.began,
        until: held.until,
        block,
    }
}

impl Profile {
    /// Seconds that it is about.
    pub fn seconds(&self) -> f64 {
        self.span.map_or(0.0, |(from, until)| (until - from).as_secs_f64())
    }

    /// Why there is nothing in it; None: there is something.
    pub fn nothing(&self) -> Option<String> {
        if self.tree.total() > 0.0 {
            return None;
        }
        Some(match (&self.span, self.wanted.narrow.words(), self.wanted.mode) {
            (None, ..) => "nothing was sampled".to_owned(),
            (_, Some(whose), _) => format!("nothing was sampled of {whose}"),
            (_, None, Mode::Wall) if !self.threads.values().any(|thread| thread.is_loop) => {
                "nothing ran: there was no loop".to_owned()
            }
            (_, None, Mode::Wall) => "nothing ran: the loop was idle".to_owned(),
            (_, None, Mode::Cpu) => "nothing ran on a CPU".to_owned(),
            (_, None, Mode::Blocked) => format!(
                "nothing kept the loop for longer than {:.0} ms",
                self.slow_threshold.as_millis_f64()
            ),
        })
    }
}
