//! What the arguments of `otop blocks` mean. Decides, and does nothing.

use super::arguments::BlocksArguments;
use crate::cli::plan::{Measuring, Plan, SLOW_WINDOW, WINDOW, Work, measuring, process};
use std::time::Duration;

/// `otop blocks`.
#[derive(Clone, Debug)]
pub struct Following {
    pub json: bool,
    /// None: until it is ended.
    pub time: Option<Duration>,
    /// Blocks of this length are what must not be.
    pub fail_on: Option<Duration>,
    pub measuring: Measuring,
}

pub fn plan(arguments: BlocksArguments) -> Plan {
    let (target, naming) = process(arguments.process);
    let following = Following {
        json: arguments.json,
        time: arguments.time,
        fail_on: arguments.fail_on,
        measuring: measuring(arguments.measuring, WINDOW, SLOW_WINDOW),
    };
    Plan {
        target,
        naming,
        work: Work::Blocks(following),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::arguments::Arguments;
    use crate::cli::plan::{self, Naming, Target};
    use crate::identity::Spec;
    use crate::model::Pid;
    use clap::Parser;

    fn blocks(line: &[&str]) -> Result<(Target, Naming, Following), clap::Error> {
        let line = ["otop", "blocks"].into_iter().chain(line.iter().copied());
        let arguments = Arguments::try_parse_from(line)?;
        arguments.check()?;
        let Plan { target, naming, work } = plan::plan(arguments, true);
        match work {
            Work::Blocks(following) => Ok((target, naming, following)),
            other => panic!("no blocks: {other:?}"),
        }
    }

    #[test]
    fn blocks_are_followed_as_they_were_asked_for() {
        let (target, naming, following) = blocks(&[]).expect("nothing is needed");
        assert_eq!((target, naming), (Target::Any, Naming::default()));
        assert_eq!((following.json, following.time, following.fail_on), (false, None, None));
        let table = plan::plan(Arguments::parse_from(["otop"]), true);
        let table = table.work.measuring().clone();
        assert_eq!(following.measuring, table, "the defaults are the table's");

        let line = "--pid 7 --session-from x --for 60s --json --fail-on 100ms --rate 500 --stack-rate 10 --own /srv/a \
                    --own /srv/b --slow-threshold 80ms";
        let (target, naming, following) = blocks(&line.split(' ').collect::<Vec<_>>()).expect("right");
        assert_eq!(
            (target, naming.session_from),
            (Target::Worker(Pid(7)), vec![Spec::parse("x").expect("a spec")])
        );
        assert!(following.json);
        assert_eq!(following.time, Some(Duration::from_secs(60)));
        assert_eq!(following.fail_on, Some(Duration::from_millis(100)));
        let wanted = Measuring {
            rate_hz: 500.0,
            stack_rate_hz: 10.0,
            bpf: true,
            own: vec!["/srv/a".to_owned(), "/srv/b".to_owned()],
            slow_threshold: Duration::from_millis(80),
            ..table
        };
        assert_eq!(following.measuring, wanted);
    }

    #[test]
    fn a_limit_below_the_threshold_would_never_be_met() {
        let error = blocks(&["--fail-on", "20ms"]).expect_err("20 ms is no block");
        let text = error.to_string();
        assert!(
            text.contains("--fail-on 20ms is below --slow-threshold 50ms")
                && text.contains("add --slow-threshold 20ms"),
            "{text}"
        );
        assert_eq!(error.exit_code(), 2);
        assert!(blocks(&["--fail-on", "20ms", "--slow-threshold", "20ms"]).is_ok());
        assert!(blocks(&["--fail-on", "50ms"]).is_ok());
    }

    #[test]
    fn a_limit_that_no_sample_could_show_is_refused() {
        let error = blocks(&["--fail-on", "100ms", "--rate", "10"]).expect_err("three samples are 300 ms");
        let text = error.to_string();
        assert!(
            text.contains("--fail-on 100ms is shorter than three samples at --rate 10")
                && text.contains("add --rate 30"),
            "{text}"
        );
        assert_eq!(error.exit_code(), 2);
        assert!(blocks(&["--fail-on", "100ms", "--rate", "30"]).is_ok());
        assert!(blocks(&["--fail-on", "300ms", "--rate", "10"]).is_ok());
        assert!(
            blocks(&["--rate", "10"]).is_ok(),
            "without a limit it is said while following"
        );
    }
}
