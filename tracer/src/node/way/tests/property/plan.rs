//! What a random network is made of: two nodes with a wire between them, pods behind a bridge or
//! routed, a way out, and a packet.

use std::net::{IpAddr, Ipv4Addr};

use super::{faults::Fault, random::Random};
use crate::model::{Flow, Protocol};

pub(super) const PORT: u16 = 7777;
pub(super) const SOURCE_PORT: u16 = 7778;
/// The address of a Service.
pub(super) const SERVICE: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 1);
/// An address that is reached by the way out.
pub(super) const OUTSIDE: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);

#[derive(Debug)]
pub(super) struct Plan {
    pub(super) pods: Vec<Pod>,
    /// Bridges show IP packets to netfilter.
    pub(super) bridge_nf: bool,
    /// Routed pods ask for a gateway that proxy ARP answers for, and not for one that is there.
    pub(super) proxy_arp: bool,
    /// Node 1 has a default route to a device without anyone behind it.
    pub(super) way_out: bool,
    pub(super) service: Option<Service>,
    pub(super) from: usize,
    pub(super) to: Target,
    pub(super) ttl: u8,
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

    pub(super) fn address(&self) -> Ipv4Addr {
        let net = match self.attached {
            Attached::Bridge | Attached::Macvlan => 1,
            Attached::Route => 2,
        };
        Ipv4Addr::new(10, 60 + self.node, net, 10 + self.number)
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
        let mut plan = Self {
            pods,
            bridge_nf: random.one_in(2),
            proxy_arp: random.one_in(2),
            way_out: !random.one_in(3),
            service,
            from: random.below(count),
            to,
            ttl: if random.one_in(12) { 1 } else { 64 },
            payload: if random.one_in(8) { 1400 } else { 64 },
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
            proto: Protocol::Udp,
            src: self.pods[self.from].address().into(),
            sport: Some(SOURCE_PORT),
            dst: self.address(self.to).into(),
            dport: Some(PORT),
        }
    }

    pub(super) fn address(&self, target: Target) -> Ipv4Addr {
        match target {
            Target::Pod(place) => self.pods[place].address(),
            Target::Node(node) => Ipv4Addr::new(10, 60, 0, node),
            Target::Bridge(node) => Ipv4Addr::new(10, 60 + node, 1, 1),
            Target::NoOne(node) => Ipv4Addr::new(10, 60 + node, 1, 99),
            Target::Service => SERVICE,
            Target::Outside => OUTSIDE,
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

    /// The gateway of a routed pod.
    pub(super) fn gateway() -> IpAddr {
        Ipv4Addr::new(169, 254, 1, 1).into()
    }
}
