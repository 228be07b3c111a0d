//! Who is taken up, in which order, and what is said of the others; with scripted workers under the numbers of processes
//! that only sleep.

use super::unwatched::Passed;
use super::{Fleet, MOST, SHOWN_ENDED, Unwatched, Whom, once};
use crate::cli::error::CliError;
use crate::cli::scripted::{LONG, Other, Scripted, census, measuring, tick_on};
use crate::cli::table::live::Figures;
use crate::cli::wire::AttachOptions;
use crate::cli::worker::now;
use crate::model::{Ending, LeftOut, Nanos, Observation, Pid};
use crate::process::Fingerprint;
use crate::process::permission::Refusal;
use crate::source::error::AttachError;
use std::process::{Child, Command};
use std::sync::mpsc::Sender;
use std::time::Duration;

/// Processes that sleep until they are dropped, ascending.
struct Sleepers(Vec<Child>);

impl Sleepers {
    fn of(count: usize) -> Sleepers {
        let mut children: Vec<Child> = (0..count)
            .map(|_| Command::new("sleep").arg("100").spawn().expect("sleep starts"))
            .collect();
        children.sort_by_key(Child::id);
        Sleepers(children)
    }

    fn pids(&self) -> Vec<Pid> {
        let number = |child: &Child| Pid(i32::try_from(child.id()).expect("a pid fits"));
        self.0.iter().map(number).collect()
    }
}

impl Drop for Sleepers {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn before_the_first_look(whom: Whom, scripted: &Scripted) -> Fleet<'_> {
    Fleet::of(
        whom,
        AttachOptions::default(),
        &measuring(Duration::from_secs(1)),
        scripted,
    )
}

#[test]
fn a_look_that_ends_early_is_gone_on_with_and_nobody_is_asked_twice_before_all_were_once() {
    let sleepers = Sleepers::of(4);
    let pids = sleepers.pids();
    // Each look has time for one, and when all have had their turn the first is due again.
    let scripted = Scripted {
        takes: Duration::from_millis(400),
        others: pids.iter().take(3).map(|pid| (*pid, Other::Idle)).collect(),
        ..Scripted::default()
    };
    let mut fleet = before_the_first_look(Whom::Named(pids.clone()), &scripted);
    for _ in 0..7 {
        fleet.look(Duration::ZERO);
    }
    let in_turn = [0, 1, 2, 3, 0, 1, 2].map(|place| pids[place]);
    assert_eq!(*scripted.probed.borrow(), in_turn);
    assert!(fleet.members.contains_key(&pids[3]), "the last one is a worker");
}

#[test]
fn a_newcomer_does_not_wait_for_all_who_are_asked_again() {
    let sleepers = Sleepers::of(5);
    let mut pids = sleepers.pids();
    let newcomer = pids.pop().expect("five");
    let scripted = Scripted {
        others: pids.iter().map(|pid| (*pid, Other::Idle)).collect(),
        ..Scripted::default()
    };
    let mut fleet = before_the_first_look(Whom::Named(sleepers.pids()), &scripted);
    fleet.look(LONG);
    let passed = fleet.passed.values_mut();
    passed.for_each(|passed| passed.ask_again = Nanos::ZERO);
    drop(fleet.members.remove(&newcomer));
    fleet.get_to_know(newcomer);
    assert_eq!(fleet.queue().first(), Some(&newcomer));
    assert_eq!(fleet.queue().len(), 5, "and they do not wait for ever either");
}

#[test]
fn what_is_no_python_is_not_looked_through_at_every_look() {
    let sleepers = Sleepers::of(1);
    let pid = sleepers.pids()[0];
    let own = Pid(i32::try_from(std::process::id()).expect("a pid fits"));
    let scripted = Scripted::default();
    let mut fleet = before_the_first_look(Whom::Below(own), &scripted);
    let again = |fleet: &mut Fleet| {
        fleet.look(LONG);
        let passed = fleet.passed.get(&pid).expect("it is known");
        assert!(matches!(passed.is, Unwatched::Foreign));
        passed.ask_again
    };
    let first = again(&mut fleet);
    assert!(first > now(), "not before a second has passed");
    assert_eq!(again(&mut fleet), first, "it was not read again");
    assert!(scripted.probed.borrow().is_empty());
}

