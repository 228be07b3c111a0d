//! The live table: takes figures in, takes keys in, draws. Ends with a key, a signal, or the terminal. Knows nothing of
//! where the figures come from.

use crate::cli::error::CliError;
use crate::cli::master;
use crate::cli::signals::Signals;
use crate::cli::table::plan::Look;
use crate::cli::worker::{Worker, now};
use crate::model::{Nanos, Report};
use crate::tui::{self, Input, Screen};
use crate::view::{Effect, Steer, ViewState, action_for};
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

/// How long a key may wait for its answer.
const STEP: Duration = Duration::from_millis(30);
/// A session that comes or goes is shown before the next picture is due, but pictures come no faster than this for it.
const SOON: Nanos = Nanos(300_000_000);

/// What the table is about: a worker that is read, or a socket.
pub trait Figures {
    /// Waits for news, but not longer than this, and takes in all that have come.
    fn take_in(&mut self, patience: Duration);
    fn report(&mut self) -> Report;
    /// Whether a session came or went since this was last asked.
    fn others_live(&mut self) -> bool {
        false
    }
    /// What is to be said once, by the first report of a whole walk, and taken back when it is no longer so.
    fn hint(&self, _: &Report) -> Option<String> {
        None
    }
    /// The user wants news now.
    fn hurry(&mut self) {}
    /// Where a replay is; None: this is none.
    fn place(&self) -> Option<String> {
        None
    }
    fn steer(&mut self, _: Steer) {}
    /// Writes the last minutes into a file of this name; returns what is to be said of it.
    fn write(&mut self, _name: &str) -> String {
        "nothing is kept that could be written".to_owned()
    }
}

impl Figures for Worker {
    fn take_in(&mut self, patience: Duration) {
        Worker::take_in(self, patience);
    }

    fn report(&mut self) -> Report {
        self.report_with_blocks()
    }

    fn others_live(&mut self) -> bool {
        Worker::others_live(self)
    }

    fn hint(&self, report: &Report) -> Option<String> {
        let (fact, way) = master::hint(self.pid, report)?;
        Some(format!("{fact}; try: {way}"))
    }

    fn write(&mut self, name: &str) -> String {
        self.write_minutes(name)
    }
}

pub fn watch(figures: &mut dyn Figures, look: &Look, signals: &Signals) -> Result<(), CliError> {
    // The first picture has figures in it, if they come at once.
    figures.take_in(STEP);
    let mut screen = Screen::open(tui::wants_colour()).map_err(terminal)?;
    let (tell, inputs) = mpsc::channel();
    tui::events(move |input| tell.send(input).is_ok()).map_err(terminal)?;
    let mut view = ViewState::new(look.options.clone());
    view.set_replay(figures.place());
    if let Some(word) = look.words.first() {
        view.say(word.clone());
    }
    let refresh = Nanos::from(look.refresh);
    let mut report = figures.report();
    let mut next = now();
    let mut drawn = next;
    let (mut is_hinted, mut hint) = (false, None);
    loop {
        if signals.raised() {
            return Ok(());
        }
        let at = now();
        let mut is_stale = match take_keys(&inputs, &mut view, &report, &mut screen, figures)? {
            Answer::Quit => return Ok(()),
            Answer::Redraw => true,
            Answer::Refresh => {
                figures.hurry();
                next = at;
                true
            }
            Answer::Nothing => false,
        };
        if figures.others_live() {
            next = next.min(drawn + SOON);
        }
        if at >= next {
            report = figures.report();
            drawn = at;
            // Not from the last plan on: after a pause there is nothing to catch up with.
            next = at + refresh;
            is_stale = true;
            if !is_hinted && report.worker.tasks.is_some() {
                is_hinted = true;
                hint = figures.hint(&report);
                if let Some(word) = &hint {
                    view.say(word.clone());
                }
            }
            if let Some(word) = hint.take_if(|word| figures.hint(&report).as_ref() != Some(word)) {
                view.unsay(&word);
            }
        }
        if is_stale {
            view.set_replay(figures.place());
            screen.draw(&mut view, &report, at).map_err(CliError::TerminalGone)?;
        }
        figures.take_in(STEP.min(Duration::from(next - now())));
        #[cfg(debug_assertions)]
        panic_if_asked();
    }
}

enum Answer {
    Nothing,
    Redraw,
    Refresh,
    Quit,
}

/// Does what all the keys say that have come.
fn take_keys(
    inputs: &Receiver<Input>,
    view: &mut ViewState,
    report: &Report,
    screen: &mut Screen,
    figures: &mut dyn Figures,
) -> Result<Answer, CliError> {
    let mut answer = Answer::Nothing;
    while let Ok(input) = inputs.try_recv() {
        let key = match input {
            Input::Key(key) => key,
            Input::Resize => {
                answer = Answer::Redraw;
                continue;
            }
            Input::Gone => return Ok(Answer::Quit),
        };
        let Some(action) = action_for(key, view.mood(), view.is_replay()) else {
            continue;
        };
        let asked = match view.update(action, report, now()) {
            Effect::Quit => return Ok(Answer::Quit),
            Effect::Refresh => Answer::Refresh,
            Effect::Copy(text) => {
                screen.copy(&text).map_err(CliError::TerminalGone)?;
                Answer::Redraw
            }
            Effect::Write(name) => {
                view.say(figures.write(&name));
                Answer::Redraw
            }
            Effect::Steer(steer) => {
                figures.steer(steer);
                Answer::Refresh
            }
            Effect::Nothing => Answer::Redraw,
        };
        // Of several keys at once, the one that asks for most.
        if !matches!(answer, Answer::Refresh) {
            answer = asked;
        }
    }
    Ok(answer)
}

fn terminal(error: std::io::Error) -> CliError {
    CliError::Output {
        what: "the terminal".to_owned(),
        error,
    }
}

/// For the test that a panic gives the terminal back; not in a release build.
#[cfg(debug_assertions)]
fn panic_if_asked() {
    assert!(std::env::var_os("OTOP_TEST_PANIC").is_none(), "asked to");
}
