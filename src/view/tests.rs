//! The state under actions, and the screen under every size: what is always true.

use super::pages::Page;
use super::*;
use crate::model::{Cause, Nanos, Report, Status};
use proptest::prelude::*;
use std::sync::Arc;

const NOW: Nanos = Nanos(1_000_000_000);

fn six() -> Report {
    sample::report(sample::six())
}

fn act(view: &mut ViewState, report: &Report, actions: &[Action]) -> Vec<Effect> {
    actions.iter().map(|action| view.update(*action, report, NOW)).collect()
}

/// Draws without a terminal, as `tui` would.
fn look(view: &mut ViewState, report: &Report, width: usize, height: usize) -> Picture {
    let picture = picture(view, report, NOW, width, height);
    view.saw(&picture);
    picture
}

fn selected_id(view: &ViewState, report: &Report) -> Option<String> {
    let rows = view.rows(report);
    view.selected_at(&rows)
        .map(|place| rows.shown[place].session_id.clone())
}

#[test]
fn the_selection_follows_the_session_and_not_the_row() {
    let mut report = six();
    let mut view = ViewState::default();
    let _ = act(&mut view, &report, &[Action::Select(Step::Down)]);
    look(&mut view, &report, 80, 24);
    assert_eq!(selected_id(&view, &report).as_deref(), Some("AJ_004huv9tJYKq"));
    report.sessions[4].blocked_ms = 0.0;
    report.sessions[4].cpu_pct = Some(0.0);
    let picture = look(&mut view, &report, 80, 24);
    assert_eq!(selected_id(&view, &report).as_deref(), Some("AJ_004huv9tJYKq"));
    assert_eq!(picture.selected.map(|(place, _)| place), Some(5));
}

/// A key takes longer than a picture: what was meant for one session must not be done to another.
#[test]
fn a_session_that_ends_leaves_nobody_selected_and_the_user_is_told() {
    let mut report = six();
    let mut view = ViewState::default();
    let _ = act(
        &mut view,
        &report,
        &[Action::Select(Step::Down), Action::Select(Step::Down)],
    );
    look(&mut view, &report, 80, 24);
    let first = selected_id(&view, &report).unwrap();
    let place = view.selected_at(&view.rows(&report)).unwrap();
    report.sessions.retain(|session| session.session_id != first);
    for before_the_picture in [true, false] {
        if !before_the_picture {
            let picture = look(&mut view, &report, 80, 24);
            assert!(picture.selected.is_none() && picture.table.rows.iter().all(|row| !row.is_selected));
            assert!(view.message().unwrap().contains("none is selected"));
        }
        for action in [Action::Yank, Action::Pin, Action::Open] {
            assert_eq!(view.update(action, &report, NOW), Effect::Nothing);
            assert!(view.message().unwrap().contains("no longer shown"), "{action:?}");
        }
        assert!(view.pins().is_empty() && *view.pages().page() == Page::Table);
    }
    // It is said once, and does not come back over other words.
    view.say("another word");
    look(&mut view, &report, 80, 24);
    assert_eq!(view.message(), Some("another word"));
    // The user goes on from where it was.
    let ids: Vec<String> = view
        .rows(&report)
        .shown
        .iter()
        .map(|one| one.session_id.clone())
        .collect();
    let _ = act(&mut view, &report, &[Action::Select(Step::Down)]);
    assert_eq!(selected_id(&view, &report).as_ref(), ids.get(place));
}

