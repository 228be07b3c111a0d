//! `otop vars`: the contextvars in a worker's live tasks, as text or as a JSON document, and the line that would name its
//! sessions. Shows values only where they were asked for, and a credential never. Knows nothing of how they are read.

pub mod arguments;

use super::error::{CliError, shell_word};
use super::output;
use super::wire::{Reading, Variables};
use crate::identity::{Held, Suggestion};
use crate::model::{Pid, TASKS};
use crate::process::candidates::pythons_below;
use crate::source::error::started;
use crate::view::{printable, width};
use serde_json::{Value, json};

/// What of them is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listing {
    /// Values are shown too.
    pub values: bool,
    pub json: bool,
}

/// What stands in a credential's place.
const MASKED: &str = "(credential: never shown)";
/// What stands in place of values all of which look like one.
const HIDDEN: &str = "(as random as a credential: not shown here)";
/// What a line that is proposed would do with such values, so that nobody shows them without having been told.
const WOULD_SHOW: &str = ", as random as a credential: this would show them";
/// Processes below this one that are asked whether they are workers.
const MOST_ASKED: usize = 16;
/// Longer names are cut in the table; JSON has them whole.
const LONGEST_NAME: usize = 48;

/// Reads them once and prints them.
pub fn list(pid: Pid, listing: &Listing, reading: &dyn Reading) -> Result<(), CliError> {
    let found = reading.variables(pid)?;
    if !found.asyncio_imported {
        return Err(CliError::NoAsyncio(pid));
    }
    let elsewhere = match found.inventory.suggestions.is_empty() && found.session_from == TASKS {
        true => below(&pythons_below(pid), reading),
        false => None,
    };
    if !listing.json {
        return output::write(&text(pid, &found, listing.values, elsewhere.as_deref()));
    }
    output::write(&document(pid, &found, listing.values))?;
    if let Some(word) = elsewhere {
        output::say(&word);
    }
    Ok(())
}

/// That the sessions are in workers below this process, as a pool's are below its master, with the command for one of
/// them. None: none of these processes runs a loop.
fn below(pythons: &[Pid], reading: &dyn Reading) -> Option<String> {
    let runs_a_loop = |pid: &&Pid| reading.probe(**pid).is_ok_and(|probe| probe.loop_kind.is_some());
    let worker = pythons.iter().take(MOST_ASKED).find(runs_a_loop)?;
    Some(format!(
        "nothing names sessions in this process{}; try: otop vars --pid {worker}",
        started(pythons)
    ))
}

/// `elsewhere`: where the sessions are, if not here.
fn text(pid: Pid, found: &Variables, values: bool, elsewhere: Option<&str>) -> String {
    let inventory = &found.inventory;
    let partial = if inventory.is_partial {
        ", and more than could be read"
    } else {
        ""
    };
    let mut text = format!(
        "worker {pid}, Python {}: {} contextvars in {} tasks{partial}\n",
        printable(&found.python),
        inventory.variables.len(),
        inventory.tasks,
    );
    text.push_str(&match found.session_from.as_str() {
        TASKS => "nothing that otop knows names sessions here: tasks stand for them\n\n".to_owned(),
        name => match name.strip_prefix("? ") {
            Some(names) => format!(
                "without a flag, sessions are named by {}, which disagree: an id is \"? one | other\" until \
                 --session-from says which is meant\n\n",
                printable(names)
            ),
            None => format!("without a flag, sessions are named by {}\n\n", printable(name)),
        },
    });
    let mut heading = vec!["VARIABLE", "TASKS", "VALUES", "TYPES"]
        .into_iter()
        .map(str::to_owned)
        .collect::<Vec<_>>();
    if values {
        heading.push("SOME OF THEM".to_owned());
    }
    let rows = inventory.variables.iter().map(|held| row(held, values));
    let rows: Vec<Vec<String>> = std::iter::once(heading).chain(rows).collect();
    if inventory.variables.is_empty() {
        text.push_str("no contextvar is set in a live task\n");
    } else {
        text.push_str(&columns(&rows));
    }
    text.push_str(
        &match (inventory.suggestions.as_slice(), elsewhere, found.session_from.as_str()) {
            ([], Some(elsewhere), _) => format!("\n{elsewhere}\n"),
            ([], None, TASKS) => {
                "\nnone of them names sessions: --session-from task:name or frame:COROUTINE:LOCAL may\n".to_owned()
            }
            ([], None, _) => "\nno live task has an id of a session now\n".to_owned(),
            (suggestions, _, _) => suggested(pid, suggestions),
        },
    );
    text
}

fn row(held: &Held, values: bool) -> Vec<String> {
    let more = if held.distinct_is_lower_bound { "≥ " } else { "" };
    let types: Vec<String> = held.types.keys().map(|class| printable(class)).collect();
    let mut row = vec![
        cut(&printable(&held.name), LONGEST_NAME),
        held.holders.to_string(),
        format!("{more}{}", held.distinct),
        cut(&types.join(", "), LONGEST_NAME),
    ];
    if values {
        row.push(match held.is_credential {
            true => MASKED.to_owned(),
            false if held.examples.is_empty() && held.hides_values => HIDDEN.to_owned(),
            false => held
                .examples
                .iter()
                .map(|text| printable(text))
                .collect::<Vec<_>>()
                .join("  "),
        });
    }
    row
}

