//! Which rules to name sessions by: a preset, or the specs that were asked for, which have to lead somewhere. Knows
//! nothing of samples.

use super::AttachOptions;
use crate::cpython::ONE_WALK;
use crate::identity::{
    Chooser, Fits, Live, Misfits, Naming, Reading, Rules, Source, Spec, Trial, all_variables, attempt, distance,
    is_near, likely_variables, live_contexts, misfits, nearest, settled, variables_in_use,
};
use crate::model::{Addr, Pid};
use crate::source::error::AttachError;
use crate::source::{Attachment, Proved};

/// How many names are offered in place of one that is not there.
const OFFERED: usize = 5;
/// Tasks in whose contexts a spec is tried.
const TRIED: usize = 2_000;

/// What the options ask for. A spec that leads nowhere is refused, if there is something that it might have meant; a
/// program that is only starting, or holds its variables where nobody finds them, may still set it. Where nothing is
/// asked for: the presets that fit.
///
/// With it comes what has to be said of specs that lead nowhere yet.
pub(super) fn naming(attachment: &Attachment, options: &AttachOptions) -> Result<(Naming, Vec<String>), AttachError> {
    let mut asked = [
        ("--session-from", options.session_from.clone()),
        ("--agent-from", options.agent_from.clone()),
        ("--tenant-from", options.tenant_from.clone()),
    ];
    let Attachment {
        heap, lists, proved, ..
    } = attachment;
    let mut notes = Vec::new();
    if let Some(lists) = lists
        && *proved != Proved::WithoutAsyncio
        && asked.iter().any(|(_, specs)| !specs.is_empty())
    {
        heap.grant(16 * ONE_WALK);
        // Some words of each of thousands of objects that lie side by side; what is settled here, each sample proves anew.
        heap.keep_pages(true);
        let settled = settle(attachment, lists, &mut asked);
        heap.keep_pages(false);
        notes = settled?;
    }
    let [(_, session), (_, agent), (_, tenant)] = asked;
    let naming = Naming {
        // As it was typed: quotes that say how it was read would surprise.
        name: Rules::name_of(&options.session_from),
        session,
        agent,
        tenant,
        ..Naming::default()
    };
    if naming.follows_presets() {
        heap.keep_pages(true);
        let (fits, adding) = fitting(attachment);
        heap.keep_pages(false);
        naming.add(fits);
        naming.also(adding);
    }
    Ok((naming, notes))
}

/// The presets that fit now, and those of them that add sessions, so that the first sample already goes by them. What
/// cannot be read fits none; the walker looks on.
fn fitting(attachment: &Attachment) -> (Fits, Fits) {
    let Attachment { plan, heap, lists, .. } = attachment;
    heap.grant(16 * ONE_WALK);
    let mut chooser = Chooser::default();
    let imported = chooser.look_at_imports(heap, &plan.runtime).unwrap_or_default();
    let Some(lists) = lists else {
        return (imported, Fits::default());
    };
    let threads = heap.thread_states(&plan.runtime).unwrap_or_default();
    let tasks = lists.walk(heap, &plan.runtime, &threads, &[]).unwrap_or_default();
    let found = chooser.look(heap, &tasks.pending).unwrap_or_default();
    (imported.and(found), chooser.adding())
}

