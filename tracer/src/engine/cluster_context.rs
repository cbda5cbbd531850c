//! What a drop or an attempt looks like among the cluster's objects.

use std::{net::IpAddr, time::SystemTime};

use crate::{
    attempt::Attempt,
    cluster::{
        live::Cluster,
        naming::{End, Name},
        owner::Owner,
        policy::Protocol,
    },
    decode::drop::DropFacts,
    engine::interfaces::Interfaces,
    model::{Flow, Outcome, SocketAddress},
    verdict::cluster::{Scene, opened},
};

/// Looks up who was at the ends of flows, and counts how often.
pub(crate) struct Names<'a> {
    cluster: &'a Cluster,
    interfaces: &'a Interfaces,
    lookups: &'a mut u64,
}

impl<'a> Names<'a> {
    pub(crate) fn new(
        cluster: &'a Cluster,
        interfaces: &'a Interfaces,
        lookups: &'a mut u64,
    ) -> Self {
        Self {
            cluster,
            interfaces,
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

    /// Returns who was at an end of a flow at that time. `is_server` only where it is certain that
    /// the other end opened the flow.
    fn of(
        &mut self,
        flow: &Flow,
        (ip, port): SocketAddress,
        is_server: bool,
        at: SystemTime,
    ) -> Name {
        *self.lookups += 1;
        let name = self.cluster.name(&End {
            ip,
            port,
            protocol: Protocol::of_flow(flow.proto),
            at,
            asked: is_server,
        });
        // A node has an address in the range of its pods for itself: a bridge's, or a tunnel's.
        match self.interfaces.host_interface(ip) {
            Some(ifname) if matches!(name, Name::Vacant(_)) => Name::Here {
                ifname: ifname.to_owned(),
                is_probe: false,
            },
            _ => name,
        }
    }
}

/// A dropped packet among the cluster's objects.
pub(crate) struct DropScene<'a> {
    pub(crate) scene: Scene<'a>,
    /// Whether the packet went from server to client.
    is_reply: bool,
}

impl<'a> DropScene<'a> {
    pub(crate) fn of(facts: &DropFacts, names: &mut Names<'a>) -> Self {
        let (flow, is_opening) = opened(&facts.flow, facts.tcp_flags());
        let at = facts.at;
        let is_reply = flow != facts.flow;
        // Of a reply, it is the client's address before SNAT was undone.
        let original = facts
            .original_dst
            .filter(|_| flow.dst == facts.flow.dst)
            .map(|(ip, port)| (names.of(&flow, (ip, port), is_opening, at), port));
        let dst = names.of(&flow, (flow.dst, flow.dport), is_opening, at);
        let src = names.of(&flow, (flow.src, flow.sport), false, at);
        let scene = Scene {
            cluster: names.cluster,
            is_opening,
            outer: facts.outer,
            src: src.connecting_to(&dst, flow.dport),
            dst,
            asked_for: original,
            outcome: None,
            arrived: false,
            at,
            program_pod: None,
            flow,
        };
        Self { scene, is_reply }
    }

    /// Who was at the source and at the destination of the packet.
    pub(crate) fn into_ends(self) -> (Name, Name) {
        let Scene { src, dst, .. } = self.scene;
        match self.is_reply {
            true => (dst, src),
            false => (src, dst),
        }
    }
}

/// Who is at the ends of an attempt.
#[derive(Debug, Clone)]
pub(crate) struct AttemptEnds {
    pub(crate) client: Name,
    /// Whose address the client used.
    pub(crate) requested: Name,
    /// Who was to answer: behind DNAT, if there was any.
    pub(crate) server: Name,
}

impl AttemptEnds {
    pub(crate) fn of(attempt: &Attempt, at: SystemTime, names: &mut Names<'_>) -> Self {
        let (client, behind) = (Flow::from(&attempt.flow), server_flow(attempt));
        let requested = names.of(&client, (client.dst, client.dport), true, at);
        let is_same = (client.dst, client.dport) == (behind.dst, behind.dport);
        let server = match is_same {
            true => requested.clone(),
            false => names.of(&behind, (behind.dst, behind.dport), true, at),
        };
        let own = names.of(&client, (client.src, client.sport), false, at);
        Self {
            client: own.connecting_to(&server, behind.dport),
            server,
            requested,
        }
    }
}

/// An attempt among the cluster's objects. `arrived` says whether it was seen to reach its
/// destination's namespace, or the last interface before it.
pub(crate) fn of_attempt<'a>(
    attempt: &Attempt,
    ends: &AttemptEnds,
    (outcome, arrived): (Outcome, bool),
    at: SystemTime,
    names: &mut Names<'a>,
) -> Scene<'a> {
    let flow = server_flow(attempt);
    Scene {
        cluster: names.cluster,
        is_opening: true,
        outer: attempt
            .last_hop()
            .and_then(|hop| hop.outer.as_ref())
            .map(Flow::from),
        src: ends.client.clone(),
        dst: ends.server.clone(),
        asked_for: attempt
            .original_dst()
            .map(|(ip, port)| (names.of(&flow, (ip, port), true, at), port)),
        outcome: Some(outcome),
        arrived,
        at,
        program_pod: None,
        flow,
    }
}

/// The flow from the client to its server, behind DNAT.
fn server_flow(attempt: &Attempt) -> Flow {
    let last = attempt.last_hop().map_or(attempt.flow, |hop| hop.flow);
    let behind = Flow::from(&last);
    Flow {
        dst: behind.dst,
        dport: behind.dport,
        ..Flow::from(&attempt.flow)
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
        let mut names = Names::new(&cluster, &interfaces, &mut lookups);
        let of = |names: &mut Names<'_>, ip: [u8; 4]| names.node(ip.into());
        assert_eq!(of(&mut names, [10, 88, 0, 12]).as_deref(), Some("node n2"));
        assert_eq!(of(&mut names, [10, 88, 0, 13]), None);
        assert_eq!(lookups, 2);
    }
}
