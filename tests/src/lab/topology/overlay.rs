//! Two nodes with a pod each, and VXLAN between them.

use std::net::IpAddr;

use anyhow::Result;

use super::{Hint, Topology};
use crate::lab::{AddressPlan, Bridge, Family, Host, Lab, Namespace, VethPair, Vxlan};

/// What lies between the nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Underlay {
    /// A cable.
    Direct,
    /// A router, with interfaces `left` and `right`.
    Routed,
}

/// ```text
#[doc = include_str!("overlay.txt")]
/// ```
pub struct OverlayLab {
    /// The nodes.
    pub nodes: [OverlayNode; 2],
    /// The router between them, if there is one.
    pub underlay: Option<Namespace>,
    /// The outer UDP port.
    pub port: u16,
    plan: AddressPlan,
}

/// One of the two nodes, with its pod.
pub struct OverlayNode {
    /// The node; known by its address in the underlay.
    pub node: Host,
    /// The pod on it.
    pub pod: Host,
    number: u8,
}

impl OverlayLab {
    /// The VXLAN device's name on both nodes.
    pub const VXLAN: &'static str = "vxlan10";
    /// The network identifier.
    pub const VNI: u32 = 10;
    /// The outer UDP port of the standard (RFC 7348).
    pub const PORT: u16 = 4789;
    /// The outer UDP port of Linux, which Flannel keeps.
    pub const LINUX_PORT: u16 = 8472;

    /// Builds it.
    pub fn build(underlay: Underlay) -> Result<Self> {
        Self::build_in(&Lab::new()?, underlay)
    }

    /// Builds it with another outer UDP port.
    pub fn on_port(underlay: Underlay, port: u16) -> Result<Self> {
        Self::build_with(&Lab::new()?, underlay, port)
    }

    /// Builds it in a given lab.
    pub fn build_in(lab: &Lab, underlay: Underlay) -> Result<Self> {
        Self::build_with(lab, underlay, Self::PORT)
    }

    fn build_with(lab: &Lab, underlay: Underlay, port: u16) -> Result<Self> {
        let plan = lab.plan();
        let first = lab.namespace("node-1")?;
        let second = lab.namespace("node-2")?;
        let router = connect(lab, underlay, &first, &second)?;
        let right = underlay_subnet(underlay, 2);
        let first = Host::new(first, "eth0", plan, underlay_subnet(underlay, 1), 1)?;
        let second = Host::new(second, "eth0", plan, right, 2)?;
        if router.is_some() {
            first.default_route(|family| plan.address(family, 100, 254))?;
            second.default_route(|family| plan.address(family, 101, 254))?;
        }

        let lab = Self {
            nodes: [
                OverlayNode::build(lab, first, 1)?,
                OverlayNode::build(lab, second, 2)?,
            ],
            underlay: router,
            port,
            plan,
        };
        lab.overlay(0, Self::VNI)?;
        lab.overlay(1, Self::VNI)?;
        lab.namespaces()
            .into_iter()
            .try_for_each(Namespace::settle)?;
        Ok(lab)
    }

    /// The address of a node's tunnel device: 0 or 1.
    pub fn tunnel_address(&self, index: usize, family: Family) -> IpAddr {
        self.gateway(family, &self.nodes[index])
    }

    /// Builds (or rebuilds, with another identifier) the VXLAN device of a node: 0 or 1.
    pub fn overlay(&self, index: usize, vni: u32) -> Result<()> {
        let here = &self.nodes[index];
        let there = &self.nodes[1 - index];
        let node = &here.node;
        let name = Self::VXLAN;
        if node.run(&format!("ip link show dev {name}")).is_ok() {
            node.run(&format!("ip link delete dev {name}"))?;
        }

        let vxlan = Vxlan {
            namespace: node,
            name,
            vni,
            port: self.port,
            local: node.address(Family::V4),
            mac: &here.mac(),
        };
        vxlan.create()?;
        node.add_addresses(name, self.plan, 200, here.number)?;
        vxlan.add_peer(
            &there.mac(),
            there.node.address(Family::V4),
            Family::BOTH.map(|family| self.gateway(family, there)),
        )?;
        for family in Family::BOTH {
            let pods = self.plan.subnet(family, there.number);
            let gateway = self.gateway(family, there);
            node.run(&format!("ip route add {pods} via {gateway} dev {name}"))?;
        }
        node.settle()
    }