#[test]
fn what_a_filter_hides_is_not_acted_on_and_is_selected_again_when_it_is_shown() {
    let report = six();
    let mut view = ViewState::default();
    let _ = act(&mut view, &report, &[Action::Select(Step::Down)]);
    look(&mut view, &report, 80, 24);
    let first = selected_id(&view, &report).unwrap();
    let typed = "naxhwfGRC".chars().map(Action::Type);
    let typed: Vec<Action> = [Action::EnterText]
        .into_iter()
        .chain(typed)
        .chain([Action::KeepText])
        .collect();
    let _ = act(&mut view, &report, &typed);
    look(&mut view, &report, 80, 24);
    assert_eq!(view.update(Action::Yank, &report, NOW), Effect::Nothing);
    let _ = act(&mut view, &report, &[Action::ClearText]);
    look(&mut view, &report, 80, 24);
    assert_eq!(selected_id(&view, &report), Some(first));
}

/// The rows stay where they are: nobody follows a table that jumps to its top.
#[test]
fn the_table_does_not_scroll_away_when_the_selected_session_ends() {
    let mut report = sample::report(sample::crowd(500));
    let mut view = ViewState::default();
    look(&mut view, &report, 80, 24);
    for _ in 0..10 {
        let _ = act(&mut view, &report, &[Action::Select(Step::PageDown)]);
        look(&mut view, &report, 80, 24);
    }
    let selected = selected_id(&view, &report).unwrap();
    let shown = |picture: &Picture| -> Vec<String> {
        let first = |row: &Row| row.cells[0].text().to_owned();
        picture.table.rows.iter().map(first).collect()
    };
    let before = shown(&look(&mut view, &report, 80, 24));
    report.sessions.retain(|session| session.session_id != selected);
    let after = shown(&look(&mut view, &report, 80, 24));
    let kept = before.iter().filter(|row| after.contains(row)).count();
    assert!(kept + 2 >= before.len(), "{before:?} {after:?}");
}

#[test]
fn moves_stop_at_both_ends() {
    let report = sample::report(sample::crowd(500));
    let mut view = ViewState::default();
    look(&mut view, &report, 80, 24);
    let place = |view: &ViewState| view.selected_at(&view.rows(&report));
    let _ = act(
        &mut view,
        &report,
        &[Action::Select(Step::PageDown), Action::Select(Step::PageDown)],
    );
    let page = look(&mut view, &report, 80, 24).page_rows;
    assert_eq!(place(&view), Some(page));
    let _ = act(
        &mut view,
        &report,
        &[Action::Select(Step::Last), Action::Select(Step::Down)],
    );
    assert_eq!(place(&view), Some(499));
    let _ = act(
        &mut view,
        &report,
        &[Action::Select(Step::First), Action::Select(Step::Up)],
    );
    assert_eq!(place(&view), Some(0));
}

#[test]
fn text_is_typed_kept_and_cleared() {
    let report = six();
    let mut view = ViewState::default();
    let _ = act(
        &mut view,
        &report,
        &[
            Action::EnterText,
            Action::Type('d'),
            Action::Type('e'),
            Action::Type('x'),
        ],
    );
    assert!(view.is_typing());
    assert_eq!(view.rows(&report).shown.len(), 0);
    let _ = act(&mut view, &report, &[Action::Erase, Action::KeepText]);
    assert!(!view.is_typing());
    // "de" is in dental and in default.
    assert_eq!(view.rows(&report).shown.len(), 4);
    let _ = act(&mut view, &report, &[Action::Close]);
    assert_eq!(view.rows(&report).shown.len(), 6);
    let _ = act(
        &mut view,
        &report,
        &[Action::EnterText, Action::Type('x'), Action::ClearText],
    );
    assert_eq!((view.is_typing(), view.rows(&report).shown.len()), (false, 6));
}

#[test]
fn a_frozen_picture_stays_while_reports_go_on() {
    let mut report = six();
    let mut view = ViewState::default();
    let _ = view.update(Action::Freeze, &report, NOW);
    report.sessions.clear();
    let picture = picture(&view, &report, Nanos(13_000_000_000), 80, 24);
    assert_eq!(picture.table.rows.len(), 6);
    assert!(picture.title.text().contains("FROZEN 12 s"), "{}", picture.title.text());
    let _ = view.update(Action::Freeze, &report, NOW);
    let thawed = look(&mut view, &report, 80, 24);
    assert_eq!(thawed.table.rows.len(), 0);
    assert!(!thawed.title.text().contains("FROZEN"));
}

