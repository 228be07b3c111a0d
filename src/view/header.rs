//! What stands above the table, as lines with a rank: the worker, its sessions, how good the figures are, the host.
//! A line that is too long loses its least important parts; a screen that is too low loses its least important
//! lines. Knows nothing of borders, nor of how high the screen is.

use super::alarm;
use super::format;
use super::line::{Line, Parts, Piece, Tone};
use super::pool;
use crate::model::{LoopReport, Quality, Report, StackMode, SystemReport, WorkerReport};

/// Columns of the chart, one per second.
const HISTORY: usize = 60;
/// Fewer seconds are drawn beside the figure.
const WORTH_A_CHART: usize = 10;
/// Columns of the chart beside the figure, in a line of `WIDE` cells and in a shorter one.
const SPARKLINE: usize = 20;
const SHORT_SPARKLINE: usize = 8;
const WIDE: usize = 100;
/// Cells that the last error keeps, its name included, before something else leaves for it.
const LEAST_ERROR: usize = 23;
/// Lines of the large chart, as the original draws it.
const CHART_ROWS: usize = 3;

/// A line above the table. The one with the highest rank leaves first; those of rank 0 stay.
#[derive(Clone, Debug)]
pub struct HeaderLine {
    pub rank: u8,
    pub line: Line,
}

/// Who is shown, for the border or the first line. `stand`: what the picture is, if it is not of this instant.
pub fn title(worker: &WorkerReport, stand: Option<String>, room: Option<usize>) -> Line {
    let mut parts = Parts::default();
    parts.add(0, [Piece::strong("otop")]);
    if let Some(stand) = stand {
        parts.add(0, [Piece::new(stand, Tone::Alarm)]);
    }
    if let Some(name) = &worker.name {
        parts.add(3, [Piece::plain(name)]);
    }
    // A socket does not say whose it is; the kernel may.
    if worker.pid != 0 {
        parts.add(1, [Piece::plain(format!("PID {}", worker.pid))]);
    }
    if worker.is_served {
        parts.add(1, [Piece::plain("as the worker itself says")]);
    } else {
        parts.add(4, [Piece::plain(format!("Python {}", worker.python))]);
        // Before the first walk it is not known whether it runs one.
        let none = worker.tasks.map(|_| "no loop");
        if let Some(kind) = worker.loop_kind.as_deref().or(none) {
            parts.add(5, [Piece::plain(kind)]);
        }
    }
    parts.add(2, [Piece::plain(format!("up {}", format::uptime(worker.uptime_s)))]);
    parts.join(&Piece::dim(" · "), room)
}

/// How the worker's CPU history is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chart {
    /// Beside the figure.
    Small,
    /// In lines of its own, where they are wide enough.
    Large,
}

/// All lines, in the order in which they are shown.
pub fn lines(report: &Report, room: Option<usize>, chart: Chart) -> Vec<HeaderLine> {
    // A chart that was cut at the right would hide the newest values; one of a few seconds is not worth its lines.
    let is_large = chart == Chart::Large
        && room.is_none_or(|room| room >= HISTORY)
        && report.worker.cpu_history.len() >= WORTH_A_CHART;
    let worker = &report.worker;
    let mut lines: Vec<HeaderLine> = Vec::new();
    let mut add = |rank, line: Line| lines.push(HeaderLine { rank, line });
    let of_pool = report.pool.as_ref().map(|members| pool::alarms(members, room));
    for line in alarm::lines(report, room)
        .into_iter()
        .chain(of_pool.unwrap_or_default())
    {
        add(0, line);
    }
    // A worker that speaks for itself says nothing of its own CPU, and otop has sampled nothing.
    if !worker.is_served {
        let memory = if report.pool.is_some() { "PSS" } else { "RSS" };
        add(1, worker_line(worker, memory, !is_large, room));
    }
    if let Some(members) = &report.pool {
        for line in pool::lines(members, room) {
            add(4, line);
        }
    }
    if worker.loops.len() > 1 {
        for one in &worker.loops {
            add(4, loop_line(one, room));
        }
    }
    add(2, sessions_line(worker, room));
    if !worker.is_served {
        add(3, quality_line(&report.quality, room));
        if let Some(line) = pause_line(&report.quality, room) {
            add(3, line);
        }
    }
    add(5, host_line(&worker.system, room));
    if is_large {
        add(
            6,
            Piece::dim(format!("WORKER CPU% ({} s)", worker.cpu_history.len().min(HISTORY))).into(),
        );
        for row in format::chart(&worker.cpu_history, HISTORY, CHART_ROWS) {
            add(6, Piece::new(row, Tone::Chart).into());
        }
    }
    lines
}

