//! otop run to its end, without a terminal, and what it said: for the tests that need no worker. Knows nothing of what
//! was right.

use assert_cmd::Command;

pub struct Answer {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

pub fn otop(arguments: &[&str]) -> Answer {
    let output = Command::cargo_bin("otop")
        .expect("built")
        .args(arguments)
        .output()
        .expect("run");
    Answer {
        code: output.status.code(),
        // A profile that goes to standard output need not be text.
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8(output.stderr).expect("UTF-8"),
    }
}