#[test]
fn the_help_scrolls_as_far_as_it_has_lines() {
    let report = six();
    let mut view = ViewState::default();
    let _ = act(&mut view, &report, &[Action::Help, Action::Select(Step::Last)]);
    let first = |picture: &Picture| picture.help.as_ref().map(|help| help.first);
    let last = first(&look(&mut view, &report, 80, 24)).unwrap();
    assert!(last > 0);
    let _ = act(&mut view, &report, &[Action::Select(Step::Up)]);
    assert_eq!(first(&look(&mut view, &report, 80, 24)), Some(last - 1));
    let _ = act(&mut view, &report, &[Action::Close]);
    assert_eq!(first(&look(&mut view, &report, 80, 24)), None);
}

#[test]
fn a_yanked_id_is_printable() {
    let mut report = six();
    report.sessions.truncate(1);
    report.sessions[0].session_id = "rm\n-rf".to_owned();
    let mut view = ViewState::default();
    assert_eq!(view.update(Action::Yank, &report, NOW), Effect::Nothing);
    let _ = act(&mut view, &report, &[Action::Select(Step::Down)]);
    assert_eq!(
        view.update(Action::Yank, &report, NOW),
        Effect::Copy("rm\\n-rf".to_owned())
    );
    assert!(view.message().unwrap().contains("copied rm\\n-rf"));
}

#[test]
fn pins_go_on_and_off_but_the_workers_own_stay() {
    let mut report = six();
    let mut view = ViewState::default();
    let _ = act(&mut view, &report, &[Action::Select(Step::Last), Action::Pin]);
    assert_eq!(view.rows(&report).shown[0].session_id, "AJ_003naxhwfGRC");
    let _ = act(&mut view, &report, &[Action::Pin]);
    assert_eq!(view.rows(&report).shown[0].session_id, "AJ_004huv9tJYKq");
    report.sessions[3].pinned = true;
    let _ = act(&mut view, &report, &[Action::Pin]);
    assert!(view.message().unwrap().contains("by the worker"));
}

#[test]
fn the_sort_walks_over_the_columns_that_are_seen() {
    let report = six();
    let mut view = ViewState::default();
    look(&mut view, &report, 30, 10);
    for expected in ["session_id", "cpu_pct", "status", "session_id"] {
        let _ = view.update(Action::SortRight, &report, NOW);
        assert_eq!(view.options().sort.name(), expected);
    }
    let _ = view.update(Action::SortLeft, &report, NOW);
    assert_eq!(view.options().sort.name(), "status");
    let _ = view.update(Action::FlipSort, &report, NOW);
    assert!(!view.options().sort.is_descending());
}

#[test]
fn the_last_rows_are_never_moved() {
    let report = six();
    let mut view = ViewState::default();
    let last = |picture: &Picture| -> Vec<String> {
        picture
            .table
            .last
            .iter()
            .map(|row| row.cells[0].text().trim().to_owned())
            .collect()
    };
    assert_eq!(last(&look(&mut view, &report, 80, 24)), ["unattributed"]);
    let _ = act(
        &mut view,
        &report,
        &[Action::NextStatus, Action::NextStatus, Action::FlipSort],
    );
    let picture = look(&mut view, &report, 80, 24);
    assert_eq!(last(&picture), ["hidden (5)", "unattributed"]);
    assert_eq!(picture.table.rows.len(), 1);
    let cpu = picture
        .table
        .columns
        .iter()
        .position(|placed| placed.column.key == "cpu")
        .unwrap();
    assert_eq!(picture.table.last[0].cells[cpu].text().trim(), "48.0");
}

fn texts(cells: &[Piece]) -> Vec<&str> {
    cells.iter().map(|cell| cell.text().trim()).collect()
}

