//! Sources of cluster knowledge that hang, print, or have no end: the trace goes on beside them.

use std::{
    fs,
    io::Read as _,
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::{Value, json};
use tempfile::TempDir;
use whydrop_tests::{
    UNPRIVILEGED,
    apiserver::{ApiServer, Manner},
    binary,
    fault::{Chain, nft},
    lab::{Family, Host, output, topology::RouterLab},
    poll_until,
    record::{Record, shown},
    tracer::{Reaped, Trace, Tracer, run_to_end, watching},
    traffic::{TcpAttempt, UdpClient},
};

/// A kubeconfig whose user's credentials a shell prints.
fn with_plugin(directory: &TempDir, script: &str) -> Result<PathBuf> {
    let path = directory.path().join("config");
    let config = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}],
        "clusters": [{"name": "k", "cluster": {"server": "http://127.0.0.1:1"}}],
        "users": [{"name": "u", "user": {"exec": {
            "apiVersion": "client.authentication.k8s.io/v1", "command": "/bin/sh",
            "args": ["-c", script], "interactiveMode": "Never",
            "env": [{"name": "SECRET", "value": "LEAKENV"}]}}}],
    });
    fs::write(&path, config.to_string())?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
    Ok(path)
}

/// A trace in which a datagram is dropped, with these options besides.
fn with_a_drop(options: &[&str]) -> Result<Trace> {
    with_a_drop_until(options, |_, _| Ok(()))
}

/// The same, which lasts until something else has happened.
fn with_a_drop_until(
    options: &[&str],
    happened: impl FnOnce(&RouterLab, &mut Tracer) -> Result<()>,
) -> Result<Trace> {
    let lab = RouterLab::build()?;
    nft(&lab.router, Chain::inet("forward"), "udp dport 9999 drop")?;
    let to = lab.server.socket(Family::V4, 9999);
    let mut arguments = watching(&[&lab.router]);
    arguments.extend(options.iter().map(|option| (*option).to_owned()));
    arguments.push(to.to_string());
    let mut tracer = Tracer::start_with_cluster(arguments)?;
    UdpClient::connect(&lab.client, None, to)?.send(10)?;
    tracer.wait_for("the drop of a datagram", |record| {
        record.as_drop().is_some()
    })?;
    happened(&lab, &mut tracer)?;
    tracer.stop()
}

/// A host as a pod.
fn pod(name: &str, host: &Host) -> Value {
    let ip = host.address(Family::V4);
    json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": "shop", "labels": {"app": name}},
        "status": {"phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}]}})
}

fn mkfifo(path: &Path) -> Result<()> {
    output(Command::new("mkfifo").arg(path)).map(drop)
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().context("UTF-8")
}

/// A credential plugin that hangs: nothing that it prints is shown, and it ends with the trace, with
/// what it has started.
#[test]
fn a_credential_plugin_that_hangs() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let pids = directory.path().join("pids");
    let script = format!(
        "printf '\\033]0;LEAKERR\\007' >&2; printf LEAKOUT; sleep 1000 & echo $$ $! > {0}.new; mv {0}.new {0}; wait",
        pids.display()
    );
    let config = with_plugin(&directory, &script)?;
    let trace = with_a_drop_until(&["--kubeconfig", text(&config)?], |_, _| {
        poll_until("the plugin to begin", || pids.exists().then_some(()))
    })?;
    let said = format!("{}{:?}", trace.stderr, trace.records);
    ensure!(!said.contains("LEAK") && !said.contains('\x1b'), "{said}");
    let pids = fs::read_to_string(&pids)?;
    ensure!(pids.split_whitespace().count() == 2, "{pids}");
    for pid in pids.split_whitespace() {
        poll_until("the plugin to end", || {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat"));
            let runs = stat.is_ok_and(|stat| !stat.contains(") Z "));
            (!runs).then_some(())
        })?;
    }
    Ok(())
}

