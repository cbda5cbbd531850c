//! Nothing of a trace survives it.

use std::{
    collections::BTreeSet,
    fs,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use whydrop_tests::{
    fault::{Chain, nft},
    kernel,
    lab::{Family, Topology, topology::NodeLab},
    poll_until,
    tracer::{Tracer, watching},
    traffic::UdpClient,
};

/// The ids of the BPF objects that a process holds: `key` as its `fdinfo` calls them.
pub(crate) fn held(pid: u32, key: &str) -> Result<BTreeSet<u32>> {
    let mut ids = BTreeSet::new();
    for entry in fs::read_dir(format!("/proc/{pid}/fdinfo"))? {
        // Descriptors may come and go while we look.
        let Ok(info) = fs::read_to_string(entry?.path()) else {
            continue;
        };
        for line in info.lines() {
            if let Some(id) = line.strip_prefix(key) {
                ids.insert(id.trim().parse()?);
            }
        }
    }
    Ok(ids)
}

/// Whether the kernel still knows a BPF object.
fn exists(kind: &str, id: u32) -> bool {
    Command::new("bpftool")
        .args([kind, "show", "id", &id.to_string()])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// The kernel knows none of these BPF objects any more.
pub(crate) fn expect_gone(kind: &str, ids: &BTreeSet<u32>) -> Result<()> {
    for id in ids {
        // The kernel frees them some time after the last descriptor is closed, without a notification.
        poll_until(&format!("{kind} {id} to go"), || {
            (!exists(kind, *id)).then_some(())
        })?;
    }
    Ok(())
}

/// Every tc filter in the lab's namespaces.
fn tc_filters(lab: &NodeLab) -> Result<String> {
    let mut filters = String::new();
    for namespace in lab.namespaces() {
        for line in namespace.run("ip -oneline link show")?.lines() {
            let name = line.split(": ").nth(1).context("a link has a name")?;
            let name = name.split('@').next().unwrap_or(name);
            filters += &namespace.tc_filters(name)?.concat();
        }
    }
    Ok(filters)
}

fn leaves_nothing(end: impl Fn(&NodeLab, Tracer) -> Result<()>) -> Result<()> {
    let lab = NodeLab::build()?;
    let mut arguments = watching(&lab.namespaces());
    arguments.push("--all".to_owned());
    let tracer = Tracer::start(arguments)?;
    let programs = held(tracer.pid(), "prog_id:")?;
    let links = held(tracer.pid(), "link_id:")?;
    ensure!(
        programs.iter().any(|id| exists("prog", *id)),
        "a trace without programs: {programs:?}"
    );
    end(&lab, tracer)?;
    expect_gone("link", &links)?;
    expect_gone("prog", &programs)?;
    let filters = tc_filters(&lab)?;
    ensure!(filters.is_empty(), "left behind:\n{filters}");
    Ok(())
}

#[test]
fn nothing_is_left_after_a_kill() -> Result<()> {
    leaves_nothing(|lab, tracer| {
        tracer.kill()?;
        if !kernel::KILLED.applies() {
            return Ok(());
        }
        ensure!(
            tc_filters(lab)?.contains("whydrop"),
            "there are TCX links here after all: `NO_TCX` does not apply"
        );
        // For as long as the kernel needs to attach: the sweep is over when it has started.
        let mut arguments = watching(&lab.namespaces());
        arguments.push("--all".to_owned());
        Tracer::start(arguments)?.stop().map(drop)
    })
}

#[test]
fn nothing_is_left_after_a_regular_end() -> Result<()> {
    leaves_nothing(|_, tracer| tracer.stop().map(drop))
}

/// Several people look at one node: each trace shows each drop once, and the end of one changes nothing
/// for the others.
#[test]
fn traces_beside_each_other() -> Result<()> {
    const TRACES: usize = 4;
    let lab = NodeLab::build()?;
    nft(&lab.node, Chain::inet("forward"), "udp dport 9999 drop")?;
    let to = lab.outside.socket(Family::V4, 9999);
    let mut arguments = watching(&[&lab.node]);
    arguments.push(to.to_string());
    let start = || Tracer::start(arguments.iter());
    let mut traces = (0..TRACES).map(|_| start()).collect::<Result<Vec<_>>>()?;
    let client = UdpClient::connect(&lab.pod_a, None, to)?;
    for sent in 1.. {
        client.send(10)?;
        for tracer in &mut traces {
            let mut seen = 0;
            tracer.wait_for("the drop of each datagram", |record| {
                seen += record.as_drop().map_or(0, |drop| drop.count);
                seen == sent
            })?;
        }
        match traces.pop() {
            Some(tracer) => {
                let summary = tracer.stop()?.summary;
                ensure!((summary.drops, summary.lost) == (sent, 0), "{summary:?}");
            }
            None => return Ok(()),
        }
    }
    Ok(())
}

#[test]
fn a_trace_ends_by_itself() -> Result<()> {
    let lab = NodeLab::build()?;
    let mut arguments = watching(&lab.namespaces());
    arguments.extend(["--all", "--duration", "100ms"].map(str::to_owned));
    Tracer::start(arguments)?.ended()?.expect_silence()
}
