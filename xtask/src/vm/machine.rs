//! A virtual machine: QEMU, and the protocol on its serial lines.
//!
//! The kernel's log goes to a file. The other line carries the output, and in it the marks of
//! `init.sh`: lines that begin with `@` and a number of this run, which no output can contain by
//! chance.

use std::{
    fmt::Write as _,
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{self, Child, Command, Stdio},
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::{Duration, Instant, SystemTime},
};

use anyhow::{Context as _, Result};

use super::{
    kernels::Kernel,
    table::{Outcome, Results},
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
    pub(super) timeout: Duration,
}

impl Machine<'_> {
    /// Boots it, follows its output to the end, and gives what came of each test.
    pub(super) fn run(&self) -> Result<Results> {
        let version = &self.kernel.version;
        let start = Instant::now();
        let nonce = nonce();
        eprintln!("vm-test: booting {}", self.kernel.release);
        let mut child = Machine::reaped(self.qemu(&nonce))?;
        let stdout = child.0.stdout.take().context("stdout is piped")?;
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            let mut reader = BufReader::new(stdout);
            let mut line = Vec::new();
            while reader
                .read_until(b'\n', &mut line)
                .is_ok_and(|read| read > 0)
            {
                let text = String::from_utf8_lossy(&line).trim_end().to_owned();
                if sender.send(text).is_err() {
                    return;
                }
                line.clear();
            }
        });

        let mut protocol = Protocol::new(&nonce);
        let mut in_time = true;
        loop {
            match lines.recv_timeout(self.timeout.saturating_sub(start.elapsed())) {
                Ok(line) => {
                    if !protocol.take(&line) {
                        println!("{version} | {line}");
                    }
                }
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {
                    in_time = false;
                    break;
                }
            }
        }
        drop(child);
        let mut results = protocol.results;
        if !in_time {
            results.trouble(format!("was given up after {:?}", self.timeout));
        } else if !protocol.done {
            results.trouble("ended before its work was done".to_owned());
        }
        self.examine_log(&mut results);
        eprintln!("vm-test: {version} took {} s", start.elapsed().as_secs());
        Ok(results)
    }

    fn qemu(&self, nonce: &str) -> Command {
        let mut qemu = Command::new("qemu-system-x86_64");
        let machine: &[&str] = if self.kvm {
            &["-accel", "kvm", "-cpu", "host"]
        } else {
            &["-accel", "tcg,thread=multi", "-cpu", "max"]
        };
        qemu.args(["-M", "pc", "-smp", "2", "-m", "2048"])
            .args(machine)
            .args(["-nodefaults", "-display", "none", "-no-reboot"])
            .arg("-serial")
            .arg(format!("file:{}", self.log.display()))
            .args(["-serial", "stdio", "-kernel"])
            .arg(self.kernel.vmlinuz())
            .arg("-initrd")
            .arg(self.image)
            .arg("-append")
            .arg(format!(
                "console=ttyS0 quiet panic=-1 oops=panic vmnonce={nonce}"
            ))
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
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
            results.trouble(format!("its kernel says: {}", alarm.trim()));
        }
        if !results.troubles().is_empty() {
            let lines: Vec<&str> = log.lines().collect();
            let mut tail = String::new();
            for line in &lines[lines.len().saturating_sub(TAIL)..] {
                // Writing to a string cannot fail.
                let _ = writeln!(tail, "{} # {}", self.kernel.version, line.trim_end());
            }
            eprint!("{tail}");
        }
    }

    fn reaped(mut command: Command) -> Result<Reaped> {
        Ok(Reaped(
            command.spawn().context("cannot run qemu-system-x86_64")?,
        ))
    }
}

/// QEMU does not outlive its owner.
struct Reaped(Child);

impl Drop for Reaped {
    fn drop(&mut self) {
        // Both fail only when it has ended and been waited for already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Reads the marks, and the lines of Rust's test harness between them.
struct Protocol {
    mark: String,
    /// The executable that is running.
    running: Option<String>,
    /// Whether it has named a test.
    named: bool,
    /// The test that has begun and not ended, as far as that is told.
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
            named: false,
            test: None,
            failed: false,
            done: false,
            results: Results::default(),
        }
    }

    /// Takes a line. Gives whether it is a mark, which is not to be shown.
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

    /// `test name ... ok`, `... FAILED`, `... ignored, why`
    fn take_output(&mut self, line: &str) {
        let Some(running) = &self.running else { return };
        if line.starts_with("running ") && line.ends_with(" tests") {
            self.named = true;
        }
        // What a test prints can come between its name and its end.
        let named = line
            .strip_prefix("test ")
            .and_then(|line| line.split_once(" ... "));
        let result = match named {
            Some((name, result)) => {
                self.named = true;
                self.test = Some(format!("{running}::{name}"));
                result
            }
            None => line,
        };
        let outcome = match result {
            "ok" => Outcome::Passed,
            "FAILED" => Outcome::Failed,
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
