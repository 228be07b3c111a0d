//! Which packages keep a session's id where: one row a package, as data, in the language of `--session-from`. Knows
//! nothing of memory, nor of how a row is chosen (`chooser.rs`).
//!
//! The rows stand in the order in which they win. First what runs sessions and knows it; then a session's id that the
//! program itself has put into its log or request context; then jobs and conversations; then ids of single requests; last
//! ids of traces. Rows of the same rank mean the same thing: where two of them fit one task and differ, neither is
//! believed. Rows of a greater rank are asked where those before give nothing.
//!
//! `{session}`, `{request}`, `{agent}` and `{tenant}` stand for the names below, in their order.

use super::spec::Spec;

/// A package, and what names sessions, agents and tenants in a program that uses it.
#[derive(Debug, PartialEq, Eq)]
pub struct Preset {
    pub name: &'static str,
    /// The version that the row was checked on.
    pub checked: &'static str,
    /// Rows of a smaller rank go before.
    pub rank: u8,
    pub module: Module,
    session: &'static [&'static str],
    agent: &'static [&'static str],
    tenant: &'static [&'static str],
}

/// What the import of a module says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Module {
    /// None is asked for: nobody else's variables are called so.
    Any,
    /// The package's variables are called as others' may be: without this module they are others'.
    Needed(&'static str),
    /// With this module it is what the program is, also before the first session; without, a variable has to bear the
    /// package's own name.
    IsIt(&'static str),
}

impl Module {
    /// The one to look for.
    pub fn name(self) -> Option<&'static str> {
        match self {
            Module::Any => None,
            Module::Needed(name) | Module::IsIt(name) => Some(name),
        }
    }
}

/// Names under which programs keep these, where a package leaves the name to them; the surest first.
const SESSION_NAMES: &[&str] = &["session_id", "call_id", "conversation_id", "thread_id", "job_id"];
const REQUEST_NAMES: &[&str] = &["request_id", "correlation_id", "trace_id"];
const AGENT_NAMES: &[&str] = &["agent_name", "agent", "agent_id", "assistant_id"];
const TENANT_NAMES: &[&str] = &["tenant_id", "tenant", "org_id", "customer_id"];

const NONE: &[&str] = &[];

/// Rows up to this rank are of packages that run all sessions of their program: where they name none, there is none.
pub(super) const RUNS_ALL_SESSIONS: u8 = 1;

