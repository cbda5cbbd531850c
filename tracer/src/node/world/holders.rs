//! Who has an address, and what keeps others from reaching it.

use std::{collections::BTreeSet, net::IpAddr};

use super::{
    Address, AddressFlags, FdbKind, Mac, Namespace, RuleAction, World,
    link::{Kind, Link, LinkId},
    segment::{Obstacle, Segment, Step, Trail},
};
use crate::net::LOCAL_TABLE;

/// A namespace that has an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Holder {
    /// Inode number of the namespace.
    pub(crate) netns: u32,
    /// Name of the namespace.
    pub(crate) netns_name: String,
    /// The link that has the address.
    pub(crate) link: LinkId,
    /// The link's name.
    pub(crate) ifname: String,
    /// The link's own address.
    pub(crate) mac: Option<Mac>,
    /// Flags of the IP address.
    pub(crate) flags: AddressFlags,
    /// Whether the link is up.
    pub(crate) is_up: bool,
    /// Whether the link has a carrier.
    pub(crate) has_carrier: bool,
}

/// What is between a link and a holder of an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Between {
    /// The link's own namespace has the address.
    Same,
    /// Frames pass.
    Nothing,
    /// Frames would pass but for this.
    Obstacles(Vec<Obstacle>),
    /// The bridge takes frames to the holder's MAC address for its own.
    TakenByBridge {
        /// The bridge.
        bridge: LinkId,
        /// Whose address it is: the bridge, or one of its ports.
        owner: LinkId,
        /// The address.
        mac: Mac,
    },
    /// A configured entry of the bridge sends frames to the holder's MAC address elsewhere.
    SentElsewhere {
        /// The bridge.
        bridge: LinkId,
        /// The port that the entry names.
        port: LinkId,
        /// The port that the holder is behind.
        behind: LinkId,
        /// The address.
        mac: Mac,
    },
    /// Nothing connects them. The holder's frames come out here, at the link that is the last one
    /// on its side.
    Apart {
        /// That link.
        outer: LinkId,
        /// The bridge that it is a port of, if it is one.
        bridge: Option<LinkId>,
        /// The bridge beside it that the questioner's frames do reach, in the same namespace: what
        /// it would have to be a port of.
        beside: Option<LinkId>,
    },
    /// The holder's frames leave what can be seen by this link, and so do the questioner's: they may
    /// meet there.
    OutOfSight(LinkId),
}

impl World {
    /// The namespaces that have an address, with the link in each; one with several links that
    /// have it is there several times.
    pub(crate) fn holders(&self, address: IpAddr) -> Vec<Holder> {
        let namespaces = self.namespaces.values();
        namespaces
            .flat_map(|namespace| {
                let held = namespace.addresses.iter();
                held.filter_map(move |held| {
                    let link = namespace.links.get(&held.ifindex)?;
                    let is_loopback = link.kind == Kind::Loopback;
                    held.covers(address, is_loopback)
                        .then(|| holder(namespace, link, held.flags))
                })
            })
            .collect()
    }

    /// Those of [`World::holders`] whose namespace can have to do with this one: in a namespace
    /// that nothing connects to it, the same address is another host's.
    pub(crate) fn holders_near(&self, netns: u32, address: IpAddr) -> Vec<Holder> {
        let near = self.neighborhood(netns);
        let mut holders = self.holders(address);
        holders.retain(|holder| near.contains(&holder.netns));
        holders
    }

    /// The namespaces that links tie to this one, directly or by way of others, itself included.
    /// Those that have a NIC may be connected outside.
    fn neighborhood(&self, netns: u32) -> BTreeSet<u32> {
        let has_nic = |netns: &u32| {
            let links = self.namespace(*netns).map(|one| one.links.values());
            links.into_iter().flatten().any(|link| {
                // The kernel has no name for the kind of a device with a driver.
                link.kind == Kind::Physical
            })
        };
        let outside: Vec<_> = self.namespaces.keys().copied().filter(has_nic).collect();
        let mut near = BTreeSet::new();
        let mut open = vec![netns];
        while let Some(one) = open.pop() {
            if !near.insert(one) {
                continue;
            }
            open.extend(self.tied(one));
            if outside.contains(&one) {
                open.extend(&outside);
            }
        }
        near
    }

    /// The namespaces that a link ties to this one directly.
    fn tied(&self, netns: u32) -> impl Iterator<Item = u32> {
        let ties = self
            .links()
            .filter_map(|link| Some((link.id, link.tie.link()?)));
        ties.filter_map(move |(from, to)| match (from.netns, to.netns) {
            (from, to) if from == netns => Some(to),
            (from, to) if to == netns => Some(from),
            _ => None,
        })
    }