/// `NAME value`, the name dim.
fn fact(name: &str, value: impl AsRef<str>) -> [Piece; 2] {
    [Piece::dim(format!("{name} ")), Piece::plain(value)]
}

fn percent_of(value: Option<f64>) -> String {
    match value.filter(|known| known.is_finite()) {
        Some(_) => format!("{}%", format::percent(value)),
        None => format::UNKNOWN.to_owned(),
    }
}

fn join(parts: Parts, room: Option<usize>) -> Line {
    parts.join(&Piece::plain("   "), room)
}

fn worker_line(worker: &WorkerReport, memory: &str, with_chart: bool, room: Option<usize>) -> Line {
    let mut parts = Parts::default();
    parts.add(0, fact("CPU", percent_of(worker.cpu_pct)));
    let columns = if room.is_none_or(|room| room >= WIDE) {
        SPARKLINE
    } else {
        SHORT_SPARKLINE
    };
    let line = format::chart(&worker.cpu_history, columns, 1).concat();
    if with_chart && !line.is_empty() {
        parts.add(3, [Piece::new(line, Tone::Chart)]);
    }
    let ready = format!(
        "{} busy, {} ready",
        percent_of(worker.loop_pct),
        format::count(worker.ready)
    );
    parts.add(1, fact("LOOP", ready));
    let rss = worker.rss_mb.map_or_else(
        || format::UNKNOWN.to_owned(),
        |_| format!("{} MB", format::megabytes(worker.rss_mb)),
    );
    parts.add(2, fact(memory, rss));
    parts.add(4, fact("TASKS", format::count(worker.tasks)));
    // Of a pool each worker has its own, in its line.
    if let ("RSS", Some(rss), Some(live @ 1..)) = (memory, worker.rss_mb, worker.active_sessions) {
        parts.add(
            5,
            fact(
                "SHARE",
                format!("{memory} ÷ {live} = {} MB", format::megabytes(Some(rss / live as f64))),
            ),
        );
    }
    join(parts, room)
}

fn loop_line(one: &LoopReport, room: Option<usize>) -> Line {
    let mut parts = Parts::default();
    let thread = one.thread.as_deref().unwrap_or(format::UNKNOWN);
    let tid = one.tid.map_or_else(String::new, |tid| format!(" ({tid})"));
    let ready = format!("{} busy, {} ready", percent_of(one.loop_pct), format::count(one.ready));
    parts.add(1, fact("·", format!("{} in {thread}{tid}", one.kind)));
    parts.add(0, fact("LOOP", ready));
    parts.add(2, fact("TASKS", format::count(one.tasks)));
    join(parts, room)
}

fn sessions_line(worker: &WorkerReport, room: Option<usize>) -> Line {
    let mut parts = Parts::default();
    let most = worker
        .max_sessions
        .map_or_else(String::new, |most| format!(" / {most}"));
    let now = Piece::strong(format::count(worker.active_sessions));
    parts.add(0, [Piece::dim("SESSIONS "), now, Piece::plain(most)]);
    let failed_tone = if worker.failed.is_some_and(|failed| failed > 0) {
        Tone::Errored
    } else {
        Tone::Plain
    };
    parts.add(
        1,
        [
            Piece::dim("FAILED "),
            Piece::new(format::count(worker.failed), failed_tone),
        ],
    );
    match worker.draining {
        Some(true) => parts.add(0, [Piece::new("DRAINING", Tone::Draining)]),
        Some(false) => parts.add(3, fact("DRAINING", "no")),
        None => parts.add(3, fact("DRAINING", format::UNKNOWN)),
    }
    if let Some(error) = &worker.last_error {
        let error = [Piece::dim("LAST ERROR "), Piece::new(error, Tone::Errored)];
        parts.add_elastic(2, LEAST_ERROR, error);
    }
    parts.add(4, fact("STARTED", format::count(worker.started)));
    parts.add(
        5,
        fact(
            "SESSION FROM",
            worker.session_from.as_deref().unwrap_or(format::UNKNOWN),
        ),
    );
    join(parts, room)
}

