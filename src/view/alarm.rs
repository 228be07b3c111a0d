//! What has to be read first: a loop that is blocked now, a worker that is gone or stopped, a worker without asyncio.
//! Knows nothing of the rest of the header.

use super::block_words;
use super::format;
use super::line::{Line, Parts, Piece, Tone};
use super::printable::Keep;
use crate::model::{Block, Report, TASKS};

/// More loops than this are rarely blocked at once; the rest is counted.
const MOST_BLOCKS: usize = 3;
/// Shorter lines name the file alone.
const ROOM_FOR_A_PATH: usize = 60;

/// The alarms, the worst first; none of them when all is well.
pub fn lines(report: &Report, room: Option<usize>) -> Vec<Line> {
    let mut lines = Vec::new();
    if let Some(condition) = &report.worker.condition {
        lines.push(Line::from(Piece::new(condition_text(condition), Tone::Alarm)).cut(room.unwrap_or(usize::MAX)));
    }
    if !report.worker.asyncio_imported {
        let text = "asyncio is not imported yet: no loop and no sessions to see; waiting for it";
        lines.push(Line::from(Piece::new(text, Tone::Slow)).cut(room.unwrap_or(usize::MAX)));
    }
    let tasks = report.worker.tasks.unwrap_or(0);
    if report.worker.session_from.as_deref() == Some(TASKS) && tasks > 0 {
        let text = "nothing that otop knows names sessions here, so tasks stand for them, each with those it waits for; \
                    otop vars shows what --session-from could name";
        lines.push(Line::from(Piece::new(text, Tone::Slow)).cut(room.unwrap_or(usize::MAX)));
    }
    if !report.worker.is_served && report.worker.session_from.is_none() && tasks > 0 && report.sessions.is_empty() {
        let text = "what names sessions is not set here yet";
        lines.push(Line::from(Piece::new(text, Tone::Slow)).cut(room.unwrap_or(usize::MAX)));
    }
    let mut now: Vec<&Block> = report.blocks.iter().filter(|block| block.ongoing).collect();
    now.sort_by(|a, b| b.duration_ms.total_cmp(&a.duration_ms));
    lines.extend(now.iter().take(MOST_BLOCKS).flat_map(|block| blocked(block, room)));
    if now.len() > MOST_BLOCKS {
        let more = format!("and {} more loops", now.len() - MOST_BLOCKS);
        lines.push(Line::from(Piece::new(more, Tone::Alarm)).cut(room.unwrap_or(usize::MAX)));
    }
    lines
}

fn condition_text(condition: &str) -> String {
    match condition {
        "exited" => "THE WORKER HAS ENDED: these are its last figures".to_owned(),
        "execed" => "THE WORKER RUNS ANOTHER PROGRAM NOW: these are its last figures".to_owned(),
        "stopped" => "THE WORKER IS STOPPED: nothing runs in it until it is continued (kill -CONT)".to_owned(),
        "frozen" => {
            "THE WORKER IS FROZEN: nothing runs in it until its control group is thawed (docker unpause)".to_owned()
        }
        other => format!("WORKER {other}"),
    }
}

/// The last block that is over, and how long ago it ended, for the line below the table; None: there was none since the
/// attach. It stays until another one comes: who is called looks later than that.
pub fn last_block(report: &Report, room: Option<usize>) -> Option<Line> {
    let newest = report.recent.iter().find(|block| !block.ongoing)?;
    let what = match block_words::ended_ago(report, newest) {
        Some(ago) => format!("last block {} ago:", format::age(Some(ago))),
        None => "last block:".to_owned(),
    };
    Some(sentence(&what, newest, Tone::Slow, room, Lines::One).join(&Piece::plain(" "), room))
}

/// `LOOP BLOCKED ≥ 3.2 s by AJ_0014qgHOf (syscall: recvfrom) at requests/adapters.py:667 in send · ≥ 12 waiting`, on
/// two lines where one is too short for it.
fn blocked(block: &Block, room: Option<usize>) -> Vec<Line> {
    let (first, second) =
        sentence("LOOP BLOCKED", block, Tone::Alarm, room, Lines::Two).split(&Piece::plain(" "), room);
    let join = |parts: Parts| parts.join(&Piece::plain(" "), room);
    [Some(join(first)), second.map(join)].into_iter().flatten().collect()
}

/// How many lines there are for a sentence: with one alone, the function leaves before file and line do.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Lines {
    One,
    Two,
}

