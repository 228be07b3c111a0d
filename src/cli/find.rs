//! `otop` alone: which asyncio workers are on this machine, and which of them is meant. Knows nothing of how a process
//! is looked into.

use super::error::CliError;
use super::output;
use super::wire::{Probe, Reading};
use crate::model::{Nanos, Pid};
use crate::process::candidates::{Candidate, candidates};
use crate::process::permission::Refusal;
use crate::process::sight::sight;
use crate::process::{masked, process_cpu};
use crate::view::{printable, width};
use std::io::BufRead;
use std::time::Duration;

/// A process that runs an event loop.
#[derive(Debug)]
struct Found {
    pid: Pid,
    probe: Probe,
    command: String,
}

/// How many there are, for who wants no more than that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Census {
    pub workers: usize,
    pub unreadable: Unreadable,
}

/// Python processes that this user may not read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unreadable {
    pub count: usize,
    /// Why the first of them may not.
    pub first: Option<Refusal>,
}

pub fn census(reading: &dyn Reading) -> Census {
    let (found, unreadable) = look(reading);
    Census {
        workers: found.len(),
        unreadable,
    }
}

/// The workers, and which Python processes may not be read.
fn look(reading: &dyn Reading) -> (Vec<Found>, Unreadable) {
    let mut unreadable = Unreadable::default();
    let mut workers = Vec::new();
    for candidate in candidates() {
        match candidate.refusal {
            Some(refusal) => {
                unreadable.count += 1;
                unreadable.first.get_or_insert(refusal);
            }
            None => workers.extend(found(reading, candidate)),
        }
    }
    (workers, unreadable)
}

/// That there are none, with what otop could not see.
pub fn none(unreadable: Unreadable) -> CliError {
    CliError::NoWorker {
        unreadable: unreadable.count,
        refusal: unreadable.first.map(Box::new),
        sight: sight(),
    }
}

/// The only worker, or the one that is picked; None: the user would rather not.
pub fn worker(reading: &dyn Reading, may_ask: bool, list_on_stdout: bool) -> Result<Option<Pid>, CliError> {
    let (found, unreadable) = look(reading);
    match found.as_slice() {
        [] => Err(none(unreadable)),
        [only] => Ok(Some(only.pid)),
        [_, ..] if !may_ask => {
            let list = list(&found, output::width(), false);
            match list_on_stdout {
                true => output::write(&list)?,
                false => output::say_line(&list),
            }
            Err(CliError::SeveralWorkers {
                count: found.len(),
                busiest: busiest(&found),
            })
        }
        several => ask(several),
    }
}

/// Long enough to tell a worker that computes from one that waits.
const LOOK: Duration = Duration::from_millis(100);

/// The worker that uses the most CPU now: it is the likeliest to be meant. The first, where all sleep.
fn busiest(found: &[Found]) -> Pid {
    let clocks = || -> Vec<Nanos> {
        let clock = |worker: &Found| process_cpu(worker.pid).unwrap_or_default();
        found.iter().map(clock).collect()
    };
    let before = clocks();
    std::thread::sleep(LOOK);
    let used: Vec<Nanos> = clocks().into_iter().zip(before).map(|(now, then)| now - then).collect();
    let most = most_used(&used);
    found.get(most).map_or(Pid(0), |worker| worker.pid)
}

/// The place of the largest; of equal ones the first. Less than a hundredth of the time is noise.
fn most_used(used: &[Nanos]) -> usize {
    let mut most = (0, Nanos::from(LOOK / 100));
    for (place, used) in used.iter().enumerate() {
        if *used > most.1 {
            most = (place, *used);
        }
    }
    most.0
}

/// What a process is, if it is a worker. One that cannot be read right is none: `--pid` tells why.
fn found(reading: &dyn Reading, candidate: Candidate) -> Option<Found> {
    let probe = reading
        .probe(candidate.pid)
        .ok()
        .filter(|probe| probe.loop_kind.is_some())?;
    Some(Found {
        pid: candidate.pid,
        probe,
        // A list is pasted into tickets and chats: it is no place for the credentials of a command line.
        command: masked(&candidate.command_line),
    })
}