    /// A further pod in the same lab, beside the one on the first node.
    pub fn second_pod(&self, lab: &Lab) -> Result<Host> {
        let here = &self.nodes[0];
        let pod = add_pod(lab, &here.node, "pod-b", "veth-b", here.number, 12)?;
        pod.settle()?;
        here.node.settle()?;
        Ok(pod)
    }

    fn gateway(&self, family: Family, node: &OverlayNode) -> IpAddr {
        self.plan.address(family, 200, node.number)
    }
}

impl OverlayNode {
    fn build(lab: &Lab, node: Host, number: u8) -> Result<Self> {
        let plan = lab.plan();
        node.forward()?;
        let bridge = Bridge {
            namespace: &node,
            name: "cni0",
        };
        bridge.create()?;
        node.add_addresses("cni0", plan, number, 1)?;

        let pod = add_pod(lab, &node, &format!("pod-{number}"), "veth-a", number, 11)?;
        Ok(Self { node, pod, number })
    }

    /// The MAC address of its tunnel device.
    pub fn mac(&self) -> String {
        format!("02:00:00:00:0a:{:02x}", self.number)
    }
}

fn add_pod(
    lab: &Lab,
    node: &Namespace,
    role: &str,
    veth: &str,
    subnet: u8,
    host: u8,
) -> Result<Host> {
    let plan = lab.plan();
    let pod = lab.namespace(role)?;
    VethPair {
        a: (node, veth),
        b: (&pod, "eth0"),
    }
    .create()?;
    Bridge {
        namespace: node,
        name: "cni0",
    }
    .add_port(veth)?;
    // Everything beyond the node travels inside VXLAN.
    pod.run("ip link set dev eth0 mtu 1450")?;
    let pod = Host::new(pod, "eth0", plan, subnet, host)?;
    pod.default_route(|family| plan.address(family, subnet, 1))?;
    Ok(pod)
}

fn underlay_subnet(underlay: Underlay, node: u8) -> u8 {
    match (underlay, node) {
        (Underlay::Routed, 2) => 101,
        _ => 100,
    }
}

/// Lays the cable between the nodes, or both cables to the router between them.
fn connect(
    lab: &Lab,
    underlay: Underlay,
    first: &Namespace,
    second: &Namespace,
) -> Result<Option<Namespace>> {
    if underlay == Underlay::Direct {
        VethPair {
            a: (first, "eth0"),
            b: (second, "eth0"),
        }
        .create()?;
        return Ok(None);
    }
    let router = lab.namespace("underlay")?;
    router.forward()?;
    for (ifname, node, subnet) in [("left", first, 100), ("right", second, 101)] {
        VethPair {
            a: (&router, ifname),
            b: (node, "eth0"),
        }
        .create()?;
        router.add_addresses(ifname, lab.plan(), subnet, 254)?;
    }
    Ok(Some(router))
}

impl Topology for OverlayLab {
    fn drawing(&self) -> &'static str {
        include_str!("overlay.txt")
    }

    fn namespaces(&self) -> Vec<&Namespace> {
        let [first, second] = &self.nodes;
        let mut all = vec![first.node.namespace(), second.node.namespace()];
        all.extend(&self.underlay);
        all.extend([first.pod.namespace(), second.pod.namespace()]);
        all
    }

    fn hints(&self) -> Vec<Hint> {
        let [first, second] = &self.nodes;
        let pod = second.pod.address(Family::V4);
        vec![
            Hint::connect(
                &first.pod,
                "a closed port, through the overlay: refused",
                pod,
            ),
            Hint::inside(
                &second.node,
                "a firewall that does not let VXLAN in",
                "iptables-legacy -A INPUT -p udp --dport 4789 -j DROP",
            ),
            Hint::connect(&first.pod, "and again: silence", pod),
        ]
    }
}
