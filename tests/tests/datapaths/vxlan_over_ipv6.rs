//! VXLAN between two nodes whose own addresses are of IPv6.

use anyhow::Result;
use whydrop_tests::{
    expected::ExpectedVerdict,
    incident::{End, Stage},
};

const SERVER: &str = "10.21.2.2:8080";
const ALL: [&str; 4] = ["p1", "n1", "n2", "p2"];

/// Two nodes with a pod on each.
fn stage() -> Result<Stage> {
    let stage = Stage::with_ipv6(ALL)?;
    stage.veth(("n1", "eth0"), ("n2", "eth0"))?;
    for (own, other) in [(1, 2), (2, 1)] {
        let (node, pod) = (format!("n{own}"), format!("p{own}"));
        stage.veth((&pod, "eth0"), (&node, "v"))?;
        stage.ip(
            &pod,
            &format!("addr add 10.21.{own}.2/24 dev eth0; route add default via 10.21.{own}.1"),
        )?;
        stage.ip(
            &node,
            &format!(
                "addr add fd00:10::{own}/64 dev eth0 nodad; addr add 10.21.{own}.1/24 dev v
                 link add vx0 address 02:00:00:00:00:0{own} type vxlan id 7 dstport 4789 local \
                 fd00:10::{own} remote fd00:10::{other} dev eth0
                 link set vx0 up; addr add 10.21.{own}.1/32 dev vx0
                 neigh add 10.21.{other}.1 lladdr 02:00:00:00:00:0{other} dev vx0
                 route add 10.21.{other}.0/24 via 10.21.{other}.1 dev vx0 onlink"
            ),
        )?;
        stage.sysctl(&node, "net.ipv4.ip_forward=1")?;
    }
    stage.serve("p2", SERVER)?;
    Ok(stage)
}

#[test]
fn healthy() -> Result<()> {
    let report = stage()?.trace(ALL, SERVER, |watch| {
        watch.dial("p1", SERVER)?.ends(End::Answered)
    })?;
    report.silent().map(drop)
}

fn blocked(node: &str, hook: &str, roles: [&'static str; 2]) -> Result<()> {
    let stage = stage()?;
    let chain = format!("type filter hook {hook} priority 0; udp dport 4789 drop;");
    stage.exec(
        node,
        &format!("nft 'table ip6 own {{ chain c {{ {chain} }}; }}'"),
    )?;
    let report = stage.trace(roles, SERVER, |watch| watch.dial("p1", SERVER))?;
    report.verdict(
        &ExpectedVerdict::new("overlay", "confirmed")
            .why(format!(
                "drops the overlay's own packets in {}: `udp dport 4789 drop`",
                hook.to_uppercase()
            ))
            .fix("ip6 saddr fd00:10::1 ip6 daddr fd00:10::2 udp dport 4789"),
    )?;
    Ok(())
}

#[test]
fn blocked_where_it_leaves() -> Result<()> {
    blocked("n1", "output", ["p1", "n1"])
}

#[test]
fn blocked_where_it_arrives() -> Result<()> {
    blocked("n2", "input", ["n2", "p2"])
}

#[test]
fn no_device_at_the_other_node() -> Result<()> {
    let stage = stage()?;
    stage.ip("n2", "link set vx0 down")?;
    let report = stage.trace(["n2", "p2"], SERVER, |watch| watch.dial("p1", SERVER))?;
    report.verdict(
        &ExpectedVerdict::any_of(["overlay"])
            .at_least("likely")
            .why("no tunnel device listens for the encapsulated packet here")
            .evidence("vx0 is down")
            .fix("ip link set dev vx0 up"),
    )?;
    Ok(())
}
