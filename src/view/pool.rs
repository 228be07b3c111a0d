//! The lines about each worker of a pool. Knows nothing of the header that they stand in.

use super::format;
use super::line::{Line, Parts, Piece, Tone};
use crate::model::{LeftOut, Member, PoolReport};

/// So many workers have a line; the others are counted.
const MOST_LINES: usize = 8;

/// What has to be said whatever leaves: that there is nobody, or that not everybody is watched.
pub fn alarms(pool: &PoolReport, room: Option<usize>) -> Vec<Line> {
    let mut texts = Vec::new();
    match (pool.members.is_empty(), pool.root, pool.is_over) {
        (true, Some(root), true) => texts.push(format!("process {root} has ended, and no worker is left below it")),
        (true, Some(root), false) => {
            texts.push(format!("no asyncio worker runs below process {root}; waiting for one"));
        }
        (true, None, _) => texts.push("no worker is left".to_owned()),
        (false, _, true) => texts.push("ALL WORKERS HAVE ENDED: these are their last figures".to_owned()),
        (false, _, false) => {}
    }
    let LeftOut {
        too_many,
        unreadable,
        refused,
    } = pool.left_out;
    if too_many > 0 {
        texts.push(format!(
            "{too_many} MORE WORKERS ARE NOT WATCHED: {} is the most at once",
            pool.members.len()
        ));
    }
    if unreadable > 0 {
        texts.push(format!(
            "{unreadable} PYTHON PROCESS{} MAY NOT BE READ: otop doctor --pid PID tells why",
            if unreadable == 1 { "" } else { "ES" }
        ));
    }
    if refused > 0 {
        texts.push(format!(
            "{refused} PYTHON PROCESS{} CANNOT BE WATCHED AS ASKED: otop doctor --pid PID tells why",
            if refused == 1 { "" } else { "ES" }
        ));
    }
    let line = |text| Line::from(Piece::new(text, Tone::Alarm)).cut(room.unwrap_or(usize::MAX));
    texts.into_iter().map(line).collect()
}

/// A line each: those that are blocked or in trouble first, then the busiest.
pub fn lines(pool: &PoolReport, room: Option<usize>) -> Vec<Line> {
    let mut members: Vec<&Member> = pool.members.iter().collect();
    members.sort_by(|a, b| {
        let trouble = |one: &Member| one.condition.is_some() || one.blocked_ms.is_some();
        let busy = |one: &Member| one.loop_pct.unwrap_or(f64::NEG_INFINITY);
        trouble(b)
            .cmp(&trouble(a))
            .then_with(|| busy(b).total_cmp(&busy(a)))
            .then_with(|| a.pid.cmp(&b.pid))
    });
    // By PID, so that lines do not change places with every picture.
    let shown = members.get(..MOST_LINES).unwrap_or(&members);
    let mut shown: Vec<&Member> = shown.to_vec();
    shown.sort_by_key(|member| member.pid);
    let mut lines: Vec<Line> = shown.iter().map(|member| line(member, room)).collect();
    let more = members.len() - shown.len();
    if more > 0 {
        lines.push(Line::from(Piece::dim(format!("· and {more} less busy workers"))).cut(room.unwrap_or(usize::MAX)));
    }
    lines
}

