//! Odd environments: namespaces of time and users, no `/proc`, signals that are ignored, a time zone
//! that is a device.

use std::{
    process::Command,
    time::{Duration, SystemTime},
};

use anyhow::{Context, Result, bail, ensure};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use whydrop_tests::{
    binary,
    fault::{Chain, nft},
    lab::{Family, topology::RouterLab},
    record::Drop,
    tracer::{Tracer, run_to_end, watching},
    traffic::UdpClient,
};

const PORT: u16 = 9999;

/// A router that drops, and the arguments of a trace of that.
fn dropping() -> Result<(RouterLab, Vec<String>)> {
    let lab = RouterLab::build()?;
    let rule = format!("udp dport {PORT} counter drop");
    nft(&lab.router, Chain::inet("forward"), &rule)?;
    let mut arguments = watching(&[&lab.router]);
    arguments.push(lab.server.socket(Family::V4, PORT).to_string());
    Ok((lab, arguments))
}

/// The drop of a datagram that is sent now.
fn dropped(lab: &RouterLab, tracer: &mut Tracer) -> Result<Drop> {
    let to = lab.server.socket(Family::V4, PORT);
    let client = UdpClient::connect(&lab.client, None, to)?;
    client.send(10)?;
    let port = Some(client.flow().src.port());
    let record = tracer.wait_for("the drop of a datagram", |record| {
        record.as_drop().is_some_and(|drop| drop.flow.sport == port)
    })?;
    Ok(record.as_drop().context("a drop")?.clone())
}

/// The kernel's times are those of the node, and so are those of the records: a namespace that is a
/// day ahead changes nothing.
#[test]
fn a_time_namespace_a_day_ahead() -> Result<()> {
    let (lab, arguments) = dropping()?;
    for runner in [
        &["unshare", "--time", "--monotonic", "100000"][..],
        &["env"][..],
    ] {
        let mut tracer = Tracer::start_by(runner, &arguments)?;
        let before = SystemTime::now();
        let ts = dropped(&lab, &mut tracer)?.ts;
        let hour = Duration::from_secs(3600);
        ensure!(
            before - hour < ts && ts < SystemTime::now() + hour,
            "{runner:?}: {ts:?}, and it was {before:?}"
        );
        tracer.stop()?;
    }
    Ok(())
}

/// `nohup` has SIGHUP ignored, so that the trace goes on without its terminal; otherwise it ends the
/// trace in order.
#[test]
fn a_hangup_ends_a_trace_unless_it_is_ignored() -> Result<()> {
    const DROPS: u64 = 6;
    let (lab, arguments) = dropping()?;
    let mut tracer = Tracer::start_by(&["nohup"], &arguments)?;
    dropped(&lab, &mut tracer)?;
    kill(Pid::from_raw(tracer.pid().try_into()?), Signal::SIGHUP)?;
    // A trace that is about to end may still show the first of them.
    for _ in 1..DROPS {
        dropped(&lab, &mut tracer)?;
    }
    let trace = tracer.stop()?;
    ensure!(trace.summary.drops == DROPS, "{:?}", trace.summary);

    let mut tracer = Tracer::start(&arguments)?;
    dropped(&lab, &mut tracer)?;
    kill(Pid::from_raw(tracer.pid().try_into()?), Signal::SIGHUP)?;
    let trace = tracer.ended()?;
    ensure!(trace.summary.drops == 1, "{:?}", trace.summary);
    Ok(())
}

/// What `whydrop check` says, run by another program.
fn check(runner: &[&str]) -> Result<String> {
    let (program, arguments) = runner.split_first().context("a program")?;
    let mut command = Command::new(program);
    command
        .args(arguments)
        .arg(binary())
        .args(["check", "--no-kube"]);
    let output = run_to_end(&mut command)?;
    let said = String::from_utf8(output.stdout)?;
    if said.is_empty() {
        bail!("{}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(said)
}

/// Root of a user namespace has every capability, and may load no program.
#[test]
fn root_of_a_user_namespace_is_no_root() -> Result<()> {
    let said = check(&["unshare", "--user", "--map-root-user"])?;
    ensure!(
        said.contains("✗ capabilities") && said.contains("those of a user namespace"),
        "{said}"
    );
    ensure!(said.contains("A trace cannot run here"), "{said}");
    let said = check(&["env"])?;
    ensure!(said.contains("✓ capabilities"), "{said}");
    Ok(())
}

#[test]
fn without_proc_it_is_said_to_be_missing() -> Result<()> {
    let unmount = "umount -l /proc && exec \"$@\"";
    let said = check(&["unshare", "--mount", "sh", "-c", unmount, "sh"])?;
    ensure!(said.contains("✗ /proc"), "{said}");
    ensure!(!said.contains("CAP_BPF"), "{said}");
    Ok(())
}

/// Enough to load programs is not enough to look into the namespaces of pods.
#[test]
fn without_sys_admin_other_namespaces_cannot_be_entered() -> Result<()> {
    let bounds = [
        "setpriv",
        "--bounding-set",
        "-sys_admin",
        "--inh-caps",
        "-sys_admin",
    ];
    let said = check(&bounds)?;
    ensure!(
        said.contains("✓ capabilities") && said.contains("without CAP_SYS_ADMIN"),
        "{said}"
    );
    Ok(())
}

/// A device has no end, and no time zone.
#[test]
fn a_time_zone_that_is_a_device() -> Result<()> {
    for zone in [":/dev/zero", "/dev/zero", "UTC"] {
        let said = check(&["env", &format!("TZ={zone}")])?;
        ensure!(said.contains("✓ capabilities"), "{zone}: {said}");
    }
    Ok(())
}
