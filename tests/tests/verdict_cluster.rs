//! Verdicts under the rules of a real cluster: recorded on its nodes, loaded into a lab that has
//! the same addresses. What those rules admit is the healthy twin of what they refuse.

use std::net::{IpAddr, SocketAddr};

use anyhow::Result;
use whydrop_tests::{
    expected::{ExpectedDrop, ExpectedVerdict},
    lab::{Family, Namespace, topology::ClusterLab},
    recording::{self, RecordedNode},
    scenario::{End, Scenario},
};

/// The port of the pod `prod/server` that a policy admits `prod/client-ok` to.
const WEB: u16 = 8080;
/// The Service `prod/server`, its port `web`.
const SERVER: [u8; 4] = [10, 96, 221, 110];
/// The Service `prod/empty`, which has no endpoints.
const EMPTY: [u8; 4] = [10, 96, 146, 90];
/// The pods that the policy of `prod/server` admits.
const ADMITTED: &str = "KUBE-SRC-DUTBPP6TJNYTZPKL";

/// An enforcement drop in the node's FORWARD.
fn refused(namespace: &Namespace, ifname: &str, judged: ExpectedVerdict) -> ExpectedDrop {
    ExpectedDrop::new("NETFILTER_DROP", "nft_do_chain")
        .hook("FORWARD")
        .at(namespace, ifname)
        .judged(judged)
}

/// Enforcement of kube-router's, for this pod and by this chain.
fn policy(pod: &str, chain: &str) -> ExpectedVerdict {
    ExpectedVerdict::new("policy", "confirmed")
        .why(format!(
            "a network policy rule of kube-router for the pod {pod} refuses it"
        ))
        .evidence(format!("chain {chain}: "))
        .evidence(format!("{pod} reject"))
        .evidence("no other rule at this hook could have dropped it")
}

/// kube-proxy's word on a Service.
fn no_endpoints(place: &str) -> ExpectedVerdict {
    ExpectedVerdict::new("endpoint", "confirmed")
        .why("the Service prod/empty has no endpoints")
        .why(place)
        .evidence("no other rule at this hook could have dropped it")
}

/// From the other node: `prod/client-ok` is admitted, another pod is not.
fn from_the_other_node(recorded: RecordedNode, chain: &str) -> Result<()> {
    let lab = ClusterLab::build(recorded)?;
    Scenario::new(&lab, &lab.peer, &lab.pod, Family::V4)
        .listening_on(WEB)
        .fault(|| Ok(()))
        .from(lab.unknown_peer())
        .ends(End::Refused)
        .drops(&refused(
            &lab.node,
            "eth0",
            policy("prod/server", chain)
                .policies(["prod/default-deny", "prod/server-allow-ok-8080"]),
        ))
}

/// On the same node, by the bridge: a pod is admitted until the policy no longer selects it.
fn on_the_same_node(
    recorded: RecordedNode,
    chain: &str,
    select: impl Fn(&Namespace, &str, IpAddr) -> Result<()>,
) -> Result<()> {
    let lab = ClusterLab::build(recorded)?;
    let other = lab.other.address(Family::V4);
    select(&lab.node, "add", other)?;
    Scenario::new(&lab, &lab.other, &lab.pod, Family::V4)
        .listening_on(WEB)
        .fault(|| select(&lab.node, "delete", other))
        .ends(End::Refused)
        .drops(&refused(&lab.node, "veth-a", policy("prod/server", chain)))
}

#[test]
fn kube_router_by_iptables_from_the_other_node() -> Result<()> {
    from_the_other_node(
        RecordedNode::N1Iptables,
        "KUBE-POD-FW-TDFRLRE4QCQVYMIA in table filter (iptables-nft)",
    )
}

#[test]
fn kube_router_by_nftables_from_the_other_node() -> Result<()> {
    from_the_other_node(
        RecordedNode::N1,
        "KUBE-POD-FW-A4PCJ4B547ZC23LP in table ip kube-router-filter-ipv4",
    )
}

#[test]
fn kube_router_by_iptables_on_the_same_node() -> Result<()> {
    on_the_same_node(
        RecordedNode::N1Iptables,
        "KUBE-POD-FW-TDFRLRE4QCQVYMIA in table filter (iptables-nft)",
        |node, verb, address| {
            let verb = if verb == "delete" { "del" } else { verb };
            node.run(&format!("ipset {verb} {ADMITTED} {address}"))
                .map(drop)
        },
    )
}