#[test]
fn all_for_whom_there_is_no_place_are_counted_and_asked_once() {
    let sleepers = Sleepers::of(MOST + 3);
    let scripted = Scripted {
        script: |send| {
            let _ = send.send(census(true));
            std::thread::sleep(LONG);
        },
        ..Scripted::default()
    };
    let mut fleet = before_the_first_look(Whom::Named(sleepers.pids()), &scripted);
    fleet.look(LONG);
    let too_many = |too_many| LeftOut {
        too_many,
        ..LeftOut::default()
    };
    assert_eq!((fleet.members.len(), fleet.left_out()), (MOST, too_many(3)));
    // A look with time for one does not forget the others.
    fleet.look(Duration::ZERO);
    assert_eq!(fleet.left_out(), too_many(3));
    assert_eq!(scripted.probed.borrow().len(), MOST + 3, "nobody was asked again");
    // A place that becomes free is taken, by one.
    let first = *fleet.members.keys().next().expect("a member");
    drop(fleet.members.remove(&first));
    fleet.look(LONG);
    assert_eq!((fleet.members.len(), fleet.left_out()), (MOST, too_many(3)));
}

#[test]
fn of_those_who_were_named_it_is_said_why_they_are_not_watched() {
    let sleepers = Sleepers::of(4);
    let pids = sleepers.pids();
    let refused = not_permitted(pids[1]);
    let foreign = Other::Refused(AttachError::NotPython {
        pid: pids[3],
        program: "/bin/sleep".to_owned(),
        pythons: Vec::new(),
    });
    let others = [(pids[1], refused), (pids[2], Other::Idle), (pids[3], foreign)];
    let scripted = Scripted {
        others: others.into_iter().collect(),
        ..Scripted::default()
    };
    let mut fleet = before_the_first_look(Whom::Named(pids.clone()), &scripted);
    fleet.look(LONG);
    let words = fleet.words(None);
    let [refused, idle, foreign] = words.as_slice() else {
        panic!("three are not watched: {words:?}")
    };
    let begins = format!("the memory of process {} may not be read: ", pids[1]);
    assert!(
        refused.starts_with(&begins) && refused.contains("; try: sudo "),
        "{refused}"
    );
    let begins = format!("process {} is Python that runs no event loop", pids[2]);
    assert!(idle.starts_with(&begins), "{idle}");
    assert!(foreign.contains("is not Python: it runs /bin/sleep"), "{foreign}");
    assert_eq!(fleet.left_out().unreadable, 1);
    assert_eq!(fleet.words(Some(pids[2])).len(), 2, "what is said elsewhere");
}

#[test]
fn one_that_is_gone_keeps_nobody_from_seeing_the_others() {
    let mut sleepers = Sleepers::of(3);
    let pids = sleepers.pids();
    // One is a zombie: it has ended, and nobody has asked how.
    let zombie = sleepers.0.last_mut().expect("three");
    zombie.kill().expect("it is ours");
    let begin = now();
    while crate::process::whole_process(pids[2]).is_ok() {
        assert!(now() - begin < Nanos::from(LONG), "it never ended");
        std::thread::sleep(Duration::from_millis(5));
    }
    let nobody = Pid(i32::MAX);
    let named = vec![nobody, pids[2], pids[0], pids[1]];
    let scripted = Scripted::default();
    let measuring = measuring(Duration::from_secs(1));
    let open = |named: Vec<Pid>| Fleet::open(Whom::Named(named), AttachOptions::default(), &measuring, &scripted);
    let fleet = open(named).expect("two of them are watched");
    assert_eq!(fleet.members.len(), 2);
    let words = fleet.words(None);
    let [gone, ended] = words.as_slice() else {
        panic!("two are not watched: {words:?}")
    };
    assert!(gone.starts_with("no process has PID 2147483647 "), "{gone}");
    assert!(ended.contains("it is a zombie"), "{ended}");
    let error = open(vec![nobody, pids[2]]).err().expect("neither can be watched");
    assert!(
        matches!(error, CliError::Attach(AttachError::NoSuchProcess(Pid(i32::MAX)))),
        "{error}"
    );
}

#[test]
fn what_is_hidden_is_counted_among_those_that_may_not_be_read() {
    let sleepers = Sleepers::of(1);
    let scripted = Scripted::default();
    let mut fleet = before_the_first_look(Whom::Named(sleepers.pids()), &scripted);
    let Other::Refused(error) = not_permitted(Pid(41)) else {
        unreachable!()
    };
    fleet.missing.push((Pid(41), Unwatched::Refused(error)));
    fleet.look(LONG);
    assert_eq!((fleet.members.len(), fleet.left_out().unreadable), (1, 1));
}

