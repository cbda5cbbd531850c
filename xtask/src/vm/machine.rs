//! A virtual machine that runs tests, and the protocol on its serial lines.
//!
//! The kernel's log goes to a file. The other line carries the output, and in it the marks of
//! `init.sh`: lines that begin with `@` and a number of this run, which no output can contain by
//! chance.

use std::{
    fmt::Write as _,
    fs,
    path::Path,
    process::{self, Command},
    sync::mpsc::RecvTimeoutError,
    time::{Duration, Instant, SystemTime},
};

use anyhow::Result;

use super::{
    kernels::Kernel,
    payload::CHECK,
    qemu,
    results::{Outcome, Results},
};

/// What the kernel's log has only after a mistake in the kernel.
const ALARMS: [&str; 6] = [
    "Kernel panic",
    "Oops:",
    "BUG:",
    "WARNING: CPU",
    "rcu: INFO: rcu_preempt detected stalls",
    "Out of memory: Killed",
];

/// Lines of the kernel's log that are shown after a failure of the machine.
const TAIL: usize = 40;

/// What boots, and how.
pub(super) struct Machine<'a> {
    pub(super) kernel: &'a Kernel,
    pub(super) image: &'a Path,
    /// Where the kernel's log goes.
    pub(super) log: &'a Path,
    pub(super) kvm: bool,
    /// More words for the kernel's command line.
    pub(super) append: &'a str,
    pub(super) timeout: Duration,
}

impl Machine<'_> {
    /// Boots it, follows its output to the end, and returns the result of each test. `ended` is called
    /// for each group of tests that has ended on its own, with all results so far.
    pub(super) fn run(&self, ended: impl Fn(&str, &Results) -> Result<()>) -> Result<Results> {
        let version = &self.kernel.version;
        let start = Instant::now();
        let nonce = nonce();
        eprintln!("vm-test: booting {}", self.kernel.release);
        let running = qemu::boot(&mut self.qemu(&nonce))?;
        let mut protocol = Protocol::new(&nonce);
        let mut in_time = true;
        loop {
            match running
                .lines
                .recv_timeout(self.timeout.saturating_sub(start.elapsed()))
            {
                Ok(line) => {
                    if !protocol.take(&line) {
                        println!("{version} | {line}");
                    }
                    if let Some(name) = protocol.ended.take() {
                        ended(&name, &protocol.results)?;
                    }
                }
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {
                    in_time = false;
                    break;
                }
            }
        }
        drop(running);
        let mut results = protocol.results;
        if !in_time {
            results.add_problem(format!("was given up after {:?}", self.timeout));
        } else if !protocol.done {
            results.add_problem("ended before its work was done".to_owned());
        }
        self.examine_log(&mut results);
        eprintln!("vm-test: {version} took {} s", start.elapsed().as_secs());
        Ok(results)
    }

    fn qemu(&self, nonce: &str) -> Command {
        let mut qemu = qemu::command(&self.kernel.vmlinuz(), self.image, self.kvm);
        qemu.arg("-serial")
            .arg(format!("file:{}", self.log.display()))
            .args(["-serial", "stdio", "-append"])
            .arg(format!(
                "console=ttyS0 quiet panic=-1 oops=panic tsc=reliable vmnonce={nonce} {}",
                self.append
            ));
        qemu
    }

    /// Looks for mistakes of the kernel.
    fn examine_log(&self, results: &mut Results) {
        let log = fs::read(self.log).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let alarm = log
            .lines()
            .find(|line| ALARMS.iter().any(|alarm| line.contains(alarm)));
        if let Some(alarm) = alarm {
            results.add_problem(format!("its kernel says: {}", alarm.trim()));
        }
        if !results.problems().is_empty() {
            let lines: Vec<&str> = log.lines().collect();
            let mut tail = String::new();
            for line in &lines[lines.len().saturating_sub(TAIL)..] {
                // Writing to a string cannot fail.
                let _ = writeln!(tail, "{} # {}", self.kernel.version, line.trim_end());
            }
            eprint!("{tail}");
        }
    }
}

/// Reads the marks, and the lines of Rust's test harness between them.
struct Protocol {
    mark: String,
    /// The group of tests that is running.
    running: Option<String>,
    /// The one that has just ended.
    ended: Option<String>,
    /// Whether it has named a test.
    named: bool,
    /// The test that has begun and not ended, as far as the output shows.
    test: Option<String>,
    failed: bool,
    done: bool,
    results: Results,
}

