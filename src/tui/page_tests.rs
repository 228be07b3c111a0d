//! The pages that stand in the table's place, in the sizes that matter: the list of blocks, and one session alone.

use super::tests::{NOW, SIZES, act, look, snapshots, text};
use crate::model::{Report, Status};
use crate::view::{Action, Effect, Key, Mood, Step, ViewState, action_for, sample};
use std::sync::Arc;

/// A bad minute, and a block that goes on.
fn bad_minute() -> Report {
    let mut report = sample::report(sample::six());
    report.recent = sample::blocks();
    report.blocks.push(report.recent[0].as_ref().clone());
    let culprit = &mut report.sessions[1];
    culprit.status = Status::Slow;
    (culprit.blocks, culprit.blocked_ms, culprit.worst_block_ms) = (1, 3210.0, Some(3210.0));
    (culprit.blocked_is_lower_bound, culprit.worst_is_lower_bound) = (true, true);
    culprit.stack = Some(sample::sampled_stack());
    culprit.place = Some(sample::at("lookup", "/srv/app/agents/booking.py", 41));
    report.history = sample::history(&culprit.session_id);
    report
}

const DOWN: Action = Action::Select(Step::Down);

#[test]
fn the_list_of_blocks() {
    let report = bad_minute();
    snapshots("blocks", &report, &[Action::Blocks]);
    snapshots("blocks-second", &report, &[Action::Blocks, DOWN]);
}

#[test]
fn a_list_without_a_block() {
    snapshots("blocks-none", &sample::report(sample::six()), &[Action::Blocks]);
}

#[test]
fn one_session_alone() {
    // By memory share all are equal, so the one that blocked most stands first.
    snapshots("alone", &bad_minute(), &[DOWN, Action::Open]);
}

#[test]
fn a_session_that_waits() {
    snapshots(
        "alone-waiting",
        &bad_minute(),
        &[Action::Select(Step::Last), Action::Open],
    );
}

/// What `keys` leave on a screen of 80 × 24.
fn press(view: &mut ViewState, report: &Report, keys: &[Key]) -> String {
    let mut screen = text(&look(view, report, (80, 24), true));
    for key in keys {
        if let Some(action) = action_for(*key, view.mood(), view.is_replay()) {
            act(view, report, &[action]);
        }
        screen = text(&look(view, report, (80, 24), true));
    }
    screen
}

const B: Key = Key::Char('b');

#[test]
fn keys_lead_to_the_pages_and_back() {
    let report = bad_minute();
    let mut view = ViewState::default();
    let screen = press(&mut view, &report, &[B]);
    assert!(
        screen.contains("cause and place") && screen.contains("1 of 6"),
        "{screen}"
    );
    let screen = press(&mut view, &report, &[Key::Down]);
    assert!(
        screen.contains("in a step of AJ_000sYfnHPcRu") && screen.contains("2 of 6"),
        "{screen}"
    );
    // The one who is to blame for it, and back to the list.
    let screen = press(&mut view, &report, &[Key::Enter]);
    assert!(
        screen.contains("AJ_002K9ggw8rCx · ACTIVE") && screen.contains("CPU since attach"),
        "{screen}"
    );
    let screen = press(&mut view, &report, &[Key::Escape]);
    assert!(screen.contains("cause and place"), "{screen}");
    let screen = press(&mut view, &report, &[Key::Down, Key::Down, Key::Enter]);
    assert!(screen.contains("AJ_005v9hPKP7Vo · ACTIVE"), "{screen}");
    let screen = press(
        &mut view,
        &report,
        &[Key::Escape, Key::Home, Key::Down, Key::Down, Key::Enter],
    );
    assert!(screen.contains("nobody is to blame for this one"), "{screen}");
    let screen = press(&mut view, &report, &[B]);
    assert!(
        screen.contains("unattributed") && view.mood() == Mood::Table,
        "{screen}"
    );
    let screen = press(&mut view, &report, &[Key::Enter]);
    assert!(screen.contains("no session is selected"), "{screen}");
    press(&mut view, &report, &[Key::Down, Key::Enter]);
    assert_eq!(view.mood(), Mood::Session);
    assert_eq!(
        view.update(Action::Yank, &report, NOW),
        Effect::Copy("AJ_0014qgHOf2aF".to_owned())
    );
    press(&mut view, &report, &[Key::Enter]);
    assert_eq!(view.mood(), Mood::Table);
}

#[test]
fn a_page_explains_its_own_keys() {
    let report = bad_minute();
    snapshots("blocks-help", &report, &[Action::Blocks, Action::Help]);
    let mut view = ViewState::default();
    press(&mut view, &report, &[Key::Down, Key::Enter]);
    let screen = press(&mut view, &report, &[Key::Char('?')]);
    assert!(screen.contains("Keys with one session alone"), "{screen}");
    // The help closes before the page does.
    press(&mut view, &report, &[Key::Escape]);
    assert_eq!(view.mood(), Mood::Session);
}

