//! Who is at the ends of a dropped packet and of an attempt: the same on a node, from what its probes saw,
//! and on a laptop, from a node's records.

use std::time::SystemTime;

use super::{Scene, opened};
use crate::{
    cluster::{live::Cluster, naming::Name},
    model::{Flow, Outcome, SocketAddress, TcpFlags},
};

/// Looks up names.
pub(crate) trait Naming<'a> {
    /// The objects that they are looked up among.
    fn cluster(&self) -> &'a Cluster;

    /// What this node is called, if that is known.
    fn own_node(&self) -> Option<String>;

    /// Who was at an end of a flow at that time. `is_server` only where it is certain that the other end
    /// opened the flow.
    fn of(&mut self, flow: &Flow, socket: SocketAddress, is_server: bool, at: SystemTime) -> Name;
}

/// A dropped packet, as it was seen.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DroppedPacket {
    pub(crate) flow: Flow,
    pub(crate) tcp_flags: Option<TcpFlags>,
    pub(crate) original_dst: Option<SocketAddress>,
    pub(crate) outer: Option<Flow>,
    pub(crate) at: SystemTime,
}

/// A dropped packet among the cluster's objects.
pub(crate) struct DropScene<'a> {
    pub(crate) scene: Scene<'a>,
    /// Whether the packet went from server to client.
    is_reply: bool,
}

impl<'a> DropScene<'a> {
    pub(crate) fn of(packet: &DroppedPacket, names: &mut impl Naming<'a>) -> Self {
        let (flow, is_opening) = opened(&packet.flow, packet.tcp_flags);
        let at = packet.at;
        let is_reply = flow != packet.flow;
        // Of a reply, it is the client's address before SNAT was undone.
        let original = packet.original_dst.filter(|_| !is_reply);
        let asked_for = original.map(|socket| (names.of(&flow, socket, is_opening, at), socket.1));
        let dst = names.of(&flow, flow.destination(), is_opening, at);
        let src = names.of(&flow, flow.source(), false, at);
        let scene = Scene {
            cluster: names.cluster(),
            node: names.own_node(),
            is_opening,
            outer: packet.outer,
            src: src.connecting_to(&dst, flow.dport),
            dst,
            asked_for,
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

/// An attempt, as it was seen.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AttemptFlow {
    /// As the client sent it.
    pub(crate) client: Flow,
    /// Where it went last: behind DNAT, if there was any.
    pub(crate) last: SocketAddress,
    /// What the client had asked for, if that is something else.
    pub(crate) original_dst: Option<SocketAddress>,
    /// The flow of the packet that encapsulated it last.
    pub(crate) outer: Option<Flow>,
    pub(crate) at: SystemTime,
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

impl AttemptFlow {
    /// The flow from the client to its server, behind DNAT.
    fn server_flow(&self) -> Flow {
        let (dst, dport) = self.last;
        Flow {
            dst,
            dport,
            ..self.client
        }
    }

    /// Who is at its ends.
    pub(crate) fn ends<'a>(&self, names: &mut impl Naming<'a>) -> AttemptEnds {
        let (client, behind) = (self.client, self.server_flow());
        let requested = names.of(&client, client.destination(), true, self.at);
        let server = match client.destination() == behind.destination() {
            true => requested.clone(),
            false => names.of(&behind, behind.destination(), true, self.at),
        };
        let own = names.of(&client, client.source(), false, self.at);
        AttemptEnds {
            client: own.connecting_to(&server, behind.dport),
            requested,
            server,
        }
    }

    /// The attempt among the cluster's objects. `arrived` says whether it was seen to reach its
    /// destination's namespace, or the last interface before it.
    pub(crate) fn scene<'a>(
        &self,
        ends: &AttemptEnds,
        (outcome, arrived): (Outcome, bool),
        names: &mut impl Naming<'a>,
    ) -> Scene<'a> {
        let flow = self.server_flow();
        let asked_for = self
            .original_dst
            .map(|socket| (names.of(&flow, socket, true, self.at), socket.1));
        Scene {
            cluster: names.cluster(),
            node: names.own_node(),
            is_opening: true,
            outer: self.outer,
            src: ends.client.clone(),
            dst: ends.server.clone(),
            asked_for,
            outcome: Some(outcome),
            arrived,
            at: self.at,
            program_pod: None,
            flow,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        cluster::{
            naming::End,
            objects::{ObjectName, Pod},
            policy::Protocol,
            update::{Change, Source, Update},
            view::Object,
        },
        model,
    };

    struct Plain<'a>(&'a Cluster);

    impl<'a> Naming<'a> for Plain<'a> {
        fn cluster(&self) -> &'a Cluster {
            self.0
        }

        fn own_node(&self) -> Option<String> {
            None
        }

        fn of(
            &mut self,
            flow: &Flow,
            (ip, port): SocketAddress,
            asked: bool,
            at: SystemTime,
        ) -> Name {
            let protocol = Protocol::of_flow(flow.proto);
            self.0.name(&End {
                ip,
                port,
                protocol,
                at,
                asked,
            })
        }
    }

    fn cluster() -> Cluster {
        let mut cluster = Cluster::default();
        for (name, ip) in [("web", "10.1.1.1"), ("cart", "10.1.2.1")] {
            let pod = Pod {
                id: ObjectName::new("shop", name),
                ips: vec![ip.parse().expect("an address")],
                ..Pod::default()
            };
            let change = Change::Put(Box::new(Object::from(pod)));
            let source = Source::Api;
            cluster.apply(Update { source, change }, SystemTime::UNIX_EPOCH);
        }
        cluster
    }

    /// A SYN-ACK goes from the server to the client. Its flow is judged as the client opened it, and its
    /// ends are named as the packet went; its destination before NAT is not what the client asked for.
    #[test]
    fn a_dropped_syn_ack_is_judged_as_the_client_opened_it() {
        let cluster = cluster();
        let flow = Flow {
            proto: model::Protocol::Tcp,
            src: "10.1.2.1".parse().expect("an address"),
            // Ports alone would say the opposite.
            sport: Some(40_000),
            dst: "10.1.1.1".parse().expect("an address"),
            dport: Some(8080),
        };
        let packet = DroppedPacket {
            flow,
            tcp_flags: "SA".parse().ok(),
            original_dst: Some(("10.9.9.9".parse().expect("an address"), Some(8080))),
            outer: None,
            at: SystemTime::UNIX_EPOCH,
        };
        let judged = |packet: &DroppedPacket| DropScene::of(packet, &mut Plain(&cluster));
        let pod = |name: &Name| name.pod().map(|pod| pod.name);
        let reply = judged(&packet);
        assert_eq!(reply.scene.flow, flow.reversed());
        assert!(reply.scene.is_opening && reply.scene.asked_for.is_none());
        let scene = &reply.scene;
        let ends = [pod(&scene.src), pod(&scene.dst)];
        assert_eq!(ends, ["web", "cart"].map(|name| Some(name.to_owned())));
        let (src, dst) = reply.into_ends();
        let ends = [pod(&src), pod(&dst)];
        assert_eq!(ends, ["cart", "web"].map(|name| Some(name.to_owned())));

        let syn = judged(&DroppedPacket {
            tcp_flags: "S".parse().ok(),
            ..packet
        });
        assert_eq!(syn.scene.flow, flow);
        assert!(syn.scene.asked_for.is_some());
    }
}