/// Every user could have the plugin that it names run as root.
#[test]
fn a_kubeconfig_that_every_user_can_write() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let ran = directory.path().join("ran");
    let config = with_plugin(&directory, &format!("touch {}", ran.display()))?;
    fs::set_permissions(&config, fs::Permissions::from_mode(0o666))?;
    let mut command = Command::new(binary());
    command.args(["--all", "-o", "json", "--kubeconfig", text(&config)?]);
    let output = run_to_end(&mut command)?;
    let stderr = String::from_utf8(output.stderr)?;
    ensure!(!output.status.success(), "it was taken");
    ensure!(
        stderr.contains(&format!("`chmod o-w {}`", text(&config)?)),
        "{stderr}"
    );
    ensure!(!ran.exists(), "its plugin was run");
    Ok(())
}

/// A pipe that is not written to holds nothing up but itself. What it gives at last is used.
#[test]
fn a_pipe_as_the_cluster_s_file() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let pipe = directory.path().join("pipe");
    mkfifo(&pipe)?;
    let note = format!("--cluster {}: still waiting for it", text(&pipe)?);
    let trace = with_a_drop_until(&["--cluster", text(&pipe)?], |lab, tracer| {
        // A trace that takes longer to start has it among what it lacks.
        let is_late = tracer.has_seen(|record| match record {
            Record::Started(started) => started.degraded.iter().any(|lack| lack.contains(&note)),
            _ => false,
        })?;
        if !is_late {
            tracer.wait_for_note(&note)?;
        }
        let server = pod("cart", &lab.server);
        fs::write(
            &pipe,
            json!({"kind": "List", "items": [server]}).to_string(),
        )?;
        poll_until("a drop with the pod's name", || {
            let to = lab.server.socket(Family::V4, 9999);
            // Each time from another port, which makes it another drop.
            UdpClient::connect(&lab.client, None, to)
                .ok()?
                .send(10)
                .ok()?;
            let is_named = |record: &Record| {
                let pod = record.as_drop().and_then(|drop| drop.dst_pod.as_ref());
                pod.is_some_and(|pod| pod.name == *"cart")
            };
            tracer.has_seen(is_named).ok()?.then_some(())
        })
    })?;
    let said = format!("{}{:?}", trace.stderr, trace.records);
    ensure!(said.matches(&note).count() == 1, "{said}");
    Ok(())
}

/// A pipe that is not written to holds up the start, since it may say where the API server is; a signal
/// ends the wait.
#[test]
fn a_pipe_as_kubeconfig_ends_with_ctrl_c() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let pipe = directory.path().join("pipe");
    mkfifo(&pipe)?;
    let mut command = Command::new(binary());
    command.args(["--all", "-o", "json", "--kubeconfig", text(&pipe)?]);
    let child = command
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut child = Reaped::new(child);
    // Opening the other end without blocking fails until whydrop has opened its own.
    let mut options = fs::OpenOptions::new();
    options.write(true).custom_flags(libc::O_NONBLOCK);
    let _writer = poll_until("whydrop to wait for the pipe", || options.open(&pipe).ok())?;
    kill(Pid::from_raw(child.0.id().try_into()?), Signal::SIGINT)?;
    child.wait("whydrop to end")?;
    let mut said = String::new();
    let stderr = child.0.stderr.as_mut().context("stderr is a pipe")?;
    stderr.read_to_string(&mut said)?;
    ensure!(said.contains("a signal came while"), "{said}");
    Ok(())
}

/// An API server reports changes as fast as they are read: drops are shown beside that, and the trace
/// ends when it is to, without what is still to be read.
#[test]
fn a_server_that_reports_without_an_end() -> Result<()> {
    let mut server = ApiServer::up()?;
    server.answer("pods", Manner::EndlessEvents);
    let directory = tempfile::tempdir()?;
    let config = server.kubeconfig(directory.path())?;
    let trace = with_a_drop_until(&["--kubeconfig", text(&config)?], |lab, tracer| {
        server.wait_for_watch("pods")?;
        let to = lab.server.socket(Family::V4, 9999);
        UdpClient::connect(&lab.client, None, to)?.send(10)?;
        let mut drops = 0;
        tracer.wait_for("a drop beside the changes", |record| {
            drops += usize::from(record.as_drop().is_some());
            drops == 2
        })?;
        Ok(())
    })?;
    ensure!(trace.summary.drops == 2, "{:?}", trace.summary);
    Ok(())
}

