//! A node of the recorded cluster, with the addresses that its rules know.

use std::net::IpAddr;

use anyhow::Result;

use super::{Hint, Topology};
use crate::{
    lab::{AddressPlan, Bridge, Family, Host, Lab, Namespace, VethPair},
    recording::{self, RecordedNode},
};

/// ```text
#[doc = include_str!("cluster.txt")]
/// ```
///
/// The other node stands for its pods too: they speak from there.
pub struct ClusterLab {
    /// The node, with the recorded rules.
    pub node: Host,
    /// The pod that the recording knows to be on this node.
    pub pod: Host,
    /// A pod beside it, of which the rules know nothing.
    pub other: Host,
    /// The other node; known by the address of the recorded pod on it.
    pub peer: Host,
    peer_number: u8,
}

/// Addresses of pods, on node N: `10.244.N.0/24`.
const PODS: u8 = 244;
/// Addresses of nodes.
const NODES: u8 = 88;

impl ClusterLab {
    /// Builds one of the nodes, and loads its recorded rules.
    pub fn build(recorded: RecordedNode) -> Result<Self> {
        let lab = Self::without_rules(&Lab::new()?, recorded)?;
        recording::load(&lab.node, recorded)?;
        Ok(lab)
    }

    fn without_rules(lab: &Lab, recorded: RecordedNode) -> Result<Self> {
        let (pods, nodes) = (AddressPlan::numbered(PODS), AddressPlan::numbered(NODES));
        let number = recorded.number();
        let peer_number = 3 - number;
        let node = lab.namespace("node")?;
        let peer = lab.namespace("peer")?;
        node.forward()?;
        VethPair {
            a: (&node, "eth0"),
            b: (&peer, "eth0"),
        }
        .create()?;

        let bridge = Bridge {
            namespace: &node,
            name: "cni0",
        };
        bridge.create()?;
        node.add_addresses("cni0", pods, number, 1)?;
        let pod = |role, veth, host| -> Result<Host> {
            let namespace = lab.namespace(role)?;
            VethPair {
                a: (bridge.namespace, veth),
                b: (&namespace, "eth0"),
            }
            .create()?;
            bridge.add_port(veth)?;
            let pod = Host::new(namespace, "eth0", pods, number, host)?;
            pod.default_route(|family| pods.address(family, number, 1))?;
            Ok(pod)
        };
        let (pod, other) = (pod("pod", "veth-a", 2)?, pod("other", "veth-b", 3)?);

        let node = Host::new(node, "eth0", nodes, 0, 10 + number)?;
        peer.add_addresses("eth0", nodes, 0, 10 + peer_number)?;
        let peer = Host::new(peer, "eth0", pods, peer_number, 2)?;
        peer.add_addresses("eth0", pods, peer_number, 3)?;
        for family in Family::BOTH {
            // It sends from the address of the pod by default.
            peer.run(&format!(
                "ip {} route add default via {} src {}",
                family.flag(),
                node.address(family),
                peer.address(family)
            ))?;
        }
        node.default_route(|family| nodes.address(family, 0, 10 + peer_number))?;

        let lab = Self {
            node,
            pod,
            other,
            peer,
            peer_number,
        };
        lab.namespaces()
            .into_iter()
            .try_for_each(Namespace::settle)?;
        Ok(lab)
    }

    /// The address of a pod on the other node that no recorded rule admits.
    pub fn unknown_peer(&self) -> IpAddr {
        AddressPlan::numbered(PODS).address(Family::V4, self.peer_number, 3)
    }
}

impl Topology for ClusterLab {
    fn drawing(&self) -> &'static str {
        include_str!("cluster.txt")
    }

    fn namespaces(&self) -> Vec<&Namespace> {
        vec![&self.node, &self.pod, &self.other, &self.peer]
    }

    fn hints(&self) -> Vec<Hint> {
        vec![Hint::connect(
            &self.other,
            "a pod that no policy admits",
            self.pod.address(Family::V4),
        )]
    }
}
