//! Verdicts on rules of the user's: which one it was, and what lets the packet pass.

use anyhow::{Context, Result, ensure};
use whydrop_tests::{
    deadline,
    expected::{ExpectedDrop, ExpectedVerdict},
    fault::{Chain, Iptables, nft},
    lab::{Family, topology::NodeLab},
    offer::{offered, paste},
    record::Record,
    scenario::Scenario,
    tracer::{Tracer, watching},
    traffic::{Outcome, TcpAttempt, TcpServer},
};

fn confirmed() -> ExpectedVerdict {
    ExpectedVerdict::new("firewall", "confirmed")
}

/// A client outside and a pod, and a drop in the node's FORWARD.
fn forward(
    fault: impl Fn(&NodeLab, u16) -> Result<()>,
    by: &str,
    verdict: &ExpectedVerdict,
) -> Result<()> {
    let lab = NodeLab::build()?;
    let function = if by == "nft" {
        "nft_do_chain"
    } else {
        "nf_hook_slow"
    };
    Scenario::new(&lab, &lab.outside, &lab.pod_a, Family::V4)
        .fault_on_port(|port| fault(&lab, port))
        .drops(
            &ExpectedDrop::new("NETFILTER_DROP", function)
                .hook("FORWARD")
                .at(&lab.node, "eth0")
                .judged(verdict.clone()),
        )
}

#[test]
fn nft_rule_with_its_handle() -> Result<()> {
    let port = Scenario::port(Family::V4);
    forward(
        |lab, port| {
            nft(
                &lab.node,
                Chain::inet("forward"),
                &format!("tcp dport {port} drop"),
            )
        },
        "nft",
        &confirmed()
            .why("handle 3 of chain c in table inet filter_forward")
            .why(format!("`tcp dport {port} drop`"))
            .evidence("no other rule at this hook could have dropped it")
            .fix("nft insert rule inet filter_forward c position 3 ip saddr"),
    )
}

/// A rule of another table whose condition cannot be known afterwards: neither is blamed.
#[test]
fn two_rules_that_could_both_have_dropped_it() -> Result<()> {
    forward(
        |lab, port| {
            let certain = Chain::inet("forward");
            let unknowable = Chain {
                family: "ip",
                ..certain
            };
            let limit = format!("tcp dport {port} limit rate over 1000/second drop");
            nft(&lab.node, unknowable, &limit)?;
            nft(&lab.node, certain, &format!("tcp dport {port} drop"))
        },
        "nft",
        &ExpectedVerdict::new("firewall", "likely")
            .evidence("2 rules could have dropped it")
            .evidence("candidate: rule handle 3 of chain c in table inet filter_forward")
            .evidence("candidate: rule handle 3 of chain c in table ip filter_forward"),
    )
}

#[test]
fn iptables_legacy_rule_with_its_counter() -> Result<()> {
    let chain = Iptables {
        table: "filter",
        chain: "FORWARD",
    };
    forward(
        |lab, port| {
            let rule = format!("-p tcp --dport {port} -j DROP");
            chain.append(&lab.node, Family::V4, &rule)
        },
        "iptables",
        &confirmed()
            .why("rule 2 of chain FORWARD in table filter (iptables-legacy)")
            .evidence("that rule has counted 1 packet")
            .fix("iptables-legacy"),
    )
}

#[test]
fn policy_of_a_chain() -> Result<()> {
    let lab = NodeLab::build()?;
    Family::each(|family| {
        Scenario::new(&lab, &lab.outside, &lab.pod_a, family)
            .fault_on_port(|port| {
                let others = format!("tcp dport != {port} accept");
                lab.node.run_with_input(
                    "nft -f -",
                    &format!(
                        "table inet strict\n\
                         delete table inet strict\n\
                         table inet strict {{\n\
                           chain c {{\n\
                             type filter hook forward priority 0; policy drop;\n\
                             ct state established accept\n\
                             meta l4proto ipv6-icmp accept\n\
                             {others}\n\
                           }}\n\
                         }}\n"
                    ),
                )?;
                Ok(())
            })
            .drops(
                &ExpectedDrop::new("NETFILTER_DROP", "nft_do_chain")
                    .hook("FORWARD")
                    .at(&lab.node, "eth0")
                    .judged(
                        confirmed()
                            .why("drop policy of chain c in table inet strict")
                            .fix("nft add rule inet strict c "),
                    ),
            )
    })
}

/// Under the fix the same client gets through, and without it no more.
fn fix_helps(fault: impl Fn(&NodeLab, Family, u16) -> Result<()>) -> Result<()> {
    let lab = NodeLab::build()?;
    Family::each(|family| {
        let server = lab.pod_a.socket(family, Scenario::port(family));
        let _server = TcpServer::echo(&lab.pod_a, server)?;
        fault(&lab, family, server.port())?;
        let mut arguments = watching(&[&lab.node]);
        arguments.push(server.to_string());
        let mut tracer = Tracer::start(arguments)?;
        let connect = || TcpAttempt::start(&lab.outside, None, server);

        let _waits = connect()?;
        let (apply, undo) = offered(&mut tracer)?;
        let undo = undo.context("an undo")?;
        paste(&apply)?;
        let outcome = connect()?.outcome(deadline())?;
        ensure!(
            matches!(outcome, Outcome::Connected(_)),
            "{outcome:?} in spite of {apply}"
        );
        paste(&undo)?;
        let again = connect()?;
        let sport = Some(again.flow().src.port());
        tracer.wait_for("a drop after the undo", |record| match record {
            Record::Drop(drop) => drop.flow.sport == sport,
            _ => false,
        })?;
        tracer.stop().map(drop)
    })
}

#[test]
fn the_fix_of_an_nft_rule_helps() -> Result<()> {
    fix_helps(|lab, _, port| {
        let rule = format!("tcp dport {port} drop");
        nft(&lab.node, Chain::inet("forward"), &rule)
    })
}

#[test]
fn the_fix_of_an_iptables_rule_helps() -> Result<()> {
    fix_helps(|lab, family, port| {
        let chain = Iptables {
            table: "filter",
            chain: "FORWARD",
        };
        chain.append(&lab.node, family, &format!("-p tcp --dport {port} -j DROP"))
    })
}
