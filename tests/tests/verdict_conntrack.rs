//! Packets that conntrack has no connection for, and no room.

use std::net::SocketAddr;

use anyhow::Result;
use socket2::{Domain, Protocol, Socket, Type};
use whydrop_tests::{
    deadline,
    expected::{ExpectedDrop, ExpectedVerdict},
    fault::{Chain, fill_conntrack, nft},
    lab::{Family, topology::NodeLab},
    scenario::Scenario,
    tracer::{Tracer, watching},
    traffic::{TcpAttempt, TcpServer},
};

/// A SYN-ACK without a SYN.
fn stray_syn_ack(lab: &NodeLab, target: SocketAddr) -> Result<()> {
    let socket = lab.outside.enter(|| {
        let kind = Type::RAW;
        Socket::new(Domain::IPV4, kind, Some(Protocol::TCP))
    })?;
    let mut segment = [0; 20];
    segment[..2].copy_from_slice(&4242_u16.to_be_bytes());
    segment[2..4].copy_from_slice(&target.port().to_be_bytes());
    segment[12] = 0x50;
    segment[13] = 0x12;
    segment[14] = 0xff;
    socket.send_to(&segment, &SocketAddr::new(target.ip(), 0).into())?;
    Ok(())
}

#[test]
fn packet_of_no_connection() -> Result<()> {
    let lab = NodeLab::build()?;
    let server = lab.pod_a.socket(Family::V4, 8080);
    let _server = TcpServer::echo(&lab.pod_a, server)?;
    let rules = "*filter\n:KUBE-FORWARD - [0:0]\n\
        -A FORWARD -m comment --comment \"kubernetes forwarding rules\" -j KUBE-FORWARD\n\
        -A KUBE-FORWARD -m conntrack --ctstate INVALID -j DROP\nCOMMIT\n";
    lab.node.run_with_input("iptables-nft-restore", rules)?;
    // The stray packet's checksum is not filled in; it is to be invalid for its state alone.
    lab.node.sysctl("netfilter/nf_conntrack_checksum", "0")?;
    let mut arguments = watching(&[&lab.node]);
    arguments.push(server.to_string());
    let mut tracer = Tracer::start(arguments)?;
    let _connected = TcpAttempt::start(&lab.outside, None, server)?.outcome(deadline())?;
    stray_syn_ack(&lab, server)?;
    let record = tracer.wait_for("the drop of a stray packet", |record| {
        record.as_drop().is_some()
    })?;
    let drop = record.as_drop().expect("a drop was waited for");
    let judged = ExpectedVerdict::new("conntrack", "confirmed")
        .why("conntrack calls the packet invalid")
        .why("chain KUBE-FORWARD in table filter (iptables-nft)")
        // Never a rule that accepts what conntrack calls invalid.
        .fix("both directions have to pass this node");
    if let Some(mismatch) = judged.mismatch(&drop.verdict) {
        anyhow::bail!(mismatch);
    }
    anyhow::ensure!(drop.flow.sport == Some(4242), "{drop:?}");
    let trace = tracer.stop()?;
    anyhow::ensure!(trace.drops().count() == 1, "more than the stray packet");
    Ok(())
}

/// Tracking is on, since a rule asks for states, and every entry is in use.
#[test]
fn full_table() -> Result<()> {
    let lab = NodeLab::build()?;
    let rule = "ct state established,related accept";
    nft(&lab.node, Chain::inet("forward"), rule)?;
    let limit = lab
        .node
        .run("cat /proc/sys/net/netfilter/nf_conntrack_max")?;
    let limit = limit.trim();
    Scenario::new(&lab, &lab.outside, &lab.pod_a, Family::V4)
        .fault(|| fill_conntrack(&lab.node))
        .drops(
            &ExpectedDrop::new("NETFILTER_DROP", "nf_hook_slow")
                .hook("PREROUTING")
                .at(&lab.node, "eth0")
                .judged(
                    ExpectedVerdict::new("conntrack", "confirmed")
                        .why("the conntrack table is full")
                        .evidence(format!("{limit} of {limit} entries are in use"))
                        .evidence("conntrack has refused")
                        .evidence("no rule at this hook could have dropped it")
                        .fix("sysctl -w net.netfilter.nf_conntrack_max=")
                        .fix("  # on the host"),
                ),
        )
}