fn not_permitted(pid: Pid) -> Other {
    Other::Refused(AttachError::NotPermitted {
        pid,
        refusal: Refusal::OtherUser {
            pid,
            owner: [0; 3],
            groups: [0; 3],
            user: 1000,
            group: 1000,
        },
    })
}

#[test]
fn below_a_process_all_that_are_alike_are_one_refusal_with_the_command_for_all() {
    let own = Pid(i32::try_from(std::process::id()).expect("a pid fits"));
    let pids = [Pid(41), Pid(42), Pid(43)];
    let scripted = Scripted::default();
    let mut fleet = before_the_first_look(Whom::Below(own), &scripted);
    let fingerprint = Fingerprint::of(own).expect("it lives");
    for pid in pids {
        let Other::Refused(error) = not_permitted(pid) else {
            unreachable!()
        };
        let passed = Passed {
            fingerprint: fingerprint.clone(),
            is: Unwatched::Refused(error),
            ask_again: now() + Nanos::from(LONG),
        };
        fleet.passed.insert(pid, passed);
    }
    let words = fleet.words(None);
    let [word] = words.as_slice() else {
        panic!("one line: {words:?}")
    };
    assert!(word.starts_with("the memory of process 41 may not be read: "), "{word}");
    let rest = format!(" (2 more Python processes may not be read either, below process {own}); try: sudo ");
    assert!(word.contains(&rest), "{word}");
    assert!(word.ends_with(&format!("otop --pid {own} --children")), "{word}");
}

#[test]
fn where_nobody_who_was_named_runs_a_loop_it_is_said_of_each_and_asyncio_is_told_from_a_loop() {
    for (first, lacks, code) in [
        (
            Other::WithoutAsyncio,
            "is Python without asyncio: it has not been imported",
            5,
        ),
        (Other::Idle, "is Python that runs no event loop", 3),
    ] {
        let sleepers = Sleepers::of(2);
        let pids = sleepers.pids();
        let others = [(pids[0], first), (pids[1], Other::Idle)];
        let scripted = Scripted {
            others: others.into_iter().collect(),
            ..Scripted::default()
        };
        let mut fleet = before_the_first_look(Whom::Named(pids.clone()), &scripted);
        fleet.look(LONG);
        let words = fleet.words(None);
        assert!(words.len() == 2 && words[0].contains(lacks), "{words:?}");
        let error = once::once(&mut fleet, &measuring(Duration::from_secs(1))).expect_err("nobody");
        assert_eq!(error.exit() as i32, code, "{error}");
        assert_eq!(
            error.to_string(),
            "none of the processes that were named runs an event loop"
        );
    }
}

/// A pool whose master ends with its workers: the last figures are what whoever is called wants to see.
#[test]
fn who_ended_is_shown_for_a_moment_and_the_last_ones_stay() {
    let scripted = Scripted {
        script: |send| {
            let _ = send.send(census(true));
            tick_on(send, Some(1), Duration::from_millis(100));
            let _ = send.send(Observation::Ended(Ending::Exited));
        },
        ..Scripted::default()
    };
    let sleepers = Sleepers::of(2);
    let mut fleet = before_the_first_look(Whom::Named(sleepers.pids()), &scripted);
    fleet.look(LONG);
    let ended = |fleet: &Fleet<'_>| fleet.members.values().filter(|one| one.ended_at.is_some()).count();
    let until = |fleet: &mut Fleet<'_>, fits: &dyn Fn(&Fleet<'_>) -> bool| {
        let begin = now();
        while !fits(fleet) {
            assert!(now() - begin < Nanos::from(LONG), "it never came");
            fleet.take_in(Duration::from_millis(10));
        }
        now() - begin
    };
    // Their numbers are still in use, so that others may come under them.
    until(&mut fleet, &|fleet| ended(fleet) == 2);
    assert!(!fleet.whole().pool.expect("a pool").is_over);
    let shown = until(&mut fleet, &|fleet| fleet.members.is_empty());
    assert!(
        shown < Nanos::from_millis(2_000),
        "gone ones are let go within two seconds: {shown:?}"
    );

    let mut fleet = before_the_first_look(Whom::Named(sleepers.pids()), &scripted);
    fleet.look(LONG);
    drop(sleepers);
    until(&mut fleet, &|fleet| ended(fleet) == 2);
    let later = now() + SHOWN_ENDED + Nanos::from_millis(200);
    while now() < later {
        fleet.take_in(Duration::from_millis(10));
    }
    let pool = fleet.whole().pool.expect("a pool");
    assert_eq!((pool.members.len(), pool.is_over), (2, true));
}