    /// Whether at most one namespace is between two: further away, an address may be another
    /// cluster's on the same machine.
    pub(crate) fn is_close(&self, netns: u32, other: u32) -> bool {
        let mut between = self.tied(netns);
        between.any(|between| between == other || self.tied(between).any(|end| end == other))
    }

    /// Whether a namespace has an address, and uses it. `None` if the namespace was not read.
    pub(crate) fn is_local(&self, netns: u32, address: IpAddr) -> Option<bool> {
        let namespace = self.namespace(netns)?;
        Some(namespace.addresses.iter().any(|held| {
            let link = namespace.links.get(&held.ifindex);
            let is_loopback = link.is_some_and(|link| link.kind == Kind::Loopback);
            held.flags.is_usable() && held.covers(address, is_loopback)
        }))
    }

    /// Whether a namespace ignores packets for an address: it does not hold the address, and it
    /// is an end host. `None` if that was not read.
    pub(crate) fn is_bystander(&self, netns: u32, address: IpAddr) -> Option<bool> {
        let is_end_host = self.is_end_host(netns, address.is_ipv4())?;
        Some(is_end_host && !self.is_local(netns, address)?)
    }

    /// Whether a namespace forwards nothing in a family: it is set so, or it is a container's, whose only
    /// way is the one that a packet came by. Being set so says little: a new namespace has the first one's
    /// settings of IPv4 (`net.core.devconf_inherit_init_net`), so that each pod of a node forwards.
    /// `None` if that was not read.
    pub(crate) fn is_end_host(&self, netns: u32, is_ipv4: bool) -> Option<bool> {
        let namespace = self.namespace(netns)?;
        let settings = namespace.settings?;
        let forwards = match is_ipv4 {
            true => settings.ip_forward,
            false => settings.ipv6_forwarding,
        };
        let links = namespace.links.values();
        let mut ways = links.filter(|link| link.up && link.kind != Kind::Loopback);
        let only = ways.next().filter(|_| ways.next().is_none());
        let is_container = only.is_some_and(|link| link.kind.is_pair() || link.is_on_parent());
        Some(forwards? == 0 || is_container)
    }

    /// Whether a link itself has an address.
    pub(crate) fn has_address(&self, link: LinkId, address: IpAddr) -> bool {
        let namespace = self.namespace(link.netns);
        namespace.is_some_and(|namespace| {
            let mut held = namespace.addresses.iter();
            held.any(|held| held.address == address && held.ifindex == link.ifindex)
        })
    }

    /// What `arp_ignore` is at a link: the larger one of its own and that of all.
    pub(crate) fn arp_ignore(&self, link: &Link) -> u64 {
        let namespace = self.namespace(link.id.netns);
        let all = namespace.and_then(|one| one.settings?.arp_ignore);
        let own = link.ipv4.map_or(0, |settings| settings.arp_ignore);
        all.unwrap_or(0).max(own.into())
    }

    /// Whether a link answers an ARP request for an address of its namespace: `arp_ignore()` in
    /// net/ipv4/arp.c. `None` as the question's source is that of address detection.
    pub(crate) fn answers_at(&self, link: &Link, address: IpAddr, asks_as: Option<IpAddr>) -> bool {
        let Some(namespace) = self.namespace(link.id.netns) else {
            return false;
        };
        let is_at = |of: &Link, asks_as: Option<IpAddr>| {
            let held = || {
                namespace
                    .addresses
                    .iter()
                    .filter(|held| held.ifindex == of.id.ifindex)
            };
            held().any(|held| held.address == address)
                && held().any(|held| {
                    held.is_in_subnet_with(address)
                        && asks_as.is_none_or(|asks_as| held.is_in_subnet_with(asks_as))
                })
        };
        match self.arp_ignore(link) {
            1 => is_at(link, None),
            2 => is_at(link, asks_as),
            3 => namespace
                .addresses
                .iter()
                .any(|held| held.address == address && self.reaches_the_link(namespace, held)),
            8 => false,
            _ => true,
        }
    }

    /// Whether an address holds beyond its host.
    fn reaches_the_link(&self, namespace: &Namespace, held: &Address) -> bool {
        let link = namespace.links.get(&held.ifindex);
        let own = link
            .and_then(|link| link.ipv4)
            .map_or(0, |own| own.route_localnet);
        let all = namespace.settings.and_then(|all| all.route_localnet);
        held.scope < libc::RT_SCOPE_HOST || own != 0 || all.unwrap_or(0) != 0
    }

    /// The link by which frames of another one reach a namespace, with nothing in the way.
    pub(crate) fn reached_by(&self, from: LinkId, netns: u32) -> Option<&Link> {
        let segment = self.segment(from);
        let mut taken = segment.taken.iter();
        let (link, _) = taken.find(|(link, trail)| {
            link.netns == netns && link.netns != from.netns && trail.obstacles.is_empty()
        })?;
        self.link(*link)
    }

