//! A kernel that answers from a table.

use std::{collections::BTreeMap, net::IpAddr};

use ipnet::IpNet;

use crate::{
    kernel::probes::query::Direction,
    model::{Flow, Hook, Protocol},
    net::{Route, RouteKey, RouteKind},
    node::{
        programs::{Place, Program},
        route::{Lookup, Refusal},
        way::{AtHook, DroppedBy, Judgment, Kernel, Packet, Start, Way},
        world::{
            Link, LinkId, Part, World,
            build::{Build, id},
        },
    },
};

/// A made-up node: its model, its routes and its rules.
pub(super) struct Node {
    pub(super) build: Build,
    routes: Vec<(u32, Route)>,
    rules: BTreeMap<(u32, Hook), Judgment>,
    pub(super) not_forwarding: Vec<(u32, u32)>,
    /// How a namespace refuses what comes in for an address.
    pub(super) refusing: BTreeMap<(u32, IpAddr), Refusal>,
    pub(super) programs: Vec<(LinkId, bool)>,
}

impl Node {
    pub(super) fn new(build: Build) -> Self {
        Self {
            build,
            routes: Vec::new(),
            rules: BTreeMap::new(),
            not_forwarding: Vec::new(),
            refusing: BTreeMap::new(),
            programs: Vec::new(),
        }
    }

    /// A route by a link, with a gateway or none.
    pub(super) fn route(&mut self, netns: u32, to: &str, output: u32, gateway: Option<&str>) {
        let link = self.build.world.link(id(netns, output)).unwrap();
        let route = Route {
            kind: RouteKind::Unicast,
            to: to.parse().unwrap(),
            output: Some(output),
            ifname: Some(link.name.clone()),
            gateway: gateway.map(|gateway| gateway.parse().unwrap()),
            hops: Vec::new(),
            table: 254,
            protocol: libc::RTPROT_BOOT,
            metric: None,
            mtu: None,
            mtu_expires: None,
            source: None,
        };
        self.routes.push((netns, route));
    }

    pub(super) fn remove_routes(&mut self, netns: u32) {
        self.routes.retain(|(of, _)| *of != netns);
    }

    pub(super) fn drops(&mut self, netns: u32, hook: Hook) {
        let rule = Judgment::Drops(DroppedBy {
            text: "a rule".to_owned(),
            by_policy: false,
            rejects: false,
            counter: None,
        });
        self.rules.insert((netns, hook), rule);
    }

    /// Makes the mark at a hook unknown.
    pub(super) fn marks(&mut self, netns: u32, hook: Hook, of: &Flow) {
        let mut packet = Packet::first_of(*of);
        packet.mark = None;
        self.rules
            .insert((netns, hook), Judgment::Passes(vec![packet]));
    }

    /// Lets everything pass at a hook.
    pub(super) fn passes(&mut self, netns: u32, hook: Hook) {
        self.rules.remove(&(netns, hook));
    }

    /// Translates the destination at a hook, to one of these.
    pub(super) fn dnat(&mut self, netns: u32, hook: Hook, from: &Flow, to: &[&str]) {
        let behind = to.iter().map(|to| {
            let mut packet = Packet::first_of(*from);
            packet.flow.dst = to.parse().unwrap();
            packet
        });
        let behind = Judgment::Passes(behind.collect());
        self.rules.insert((netns, hook), behind);
    }

    pub(super) fn walk(&self, start: Start, src: &str, dst: &str) -> Way {
        self.walk_packet(start, &Packet::first_of(flow(src, dst)))
    }

    pub(super) fn walk_packet(&self, start: Start, packet: &Packet) -> Way {
        let mut ways = Way::all_of(&self.build.world, self, start, packet);
        assert_eq!(ways.len(), 1);
        ways.remove(0)
    }

    /// The end, in words.
    pub(super) fn end(&self, start: Start, src: &str, dst: &str) -> String {
        self.walk(start, src, dst).end.in_words(&self.build.world)
    }

    fn world(&self) -> &World {
        &self.build.world
    }
}

pub(super) fn flow(src: &str, dst: &str) -> Flow {
    Flow {
        proto: Protocol::Tcp,
        src: src.parse().unwrap(),
        sport: Some(40000),
        dst: dst.parse().unwrap(),
        dport: Some(80),
    }
}

impl Kernel for Node {
    fn route(&self, netns: u32, key: RouteKey) -> Result<Lookup, String> {
        let refuses = |iif| self.not_forwarding.contains(&(netns, iif));
        let of_own = || Route {
            kind: RouteKind::Local,
            to: IpNet::from(key.dst),
            output: Some(1),
            ifname: Some("lo".to_owned()),
            gateway: None,
            hops: Vec::new(),
            table: 255,
            protocol: libc::RTPROT_KERNEL,
            metric: None,
            mtu: None,
            mtu_expires: None,
            source: None,
        };
        let mut of_table: Vec<_> = self
            .routes
            .iter()
            .filter(|(of, route)| *of == netns && route.to.contains(&key.dst))
            .map(|(_, route)| route.clone())
            .collect();
        of_table.sort_by_key(|route| std::cmp::Reverse(route.to.prefix_len()));
        let refusal = self
            .refusing
            .get(&(netns, key.dst))
            .filter(|_| key.iif.is_some());
        let answer = if let Some(refusal) = refusal {
            Err(*refusal)
        } else if self.world().is_local(netns, key.dst) == Some(true) {
            Ok(of_own())
        } else if let Some(route) = of_table.into_iter().next() {
            match key.iif {
                Some(iif) if refuses(iif) => Err(Refusal::NotForwarding),
                _ => Ok(route),
            }
        } else {
            Err(Refusal::NoRoute)
        };
        Ok(Lookup {
            packet: key,
            matched: None,
            blocking: Vec::new(),
            answer,
        })
    }

    fn pass(&self, at: &AtHook, packet: &Packet) -> Judgment {
        match self.rules.get(&(at.netns, at.hook)) {
            Some(Judgment::Passes(all)) => {
                let behind = all.iter().map(|to| Packet {
                    flow: to.flow,
                    mark: to.mark,
                    ..packet.clone()
                });
                Judgment::Passes(behind.collect())
            }
            Some(judgment) => judgment.clone(),
            None => Judgment::Passes(vec![packet.clone()]),
        }
    }

    fn programs(&self, link: &Link, is_ingress: bool) -> Result<Vec<Program>, String> {
        let at = (link.id, is_ingress);
        let program = self.programs.contains(&at);
        let made_up = || Program {
            place: Place::Tcx(Direction::Ingress),
            name: Some("a_program".to_owned()),
            id: Some(1),
            filter: None,
            filter_id: None,
            links: Vec::new(),
            action: None,
            drops: None,
            redirect: None,
            is_left_behind: false,
        };
        Ok(program.then(made_up).into_iter().collect())
    }
}

#[test]
fn every_part_that_a_walk_needs_is_read() {
    let parts = Part::all();
    for part in [
        Part::Fdb,
        Part::Neighbors,
        Part::Rules,
        Part::Settings,
        Part::Vlans,
    ] {
        assert!(parts.contains(&part));
    }
}