fn line(member: &Member, room: Option<usize>) -> Line {
    let fact = |name: &str, value: String| [Piece::dim(format!("{name} ")), Piece::plain(value)];
    let percent = |value: Option<f64>| match value {
        Some(_) => format!("{:>5}%", format::percent(value)),
        None => format!("{:>6}", format::UNKNOWN),
    };
    let mut parts = Parts::default();
    parts.add(0, fact("·", format!("{:>7}", member.pid)));
    parts.add(1, fact("CPU", percent(member.cpu_pct)));
    parts.add(1, fact("LOOP", percent(member.loop_pct)));
    parts.add(2, fact("SESSIONS", format!("{:>4}", format::count(member.sessions))));
    let pss = member.pss_mb.map_or(format::UNKNOWN.to_owned(), |_| {
        format!("{:>6} MB", format::megabytes(member.pss_mb))
    });
    parts.add(3, fact("PSS", pss));
    if let (Some(pss), Some(live @ 1..)) = (member.pss_mb, member.sessions) {
        let share = format::megabytes(Some(pss / live as f64));
        parts.add(6, fact("SHARE", format!("÷ {live} = {share} MB")));
    }
    parts.add(4, fact("TASKS", format::count(member.tasks)));
    if let Some(blocked) = member.blocked_ms {
        parts.add(
            0,
            [Piece::new(format!("BLOCKED {}", format::stretch(blocked)), Tone::Alarm)],
        );
    }
    if let Some(condition) = &member.condition {
        parts.add(0, [Piece::new(condition.to_uppercase(), Tone::Alarm)]);
    }
    parts.add(5, [Piece::dim(format!("Python {}", member.python))]);
    parts.join(&Piece::plain("   "), room)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(pid: i32, loop_pct: f64) -> Member {
        Member {
            pid,
            python: "3.12.1".to_owned(),
            sessions: Some(3),
            cpu_pct: Some(12.5),
            loop_pct: Some(loop_pct),
            pss_mb: Some(41.0),
            ..Member::default()
        }
    }

    fn texts(members: Vec<Member>, room: usize) -> Vec<String> {
        let pool = PoolReport {
            members,
            ..PoolReport::default()
        };
        lines(&pool, Some(room)).iter().map(Line::text).collect()
    }

    #[test]
    fn a_line_each_by_pid_and_the_rest_is_counted() {
        let few = texts(vec![member(9, 1.0), member(7, 20.0)], 120);
        assert!(few[0].contains("7   CPU") && few[1].contains("9   CPU"), "{few:?}");
        assert!(few[0].contains("PSS") && few[0].contains("41.0 MB"), "{few:?}");
        let many = texts((1..=20).map(|pid| member(pid, f64::from(pid))).collect(), 120);
        assert_eq!(many.len(), 9);
        assert!(many[0].contains("13   CPU"), "the busiest: {many:?}");
        assert_eq!(many[8], "· and 12 less busy workers");
        for line in texts(vec![member(7, 20.0)], 30) {
            assert!(line.chars().count() <= 30 && line.contains('7'), "{line}");
        }
    }

    #[test]
    fn who_is_blocked_or_stopped_has_a_line_and_says_so() {
        let mut members: Vec<Member> = (1..=20).map(|pid| member(pid, 50.0)).collect();
        members[19].loop_pct = Some(0.0);
        members[19].blocked_ms = Some(3200.0);
        members[18].condition = Some("stopped".to_owned());
        let lines = texts(members, 160);
        assert!(
            lines
                .iter()
                .any(|line| line.contains(" 20 ") && line.contains("BLOCKED 3.2 s")),
            "{lines:?}"
        );
        assert!(
            lines
                .iter()
                .any(|line| line.contains(" 19 ") && line.contains("STOPPED")),
            "{lines:?}"
        );
    }

    #[test]
    fn nobody_and_too_many_are_said_loudly() {
        let pool = |members, too_many, unreadable| PoolReport {
            root: Some(5),
            members,
            left_out: LeftOut {
                too_many,
                unreadable,
                refused: too_many / 3,
            },
            is_over: false,
        };
        let texts = |pool: &PoolReport| alarms(pool, None).iter().map(Line::text).collect::<Vec<_>>();
        assert_eq!(
            texts(&pool(Vec::new(), 0, 0)),
            ["no asyncio worker runs below process 5; waiting for one"]
        );
        let over = |members| PoolReport {
            is_over: true,
            ..pool(members, 0, 0)
        };
        assert_eq!(
            texts(&over(Vec::new())),
            ["process 5 has ended, and no worker is left below it"]
        );
        assert_eq!(
            texts(&over(vec![member(1, 0.0)])),
            ["ALL WORKERS HAVE ENDED: these are their last figures"]
        );
        assert_eq!(
            texts(&pool(vec![member(1, 0.0)], 3, 0)),
            [
                "3 MORE WORKERS ARE NOT WATCHED: 1 is the most at once",
                "1 PYTHON PROCESS CANNOT BE WATCHED AS ASKED: otop doctor --pid PID tells why"
            ]
        );
        assert_eq!(
            texts(&pool(vec![member(1, 0.0)], 0, 2)),
            ["2 PYTHON PROCESSES MAY NOT BE READ: otop doctor --pid PID tells why"]
        );
        assert!(texts(&pool(vec![member(1, 0.0)], 0, 0)).is_empty());
    }
}
