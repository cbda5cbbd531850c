//! A signal ends a trace in order, whatever it is waiting for.

use std::{
    fs::File,
    io::{self, Read as _, Seek as _},
    net::TcpListener,
    os::unix::fs::OpenOptionsExt as _,
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::json;
use whydrop_tests::{
    binary,
    fault::{Chain, nft},
    lab::{Family, VethPairs, topology::NodeLab},
    poll_until,
    tracer::{Reaped, Tracer, watching},
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

/// Sends a signal, and waits for the end in order.
fn expect_end(running: Running, signal: Signal) -> Result<()> {
    let Running {
        mut child,
        mut printed,
    } = running;
    kill(Pid::from_raw(child.0.id().try_into()?), signal)?;
    let status = child.wait("whydrop to end")?;
    let mut said = String::new();
    let stderr = child.0.stderr.as_mut().context("stderr is a pipe")?;
    stderr.read_to_string(&mut said)?;
    let mut lines = String::new();
    printed.rewind()?;
    printed.read_to_string(&mut lines)?;
    ensure!(
        status.success() && lines.contains(r#""kind":"summary""#),
        "{signal}: {status}\n{said}\n{lines}"
    );
    Ok(())
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
        let mut options = std::fs::OpenOptions::new();
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
        expect_end(running, signal)?;
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
        // Signals are caught from here on. What it is doing then differs from step to step.
        let caught = format!("/proc/{}/status", running.child.0.id());
        poll_until("whydrop to catch signals", || {
            let status = std::fs::read_to_string(&caught).ok()?;
            let mask = status
                .lines()
                .find_map(|line| line.strip_prefix("SigCgt:"))?;
            let mask = u64::from_str_radix(mask.trim(), 16).ok()?;
            (mask & 1 << (Signal::SIGINT as u64 - 1) != 0).then_some(())
        })?;
        std::thread::sleep(Duration::from_millis(60) * u32::try_from(step)?);
        ensure!(
            running.child.0.try_wait()?.is_none(),
            "it has ended by itself"
        );
        expect_end(running, signal)?;
    }
    Ok(())
}

/// Interfaces come in numbers, so that other programs are being verified.
#[test]
fn while_the_tracepoints_take_over() -> Result<()> {
    let lab = NodeLab::build()?;
    let tracer = Tracer::start([&watching(&[&lab.node])[..], &["--all".to_owned()]].concat())?;
    let pairs = VethPairs {
        name: "crowd",
        count: 60,
        group: GROUP,
    };
    pairs.create(&lab.node, &lab.outside)?;
    tracer.stop().map(drop)
}

/// Events wait in a full ring buffer.
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
        let reads = format!("/proc/{}/fdinfo", running.child.0.id());
        poll_until("whydrop to attach", || has_links(&reads).then_some(()))?;
        spoofed_syns(&lab.outside, target, 5_000)?;
        expect_end(running, signal)?;
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
        let mut arguments = watching(&[&lab.node]);
        arguments.extend(["--ring-size".to_owned(), "16M".to_owned()]);
        arguments.push(target.to_string());
        let tracer = Tracer::start(arguments)?;
        let pid = Pid::from_raw(tracer.pid().try_into()?);
        tracer.paused(|| {
            spoofed_syns(&lab.outside, target, SYNS)?;
            Ok(kill(pid, signal)?)
        })?;
        let summary = tracer.ended()?.summary;
        ensure!(
            summary.drops == u64::from(SYNS) && summary.lost > 0,
            "{signal}: {summary:?}"
        );
    }
    Ok(())
}

/// Whether a process has attached all of its programs at the node's interfaces.
fn has_links(fdinfo: &str) -> bool {
    let Ok(files) = std::fs::read_dir(fdinfo) else {
        return false;
    };
    let infos = files.filter_map(|file| std::fs::read_to_string(file.ok()?.path()).ok());
    infos.filter(|info| info.contains("link_type:")).count() > 4
}
