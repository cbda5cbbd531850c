//! Verdicts on programs, queues, and what a bridge or IPsec refuses.

use std::{cell::RefCell, net::SocketAddr, process::Command};

use anyhow::{Context, Result, ensure};
use whydrop_tests::{
    DEADLINE,
    expected::{ExpectedDrop, ExpectedVerdict},
    fault::{
        CgroupDrop, Direction, Iptables, NetfilterDrop, Position, Refuser, TcxDrop, XdpDrop,
        XdpMode, drop_in_tc,
    },
    kernel,
    lab::{
        Family,
        topology::{NodeLab, RouterLab},
    },
    offer::{offered, paste},
    scenario::{Scenario, Traffic},
    tracer::{Tracer, watching},
    traffic::{Outcome, Protocol, TcpAttempt, TcpServer},
};

fn firewall() -> ExpectedVerdict {
    ExpectedVerdict::new("firewall", "confirmed")
}

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

/// What an agent manages, it attaches again; what it has left behind is to be detached.
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

/// Without the program that was named the same client gets through.
#[test]
fn the_fix_of_an_xdp_program_helps() -> Result<()> {
    let lab = NodeLab::build()?;
    let server = lab.pod_a.socket(Family::V4, 8080);
    let _server = TcpServer::echo(&lab.pod_a, server)?;
    let _program = XdpDrop::attach(&lab.node, "eth0", XdpMode::Native, Family::V4, 8080)?;
    helps(&lab, server)
}

/// The same of a filter with a classic program, which has no number but a place among the filters.
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
    let outcome = TcpAttempt::start(&lab.outside, None, server)?.outcome(DEADLINE)?;
    ensure!(
        matches!(outcome, Outcome::Connected(_)),
        "{outcome:?} in spite of {apply}"
    );
    tracer.stop().map(drop)
}

#[test]
fn token_bucket() -> Result<()> {
    Family::each(|family| {
        let lab = RouterLab::build()?;
        Scenario::new(&lab, &lab.client, &lab.server, family)
            .traffic(Traffic::Burst(50, 1000))
            .fault(|| {
                let add = "tc qdisc add dev right root tbf rate 100kbit burst 2000 limit 4000";
                lab.router.run(add).map(drop)
            })
            .drops(
                &ExpectedDrop::new("QDISC_DROP", "__dev_queue_xmit")
                    .at(&lab.router, "right")
                    .judged(
                        ExpectedVerdict::new("queue", "confirmed")
                            .why("a queue at right is full")
                            .evidence("rate 100000 bit/s limit 4000 bytes"),
                    ),
            )
    })
}

/// A rule that hands packets to a program.
fn nfqueue(lab: &NodeLab, expected: &ExpectedDrop) -> Result<()> {
    let chain = Iptables {
        table: "filter",
        chain: "FORWARD",
    };
    Family::each(|family| {
        Scenario::new(lab, &lab.outside, &lab.pod_a, family)
            .fault_on_port(|port| {
                let rule = format!("-p tcp --dport {port} -j NFQUEUE --queue-num 7");
                chain.append(&lab.node, family, &rule)
            })
            .drops(&expected.clone().at(&lab.node, "eth0"))
    })
}

/// The program is asked, and says no: its thread is the one that frees the packet.
#[test]
fn refused_through_nfqueue() -> Result<()> {
    let lab = NodeLab::build()?;
    let _refuser = Refuser::start(&lab.node, 7)?;
    let judged = firewall().why(format!("the process {} refused it", Refuser::NAME));
    nfqueue(
        &lab,
        &ExpectedDrop::new("NOT_SPECIFIED", "nfqnl_reinject").judged(judged),
    )
}

#[test]
fn nobody_to_ask_through_nfqueue() -> Result<()> {
    let lab = NodeLab::build()?;
    let judged = firewall()
        .why("no program takes it")
        .evidence("rule 2 of chain FORWARD in table filter");
    nfqueue(
        &lab,
        &ExpectedDrop::new("NOT_SPECIFIED", "nf_queue").judged(judged),
    )
}

/// Without any rule that can have dropped it, no rule is blamed.
#[test]
fn bpf_program_at_a_netfilter_hook() -> Result<()> {
    if kernel::NO_BPF_NETFILTER.applies() {
        return Ok(());
    }
    let lab = NodeLab::build()?;
    let attached = RefCell::new(None);
    Scenario::new(&lab, &lab.outside, &lab.pod_a, Family::V4)
        .fault(|| {
            attached.replace(Some(NetfilterDrop::attach(&lab.node)?));
            Ok(())
        })
        .drops(
            &ExpectedDrop::new("NETFILTER_DROP", "nf_hook_slow")
                .hook("FORWARD")
                .at(&lab.node, "eth0")
                .judged(
                    ExpectedVerdict::new("firewall", "possible")
                        .why("in FORWARD")
                        .evidence("no rule that is there now can have dropped it"),
                ),
        )
}

#[test]
fn ipsec_policy_that_blocks() -> Result<()> {
    let lab = RouterLab::build()?;
    let family = Family::V4;
    let (client, server) = (lab.client.address(family), lab.server.address(family));
    Scenario::new(&lab, &lab.client, &lab.server, family)
        .fault(|| {
            let policy = format!("src {client} dst {server} dir fwd action block");
            let add = format!("ip xfrm policy add {policy}");
            lab.router.run(&add).map(drop)
        })
        .drops(
            &ExpectedDrop::new("XFRM_POLICY", "ip_forward")
                .at(&lab.router, "left")
                .judged(firewall().why("an IPsec policy refuses it at left")),
        )
}

#[test]
fn isolated_bridge_ports() -> Result<()> {
    Family::each(|family| {
        let lab = NodeLab::build()?;
        Scenario::new(&lab, &lab.pod_a, &lab.pod_b, family)
            .fault(|| {
                for port in ["veth-a", "veth-b"] {
                    let isolate = format!("bridge link set dev {port} isolated on");
                    lab.node.run(&isolate)?;
                }
                Ok(())
            })
            .drops(
                &ExpectedDrop::new("NOT_SPECIFIED", "br_handle_frame_finish")
                    .at(&lab.node, "veth-a")
                    .judged(
                        ExpectedVerdict::new("firewall", "likely")
                            .why("the bridge port veth-a is isolated")
                            .fix("bridge link set dev veth-a isolated off"),
                    ),
            )
    })
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