/// A device is no file, and is not read to its end.
#[test]
fn a_device_as_the_cluster_s_file() -> Result<()> {
    let trace = with_a_drop(&["--cluster", "/dev/zero"])?;
    let said = format!("{}{:?}", trace.stderr, trace.records);
    let why = "it is a device: only files and pipes are read";
    ensure!(said.matches(why).count() == 1, "{said}");
    Ok(())
}

/// 1,500 policies of 50 rules each select the pod: the record has the nearest misses, and a count.
#[test]
fn a_record_has_an_end_whatever_there_are_of_policies() -> Result<()> {
    const LARGEST: usize = 64 << 10;
    let lab = RouterLab::build()?;
    let rule = |n: usize| {
        json!({"from": [{"podSelector": {"matchLabels": {"app": format!("x{n}")}}}],
            "ports": [{"port": 1000 + n}]})
    };
    let rules: Vec<_> = (0..50).map(rule).collect();
    let policy = |n: usize| {
        json!({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
            "metadata": {"name": format!("p{n}"), "namespace": "shop"},
            "spec": {"podSelector": {}, "policyTypes": ["Ingress"], "ingress": rules}})
    };
    let mut items: Vec<_> = (0..1500).map(policy).collect();
    items.push(pod("web", &lab.client));
    items.push(pod("cart", &lab.server));
    items.push(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}));
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("cluster.json");
    fs::write(&file, json!({"kind": "List", "items": items}).to_string())?;
    // As Calico does it.
    nft(
        &lab.router,
        Chain::inet("forward"),
        "tcp dport 443 counter drop comment \"cali:abc Drop if no policies passed packet\"",
    )?;
    let mut arguments = watching(&[&lab.router]);
    arguments.extend(["--cluster".to_owned(), text(&file)?.to_owned()]);
    // Its name has to be known before the trace begins: by then the file is read.
    arguments.push("shop/cart".to_owned());
    let mut tracer = Tracer::start_with_cluster(arguments)?;
    let to = lab.server.socket(Family::V4, 443);
    let _attempt = TcpAttempt::start(&lab.client, None, to)?;
    tracer.wait_for("the outcome of the attempt", |record| {
        record.as_attempt().is_some()
    })?;
    let trace = tracer.stop()?;
    ensure!(trace.drops().count() > 0 && trace.attempts().count() > 0);
    let sizes = trace.drops().map(|drop| shown(drop).len());
    let sizes = sizes.chain(trace.attempts().map(|attempt| shown(attempt).len()));
    let largest = sizes.max().context("records")?;
    ensure!(largest < LARGEST, "a record of {largest} bytes");
    let drop = trace.drops().next().context("a drop")?;
    let evidence = format!("{:?}", drop.verdict.evidence);
    ensure!(evidence.contains("more that are no nearer"), "{evidence}");
    Ok(())
}

/// A core dump would hold the token. What is not dumpable has its memory, and its files in `/proc`,
/// for root alone.
#[test]
fn no_other_process_of_the_user_reads_its_memory() -> Result<()> {
    let user = UNPRIVILEGED.to_string();
    let directory = tempfile::tempdir()?;
    let pipe = directory.path().join("pipe");
    mkfifo(&pipe)?;
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755))?;
    fs::set_permissions(&pipe, fs::Permissions::from_mode(0o666))?;
    let program = directory.path().join("whydrop");
    fs::copy(binary(), &program)?;
    let mut child = Reaped::new(
        Command::new("setpriv")
            .args(["--reuid", &user, "--regid", &user, "--clear-groups"])
            .arg(&program)
            .args([
                "explain",
                "--from",
                "10.0.0.1",
                "--to",
                "10.0.0.2:80",
                "--cluster",
            ])
            .arg(&pipe)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?,
    );
    let own = format!("/proc/{}", child.0.id());
    poll_until("whydrop to run as another user", || {
        let name = fs::read_to_string(format!("{own}/comm")).ok()?;
        let status = fs::read_to_string(format!("{own}/status")).ok()?;
        let is_other = status.contains(&format!("Uid:\t{user}"));
        let owner = fs::metadata(format!("{own}/environ")).ok()?.uid();
        (name.trim() == "whydrop" && is_other && owner == 0).then_some(())
    })?;
    drop(fs::write(&pipe, "{}"));
    child.wait("whydrop to end")?;
    Ok(())
}
