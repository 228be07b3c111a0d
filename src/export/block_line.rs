//! One event of one block as a line: in the words of the original's log, and as JSON. Knows nothing of when an event
//! happens, nor of where its line goes.

use super::json;
use crate::model::Block;
use crate::view::block_words::{as_word, cause, culprit, places};
use crate::view::printable;
use serde::Serialize;

/// What happened to a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum BlockEvent {
    /// It goes on, and has passed the threshold.
    Began,
    Ended,
}

/// The line for a reader, without its line feed.
pub fn text(event: BlockEvent, block: &Block) -> String {
    let bound = if block.duration_is_lower_bound { "≥ " } else { "" };
    let length = format!("{bound}{:.0}ms", block.duration_ms.max(0.0));
    let goes_on = event == BlockEvent::Began;
    let mut line = match (culprit(block), goes_on) {
        (Some(id), true) => format!(
            "[slow-session] session_id={} blocks event loop, for {length} so far",
            as_word(&id)
        ),
        (Some(id), false) => format!(
            "[slow-session] session_id={} blocked event loop for {length}",
            as_word(&id)
        ),
        (None, true) => format!("[slow-loop] event loop is blocked, for {length} so far"),
        (None, false) => format!("[slow-loop] event loop blocked for {length}"),
    };
    line.push_str(&format!(" ({})", cause(block)));
    let (at, called_from) = places(block);
    if let Some(at) = at {
        line.push_str(&format!(" at {at}"));
    }
    if let Some(own) = called_from {
        line.push_str(&format!(", called from {own}"));
    }
    // A lower bound of none says nothing.
    if let Some(waiting @ 1..) = block.waiting {
        let sessions = if waiting == 1 { "session" } else { "sessions" };
        let waited = match (goes_on, waiting) {
            (true, 1) => "waits",
            (true, _) => "wait",
            (false, _) => "waited",
        };
        line.push_str(&format!("; ≥ {waiting} {sessions} {waited}"));
    }
    printable(&line)
}

