//! Which presets fit a worker, by what is imported and by what stands in its live contexts, and the rules that follow.
//! Knows nothing of threads: two of them come to the same rules because they share one word, the presets that fit.

use super::aliases::Aliases;
use super::presets::{Module, PRESETS, Preset, RUNS_ALL_SESSIONS};
use super::resolver::{Resolver, Subject};
use super::rules::{Rank, Rules};
use super::spec::{Reading, Source, Spec};
use crate::asyncio::Task;
use crate::cpython::{Heap, Runtime};
use crate::memory::{AddrMap, AddrSet, Fault};
use crate::model::{Addr, TASKS};
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// New contexts that are looked at in one go; more come with the next.
const MOST_LOOKED_AT: usize = 200;
/// Contexts whose variables changed, and which are looked at again at the next look.
const MOST_LOOKED_AT_AGAIN: usize = 50;
/// Contexts that are known to have been looked at; beyond this the memory starts over.
const MOST_SEEN: usize = 20_000;

/// What the user asked for, and the presets that fit: what names sessions, agents and tenants. Clones share the presets.
#[derive(Clone, Debug, Default)]
pub struct Naming {
    pub session: Vec<Spec>,
    pub agent: Vec<Spec>,
    pub tenant: Vec<Spec>,
    /// What the header calls the session's specs, as they were typed.
    pub name: Option<String>,
    /// Tasks do not stand for sessions where nothing names any.
    pub only_named: bool,
    /// The presets that fit, a bit each; shared by all clones.
    pub shared: Arc<AtomicU32>,
    /// Those of them that name sessions where the ones that win name none.
    pub adding: Arc<AtomicU32>,
    /// Which ids are another session's; shared by all clones.
    pub aliases: Aliases,
}

/// The presets that fit, a bit each. It only ever grows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fits(u32);

impl Fits {
    pub fn has(self, preset: usize) -> bool {
        u32::try_from(preset).is_ok_and(|bit| self.0.checked_shr(bit).is_some_and(|bits| bits & 1 != 0))
    }

    pub fn with(self, preset: usize) -> Fits {
        let bit = u32::try_from(preset).ok().and_then(|bit| 1u32.checked_shl(bit));
        Fits(self.0 | bit.unwrap_or(0))
    }

    /// These, and those.
    pub fn and(self, more: Fits) -> Fits {
        Fits(self.0 | more.0)
    }

    fn presets(self) -> impl Iterator<Item = &'static Preset> {
        PRESETS
            .iter()
            .enumerate()
            .filter(move |(place, _)| self.has(*place))
            .map(|(_, preset)| preset)
    }
}

impl Naming {
    /// The presets that are known to fit.
    pub fn fits(&self) -> Fits {
        Fits(self.shared.load(Ordering::Relaxed))
    }

    /// More presets fit.
    pub fn add(&self, fits: Fits) {
        self.shared.fetch_or(fits.0, Ordering::Relaxed);
    }

    /// These presets name sessions where those that win name none.
    pub fn also(&self, adding: Fits) {
        self.adding.fetch_or(adding.0, Ordering::Relaxed);
    }

    /// It is for the presets to name the sessions.
    pub fn follows_presets(&self) -> bool {
        self.session.is_empty()
    }

    /// What finds sessions by the rules that follow.
    pub fn resolver(&self, fits: Fits) -> Resolver {
        Resolver::sharing(self.rules(fits), self.aliases.clone())
    }

    /// The rules that follow.
    pub fn rules(&self, fits: Fits) -> Rules {
        let mut rules = match self.follows_presets() {
            true => of_presets(fits, Fits(self.adding.load(Ordering::Relaxed)), self.only_named),
            // Where the sessions are the user's own, a preset's agents and tenants would be another program's.
            false => Rules {
                session: self.session.clone(),
                name: self.name.clone().unwrap_or_default(),
                ..Rules::default()
            },
        };
        for (asked, rule) in [(&self.agent, &mut rules.agent), (&self.tenant, &mut rules.tenant)] {
            if !asked.is_empty() {
                *rule = vec![vec![asked.clone()]];
            }
        }
        rules
    }
}

