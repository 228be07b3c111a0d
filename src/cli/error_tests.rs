//! One table: each cause, its exit code, a piece of its text and of its remedy.

use super::*;
use crate::process::container::Container;
use crate::process::permission::Refusal;

const PID: Pid = Pid(77);

#[test]
fn each_cause_has_its_text_its_code_and_its_command() {
    let version = || "3.7.16".to_owned();
    let path = || PathBuf::from("top.sock");
    let name = |name: &str| name.to_owned();
    let no_variable = |likely: Vec<String>| AttachError::NoSuchVariable {
        pid: PID,
        option: "--session-from",
        name: name("reqid"),
        meant: likely.first().map(|name| name.as_str().into()),
        likely,
    };
    let no_folder = |folder: &str, may_be_made| FileError::NoFolder {
        path: PathBuf::from(folder).join("x.svg"),
        folder: folder.into(),
        may_be_made,
    };
    let cases: Vec<(CliError, Exit, &str, &str)> = vec![
        (
            no_folder("/no such", true).into(),
            Exit::Other,
            "there is no folder /no such",
            "mkdir -p '/no such'",
        ),
        (
            no_folder("/none", false).into(),
            Exit::Other,
            "there is no folder /none",
            "-o /tmp/x.svg",
        ),
        (
            FileError::Io {
                path: "/etc/x.svg".into(),
                error: std::io::Error::from_raw_os_error(nix::libc::EACCES),
            }
            .into(),
            Exit::Other,
            "/etc/x.svg cannot be written: Permission denied",
            "-o /tmp/x.svg",
        ),
        (
            AttachError::NoSuchProcess(PID).into(),
            Exit::NoWorker,
            "no process has PID 77",
            "otop",
        ),
        (
            AttachError::Zombie(PID).into(),
            Exit::NoWorker,
            "it is a zombie",
            "otop",
        ),
        (
            AttachError::Thread {
                thread: PID,
                process: Pid(70),
            }
            .into(),
            Exit::NoWorker,
            "77 is a thread, of process 70",
            "otop --pid 70",
        ),
        (
            AttachError::NotPermitted {
                pid: PID,
                refusal: Refusal::YamaChildren { pid: PID },
            }
            .into(),
            Exit::NotPermitted,
            "ptrace_scope is 1",
            "sudo sysctl kernel.yama.ptrace_scope=0",
        ),
        (
            AttachError::NotPython {
                pid: PID,
                program: name("/usr/bin/sudo"),
                pythons: vec![Pid(80)],
            }
            .into(),
            Exit::NotReadable,
            "process 80 below it is Python",
            "otop --pid 80",
        ),
        (
            AttachError::NotPython {
                pid: PID,
                program: name("/usr/bin/tini"),
                pythons: vec![Pid(80), Pid(81)],
            }
            .into(),
            Exit::NotReadable,
            "process 80 and 1 more below it",
            "otop --pid 77 --children",
        ),
        (
            AttachError::NotPython {
                pid: PID,
                program: name("/bin/sleep"),
                pythons: Vec::new(),
            }
            .into(),
            Exit::NotReadable,
            "is not Python: it runs /bin/sleep",
            "otop",
        ),
        (
            AttachError::TooOld {
                pid: PID,
                version: version(),
            }
            .into(),
            Exit::NotReadable,
            "3.7.16",
            "py-spy dump",
        ),
        (
            AttachError::Unknown {
                pid: PID,
                version: name("3.99.0"),
            }
            .into(),
            Exit::NotReadable,
            "3.99.0",
            "git pull",
        ),
        (
            AttachError::LayoutRefused {
                pid: PID,
                version: version(),
                field: name("tstate.frame"),
                detail: name("is odd"),
            }
            .into(),
            Exit::NotReadable,
            "tstate.frame is odd",
            "git pull",
        ),
        (
            AttachError::OtherArchitecture {
                pid: PID,
                found: name("i386"),
            }
            .into(),
            Exit::NotReadable,
            "for i386",
            "py-spy",
        ),
        (
            AttachError::FreeThreaded {
                pid: PID,
                version: name("3.13.1"),
            }
            .into(),
            Exit::NotReadable,
            "free-threaded",
            "python3.13 ",
        ),
        (
            no_variable(vec![name("request_id")]).into(),
            Exit::Other,
            "\"reqid\"; the likely ones are \"request_id\"",
            "--session-from request_id",
        ),
        (
            no_variable(vec![]).into(),
            Exit::Other,
            "no context in process 77",
            "without --session-from",
        ),
        (
            AttachError::Gone(PID).into(),
            Exit::EndedEarly,
            "ended while otop attached",
            "otop",
        ),
        (
            CliError::NoAsyncio(PID),
            Exit::NotReadable,
            "without asyncio",
            "otop --pid 77",
        ),
        (
            CliError::NoFigure { pid: PID, seconds: 6 },
            Exit::Other,
            "gave no figure within 6 s",
            "otop --pid 77 (the live table",
        ),
        (
            CliError::NoRows { pid: PID, seconds: 61 },
            Exit::Other,
            "was sampled",
            "otop --pid 77 (the live table",
        ),
        (
            CliError::EndedEarly {
                pid: PID,
                how: name("exited"),
            },
            Exit::EndedEarly,
            "before there was a figure",
            "otop",
        ),
        (
            CliError::NoWorker {
                unreadable: 0,
                refusal: None,
                sight: Sight::Whole,
            },
            Exit::NoWorker,
            "no asyncio worker was found",
            "otop demo",
        ),
        (
            CliError::NoWorker {
                unreadable: 2,
                refusal: None,
                sight: Sight::Whole,
            },
            Exit::NoWorker,
            "2 Python processes may not be read",
            "sudo otop",
        ),
        // As the same is said with `--pid`, without the one process.
        (
            CliError::NoWorker {
                unreadable: 1,
                refusal: Some(Box::new(Refusal::MissingCapability {
                    pid: PID,
                    effective: 0,
                    container: Some(Container::Docker),
                })),
                sight: Sight::Whole,
            },
            Exit::NoWorker,
            "one Python process may not be read",
            "docker run --cap-add SYS_PTRACE …",
        ),
        (
            CliError::NoWorker {
                unreadable: 0,
                refusal: None,
                sight: Sight::OwnAlone,
            },
            Exit::NoWorker,
            "/proc hides the processes of other users",
            "sudo otop",
        ),
        (
            CliError::NoWorker {
                unreadable: 2,
                refusal: None,
                sight: Sight::Outer,
            },
            Exit::NoWorker,
            "/proc is that of a PID namespace around otop's",
            "outside of this PID namespace",
        ),
        (
            CliError::NoWorker {
                unreadable: 0,
                refusal: None,
                sight: Sight::Foreign,
            },
            Exit::NoWorker,
            "/proc is that of a PID namespace in which otop is not",
            "sudo nsenter --pid=/proc/1/ns/pid otop",
        ),
        (
            CliError::NoWorker {
                unreadable: 0,
                refusal: None,
                sight: Sight::NotMounted,
            },
            Exit::NoWorker,
            "/proc is not mounted",
            "mount -t proc proc /proc",
        ),
        (
            CliError::SeveralWorkers { count: 3, busiest: PID },
            Exit::Usage,
            "3 asyncio workers",
            "otop --pid 77",
        ),
        (
            CliError::NoSocket {
                path: path(),
                reason: name("refused"),
            },
            Exit::NoWorker,
            "no worker serves",
            "sudo otop",
        ),
        (
            CliError::SocketDenied { path: path() },
            Exit::NotPermitted,
            "may not be opened",
            "sudo otop --socket",
        ),
        (
            CliError::SocketSilent {
                path: path(),
                seconds: 2,
                owner: Some(PID),
            },
            Exit::Other,
            "loop is blocked",
            "sudo otop --pid 77",
        ),
        (
            CliError::NoDump {
                path: path(),
                comes_later: true,
            },
            Exit::Other,
            "no dump of that instant",
            "otop replay top.sock dump",
        ),
        (
            CliError::NoDump {
                path: path(),
                comes_later: false,
            },
            Exit::Other,
            "has no dumps",
            "otop replay top.sock --once",
        ),
        (
            FileError::Denied {
                path: PathBuf::from("/root/w.svg"),
                user: 1000.into(),
            }
            .into(),
            Exit::Other,
            "otop writes as user 1000, who called sudo and may not write /root/w.svg",
            "-o /tmp/w.svg",
        ),
        (
            FileError::Others {
                path: PathBuf::from("/tmp/w.svg"),
            }
            .into(),
            Exit::Other,
            "/tmp/w.svg is there already and another user's",
            "-o /tmp/new-w.svg",
        ),
        (
            FileError::Kept {
                error: Box::new(FileError::Exists { path: path() }),
                name: PathBuf::from(".otop-1-0.part"),
                path: path(),
            }
            .into(),
            Exit::Other,
            "top.sock is there already; what was written is kept in .otop-1-0.part",
            "mv -n .otop-1-0.part new-top.sock",
        ),
    ];
    let mut texts = Vec::new();
    for (error, exit, text, remedy) in cases {
        assert_eq!(error.exit(), exit, "{error}");
        let line = line(&anyhow::Error::from(error));
        assert!(line.starts_with("otop: ") && !line.contains('\n'), "{line}");
        let (what, told) = line.split_once("; try: ").expect("a remedy");
        assert!(what.contains(text), "{line}");
        assert!(told.starts_with(remedy) || told.contains(remedy), "{line}");
        texts.push(what.to_owned());
    }
    let count = texts.len();
    texts.sort();
    texts.dedup();
    assert_eq!(texts.len(), count, "different causes have different texts");
}

