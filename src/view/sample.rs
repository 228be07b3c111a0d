//! Hand-made reports for the tests of this room and of the rooms that draw. Not part of the program.

use crate::model::*;
use std::sync::Arc;

/// A session as the original's captures show them.
pub fn session(id: &str, agent: &str, tenant: &str, cpu_pct: f64) -> SessionReport {
    SessionReport {
        key: SessionKey::of(id),
        session_id: id.to_owned(),
        worker: None,
        agent_name: Some(agent.to_owned()),
        tenant: Some(tenant.to_owned()),
        duration_s: Some(106.4),
        duration_is_lower_bound: false,
        mem_mb: Some(32.8),
        peak_mb: Some(41.5),
        cpu_pct: Some(cpu_pct),
        cpu_s: Some(cpu_pct / 10.0),
        loop_pct: Some(cpu_pct + 1.0),
        status: Status::Active,
        pinned: false,
        tasks: Some(27),
        blocks: 0,
        blocked_ms: 0.0,
        worst_block_ms: None,
        blocked_is_lower_bound: false,
        worst_is_lower_bound: false,
        place: Some(Where {
            function: Some("recv".into()),
            file: Some("/srv/app/agents/voice.py".into()),
            line: Some(88),
            state: Some("waiting"),
        }),
        stack: None,
    }
}

/// The six sessions of the captures, one of them slow.
pub fn six() -> Vec<SessionReport> {
    let mut sessions = vec![
        session("AJ_000sYfnHPcRu", "restaurant", "acme", 2.8),
        session("AJ_0014qgHOf2aF", "dental", "globex", 17.4),
        session("AJ_002K9ggw8rCx", "support", "default", 22.0),
        session("AJ_003naxhwfGRC", "restaurant", "acme", 2.7),
        session("AJ_004huv9tJYKq", "dental", "globex", 27.5),
        session("AJ_005v9hPKP7Vo", "support", "default", 3.1),
    ];
    sessions[4].status = Status::Slow;
    sessions[4].blocks = 3;
    sessions[4].blocked_ms = 1210.0;
    sessions[4].worst_block_ms = Some(520.0);
    sessions[4].place = Some(Where {
        function: Some("lookup".into()),
        file: Some("/srv/app/agents/booking.py".into()),
        line: Some(41),
        state: Some("running"),
    });
    sessions
}

pub fn crowd(count: usize) -> Vec<SessionReport> {
    (0..count)
        .map(|number| {
            let mut one = session(
                &format!("call-{number:04}"),
                "dental",
                "acme",
                (number * 37 % 100) as f64 / 10.0,
            );
            one.mem_mb = Some(0.4);
            one.peak_mb = Some(3.1);
            one
        })
        .collect()
}

pub fn report(sessions: Vec<SessionReport>) -> Report {
    Report {
        schema: SCHEMA,
        worker: WorkerReport {
            name: Some("vm".to_owned()),
            pid: 4242,
            python: "3.12.1".to_owned(),
            loop_kind: Some("asyncio".to_owned()),
            uptime_s: Some(100.6),
            active_sessions: Some(sessions.len() as u64),
            max_sessions: Some(12),
            started: Some(18),
            failed: Some(0),
            last_error: None,
            draining: Some(false),
            rss_mb: Some(196.8),
            cpu_pct: Some(79.9),
            loop_pct: Some(83.1),
            ready: Some(3),
            tasks: Some(174),
            session_from: Some("openrtc".to_owned()),
            loops: vec![LoopReport {
                kind: "asyncio".to_owned(),
                tid: Some(4242),
                thread: Some("MainThread".to_owned()),
                loop_pct: Some(83.1),
                ready: Some(3),
                tasks: Some(174),
            }],
            cpu_history: (0..60).map(|second| f64::from(second * 7 % 90) + 4.0).collect(),
            system: SystemReport {
                cpu_pct: Some(100.0),
                vcpus: Some(2),
                mem_used_bytes: Some(807_190_528),
                mem_total_bytes: Some(25_276_510_208),
                swap_used_bytes: Some(0),
                swap_total_bytes: Some(0),
                load1: Some(7.01),
                load5: Some(6.82),
                load15: Some(5.55),
                net_rate_bps: Some(258.6),
            },
            condition: None,
            asyncio_imported: true,
            is_served: false,
        },
        unattributed: Unattributed {
            cpu_pct: Some(4.4),
            cpu_s: Some(0.4),
            loop_pct: Some(5.2),
        },
        sessions,
        blocks: Vec::new(),
        quality: Quality {
            kept_s: None,
            kept_bytes: None,
            paused_ms: None,
            pause_refused: None,
            paused_last_ms: None,
            window_s: 1.0,
            hz_asked: 1000.0,
            hz_got: 998.7,
            blocks_from_ms: None,
            samples: 999,
            torn: 2,
            otop_cpu_pct: Some(1.2),
            ..Quality::default()
        },
        unix_now: Some(1_700_000_100.0),
        recent: Vec::new(),
        history: Vec::new(),
        pool: None,
    }
}

pub fn second_loop() -> LoopReport {
    LoopReport {
        kind: "uvloop".to_owned(),
        tid: Some(4250),
        thread: Some("ingest".to_owned()),
        loop_pct: Some(2.0),
        ready: None,
        tasks: Some(3),
    }
}