/// The rules of the presets that fit: those of the smallest rank, and where they give nothing the next.
fn of_presets(fits: Fits, adding: Fits, only_named: bool) -> Rules {
    let Some(best) = fits.presets().next() else {
        let session = match only_named {
            true => PRESETS.first().map(Preset::session).unwrap_or_default(),
            false => vec![root_task()],
        };
        return Rules {
            session,
            name: TASKS.to_owned(),
            ..Rules::default()
        };
    };
    let equals: Vec<&Preset> = fits.presets().filter(|preset| preset.rank == best.rank).collect();
    let session = best.session();
    let mut names: Vec<&str> = equals.iter().map(|preset| preset.name).collect();
    names.dedup();
    let may_add = |preset: &&Preset| preset.rank > best.rank && best.rank > RUNS_ALL_SESSIONS;
    let others = adding
        .presets()
        .filter(|other| may_add(other) && !names.contains(&other.name));
    let mut also: Vec<&str> = others.map(|other| other.name).collect();
    also.dedup();
    let name = names.join(", ");
    let behind: Vec<&Preset> = fits.presets().filter(may_add).collect();
    let ranks_behind = behind.chunk_by(|one, next| one.rank == next.rank);
    let others = ranks_behind.filter_map(|rank| {
        let number = rank.first()?.rank;
        Some((number, rank.iter().map(|preset| preset.session()).collect()))
    });
    Rules {
        rivals: equals.iter().skip(1).map(|preset| preset.session()).collect(),
        rank: best.rank,
        others: others.collect(),
        agent: ranks(fits, Preset::agent),
        tenant: ranks(fits, Preset::tenant),
        name: match also.is_empty() {
            true => name,
            false => format!("{name} (also {})", also.join(", ")),
        },
        session,
    }
}

/// What the presets say of agents or tenants, those of one rank together.
fn ranks(fits: Fits, of: fn(&Preset) -> Vec<Spec>) -> Vec<Rank> {
    let presets: Vec<&Preset> = fits.presets().collect();
    let ranks = presets.chunk_by(|one, next| one.rank == next.rank);
    ranks
        .map(|rank| rank.iter().map(|preset| of(preset)).collect())
        .collect()
}

/// Whether it is worth a look. LiveKit's contexts look like OpenRTC's where OpenRTC runs: so what is told by its import
/// needs that, unless a variable bears the package's own name, as in `otop demo`. `set`: the variables that are set here,
/// of those that the preset begins with.
fn may_fit<'n>(preset: &Preset, imported: bool, needs_task: bool, mut set: impl Iterator<Item = &'n str>) -> bool {
    match (preset.module, imported) {
        (Module::Any, _) => set.next().is_some(),
        (Module::Needed(_), false) => false,
        (Module::Needed(_) | Module::IsIt(_), true) => needs_task || set.next().is_some(),
        (Module::IsIt(_), false) => set.any(|name| name.starts_with(preset.name)),
    }
}

fn root_task() -> Spec {
    Spec {
        source: Source::RootTask,
        steps: Vec::new(),
        filters: Vec::new(),
    }
}

/// Looks for presets that fit.
pub struct Chooser {
    /// For each preset: what resolves by it alone, and the variables that it begins with. In the order in which they win.
    open: Vec<Open>,
    adding: Fits,
    /// Contexts that were looked at.
    seen: AddrSet,
    /// Those of them that were looked at last.
    last: AddrSet,
    /// Names of the variables that were met.
    names: AddrMap<String>,
    /// Imports were looked at since the last look at tasks.
    knows_imports: bool,
    asks_for_imports: bool,
}

struct Open {
    preset: usize,
    resolver: Resolver,
    variables: Vec<String>,
    needs_task: bool,
    /// What it is by is imported.
    imported: bool,
    fits: bool,
}