#[test]
fn the_selected_block_stays_selected_while_new_ones_come() {
    let mut report = bad_minute();
    let mut view = ViewState::default();
    press(&mut view, &report, &[B, Key::Down]);
    let mut newer = report.recent[2].as_ref().clone();
    newer.id = 10;
    report.recent.insert(0, Arc::new(newer));
    let screen = press(&mut view, &report, &[]);
    assert!(
        screen.contains("held by worker_0") && screen.contains("3 of 7"),
        "{screen}"
    );
    // The newest is selected as such: what comes takes its place.
    let screen = press(&mut view, &report, &[Key::Home]);
    assert!(screen.contains("1 of 7"), "{screen}");
    let mut newest = report.recent[3].as_ref().clone();
    newest.id = 11;
    report.recent.insert(0, Arc::new(newest));
    let screen = press(&mut view, &report, &[]);
    assert!(screen.contains("1 of 8"), "{screen}");
    // One that is forgotten leaves its place to another.
    press(&mut view, &report, &[Key::End]);
    report.recent.truncate(2);
    let screen = press(&mut view, &report, &[]);
    assert!(screen.contains("2 of 2"), "{screen}");
}

#[test]
fn a_frozen_list_stands_still() {
    let mut report = bad_minute();
    let mut view = ViewState::default();
    press(&mut view, &report, &[Key::Char(' '), B]);
    report.recent.clear();
    report.sessions.clear();
    let screen = press(&mut view, &report, &[]);
    assert!(screen.contains("1 of 6") && screen.contains("FROZEN"), "{screen}");
    let screen = press(&mut view, &report, &[Key::Enter]);
    assert!(screen.contains("AJ_0014qgHOf2aF · SLOW"), "{screen}");
    let screen = press(&mut view, &report, &[Key::Char(' ')]);
    assert!(screen.contains("not live any more"), "{screen}");
}

#[test]
fn a_long_stack_is_scrolled_to_its_end_and_no_further() {
    let mut report = bad_minute();
    let mut long = report.recent[0].as_ref().clone();
    long.stack = Some(
        (0..200)
            .map(|line| sample::at("recurse", "/srv/app/deep.py", line))
            .collect(),
    );
    report.recent[0] = Arc::new(long);
    let mut view = ViewState::default();
    let screen = press(&mut view, &report, &[B]);
    assert!(
        screen.contains("deep.py:0 ") && !screen.contains("deep.py:199"),
        "{screen}"
    );
    let screen = press(&mut view, &report, &[Key::PageDown; 40]);
    assert!(screen.contains("deep.py:199"), "{screen}");
    let screen = press(&mut view, &report, &[Key::PageUp; 40]);
    assert!(screen.contains("deep.py:0 "), "{screen}");
    // Another block is read from its top.
    press(&mut view, &report, &[Key::PageDown, Key::Down, Key::Up]);
    let screen = press(&mut view, &report, &[]);
    assert!(screen.contains("deep.py:0 "), "{screen}");
}

#[test]
fn no_terminal_is_too_small_for_a_page() {
    let report = bad_minute();
    for width in 1..30 {
        for height in 1..14 {
            for page in [[Action::Blocks, DOWN], [DOWN, Action::Open]] {
                let mut view = ViewState::default();
                act(&mut view, &report, &page);
                look(&mut view, &report, (width, height), true);
                act(&mut view, &report, &[Action::Scroll(Step::Last)]);
                look(&mut view, &report, (width, height), true);
            }
        }
    }
}

#[test]
fn hostile_strings_stay_on_their_page() {
    let mut report = bad_minute();
    for (place, hostile) in sample::HOSTILE.iter().enumerate() {
        let mut block = report.recent[0].as_ref().clone();
        block.id = 100 + place as u64;
        block.session_id = Some((*hostile).to_owned());
        block.holder_thread = Some((*hostile).to_owned());
        block.stack = Some(vec![sample::at(hostile, hostile, 1); 3]);
        (block.file, block.function) = (Some((*hostile).into()), Some((*hostile).into()));
        report.recent.insert(0, Arc::new(block));
    }
    for (width, height) in SIZES {
        for step in 0..sample::HOSTILE.len() {
            let mut view = ViewState::default();
            act(&mut view, &report, &[Action::Blocks]);
            act(&mut view, &report, &vec![DOWN; step]);
            text(&look(&mut view, &report, (width, height), true));
            act(&mut view, &report, &[Action::Open]);
            text(&look(&mut view, &report, (width, height), true));
        }
    }
}
