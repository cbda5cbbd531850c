//! A signal ends a trace in order, whatever it is waiting for.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io,
    net::TcpListener,
    os::unix::fs::{FileExt as _, OpenOptionsExt as _},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::{Value, json};
use whydrop_tests::{
    binary,
    fault::{Chain, nft},
    lab::{Family, VethPairs, topology::NodeLab},
    poll_until,
    tracer::{Reaped, watching},
    traffic::spoofed_syns,
};

const PORT: u16 = 8080;
/// Whole groups of interfaces are deleted at once.
const GROUP: u32 = 79;
const SIGNALS: [Signal; 2] = [Signal::SIGINT, Signal::SIGTERM];

/// A trace, and the file that it prints to.
struct Running {
    child: Reaped,
    printed: File,
}

/// `whydrop` at a node, with these arguments besides.
fn whydrop(lab: &NodeLab, arguments: &[&str]) -> Result<Running> {
    // A file takes all that is printed, whenever it is read.
    let printed = tempfile::tempfile()?;
    let mut command = Command::new(binary());
    command.args(watching(&[&lab.node])).args(["-o", "json"]);
    let child = command
        .args(arguments)
        .stdout(printed.try_clone()?)
        .stderr(Stdio::piped())
        .spawn()?;
    let child = Reaped::new(child);
    Ok(Running { child, printed })
}

impl Running {
    fn signal(&self, signal: Signal) -> Result<()> {
        Ok(kill(Pid::from_raw(self.child.0.id().try_into()?), signal)?)
    }

    /// The records that are printed so far.
    fn records(&self) -> Result<Vec<Value>> {
        // Where the process writes next is not moved.
        let mut bytes = vec![0; self.printed.metadata()?.len().try_into()?];
        self.printed.read_exact_at(&mut bytes, 0)?;
        let text = String::from_utf8(bytes)?;
        let whole = text
            .split_inclusive('\n')
            .filter(|line| line.ends_with('\n'));
        Ok(whole.map(serde_json::from_str).collect::<Result<_, _>>()?)
    }

    /// Everything is attached.
    fn wait_for_start(&self) -> Result<()> {
        poll_until("the trace to start", || {
            let records = self.records().ok()?;
            records.iter().find(|record| record["kind"] == "started")?;
            Some(())
        })
    }

    /// Waits for the end in order after a signal. Returns the summary.
    fn expect_end(mut self, signal: Signal) -> Result<Value> {
        let status = self.child.wait("whydrop to end")?;
        let stderr = self.child.0.stderr.as_mut().context("stderr is a pipe")?;
        let said = io::read_to_string(stderr)?;
        let last = self.records()?.pop().unwrap_or_default();
        ensure!(
            status.success() && last["kind"] == "summary",
            "{signal}: {status}\n{said}\n{last}"
        );
        Ok(last)
    }
}

/// The kernel's numbers of the programs that a process has loaded so far.
fn programs(pid: u32) -> BTreeSet<u32> {
    let Ok(files) = fs::read_dir(format!("/proc/{pid}/fdinfo")) else {
        return BTreeSet::new();
    };
    let infos = files.filter_map(|file| fs::read_to_string(file.ok()?.path()).ok());
    let number = |info: String| {
        let mut lines = info.lines();
        let id = lines.find_map(|line| line.strip_prefix("prog_id:"))?;
        id.trim().parse().ok()
    };
    infos.filter_map(number).collect()
}

/// A server that takes connections and says nothing.
fn silent_server() -> Result<(TcpListener, u16)> {
    let server = TcpListener::bind("127.0.0.1:0")?;
    let port = server.local_addr()?.port();
    Ok((server, port))
}

/// The filter names a pod, and the API server that should know it does not answer.
#[test]
fn while_names_are_waited_for() -> Result<()> {
    let lab = NodeLab::build()?;
    for signal in SIGNALS {
        let (server, port) = silent_server()?;
        let directory = tempfile::tempdir()?;
        let path = directory.path().join("config");
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "c",
            "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}],
            "clusters": [{"name": "k", "cluster": {"server": format!("http://127.0.0.1:{port}")}}],
            "users": [{"name": "u", "user": {}}],
        });
        let mut options = fs::OpenOptions::new();
        let mut file = options
            .create_new(true)
            .write(true)
            .mode(0o600)
            .open(&path)?;
        io::Write::write_all(&mut file, config.to_string().as_bytes())?;
        let path = path.to_str().context("UTF-8")?;
        let running = whydrop(&lab, &["--kubeconfig", path, "shop/cart:8080"])?;
        // It asks, so that it waits.
        server.set_nonblocking(true)?;
        let _asked = poll_until("whydrop to ask the server", || server.accept().ok())?;
        running.signal(signal)?;
        running.expect_end(signal)?;
    }
    Ok(())
}

