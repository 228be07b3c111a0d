//! The last minutes of each session: what is remembered, for how long, and what takes no room.

use super::stage::{Doing, Stage, key, of};

#[test]
fn a_stretch_has_those_who_used_something_and_five_minutes_are_kept() {
    let mut stage = Stage::new();
    stage.census(&["a", "b"]);
    for _ in 0..10 {
        stage.step(of("a"), Doing::Run, 100.0);
        stage.run(100.0);
        stage.report();
    }
    let history = stage.report().history;
    assert!((1..=2).contains(&history.len()), "{history:?}");
    let used: Vec<_> = history.iter().flat_map(|stretch| &stretch.used).collect();
    assert!(used.iter().all(|one| one.key == key("a")), "b did nothing: {used:?}");
    let first = &history[0];
    assert!((40.0..60.0).contains(&first.used[0].cpu_pct), "{first:?}");
    assert!((40.0..60.0).contains(&first.used[0].loop_pct), "{first:?}");
    for _ in 0..330 {
        stage.step(of("b"), Doing::Call(45), 50.0);
        stage.run(950.0);
        stage.report();
    }
    let history = stage.report().history;
    let (oldest, newest) = (&history[0], &history[history.len() - 1]);
    assert!(
        (290_000_000_000..=300_000_000_000).contains(&(newest.to - oldest.from).0),
        "{oldest:?}"
    );
    assert!(
        history.windows(2).all(|two| two[0].to == two[1].from),
        "no time is left out"
    );
    let of_b = newest
        .used
        .iter()
        .find(|one| one.key == key("b"))
        .expect("it held the loop");
    assert!((4.0..6.0).contains(&of_b.loop_pct) && of_b.cpu_pct < 0.5, "{of_b:?}");
}

#[test]
fn ten_thousand_idle_sessions_take_no_room() {
    let ids: Vec<String> = (0..10_000).map(|number| format!("idle-{number}")).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let mut stage = Stage::new();
    stage.census(&ids);
    for _ in 0..3 {
        stage.run(1000.0);
        stage.report();
    }
    let history = stage.report().history;
    assert!(!history.is_empty() && history.iter().all(|stretch| stretch.used.is_empty()));
}
