//! The facts of the node around one dropped packet, in one visit to its network namespace.

mod down_tunnel;
mod read;
mod tunnel;

use std::{collections::BTreeSet, net::IpAddr};

use anyhow::Result;
use tracer_common::tunnel::Tunnel;

pub(crate) use self::down_tunnel::DownTunnel;
use self::read::Reader;
use super::{
    fragments::Fragments,
    ipsec::Ipsec,
    ipvs::IpvsService,
    listener::ListenerFacts,
    mtu::Hop,
    overlay::{Overlay, Remote},
    programs::Program,
    route::{Forwarding, Lookup},
    rpfilter::RpFilter,
    sockets::Socket,
    tun::TunDevice,
};
use crate::net::{Link, Neighbor, Qdisc, Route, WireguardDevice, netns::Inside};

/// A group of facts that can be asked for. What one builds on is read as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fact {
    /// The netfilter rules of the namespace.
    Ruleset,
    /// How full the conntrack table of the namespace is.
    Conntrack,
    /// The interfaces that it came in through and was dropped at; they are read with everything else.
    Link,
    /// The route of the packet, what refuses it, and whether the interface forwards.
    Route,
    /// The reverse-path filter.
    RpFilter,
    /// Entries for the next hop, and for the destination.
    Neighbor,
    /// Tunnels, and what is missing on the way through one.
    Overlay,
    /// Programs and filters at the interface.
    Programs,
    /// Programs of the control groups of the namespace's processes.
    CgroupPrograms,
    /// The listener that it was for.
    Listener,
    /// Sockets that have the destination port as their own.
    Sockets,
    /// Queues of the interface.
    Qdisc,
    /// MTUs on the packet's way through the namespace.
    Mtu,
    /// What NAT makes of the destination: by the connection's entry, and by the rules of now.
    Destination,
    /// The memory for fragments that wait for the rest of their packet.
    Fragments,
    /// The rules of nft that send the packet to a proxy which is not there.
    Proxy,
    /// The policies of IPsec, and what it has counted.
    Ipsec,
    /// The tun device, and the process that reads it.
    Tun,
    /// The services of IPVS in the namespace.
    Ipvs,
    /// All namespaces that can be entered: see [`super::world`].
    World,
    /// The program that decided about it behind an NFQUEUE.
    QueueProgram,
    /// What has become of the translation that the packet's connection began with.
    Translation,
    /// What the routes and rules of all of them make of the packet: see [`super::way`].
    Way,
}

impl Fact {
    /// Its name in the documentation, which a test makes.
    #[cfg(test)]
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ruleset => "netfilter rules",
            Self::Conntrack => "conntrack table",
            Self::Link => "interface",
            Self::Route => "route",
            Self::RpFilter => "reverse-path filter",
            Self::Neighbor => "neighbor entries",
            Self::Overlay => "tunnels",
            Self::Programs => "programs at the interface",
            Self::CgroupPrograms => "cgroup programs",
            Self::Listener => "listener",
            Self::Sockets => "sockets",
            Self::Qdisc => "qdiscs",
            Self::Mtu => "MTUs",
            Self::Destination => "destination behind NAT",
            Self::Fragments => "memory for reassembly",
            Self::Proxy => "proxies of nft's rules",
            Self::Ipsec => "IPsec policies",
            Self::Tun => "reader of the tun device",
            Self::Ipvs => "IPVS services",
            Self::World => "all namespaces",
            Self::QueueProgram => "program behind the queue",
            Self::Translation => "conntrack entry of the connection",
            Self::Way => "way through the node",
        }
    }

    /// Whether it is about the packet's surroundings in its namespace: see [`DropContext`].
    pub(crate) fn is_around(self) -> bool {
        !matches!(
            self,
            Self::Ruleset
                | Self::Conntrack
                | Self::Destination
                | Self::World
                | Self::Proxy
                | Self::QueueProgram
                | Self::Translation
                | Self::Way
        )
    }
}

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Question {
    /// Name of the interface that the packet was dropped at; `None` if that is not known.
    pub(crate) ifname: Option<String>,
    /// Number of that interface; 0 if it is not known.
    pub(crate) ifindex: u32,
    /// Source of the packet: of the inner one, in a tunnel.
    pub(crate) src: IpAddr,
    /// Destination of the packet: of the inner one, in a tunnel.
    pub(crate) dst: IpAddr,
    /// Destination port; `None` if there is none.
    pub(crate) dport: Option<u16>,
    /// IP protocol.
    pub(crate) proto: u8,
    /// The interface that the packet came in through; `None` or 0 for one that was sent from here.
    pub(crate) iif: Option<u32>,
    /// The packet's mark.
    pub(crate) mark: u32,
    /// The tunnel that it was in already.
    pub(crate) carrier: Option<Carrier>,
    /// Netfilter reassembles its fragments.
    pub(crate) in_netfilter: bool,
    /// What to read.
    pub(crate) wanted: BTreeSet<Fact>,
}

/// A packet that carries another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Carrier {
    /// Where it comes from.
    pub(crate) src: IpAddr,
    /// Where it goes: the other end of the tunnel.
    pub(crate) dst: IpAddr,
    /// What kind of tunnel; `None` if its headers do not say.
    pub(crate) tunnel: Option<Tunnel>,
}

