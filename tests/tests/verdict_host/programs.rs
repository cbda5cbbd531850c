//! Verdicts on BPF programs: tc, TCX, XDP, cgroup and netfilter.

use std::{cell::RefCell, net::SocketAddr, process::Command};

use anyhow::{Context, Result, ensure};
use whydrop_tests::{
    deadline,
    expected::{ExpectedDrop, ExpectedVerdict},
    fault::{
        CgroupDrop, Direction, NetfilterDrop, NetfilterHook, Position, TcxDrop, XdpDrop, XdpMode,
        drop_in_tc,
    },
    kernel,
    lab::{Family, topology::NodeLab},
    offer::{offered, paste},
    scenario::{Scenario, Traffic},
    tracer::{Tracer, watching},
    traffic::{Outcome, Protocol, TcpAttempt, TcpServer},
};

use super::firewall;

fn classifier(
    traffic: Traffic,
    protocol: Protocol,
    (ifname, direction): (&str, Direction),
    (reason, function): (&'static str, &'static str),
) -> Result<()> {
    let lab = NodeLab::build()?;
    let at = match direction {
        Direction::Ingress => "ingress",
        Direction::Egress => "egress",
    };
    let expected = ExpectedDrop::new(reason, function)
        .at(&lab.node, ifname)
        .judged(
            firewall()
                .why(format!(
                    "a tc program or filter at {at} dropped it at {ifname}"
                ))
                .evidence(format!("attached there: tc {at}: filter bpf"))
                .evidence("a classic BPF program that decides itself"),
        );
    Family::each(|family| {
        Scenario::new(&lab, &lab.outside, &lab.pod_a, family)
            .traffic(traffic)
            .fault_on_port(|port| drop_in_tc(&lab.node, ifname, direction, family, protocol, port))
            .drops(&expected)
    })
}

#[test]
fn tc_program_at_ingress() -> Result<()> {
    classifier(
        Traffic::Connect,
        Protocol::Tcp,
        ("eth0", Direction::Ingress),
        ("TC_INGRESS", "__netif_receive_skb_core"),
    )
}

#[test]
fn tc_program_at_egress() -> Result<()> {
    classifier(
        Traffic::Connect,
        Protocol::Tcp,
        ("veth-a", Direction::Egress),
        ("TC_EGRESS", "__dev_queue_xmit"),
    )
}

#[test]
fn tc_program_and_a_datagram() -> Result<()> {
    classifier(
        Traffic::Datagram(100),
        Protocol::Udp,
        ("eth0", Direction::Ingress),
        ("TC_INGRESS", "__netif_receive_skb_core"),
    )
}

fn xdp(mode: XdpMode, function: &'static str, attached: &str) -> Result<()> {
    let lab = NodeLab::build()?;
    Family::each(|family| {
        // An interface takes one program at a time, so the next one replaces it.
        let current = RefCell::new(None);
        Scenario::new(&lab, &lab.outside, &lab.pod_a, family)
            .fault_on_port(|port| {
                drop(current.take());
                let program = XdpDrop::attach(&lab.node, "eth0", mode, family, port)?;
                current.replace(Some(program));
                Ok(())
            })
            .drops(
                &ExpectedDrop::new("NOT_SPECIFIED", function)
                    .at(&lab.node, "eth0")
                    .judged(
                        firewall()
                            .why("an XDP program")
                            .evidence(format!(
                                "attached there: {attached}: program {} (id ",
                                XdpDrop::NAME
                            ))
                            .fix("bpftool link detach id "),
                    ),
            )
    })
}

#[test]
fn xdp_program_in_the_driver() -> Result<()> {
    xdp(XdpMode::Native, "veth_xdp_rcv_skb", "XDP")
}

#[test]
fn xdp_program_behind_the_driver() -> Result<()> {
    xdp(XdpMode::Generic, "do_xdp_generic", "generic XDP")
}

/// A program attached by TCX, whose name says which tool attached it.
fn tcx(name: &str, judged: &ExpectedVerdict) -> Result<()> {
    if kernel::NO_TCX.applies() {
        return Ok(());
    }
    let lab = NodeLab::build()?;
    let attached = RefCell::new(None);
    Family::each(|family| {
        Scenario::new(&lab, &lab.outside, &lab.pod_a, family)
            .fault_on_port(|port| {
                drop(attached.take());
                let at = ("eth0", Direction::Ingress, Position::Last);
                let program = TcxDrop::attach_as(name, &lab.node, at, family, port)?;
                attached.replace(Some(program));
                Ok(())
            })
            .drops(
                &ExpectedDrop::new("TC_INGRESS", "__netif_receive_skb_core")
                    .at(&lab.node, "eth0")
                    .judged(
                        judged
                            .clone()
                            .evidence(format!("attached there: TCX ingress: program {name} (id ")),
                    ),
            )
    })
}

#[test]
fn tcx_program_of_an_unknown_tool() -> Result<()> {
    tcx(
        TcxDrop::NAME,
        &firewall()
            .why("a tc program or filter at ingress dropped it at eth0")
            .fix("bpftool link detach id "),
    )
}

