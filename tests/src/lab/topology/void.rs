//! A node whose uplink leads into silence.

use std::net::IpAddr;

use anyhow::Result;

use super::{Hint, Topology};
use crate::{
    lab::{AddressPlan, Bridge, Family, Host, Lab, Namespace, VethPair},
    sink::Sink,
};

/// ```text
#[doc = include_str!("void.txt")]
/// ```
///
/// What a security group or a remote firewall looks like from a node: packets leave, no drop is
/// recorded anywhere on this machine, and nothing comes back.
pub struct VoidLab {
    /// The node; known by the address of its uplink.
    pub node: Host,
    /// The pod.
    pub pod: Host,
    /// What swallows everything that leaves through `eth0`.
    pub sink: Sink,
    plan: AddressPlan,
}

impl VoidLab {
    /// Builds it.
    pub fn build() -> Result<Self> {
        Self::build_in(&Lab::new()?)
    }

    /// Builds it in a given lab.
    pub fn build_in(lab: &Lab) -> Result<Self> {
        let plan = lab.plan();
        let node = lab.namespace("node")?;
        node.forward()?;
        let sink = Sink::create(&node, "eth0")?;
        let bridge = Bridge {
            namespace: &node,
            name: "cni0",
        };
        bridge.create()?;
        node.add_addresses("cni0", plan, 1, 1)?;

        let pod = lab.namespace("pod")?;
        VethPair {
            a: (&node, "veth-a"),
            b: (&pod, "eth0"),
        }
        .create()?;
        bridge.add_port("veth-a")?;
        let pod = Host::new(pod, "eth0", plan, 1, 11)?;
        pod.default_route(|family| plan.address(family, 1, 1))?;
        let node = Host::new(node, "eth0", plan, 0, 1)?;
        for family in Family::BOTH {
            node.run(&format!("ip {} route add default dev eth0", family.flag()))?;
        }

        let lab = Self {
            node,
            pod,
            sink,
            plan,
        };
        lab.namespaces()
            .into_iter()
            .try_for_each(Namespace::settle)?;
        Ok(lab)
    }

    /// An address beyond the uplink.
    pub fn far_address(&self, family: Family) -> IpAddr {
        self.plan.address(family, 88, 8)
    }
}

impl Topology for VoidLab {
    fn drawing(&self) -> &'static str {
        include_str!("void.txt")
    }

    fn namespaces(&self) -> Vec<&Namespace> {
        vec![&self.node, &self.pod]
    }

    fn hints(&self) -> Vec<Hint> {
        vec![Hint::connect(
            &self.pod,
            "it leaves the node, and no answer ever comes back",
            self.far_address(Family::V4),
        )]
    }
}