/// A line of bare figures would be taken for a session's.
#[test]
fn the_last_rows_have_their_names_whatever_columns_are_shown() {
    let report = six();
    for (columns, in_column) in [
        ("cpu,session", "session"),
        ("agent,session,cpu", "session"),
        ("where,cpu", "where"),
        ("agent,cpu", "agent"),
        ("where,blocked,loop", "where"),
        ("tasks,where,cpu", "where"),
        ("cpu,tenant,agent", "tenant"),
        ("cpu,status", ""),
        ("pin", ""),
    ] {
        let mut view = ViewState::new(Options {
            columns: choose_columns(columns).unwrap(),
            ..Options::default()
        });
        let _ = act(&mut view, &report, &[Action::NextStatus, Action::NextStatus]);
        for width in [20, 30, 80, 200] {
            let table = picture(&view, &report, NOW, width, 24).table;
            let at = table.columns.iter().position(|placed| placed.column.key == in_column);
            // Where that column has left, another has them.
            let names: Vec<Vec<&str>> = table.last.iter().map(|row| texts(&row.cells)).collect();
            let at = at.or_else(|| names[0].iter().position(|cell| cell.starts_with("hidd")));
            let at = at.unwrap_or_else(|| panic!("{columns} at {width}: {names:?}"));
            assert!(names[0][at].starts_with("hidd"), "{columns} at {width}: {names:?}");
            assert!(names[1][at].starts_with("unat"), "{columns} at {width}: {names:?}");
            if width >= 80 {
                assert_eq!(
                    (names[0][at], names[1][at]),
                    ("hidden (5)", "unattributed"),
                    "{columns}"
                );
            }
        }
    }
}

#[test]
fn narrow_tables_lose_columns_from_the_right_and_never_the_core() {
    let report = six();
    let keys = |width: usize| -> Vec<&str> {
        let picture = picture(&ViewState::default(), &report, NOW, width, 24);
        picture.table.columns.iter().map(|placed| placed.column.key).collect()
    };
    let all: Vec<&str> = COLUMNS.iter().map(|column| column.key).collect();
    assert_eq!(keys(200), all);
    assert_eq!(keys(80)[..9], all[..9], "the original's nine fit into 80");
    assert_eq!(keys(40), ["session", "agent", "cpu", "status"]);
    assert_eq!(keys(26), ["session", "cpu", "status"]);
    assert_eq!(keys(20), ["session", "cpu", "status"]);
    let mut before = all.len();
    for width in (1..200).rev() {
        let now = keys(width).len();
        assert!((1..=before).contains(&now), "columns came back at {width}");
        before = now;
    }
}

#[test]
fn long_ids_stay_apart_when_they_are_cut() {
    let mut sessions = sample::crowd(3);
    for (number, session) in sessions.iter_mut().enumerate() {
        session.session_id = format!("{}-{number}", "x".repeat(200));
    }
    let report = sample::report(sessions);
    let picture = picture(&ViewState::default(), &report, NOW, 80, 24);
    let ids: std::collections::BTreeSet<&str> = picture.table.rows.iter().map(|row| row.cells[0].text()).collect();
    assert_eq!(ids.len(), 3, "{ids:?}");
    assert!(ids.iter().all(|id| id.contains('…')));
}

fn any_action() -> impl Strategy<Value = Action> {
    let step = prop_oneof![
        Just(Step::Up),
        Just(Step::Down),
        Just(Step::PageUp),
        Just(Step::PageDown),
        Just(Step::First),
        Just(Step::Last)
    ];
    prop_oneof![
        prop::sample::select(vec![
            Action::Refresh,
            Action::NextSort,
            Action::SortLeft,
            Action::SortRight,
            Action::FlipSort,
            Action::NextStatus,
            Action::EnterText,
            Action::Erase,
            Action::EraseAll,
            Action::KeepText,
            Action::ClearText,
            Action::Freeze,
            Action::Pin,
            Action::Yank,
            Action::Help,
            Action::Close,
            Action::Blocks,
            Action::Open,
        ]),
        step.clone().prop_map(Action::Select),
        step.prop_map(Action::Scroll),
        any::<char>().prop_map(Action::Type),
    ]
}