/// The fields of `blocks[]`, and which event it is, in one line without its line feed.
pub fn json(event: BlockEvent, block: &Block) -> String {
    #[derive(Serialize)]
    struct Document<'a> {
        event: BlockEvent,
        #[serde(flatten)]
        block: &'a Block,
    }
    json::line(&Document { event, block })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Cause, SessionKey, Where};
    use crate::view::{is_unprintable, sample};
    use proptest::prelude::*;
    use serde_json::Value;

    fn block(session_id: Option<&str>, cause: Cause) -> Block {
        Block {
            duration_ms: 320.4,
            duration_is_lower_bound: false,
            ongoing: false,
            started_at: Some(1_700_000_000.25),
            ..sample::block_now(session_id, cause)
        }
    }

    /// In the words of the original's log, and what it could not say.
    #[test]
    fn the_whole_line() {
        let mut whole = block(Some("job-c1d550"), Cause::Syscall);
        let at = |function: &str, file: &str, line| Where {
            function: Some(function.into()),
            file: Some(file.into()),
            line: Some(line),
            state: None,
        };
        whole.stack = Some(vec![
            at("send", "/v/lib/python3.12/site-packages/requests/adapters.py", 667),
            at("lookup", "/srv/agents/booking.py", 41),
        ]);
        (whole.function, whole.file, whole.line) =
            (Some("lookup".into()), Some("/srv/agents/booking.py".into()), Some(41));
        let ended = "[slow-session] session_id=job-c1d550 blocked event loop for 320ms (syscall: recvfrom) at \
                     requests/adapters.py:667 in send, called from agents/booking.py:41 in lookup; ≥ 12 sessions waited";
        assert_eq!(text(BlockEvent::Ended, &whole), ended);
        let began = "[slow-session] session_id=job-c1d550 blocks event loop, for 320ms so far (syscall: recvfrom) at \
                     requests/adapters.py:667 in send, called from agents/booking.py:41 in lookup; ≥ 12 sessions wait";
        assert_eq!(text(BlockEvent::Began, &whole), began);
    }

    fn bare(session_id: Option<&str>, cause: Cause) -> Block {
        Block {
            function: None,
            file: None,
            line: None,
            waiting: None,
            ..block(session_id, cause)
        }
    }

    #[test]
    fn what_is_not_known_is_not_said() {
        let said = |block: &Block| text(BlockEvent::Ended, block);
        let mut short = bare(Some("a"), Cause::Cpu);
        assert_eq!(
            said(&short),
            "[slow-session] session_id=a blocked event loop for 320ms (cpu)"
        );
        short.waiting = Some(0);
        assert_eq!(
            said(&short),
            "[slow-session] session_id=a blocked event loop for 320ms (cpu)"
        );
        short.waiting = Some(1);
        assert!(said(&short).ends_with("(cpu); ≥ 1 session waited"));
        assert!(text(BlockEvent::Began, &short).ends_with("; ≥ 1 session waits"));
        short.duration_is_lower_bound = true;
        assert!(said(&short).contains(" blocked event loop for ≥ 320ms (cpu)"));
        let guess = bare(Some("a"), Cause::Unknown);
        assert_eq!(
            said(&guess),
            "[slow-session] session_id=a? blocked event loop for 320ms (unknown)"
        );
        let mut nameless = bare(None, Cause::Cpu);
        nameless.culprit = Some(SessionKey(7));
        assert_eq!(
            said(&nameless),
            "[slow-session] session_id=? blocked event loop for 320ms (cpu)"
        );
    }

    #[test]
    fn where_nobody_is_to_blame_no_session_is_slow() {
        let said = |block: &Block| text(BlockEvent::Ended, block);
        let mut held = bare(None, Cause::Gil);
        held.holder_thread = Some("worker_0 (1234)".to_owned());
        // The step in which the loop waited is somebody's; it did nothing.
        held.step_session_id = Some("innocent".to_owned());
        assert_eq!(
            said(&held),
            "[slow-loop] event loop blocked for 320ms (gil: held by worker_0 (1234), of no session)"
        );
        assert_eq!(
            said(&bare(None, Cause::Gc)),
            "[slow-loop] event loop blocked for 320ms (gc)"
        );
        assert_eq!(
            text(BlockEvent::Began, &bare(None, Cause::Unscheduled)),
            "[slow-loop] event loop is blocked, for 320ms so far (unscheduled: it got no CPU)"
        );
        for cause in [
            Cause::Unscheduled,
            Cause::Stolen,
            Cause::Stopped,
            Cause::Suspended,
            Cause::Cpu,
        ] {
            assert!(said(&bare(None, cause)).starts_with("[slow-loop] event loop blocked for 320ms ("));
        }
    }

    #[test]
    fn an_id_is_one_word() {
        let said = |id: &str| text(BlockEvent::Ended, &bare(Some(id), Cause::Cpu));
        assert!(said("a blocked event loop for 9ms").contains("session_id=\"a blocked event loop for 9ms\" blocked"));
        assert!(said("").contains("session_id=\"\" blocked"));
        assert!(said("会議-7").contains("session_id=会議-7 blocked"));
    }

    #[test]
    fn an_event_as_json_has_the_fields_of_a_block_and_which_it_is() {
        let one = block(Some("a"), Cause::Syscall);
        let document: Value = serde_json::from_str(&json(BlockEvent::Ended, &one)).unwrap();
        assert_eq!(document["event"], "ended");
        let mut fields = document.as_object().unwrap().clone();
        fields.remove("event");
        assert_eq!(Value::Object(fields), serde_json::to_value(&one).unwrap());
        assert_eq!(document["session_id"], "a");
        let began: Value = serde_json::from_str(&json(BlockEvent::Began, &one)).unwrap();
        assert_eq!(began["event"], "began");
    }

    proptest! {
        #[test]
        fn a_line_is_one_line_and_acts_on_no_terminal(id in any::<String>(), place in any::<String>()) {
            for id in sample::HOSTILE.iter().copied().chain([id.as_str()]) {
                let mut hostile = block(Some(id), Cause::Gil);
                hostile.holder_thread = Some(place.clone());
                hostile.file = Some(place.as_str().into());
                hostile.function = Some(format!("\x1b[2J{place}").into());
                for event in [BlockEvent::Began, BlockEvent::Ended] {
                    prop_assert!(!text(event, &hostile).chars().any(is_unprintable));
                    prop_assert!(!json(event, &hostile).chars().any(is_unprintable));
                }
            }
        }
    }
}
