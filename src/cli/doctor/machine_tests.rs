//! What is said of the rules, of the scheduling class and of the quota, by what is known of otop's place.

use super::*;
use crate::cli::doctor::finding::Verdict;

fn without_class() -> Scheduling {
    Scheduling {
        is_realtime: false,
        may_nice: true,
        is_root: true,
        root_may_nice: true,
        is_outermost: true,
        refused_by: None,
        container: None,
        cpus: Some("0-1".to_owned()),
    }
}

fn group(outside: Option<&str>) -> Option<NoRealtime> {
    Some(NoRealtime {
        file: "/g/cpu/a\\x2db/cpu.rt_runtime_us".into(),
        outside: outside.map(Into::into),
    })
}

#[test]
fn a_group_without_a_real_time_share_is_named_and_no_capability_is_asked_for() {
    let docker = scheduling(&Scheduling {
        refused_by: group(None),
        container: Some(Container::Docker),
        ..without_class()
    });
    assert_eq!(docker.verdict, Verdict::Limited);
    assert!(
        docker.fact.contains("cpu.rt_runtime_us is 0), and loses ticks"),
        "{docker:?}"
    );
    assert_eq!(docker.mend[0], "docker run --cpu-rt-runtime 200000 …");
    let both = scheduling(&Scheduling {
        may_nice: false,
        refused_by: group(None),
        container: Some(Container::Podman),
        ..without_class()
    });
    assert!(both.fact.contains("no SYS_NICE"), "{both:?}");
    assert_eq!(both.mend[0], "podman run --cap-add SYS_NICE --cpu-rt-runtime 200000 …");
    let host = scheduling(&Scheduling {
        refused_by: group(Some("/g/cpu/tasks")),
        ..without_class()
    });
    assert_eq!(
        host.mend,
        [
            "sudo sh -c 'echo $$ > /g/cpu/tasks && exec otop …'",
            "echo 200000 | sudo tee '/g/cpu/a\\x2db/cpu.rt_runtime_us'"
        ]
    );
}

#[test]
fn who_has_the_capability_is_not_told_to_get_it() {
    for (is_outermost, container, fact) in [
        (true, None, "though otop has SYS_NICE"),
        (true, Some(Container::Docker), "though otop has SYS_NICE"),
        (true, Some(Container::Kubernetes), "though otop has SYS_NICE"),
        (false, None, "first user namespace"),
        (false, Some(Container::Podman), "first user namespace"),
    ] {
        let finding = scheduling(&Scheduling {
            is_outermost,
            container,
            ..without_class()
        });
        assert!(finding.fact.contains(fact), "{finding:?}");
        assert!(!finding.mend.concat().contains("SYS_NICE"), "{finding:?}");
    }
    let finding = scheduling(&Scheduling {
        may_nice: false,
        container: Some(Container::Docker),
        ..without_class()
    });
    assert_eq!(finding.mend, ["docker run --cap-add SYS_NICE …"]);
}

/// A capability that is added to a container reaches its root alone.
#[test]
fn who_is_not_root_in_a_container_is_told_to_be() {
    let first = |container, root_may_nice| {
        let finding = scheduling(&Scheduling {
            may_nice: false,
            is_root: false,
            root_may_nice,
            container: Some(container),
            ..without_class()
        });
        finding.mend.into_iter().next().expect("there is a way")
    };
    assert_eq!(first(Container::Docker, true), "docker exec -it -u 0 CONTAINER otop …");
    assert!(first(Container::Docker, false).starts_with("docker run -it --rm -u 0"));
    assert!(first(Container::Kubernetes, true).starts_with("kubectl debug"));
    assert_eq!(first(Container::Other, true), "docker run --cap-add SYS_NICE …");
}

#[test]
fn a_quota_is_mended_as_its_keeper_does_it() {
    let quota = Quota {
        cpus: 0.05,
        file: "/g/a/cpu.cfs_quota_us".into(),
        text: "5000 of 100000 µs".to_owned(),
        none: "-1",
        outside: Some("/g/tasks".into()),
    };
    assert!(quota_words(&quota).contains("0.05 CPUs (/g/a/cpu.cfs_quota_us: 5000 of 100000 µs)"));
    for container in [None, Some(Container::Docker)] {
        let ways = out_of_quota(&quota, container);
        assert_eq!(
            ways,
            [
                "sudo sh -c 'echo $$ > /g/tasks && exec otop …'",
                "echo -1 | sudo tee /g/a/cpu.cfs_quota_us"
            ]
        );
    }
    let uppermost = Quota { outside: None, ..quota };
    let first = |container| out_of_quota(&uppermost, container).remove(0);
    assert_eq!(first(Some(Container::Podman)), "podman update --cpus 1 CONTAINER");
    assert!(first(Some(Container::Kubernetes)).starts_with("resources: "));
}

#[test]
fn a_right_that_could_not_be_given_up_is_not_said_to_be_gone() {
    let ours = |capabilities| Credentials {
        uids: [0; 3],
        gids: [0; 3],
        permitted_capabilities: capabilities,
        effective_capabilities: capabilities,
        seccomp: 2,
    };
    let all = runs_as(&ours(0x1ff_feff_ffff));
    assert_eq!((all.verdict, all.mend.len()), (Verdict::Limited, 1), "{all:?}");
    assert!(
        all.fact
            .contains("could not give up (CapPrm 000001fffeffffff): a seccomp filter"),
        "{all:?}"
    );
    let few = runs_as(&ours(1 << 19 | 1 << 2));
    assert!(
        few.verdict == Verdict::Ok && few.fact.contains("it has given up"),
        "{few:?}"
    );
}

#[test]
fn what_cannot_be_learned_is_not_said_to_be_well() {
    let unknown = [
        yama(Said::Unknown, Pid(1), true),
        lockdown(Said::Unknown),
        seccomp(None),
    ];
    for finding in unknown {
        assert_eq!(finding.verdict, Verdict::Unknown, "{finding:?}");
    }
    let known = [yama(Said::None, Pid(1), false), lockdown(Said::None), seccomp(Some(0))];
    for finding in known {
        assert_eq!(finding.verdict, Verdict::Ok, "{finding:?}");
    }
}

#[test]
fn what_keeps_stacks_from_being_read_by_interrupts_is_mended_where_otop_is() {
    let of = |refusal, is_root, container| interrupts(Err(refusal), is_root, container);
    assert_eq!(interrupts(Ok(()), true, None).verdict, Verdict::Ok);
    let user = of(NoInterrupts::NotPermitted, false, None);
    assert_eq!(
        (user.verdict, &user.mend[..]),
        (Verdict::Limited, &["sudo otop …".to_owned()][..])
    );
    // Root has what it takes: then something forbids it that no capability mends.
    assert!(of(NoInterrupts::NotPermitted, true, None).mend.is_empty());
    let docker = of(NoInterrupts::NotPermitted, true, Some(Container::Docker));
    assert_eq!(docker.mend[0], "docker run --cap-add BPF --cap-add PERFMON …");
    let user = of(NoInterrupts::NotPermitted, false, Some(Container::Docker));
    assert_eq!(user.mend, ["sudo otop … on the host"]);
    let inside = of(NoInterrupts::Namespace, true, Some(Container::Docker));
    assert_eq!(inside.mend, ["sudo otop … on the host"]);
    assert!(inside.fact.contains("PID namespace"));
    assert!(of(NoInterrupts::NotSupported, true, None).mend.is_empty());
}