/// A running agent would attach its program again; a program that it left behind has to be detached.
#[test]
fn tcx_program_of_a_policy_engine() -> Result<()> {
    let judged = || {
        ExpectedVerdict::new("policy", "confirmed")
            .why("a tc program or filter at ingress of Cilium dropped it")
    };
    tcx(
        "cil_from_contai",
        &judged()
            .why("no agent of Cilium runs on this node")
            .fix("bpftool link detach id "),
    )?;
    // A process goes by the name that it is started under.
    let directory = tempfile::tempdir()?;
    let agent = directory.path().join("cilium-agent");
    std::os::unix::fs::symlink("/bin/sleep", &agent)?;
    let mut agent = Command::new(agent).arg("600").spawn()?;
    let verdict = tcx(
        "cil_from_contai",
        &judged()
            .fix("change the policies that Cilium enforces")
            .never_says(["no agent"]),
    );
    agent.kill()?;
    agent.wait()?;
    verdict
}

/// Once the named program is detached, the same client gets through.
#[test]
fn the_fix_of_an_xdp_program_helps() -> Result<()> {
    let lab = NodeLab::build()?;
    let server = lab.pod_a.socket(Family::V4, 8080);
    let _server = TcpServer::echo(&lab.pod_a, server)?;
    let _program = XdpDrop::attach(&lab.node, "eth0", XdpMode::Native, Family::V4, 8080)?;
    helps(&lab, server)
}

/// The same with a filter with a classic program: it has no ID, only a position among the filters.
#[test]
fn the_fix_of_a_tc_filter_helps() -> Result<()> {
    let lab = NodeLab::build()?;
    let server = lab.pod_a.socket(Family::V4, 8080);
    let _server = TcpServer::echo(&lab.pod_a, server)?;
    let (family, protocol) = (Family::V4, Protocol::Tcp);
    drop_in_tc(
        &lab.node,
        "eth0",
        Direction::Ingress,
        family,
        protocol,
        8080,
    )?;
    helps(&lab, server)
}

fn helps(lab: &NodeLab, server: SocketAddr) -> Result<()> {
    let mut arguments = watching(&[&lab.node]);
    arguments.push(server.to_string());
    let mut tracer = Tracer::start(arguments)?;
    let _waits = TcpAttempt::start(&lab.outside, None, server)?;
    let (apply, undo) = offered(&mut tracer)?;
    ensure!(undo.is_none() && apply.contains("  # no undo"), "{apply}");
    paste(&apply)?;
    let outcome = TcpAttempt::start(&lab.outside, None, server)?.outcome(deadline())?;
    ensure!(
        matches!(outcome, Outcome::Connected(_)),
        "{outcome:?} in spite of {apply}"
    );
    tracer.stop().map(drop)
}

/// No rule could have dropped it, so none is blamed.
#[test]
fn bpf_program_at_a_netfilter_hook() -> Result<()> {
    if kernel::NO_BPF_NETFILTER.applies() {
        return Ok(());
    }
    let lab = NodeLab::build()?;
    let attached = RefCell::new(None);
    Scenario::new(&lab, &lab.outside, &lab.pod_a, Family::V4)
        .fault(|| {
            attached.replace(Some(NetfilterDrop::attach(
                &lab.node,
                NetfilterHook::Forward,
            )?));
            Ok(())
        })
        .drops(
            &ExpectedDrop::new("NETFILTER_DROP", "nf_hook_slow")
                .hook("FORWARD")
                .at(&lab.node, "eth0")
                .judged(
                    ExpectedVerdict::new("firewall", "possible")
                        .why("in FORWARD")
                        .evidence("no rule that is there now could have dropped it"),
                ),
        )
}

/// A client in a control group of its own, first without and then with a program that drops what it
/// sends, or gets.
fn control_group(direction: Direction, reason: &str, at: &str) -> Result<()> {
    let lab = NodeLab::build()?;
    let server = lab.outside.socket(Family::V4, 8080);
    let _server = TcpServer::echo(&lab.outside, server)?;
    let mut group = CgroupDrop::create()?;
    let connect = format!(
        "echo $$ > {} && exec busybox nc -w 2 {} {} </dev/null",
        group.procs().display(),
        server.ip(),
        server.port()
    );
    let connect = || {
        let status = lab
            .pod_a
            .enter(|| Command::new("sh").args(["-c", &connect]).status())?;
        anyhow::Ok(status.success())
    };
    let mut arguments = watching(&[&lab.node, &lab.pod_a]);
    arguments.push(server.to_string());
    let mut tracer = Tracer::start(arguments)?;
    ensure!(connect()?, "no connection while all was well");
    group.strike(direction)?;
    ensure!(!connect()?, "a connection in spite of the program");
    let record = tracer.wait_for("the drop", |record| record.as_drop().is_some())?;
    let drop = record.as_drop().context("a drop")?;
    ensure!(drop.reason.is(reason), "{drop:?}");
    let judged = firewall()
        .why(format!("a cgroup program at {at}"))
        .evidence(format!(
            "attached there: cgroup /{} {at}: program",
            group.name()
        ));
    if let Some(mismatch) = judged.mismatch(&drop.verdict) {
        anyhow::bail!(mismatch);
    }
    let trace = tracer.stop()?;
    for drop in trace.drops() {
        ensure!(drop.reason.is(reason), "another drop: {drop:?}");
    }
    Ok(())
}

#[test]
fn cgroup_program_at_egress() -> Result<()> {
    control_group(Direction::Egress, "BPF_CGROUP_EGRESS", "egress")
}

#[test]
fn cgroup_program_at_ingress() -> Result<()> {
    control_group(Direction::Ingress, "SOCKET_FILTER", "ingress")
}
