//! The facts of the node around one dropped packet, in one visit to its network namespace.

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
    time::Instant,
};

use anyhow::{Context as _, Result};

use super::{
    listener::{Before, ListenerFacts},
    mtu::{Encapsulation, Hop},
    overlay::{Overlay, Remote},
    programs::{self, Program},
    route::{Forwarding, Lookup},
    rpfilter::RpFilter,
    sockets::{self, Socket},
};
use crate::model::Protocol;
use crate::net::{FdbEntry, Link, Neighbor, Qdisc, RouteKey, RouteKind, Rtnetlink, netns::Inside};

/// A group of facts that can be asked for. What one builds on is read as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fact {
    /// The netfilter rules of the namespace.
    Ruleset,
    /// How full the conntrack table of the namespace is.
    Conntrack,
    /// The interfaces that it came in by and was dropped at; they are read with everything else.
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
    /// All namespaces that can be entered: see [`super::world`].
    World,
}

impl Fact {
    /// Its name in the documentation.
    pub fn name(self) -> &'static str {
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
            Self::World => "all namespaces",
        }
    }

    /// Whether it is about the packet's surroundings in its namespace: see [`DropContext`].
    pub fn is_around(self) -> bool {
        !matches!(self, Self::Ruleset | Self::Conntrack | Self::World)
    }
}

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// Name of the interface that the packet was dropped at; `None` if that is not known.
    pub ifname: Option<String>,
    /// Number of that interface; 0 if it is not known.
    pub ifindex: u32,
    /// Source of the packet: of the inner one, in a tunnel.
    pub src: IpAddr,
    /// Destination of the packet: of the inner one, in a tunnel.
    pub dst: IpAddr,
    /// Destination port; `None` if there is none.
    pub dport: Option<u16>,
    /// IP protocol.
    pub proto: u8,
    /// The interface that the packet came in by; `None` or 0 for one that was sent from here.
    pub iif: Option<u32>,
    /// The packet's mark.
    pub mark: u32,
    /// The remote VTEP, of a packet that was in a tunnel already.
    pub vtep: Option<IpAddr>,
    /// What to read.
    pub wanted: BTreeSet<Fact>,
}

/// What was found. What was not asked for, or is not there, is empty; what could not be read is
/// told in `gaps`.
#[derive(Clone, Debug, Default)]
pub struct DropContext {
    /// The interface that the packet was dropped at.
    pub link: Option<Link>,
    /// The interface that it came in by.
    pub incoming: Option<Link>,
    /// The other end of the veth pair that it was dropped at.
    pub peer: Option<Link>,
    /// Its route.
    pub route: Option<Lookup>,
    /// Whether the interface it came in by forwards.
    pub forwarding: Option<Forwarding>,
    /// The reverse-path filter of the interface it came in by.
    pub rpfilter: Option<RpFilter>,
    /// Entries for the next hop and for the destination, on all interfaces.
    pub neighbors: Vec<Neighbor>,
    /// The way through the tunnel that it takes, or was dropped at.
    pub overlay: Option<Overlay>,
    /// The way to the remote VTEP, of a packet that was in a tunnel.
    pub remote: Option<Remote>,
    /// All VXLAN devices of the namespace.
    pub tunnels: Vec<Link>,
    /// Programs and filters at the interface, in the order in which packets meet them: for each
    /// kind, those at ingress first.
    pub programs: Vec<Program>,
    /// Programs of control groups.
    pub cgroup_programs: Vec<Program>,
    /// The listener that it was for.
    pub listener: Option<ListenerFacts>,
    /// Sockets that have the destination port as their own.
    pub sockets: Vec<Socket>,
    /// The interface's queues.
    pub qdiscs: Vec<Qdisc>,
    /// The interfaces that it passes, with their MTUs.
    pub hops: Vec<Hop>,
    /// Why something is missing, a sentence each without an end.
    pub gaps: Vec<String>,
}

impl DropContext {
    /// Reads what is wanted, in the namespace that this thread is in. Once nobody waits any more,
    /// the rest is left.
    ///
    /// # Errors
    ///
    /// The kernel cannot be asked at all. Anything less is a gap.
    pub fn read(inside: Inside, question: &Question) -> Result<Self> {
        let mut reader = Reader {
            rtnetlink: Rtnetlink::open().context("cannot open an rtnetlink socket")?,
            inside,
            question,
            found: Self::default(),
        };
        reader.read();
        Ok(reader.found)
    }
}

struct Reader<'a> {
    rtnetlink: Rtnetlink,
    inside: Inside,
    question: &'a Question,
    found: DropContext,
}

