//! Which packages keep a session's id where: one row a package, as data, in the language of `--session-from`. Knows
//! nothing of memory, nor of how a row is chosen.

use super::spec::Spec;

/// A package, and what names sessions, agents and tenants in a program that uses it.
#[derive(Debug, PartialEq, Eq)]
pub struct Preset {
    pub name: &'static str,
    session: &'static [&'static str],
    agent: &'static [&'static str],
    tenant: &'static [&'static str],
}

/// All of them.
pub static PRESETS: &[&Preset] = &[&OPENRTC];

/// openrtc 0.20.1 and livekit-agents 1.8.9, introspection on or off.
///
/// Every child task of a session carries the three plain variables. The main task loses them again after the greeting,
/// and has them not yet while the session is built; it always carries livekit's `JobContext`. From there: OpenRTC's own
/// `SessionInfo`, once the session has started; before that, and for plain LiveKit workers, the identity with which the
/// job was accepted, which is `agent-` and the job's id unless the program chose another.
pub static OPENRTC: Preset = Preset {
    name: "openrtc",
    session: &[
        "openrtc_session_id",
        "agents_job_context._openrtc_session_finish.args[1].job_id",
        "agents_job_context._info.accept_arguments.identity|strip(\"agent-\")",
    ],
    agent: &[
        "openrtc_agent_name",
        "agents_job_context._openrtc_session_finish.args[1].agent_name",
    ],
    tenant: &[
        "openrtc_tenant_id",
        "agents_job_context._openrtc_session_finish.args[1].tenant",
    ],
};

impl Preset {
    pub fn session(&self) -> Vec<Spec> {
        parsed(self.session)
    }

    pub fn agent(&self) -> Vec<Spec> {
        parsed(self.agent)
    }

    pub fn tenant(&self) -> Vec<Spec> {
        parsed(self.tenant)
    }
}

/// A row that does not parse is found by the test below.
fn parsed(specs: &[&str]) -> Vec<Spec> {
    specs.iter().filter_map(|spec| Spec::parse(spec).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_parses() {
        for preset in PRESETS {
            for text in [preset.session, preset.agent, preset.tenant].into_iter().flatten() {
                let spec = Spec::parse(text).unwrap_or_else(|error| panic!("{}: {text}: {error}", preset.name));
                assert_eq!(spec.to_string(), *text, "{}", preset.name);
            }
        }
    }
}