/// How good the figures are.
fn quality_line(quality: &Quality, room: Option<usize>) -> Line {
    let counted = |name: &str, count: u64, is_loss: bool| {
        let tone = if is_loss && count > 0 { Tone::Slow } else { Tone::Plain };
        [Piece::dim(format!("{name} ")), Piece::new(count.to_string(), tone)]
    };
    let mut parts = Parts::default();
    // Nine in ten is what a busy machine leaves of a schedule; less is worth a look.
    let tone = if quality.hz_got < 0.9 * quality.hz_asked {
        Tone::Slow
    } else {
        Tone::Plain
    };
    let rate = format!("{:.0} of {:.0} Hz", quality.hz_got, quality.hz_asked);
    parts.add(0, [Piece::dim("SAMPLES "), Piece::new(rate, tone)]);
    if let Some(ms) = quality.blocks_from_ms {
        let from = format!("no block under {ms:.0} ms can be seen");
        parts.add(0, [Piece::new(from, Tone::Slow)]);
    }
    parts.add(2, counted("torn", quality.torn, false));
    parts.add(3, counted("unreadable", quality.unreadable, true));
    parts.add(1, counted("dropped", quality.dropped, true));
    parts.add(1, fact("otop", format!("{} CPU", percent_of(quality.otop_cpu_pct))));
    if let (Some(got), Some(asked)) = (quality.stack_hz_got, quality.stack_hz_asked) {
        // Full stacks are the one thing that costs the worker something; whoever asks for them should know.
        let each = quality.stack_mode.as_deref().and_then(cost_of_stack);
        let each = each.map_or(String::new(), |micros| format!(", {micros} µs of the worker each"));
        parts.add(4, fact("STACKS", format!("{got:.0} of {asked:.0} Hz{each}")));
    }
    if let (Some(seconds), Some(bytes)) = (quality.kept_s, quality.kept_bytes) {
        let megabytes = bytes as f64 / 1e6;
        parts.add(5, fact("KEPT", format!("{seconds:.0} s, {megabytes:.1} MB")));
    }
    join(parts, room)
}

/// What a full stack takes of the worker's CPU, microseconds, by how it is read (measured, 2026-11-28, a virtual machine: the
/// whole call that interrupts; what the reading thread uses of that CPU, a thousand and a hundred times a second). None: it is
/// not read there.
fn cost_of_stack(mode: &str) -> Option<&'static str> {
    let costs = [(StackMode::Interrupt, "5–15"), (StackMode::OwnCpu, "20–110")];
    costs
        .iter()
        .find(|(known, _)| known.name() == mode)
        .map(|(_, cost)| *cost)
}

/// For how long the worker is stopped, where that was asked for: a line of its own, so that neither this nor what a stack
/// costs gives way to the other.
fn pause_line(quality: &Quality, room: Option<usize>) -> Option<Line> {
    let longest = quality.paused_ms?;
    let mut parts = Parts::default();
    let each = quality
        .paused_last_ms
        .map(|last| format!("{last:.1} ms for each walk, "));
    let stopped = format!("{}{longest:.1} ms at most", each.unwrap_or_default());
    parts.add(1, fact("STOPPED", stopped));
    if let Some(why) = &quality.pause_refused {
        let words = [Piece::new(format!("no pause: {why}"), Tone::Slow)];
        parts.add_elastic(0, LEAST_ERROR, words);
    }
    Some(join(parts, room))
}