impl Default for Chooser {
    fn default() -> Chooser {
        let open = PRESETS.iter().enumerate().map(|(preset, row)| {
            let session = row.session();
            let readings = session.iter().flat_map(Spec::readings);
            Open {
                preset,
                variables: readings.map(|Reading { variable, .. }| variable).collect(),
                needs_task: session.iter().any(Spec::needs_task),
                resolver: Resolver::new(Rules::of_specs(session)),
                imported: false,
                fits: false,
            }
        });
        Chooser {
            open: open.collect(),
            adding: Fits::default(),
            seen: AddrSet::default(),
            last: AddrSet::default(),
            names: AddrMap::default(),
            knows_imports: false,
            asks_for_imports: false,
        }
    }
}

impl Chooser {
    /// Which presets' modules are imported. One pass over the names in `sys.modules`.
    pub fn look_at_imports(&mut self, heap: &Heap, runtime: &Runtime) -> Result<Fits, Fault> {
        let modules = heap.dict_items(heap.modules(runtime)?)?;
        let keys: Vec<Addr> = modules.into_iter().map(|(key, _)| key).collect();
        let wanted = self.open.iter_mut().filter_map(|open| {
            let module = PRESETS.get(open.preset)?.module.name()?;
            Some((open, module))
        });
        let (open, names): (Vec<&mut Open>, Vec<&str>) = wanted.unzip();
        let found = heap.find_keys(&keys, &names)?;
        let mut fits = Fits::default();
        for (open, found) in open.into_iter().zip(found) {
            open.imported = found.is_some();
            let is_it = PRESETS
                .get(open.preset)
                .is_some_and(|preset| matches!(preset.module, Module::IsIt(_)));
            // What stands in frames has to be seen there: a library may be imported for another part of it.
            if open.imported && is_it && !open.needs_task {
                fits = fits.with(open.preset);
            }
        }
        self.note(fits);
        self.knows_imports = true;
        Ok(fits)
    }

    /// A variable was met that may be a package's which has been imported since the last look at imports.
    pub fn asks_for_imports(&self) -> bool {
        self.asks_for_imports
    }

    /// Those that name sessions where no preset of a smaller rank names any, as far as was looked.
    pub fn adding(&self) -> Fits {
        self.adding
    }

    /// Which presets give a text for one of the tasks that were not looked at before.
    pub fn look(&mut self, heap: &Heap, tasks: &[Task]) -> Result<Fits, Fault> {
        if self.seen.len() > MOST_SEEN {
            self.forget();
        }
        let by_task = self.open.iter().any(|open| open.needs_task && open.imported);
        let new: Vec<&Task> = tasks.iter().filter(|task| !self.seen.contains(&task.context)).collect();
        self.last = new.iter().take(MOST_LOOKED_AT).map(|task| task.context).collect();
        let mut fits = Fits::default();
        let mut sets = AddrSet::default();
        self.asks_for_imports = false;
        for task in new.into_iter().take(MOST_LOOKED_AT) {
            self.seen.insert(task.context);
            let Ok(context) = heap.context(task.context) else {
                continue;
            };
            // Tasks of one session share their variables.
            if !sets.insert(context.vars) && !by_task {
                continue;
            }
            match self.look_into(heap, context.vars, task) {
                Ok(found) => {
                    fits = fits.and(found);
                    self.note(found);
                }
                Err(fault @ (Fault::Gone | Fault::Budget)) => return Err(fault),
                // It changed under the look; others will show the same.
                Err(_) => {}
            }
            // What it fits is said once it is known whose the variable is, with the next look.
            if self.asks_for_imports {
                self.seen.remove(&task.context);
                break;
            }
        }
        self.knows_imports = false;
        Ok(fits)
    }

    /// These contexts have other variables by now: a task that goes on may have been given another id.
    pub fn look_again(&mut self, changed: &[Addr]) {
        let before = changed.iter().filter(|context| !self.last.contains(context));
        for context in before.take(MOST_LOOKED_AT_AGAIN) {
            self.seen.remove(context);
        }
    }