#[test]
fn kube_router_by_nftables_on_the_same_node() -> Result<()> {
    on_the_same_node(
        RecordedNode::N1,
        "KUBE-POD-FW-A4PCJ4B547ZC23LP in table ip kube-router-filter-ipv4",
        |node, verb, address| {
            let table = "ip kube-router-filter-ipv4";
            let element = format!("{verb} element {table} {ADMITTED} {{ {address} }}");
            node.run_with_input("nft -f -", &element).map(drop)
        },
    )
}

/// The other direction: by the policies of n2, its pod may open no connection at all.
#[test]
fn kube_router_by_nftables_refuses_egress() -> Result<()> {
    let lab = ClusterLab::build(RecordedNode::N2)?;
    let chain = "KUBE-POD-FW-U2AQA4CAY7WDNAJR in table ip kube-router-filter-ipv4";
    Scenario::new(&lab, &lab.pod, &lab.peer, Family::V4)
        .fault(|| recording::load_policies_of_n2(&lab.node))
        .ends(End::Refused)
        .drops(&refused(&lab.node, "cni0", policy("prod/client-ok", chain)))
}

/// A Service works as long as it has an endpoint; the rules as recorded are those without one.
#[test]
fn kube_proxy_by_iptables_has_no_endpoints() -> Result<()> {
    let lab = ClusterLab::build(RecordedNode::N1Iptables)?;
    let node = &lab.node;
    let service = SocketAddr::from((EMPTY, 80));
    let of_service = format!("-d {}/32 -p tcp --dport 80", service.ip());
    let server = "KUBE-SEP-UCLD2S3O5TMUDN2A";
    node.run("iptables-nft -F KUBE-SERVICES")?;
    node.run(&format!(
        "iptables-nft -t nat -I KUBE-SERVICES {of_service} -j {server}"
    ))?;
    Scenario::new(&lab, &lab.peer, &lab.pod, Family::V4)
        .listening_on(WEB)
        .dial(service)
        .fault(|| recording::load_iptables(node, RecordedNode::N1Iptables))
        .ends(End::Refused)
        .drops(&refused(
            node,
            "eth0",
            no_endpoints("chain KUBE-SERVICES in table filter (iptables-nft)"),
        ))
}

/// The same by nftables: a verdict map leads to a chain that rejects for all such Services.
#[test]
fn kube_proxy_by_nftables_has_no_endpoints() -> Result<()> {
    let lab = ClusterLab::build(RecordedNode::N2)?;
    let service = SocketAddr::from((EMPTY, 80));
    let key = format!("{} . tcp . 80", service.ip());
    let has_none =
        format!("no-endpoint-services {{ {key} comment \"prod/empty\" : goto reject-chain }}");
    let has_one = format!("service-ips {{ {key} : goto service-XTXSSZAS-prod/server/tcp/web }}");
    let change = |to_delete: &str, to_add: &str| {
        let change = format!(
            "delete element ip kube-proxy {to_delete}\nadd element ip kube-proxy {to_add}\n"
        );
        lab.node.run_with_input("nft -f -", &change).map(drop)
    };
    change(&has_none, &has_one)?;
    Scenario::new(&lab, &lab.other, &lab.peer, Family::V4)
        .listening_on(WEB)
        .dial(service)
        .fault(|| change(&has_one, &has_none))
        .ends(End::Refused)
        .drops(&refused(
            &lab.node,
            "cni0",
            no_endpoints("chain reject-chain in table ip kube-proxy"),
        ))
}

/// The Service exists, and has no such port.
#[test]
fn kube_proxy_by_nftables_has_no_such_port() -> Result<()> {
    let lab = ClusterLab::build(RecordedNode::N2)?;
    let service = SocketAddr::from((SERVER, 81));
    let has_it = format!(
        "element ip kube-proxy service-ips {{ {} . tcp . 81 : goto \
         service-XTXSSZAS-prod/server/tcp/web }}",
        service.ip()
    );
    let change = |verb: &str| {
        let change = format!("{verb} {has_it}");
        lab.node.run_with_input("nft -f -", &change).map(drop)
    };
    change("add")?;
    Scenario::new(&lab, &lab.other, &lab.peer, Family::V4)
        .listening_on(WEB)
        .dial(service)
        .fault(|| change("delete"))
        .ends(End::Refused)
        .drops(&refused(
            &lab.node,
            "cni0",
            ExpectedVerdict::new("endpoint", "confirmed")
                .why("no Service has this address and port")
                .why("chain cluster-ips-check in table ip kube-proxy"),
        ))
}
