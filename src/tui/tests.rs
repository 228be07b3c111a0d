//! The screen as it comes out, in the sizes that matter. A snapshot that changes has to be looked at as the person
//! on call would: is the culprit the first thing that is seen?

use super::{Palette, draw};
use crate::model::SessionReport;
use crate::model::{Block, Cause, Nanos, Report, Status};
use crate::view::{Action, Effect, Key, Options, Step, ViewState, action_for, picture, sample};
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::Buffer;
use ratatui::style::{Color, Modifier};
use std::sync::Arc;

pub(super) const NOW: Nanos = Nanos(1_000_000_000);
pub(super) const SIZES: [(u16, u16); 4] = [(40, 10), (80, 24), (120, 40), (200, 50)];

pub(super) fn look(view: &mut ViewState, report: &Report, (width, height): (u16, u16), colour: bool) -> Buffer {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    let picture = picture(view, report, NOW, width.into(), height.into());
    terminal
        .draw(|frame| draw(frame, &picture, Palette { colour }))
        .unwrap();
    view.saw(&picture);
    terminal.backend().buffer().clone()
}

/// The screen as text, and no character in it that could act on a terminal.
pub(super) fn text(buffer: &Buffer) -> String {
    let mut lines = Vec::new();
    for y in 0..buffer.area.height {
        let mut line = String::new();
        let mut x = 0;
        while x < buffer.area.width {
            let symbol = buffer[(x, y)].symbol();
            assert!(
                !symbol.chars().any(crate::view::is_unprintable),
                "{symbol:?} at {x},{y}"
            );
            line.push_str(symbol);
            x += u16::try_from(crate::view::width(symbol)).unwrap().max(1);
        }
        assert!(crate::view::width(&line) <= buffer.area.width.into(), "{line:?}");
        lines.push(line.trim_end().to_owned());
    }
    lines.join("\n")
}

pub(super) fn act(view: &mut ViewState, report: &Report, actions: &[Action]) {
    for action in actions {
        let _ = view.update(*action, report, NOW);
    }
}

macro_rules! snapshot {
    ($name:expr, $size:expr, $text:expr) => {
        insta::with_settings!({ snapshot_path => "snapshots", prepend_module_to_snapshot => false, omit_expression => true }, {
            insta::assert_snapshot!(format!("{}-{}x{}", $name, $size.0, $size.1), $text)
        })
    };
}

pub(super) fn snapshots(name: &str, report: &Report, actions: &[Action]) {
    for size in SIZES {
        let mut view = ViewState::new(Options::default());
        look(&mut view, report, size, true);
        act(&mut view, report, actions);
        snapshot!(name, size, text(&look(&mut view, report, size, true)));
    }
}

#[test]
fn six_sessions() {
    snapshots("six", &sample::report(sample::six()), &[]);
}

#[test]
fn no_session() {
    snapshots("none", &sample::report(Vec::new()), &[]);
}

#[test]
fn one_session_of_which_nothing_is_known() {
    snapshots(
        "unknown",
        &sample::report(vec![SessionReport::unknown("AJ_000sYfnHPcRu")]),
        &[],
    );
}

#[test]
fn five_hundred_sessions_and_the_selection_in_their_middle() {
    let report = sample::report(sample::crowd(500));
    snapshots(
        "crowd",
        &report,
        &[Action::Select(Step::Down), Action::Select(Step::PageDown)],
    );
}

#[test]
fn a_loop_that_is_blocked_now() {
    let mut report = sample::report(sample::six());
    report.sessions[1].status = Status::Slow;
    report.sessions[1].blocks = 1;
    report.sessions[1].blocked_ms = 3210.0;
    report.sessions[1].worst_block_ms = Some(3210.0);
    report
        .blocks
        .push(sample::block_now(Some("AJ_0014qgHOf2aF"), Cause::Syscall));
    snapshots("blocked", &report, &[]);
}

#[test]
fn a_draining_pool_with_two_loops_and_failures() {
    let mut report = sample::report(sample::six());
    report.worker.draining = Some(true);
    report.worker.failed = Some(2);
    report.worker.last_error = Some("ValueError: no such slot".to_owned());
    report.worker.loops.push(sample::second_loop());
    for session in &mut report.sessions {
        session.status = Status::Draining;
    }
    report.sessions[0].status = Status::Errored;
    report.sessions[0].mem_mb = None;
    report.sessions[2].duration_is_lower_bound = true;
    snapshots("draining", &report, &[]);
}

#[test]
fn a_filter_and_a_frozen_picture() {
    let mut report = sample::report(sample::six());
    let over = Block {
        ongoing: false,
        duration_is_lower_bound: false,
        duration_ms: 320.0,
        started_at: Some(1_700_000_095.0),
        ..sample::block_now(Some("AJ_004huv9tJYKq"), Cause::Cpu)
    };
    report.recent.push(Arc::new(over));
    let typed: Vec<Action> = "dent".chars().map(Action::Type).collect();
    let mut actions = vec![Action::Freeze, Action::EnterText];
    actions.extend(typed);
    snapshots("typing", &report, &actions);
    actions.extend([Action::KeepText, Action::NextSort]);
    snapshots("filtered", &report, &actions);
}