    fn look_into(&mut self, heap: &Heap, vars: Addr, task: &Task) -> Result<Fits, Fault> {
        let mut here: HashSet<&str> = HashSet::new();
        let bindings = heap.bindings(vars)?;
        for binding in &bindings {
            if let std::collections::hash_map::Entry::Vacant(e) = self.names.entry(binding.variable) {
                let (name, _) = heap.context_variable(binding.variable)?;
                let is_of = |open: &Open| {
                    let module = PRESETS.get(open.preset).map(|preset| preset.module);
                    !open.imported && matches!(module, Some(Module::Needed(_))) && open.variables.contains(&name)
                };
                self.asks_for_imports |= !self.knows_imports && self.open.iter().any(is_of);
                e.insert(name);
            }
        }
        here.extend(
            bindings
                .iter()
                .filter_map(|b| self.names.get(&b.variable).map(String::as_str)),
        );
        let mut fits = Fits::default();
        if self.asks_for_imports {
            return Ok(fits);
        }
        // The rank that names a session here.
        let mut named = None;
        for open in &mut self.open {
            let Some(preset) = PRESETS.get(open.preset) else {
                continue;
            };
            // That it fits is known, and here it adds nothing.
            if open.fits && named.is_some_and(|named| named < preset.rank) {
                continue;
            }
            let set = open
                .variables
                .iter()
                .map(String::as_str)
                .filter(|name| here.contains(name));
            if !may_fit(preset, open.imported, open.needs_task, set) {
                continue;
            }
            let subject = Subject {
                vars,
                context: task.context,
                tasks: std::slice::from_ref(task),
                threads: &[],
            };
            match open.resolver.resolve_subject(heap, subject) {
                Ok(resolved) if resolved.session.is_some() => {
                    fits = fits.with(open.preset);
                    if *named.get_or_insert(preset.rank) == preset.rank {
                        self.adding = self.adding.with(open.preset);
                    }
                }
                Err(fault @ (Fault::Gone | Fault::Budget)) => return Err(fault),
                _ => {}
            }
        }
        Ok(fits)
    }

    fn note(&mut self, fits: Fits) {
        for open in &mut self.open {
            open.fits |= fits.has(open.preset);
        }
    }

