//! Which specs name session, agent and tenant: a preset's, or what the user asked for. Knows nothing of memory.

use super::presets::Preset;
use super::spec::Spec;

/// For each thing that is to be named, the specs in order: the first that gives a text wins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    pub session: Vec<Spec>,
    pub agent: Vec<Spec>,
    pub tenant: Vec<Spec>,
    /// What the header calls them: the preset's name, or the specs that were asked for.
    pub name: String,
}

impl Rules {
    /// Those of a preset.
    pub fn of(preset: &Preset) -> Rules {
        Rules {
            session: preset.session(),
            agent: preset.agent(),
            tenant: preset.tenant(),
            name: preset.name.to_owned(),
        }
    }

    /// What names a session in OpenRTC and LiveKit.
    pub fn openrtc() -> Rules {
        Rules::of(&super::presets::OPENRTC)
    }

    /// What the header calls these specs; None: there are none.
    pub fn name_of(session: &[Spec]) -> Option<String> {
        let names: Vec<String> = session.iter().map(Spec::to_string).collect();
        (!names.is_empty()).then(|| names.join(" or "))
    }

    /// The specs that the user named; what is not named falls to the preset's. Only where the sessions are the user's
    /// own, the preset's agents and tenants would be another program's.
    pub fn chosen(session: &[Spec], agent: &[Spec], tenant: &[Spec]) -> Rules {
        let mut rules = Rules::openrtc();
        if !session.is_empty() {
            rules = Rules {
                session: session.to_vec(),
                agent: vec![],
                tenant: vec![],
                name: Rules::name_of(session).unwrap_or_default(),
            };
        }
        if !agent.is_empty() {
            rules.agent = agent.to_vec();
        }
        if !tenant.is_empty() {
            rules.tenant = tenant.to_vec();
        }
        rules
    }
}
