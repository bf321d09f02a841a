//! Processes to trace: this binary, started again, making a known number of system calls.

use std::io::{BufRead, BufReader, Lines, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

const CALLS: &str = "KSTRACE_TEST_CALLS";
const DEPTH: &str = "KSTRACE_TEST_DEPTH";

/// A process that waits for its start.
pub(crate) struct Caller {
    child: Child,
    /// Closed by [`run`](Self::run).
    stdin: Option<ChildStdin>,
    lines: Lines<BufReader<ChildStdout>>,
    /// The thread that will make the calls.
    pub(crate) tid: i32,
}

impl Caller {
    /// A process that will call getppid `calls` times, after as many generations
    /// of children as `depth` says have each done so.
    pub(crate) fn new(calls: u64, depth: u32) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "--ignored", "--nocapture", "helper::calls"])
            .env(CALLS, calls.to_string())
            .env(DEPTH, depth.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdin = child.stdin.take();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut caller = Caller {
            child,
            stdin,
            lines,
            tid: 0,
        };
        caller.tid = caller.value("tid ").try_into().unwrap();
        caller
    }

    fn value(&mut self, name: &str) -> u64 {
        let mut lines = self.lines.by_ref().map_while(Result::ok);
        let found = lines.find_map(|line| Some(line.split_once(name)?.1.trim().to_owned()));
        found
            .unwrap_or_else(|| panic!("the helper says '{name}'"))
            .parse()
            .unwrap()
    }

    /// Lets it run, to its end. Returns when its calls began and ended, ns of `CLOCK_MONOTONIC`.
    pub(crate) fn run(self) -> (u64, u64) {
        self.begin().end()
    }

    /// Lets it run.
    pub(crate) fn begin(mut self) -> Self {
        drop(self.stdin.take());
        self
    }

    /// Whether it has ended.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Waits for its end.
    pub(crate) fn end(mut self) -> (u64, u64) {
        let times = (self.value("began "), self.value("ended "));
        assert!(self.child.wait().unwrap().success());
        times
    }
}

impl Drop for Caller {
    fn drop(&mut self) {
        // For tests that end before it is let run.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The process itself.
#[test]
#[ignore = "run as a process of its own by the tests"]
fn calls() {
    let number = |name| std::env::var(name).ok().and_then(|v| v.parse::<u64>().ok());
    let (Some(calls), Some(depth)) = (number(CALLS), number(DEPTH)) else {
        return;
    };
    let mut out = std::io::stdout();
    writeln!(out, "tid {}", nix::unistd::gettid()).unwrap();
    out.flush().unwrap();
    let _ = std::io::stdin().read_line(&mut String::new());
    if depth > 0 {
        Caller::new(calls, u32::try_from(depth).unwrap() - 1).run();
    }
    let now = || kstrace_clock::read_ns(kstrace_schema::ClockKind::Monotonic);
    let began = now();
    for _ in 0..calls {
        std::hint::black_box(nix::unistd::getppid());
    }
    writeln!(out, "began {began}\nended {}", now()).unwrap();
}
