//! Verdicts on programs, queues, and what a bridge or IPsec refuses.

use anyhow::Result;
use whydrop_tests::{
    expected::{ExpectedDrop, ExpectedVerdict},
    fault::{Iptables, Refuser},
    lab::{
        Family,
        topology::{NodeLab, RouterLab},
    },
    scenario::{Scenario, Traffic},
};

mod programs;

fn firewall() -> ExpectedVerdict {
    ExpectedVerdict::new("firewall", "confirmed")
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

/// The program gets the packet and refuses it: the packet is freed by its thread.
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
fn no_program_behind_nfqueue() -> Result<()> {
    let lab = NodeLab::build()?;
    let judged = firewall()
        .why("no program takes it")
        .evidence("rule 2 of chain FORWARD in table filter");
    nfqueue(
        &lab,
        &ExpectedDrop::new("NOT_SPECIFIED", "nf_queue").judged(judged),
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
                .judged(
                    firewall()
                        .why("an IPsec policy blocks it at left")
                        .fix("let the program that made the policy remove it"),
                ),
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
