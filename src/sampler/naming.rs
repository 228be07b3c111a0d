//! Which rules to name sessions by: the preset, or the contextvars that were asked for, which the worker must have. Knows
//! nothing of samples.

use super::AttachOptions;
use crate::cpython::ONE_WALK;
use crate::identity::{Rules, all_variables, likely_variables, variables_in_use};
use crate::source::error::AttachError;
use crate::source::{Attachment, Proved};

/// How many names are offered in place of one that is not there.
const OFFERED: usize = 5;

/// The rules that the options ask for. A contextvar that the worker does not have is refused, if there are others that
/// it might have been; a program that is only starting, or holds its variables where nobody finds them, may still set it.
pub(super) fn rules(attachment: &Attachment, options: &AttachOptions) -> Result<Rules, AttachError> {
    let (session, agent, tenant) = (
        options.session_from.as_deref(),
        options.agent_from.as_deref(),
        options.tenant_from.as_deref(),
    );
    let rules = Rules::chosen(session, agent, tenant);
    let mut asked = vec![
        ("--session-from", session),
        ("--agent-from", agent),
        ("--tenant-from", tenant),
    ];
    asked.retain(|(_, name)| name.is_some());
    let Attachment {
        plan,
        heap,
        lists,
        proved,
    } = attachment;
    let (Some(lists), false) = (lists, asked.is_empty() || *proved == Proved::WithoutAsyncio) else {
        return Ok(rules);
    };
    heap.grant(16 * ONE_WALK);
    // Most are found in the first few contexts; the pass over all globals of a large program takes tens of milliseconds.
    // What cannot be read here is looked for in vain, and not refused for that.
    let in_use = variables_in_use(heap, &plan.runtime, lists).unwrap_or_default();
    asked.retain(|(_, name)| name.is_none_or(|name| !in_use.contains(name)));
    if asked.is_empty() {
        return Ok(rules);
    }
    let globals = all_variables(heap, &plan.runtime).unwrap_or_default();
    asked.retain(|(_, name)| !globals.iter().any(|variable| Some(variable.name.as_str()) == *name));
    let Some((option, Some(name))) = asked.first() else {
        return Ok(rules);
    };
    let likely = likely_variables(heap, &plan.runtime, lists).unwrap_or_default();
    if likely.is_empty() {
        return Ok(rules);
    }
    Err(AttachError::NoSuchVariable {
        pid: plan.pid,
        option,
        name: name.to_string(),
        likely: likely.into_iter().take(OFFERED).collect(),
    })
}