/// Reads the names in the way that the worker's variables allow, and tries where the specs lead. Returns what is to be
/// said of those that may lead somewhere later.
fn settle(
    attachment: &Attachment,
    lists: &crate::asyncio::TaskLists,
    asked: &mut [(&'static str, Vec<Spec>); 3],
) -> Result<Vec<String>, AttachError> {
    let Attachment { plan, heap, .. } = attachment;
    // Most are found in the first few contexts; the pass over all globals of a large program takes tens of milliseconds.
    // What cannot be read here is looked for in vain, and not refused for that.
    let in_use = variables_in_use(heap, &plan.runtime, lists).unwrap_or_default();
    let mut names: Vec<String> = in_use.into_iter().collect();
    // The longest reading may be a variable that no task has set yet.
    let is_known = |spec: &Spec, names: &[String]| {
        let mut readings = spec.readings().into_iter();
        spec.needs_task() || readings.next().is_some_and(|reading| names.contains(&reading.variable))
    };
    if asked
        .iter()
        .flat_map(|(_, specs)| specs)
        .any(|spec| !is_known(spec, &names))
    {
        let globals = all_variables(heap, &plan.runtime).unwrap_or_default();
        names.extend(globals.into_iter().map(|variable| variable.name));
    }
    let threads = heap.thread_states(&plan.runtime).unwrap_or_default();
    let tasks = lists.walk(heap, &plan.runtime, &threads, &[]).unwrap_or_default();
    let threads: Vec<Addr> = threads.iter().map(|thread| thread.address).collect();
    let live = Live {
        contexts: live_contexts(heap, &tasks.pending, TRIED),
        tasks: tasks.pending.get(..TRIED).unwrap_or(&tasks.pending),
        threads: &threads,
    };
    let mut notes = Vec::new();
    for (option, specs) in asked.iter_mut().filter(|(_, specs)| !specs.is_empty()) {
        let settle = |spec: &Spec| settled(spec, |name| names.iter().any(|known| known == name));
        // None: there is no such variable.
        let trials: Vec<Option<(Spec, Trial)>> = specs
            .iter()
            .map(|spec| {
                let settled = settle(spec)?;
                let trial = attempt(heap, &settled, &live).unwrap_or(Trial::NotYet);
                Some((settled, trial))
            })
            .collect();
        let leads = |trial: &Option<(Spec, Trial)>| matches!(trial, Some((_, Trial::Fits | Trial::NotYet)));
        if !trials.iter().any(leads) {
            for (spec, trial) in specs.iter().zip(&trials) {
                match trial {
                    Some((_, Trial::NotMet { near })) => notes.push(not_met(option, spec, near)),
                    Some((settled, trial)) => return Err(refused(plan.pid, option, settled, trial.clone())),
                    None => {
                        let likely = likely_variables(heap, &plan.runtime, lists).unwrap_or_default();
                        // A program that is only starting has none yet.
                        if !likely.is_empty() {
                            return Err(no_such_variable(plan.pid, option, spec, &names, likely, |meant| {
                                attempt(heap, meant, &live).unwrap_or(Trial::NotYet)
                            }));
                        }
                    }
                }
            }
        }
        // Of several, the next may fit where the first does not.
        if let ([spec], [Some((settled, Trial::Fits))]) = (specs.as_slice(), trials.as_slice())
            && *option == "--session-from"
        {
            let misfits = misfits(heap, settled, &live).unwrap_or_default();
            notes.extend(mixed(option, spec, &misfits));
        }
        // One that names nothing stays, for a program that sets it later.
        *specs = specs
            .iter()
            .zip(trials)
            .map(|(spec, trial)| trial.map_or_else(|| spec.clone(), |(settled, _)| settled))
            .collect();
    }
    Ok(notes)
}

/// What is said of a coroutine that nobody is in: that is no error, since one may come.
fn not_met(option: &str, spec: &Spec, near: &[String]) -> String {
    let near: Vec<&str> = near.iter().take(OFFERED).map(String::as_str).collect();
    let near = match near.as_slice() {
        [] => String::new(),
        near => format!("; those that are there and are called nearly so: {}", near.join(", ")),
    };
    format!("{option} {spec}: no live task is in a coroutine of that name yet{near}")
}

/// What is said of a spec that is an id in some contexts and something else in others: their tasks have no row, and
/// nothing else would say why.
fn mixed(option: &str, spec: &Spec, misfits: &Misfits) -> Option<String> {
    let Misfits { contexts, of, classes } = misfits;
    if *contexts == 0 {
        return None;
    }
    // Debug formatting keeps control characters off the terminal.
    let classes: Vec<String> = classes.iter().take(OFFERED).map(|class| format!("{class:?}")).collect();
    Some(format!(
        "{option} {spec}: in {contexts} of {of} contexts it gives a {}, which is no id: these are unattributed",
        classes.join(" or ")
    ))
}

/// No variable of any of the names that the spec may mean. The name that is said is the one that is nearest to one there
/// is; what is offered is tried first, so that it gives an id.
fn no_such_variable(
    pid: Pid,
    option: &'static str,
    spec: &Spec,
    names: &[String],
    likely: Vec<String>,
    attempt: impl Fn(&Spec) -> Trial,
) -> AttachError {
    let readings = spec.readings();
    let (name, near) = nearest_reading(&readings, names);
    let name = name.map_or_else(|| spec.to_string(), |reading| reading.variable.clone());
    let path = readings.iter().find(|reading| reading.variable == name);
    let steps = path.map(|reading| reading.steps.clone()).unwrap_or_default();
    let mut offered: Vec<String> = Vec::new();
    let mut meant = None;
    for (name, is_near) in near
        .into_iter()
        .map(|name| (name, true))
        .chain(likely.into_iter().map(|name| (name, false)))
    {
        if offered.len() >= OFFERED || offered.contains(&name) {
            continue;
        }
        let alone = Spec::variable(&name);
        // What stands behind the name goes with one that is nearly the same; one that is not set yet may be meant too.
        let with_path = Spec {
            steps: steps.clone(),
            filters: spec.filters.clone(),
            ..alone.clone()
        };
        let candidates = [is_near.then_some(with_path), Some(alone)];
        let gives = |spec: &Spec| match attempt(spec) {
            Trial::Fits => Some(spec.clone()),
            Trial::NotYet => is_near.then(|| spec.clone()),
            Trial::Missing { meant, .. } | Trial::NoText { meant, .. } | Trial::NoLocal { meant, .. } => {
                meant.filter(|_| is_near)
            }
            Trial::NotMet { .. } => None,
        };
        meant = meant.or_else(|| candidates.iter().flatten().find_map(gives));
        offered.push(name);
    }
    AttachError::NoSuchVariable {
        pid,
        option,
        name,
        likely: offered,
        meant: meant.as_ref().map(|meant| typed(meant).into()),
    }
}

/// The reading whose name is nearest to one there is, and such names, nearest first. Where none is near: the shortest,
/// without the path, since it is the variable that is missing.
fn nearest_reading<'r>(readings: &'r [Reading], names: &[String]) -> (Option<&'r Reading>, Vec<String>) {
    let near = |reading: &Reading| {
        let near = names.iter().filter(|known| is_near(&reading.variable, known)).cloned();
        nearest(&reading.variable, near)
    };
    let ranked = readings.iter().rev().filter_map(|reading| {
        let near = near(reading);
        let far = distance(&reading.variable, near.first()?);
        Some((far, reading, near))
    });
    match ranked.min_by_key(|(far, _, _)| *far) {
        Some((_, reading, near)) => (Some(reading), near),
        None => (readings.last(), Vec::new()),
    }
}

/// As it would be typed: a name with dots alone needs no quotes.
fn typed(spec: &Spec) -> String {
    if let Source::Quoted(name) = &spec.source
        && spec.steps.is_empty()
        && let Ok(bare) = Spec::parse(name)
        && let [Reading { variable, steps }, ..] = bare.readings().as_slice()
        && variable == name
        && steps.is_empty()
        && bare.filters.is_empty()
    {
        let bare = Spec {
            filters: spec.filters.clone(),
            ..bare
        };
        return bare.to_string();
    }
    spec.to_string()
}

fn refused(pid: Pid, option: &'static str, spec: &Spec, trial: Trial) -> AttachError {
    let spec = spec.to_string();
    let few = |near: Vec<String>| near.into_iter().take(OFFERED).collect();
    let typed = |meant: Option<Spec>| meant.as_ref().map(|meant| typed(meant).into());
    match trial {
        Trial::NoText { class, near, meant } => AttachError::NoText {
            pid,
            option,
            spec: spec.into(),
            class: class.into(),
            near: few(near),
            meant: typed(meant),
        },
        Trial::Missing {
            step,
            class,
            near,
            meant,
        } => AttachError::NoSuchStep {
            pid,
            option,
            spec: spec.into(),
            step: step.into(),
            class: class.into(),
            near: few(near),
            meant: typed(meant),
        },
        Trial::NoLocal {
            coroutine,
            local,
            near,
            meant,
        } => AttachError::NoSuchLocal {
            pid,
            option,
            spec: spec.into(),
            coroutine: coroutine.into(),
            local: local.into(),
            near: few(near),
            meant: typed(meant),
        },
        // None of these is refused.
        Trial::Fits | Trial::NotYet | Trial::NotMet { .. } => AttachError::NoSuchVariable {
            pid,
            option,
            name: spec,
            likely: Vec::new(),
            meant: None,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(spec: &str, names: &[&str]) -> (String, Vec<String>) {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let spec = Spec::parse(spec).unwrap();
        let readings = spec.readings();
        let (reading, near) = nearest_reading(&readings, &names);
        (reading.unwrap().variable.clone(), near)
    }

    #[test]
    fn contexts_in_which_a_spec_is_no_id_are_said() {
        let spec = Spec::parse("mix").unwrap();
        let misfits = |contexts, classes: &[&str]| Misfits {
            contexts,
            of: 18,
            classes: classes.iter().map(|&class| class.to_owned()).collect(),
        };
        assert_eq!(mixed("--session-from", &spec, &misfits(0, &[])), None);
        assert_eq!(
            mixed("--session-from", &spec, &misfits(12, &["list", "dict"])).unwrap(),
            "--session-from mix: in 12 of 18 contexts it gives a \"dict\" or \"list\", which is no id: these are unattributed"
        );
    }

    #[test]
    fn a_dotted_name_is_held_against_dotted_names_too() {
        let names = ["handler_name", "my.req_id", "inline"];
        let meant = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
        assert_eq!(
            reading("my.req_idd", &names),
            ("my.req_idd".to_owned(), meant(&["my.req_id"]))
        );
        assert_eq!(
            reading("inlin.ticket", &names),
            ("inlin".to_owned(), meant(&["inline"]))
        );
        assert_eq!(reading("else.where.there", &names), ("else".to_owned(), Vec::new()));
    }

    #[test]
    fn what_is_offered_is_written_as_it_would_be_typed() {
        for (name, written) in [
            ("plain", "plain"),
            ("my.req_id", "my.req_id"),
            ("my req", "my req"),
            ("task:name", "\"task:name\""),
            ("a|b", "\"a|b\""),
        ] {
            let typed = typed(&Spec::variable(name));
            assert_eq!(typed, written);
            assert_eq!(Spec::parse(&typed).unwrap().readings().first().unwrap().variable, name);
        }
    }
}
