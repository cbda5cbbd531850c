//! Reads the facts, one after the other.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Instant,
};

use anyhow::{Context as _, Result};

use super::{DropContext, Fact, Question};
use crate::{
    model::Protocol,
    net::{Link, RouteKey, RouteKind, Rtnetlink, netns::Inside},
    node::{
        fragments::Fragments,
        ipsec::Ipsec,
        ipvs::IpvsService,
        listener::ListenerFacts,
        programs,
        route::{Forwarding, Lookup},
        rpfilter::RpFilter,
        sockets,
        tun::TunDevice,
    },
};

/// An address that no network has (TEST-NET-1, RFC 5737): only the default route matches it.
const ANYWHERE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

/// As many next hops at one interface are asked about: a route may have hundreds.
const MANY_HOPS: usize = 16;

pub(super) struct Reader<'a> {
    pub(super) rtnetlink: Rtnetlink,
    inside: Inside,
    pub(super) question: &'a Question,
    pub(super) found: DropContext,
}

impl<'a> Reader<'a> {
    pub(super) fn open(inside: Inside, question: &'a Question) -> Result<Self> {
        Ok(Self {
            rtnetlink: Rtnetlink::open().context("cannot open an rtnetlink socket")?,
            inside,
            question,
            found: DropContext::default(),
        })
    }

    /// Reads all that is wanted.
    pub(super) fn read(mut self) -> DropContext {
        let question = self.question;
        let wants = |fact| question.wanted.contains(&fact);
        self.found.link = self.link(question.ifindex);
        self.found.incoming = match question.iif {
            Some(iif) if iif == question.ifindex => self.found.link.clone(),
            Some(iif) => self.link(iif),
            None => None,
        };
        let routed = [
            Fact::Route,
            Fact::RpFilter,
            Fact::Neighbor,
            Fact::Overlay,
            Fact::Mtu,
        ];
        if routed.into_iter().any(wants) {
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
            if wants(Fact::Tun) && link.kind.is_tun() {
                let found = self.step("the reader of the tun device", |reader| {
                    TunDevice::read(&reader.inside, link.ifindex)
                });
                self.found.tun = found.flatten();
            }
        } else if wants(Fact::Programs) || wants(Fact::Qdisc) {
            let gap = "the interface is not known, so neither are its programs and queues";
            self.found.gaps.push(gap.to_owned());
        }
        if wants(Fact::Fragments) {
            let found = self.step("the memory for reassembly", |reader| {
                let question = reader.question;
                Fragments::read(question.dst.is_ipv4(), question.in_netfilter)
            });
            self.found.fragments = found.flatten();
        }
        if wants(Fact::Ipsec) {
            self.found.ipsec =
                self.step("the IPsec policies", |reader| Ipsec::read(reader.question));
        }
        if wants(Fact::Ipvs) {
            self.ipvs();
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
        self.found
    }

    /// One reading; a failure is a gap.
    pub(super) fn step<T>(
        &mut self,
        what: &str,
        read: impl FnOnce(&Self) -> Result<T>,
    ) -> Option<T> {
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

    pub(super) fn link(&mut self, ifindex: u32) -> Option<Link> {
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
            dport: question.dport,
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

    fn ipvs(&mut self) {
        let Question {
            dst, dport, proto, ..
        } = *self.question;
        let Some(protocol) = Protocol::from(proto).name() else {
            return;
        };
        let services = self.step("the services of IPVS", |_| IpvsService::read());
        let mut services = services.unwrap_or_default().into_iter();
        self.found.ipvs = services.find(|service| service.takes(protocol, dst, dport));
    }

    fn listener(&mut self) {
        let Some(port) = self.question.dport else {
            return;
        };
        let destination = SocketAddr::new(self.question.dst, port);
        self.found.listener = self.step("the listener", |reader| {
            ListenerFacts::read(reader.inside, destination, None)
        });
    }

    fn sockets(&mut self) {
        let protocol = Protocol::from(self.question.proto);
        let Some(port) = self.question.dport else {
            return;
        };
        let found = self.step("the sockets", |_| sockets::with_local_port(protocol, port));
        let mut found = found.unwrap_or_default();
        // One that is there, and did not get the packet: its options may say why.
        if found.iter().any(|socket| !socket.is_connected()) {
            self.step("the socket's options", |_| {
                sockets::add_options(&mut found, protocol, port)
            });
        }
        self.found.sockets = found;
    }

    fn rpfilter(&mut self) {
        let came_in = self.found.incoming.as_ref().or(self.found.link.as_ref());
        let Some((ifindex, name)) = came_in.map(|link| (link.ifindex, link.name.clone())) else {
            let gap = "the interface it came in through is not known, so neither is its rp_filter";
            self.found.gaps.push(gap.to_owned());
            return;
        };
        let (src, mark) = (self.question.src, self.question.mark);
        let route = self.found.route.as_ref();
        let matched = route.and_then(|lookup| lookup.matched.as_ref());
        let towards = matched
            .filter(|route| route.kind == RouteKind::Unicast)
            .and_then(|route| route.output);
        let way = (self.question.dst, towards);
        let found = self.step("the reverse-path filter", |reader| {
            RpFilter::read(&reader.rtnetlink, (ifindex, &name), src, mark, way)
        });
        self.found.rpfilter = found.flatten();
    }

    fn neighbors(&mut self) {
        let dst = self.question.dst;
        let default = self.step("the default route", |reader| {
            Ok(Lookup::read(&reader.rtnetlink, RouteKey::to(ANYWHERE))?.matched)
        });
        let default = default.flatten();
        let default = default.filter(|route| route.to.prefix_len() == 0 && dst.is_ipv4());
        self.found.default_route = default;
        let at = self.question.ifindex;
        let lookup = self.found.route.as_ref();
        let answer = lookup.and_then(|lookup| lookup.answer.as_ref().ok());
        let answered = answer.filter(|route| at == 0 || route.output.is_none_or(|out| out == at));
        let matched = answer.and(lookup.and_then(|lookup| lookup.matched.as_ref()));
        // The answer names one next hop of several, and not always that of this packet.
        let spread = matched.map_or(&[][..], |route| route.hops.as_slice());
        let here = spread.iter().filter(|(output, _)| at == 0 || *output == at);
        let gateways = here.filter_map(|(_, gateway)| *gateway);
        let gateways = gateways.chain(answered.and_then(|route| route.gateway));
        let addresses: BTreeSet<_> = gateways.chain([dst]).collect();
        for address in addresses.into_iter().take(MANY_HOPS) {
            let found = self.step("the neighbor entries", |reader| {
                Ok(reader.rtnetlink.neighbors_of(address, None)?)
            });
            self.found.neighbors.extend(found.unwrap_or_default());
        }
    }
}