fn hostile_report(count: usize, id: &str, blocked: bool) -> Report {
    let mut sessions = sample::crowd(count);
    for (number, session) in sessions.iter_mut().enumerate() {
        let hostile = sample::HOSTILE[number % sample::HOSTILE.len()];
        session.session_id = format!("{hostile}{id}{number}");
        session.agent_name = Some(hostile.to_owned());
        session.tenant = Some(id.to_owned());
        session.status = [Status::Active, Status::Slow, Status::Draining, Status::Errored][number % 4];
    }
    let mut report = sample::report(sessions);
    report.worker.name = Some(format!("\x1b[2J{id}"));
    report.worker.last_error = Some(id.to_owned());
    if blocked {
        report
            .blocks
            .push(sample::block_now(Some(&format!("\x07{id}")), Cause::Cpu));
        report.recent = sample::blocks();
        let mut hostile = report.blocks[0].clone();
        (hostile.id, hostile.holder_thread) = (99, Some(id.to_owned()));
        hostile.stack = Some(vec![sample::at(id, id, 1); count * 20]);
        report.recent.insert(0, Arc::new(hostile));
        report.history = sample::history(report.sessions.first().map_or(id, |one| &one.session_id));
    }
    report
}

fn all_lines(picture: &Picture) -> Vec<Line> {
    let mut lines = vec![picture.title.clone(), picture.footer.clone()];
    lines.extend(picture.header.iter().cloned());
    lines.extend(picture.caption.clone());
    lines.extend(picture.detail.clone());
    lines.extend(picture.nothing.clone());
    lines.extend(picture.sheet.iter().flat_map(|sheet| sheet.lines.iter().cloned()));
    lines.extend(picture.help.iter().flat_map(|help| help.lines.iter().cloned()));
    lines
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn no_sequence_of_actions_breaks_anything(
        actions in prop::collection::vec((any_action(), 0usize..6), 0..40),
        (width, height) in (1usize..130, 1usize..45),
        id in any::<String>(),
    ) {
        let mut view = ViewState::default();
        for (action, count) in actions {
            let report = hostile_report(count, &id, count % 2 == 0);
            let _ = view.update(action, &report, NOW);
            let picture = look(&mut view, &report, width, height);
            for line in all_lines(&picture) {
                prop_assert!(line.width() <= width, "{:?} is wider than {}", line.text(), width);
                prop_assert!(!line.text().chars().any(is_unprintable), "{:?}", line.text());
            }
            if let Some(sheet) = &picture.sheet {
                prop_assert!(sheet.lines.len() <= height);
                prop_assert!(sheet.selected.is_none_or(|place| place < sheet.lines.len().max(1)));
            }
            let room = Room { width: Some(width), gap: GAP, edges: 0 };
            prop_assert!(picture.table.width(room) <= width);
            for row in picture.table.rows.iter().chain(&picture.table.last) {
                for (cell, placed) in row.cells.iter().zip(&picture.table.columns) {
                    prop_assert_eq!(cell.width(), placed.width);
                    prop_assert!(!cell.text().chars().any(is_unprintable), "{:?}", cell.text());
                }
            }
        }
    }

    #[test]
    fn every_key_is_safe_in_every_mood(keys in prop::collection::vec(any::<char>(), 0..60)) {
        let report = six();
        let mut view = ViewState::default();
        for key in keys {
            if let Some(action) = action_for(Key::Char(key), view.mood(), view.is_replay()) {
                let _ = view.update(action, &report, NOW);
            }
            look(&mut view, &report, 80, 24);
        }
    }
}
