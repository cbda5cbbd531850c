//! A node: two pods on a bridge, and a host outside.

use anyhow::Result;

use super::{Hint, Topology};
use crate::lab::{AddressPlan, Bridge, Family, Host, Lab, Namespace, VethPair};

/// ```text
#[doc = include_str!("node.txt")]
/// ```
pub struct NodeLab {
    /// The node; known by the address of its uplink.
    pub node: Host,
    /// A pod behind `veth-a`.
    pub pod_a: Host,
    /// A pod behind `veth-b`.
    pub pod_b: Host,
    /// A host at the other end of the node's `eth0`, which routes the pods' subnet to the node.
    pub outside: Host,
    plan: AddressPlan,
}

impl NodeLab {
    const UPLINK: u8 = 0;
    const PODS: u8 = 1;
    const ROUTED: u8 = 2;

    /// Builds it.
    pub fn build() -> Result<Self> {
        Self::build_in(&Lab::new()?)
    }

    /// Builds it in a given lab.
    pub fn build_in(lab: &Lab) -> Result<Self> {
        let plan = lab.plan();
        let node = lab.namespace("node")?;
        let outside = lab.namespace("outside")?;
        node.forward()?;
        VethPair {
            a: (&node, "eth0"),
            b: (&outside, "eth0"),
        }
        .create()?;

        let bridge = Bridge {
            namespace: &node,
            name: "cni0",
        };
        bridge.create()?;
        node.add_addresses("cni0", plan, Self::PODS, 1)?;
        let pod_a = pod(lab, &bridge, "pod-a", "veth-a", 11)?;
        let pod_b = pod(lab, &bridge, "pod-b", "veth-b", 12)?;

        let node = Host::new(node, "eth0", plan, Self::UPLINK, 1)?;
        let outside = Host::new(outside, "eth0", plan, Self::UPLINK, 9)?;
        outside.default_route(|family| node.address(family))?;

        let lab = Self {
            node,
            pod_a,
            pod_b,
            outside,
            plan,
        };
        lab.namespaces()
            .into_iter()
            .try_for_each(Namespace::settle)?;
        Ok(lab)
    }

    /// A further pod on the bridge, in the same lab.
    pub fn further_pod(&self, lab: &Lab, role: &str, veth: &str) -> Result<Host> {
        let bridge = Bridge {
            namespace: &self.node,
            name: "cni0",
        };
        let pod = pod(lab, &bridge, role, veth, 13)?;
        pod.settle()?;
        self.node.settle()?;
        Ok(pod)
    }

    /// A further pod in the same lab, behind an interface of the node's that no bridge has: packets
    /// to it are routed, as Calico does it.
    pub fn routed_pod(&self, lab: &Lab, ifname: &str) -> Result<Host> {
        let namespace = lab.namespace("routed")?;
        VethPair {
            a: (&self.node, ifname),
            b: (&namespace, "eth0"),
        }
        .create()?;
        self.node
            .add_addresses(ifname, self.plan, Self::ROUTED, 1)?;
        let pod = Host::new(namespace, "eth0", self.plan, Self::ROUTED, 11)?;
        pod.default_route(|family| self.plan.address(family, Self::ROUTED, 1))?;
        pod.settle()?;
        self.node.settle()?;
        Ok(pod)
    }

    /// An address in the Service range: no interface has it, and traffic to it goes to the node.
    pub fn cluster_ip(&self, family: Family) -> std::net::IpAddr {
        self.plan.address(family, 96, 10)
    }
}

fn pod(lab: &Lab, bridge: &Bridge<'_>, role: &str, veth: &str, host: u8) -> Result<Host> {
    let plan = lab.plan();
    let namespace = lab.namespace(role)?;
    VethPair {
        a: (bridge.namespace, veth),
        b: (&namespace, "eth0"),
    }
    .create()?;
    bridge.add_port(veth)?;
    let pod = Host::new(namespace, "eth0", plan, NodeLab::PODS, host)?;
    pod.default_route(|family| plan.address(family, NodeLab::PODS, 1))?;
    Ok(pod)
}

impl Topology for NodeLab {
    fn drawing(&self) -> &'static str {
        include_str!("node.txt")
    }

    fn namespaces(&self) -> Vec<&Namespace> {
        vec![&self.node, &self.pod_a, &self.pod_b, &self.outside]
    }

    fn hints(&self) -> Vec<Hint> {
        let pod = self.pod_a.address(Family::V4);
        vec![
            Hint::connect(&self.outside, "a closed port: refused", pod),
            Hint::inside(
                &self.node,
                "a firewall rule: the same is silent now",
                "iptables-legacy -A FORWARD -p tcp --dport 8080 -j DROP",
            ),
            Hint::connect(&self.outside, "and again", pod),
            Hint::inside(
                &self.pod_b,
                "a pod that is gone: its address answers no ARP",
                "ip link set eth0 down",
            ),
            Hint::connect(&self.outside, "ask for it", self.pod_b.address(Family::V4)),
        ]
    }
}
