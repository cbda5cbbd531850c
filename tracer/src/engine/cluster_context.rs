//! What a drop or an attempt looks like among the cluster's objects.

use std::{net::IpAddr, time::SystemTime};

use crate::{
    attempt::Attempt,
    cluster::{
        live::Cluster,
        naming::{End, Name},
        owner::Owner,
    },
    decode::drop::DropFacts,
    engine::interfaces::Interfaces,
    model::{Flow, SocketAddress},
    verdict::cluster::{AttemptFlow, DroppedPacket, Naming},
};

/// Looks up who was at the ends of flows, and counts how often.
pub(crate) struct Names<'a> {
    cluster: &'a Cluster,
    interfaces: &'a Interfaces,
    node: Option<String>,
    lookups: &'a mut u64,
}

impl<'a> Names<'a> {
    pub(crate) fn new(
        cluster: &'a Cluster,
        interfaces: &'a Interfaces,
        node: Option<String>,
        lookups: &'a mut u64,
    ) -> Self {
        Self {
            cluster,
            interfaces,
            node,
            lookups,
        }
    }

    /// Returns the node that has an address, in words.
    pub(crate) fn node(&mut self, ip: IpAddr) -> Option<String> {
        *self.lookups += 1;
        match self.cluster.view().owner(ip) {
            Owner::Node {
                name: Some(name), ..
            } => Some(format!("node {name}")),
            _ => None,
        }
    }
}

impl<'a> Naming<'a> for Names<'a> {
    fn cluster(&self) -> &'a Cluster {
        self.cluster
    }

    fn own_node(&self) -> Option<String> {
        self.node.clone()
    }

    fn of(&mut self, flow: &Flow, end: SocketAddress, is_server: bool, at: SystemTime) -> Name {
        *self.lookups += 1;
        let name = self.cluster.name(&End::of(flow, end, is_server, at));
        // A node has an address in the range of its pods for itself: a bridge's, or a tunnel's.
        match self.interfaces.host_interface(end.0) {
            Some(ifname) if matches!(name, Name::Vacant(_)) => Name::Here {
                ifname: ifname.to_owned(),
                is_probe: false,
            },
            _ => name,
        }
    }
}

/// A dropped packet, for its names.
pub(crate) fn dropped_packet(facts: &DropFacts) -> DroppedPacket {
    DroppedPacket {
        flow: facts.flow,
        tcp_flags: facts.tcp_flags(),
        original_dst: facts.original_dst,
        outer: facts.outer,
        at: facts.at,
    }
}

/// An attempt, for its names. `at` is when it began.
pub(crate) fn attempt_flow(attempt: &Attempt, at: SystemTime) -> AttemptFlow {
    let last = attempt.last_hop();
    let behind = Flow::from(&last.map_or(attempt.flow, |hop| hop.flow));
    AttemptFlow {
        client: Flow::from(&attempt.flow),
        last: behind.destination(),
        original_dst: attempt.original_dst(),
        outer: last.and_then(|hop| hop.outer.as_ref()).map(Flow::from),
        at,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_named_by_its_address() {
        use crate::cluster::{
            objects::Node,
            update::{Change, Source, Update},
            view::Object,
        };
        let node = Node {
            name: "n2".to_owned(),
            ips: vec![[10, 88, 0, 12].into()],
            pod_nets: Vec::new(),
        };
        let mut cluster = Cluster::default();
        let change = Change::Put(Box::new(Object::Node(node)));
        let source = Source::Api;
        cluster.apply(Update { source, change }, SystemTime::UNIX_EPOCH);
        let (interfaces, mut lookups) = (Interfaces::default(), 0);
        let mut names = Names::new(&cluster, &interfaces, None, &mut lookups);
        let of = |names: &mut Names<'_>, ip: [u8; 4]| names.node(ip.into());
        assert_eq!(of(&mut names, [10, 88, 0, 12]).as_deref(), Some("node n2"));
        assert_eq!(of(&mut names, [10, 88, 0, 13]), None);
        assert_eq!(lookups, 2);
    }
}
