//! Which contextvars name session, agent and tenant: the presets, and what the user asked for. Knows nothing of memory.

use super::path::PathStep::{self, Attribute, Item, WithoutPrefix};

/// A contextvar's name, and the path from its value to the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    pub variable: String,
    pub path: Vec<PathStep>,
}

/// For each thing that is to be named, the rules in order: the first that gives a text wins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    pub session: Vec<Rule>,
    pub agent: Vec<Rule>,
    pub tenant: Vec<Rule>,
    /// What the header calls them: `openrtc`, or the contextvar that was asked for.
    pub name: String,
}

impl Rules {
    /// What names a session in OpenRTC 0.20 and livekit-agents 1.8, introspection on or off.
    ///
    /// Every child task of a session carries the three plain variables. The main task loses them again after the
    /// greeting, and has them not yet while the session is built; it always carries livekit's `JobContext`. From there:
    /// OpenRTC's own `SessionInfo`, once the session has started; before that, and for plain LiveKit workers, the
    /// identity with which the job was accepted, which is `agent-` and the job's id unless the program chose another.
    pub fn openrtc() -> Rules {
        let plain = |variable: &str| Rule {
            variable: variable.to_string(),
            path: vec![],
        };
        let job = |path: &[PathStep]| Rule {
            variable: "agents_job_context".to_string(),
            path: path.to_vec(),
        };
        // `functools.partial(finish, pool, info, …)`: the second of its arguments is the SessionInfo.
        let info = |field| {
            job(&[
                Attribute("_openrtc_session_finish"),
                Attribute("args"),
                Item(1),
                Attribute(field),
            ])
        };
        let identity = &[
            Attribute("_info"),
            Attribute("accept_arguments"),
            Attribute("identity"),
            WithoutPrefix("agent-"),
        ];
        Rules {
            session: vec![plain("openrtc_session_id"), info("job_id"), job(identity)],
            agent: vec![plain("openrtc_agent_name"), info("agent_name")],
            tenant: vec![plain("openrtc_tenant_id"), info("tenant")],
            name: "openrtc".to_string(),
        }
    }

    /// The contextvars that the user named; what is not named falls to OpenRTC's. Only where the sessions are another
    /// program's, OpenRTC's agents and tenants would be too.
    pub fn chosen(session: Option<&str>, agent: Option<&str>, tenant: Option<&str>) -> Rules {
        let plain = |variable: &str| Rule {
            variable: variable.to_string(),
            path: vec![],
        };
        let mut rules = Rules::openrtc();
        if let Some(session) = session {
            rules = Rules {
                session: vec![plain(session)],
                agent: vec![],
                tenant: vec![],
                name: session.to_string(),
            };
        }
        rules.agent = agent.map_or(rules.agent, |agent| vec![plain(agent)]);
        rules.tenant = tenant.map_or(rules.tenant, |tenant| vec![plain(tenant)]);
        rules
    }

    /// All names of contextvars that any rule begins with.
    pub fn variables(&self) -> impl Iterator<Item = &str> {
        self.session
            .iter()
            .chain(&self.agent)
            .chain(&self.tenant)
            .map(|rule| rule.variable.as_str())
    }
}
