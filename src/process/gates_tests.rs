//! One table: what both sides are, and which check is named.

use super::*;

const PID: Pid = Pid(77);
const PTRACE: u64 = 1 << CAP_SYS_PTRACE;

fn user(id: u32) -> Credentials {
    Credentials {
        uids: [id; 3],
        gids: [id; 3],
        permitted_capabilities: 0,
        effective_capabilities: 0,
        seccomp: 0,
    }
}

fn between(ours: Credentials, theirs: Credentials) -> Circumstances {
    Circumstances {
        ours,
        theirs,
        yama: Said::None,
        capabilities_count: Some(true),
        user_namespaces: (Some("user:[2]".to_owned()), Some("user:[1]".to_owned())),
        dumpable: true,
        lockdown: Said::None,
        modules: Said::This("capability".to_owned()),
        container: None,
    }
}

#[test]
fn each_cause_is_told_from_the_others() {
    let root = Credentials {
        permitted_capabilities: PTRACE,
        effective_capabilities: PTRACE,
        ..user(0)
    };
    let bare_root = Credentials {
        permitted_capabilities: 1,
        effective_capabilities: 1,
        ..user(0)
    };
    let same = || between(user(1000), user(1000));
    let cases = [
        ("another user", between(user(1000), user(33)), "belongs to user 33"),
        (
            "one of three ids differs",
            between(
                user(1000),
                Credentials {
                    uids: [1000, 1000, 0],
                    ..user(1000)
                },
            ),
            "belongs to user 1000/1000/0",
        ),
        (
            "another group",
            between(
                user(1000),
                Credentials {
                    gids: [4; 3],
                    ..user(1000)
                },
            ),
            "group 4,",
        ),
        (
            "not dumpable",
            Circumstances {
                dumpable: false,
                ..same()
            },
            "core dumps",
        ),
        (
            "more capable",
            between(
                user(1000),
                Credentials {
                    permitted_capabilities: 1 << 10,
                    ..user(1000)
                },
            ),
            "CapPrm 0000000000000400",
        ),
        (
            "yama 1",
            Circumstances {
                yama: Said::This(1),
                ..same()
            },
            "ptrace_scope is 1",
        ),
        (
            "yama 2",
            Circumstances {
                yama: Said::This(2),
                ..same()
            },
            "ptrace_scope is 2",
        ),
        (
            "yama 3 stops root too",
            Circumstances {
                yama: Said::This(3),
                ..between(root, user(33))
            },
            "ptrace_scope is 3",
        ),
        (
            "yama 0 says nothing",
            Circumstances {
                yama: Said::This(0),
                ..between(user(1000), user(33))
            },
            "user 33",
        ),
        (
            "root without the capability",
            between(bare_root, user(33)),
            "root without the capability SYS_PTRACE",
        ),
        (
            "root without the capability, same user, Yama",
            Circumstances {
                yama: Said::This(1),
                ..between(bare_root, bare_root)
            },
            "root without the capability SYS_PTRACE",
        ),
        (
            "a foreign user namespace",
            Circumstances {
                capabilities_count: Some(false),
                ..between(root, user(0))
            },
            "user:[2] against otop's user:[1]",
        ),
        (
            "a foreign user namespace, where capabilities that otop has not would not count either",
            Circumstances {
                capabilities_count: Some(false),
                ..between(user(65534), root)
            },
            "where otop's capabilities do not count",
        ),
        (
            "the same, of another user there",
            Circumstances {
                capabilities_count: Some(false),
                ..between(bare_root, user(33))
            },
            "where otop's capabilities do not count",
        ),
        (
            "seccomp",
            between(Credentials { seccomp: 2, ..root }, user(0)),
            "Seccomp: 2",
        ),
        (
            "lockdown",
            Circumstances {
                lockdown: Said::This("confidentiality".to_owned()),
                ..between(root, user(0))
            },
            "lockdown: confidentiality",
        ),
        (
            "a security module",
            Circumstances {
                modules: Said::This("capability,apparmor".to_owned()),
                ..between(root, user(0))
            },
            "capability,apparmor",
        ),
        ("nothing known", between(root, user(0)), "Operation not permitted"),
    ];
    for (name, seen, expected) in cases {
        let told = explain(PID, &seen, Errno::EPERM).to_string();
        assert!(told.contains(expected), "{name}: {told}");
        assert!(!told.contains('\n'), "{name} is one line: {told}");
    }
}

#[test]
fn where_no_capability_counts_none_is_asked_for() {
    let seen = Circumstances {
        capabilities_count: Some(false),
        ..between(user(65534), user(0))
    };
    for gate in [Gate::Owner, Gate::UserNamespace] {
        let refusal = gate.refusal(PID, &seen).expect("refused");
        let mend = gate.remedies(&refusal, PID, &seen);
        assert_eq!(
            mend,
            ["sudo otop --pid 77 on the host, with the PID that it has there"],
            "{gate:?}"
        );
    }
    let seen = between(user(1000), user(0));
    let refusal = Gate::Owner.refusal(PID, &seen).expect("refused");
    assert_eq!(Gate::Owner.remedies(&refusal, PID, &seen), ["sudo otop --pid 77"]);
}

#[test]
fn what_cannot_be_seen_is_not_taken_for_absent() {
    let folder = std::env::temp_dir().join(format!("otop-gates-{}", std::process::id()));
    assert_eq!(
        (yama_below(&folder), lockdown_below(&folder)),
        (Said::Unknown, Said::Unknown)
    );
    std::fs::create_dir_all(folder.join("yama")).expect("made");
    let put = |name: &str, text: &str| std::fs::write(folder.join(name), text).expect("written");
    assert_eq!(yama_below(&folder), Said::Unknown, "there, and closed");
    put("yama/ptrace_scope", "2\n");
    assert_eq!(yama_below(&folder), Said::This(2));
    std::fs::remove_dir_all(folder.join("yama")).expect("gone");
    put("ostype", "Linux\n");
    put("lsm", "capability");
    assert_eq!((yama_below(&folder), lockdown_below(&folder)), (Said::None, Said::None));
    put("lockdown", "[none] integrity confidentiality\n");
    assert_eq!(lockdown_below(&folder), Said::None);
    put("lockdown", "none [integrity] confidentiality\n");
    assert_eq!(lockdown_below(&folder), Said::This("integrity".to_owned()));
    std::fs::remove_dir_all(&folder).expect("gone");
}