#[test]
fn a_number_that_was_given_out_again_is_nobody() {
    let sleepers = Sleepers::of(2);
    let pids = sleepers.pids();
    for whom in [Whom::Named(vec![pids[0]]), Whom::Below(pids[0])] {
        let scripted = Scripted::default();
        let mut fleet = before_the_first_look(whom.clone(), &scripted);
        assert!(!fleet.is_over(), "{whom:?}");
        fleet.named = fleet.named.into_iter().map(|one| one.of_an_earlier_process()).collect();
        fleet.look(LONG);
        assert!(fleet.is_empty() && scripted.probed.borrow().is_empty(), "{whom:?}");
        assert!(fleet.is_over(), "{whom:?}");
    }
}

/// How long `--once` took where one loop of two has been stuck since before otop came.
fn stuck(window: Duration) -> Nanos {
    let sleepers = Sleepers::of(2);
    let scripted = Scripted {
        script: |send| {
            let _ = send.send(census(true));
            tick_on(send, Some(1), LONG);
        },
        ..Scripted::default()
    };
    let measuring = measuring(window);
    let whom = Whom::Named(sleepers.pids());
    let mut fleet = Fleet::open(whom, AttachOptions::default(), &measuring, &scripted).expect("they live");
    let begin = now();
    once::once(&mut fleet, &measuring).expect("done");
    now() - begin
}

#[test]
fn a_block_that_began_before_ends_a_usual_window_and_no_longer_one() {
    let took = stuck(Duration::from_secs(1));
    assert!(took < Nanos::from_millis(900), "{took:?}");
    let took = stuck(Duration::from_millis(1_500));
    assert!(took >= Nanos::from_millis(1_500), "{took:?}");
}

/// What `--once` says and returns where a first walk takes so long.
fn walks_for(script: fn(&Sender<Observation>), most: Duration) -> (Vec<String>, Option<Pid>, bool) {
    let sleepers = Sleepers::of(1);
    let scripted = Scripted {
        script,
        ..Scripted::default()
    };
    let measuring = measuring(Duration::from_millis(100));
    let whom = Whom::Named(sleepers.pids());
    let mut fleet = Fleet::open(whom, AttachOptions::default(), &measuring, &scripted).expect("they live");
    let mut words = Vec::new();
    let mut say = |word: &str| words.push(word.to_owned());
    let without = once::once_for(&mut fleet, &measuring, (Duration::from_millis(300), most), &mut say);
    let without = without.expect("nobody ended");
    assert!(without.is_none_or(|pid| sleepers.pids() == [pid]));
    (
        words,
        without,
        fleet.members().all(|member| member.worker.has_sessions()),
    )
}

#[test]
fn the_rows_of_a_pool_are_waited_for_with_a_word() {
    let late: fn(&Sender<Observation>) = |send| {
        tick_on(send, Some(1), Duration::from_millis(800));
        let _ = send.send(census(true));
        tick_on(send, Some(1), LONG);
    };
    let (words, without, has_rows) = walks_for(late, LONG);
    assert!(has_rows && without.is_none());
    let [news, wait] = words.as_slice() else {
        panic!("two words: {words:?}")
    };
    assert!(news.ends_with("; its rows follow"), "{news}");
    assert!(wait.contains("the first walk over its tasks goes on"), "{wait}");
    let (_, without, has_rows) = walks_for(|send| tick_on(send, None, LONG), Duration::from_millis(400));
    assert!(without.is_some() && !has_rows, "one that runs has not ended");
}

#[test]
fn nobody_who_runs_a_loop_is_an_error() {
    let sleepers = Sleepers::of(1);
    let pid = sleepers.pids()[0];
    let mut scripted = Scripted::default();
    scripted.others.insert(pid, Other::Refused(AttachError::Gone(pid)));
    let measuring = measuring(Duration::from_secs(1));
    let error = Fleet::open(Whom::Named(vec![pid]), AttachOptions::default(), &measuring, &scripted);
    assert!(matches!(error, Err(CliError::Attach(AttachError::Gone(_)))));
}