/// The numbers to the right, words to the left.
fn columns(rows: &[Vec<String>]) -> String {
    let widest = |column: usize| {
        rows.iter()
            .filter_map(|row| row.get(column))
            .map(|cell| width(cell))
            .max()
            .unwrap_or(0)
    };
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (column, cell) in row.iter().enumerate() {
            let blank = " ".repeat(widest(column).saturating_sub(width(cell)));
            line.push_str(&match column {
                1 | 2 => format!("{blank}{cell}  "),
                _ => format!("{cell}{blank}  "),
            });
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

fn suggested(pid: Pid, suggestions: &[Suggestion]) -> String {
    // What is written out here (`\u{202e}`) is no SPEC: a line that does not work is no line.
    let is_typed = |suggestion: &&Suggestion| {
        let spec = suggestion.spec.to_string();
        printable(&spec) == spec
    };
    let (typed, others): (Vec<&Suggestion>, Vec<&Suggestion>) = suggestions.iter().partition(is_typed);
    let rows: Vec<Vec<String>> = typed
        .into_iter()
        .map(|suggestion| {
            let spec = shell_word(&suggestion.spec.to_string());
            let more = if suggestion.is_lower_bound { "≥ " } else { "" };
            let many = |n: usize, what: &str| format!("{more}{n} {what}{}", if n == 1 { "" } else { "s" });
            let (values, tasks) = (many(suggestion.distinct, "value"), many(suggestion.holders, "task"));
            vec![
                format!("  otop --pid {pid} --session-from {spec}"),
                String::new(),
                String::new(),
                format!(
                    "{values} in {tasks}{}",
                    if suggestion.looks_like_credentials {
                        WOULD_SHOW
                    } else {
                        ""
                    }
                ),
            ]
        })
        .collect();
    let hidden = match others.len() {
        0 => String::new(),
        n => format!("  {n} more whose names have characters that cannot be shown: --json has them\n"),
    };
    format!(
        "\nwhat would name sessions, the likeliest first:\n{}{hidden}",
        columns(&rows)
    )
}

fn document(pid: Pid, found: &Variables, values: bool) -> String {
    let inventory = &found.inventory;
    let variables = inventory.variables.iter().map(|held| {
        let shown = match (values, held.is_credential) {
            (true, false) => json!(held.examples.iter().map(|text| printable(text)).collect::<Vec<_>>()),
            _ => Value::Null,
        };
        json!({
            "name": held.name,
            "types": held.types,
            "tasks": held.holders,
            "distinct": held.distinct,
            "distinct_is_lower_bound": held.distinct_is_lower_bound,
            "credential": held.is_credential,
            "values": shown,
        })
    });
    let suggestions = inventory.suggestions.iter().map(|suggestion| {
        json!({
            "session_from": suggestion.spec.to_string(),
            "distinct": suggestion.distinct,
            "tasks": suggestion.holders,
            "is_lower_bound": suggestion.is_lower_bound,
            "looks_like_credentials": suggestion.looks_like_credentials,
        })
    });
    let document = json!({
        "schema": 1,
        "pid": pid.0,
        "python": found.python,
        "tasks": inventory.tasks,
        "partial": inventory.is_partial,
        "session_from": found.session_from,
        "variables": variables.collect::<Vec<_>>(),
        "suggestions": suggestions.collect::<Vec<_>>(),
    });
    format!("{}\n", crate::export::json::line(&document))
}

fn cut(text: &str, room: usize) -> String {
    if text.chars().count() <= room {
        return text.to_owned();
    }
    text.chars().take(room.saturating_sub(1)).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::scripted::{Other, Scripted};
    use crate::identity::{Inventory, Spec};
    use std::collections::BTreeMap;

    fn found() -> Variables {
        let held = |name: &str, is_credential, examples: &[&str]| Held {
            name: name.to_owned(),
            types: BTreeMap::from([("str".to_owned(), 6)]),
            holders: 6,
            distinct: 3,
            is_credential,
            examples: examples.iter().map(|&text| text.to_owned()).collect(),
            ..Held::default()
        };
        Variables {
            python: "3.12.1".to_owned(),
            session_from: TASKS.to_owned(),
            asyncio_imported: true,
            inventory: Inventory {
                tasks: 7,
                variables: vec![
                    held("api_key", true, &[]),
                    held("evil\u{1b}[2J\nname", false, &["\u{1b}[31mred\u{7}", "b"]),
                ],
                suggestions: vec![Suggestion {
                    spec: Spec::parse("log['call id']").expect("a spec"),
                    distinct: 3,
                    holders: 6,
                    is_lower_bound: false,
                    looks_like_credentials: false,
                }],
                is_partial: false,
            },
        }
    }

    #[test]
    fn values_are_shown_only_where_they_were_asked_for() {
        let without = text(Pid(7), &found(), false, None);
        assert!(!without.contains("red") && without.contains("TYPES\n"), "{without}");
        let with = text(Pid(7), &found(), true, None);
        assert!(with.contains("red") && with.contains(MASKED), "{with}");
        let shown = |values| serde_json::from_str::<Value>(&document(Pid(7), &found(), values)).expect("JSON");
        assert_eq!(shown(false)["variables"][1]["values"], Value::Null);
        assert_eq!(shown(true)["variables"][0]["values"], Value::Null);
        assert_eq!(shown(true)["variables"][1]["values"].as_array().map(Vec::len), Some(2));
    }

    #[test]
    fn nothing_of_a_value_or_a_name_reaches_the_terminal_raw() {
        for text in [text(Pid(7), &found(), true, None), document(Pid(7), &found(), true)] {
            assert!(!text.chars().any(|c| c.is_control() && c != '\n'), "{text:?}");
            assert!(!text.lines().any(|line| line.starts_with("name")), "{text:?}");
        }
    }

    #[test]
    fn a_line_that_is_proposed_parses_as_it_stands() {
        let mut found = found();
        let suggestion = |spec: &str| Suggestion {
            spec: Spec::parse(spec).expect("a spec"),
            ..found.inventory.suggestions[0].clone()
        };
        found.inventory.suggestions = ["rid", "\"bi\u{202e}di\"", "log['e\u{301}']"].map(suggestion).to_vec();
        let said = text(Pid(7), &found, false, None);
        for line in said.lines().filter_map(|line| line.split_once("--session-from ")) {
            let spec = line.1.split("  ").next().expect("a first part").trim_matches('\'');
            assert!(Spec::parse(spec).is_ok(), "{spec} in {said}");
        }
        assert!(
            said.contains("--session-from rid ") && !said.contains("u{202e}"),
            "{said}"
        );
        assert!(
            said.ends_with("\n  1 more whose names have characters that cannot be shown: --json has them\n"),
            "{said}"
        );
    }

    #[test]
    fn what_names_sessions_and_disagrees_is_said_to() {
        let mut found = found();
        found.session_from = "? a, b".to_owned();
        let said = text(Pid(7), &found, false, None);
        assert!(said.contains("named by a, b, which disagree: "), "{said}");
        assert!(document(Pid(7), &found, false).contains("\"session_from\":\"? a, b\""));
    }

    #[test]
    fn where_nothing_would_name_sessions_it_is_said_what_would() {
        let mut found = found();
        found.inventory.suggestions.clear();
        assert!(text(Pid(7), &found, false, None).ends_with("task:name or frame:COROUTINE:LOCAL may\n"));
        let said = text(Pid(7), &found, false, Some("they are below"));
        assert!(
            said.ends_with("\n\nthey are below\n") && !said.contains("task:name"),
            "{said}"
        );
        found.session_from = "openrtc".to_owned();
        let said = text(Pid(7), &found, false, None);
        assert!(said.ends_with("no live task has an id of a session now\n"), "{said}");
    }

    #[test]
    fn the_worker_below_a_master_is_one_that_runs_a_loop() {
        let others = [(Pid(8), Other::WithoutAsyncio), (Pid(9), Other::Idle)];
        let scripted = Scripted {
            others: others.into_iter().collect(),
            ..Scripted::default()
        };
        assert_eq!(below(&[Pid(8), Pid(9)], &scripted), None);
        let said = below(&[Pid(8), Pid(9), Pid(10)], &scripted).expect("one runs a loop");
        assert_eq!(
            said,
            "nothing names sessions in this process; process 8 and 2 more below it are Python; try: otop vars --pid 10"
        );
    }

    #[test]
    fn what_was_not_counted_to_its_end_is_said_to_be_more() {
        let mut found = found();
        found.inventory.suggestions[0].is_lower_bound = true;
        let said = text(Pid(7), &found, false, None);
        assert!(said.contains("  ≥ 3 values in ≥ 6 tasks\n"), "{said}");
        assert!(document(Pid(7), &found, false).contains("\"is_lower_bound\":true"));
    }

    #[test]
    fn what_a_line_would_show_is_said_beside_it() {
        let mut found = found();
        found.inventory.suggestions[0].looks_like_credentials = true;
        let said = text(Pid(7), &found, false, None);
        assert!(
            said.contains("3 values in 6 tasks, as random as a credential: this would show them\n"),
            "{said}"
        );
        assert!(document(Pid(7), &found, false).contains("\"looks_like_credentials\":true"));
    }

    #[test]
    fn the_line_is_ready_for_a_shell() {
        let text = text(Pid(7), &found(), false, None);
        assert!(
            text.contains("otop --pid 7 --session-from 'log[\"call id\"]'"),
            "{text}"
        );
        assert!(text.contains("3 values in 6 tasks"), "{text}");
    }
}