/// All of them, in the order in which they win.
pub static PRESETS: &[Preset] = &[
    // Every child task of a session carries the three plain variables. The main task loses them again after the
    // greeting, and has them not yet while the session is built; it always carries livekit's JobContext. From there:
    // OpenRTC's own SessionInfo, once the session has started; before that the identity with which the job was accepted,
    // which is `agent-` and the job's id unless the program chose another. Introspection may be on or off.
    Preset {
        name: "openrtc",
        checked: "openrtc 0.20.1",
        rank: 0,
        module: Module::IsIt("openrtc"),
        session: &[
            "openrtc_session_id",
            "agents_job_context._openrtc_session_finish.args[1].job_id",
            LIVEKIT_IDENTITY,
        ],
        agent: &[
            "openrtc_agent_name",
            "agents_job_context._openrtc_session_finish.args[1].agent_name",
        ],
        tenant: &[
            "openrtc_tenant_id",
            "agents_job_context._openrtc_session_finish.args[1].tenant",
        ],
    },
    // A job's own protobuf is opaque from outside. The agent's id is its class's name, in lower case.
    Preset {
        name: "livekit-agents",
        checked: "livekit-agents 1.8.9, process and thread executors",
        rank: 1,
        module: Module::IsIt("livekit.agents"),
        session: &[LIVEKIT_IDENTITY],
        agent: &["agents_job_context._primary_agent_session._agent._id"],
        tenant: NONE,
    },
    // One variable a key; a key that was unbound is Ellipsis.
    Preset {
        name: "structlog",
        checked: "structlog 26.1.0, contextvars",
        rank: 2,
        module: Module::Any,
        session: &["structlog_{session}"],
        agent: &["structlog_{agent}"],
        tenant: &["structlog_{tenant}"],
    },
    Preset {
        name: "loguru",
        checked: "loguru 0.7.3, contextualize",
        rank: 2,
        module: Module::Any,
        session: &["loguru_context[\"{session}\"]"],
        agent: &["loguru_context[\"{agent}\"]"],
        tenant: &["loguru_context[\"{tenant}\"]"],
    },
    Preset {
        name: "quart",
        checked: "Quart 0.22.0, what the program puts into g",
        rank: 2,
        module: Module::Any,
        session: &["\"quart.app_ctx\".g.{session}"],
        agent: &["\"quart.app_ctx\".g.{agent}"],
        tenant: &["\"quart.app_ctx\".g.{tenant}"],
    },
    Preset {
        name: "flask",
        checked: "Flask 3.1.3, what the program puts into g",
        rank: 2,
        module: Module::Any,
        session: &["\"flask.app_ctx\".g.{session}"],
        agent: &["\"flask.app_ctx\".g.{agent}"],
        tenant: &["\"flask.app_ctx\".g.{tenant}"],
    },
    Preset {
        name: "starlette-context",
        checked: "starlette-context 0.5.1, what the program puts into context",
        rank: 2,
        module: Module::Any,
        session: &["starlette_context[\"{session}\"]"],
        agent: &["starlette_context[\"{agent}\"]"],
        tenant: &["starlette_context[\"{tenant}\"]"],
    },
    // Brokers wrap the message.
    Preset {
        name: "dramatiq",
        checked: "dramatiq 2.2.1, middleware CurrentMessage",
        rank: 3,
        module: Module::Needed("dramatiq"),
        session: &["_MESSAGE._message.message_id", "_MESSAGE.message_id"],
        agent: &["_MESSAGE._message.actor_name", "_MESSAGE.actor_name"],
        tenant: NONE,
    },
    // No contextvar: the job's own task is waited for by this one.
    Preset {
        name: "arq",
        checked: "arq 0.28.0",
        rank: 4,
        module: Module::IsIt("arq.worker"),
        session: &["frame:Worker.run_job:job_id"],
        agent: &["frame:Worker.run_job:function_name"],
        tenant: NONE,
    },
    // Both read the same run's config: what it is for is the library that runs. A node of a graph is no agent, and several run
    // at once.
    Preset {
        name: "langgraph",
        checked: "langgraph 1.2.22, langchain-core 1.7.2",
        rank: 5,
        module: Module::Needed("langgraph.pregel"),
        session: RUN_SESSION,
        agent: RUN_AGENT,
        tenant: RUN_TENANT,
    },
    Preset {
        name: "langchain-core",
        checked: "langchain-core 1.7.2",
        rank: 6,
        module: Module::Any,
        session: RUN_SESSION,
        agent: RUN_AGENT,
        tenant: RUN_TENANT,
    },
    // A connection, which is a client: requests are numbered anew in each, and two clients' first ones have one number. 1.x
    // keeps it behind a variable, without a text that tells it from others; from 2.x on it is a local of the coroutine that
    // handles the request, and over HTTP it has the id that client and server call it by (None over a pair of streams).
    Preset {
        name: "mcp",
        checked: "mcp 1.30.0",
        rank: 7,
        module: Module::Needed("mcp.server.lowlevel.server"),
        session: &["request_ctx.session|address"],
        agent: NONE,
        tenant: &["auth_context.username"],
    },
    Preset {
        name: "mcp",
        checked: "mcp 2.3.0",
        rank: 7,
        module: Module::IsIt("mcp.server.runner"),
        session: &[
            "frame:ServerRunner._on_request:self.connection.session_id",
            "frame:ServerRunner._on_request:self.connection|address",
        ],
        agent: NONE,
        tenant: &["auth_context.username"],
    },
    Preset {
        name: "asgi-correlation-id",
        checked: "asgi-correlation-id 5.0.1",
        rank: 8,
        module: Module::Needed("asgi_correlation_id"),
        session: &["correlation_id"],
        agent: NONE,
        tenant: NONE,
    },
    Preset {
        name: "starlette-context",
        checked: "starlette-context 0.5.1, plugins RequestId and CorrelationId",
        rank: 8,
        module: Module::Any,
        session: &[
            "starlette_context[\"X-Request-ID\"]",
            "starlette_context[\"X-Correlation-ID\"]",
            "starlette_context[\"{request}\"]",
        ],
        agent: NONE,
        tenant: NONE,
    },
    Preset {
        name: "structlog",
        checked: "structlog 26.1.0, contextvars",
        rank: 8,
        module: Module::Any,
        session: &["structlog_{request}"],
        agent: &["structlog_{agent}"],
        tenant: &["structlog_{tenant}"],
    },
    Preset {
        name: "loguru",
        checked: "loguru 0.7.3, contextualize",
        rank: 8,
        module: Module::Any,
        session: &["loguru_context[\"{request}\"]"],
        agent: &["loguru_context[\"{agent}\"]"],
        tenant: &["loguru_context[\"{tenant}\"]"],
    },
    Preset {
        name: "quart",
        checked: "Quart 0.22.0, what the program puts into g",
        rank: 8,
        module: Module::Any,
        session: &["\"quart.app_ctx\".g.{request}"],
        agent: &["\"quart.app_ctx\".g.{agent}"],
        tenant: &["\"quart.app_ctx\".g.{tenant}"],
    },
    Preset {
        name: "flask",
        checked: "Flask 3.1.3, what the program puts into g",
        rank: 8,
        module: Module::Any,
        session: &["\"flask.app_ctx\".g.{request}"],
        agent: &["\"flask.app_ctx\".g.{agent}"],
        tenant: &["\"flask.app_ctx\".g.{tenant}"],
    },
    // The program's own.
    Preset {
        name: "correlation_id",
        checked: "a contextvar of that name",
        rank: 9,
        module: Module::Any,
        session: &["correlation_id"],
        agent: NONE,
        tenant: NONE,
    },
    // What the program says of the session travels as baggage; else the trace stands for it.
    Preset {
        name: "opentelemetry (baggage)",
        checked: "opentelemetry-api 1.45.2",
        rank: 10,
        module: Module::Needed("opentelemetry.context"),
        session: &[
            "current_context[\"baggage-\"*][\"session.id\"]",
            "current_context[\"baggage-\"*][\"{session}\"]",
        ],
        agent: &[
            "current_context[\"baggage-\"*][\"agent.name\"]",
            "current_context[\"baggage-\"*][\"{agent}\"]",
        ],
        tenant: &[
            "current_context[\"baggage-\"*][\"tenant.id\"]",
            "current_context[\"baggage-\"*][\"{tenant}\"]",
        ],
    },
    Preset {
        name: "sentry (tags)",
        checked: "sentry-sdk 2.75.0",
        rank: 10,
        module: Module::Needed("sentry_sdk"),
        session: &[
            "isolation_scope._tags[\"{session}\"]",
            "isolation_scope._gen_ai_conversation_id",
        ],
        agent: &["isolation_scope._tags[\"{agent}\"]"],
        tenant: &["isolation_scope._tags[\"{tenant}\"]"],
    },
    // A span context is a tuple, its first item the trace's id.
    Preset {
        name: "opentelemetry",
        checked: "opentelemetry-api 1.45.2, opentelemetry-sdk 1.45.2",
        rank: 11,
        module: Module::Needed("opentelemetry.context"),
        session: &["current_context[\"current-span-\"*]._context[0]|hex(32)"],
        agent: NONE,
        tenant: NONE,
    },
    // A transaction's, with tracing switched off too. Not the isolation scope's: the process's own has one from the start,
    // which its forks share until a request brings another. Nor a span's that is in no transaction: the integration for
    // asyncio begins one in every task, and it has that same trace.
    Preset {
        name: "sentry",
        checked: "sentry-sdk 2.75.0",
        rank: 12,
        module: Module::Needed("sentry_sdk"),
        session: &[
            "current_scope._span._containing_transaction._trace_id",
            "current_scope._span[?source]._trace_id",
            "current_scope._span._segment._trace_id",
        ],
        agent: NONE,
        tenant: NONE,
    },
];