#[test]
fn hostile_and_wide_strings() {
    let mut sessions: Vec<_> = sample::HOSTILE
        .iter()
        .map(|id| sample::session(id, id, id, 1.0))
        .collect();
    sessions.push(sample::session("会議-東京-0001", "予約", "株式会社", 1.0));
    sessions.push(sample::session("🚀🚀-launch", "e\u{301}te\u{301}", "ｶﾞｷﾞ", 1.0));
    sessions.push(sample::session(&"ab".repeat(100), "a", "b", 1.0));
    let mut report = sample::report(sessions);
    report.worker.name = Some("\x1b[2Jhost\u{202e}".to_owned());
    report
        .blocks
        .push(sample::block_now(Some(&"会議".repeat(60)), Cause::Unknown));
    snapshots("hostile", &report, &[]);
}

#[test]
fn the_help() {
    snapshots("help", &sample::report(sample::six()), &[Action::Help]);
    let mut view = ViewState::default();
    let report = sample::report(sample::six());
    act(&mut view, &report, &[Action::Help, Action::Select(Step::Last)]);
    snapshot!("help-end", (40, 10), text(&look(&mut view, &report, (40, 10), true)));
}

#[test]
fn a_worker_that_ended() {
    let mut report = sample::report(sample::six());
    report.worker.condition = Some("exited".to_owned());
    snapshots("ended", &report, &[]);
}

#[test]
fn no_terminal_is_too_small() {
    let report = sample::report(sample::six());
    for width in 1..30 {
        for height in 1..14 {
            let mut view = ViewState::default();
            act(&mut view, &report, &[Action::Select(Step::Down)]);
            look(&mut view, &report, (width, height), true);
            act(&mut view, &report, &[Action::Help]);
            look(&mut view, &report, (width, height), true);
        }
    }
}

#[test]
fn the_status_has_the_colours_of_the_original_and_the_selected_row_is_reversed() {
    let mut report = sample::report(sample::six());
    report.sessions[0].status = Status::Errored;
    report.sessions[1].status = Status::Draining;
    let mut view = ViewState::default();
    act(&mut view, &report, &[Action::Select(Step::Down)]);
    let buffer = look(&mut view, &report, (80, 24), true);
    let colour_of = |word: &str| {
        let lines: Vec<String> = text(&buffer).lines().map(str::to_owned).collect();
        let heading = lines.iter().position(|line| line.starts_with("session ")).unwrap();
        let (y, line) = lines
            .iter()
            .enumerate()
            .skip(heading)
            .find(|(_, line)| line.contains(word))
            .unwrap();
        let x = crate::view::width(line.split(word).next().unwrap());
        buffer[(u16::try_from(x).unwrap(), u16::try_from(y).unwrap())].style()
    };
    assert_eq!(colour_of("ACTIVE").fg, Some(Color::Green));
    assert_eq!(colour_of("SLOW").fg, Some(Color::Yellow));
    assert_eq!(colour_of("DRAINING").fg, Some(Color::Cyan));
    assert_eq!(colour_of("ERRORED").fg, Some(Color::Red));
    assert!(colour_of("AJ_004huv9tJYKq").add_modifier.contains(Modifier::REVERSED));
    assert!(!colour_of("AJ_002K9ggw8rCx").add_modifier.contains(Modifier::REVERSED));
}

#[test]
fn without_colours_there_are_none() {
    let mut report = sample::report(sample::six());
    report.blocks.push(sample::block_now(None, Cause::Gc));
    let buffer = look(&mut ViewState::default(), &report, (120, 40), false);
    for cell in &buffer.content {
        assert_eq!((cell.fg, cell.bg), (Color::Reset, Color::Reset), "{cell:?}");
    }
}

#[test]
fn keys_reach_the_screen() {
    let report = sample::report(sample::six());
    let mut view = ViewState::default();
    let mut press = |key: Key| {
        let action = action_for(key, view.mood(), view.is_replay());
        let effect = action.map(|action| view.update(action, &report, NOW));
        (effect, text(&look(&mut view, &report, (80, 24), true)))
    };
    let (_, screen) = press(Key::Char('s'));
    assert!(screen.contains("sort:cpu_pct"), "{screen}");
    let (_, screen) = press(Key::Char('f'));
    assert!(
        screen.contains("status:active") && screen.contains("hidden (1)"),
        "{screen}"
    );
    let (effect, screen) = press(Key::Char('y'));
    assert_eq!(effect, Some(Effect::Nothing));
    assert!(screen.contains("no session is selected"), "{screen}");
    press(Key::Down);
    let (effect, screen) = press(Key::Char('y'));
    assert_eq!(effect, Some(Effect::Copy("AJ_002K9ggw8rCx".to_owned())));
    assert!(screen.contains("copied AJ_002K9ggw8rCx"), "{screen}");
    assert_eq!(press(Key::Char('r')).0, Some(Effect::Refresh));
    assert_eq!(press(Key::Ctrl('c')).0, Some(Effect::Quit));
}