/// The emergency: it began before otop looked and is still going on.
pub fn block_now(session_id: Option<&str>, cause: Cause) -> Block {
    Block {
        id: 1,
        culprit: session_id.map(SessionKey::of),
        grounds: Grounds::of(cause),
        session_id: session_id.map(str::to_owned),
        agent_name: Some("dental".to_owned()),
        tenant: Some("globex".to_owned()),
        step_session_id: session_id.map(str::to_owned),
        holder_session_id: None,
        holder_thread: None,
        started_at: None,
        duration_ms: 3210.0,
        duration_is_lower_bound: true,
        ongoing: true,
        cause,
        causes_ms: CausesMs::default(),
        syscall: (cause == Cause::Syscall).then(|| "recvfrom".to_owned()),
        function: Some("send".into()),
        file: Some("/usr/lib/python3/site-packages/requests/adapters.py".into()),
        line: Some(667),
        stack: None,
        waiting: Some(12),
    }
}

/// A line of a stack.
pub fn at(function: &str, file: &str, line: u32) -> Where {
    Where {
        function: Some(function.into()),
        file: Some(file.into()),
        line: Some(line),
        state: None,
    }
}

/// A stack as a blocking call of `requests` has it, innermost first.
pub fn stack() -> Vec<Where> {
    let library = "/usr/lib/python3.12";
    let installed = "/srv/venv/lib/python3.12/site-packages";
    vec![
        at("readinto", &format!("{library}/socket.py"), 707),
        at("_read_status", &format!("{library}/http/client.py"), 286),
        at("getresponse", &format!("{library}/http/client.py"), 1428),
        at(
            "HTTPConnectionPool._make_request",
            &format!("{installed}/urllib3/connectionpool.py"),
            534,
        ),
        at("HTTPAdapter.send", &format!("{installed}/requests/adapters.py"), 667),
        at("lookup", "/srv/app/agents/booking.py", 41),
        at("Agent.on_turn", "/srv/app/agents/voice.py", 88),
        at("Handle._run", &format!("{library}/asyncio/events.py"), 88),
    ]
}

/// The same, as the samples have it.
pub fn sampled_stack() -> Arc<Stack> {
    let frames = stack().into_iter().map(|at| {
        Arc::new(Frame {
            function: at.function.unwrap_or_default(),
            file: at.file.unwrap_or_default(),
            line: at.line.unwrap_or_default(),
            first_line: 1,
        })
    });
    Arc::new(Stack {
        frames: frames.collect(),
        is_cut: false,
    })
}

/// The blocks of a bad minute, newest first: one for each way in which a block can be.
pub fn blocks() -> Vec<Arc<Block>> {
    let over = |id: u64, session_id: Option<&str>, cause, began_ago: f64, ms: f64| Block {
        id,
        duration_ms: ms,
        duration_is_lower_bound: false,
        ongoing: false,
        started_at: Some(1_700_000_100.0 - began_ago),
        ..block_now(session_id, cause)
    };
    let mut now = block_now(Some("AJ_0014qgHOf2aF"), Cause::Syscall);
    now.id = 9;
    now.causes_ms.syscall = 3190.0;
    now.causes_ms.cpu = 20.0;
    now.stack = Some(stack());
    (now.function, now.file, now.line) = (
        Some("lookup".into()),
        Some("/srv/app/agents/booking.py".into()),
        Some(41),
    );
    let mut held = over(8, Some("AJ_002K9ggw8rCx"), Cause::Gil, 20.0, 640.0);
    held.holder_thread = Some("worker_0 (1234)".to_owned());
    held.holder_session_id = Some("AJ_002K9ggw8rCx".to_owned());
    (held.grounds.holder, held.grounds.gil_kept_ms) = (held.culprit, 600.0);
    held.step_session_id = Some("AJ_000sYfnHPcRu".to_owned());
    held.causes_ms = CausesMs {
        gil: 600.0,
        cpu: 30.0,
        unscheduled: 10.0,
        ..CausesMs::default()
    };
    let mut nobodys = over(7, None, Cause::Unscheduled, 45.0, 90.0);
    (nobodys.function, nobodys.file, nobodys.line, nobodys.waiting) = (None, None, None, None);
    let guess = over(6, Some("AJ_005v9hPKP7Vo"), Cause::Unknown, 130.0, 70.0);
    let collected = over(5, None, Cause::Gc, 500.0, 180.0);
    let computed = over(4, Some("AJ_004huv9tJYKq"), Cause::Cpu, 4000.0, 520.0);
    [now, held, nobodys, guess, collected, computed]
        .into_iter()
        .map(Arc::new)
        .collect()
}

/// Four minutes in which the session worked in bursts.
pub fn history(id: &str) -> Vec<Arc<HistoryStretch>> {
    let second = |number: u64| Nanos(number * 1_000_000_000);
    let stretch = |number: u64| {
        let used = SessionUse {
            key: SessionKey::of(id),
            cpu_pct: (number % 40) as f32,
            loop_pct: (number % 40) as f32 * 1.5,
        };
        HistoryStretch {
            from: second(number),
            to: second(number + 1),
            used: if number.is_multiple_of(40) {
                Vec::new()
            } else {
                vec![used]
            },
        }
    };
    (0..240).map(stretch).map(Arc::new).collect()
}

/// Strings that would act on a terminal, if they reached it.
pub const HOSTILE: &[&str] = &[
    "\x1b]0;owned\x07\x1b[2J",
    "line\nbreak\r\ttab",
    "\u{9b}31mC1\u{7f}",
    "\u{202e}gnp.exe\u{2066}",
    "zero\u{200b}width\u{2028}end\u{feff}",
    "\u{301}\u{301}mark",
    "z\u{301}\u{302}\u{303}\u{304}\u{305}\u{306}\u{307}algo",
    "",
    "   ",
];
