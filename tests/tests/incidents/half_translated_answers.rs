//! A node asks a Service whose endpoint is a pod behind its own bridge, and kube-proxy masquerades that. With
//! `bridge-nf-call-iptables`, as each Kubernetes node has it, the answer is half translated where the node
//! gets it: it goes to the node's own address already, and comes from the pod's still.

use anyhow::{Result, ensure};
use whydrop_tests::{
    expected::ExpectedVerdict,
    incident::{Report, Stage},
    record::{Outcome, Record},
    traffic::DnsQuery,
};

const SERVICE: &str = "10.20.96.10:53";

/// The pod `a` behind `cni0`, and a host at the node's uplink.
fn node() -> Result<Stage> {
    let stage = Stage::new(["node", "a", "host"])?;
    stage.ip("node", "link add cni0 type bridge; link set cni0 up")?;
    stage.veth(("a", "eth0"), ("node", "va"))?;
    stage.veth(("host", "eth0"), ("node", "eth0"))?;
    stage.ip(
        "node",
        "link set va master cni0; addr add 10.20.1.1/24 dev cni0; addr add 10.20.10.5/24 dev eth0; \
         route add default via 10.20.10.1",
    )?;
    stage.ip("host", "addr add 10.20.10.1/24 dev eth0")?;
    stage.ip(
        "a",
        "addr add 10.20.1.2/24 dev eth0; route add default via 10.20.1.1",
    )?;
    stage.sysctl("node", "net.bridge.bridge-nf-call-iptables=1")?;
    stage.exec(
        "node",
        "iptables -t nat -N KUBE-SERVICES
         iptables -t nat -A OUTPUT -j KUBE-SERVICES
         iptables -t nat -A KUBE-SERVICES -p udp -d 10.20.96.10 --dport 53 -j DNAT --to 10.20.1.2:53
         iptables -t nat -A POSTROUTING -o cni0 -j MASQUERADE --random-fully",
    )?;
    Ok(stage)
}

/// The node's queries. It is not known by which port of the bridge's they go.
fn ask(stage: &Stage, roles: &'static [&'static str]) -> Result<Report> {
    stage.trace(roles.iter().copied(), "--all --answered", |watch| {
        let _query =
            DnsQuery::send_from(stage.namespace("node"), 0, SERVICE.parse()?, "shop.example")?;
        let is_end = |record: &Record| matches!(record, Record::Attempt(_));
        watch.until("the end of the query", is_end)
    })
}

/// Also where no pod is watched.
#[test]
fn dns_of_the_node_is_answered() -> Result<()> {
    let stage = node()?;
    stage.serve_dns("a", "10.20.1.2:53")?;
    for roles in [&["node", "a"][..], &["node"]] {
        let report = ask(&stage, roles)?;
        let attempts = &report.silent()?.trace().summary.attempts;
        ensure!(attempts.get(&Outcome::Answered) == Some(&1), "{report}");
        ensure!(attempts.len() == 1, "{report}");
    }
    Ok(())
}

/// A rule drops the answer as the node gets it.
#[test]
fn answer_is_dropped() -> Result<()> {
    let stage = node()?;
    stage.serve_dns("a", "10.20.1.2:53")?;
    stage.exec(
        "node",
        "iptables -A INPUT -i cni0 -p udp --sport 53 -j DROP",
    )?;
    ask(&stage, &["node", "a"])?.verdict(
        &ExpectedVerdict::new("firewall", "confirmed")
            .why("INPUT")
            .fix("iptables"),
    )?;
    Ok(())
}