/// What was found. What was not asked for, or is not there, is empty; what could not be read is
/// reported in `gaps`.
#[derive(Clone, Debug, Default)]
pub(crate) struct DropContext {
    /// The interface that the packet was dropped at.
    pub(crate) link: Option<Link>,
    /// The interface that it came in through.
    pub(crate) incoming: Option<Link>,
    /// The other end of the veth pair that it was dropped at.
    pub(crate) peer: Option<Link>,
    /// Its route.
    pub(crate) route: Option<Lookup>,
    /// The default route, which would take it if there were no other.
    pub(crate) default_route: Option<Route>,
    /// Whether the interface it came in through forwards.
    pub(crate) forwarding: Option<Forwarding>,
    /// The reverse-path filter of the interface it came in through.
    pub(crate) rpfilter: Option<RpFilter>,
    /// Entries for the next hop and for the destination, on all interfaces.
    pub(crate) neighbors: Vec<Neighbor>,
    /// The way through the tunnel that it takes, or was dropped at.
    pub(crate) overlay: Option<Overlay>,
    /// The way to the remote VTEP, of a packet that was in a tunnel.
    pub(crate) remote: Option<Remote>,
    /// Whether something here leads to where that packet came from: an FDB entry, the route back to
    /// the inner source, or an address of this namespace. `None` if that is not known: it could not
    /// be read, or a tunnel takes any remote.
    pub(crate) knows_vtep: Option<bool>,
    /// The tunnel device that it takes or was dropped at, of any kind.
    pub(crate) tunnel: Option<Link>,
    /// All VXLAN devices of the namespace.
    pub(crate) tunnels: Vec<Link>,
    /// Of a packet that was in a tunnel: the devices whose packets look like that one. `None` if they
    /// could not be read, or the kind is not known.
    pub(crate) alike: Option<Vec<Link>>,
    /// What the WireGuard device that it was dropped at is set up with.
    pub(crate) wireguard: Option<WireguardDevice>,
    /// Those of them that are down, where the packet has no route.
    pub(crate) down: Vec<DownTunnel>,
    /// Programs and filters at the interface, in the order in which packets meet them: for each
    /// kind, those at ingress first.
    pub(crate) programs: Vec<Program>,
    /// Programs of control groups.
    pub(crate) cgroup_programs: Vec<Program>,
    /// The listener that it was for.
    pub(crate) listener: Option<ListenerFacts>,
    /// Sockets that have the destination port as their own.
    pub(crate) sockets: Vec<Socket>,
    /// The tun device that it was dropped at.
    pub(crate) tun: Option<TunDevice>,
    /// What IPsec makes of it.
    pub(crate) ipsec: Option<Ipsec>,
    /// The memory for reassembly.
    pub(crate) fragments: Option<Fragments>,
    /// The service of IPVS that takes the packet, if there is one.
    pub(crate) ipvs: Option<IpvsService>,
    /// The interface's queues.
    pub(crate) qdiscs: Vec<Qdisc>,
    /// The interfaces that it passes, with their MTUs.
    pub(crate) hops: Vec<Hop>,
    /// Why something is missing, a sentence each without an end.
    pub(crate) gaps: Vec<String>,
}

impl DropContext {
    /// Reads what is wanted, in the namespace that this thread is in. Once the result is no longer awaited,
    /// the rest is left.
    ///
    /// # Errors
    ///
    /// The kernel cannot be asked at all. Anything less is a gap.
    pub(crate) fn read(inside: Inside, question: &Question) -> Result<Self> {
        Reader::open(inside, question).map(Reader::read)
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::net::netns::{NetnsRef, in_netns};

    fn question() -> Question {
        let own = IpAddr::from([127, 0, 0, 1]);
        Question {
            ifname: Some("lo".to_owned()),
            ifindex: 1,
            src: own,
            dst: own,
            dport: None,
            proto: 6,
            iif: None,
            mark: 0,
            carrier: None,
            in_netfilter: false,
            wanted: [Fact::Route, Fact::Neighbor, Fact::Qdisc, Fact::Mtu].into(),
        }
    }

    #[test]
    fn ones_own_namespace_answers_without_privilege() {
        let limit = Duration::from_secs(10);
        let read = |inside| DropContext::read(inside, &question());
        let found = in_netns(&NetnsRef::Own, limit, read).unwrap();
        let link = found.link.unwrap();
        assert_eq!(link.name, "lo");
        assert!(found.route.is_some());
        assert_eq!(found.gaps, Vec::<String>::new());
    }

    #[test]
    fn what_cannot_be_read_is_said() {
        let limit = Duration::from_secs(10);
        let gone = Question {
            ifindex: u32::MAX >> 1,
            wanted: [Fact::Programs].into(),
            ..question()
        };
        let read = move |inside| DropContext::read(inside, &gone);
        let gaps = in_netns(&NetnsRef::Own, limit, read).unwrap().gaps;
        assert_eq!(
            gaps,
            [
                "interface 2147483647 has gone",
                "the interface is not known, so neither are its programs and queues"
            ]
        );
        let late = |inside: Inside| {
            let inside = Inside {
                deadline: Instant::now(),
                ..inside
            };
            DropContext::read(inside, &question())
        };
        let gaps = in_netns(&NetnsRef::Own, limit, late).unwrap().gaps;
        assert!(gaps.contains(&"no time was left for the packet's route".to_owned()));
    }
}
