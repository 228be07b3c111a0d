//! Plain LiveKit workers, without OpenRTC: jobs in threads, each with a loop of its own in one process, and jobs in
//! processes of their own, which are a pool. No flags: the header says livekit-agents, and a job is a session.

use crate::support::{Doc, Followed, Labels, Target, once, openrtc};
use serde_json::Value;
use std::collections::BTreeMap;

const JOBS: usize = 3;

/// A job's process and thread, by its id.
type Jobs = BTreeMap<String, (i64, i64)>;

/// The worker, and what each job said of itself.
fn start(executor: &str) -> Option<(Target, Jobs)> {
    let python = openrtc("3.12")?;
    let mut target = Target::launch(&python, "livekit_worker.py", &[executor]);
    let number = |value: &Value| value.as_i64().expect("a number");
    let mut jobs = Jobs::new();
    while jobs.len() < JOBS {
        let job = target.until("job", |_| true);
        let sid = job["sid"].as_str().expect("an id").to_owned();
        jobs.insert(sid, (number(&job["pid"]), number(&job["tid"])));
    }
    Some((target, jobs))
}

fn expected<'s>(sids: impl IntoIterator<Item = &'s String>) -> Labels {
    let agent = || Some("receptionist".to_owned());
    sids.into_iter().map(|sid| (sid.clone(), (agent(), None))).collect()
}

#[test]
fn jobs_in_threads_are_sessions_of_one_worker_with_a_loop_each() {
    let Some((target, jobs)) = start("thread") else { return };
    let doc = once(target.pid, &[]);
    assert_eq!(doc.worker("session_from"), "livekit-agents", "{}", target.what);
    assert_eq!(doc.labels(), expected(jobs.keys()), "{}", target.what);
    let loops = doc.worker("loops").as_array().expect("loops");
    let threads: Vec<i64> = loops.iter().filter_map(|one| one["tid"].as_i64()).collect();
    for (sid, (pid, tid)) in &jobs {
        assert_eq!(*pid, i64::from(target.pid), "{sid}");
        assert!(threads.contains(tid), "{sid}: {loops:?}");
    }
    assert!(loops.len() > JOBS, "the server's own too: {loops:?}");
    let cpu = |sid: &str| doc.row(sid)["cpu_pct"].as_f64().expect("a share");
    assert!(
        cpu("AJ_job0") > 10.0 && cpu("AJ_job1") < 5.0 && cpu("AJ_job2") < 5.0,
        "{}",
        target.what
    );
}

#[test]
fn jobs_in_processes_are_sessions_of_a_pool() {
    let Some((target, jobs)) = start("process") else { return };
    // The server's own loop holds none.
    let server = (i64::from(target.pid), Vec::new());
    let of_jobs = jobs.iter().map(|(sid, (pid, _))| (*pid, vec![sid.clone()]));
    let mut otop = Followed::below(&target.pid.to_string(), &[]);
    // fake_livekit.py has a loop too.
    let expected_of: BTreeMap<i64, Vec<String>> = of_jobs.chain([server]).collect();
    let documents = otop.until_they_have(&expected_of, |pid| !expected_of.contains_key(&pid));
    for (sid, (pid, _)) in &jobs {
        let doc = Doc(documents[pid].clone());
        assert_eq!(doc.worker("session_from"), "livekit-agents", "{sid}");
        assert_eq!(doc.labels(), expected([sid]), "{}", target.what);
    }
}