fn host_line(host: &SystemReport, room: Option<usize>) -> Line {
    let used = |used, total| format!("{} / {}", format::gigabytes(used), format::gigabytes(total));
    let mut parts = Parts::default();
    let vcpus = host
        .vcpus
        .map_or_else(String::new, |vcpus| format!(" of {vcpus} vCPUs"));
    parts.add(0, fact("HOST CPU", format!("{}{vcpus}", percent_of(host.cpu_pct))));
    parts.add(1, fact("MEM", used(host.mem_used_bytes, host.mem_total_bytes)));
    parts.add(4, fact("SWAP", used(host.swap_used_bytes, host.swap_total_bytes)));
    parts.add(3, fact("NET", format::byte_rate(host.net_rate_bps)));
    let load = |value: Option<f64>| value.map_or_else(|| format::UNKNOWN.to_owned(), |load| format!("{load:.2}"));
    let loads = [host.load1, host.load5, host.load15];
    let text = if loads.iter().all(Option::is_none) {
        load(None)
    } else {
        loads.map(load).join(" ")
    };
    parts.add(2, fact("LOAD", text));
    join(parts, room)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::sample;

    fn text(report: &Report, room: usize) -> String {
        let lines = lines(report, Some(room), Chart::Small);
        lines
            .iter()
            .filter(|line| line.rank < 6)
            .map(|line| line.line.text() + "\n")
            .collect()
    }

    #[test]
    fn a_wide_header_has_everything() {
        let report = sample::report(sample::six());
        insta::assert_snapshot!(text(&report, 150), @r"
        CPU 79.9%   ▁▂▂▃▃▄▄▅▆▆▇▇▁▁▂▂▃▃▄▅   LOOP 83.1% busy, 3 ready   RSS 196.8 MB   TASKS 174   SHARE RSS ÷ 6 = 32.8 MB
        SESSIONS 6 / 12   FAILED 0   DRAINING no   STARTED 18   SESSION FROM openrtc
        SAMPLES 999 of 1000 Hz   torn 2   unreadable 0   dropped 0   otop 1.2% CPU
        HOST CPU 100.0% of 2 vCPUs   MEM 0.8G / 25.3G   SWAP 0.0G / 0.0G   NET 259 B/s   LOAD 7.01 6.82 5.55
        ");
        let whole = "otop · vm · PID 4242 · Python 3.12.1 · asyncio · up 0h 01m";
        assert_eq!(title(&report.worker, None, None).text(), whole);
    }

    #[test]
    fn a_narrow_header_keeps_what_matters() {
        let report = sample::report(sample::six());
        insta::assert_snapshot!(text(&report, 40), @r"
        CPU 79.9%   LOOP 83.1% busy, 3 ready
        SESSIONS 6 / 12   FAILED 0   DRAINING no
        SAMPLES 999 of 1000 Hz   dropped 0
        HOST CPU 100.0% of 2 vCPUs
        ");
        assert_eq!(
            title(&report.worker, Some("FROZEN 12 s".to_owned()), Some(40)).text(),
            "otop · FROZEN 12 s · PID 4242"
        );
    }

    #[test]
    fn a_worker_that_speaks_for_itself_is_no_measurement() {
        let mut report = sample::report(sample::six());
        report.worker.is_served = true;
        let shown = text(&report, 150);
        assert!(shown.starts_with("SESSIONS") && !shown.contains("SAMPLES"), "{shown}");
        report.worker.pid = 0;
        assert_eq!(
            title(&report.worker, None, Some(80)).text(),
            "otop · vm · as the worker itself says · up 0h 01m"
        );
    }

    #[test]
    fn what_is_unknown_is_a_dash() {
        let mut report = sample::report(Vec::new());
        report.worker = WorkerReport {
            pid: 7,
            python: "3.8.1".to_owned(),
            asyncio_imported: true,
            ..Default::default()
        };
        report.worker.system = SystemReport::default();
        insta::assert_snapshot!(text(&report, 150), @r"
        CPU —   LOOP — busy, — ready   RSS —   TASKS —
        SESSIONS —   FAILED —   DRAINING —   STARTED —   SESSION FROM —
        SAMPLES 999 of 1000 Hz   torn 2   unreadable 0   dropped 0   otop 1.2% CPU
        HOST CPU —   MEM — / —   SWAP — / —   NET —   LOAD —
        ");
    }

    #[test]
    fn a_long_last_error_is_cut_and_pushes_nothing_out() {
        let mut report = sample::report(sample::six());
        report.worker.failed = Some(2);
        report.worker.last_error = Some("ValueError: no such slot, ".repeat(9));
        report.worker.draining = Some(true);
        let line = |room| {
            let text = text(&report, room);
            text.lines().nth(1).map(str::to_owned)
        };
        assert_eq!(
            line(76).as_deref(),
            Some("SESSIONS 6 / 12   FAILED 2   DRAINING   LAST ERROR ValueError:…   STARTED 18")
        );
        assert_eq!(
            line(100).as_deref(),
            Some(
                "SESSIONS 6 / 12   FAILED 2   DRAINING   LAST ERROR ValueError: …   STARTED 18   SESSION FROM openrtc"
            )
        );
        // Where there is no room for a word of it, it is not begun.
        assert_eq!(line(40).as_deref(), Some("SESSIONS 6 / 12   FAILED 2   DRAINING"));
    }

    #[test]
    fn a_rate_that_hides_short_blocks_is_said() {
        let mut report = sample::report(sample::six());
        report.quality.hz_got = 31.0;
        report.quality.blocks_from_ms = Some(96.8);
        let said = text(&report, 150);
        assert!(
            said.contains("SAMPLES 31 of 1000 Hz   no block under 97 ms can be seen"),
            "{said}"
        );
    }

    #[test]
    fn what_became_of_pauses_is_said() {
        let mut report = sample::report(sample::six());
        assert!(!text(&report, 150).contains("pause"));
        (report.quality.paused_ms, report.quality.paused_last_ms) = (Some(162.0), Some(3.24));
        (report.quality.stack_hz_asked, report.quality.stack_hz_got) = (Some(100.0), Some(99.6));
        report.quality.stack_mode = Some("own-cpu".to_owned());
        let said = text(&report, 150);
        let words = "\nSTOPPED 3.2 ms for each walk, 162.0 ms at most\n";
        assert!(said.contains(words), "{said}");
        assert!(
            said.contains("STACKS 100 of 100 Hz, 20–110 µs of the worker each"),
            "{said}"
        );
        report.quality.paused_last_ms = None;
        report.quality.pause_refused = Some("process 12 traces it".to_owned());
        let said = text(&report, 150);
        assert!(
            said.contains("\nSTOPPED 162.0 ms at most   no pause: process 12 traces it\n"),
            "{said}"
        );
        assert!(text(&report, 40).contains("no pause: process 12"), "{said}");
    }

    #[test]
    fn failures_draining_and_stacks_are_said() {
        let mut report = sample::report(sample::six());
        report.worker.failed = Some(2);
        report.worker.last_error = Some("ValueError: \x1b[31mno slot".to_owned());
        report.worker.draining = Some(true);
        report.quality.stack_hz_asked = Some(100.0);
        report.quality.stack_hz_got = Some(99.6);
        report.quality.stack_mode = Some("interrupt".to_owned());
        report.worker.loops.push(sample::second_loop());
        insta::assert_snapshot!(text(&report, 150), @r"
        CPU 79.9%   ▁▂▂▃▃▄▄▅▆▆▇▇▁▁▂▂▃▃▄▅   LOOP 83.1% busy, 3 ready   RSS 196.8 MB   TASKS 174   SHARE RSS ÷ 6 = 32.8 MB
        · asyncio in MainThread (4242)   LOOP 83.1% busy, 3 ready   TASKS 174
        · uvloop in ingest (4250)   LOOP 2.0% busy, — ready   TASKS 3
        SESSIONS 6 / 12   FAILED 2   DRAINING   LAST ERROR ValueError: \x1b[31mno slot   STARTED 18   SESSION FROM openrtc
        SAMPLES 999 of 1000 Hz   torn 2   unreadable 0   dropped 0   otop 1.2% CPU   STACKS 100 of 100 Hz, 5–15 µs of the worker each
        HOST CPU 100.0% of 2 vCPUs   MEM 0.8G / 25.3G   SWAP 0.0G / 0.0G   NET 259 B/s   LOAD 7.01 6.82 5.55
        ");
    }
}