impl Reader<'_> {
    fn read(&mut self) {
        let question = self.question;
        let wants = |fact| question.wanted.contains(&fact);
        self.found.link = self.link(question.ifindex);
        self.found.incoming = match question.iif {
            Some(iif) if iif == question.ifindex => self.found.link.clone(),
            Some(iif) => self.link(iif),
            None => None,
        };
        if wants(Fact::Route) || wants(Fact::Neighbor) || wants(Fact::Overlay) || wants(Fact::Mtu) {
            self.route();
        }
        if wants(Fact::RpFilter) {
            self.rpfilter();
        }
        if wants(Fact::Neighbor) {
            self.neighbors();
        }
        if wants(Fact::Overlay) || wants(Fact::Mtu) {
            self.overlay();
        }
        if wants(Fact::Mtu) {
            self.hops();
        }
        if let Some(link) = self.found.link.clone() {
            if wants(Fact::Programs) {
                let rtnetlink = &self.rtnetlink;
                let found = programs::at_interface(rtnetlink, &link, &mut self.found.gaps);
                self.found.programs = found;
            }
            if wants(Fact::Qdisc) {
                let found = self.step("the interface's queues", |reader| {
                    Ok(reader.rtnetlink.qdiscs(link.ifindex)?)
                });
                self.found.qdiscs = found.unwrap_or_default();
            }
        } else if wants(Fact::Programs) || wants(Fact::Qdisc) {
            let gap = "the interface is not known, so neither are its programs and queues";
            self.found.gaps.push(gap.to_owned());
        }
        if wants(Fact::Listener) {
            self.listener();
        }
        if wants(Fact::Sockets) {
            self.sockets();
        }
        if wants(Fact::CgroupPrograms) {
            let found = self.step("programs of control groups", |reader| {
                programs::of_cgroups(reader.inside)
            });
            self.found.cgroup_programs = found.unwrap_or_default();
        }
    }

    /// One reading; a failure is a gap.
    fn step<T>(&mut self, what: &str, read: impl FnOnce(&Self) -> Result<T>) -> Option<T> {
        if Instant::now() >= self.inside.deadline {
            self.found.gaps.push(format!("no time was left for {what}"));
            return None;
        }
        match read(self) {
            Ok(found) => Some(found),
            Err(error) => {
                let gap = format!("{what} cannot be read: {error:#}");
                self.found.gaps.push(gap);
                None
            }
        }
    }

    fn link(&mut self, ifindex: u32) -> Option<Link> {
        if ifindex == 0 {
            return None;
        }
        let what = format!("interface {ifindex}");
        let found = self.step(&what, |reader| Ok(reader.rtnetlink.link(ifindex)?))?;
        if found.is_none() {
            self.found.gaps.push(format!("{what} has gone"));
        }
        found
    }

    fn route(&mut self) {
        let question = self.question;
        let packet = RouteKey {
            // For one that is sent from here, the source is not always an address of the namespace.
            src: question.iif.and(Some(question.src)),
            iif: question.iif.filter(|iif| *iif != 0),
            mark: question.mark,
            proto: Some(question.proto),
            ..RouteKey::to(question.dst)
        };
        self.found.route = self.step("the packet's route", |reader| {
            Ok(Lookup::read(&reader.rtnetlink, packet)?)
        });
        if let Some(name) = self.found.incoming.as_ref().map(|link| link.name.clone()) {
            let version = if question.dst.is_ipv4() { 4 } else { 6 };
            let found = self.step("whether the interface forwards", |_| {
                Forwarding::read(version, &name)
            });
            self.found.forwarding = found.flatten();
        }
    }

    fn listener(&mut self) {
        let Some(port) = self.question.dport else {
            return;
        };
        let destination = SocketAddr::new(self.question.dst, port);
        self.found.listener = self.step("the listener", |reader| {
            ListenerFacts::read(reader.inside, destination, None, Before::Nothing)
        });
    }

    fn sockets(&mut self) {
        let protocol = Protocol::from(self.question.proto);
        let Some(port) = self.question.dport else {
            return;
        };
        let found = self.step("the sockets", |_| sockets::with_local_port(protocol, port));
        let mut found = found.unwrap_or_default();
        // A listener that is there, and did not get the packet: it may be bound to an interface.
        if found.iter().any(|socket| socket.is_listening) {
            self.step("the listener's interface", |_| {
                sockets::add_devices(&mut found, port)
            });
        }
        self.found.sockets = found;
    }

    fn rpfilter(&mut self) {
        let came_in = self.found.incoming.as_ref().or(self.found.link.as_ref());
        let Some((ifindex, name)) = came_in.map(|link| (link.ifindex, link.name.clone())) else {
            let gap = "the interface it came in by is not known, so neither is its rp_filter";
            self.found.gaps.push(gap.to_owned());
            return;
        };
        let (src, mark) = (self.question.src, self.question.mark);
        let found = self.step("the reverse-path filter", |reader| {
            RpFilter::read(&reader.rtnetlink, (ifindex, &name), src, mark)
        });
        self.found.rpfilter = found.flatten();
    }

    fn neighbors(&mut self) {
        let dst = self.question.dst;
        let route = self.found.route.as_ref();
        let route = route.and_then(|lookup| lookup.answer.as_ref().ok());
        let gateway = route.and_then(|route| route.gateway);
        let addresses: BTreeSet<_> = gateway.into_iter().chain([dst]).collect();
        for address in addresses {
            let found = self.step("the neighbor entries", |reader| {
                Ok(reader.rtnetlink.neighbors_of(address, None)?)
            });
            self.found.neighbors.extend(found.unwrap_or_default());
        }
    }

    fn overlay(&mut self) {
        let found = self.step("the tunnels", |reader| {
            Ok(reader.rtnetlink.vxlan_links()?)
        });
        self.found.tunnels = found.unwrap_or_default();
        let output = self.found.route.as_ref();
        let output = output.and_then(|lookup| lookup.answer.as_ref().ok()?.output);
        let at = [self.question.ifindex, output.unwrap_or(0)];
        let device = self.found.tunnels.iter();
        let device = device.clone().find(|tunnel| at.contains(&tunnel.ifindex));
        if let Some(device) = device.cloned() {
            let dst = self.question.dst;
            self.found.overlay = self.step("the way through the tunnel", |reader| {
                let route = reader.found.route.as_ref();
                Overlay::read(&reader.rtnetlink, device, dst, route)
            });
        }
        if let Some(vtep) = self.question.vtep {
            self.found.remote = self.step("the way to the VTEP", |reader| {
                Remote::read(&reader.rtnetlink, vtep)
            });
        }
    }

    /// In by an interface, out by another, and if that is a tunnel, out again below it.
    fn hops(&mut self) {
        let mut links: Vec<(Link, u32)> = Vec::new();
        links.extend(self.found.link.clone().map(|link| (link, 0)));
        if let Some(link) = self.found.link.clone() {
            let peer = self.step("the other end of the veth", |reader| {
                Ok(reader.rtnetlink.peer(&link)?)
            });
            self.found.peer = peer.flatten();
        }
        links.extend(self.found.incoming.clone().map(|link| (link, 0)));
        let route = self.found.route.as_ref();
        let route = route.and_then(|lookup| lookup.answer.as_ref().ok());
        let output = route.filter(|route| route.kind == RouteKind::Unicast);
        if let Some(output) = output.and_then(|route| route.output) {
            links.extend(self.link(output).map(|link| (link, 0)));
        }
        let remotes = self.found.overlay.iter();
        let remotes = remotes.flat_map(|overlay| &overlay.remotes);
        let below = remotes
            .chain(&self.found.remote)
            .find_map(|remote| Some((remote.vtep, remote.route.answer.as_ref().ok()?.output?)));
        if let Some((vtep, output)) = below {
            let overhead = Encapsulation::Vxlan.overhead(vtep.is_ipv6());
            links.extend(self.link(output).map(|link| (link, overhead)));
        }
        self.found.hops = hops(&links);
    }
}

