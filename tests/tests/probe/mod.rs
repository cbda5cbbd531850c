//! `whydrop probe`: each layer fails for a real reason, and the verdict names it; the healthy twin runs
//! the same probe before the fault, and no layer fails.

mod commands;
mod dns;
mod http;
mod ipv6;
mod lost_errors;
mod mtu;
mod overlay;
mod sent;
mod tcp;
mod tls;
mod veth;

use std::{net::IpAddr, path::PathBuf};

use anyhow::Result;
use serde_json::{Value, json};
use tempfile::TempDir;
use whydrop_tests::{
    fault::{Chain, nft},
    kube::{Objects, Pod, service},
    lab::{
        Family, Host, Lab, Namespace, Topology,
        topology::{NodeLab, RouterLab},
    },
    probe::Probe,
};

/// A probe that watches a whole lab.
fn probe(lab: &impl Topology, from: &Host, to: impl std::fmt::Display, family: Family) -> Probe {
    let namespaces: Vec<&Namespace> = lab.namespaces();
    Probe::new(from.address(family), to, &namespaces)
}

/// The router takes no more than this on the way to the server.
fn narrow(lab: &RouterLab, family: Family, mtu: u32) -> Result<()> {
    let (flag, server) = (family.flag(), lab.server.address(family));
    let route = format!("ip {flag} route replace {server} dev right mtu lock {mtu}");
    lab.router.run(&route).map(drop)
}

/// No router's word comes back.
fn lose_icmp(lab: &RouterLab, family: Family) -> Result<()> {
    let rule = family.pick(
        "icmp type destination-unreachable drop",
        "icmpv6 type packet-too-big drop",
    );
    nft(&lab.router, Chain::inet("output"), rule)
}

/// The host drops echo requests, as many clouds do.
fn ignore_echo(host: &Host) -> Result<()> {
    let rules = "icmp type echo-request drop; icmpv6 type echo-request drop";
    for rule in rules.split("; ") {
        nft(host, Chain::inet("input"), rule)?;
    }
    Ok(())
}

/// A node with the pods `shop/web`, `shop/cart-0`, `shop/cart-1` and `shop/cart-2`, of which the last is
/// the host outside.
struct Shop {
    lab: NodeLab,
    third: Host,
    directory: TempDir,
}

/// The node that all pods of the shop but the last are on.
const NODE: &str = "node-1";

impl Shop {
    fn build() -> Result<Self> {
        let lab = Lab::new()?;
        let node = NodeLab::build_in(&lab)?;
        let third = node.further_pod(&lab, "pod-c", "veth-c")?;
        // Bridged packets pass the rules for routed ones, as Kubernetes has it.
        for family in ["iptables", "ip6tables"] {
            let _ = node
                .node
                .sysctl(&format!("bridge/bridge-nf-call-{family}"), "1");
        }
        Ok(Self {
            lab: node,
            third,
            directory: TempDir::new()?,
        })
    }

    fn carts(&self) -> [&Host; 3] {
        [&self.lab.pod_b, &self.third, &self.lab.outside]
    }

    fn objects(&self, policies: Vec<Value>) -> Objects {
        let ip = |host: &Host| host.address(Family::V4);
        let mut pods = vec![Pod::new("shop/web", "app=web", ip(&self.lab.pod_a), NODE)];
        for (number, host) in self.carts().into_iter().enumerate() {
            let node = if number == 2 { "node-2" } else { NODE };
            let labels = format!("app=cart,number=n{number}");
            pods.push(Pod::new(
                &format!("shop/cart-{number}"),
                &labels,
                ip(host),
                node,
            ));
        }
        let carts = self.carts().map(ip);
        let front = self.front();
        let [one, other] = service("shop/cart", "cart", front, (&carts, PORT));
        Objects {
            pods,
            policies,
            others: vec![one, other, node_object("node-2", ip(&self.lab.outside))],
        }
    }

    /// The Service's address.
    fn front(&self) -> IpAddr {
        self.lab.cluster_ip(Family::V4)
    }

    fn write(&self, objects: &Objects) -> Result<PathBuf> {
        objects.write(self.directory.path(), "cluster.json")
    }
}

/// The port of the carts.
const PORT: u16 = 8080;

/// A node object whose only address is of no use here.
fn node_object(name: &str, _: IpAddr) -> Value {
    json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}, "status": {"addresses": []}})
}