    /// Whether no policy rule of a namespace looks up the table of own addresses, so that packets
    /// for the namespace itself are routed out again. `None` if the rules were not read.
    pub(crate) fn lookup_local_missing(&self, netns: u32, is_ipv4: bool) -> Option<bool> {
        let rules = self.namespace(netns)?.rules.as_ref()?;
        let mut of_version = rules.iter().filter(|rule| rule.is_ipv4 == is_ipv4);
        Some(!of_version.any(|rule| rule.action == RuleAction::Lookup(LOCAL_TABLE)))
    }

    /// What is between a link, by which a question for the address is sent, and a holder.
    pub(crate) fn between(&self, from: LinkId, holder: &Holder) -> Between {
        if holder.netns == from.netns {
            return Between::Same;
        }
        let there = self.segment(from);
        if let Some(trail) = there.taken.get(&holder.link) {
            if !trail.obstacles.is_empty() {
                return Between::Obstacles(trail.obstacles.clone());
            }
            let diverted = holder
                .mac
                .as_ref()
                .and_then(|mac| self.diverted(trail, mac));
            return diverted.unwrap_or(Between::Nothing);
        }
        let back = self.segment(holder.link);
        if let Some(exit) = common_exit(&there, &back) {
            return Between::OutOfSight(exit);
        }
        let outer = self.outermost(holder.link, &back);
        let bridge = self.link(outer).filter(|link| link.port.is_some());
        Between::Apart {
            outer,
            bridge: bridge.and_then(|link| Some(link.sibling(link.master?))),
            beside: self
                .bridges(from, &there)
                .find(|bridge| bridge.netns == outer.netns),
        }
    }

    /// The bridges that a link's frames pass.
    fn bridges<'a>(
        &'a self,
        from: LinkId,
        segment: &'a Segment,
    ) -> impl Iterator<Item = LinkId> + 'a {
        let itself = self.link(from).filter(|link| link.bridge().is_some());
        let trails = segment.taken.values().chain(segment.exits.values());
        let steps = trails.flat_map(|trail| &trail.steps);
        let passed = steps.filter_map(|step| match step {
            Step::Bridge { bridge, .. } => Some(*bridge),
            _ => None,
        });
        itself.map(|link| link.id).into_iter().chain(passed)
    }

    /// The last link on the way of a link's frames before a namespace takes them: the other end of
    /// its pair, mostly.
    fn outermost(&self, link: LinkId, segment: &Segment) -> LinkId {
        let other_end = self.link(link).and_then(Link::other_end);
        let taken = segment.taken.iter().filter(|(taken, _)| **taken != link);
        let first = taken.min_by_key(|(_, trail)| trail.steps.len());
        other_end.or(first.map(|(taken, _)| *taken)).unwrap_or(link)
    }

    /// Whether a bridge on the way sends frames to this MAC address elsewhere, or keeps them.
    fn diverted(&self, trail: &Trail, mac: &Mac) -> Option<Between> {
        let hops = trail.steps.windows(2);
        hops.filter_map(|hop| match *hop {
            [Step::Bridge { bridge, from, vlan }, Step::Out(port, _)] => {
                Some((bridge, from, vlan, port))
            }
            _ => None,
        })
        .find_map(|(bridge, from, vlan, port)| {
            let fdb = self.namespace(bridge.netns)?.fdb.as_ref()?;
            let fits = |entry: &&super::FdbEntry| {
                entry.bridge == bridge.ifindex
                    && entry.mac == *mac
                    && (entry.vlan.is_none() || vlan.is_none() || entry.vlan == vlan)
            };
            let entry = fdb.iter().find(fits)?;
            let at = LinkId {
                ifindex: entry.ifindex,
                ..bridge
            };
            match entry.kind {
                FdbKind::Own if from.is_some() => Some(Between::TakenByBridge {
                    bridge,
                    owner: at,
                    mac: mac.clone(),
                }),
                FdbKind::Own | FdbKind::Static if at != port => Some(Between::SentElsewhere {
                    bridge,
                    port: at,
                    behind: port,
                    mac: mac.clone(),
                }),
                _ => None,
            }
        })
    }
}

fn holder(namespace: &Namespace, link: &Link, flags: AddressFlags) -> Holder {
    Holder {
        netns: namespace.inode,
        netns_name: namespace.name.clone(),
        link: link.id,
        ifname: link.name.clone(),
        mac: link.mac.clone(),
        flags,
        is_up: link.up,
        has_carrier: link.carrier,
    }
}

fn common_exit(one: &Segment, other: &Segment) -> Option<LinkId> {
    let exits = one.exits.keys();
    let common = exits.copied().find(|exit| other.exits.contains_key(exit));
    // By different links they leave for networks that may be the same one.
    common.or_else(|| {
        other
            .exits
            .keys()
            .next()
            .copied()
            .filter(|_| !one.exits.is_empty())
    })
}