#[test]
fn in_the_live_table_the_mend_is_a_path_and_no_flag() {
    let path = || PathBuf::from("w.svg");
    let denied = CliError::from(FileError::Denied {
        path: path(),
        user: 1000.into(),
    });
    let said = denied.in_table();
    assert!(said.ends_with("may not write w.svg; try: /tmp/w.svg"), "{said}");
    let exists = CliError::from(FileError::Exists { path: path() });
    assert_eq!(exists.in_table(), "w.svg is there already");
}

#[test]
fn nothing_of_the_workers_reaches_the_terminal_raw() {
    let error = AttachError::NotPython {
        pid: PID,
        program: "\u{1b}[2J\nevil".to_owned(),
        pythons: Vec::new(),
    };
    let line = line(&anyhow::Error::from(CliError::from(error)));
    assert!(!line.chars().any(char::is_control), "{line:?}");
}

#[test]
fn a_closed_pipe_is_told_from_a_full_disk() {
    let output = |code| CliError::Output {
        what: "stdout".to_owned(),
        error: std::io::Error::from_raw_os_error(code),
    };
    assert!(output(nix::libc::EPIPE).is_closed_output() && output(nix::libc::EIO).is_closed_output());
    assert!(!output(nix::libc::ENOSPC).is_closed_output());
}
