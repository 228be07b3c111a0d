//! Which rules to name sessions by: a preset, or the specs that were asked for, which have to lead somewhere. Knows
//! nothing of samples.

use super::AttachOptions;
use crate::cpython::ONE_WALK;
use crate::identity::{
    Chooser, Fits, Naming, Rules, Spec, Trial, all_variables, attempt, is_near, likely_variables, live_contexts,
    nearest, settled, variables_in_use,
};
use crate::source::error::AttachError;
use crate::source::{Attachment, Proved};

/// How many names are offered in place of one that is not there.
const OFFERED: usize = 5;
/// Tasks in whose contexts a spec is tried.
const TRIED: usize = 2_000;

/// What the options ask for. A spec that leads nowhere is refused, if there is something that it might have meant; a
/// program that is only starting, or holds its variables where nobody finds them, may still set it. Where nothing is
/// asked for: the presets that fit.
pub(super) fn naming(attachment: &Attachment, options: &AttachOptions) -> Result<Naming, AttachError> {
    let mut asked = [
        ("--session-from", options.session_from.clone()),
        ("--agent-from", options.agent_from.clone()),
        ("--tenant-from", options.tenant_from.clone()),
    ];
    let Attachment {
        heap, lists, proved, ..
    } = attachment;
    if let Some(lists) = lists
        && *proved != Proved::WithoutAsyncio
        && asked.iter().any(|(_, specs)| !specs.is_empty())
    {
        heap.grant(16 * ONE_WALK);
        // Some words of each of thousands of objects that lie side by side; what is settled here, each sample proves anew.
        heap.keep_pages(true);
        let settled = settle(attachment, lists, &mut asked);
        heap.keep_pages(false);
        settled?;
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
    Ok(naming)
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

/// Reads the names in the way that the worker's variables allow, and tries where the specs lead.
fn settle(
    attachment: &Attachment,
    lists: &crate::asyncio::TaskLists,
    asked: &mut [(&'static str, Vec<Spec>); 3],
) -> Result<(), AttachError> {
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
    let contexts = live_contexts(heap, &tasks.pending, TRIED);
    for (option, specs) in asked.iter_mut().filter(|(_, specs)| !specs.is_empty()) {
        let settle = |spec: &Spec| settled(spec, |name| names.iter().any(|known| known == name));
        if specs.iter().all(|spec| settle(spec).is_none()) {
            let likely = likely_variables(heap, &plan.runtime, lists).unwrap_or_default();
            let Some(first) = specs.first().filter(|_| !likely.is_empty()) else {
                continue;
            };
            let name = match first.readings().as_slice() {
                // Without the path: it is the variable that is missing.
                [.., shortest] => shortest.variable.clone(),
                [] => first.to_string(),
            };
            return Err(AttachError::NoSuchVariable {
                pid: plan.pid,
                option,
                likely: offered(&name, &names, likely),
                name,
            });
        }
        // One that names nothing stays, for a program that sets it later.
        let settled: Vec<Spec> = specs
            .iter()
            .map(|spec| settle(spec).unwrap_or_else(|| spec.clone()))
            .collect();
        let trials: Vec<Trial> = settled
            .iter()
            .map(|spec| attempt(heap, spec, &contexts).unwrap_or(Trial::NotYet))
            .collect();
        if !trials.iter().any(|trial| matches!(trial, Trial::Fits | Trial::NotYet))
            && let (Some(spec), Some(trial)) = (specs.first(), trials.into_iter().next())
        {
            return Err(refused(plan.pid, option, spec, trial));
        }
        *specs = settled;
    }
    Ok(())
}

/// What may have been meant: names that are spelt alike, then the likely ones.
fn offered(name: &str, names: &[String], likely: Vec<String>) -> Vec<String> {
    let near = nearest(name, names.iter().filter(|known| is_near(name, known)).cloned());
    let mut offered: Vec<String> = Vec::new();
    for name in near.into_iter().chain(likely) {
        if offered.len() < OFFERED && !offered.contains(&name) {
            offered.push(name);
        }
    }
    offered
}

fn refused(pid: crate::model::Pid, option: &'static str, spec: &Spec, trial: Trial) -> AttachError {
    let spec = spec.to_string();
    let few = |near: Vec<String>| near.into_iter().take(OFFERED).collect();
    match trial {
        Trial::NoText { class, near } => AttachError::NoText {
            pid,
            option,
            spec,
            class,
            near: few(near),
        },
        Trial::Missing { step, class, near } => AttachError::NoSuchStep {
            pid,
            option,
            spec,
            step,
            class,
            near: few(near),
        },
        // Neither is refused.
        Trial::Fits | Trial::NotYet => AttachError::NoSuchVariable {
            pid,
            option,
            name: spec,
            likely: Vec::new(),
        },
    }
}
