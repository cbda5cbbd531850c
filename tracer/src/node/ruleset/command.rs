//! Runs a tool that only reads, within a time limit and a limit of what it may print.
//!
//! A child is in the network namespace of the thread that starts it.

use std::{
    io::{ErrorKind, Read},
    process::{Child, Command, Stdio},
    sync::mpsc::{self, Receiver},
    thread,
    time::{Duration, Instant},
};

use super::model::Family;
use crate::kernel::root;

/// More output than this is no ruleset that could be looked at in time.
pub(crate) const MOST_OUTPUT: u64 = 64 << 20;
/// Where tools are that the path of a service may not lead to.
const PATHS: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Why a tool did not give what it was run for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// There is no such tool.
    Missing,
    /// Any other reason, in words.
    Because(String),
}

impl Failure {
    /// Why nft did not show nf_tables.
    pub(super) fn of_nft(self) -> String {
        match self {
            Self::Missing => "there is no nft to read nf_tables with".to_owned(),
            Self::Because(reason) => reason,
        }
    }

    /// Why a tool of iptables did not show a table.
    pub(super) fn of_iptables(self, tool: &str, family: Family, table: &str) -> String {
        match self {
            Self::Missing => format!(
                "there is no {tool} to read all of the rules in table {family} {table} with"
            ),
            Self::Because(reason) => reason,
        }
    }
}

/// What the tool prints. In a container without it, the node's own is run.
pub(super) fn run(tool: &str, arguments: &[&str], deadline: Instant) -> Result<String, Failure> {
    let mut command = command(tool, arguments);
    let child = match command.spawn() {
        Err(error) if error.kind() == ErrorKind::NotFound && root::is_nodes() => {
            root::run_there(&mut command);
            command.spawn()
        }
        child => child,
    };
    let mut child = match child {
        Ok(child) => Running(child),
        Err(error) if error.kind() == ErrorKind::NotFound => return Err(Failure::Missing),
        Err(error) => return Err(Failure::Because(format!("{tool} cannot be run: {error}"))),
    };
    let output = child.0.stdout.take().map(read_all);
    let errors = child.0.stderr.take().map(read_all);
    let output = all_of(tool, output, deadline)?;
    let errors = all_of(tool, errors, deadline)?;
    // Its output has ended, so it is about to end as well.
    let status = loop {
        match child.0.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) if Instant::now() < deadline => thread::sleep(Duration::from_millis(1)),
            Ok(None) => return Err(too_long(tool)),
            Err(error) => return Err(Failure::Because(format!("{tool}: {error}"))),
        }
    };
    if !status.success() {
        let line = errors.lines().next().unwrap_or_default().to_owned();
        return Err(Failure::Because(format!(
            "{tool} failed ({status}): {line}"
        )));
    }
    Ok(output)
}

fn command(tool: &str, arguments: &[&str]) -> Command {
    let path = match std::env::var("PATH") {
        Ok(path) => format!("{path}:{PATHS}"),
        Err(_) => PATHS.to_owned(),
    };
    let mut command = Command::new(tool);
    command
        .args(arguments)
        .env("LC_ALL", "C")
        .env("PATH", path)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// Is killed once its result is no longer awaited.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn read_all(from: impl Read + Send + 'static) -> Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::sync_channel(1);
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = from.take(MOST_OUTPUT + 1).read_to_end(&mut bytes);
        let _ = sender.send(bytes);
    });
    receiver
}

fn all_of(
    tool: &str,
    output: Option<Receiver<Vec<u8>>>,
    deadline: Instant,
) -> Result<String, Failure> {
    let left = deadline.saturating_duration_since(Instant::now());
    let bytes = output.and_then(|output| output.recv_timeout(left).ok());
    let bytes = bytes.ok_or_else(|| too_long(tool))?;
    if bytes.len() as u64 > MOST_OUTPUT {
        let limit = MOST_OUTPUT >> 20;
        return Err(Failure::Because(format!(
            "{tool} printed more than {limit} MiB"
        )));
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn too_long(tool: &str) -> Failure {
    Failure::Because(format!("{tool} took too long and was stopped"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, limit: Duration) -> Result<String, Failure> {
        run("sh", &["-c", script], Instant::now() + limit)
    }

    fn reason(result: Result<String, Failure>) -> String {
        match result {
            Err(Failure::Because(reason)) => reason,
            other => panic!("{other:?}"),
        }
    }

    const LONG: Duration = Duration::from_secs(20);

    #[test]
    fn output_is_given_where_the_tool_succeeds() {
        assert_eq!(shell("echo $LC_ALL", LONG), Ok("C\n".to_owned()));
        let failed = reason(shell("echo out; echo no >&2; exit 3", LONG));
        assert_eq!(failed, "sh failed (exit status: 3): no");
        let missing = run("whydrop-has-no-such-tool", &[], Instant::now() + LONG);
        assert_eq!(missing, Err(Failure::Missing));
    }

    #[test]
    fn slow_tools_are_stopped() {
        let start = Instant::now();
        let limit = Duration::from_millis(50);
        let slow = reason(shell("exec sleep 20", limit));
        assert_eq!(slow, "sh took too long and was stopped");
        let silent = reason(shell("exec >&- 2>&-; exec sleep 20", limit));
        assert_eq!(silent, "sh took too long and was stopped");
        assert!(start.elapsed() < LONG / 2);
    }

    #[test]
    fn what_a_tool_leaves_behind_is_not_waited_for() {
        let limit = Duration::from_millis(50);
        let forks = reason(shell("sleep 1 & echo out", limit));
        assert_eq!(forks, "sh took too long and was stopped");
    }

    #[test]
    fn endless_output_is_not_kept() {
        let endless = reason(shell("exec yes", LONG));
        assert_eq!(endless, "sh printed more than 64 MiB");
    }
}
