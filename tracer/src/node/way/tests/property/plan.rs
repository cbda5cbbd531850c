//! What a random network is made of: two nodes with a wire between them, pods behind a bridge or
//! routed, a way out, and a packet.

use std::net::IpAddr;

use super::{addresses::Family, faults::Fault, random::Random};
use crate::model::{Flow, Protocol};

pub(super) const PORT: u16 = 7777;
pub(super) const SOURCE_PORT: u16 = 7778;

#[derive(Debug)]
pub(super) struct Plan {
    pub(super) family: Family,
    /// TCP, whose first packet is a SYN, or UDP.
    pub(super) protocol: Protocol,
    pub(super) pods: Vec<Pod>,
    /// Bridges show IP packets to netfilter.
    pub(super) bridge_nf: bool,
    /// Routed pods ask for a gateway that the node answers for by proxy (ARP, NDP), and not for one that
    /// is there.
    pub(super) proxy_arp: bool,
    /// Node 1 has a default route to a device without anyone behind it.
    pub(super) way_out: bool,
    pub(super) service: Option<Service>,
    pub(super) from: usize,
    pub(super) to: Target,
    pub(super) ttl: u8,
    /// Bytes; none in a SYN.
    pub(super) payload: usize,
    pub(super) faults: Vec<Fault>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pod {
    pub(super) number: u8,
    pub(super) node: u8,
    pub(super) attached: Attached,
    pub(super) hairpin: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Attached {
    Bridge,
    Route,
    /// On top of the bridge of its node.
    Macvlan,
}

/// Translated on node 1 and node 2.
#[derive(Debug)]
pub(super) struct Service {
    pub(super) to: Target,
    pub(super) masquerade: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    Pod(usize),
    Node(u8),
    Bridge(u8),
    /// An address of a node's bridge that no one has.
    NoOne(u8),
    Service,
    Outside,
}

impl Pod {
    pub(super) fn name(&self) -> String {
        format!("p{}", self.number)
    }

    /// Its link on the node.
    pub(super) fn port(&self) -> String {
        format!("v{}", self.number)
    }
}

impl Plan {
    pub(super) fn random(seed: u64) -> Self {
        let mut random = Random(seed);
        let attached = [
            Attached::Bridge,
            Attached::Bridge,
            Attached::Route,
            Attached::Route,
            Attached::Macvlan,
        ];
        let count = 2 + random.below(3);
        let pods: Vec<_> = (0..count)
            .map(|number| Pod {
                number: number as u8,
                node: 1 + random.below(2) as u8,
                attached: *random.pick(&attached),
                hairpin: random.one_in(2),
            })
            .collect();
        let target = |random: &mut Random| match random.below(8) {
            0 => Target::Node(1 + random.below(2) as u8),
            1 => Target::Bridge(1 + random.below(2) as u8),
            2 => Target::NoOne(1 + random.below(2) as u8),
            3 => Target::Outside,
            _ => Target::Pod(random.below(count)),
        };
        let service = random.one_in(3).then(|| Service {
            to: target(&mut random),
            masquerade: random.one_in(2),
        });
        let to = match service {
            Some(_) if !random.one_in(4) => Target::Service,
            _ => target(&mut random),
        };
        let protocol = *random.pick(&[Protocol::Udp, Protocol::Tcp]);
        let mut plan = Self {
            family: *random.pick(&[Family::V4, Family::V6]),
            protocol,
            pods,
            bridge_nf: random.one_in(2),
            proxy_arp: random.one_in(2),
            way_out: !random.one_in(3),
            service,
            from: random.below(count),
            to,
            ttl: if random.one_in(12) { 1 } else { 64 },
            payload: match random.below(8) {
                _ if protocol == Protocol::Tcp => 0,
                0 => 1400,
                _ => 64,
            },
            faults: Vec::new(),
        };
        let faults = random.below(3);
        plan.faults = (0..faults)
            .map(|_| Fault::random(&plan, &mut random))
            .collect();
        plan
    }

    pub(super) fn sender(&self) -> String {
        self.pods[self.from].name()
    }

    pub(super) fn flow(&self) -> Flow {
        Flow {
            proto: self.protocol,
            src: self.pod_address(self.from),
            sport: Some(SOURCE_PORT),
            dst: self.address(self.to),
            dport: Some(PORT),
        }
    }

    pub(super) fn pod_address(&self, place: usize) -> IpAddr {
        let pod = self.pods[place];
        self.family.pod(pod.node, pod.attached, pod.number)
    }

    pub(super) fn address(&self, target: Target) -> IpAddr {
        match target {
            Target::Pod(place) => self.pod_address(place),
            Target::Node(node) => self.family.on_wire(node),
            Target::Bridge(node) => self.family.on_bridge(node, 1),
            Target::NoOne(node) => self.family.on_bridge(node, 99),
            Target::Service => self.family.service(),
            Target::Outside => self.family.outside(),
        }
    }

    /// The name of the protocol, as nft(8) has it.
    pub(super) fn protocol_name(&self) -> &'static str {
        match self.protocol {
            Protocol::Tcp => "tcp",
            _ => "udp",
        }
    }

    /// All namespaces.
    pub(super) fn namespaces(&self) -> Vec<String> {
        let pods = self.pods.iter().map(Pod::name);
        ["n1".to_owned(), "n2".to_owned()]
            .into_iter()
            .chain(pods)
            .collect()
    }
}