/// Of the config of a run of LangChain's.
const RUN_SESSION: &[&str] = &[
    "child_runnable_config[\"configurable\"][\"{session}\"]",
    "child_runnable_config[\"metadata\"][\"{session}\"]",
];
const RUN_AGENT: &[&str] = &["child_runnable_config[\"metadata\"][\"{agent}\"]"];
const RUN_TENANT: &[&str] = &[
    "child_runnable_config[\"configurable\"][\"{tenant}\"]",
    "child_runnable_config[\"metadata\"][\"{tenant}\"]",
];

const LIVEKIT_IDENTITY: &str = "agents_job_context._info.accept_arguments.identity|strip(\"agent-\")";

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
    let texts = specs.iter().flat_map(|spec| spelt_out(spec));
    texts.filter_map(|spec| Spec::parse(&spec).ok()).collect()
}

/// A row's text with each of the names that a word in braces stands for.
fn spelt_out(text: &str) -> Vec<String> {
    let words = [
        ("{session}", SESSION_NAMES),
        ("{request}", REQUEST_NAMES),
        ("{agent}", AGENT_NAMES),
        ("{tenant}", TENANT_NAMES),
    ];
    let used = words.into_iter().find(|(word, _)| text.contains(word));
    match used {
        Some((word, names)) => names.iter().map(|name| text.replace(word, name)).collect(),
        None => vec![text.to_owned()],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_parses_and_names_sessions() {
        for preset in PRESETS {
            assert!(
                !preset.session.is_empty() && !preset.checked.is_empty(),
                "{}",
                preset.name
            );
            for text in [preset.session, preset.agent, preset.tenant].into_iter().flatten() {
                for text in spelt_out(text) {
                    let spec = Spec::parse(&text).unwrap_or_else(|error| panic!("{}: {text}: {error}", preset.name));
                    assert_eq!(spec.to_string(), text, "{}", preset.name);
                    assert!(!spec.leads_to_a_credential(), "{text}: its ids would not be shown");
                    assert!(!text.contains('{'), "{text}");
                }
            }
        }
    }

    #[test]
    fn the_rows_stand_in_the_order_in_which_they_win() {
        assert!(PRESETS.is_sorted_by_key(|preset| preset.rank));
        assert!(PRESETS.len() <= 32, "a bit each");
        assert_eq!(PRESETS.first().map(|preset| preset.name), Some("openrtc"));
    }

    #[test]
    fn names_are_spelt_out_in_their_order() {
        let specs: Vec<String> = parsed(&["structlog_{session}"]).iter().map(Spec::to_string).collect();
        assert_eq!(specs.first().map(String::as_str), Some("structlog_session_id"));
        assert_eq!(specs.len(), SESSION_NAMES.len());
    }
}