impl Protocol {
    fn new(nonce: &str) -> Self {
        Self {
            mark: format!("@{nonce} "),
            running: None,
            ended: None,
            named: false,
            test: None,
            failed: false,
            done: false,
            results: Results::default(),
        }
    }

    /// Takes a line. Returns whether it is a mark, which is not to be shown.
    fn take(&mut self, line: &str) -> bool {
        // A program need not have ended its last line.
        let Some((_, mark)) = line.split_once(&self.mark) else {
            self.take_output(line);
            return false;
        };
        let mut words = mark.split(' ');
        match (words.next(), words.next(), words.next()) {
            (Some("begin"), Some(name), _) => {
                self.running = Some(name.to_owned());
                (self.named, self.failed, self.test) = (false, false, None);
            }
            (Some("end"), Some(name), Some(status)) => {
                self.running = None;
                self.ended = Some(name.to_owned());
                let outcome = if status == "0" {
                    Outcome::Passed
                } else {
                    Outcome::Failed
                };
                // A program without tests is one itself. One that failed without a failed test has
                // ended early.
                let early = outcome == Outcome::Failed && !self.failed;
                if !self.named || early {
                    self.results.add(name, outcome);
                }
            }
            (Some("done"), ..) => self.done = true,
            _ => {}
        }
        true
    }

    /// `test name ... ok`, `... FAILED`, `... ignored, why`, and `... skipped: why`, which the test itself
    /// says before it ends.
    fn take_output(&mut self, line: &str) {
        let Some(running) = &self.running else { return };
        if line.starts_with("running ") && (line.ends_with(" tests") || line.ends_with(" test")) {
            self.named = true;
        }
        if running == CHECK {
            self.results.add_finding(line);
        }
        // What a test prints can come between its name and its end.
        let named = line
            .strip_prefix("test ")
            .and_then(|line| line.split_once(" ... "));
        let result = match named {
            Some((name, result)) => {
                self.named = true;
                // The scenarios of a module have its name already, units do not.
                let name = name
                    .strip_prefix(running.as_str())
                    .and_then(|name| name.strip_prefix("::"))
                    .unwrap_or(name);
                self.test = Some(format!("{running}::{name}"));
                result
            }
            None => line,
        };
        let outcome = match result {
            "ok" => Outcome::Passed,
            "FAILED" => Outcome::Failed,
            ignored if named.is_some() && ignored.starts_with("ignored") => Outcome::Skipped,
            skipped if skipped.starts_with("skipped: ") => Outcome::Skipped,
            _ => return,
        };
        if let Some(test) = self.test.take() {
            self.failed |= outcome == Outcome::Failed;
            self.results.add(&test, outcome);
        }
    }
}

/// Something that no output has in it.
fn nonce() -> String {
    let time = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    format!("{:x}-{:x}", time.as_nanos(), process::id())
}

#[test]
fn tests_are_known_by_their_group() {
    let mut protocol = Protocol::new("1");
    for line in [
        "@1 begin nat",
        "running 1 test",
        "test nat::cluster_ip ... ok",
        "@1 end nat 0",
        "@1 begin units",
        "running 1 test",
        "test node::links ... FAILED",
        "@1 end units 101",
    ] {
        protocol.take(line);
    }
    let ended: Vec<_> = protocol.results.tests().collect();
    let expected = [
        ("nat::cluster_ip", Outcome::Passed),
        ("units::node::links", Outcome::Failed),
    ];
    assert_eq!(ended, expected);
}

#[test]
fn a_test_that_skips_itself_has_not_passed() {
    let mut protocol = Protocol::new("7");
    for line in [
        "@7 begin overlays",
        "running 3 tests",
        "test overlays::gre::healthy ... skipped: this kernel has no GRE",
        "ok",
        "test overlays::geneve::healthy ... ok",
        "test overlays::wireguard::healthy ... ",
        "skipped: this kernel has no WireGuard",
        "ok",
        "@7 end overlays 0",
    ] {
        protocol.take(line);
    }
    let of = |test: &str| protocol.results.of(&format!("overlays::{test}::healthy"));
    assert_eq!(of("gre"), Some(Outcome::Skipped));
    assert_eq!(of("geneve"), Some(Outcome::Passed));
    assert_eq!(of("wireguard"), Some(Outcome::Skipped));
}