/// The programs are being loaded, or attached: from the first moment on, by steps.
#[test]
fn while_it_starts() -> Result<()> {
    let lab = NodeLab::build()?;
    let pairs = VethPairs {
        name: "many",
        count: 20,
        group: GROUP,
    };
    pairs.create(&lab.node, &lab.outside)?;
    for (step, signal) in SIGNALS.into_iter().cycle().take(8).enumerate() {
        let mut running = whydrop(&lab, &["--no-kube", "--all"])?;
        let pid = running.child.0.id();
        // Signals are caught from here on. What it is doing then differs from step to step.
        let caught = format!("/proc/{pid}/status");
        poll_until("whydrop to catch signals", || {
            let status = fs::read_to_string(&caught).ok()?;
            let mask = status
                .lines()
                .find_map(|line| line.strip_prefix("SigCgt:"))?;
            let mask = u64::from_str_radix(mask.trim(), 16).ok()?;
            (mask & 1 << (Signal::SIGINT as u64 - 1) != 0).then_some(())
        })?;
        // The last steps may find it at work: then it has loaded all that it loads.
        poll_until("another program to be loaded", || {
            let has_started = || running.records().is_ok_and(|records| !records.is_empty());
            (programs(pid).len() >= step || has_started()).then_some(())
        })?;
        ensure!(
            running.child.0.try_wait()?.is_none(),
            "it has ended by itself"
        );
        running.signal(signal)?;
        running.expect_end(signal)?;
    }
    Ok(())
}

/// Interfaces come in numbers, so that other programs take over: the first of them is there, and the
/// second one is being verified, or is attached.
#[test]
fn while_the_tracepoints_take_over() -> Result<()> {
    for signal in SIGNALS {
        let lab = NodeLab::build()?;
        let running = whydrop(&lab, &["--no-kube", "--all"])?;
        running.wait_for_start()?;
        let before = programs(running.child.0.id());
        let pairs = VethPairs {
            name: "crowd",
            count: 60,
            group: GROUP,
        };
        pairs.create(&lab.node, &lab.outside)?;
        poll_until("the other programs to be loaded", || {
            let now = programs(running.child.0.id());
            now.difference(&before).next().map(drop)
        })?;
        running.signal(signal)?;
        running.expect_end(signal)?;
    }
    Ok(())
}

/// Events wait in a full ring buffer, and others were lost.
#[test]
fn while_more_comes_than_is_read() -> Result<()> {
    let lab = NodeLab::build()?;
    nft(&lab.node, Chain::inet("forward"), "tcp dport 8080 drop")?;
    let std::net::SocketAddr::V4(target) = lab.pod_a.socket(Family::V4, PORT) else {
        anyhow::bail!("an IPv4 address");
    };
    for signal in SIGNALS {
        let running = whydrop(
            &lab,
            &["--no-kube", "--ring-size", "4K", &target.to_string()],
        )?;
        running.wait_for_start()?;
        // It reads nothing while it is stopped, and then finds the signal.
        running.signal(Signal::SIGSTOP)?;
        spoofed_syns(&lab.outside, target, 5_000)?;
        running.signal(signal)?;
        running.signal(Signal::SIGCONT)?;
        let summary = running.expect_end(signal)?;
        let lost = summary["lost"].as_u64();
        ensure!(lost > Some(0), "nothing was lost: {summary}");
    }
    Ok(())
}

/// What waits in a large ring buffer is not read to its end first: all of it fits, so that whatever is
/// lost was left there.
#[test]
fn while_there_is_much_to_read() -> Result<()> {
    const SYNS: u32 = 10_000;
    let lab = NodeLab::build()?;
    nft(&lab.node, Chain::inet("forward"), "tcp dport 8080 drop")?;
    let std::net::SocketAddr::V4(target) = lab.pod_a.socket(Family::V4, PORT) else {
        anyhow::bail!("an IPv4 address");
    };
    for signal in SIGNALS {
        let running = whydrop(
            &lab,
            &["--no-kube", "--ring-size", "16M", &target.to_string()],
        )?;
        running.wait_for_start()?;
        running.signal(Signal::SIGSTOP)?;
        spoofed_syns(&lab.outside, target, SYNS)?;
        running.signal(signal)?;
        running.signal(Signal::SIGCONT)?;
        let summary = running.expect_end(signal)?;
        let (drops, lost) = (summary["drops"].as_u64(), summary["lost"].as_u64());
        ensure!(
            drops == Some(SYNS.into()) && lost > Some(0),
            "{signal}: {summary}"
        );
    }
    Ok(())
}