fn sentence(what: &str, block: &Block, tone: Tone, room: Option<usize>, lines: Lines) -> Parts {
    let mut parts = Parts::default();
    let blocked = format!("{what} {} by ", block_words::length(block));
    let culprit = block_words::culprit(block).unwrap_or_else(|| "nobody".to_owned());
    // An id of 200 characters must not push the cause off the screen.
    let culprit = Piece::new(culprit, tone).cut(room.map_or(usize::MAX, |room| room / 2), Keep::Ends);
    let blocked = Piece::new(blocked, tone);
    let cause = Piece::new(format!("({})", block_words::cause(block)), tone);
    let used = blocked.width() + culprit.width() + 1 + cause.width() + 1;
    parts.add(0, [blocked, culprit]);
    parts.add(1, [cause]);
    let place = match room {
        Some(room) if room < ROOM_FOR_A_PATH => {
            let name = block
                .file
                .as_deref()
                .map(|file| file.rsplit('/').next().unwrap_or(file));
            format::place(None, name, block.line)
        }
        _ => format::place(block.function.as_deref(), block.file.as_deref(), block.line),
    };
    if let Some(place) = place {
        let place = Piece::new(format!("at {place}"), Tone::Strong);
        let line = format::place(None, block.file.as_deref(), block.line);
        let is_short_of_room = room.is_some_and(|room| used + place.width() > room);
        let least = match line {
            Some(line) if lines == Lines::One && is_short_of_room => Piece::plain(format!("at {line}")).width() + 1,
            _ => usize::MAX,
        };
        parts.add_elastic(2, least, [place]);
    }
    // A lower bound of none says nothing.
    if let Some(waiting @ 1..) = block.waiting {
        parts.add(3, [Piece::plain(format!("· ≥ {waiting} waiting"))]);
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Cause, Grounds};
    use crate::view::sample;
    use std::sync::Arc;

    fn texts(report: &Report, room: usize) -> Vec<String> {
        lines(report, Some(room)).iter().map(Line::text).collect()
    }

    #[test]
    fn nothing_is_wrong() {
        assert!(texts(&sample::report(sample::six()), 80).is_empty());
    }

    #[test]
    fn the_culprit_is_named_and_what_does_not_fit_leaves_from_the_end() {
        let mut report = sample::report(sample::six());
        report
            .blocks
            .push(sample::block_now(Some("AJ_0014qgHOf2aF"), Cause::Syscall));
        let full = "LOOP BLOCKED ≥ 3.2 s by AJ_0014qgHOf2aF (syscall: recvfrom) at requests/adapters.py:667 in send \
                    · ≥ 12 waiting";
        assert_eq!(texts(&report, 120), [full]);
        let at_80 = [
            "LOOP BLOCKED ≥ 3.2 s by AJ_0014qgHOf2aF (syscall: recvfrom)",
            "at requests/adapters.py:667 in send · ≥ 12 waiting",
        ];
        assert_eq!(texts(&report, 80), at_80);
        let at_40 = [
            "LOOP BLOCKED ≥ 3.2 s by AJ_0014qgHOf2aF",
            "(syscall: recvfrom) at adapters.py:667",
        ];
        assert_eq!(texts(&report, 40), at_40);
        report.blocks[0].cause = Cause::Gil;
        report.blocks[0].grounds = Grounds {
            holder: report.blocks[0].culprit,
            ..Grounds::of(Cause::Gil)
        };
        report.blocks[0].holder_thread = Some("worker_0 (1234)".to_owned());
        assert!(texts(&report, 120)[0].contains("(gil: held by worker_0 (1234))"));
    }

    #[test]
    fn nobody_is_blamed_where_nobody_is_the_culprit_and_a_guess_is_marked() {
        let mut report = sample::report(sample::six());
        report.blocks.push(sample::block_now(None, Cause::Unscheduled));
        report.blocks[0].duration_is_lower_bound = false;
        assert!(texts(&report, 60)[0].starts_with("LOOP BLOCKED 3.2 s by nobody (unscheduled"));
        report.blocks[0] = sample::block_now(Some("a"), Cause::Unknown);
        assert!(texts(&report, 60)[0].starts_with("LOOP BLOCKED ≥ 3.2 s by a? (unknown)"));
    }

    #[test]
    fn a_block_that_ended_is_no_alarm_and_many_are_counted() {
        let mut report = sample::report(sample::six());
        for _ in 0..5 {
            report.blocks.push(sample::block_now(None, Cause::Gc));
        }
        report.blocks[0].ongoing = false;
        let texts = texts(&report, 120);
        assert_eq!(texts.len(), 4, "{texts:?}");
        assert_eq!(texts[3], "and 1 more loops");
    }

    #[test]
    fn the_last_block_that_is_over_stays_with_its_age_until_another_comes() {
        let mut report = sample::report(sample::six());
        let said = |report: &Report| last_block(report, Some(120)).map(|line| line.text());
        assert_eq!(said(&report), None);
        report.recent = sample::blocks();
        assert!(report.recent[0].ongoing && report.blocks.is_empty());
        assert_eq!(
            said(&report).as_deref(),
            Some(
                "last block 19s ago: 640 ms by AJ_002K9ggw8rCx (gil: held by worker_0 (1234)) \
                 at requests/adapters.py:667 in send"
            )
        );
        let unseen = sample::block_now(Some("a"), Cause::Cpu);
        report.recent = vec![Arc::new(Block {
            ongoing: false,
            ..unseen
        })];
        assert!(said(&report).is_some_and(|text| text.starts_with("last block: ≥ 3.2 s by a (cpu)")));
    }

    #[test]
    fn what_happened_to_the_worker_is_said_first() {
        let mut report = sample::report(sample::six());
        report.blocks.push(sample::block_now(None, Cause::Stopped));
        report.worker.condition = Some("stopped".to_owned());
        assert!(texts(&report, 80)[0].starts_with("THE WORKER IS STOPPED"));
        report.worker.condition = Some("frozen".to_owned());
        let frozen = &texts(&report, 120)[0];
        assert!(
            frozen.starts_with("THE WORKER IS FROZEN") && frozen.contains("docker unpause"),
            "{frozen}"
        );
        report.worker.condition = Some("lost: Operation not permitted\n".to_owned());
        assert_eq!(texts(&report, 80)[0], "WORKER lost: Operation not permitted\\n");
        report.worker.condition = None;
        report.worker.asyncio_imported = false;
        assert!(texts(&report, 80)[0].starts_with("asyncio is not imported yet"));
    }
}