/// Each interface once; below a tunnel, its packets are the larger ones.
fn hops(links: &[(Link, u32)]) -> Vec<Hop> {
    let mut found: Vec<Hop> = Vec::new();
    for (link, overhead) in links {
        match found.iter_mut().find(|hop| hop.ifname == link.name) {
            Some(known) => known.overhead = known.overhead.max(*overhead),
            None => found.push(Hop {
                ifname: link.name.clone(),
                mtu: link.mtu,
                overhead: *overhead,
            }),
        }
    }
    found
}

impl DropContext {
    /// The VXLAN devices with this network identifier.
    pub fn with_vni(&self, vni: u32) -> impl Iterator<Item = &Link> {
        self.tunnels.iter().filter(move |tunnel| {
            tunnel
                .vxlan()
                .is_some_and(|vxlan| vxlan.external || vxlan.vni == vni)
        })
    }

    /// The FDB entries that were read.
    pub fn fdb(&self) -> &[FdbEntry] {
        self.overlay.as_ref().map_or(&[], |overlay| &overlay.fdb)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

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
            vtep: None,
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
    fn an_interface_is_one_hop_with_its_largest_packets() {
        let link = |name: &str| Link {
            name: name.to_owned(),
            mtu: 1500,
            ..Link::default()
        };
        let found = hops(&[(link("eth0"), 0), (link("vxlan10"), 0), (link("eth0"), 50)]);
        let inner: Vec<_> = found.iter().map(Hop::inner_mtu).collect();
        assert_eq!(inner, [1450, 1500]);
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