    /// Looks at everything anew: values that stand behind the same variables may have come meanwhile.
    pub fn forget(&mut self) {
        self.seen.clear();
        self.names.clear();
        for open in &mut self.open {
            open.resolver.forget_addresses();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fits(names: &[&str]) -> Fits {
        let places = PRESETS
            .iter()
            .enumerate()
            .filter(|(_, preset)| names.contains(&preset.checked));
        places.fold(Fits::default(), |fits, (place, _)| fits.with(place))
    }

    fn naming(names: &[&str]) -> Rules {
        let naming = Naming::default();
        naming.add(fits(names));
        naming.also(naming.fits());
        naming.rules(naming.fits())
    }

    #[test]
    fn the_smallest_rank_wins_and_the_others_are_said() {
        let rules = naming(&[
            "opentelemetry-api 1.45.2, opentelemetry-sdk 1.45.2",
            "asgi-correlation-id 5.0.1",
        ]);
        assert_eq!(rules.name, "asgi-correlation-id (also opentelemetry)");
        assert_eq!(rules.session.len(), 1);
        assert!(rules.rivals.is_empty());
        let others: Vec<(u8, usize)> = rules.others.iter().map(|(rank, specs)| (*rank, specs.len())).collect();
        assert_eq!((rules.rank, others), (8, vec![(11, 1)]));
    }

    #[test]
    fn equals_are_rivals() {
        let rules = naming(&["structlog 26.1.0, contextvars", "loguru 0.7.3, contextualize"]);
        assert_eq!(rules.name, "structlog, loguru");
        assert_eq!(rules.rivals.len(), 1);
    }

    #[test]
    fn what_adds_no_session_is_not_said() {
        let naming = Naming::default();
        naming.add(fits(&[
            "openrtc 0.20.1",
            "livekit-agents 1.8.9, process and thread executors",
        ]));
        assert_eq!(naming.rules(naming.fits()).name, "openrtc");
        // What runs the sessions knows them all: a trace in a task of its own is none.
        let traces = fits(&["opentelemetry-api 1.45.2, opentelemetry-sdk 1.45.2"]);
        naming.add(traces);
        naming.also(traces);
        let rules = naming.rules(naming.fits());
        assert_eq!((rules.name.as_str(), rules.others.len()), ("openrtc", 0));
    }

    #[test]
    fn agents_of_one_rank_are_rivals_and_a_smaller_rank_goes_before() {
        let rules = naming(&[
            "structlog 26.1.0, contextvars",
            "loguru 0.7.3, contextualize",
            "sentry-sdk 2.75.0",
        ]);
        let rivals: Vec<usize> = rules.agent.iter().map(Vec::len).collect();
        // Sessions by two, requests by the same two, sentry's tags, its traces.
        assert_eq!(rivals, [2, 2, 1, 1], "{:?}", rules.agent);
    }

    #[test]
    fn what_is_told_by_its_import_needs_it_or_a_variable_of_its_own_name() {
        let [openrtc, livekit, ..] = PRESETS else {
            panic!("two presets")
        };
        let may = |preset, imported, set: &str| may_fit(preset, imported, false, [set].into_iter());
        assert!(may(openrtc, false, "openrtc_session_id") && may(openrtc, true, "agents_job_context"));
        assert!(!may(openrtc, false, "agents_job_context") && !may(livekit, false, "agents_job_context"));
    }

    #[test]
    fn a_variable_that_is_called_as_a_packages_is_the_programs_own_where_that_is_not_imported() {
        let mut own: Vec<&str> = Vec::new();
        for (name, variable) in [
            ("asgi-correlation-id", "correlation_id"),
            ("correlation_id", "correlation_id"),
            ("mcp", "request_ctx"),
            ("langgraph", "child_runnable_config"),
            ("langchain-core", "child_runnable_config"),
            ("dramatiq", "_MESSAGE"),
            ("opentelemetry", "current_context"),
            ("sentry", "current_scope"),
        ] {
            let preset = PRESETS.iter().find(|preset| preset.name == name).expect(name);
            assert!(may_fit(preset, true, false, [variable].into_iter()), "{name}");
            if may_fit(preset, false, false, [variable].into_iter()) {
                own.push(name);
            }
        }
        assert_eq!(own, ["correlation_id", "langchain-core"]);
    }

    #[test]
    fn without_any_tasks_stand_for_sessions() {
        assert_eq!(naming(&[]).session, [root_task()]);
        assert_eq!(naming(&[]).name, TASKS);
    }

    #[test]
    fn what_the_user_says_of_agents_goes_with_a_presets_sessions_and_not_the_other_way_round() {
        let agent = Spec::parse("route").expect("a spec");
        let mut asked = Naming {
            agent: vec![agent.clone()],
            ..Naming::default()
        };
        asked.add(fits(&["openrtc 0.20.1"]));
        let rules = asked.rules(asked.fits());
        assert_eq!((rules.name.as_str(), rules.agent), ("openrtc", vec![vec![vec![agent]]]));
        assert!(!rules.tenant.is_empty());
        asked.session = vec![Spec::parse("call").expect("a spec")];
        assert!(asked.rules(asked.fits()).tenant.is_empty());
    }

    #[test]
    fn bits() {
        let fits = Fits::default().with(0).with(31).with(32).with(usize::MAX);
        assert!(fits.has(0) && fits.has(31) && !fits.has(32) && !fits.has(1) && !fits.has(usize::MAX));
        assert!(fits != Fits::default());
    }
}