fn ask(found: &[Found]) -> Result<Option<Pid>, CliError> {
    output::write(&list(found, output::width(), true))?;
    let mut lines = std::io::stdin().lock().lines();
    loop {
        output::write(&format!("Which one? 1 to {}, or q: ", found.len()))?;
        let Some(Ok(line)) = lines.next() else {
            output::write("\n")?;
            return Ok(None);
        };
        match chosen(&line, found) {
            Choice::Worker(pid) => return Ok(Some(pid)),
            Choice::None => return Ok(None),
            Choice::Unclear => {}
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Choice {
    Worker(Pid),
    None,
    Unclear,
}

/// By its place in the list; its PID will do as well.
fn chosen(line: &str, found: &[Found]) -> Choice {
    let line = line.trim();
    if line.eq_ignore_ascii_case("q") {
        return Choice::None;
    }
    let Ok(number) = line.parse::<i32>() else {
        return Choice::Unclear;
    };
    let by_place = usize::try_from(number)
        .ok()
        .and_then(|place| found.get(place.checked_sub(1)?));
    let worker = by_place.or_else(|| found.iter().find(|worker| worker.pid.0 == number));
    worker.map_or(Choice::Unclear, |worker| Choice::Worker(worker.pid))
}

/// The workers as text, with numbers to choose them by where somebody can.
fn list(found: &[Found], room: Option<usize>, with_numbers: bool) -> String {
    let heading = ["#", "PID", "PYTHON", "LOOP", "SESSIONS", "COMMAND"].map(str::to_owned);
    let rows = found.iter().enumerate().map(|(place, worker)| {
        [
            (place + 1).to_string(),
            worker.pid.to_string(),
            printable(&worker.probe.python),
            printable(worker.probe.loop_kind.as_deref().unwrap_or("")),
            worker.probe.sessions.to_string(),
            printable(&worker.command),
        ]
    });
    let rows: Vec<[String; 6]> = std::iter::once(heading).chain(rows).collect();
    let first = usize::from(!with_numbers);
    let widest = |column: usize| rows.iter().map(|row| width(&row[column])).max().unwrap_or(0);
    let mut text = String::new();
    for row in &rows {
        let mut line = String::new();
        for (column, cell) in row.iter().enumerate().take(5).skip(first) {
            let blank = " ".repeat(widest(column) - width(cell));
            // Numbers to the right, words to the left.
            line.push_str(&if matches!(column, 2 | 3) {
                format!("{cell}{blank}  ")
            } else {
                format!("{blank}{cell}  ")
            });
        }
        line.push_str(&row[5]);
        text.push_str(&cut(&line, room.unwrap_or(usize::MAX)));
        text.push('\n');
    }
    text
}

fn cut(line: &str, room: usize) -> String {
    if width(line) <= room {
        return line.to_owned();
    }
    let mut kept = String::new();
    for c in line.chars() {
        if width(&kept) + width(c.encode_utf8(&mut [0; 4])) + 1 > room {
            break;
        }
        kept.push(c);
    }
    kept.push('…');
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::scripted::Scripted;

    fn two() -> Vec<Found> {
        let worker = |pid, python: &str, kind: &str, sessions, command: &str| Found {
            pid: Pid(pid),
            probe: Probe {
                python: python.to_owned(),
                loop_kind: Some(kind.to_owned()),
                has_asyncio: true,
                sessions,
            },
            command: command.to_owned(),
        };
        vec![
            worker(412, "3.12.1", "asyncio", 6, "python3 worker.py --port 8000"),
            worker(30_977, "3.8.18", "uvloop", 50, "/usr/bin/python3.8 -m app\u{1b}[2J\nx"),
        ]
    }

    #[test]
    fn the_list_is_a_table_and_nothing_of_a_command_line_gets_out_of_it() {
        let text = list(&two(), None, true);
        assert_eq!(
            text.lines().take(2).collect::<Vec<_>>(),
            [
                "#    PID  PYTHON  LOOP     SESSIONS  COMMAND",
                "1    412  3.12.1  asyncio         6  python3 worker.py --port 8000",
            ]
        );
        assert_eq!(text.lines().count(), 3);
        assert!(!text.chars().any(|c| c.is_control() && c != '\n'), "{text:?}");
    }

    #[test]
    fn the_one_that_uses_the_most_is_suggested_and_the_first_where_all_sleep() {
        let used = |ms: &[u64]| most_used(&ms.iter().map(|ms| Nanos::from_millis(*ms)).collect::<Vec<_>>());
        assert_eq!(used(&[3, 90, 40]), 1);
        assert_eq!(used(&[40, 40]), 0);
        assert_eq!(used(&[0, 1, 0]), 0);
    }

    #[test]
    fn a_narrow_terminal_cuts_the_command() {
        for line in list(&two(), Some(50), false).lines() {
            assert!(width(line) <= 50 && !line.starts_with('#'), "{line}");
        }
    }

    #[test]
    fn credentials_of_a_command_line_are_not_in_the_list() {
        let line = ["python3", "worker.py", "--api-token", "hunter2", "DB_PASSWORD=tiger"];
        let candidate = Candidate {
            pid: Pid(7),
            command_line: line.map(str::to_owned).to_vec(),
            refusal: None,
        };
        let found = found(&Scripted::default(), candidate).expect("it runs a loop");
        let text = list(&[found], None, false);
        assert!(
            text.contains("python3 worker.py --api-token *** DB_PASSWORD=***"),
            "{text}"
        );
    }

    #[test]
    fn a_worker_is_chosen_by_place_or_pid() {
        let found = two();
        assert_eq!(chosen(" 2 \n", &found), Choice::Worker(Pid(30_977)));
        assert_eq!(chosen("412", &found), Choice::Worker(Pid(412)));
        assert_eq!(chosen("q", &found), Choice::None);
        for unclear in ["", "0", "3", "-1", "two", "99999999999"] {
            assert_eq!(chosen(unclear, &found), Choice::Unclear, "{unclear}");
        }
    }
}
