//! A frame that is not for the interface it came in through: its destination, and its sender.

use std::net::IpAddr;

use super::destination_mac;
use crate::{
    decode::drop::DropFacts,
    net::{Mac, Neighbor, NeighborState},
    node::{
        facts::NodeFacts,
        world::{Holder, Link, LinkId, Namespace, World},
    },
};

pub(in crate::verdict::drops) struct Frame<'a> {
    pub(in crate::verdict::drops) world: &'a World,
    /// Where it was dropped.
    pub(in crate::verdict::drops) netns: u32,
    pub(in crate::verdict::drops) ifindex: u32,
    /// Its destination.
    mac: Mac,
    /// Who sent it, if a link of this node has the source address.
    senders: Vec<&'a Namespace>,
}

impl<'a> Frame<'a> {
    /// `None` if its MAC address is not known, or nothing of the node.
    pub(in crate::verdict::drops) fn of(facts: &DropFacts, node: &'a NodeFacts) -> Option<Self> {
        let (netns, world) = facts.netns.zip(node.world.as_deref())?;
        let from = facts.wire.as_deref()?.src_mac.map(|mac| Mac(mac.to_vec()));
        let is_sender = |namespace: &&Namespace| {
            let mut links = namespace.links.values();
            from.is_some() && links.any(|link| link.mac == from)
        };
        Some(Self {
            world,
            netns,
            ifindex: facts.key.ifindex,
            mac: destination_mac(facts)?,
            senders: world.namespaces.values().filter(is_sender).collect(),
        })
    }

    fn takers(&self) -> impl Iterator<Item = &'a Link> {
        let links = self.world.links();
        links.filter(|link| link.mac.as_ref() == Some(&self.mac))
    }

    /// Whether another interface of this very namespace has the MAC address.
    pub(in crate::verdict::drops) fn is_own_mac(&self) -> bool {
        self.takers().any(|taker| taker.id.netns == self.netns)
    }

    /// The interface of this namespace that has an address.
    pub(in crate::verdict::drops) fn own(&self, address: IpAddr) -> Option<Holder> {
        let holders = self.world.holders(address);
        let mut own = holders
            .into_iter()
            .filter(|holder| holder.netns == self.netns);
        own.find(|holder| holder.mac.is_some())
    }

    /// The next hops that the senders' entries give this MAC address: the destination itself, if it
    /// is among them.
    fn hops(&self, dst: IpAddr) -> Vec<(&'a Namespace, &'a Neighbor)> {
        let entries = self.senders.iter().flat_map(|sender| {
            let entries = sender.neighbors.iter().flatten();
            entries.map(|entry| (*sender, entry))
        });
        let hops = entries.filter(|(_, entry)| entry.lladdr.as_ref() == Some(&self.mac));
        let mut hops: Vec<_> = hops.collect();
        if hops.iter().any(|(_, hop)| hop.address == dst) {
            hops.retain(|(_, hop)| hop.address == dst);
        }
        hops
    }

    /// The link that the frame is rightly for, and the address that it has: nothing is wrong with
    /// the sender's entry. Never a port of a bridge: the bridge takes what is for a port's MAC address,
    /// and the namespace then takes it for another host's.
    pub(in crate::verdict::drops) fn rightful(&self, dst: IpAddr) -> Option<(&'a Link, IpAddr)> {
        let hops: Vec<_> = self
            .hops(dst)
            .into_iter()
            .map(|(_, hop)| hop.address)
            .collect();
        let mut takers = self.takers().filter(|taker| taker.port.is_none());
        takers.find_map(|taker| {
            let mut hops = [dst].into_iter().chain(hops.iter().copied());
            let hop = hops.find(|hop| self.world.is_local(taker.id.netns, *hop) == Some(true))?;
            Some((taker, hop))
        })
    }

    /// The sender's entry that gives this MAC address to the destination itself.
    pub(in crate::verdict::drops) fn entry_of(
        &self,
        dst: IpAddr,
    ) -> Option<(&'a Namespace, &'a Neighbor)> {
        let mut hops = self.hops(dst).into_iter();
        hops.find(|(_, hop)| hop.address == dst)
    }

    /// The sender's link, if it has sent the frame to its own MAC address, as it asks no one.
    pub(in crate::verdict::drops) fn asks_no_one(&self, dst: IpAddr) -> Option<&'a Link> {
        let hops = self.hops(dst).into_iter();
        let mut links = hops
            .filter(|(_, hop)| hop.state == NeighborState::Noarp)
            .filter_map(|(sender, hop)| {
                self.world.link(LinkId {
                    netns: sender.inode,
                    ifindex: hop.ifindex,
                })
            });
        links.find(|link| link.noarp && link.mac.as_ref() == Some(&self.mac))
    }

    /// The sender's entry that is surely wrong: another link of this node has the next hop, or none
    /// that the frame can come to has the MAC address.
    pub(in crate::verdict::drops) fn stale_entry(
        &self,
        dst: IpAddr,
    ) -> Option<(&'a Namespace, &'a Neighbor)> {
        let here = LinkId {
            netns: self.netns,
            ifindex: self.ifindex,
        };
        let leaves = || {
            // What is behind a link that was not read is not known.
            if self.world.link(here).is_none() {
                return true;
            }
            let segment = self.world.segment(here);
            segment
                .exits
                .values()
                .any(|trail| trail.obstacles.is_empty())
        };
        let is_nowhere = self.takers().next().is_none() && self.world.is_whole() && !leaves();
        let mut hops = self.hops(dst).into_iter();
        hops.find(|(sender, hop)| {
            is_nowhere
                || !self
                    .world
                    .holders_near(sender.inode, hop.address)
                    .is_empty()
        })
    }

    /// The bridge that a frame was dropped at, and its port that has the frame's MAC address: a bridge
    /// without a MAC address of its own has that of a port, and another one when ports come and go.
    pub(in crate::verdict::drops) fn former(&self) -> Option<(&'a Link, &'a Link)> {
        let here = LinkId {
            netns: self.netns,
            ifindex: self.ifindex,
        };
        let bridge = self.world.link(here)?;
        let is_port =
            |taker: &&Link| taker.id.netns == here.netns && taker.master == Some(here.ifindex);
        Some((bridge, self.takers().find(is_port)?))
    }

    /// The address that it is for.
    pub(in crate::verdict::drops) fn mac(&self) -> &Mac {
        &self.mac
    }

    /// The sender's next hop that the namespace where it was dropped does have: a router, for the
    /// sender.
    pub(in crate::verdict::drops) fn gateway(&self, dst: IpAddr) -> Option<IpAddr> {
        let hops = self.hops(dst);
        let mut hops = hops.iter().map(|(_, hop)| hop.address);
        // Another entry of the same host says nothing of how this destination is reached.
        if self.entry_of(dst).is_some() || self.is_on_link(dst) {
            return None;
        }
        hops.find(|hop| self.world.is_local(self.netns, *hop) == Some(true))
    }

    /// Whether a sender has the destination in the subnet of one of its addresses.
    fn is_on_link(&self, dst: IpAddr) -> bool {
        let mut held = self.senders.iter().flat_map(|sender| &sender.addresses);
        held.any(|held| held.is_in_subnet_with(dst))
    }

    /// Whose MAC address it is, as a clause.
    pub(in crate::verdict::drops) fn whose(&self) -> String {
        match self.takers().next() {
            Some(link) => {
                let name = self.world.link_name(link.id, self.netns);
                format!("the address of {name}")
            }
            None if self.world.is_whole() => "which no interface in sight has".to_owned(),
            None => "which no interface that could be read has".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        decode::drop::Wire,
        model::{Confidence, Confidence::*, Point, Point::*},
        net::Kind,
        node::world::{
            Settings,
            build::{Build, id},
        },
        verdict::{
            drop::judge,
            drops::{other_host::is_flooded, tests},
        },
    };

    /// Pods 2 to 4 behind the bridge of namespace 1: 2 sends, and 4 gets what is for 3.
    fn pods(entry_of: &str, mac: [u8; 6]) -> Build {
        let mut build = Build::two_pods();
        build.pair((id(1, 4), "vc"), (id(4, 2), "eth0"));
        build.port(id(1, 4), 1);
        build.address(id(4, 2), "10.0.1.4");
        entry(&mut build, entry_of, mac);
        build
    }

    fn entry(build: &mut Build, address: &str, mac: [u8; 6]) {
        build.neighbor(
            2,
            Neighbor {
                address: address.parse().unwrap(),
                ifindex: 2,
                state: NeighborState::Reachable,
                lladdr: Some(Mac(mac.to_vec())),
                probes: 0,
            },
        );
    }

    const SENDER: [u8; 6] = [2, 0, 0, 2, 0, 2];
    const THIRD: [u8; 6] = [2, 0, 0, 3, 0, 2];
    const NOWHERE: [u8; 6] = [2, 0, 0, 0, 0, 0x99];

    fn judged(build: &Build, src: [u8; 6], mac: [u8; 6]) -> (Point, Confidence, String) {
        judged_for(build, "10.0.1.3", src, mac)
    }

    fn seen(build: &Build, dst: &str, src: [u8; 6], mac: [u8; 6]) -> (DropFacts, NodeFacts) {
        let mut facts = tests::facts("OTHERHOST", "ip_rcv_core");
        facts.netns = Some(4);
        facts.key.ifindex = 2;
        facts.flow.src = [10, 0, 1, 2].into();
        facts.flow.dst = dst.parse().unwrap();
        facts.wire = Some(Arc::new(Wire {
            src_mac: Some(src),
            dst_mac: Some(mac),
            ..Wire::default()
        }));
        let node = NodeFacts {
            world: Some(Arc::new(build.world.clone())),
            ..NodeFacts::default()
        };
        (facts, node)
    }

    fn judged_for(
        build: &Build,
        dst: &str,
        src: [u8; 6],
        mac: [u8; 6],
    ) -> (Point, Confidence, String) {
        let (facts, node) = seen(build, dst, src, mac);
        let verdict = judge(&facts, &node);
        assert_eq!(verdict.rule, Some("other-host".into()));
        let is_blamed = verdict.point == Endpoint;
        assert_eq!(!verdict.fix.is_empty(), is_blamed, "{verdict:?}");
        (verdict.point, verdict.confidence, verdict.why)
    }

    #[test]
    fn an_entry_that_is_right_is_not_blamed() {
        let (point, confidence, why) = judged(&pods("10.0.1.3", THIRD), SENDER, THIRD);
        assert_eq!((point, confidence), (Unknown, Possible));
        assert!(
            why.contains("eth0 of network namespace n3, which has 10.0.1.3"),
            "{why}"
        );
        // Nor is one of the gateway, for what is behind it.
        let build = pods("10.0.1.3", THIRD);
        let (point, _, why) = judged_for(&build, "192.0.2.1", SENDER, THIRD);
        assert_eq!(point, Unknown, "{why}");
        // The same from any sender.
        assert_eq!(judged(&pods("10.0.1.3", THIRD), NOWHERE, THIRD).0, Unknown);
    }

    #[test]
    fn an_entry_that_is_wrong_is_named() {
        let (point, confidence, why) = judged(&pods("10.0.1.3", NOWHERE), SENDER, NOWHERE);
        assert_eq!((point, confidence), (Endpoint, Likely));
        assert!(
            why.contains("network namespace n2 for 10.0.1.3 has it"),
            "{why}"
        );
        // The entry of another address is right, and this one's is not.
        let mut build = pods("10.0.1.3", THIRD);
        build.address(id(1, 1), "10.0.1.9");
        entry(&mut build, "10.0.1.9", THIRD);
        let (point, _, why) = judged_for(&build, "10.0.1.9", SENDER, THIRD);
        assert_eq!(point, Endpoint, "{why}");
    }

    /// The bridge has lost the MAC address of its port, and a pod has that for its gateway still.
    #[test]
    fn an_entry_with_a_former_mac_address_of_the_bridge_is_named() {
        const PORT: [u8; 6] = [2, 0, 0, 1, 0, 3];
        let judged = |is_port: bool| {
            let mut build = pods("10.0.1.1", PORT);
            if !is_port {
                let link = build.at(id(1, 3));
                (link.master, link.port) = (None, None);
            }
            let (mut facts, node) = seen(&build, "192.0.2.1", SENDER, PORT);
            facts.netns = Some(1);
            facts.key.ifindex = 1;
            judge(&facts, &node)
        };
        let verdict = judged(true);
        assert_eq!(
            (verdict.point, verdict.confidence),
            (Endpoint, Likely),
            "{verdict:?}"
        );
        let says = |what: &str| verdict.evidence.iter().any(|fact| fact.contains(what));
        assert!(says("cni0 has"), "{verdict:?}");
        // Another interface of the gateway has the address.
        assert_eq!(judged(false).point, Unknown);
    }

    #[test]
    fn what_may_be_outside_is_not_known() {
        // No host of this node has the next hop, and the bridge has a port that leads outside.
        let mut build = pods("10.0.1.77", NOWHERE);
        assert_eq!(judged_for(&build, "10.0.1.77", SENDER, NOWHERE).0, Endpoint);
        build.link(id(1, 7), "ens5", Kind::Physical);
        build.port(id(1, 7), 1);
        let (point, confidence, why) = judged_for(&build, "10.0.1.77", SENDER, NOWHERE);
        assert_eq!((point, confidence), (Unknown, Possible), "{why}");
        // The sender is not on this node.
        let build = pods("10.0.1.3", NOWHERE);
        assert_eq!(judged(&build, [2; 6], NOWHERE).0, Unknown);
    }

    #[test]
    fn an_address_of_the_interface_itself_is_reason_enough() {
        let build = pods("10.0.1.4", NOWHERE);
        let (point, _, why) = judged_for(&build, "10.0.1.4", [2; 6], NOWHERE);
        assert_eq!(point, Endpoint, "{why}");
        // One that it has as a backend of a balancer is not.
        let mut build = pods("10.0.9.9", NOWHERE);
        build.link(id(4, 1), "lo", Kind::Loopback);
        build.address(id(4, 1), "10.0.9.9");
        assert_eq!(judged_for(&build, "10.0.9.9", [2; 6], NOWHERE).0, Unknown);
    }

    #[test]
    fn what_goes_from_one_stranger_to_another_is_flooded() {
        let is_flooded = |build: &Build, src: [u8; 4], mac| {
            let (mut facts, node) = seen(build, "10.0.1.77", NOWHERE, mac);
            facts.iif = 2;
            facts.flow.src = src.into();
            is_flooded(&facts, &node)
        };
        let build = pods("10.0.1.3", THIRD);
        assert!(is_flooded(&build, [10, 0, 1, 78], NOWHERE));
        // The sender is on this node: its neighbor entry may be wrong.
        assert!(!is_flooded(&build, [10, 0, 1, 2], NOWHERE));
        // The frame is for a link of this node.
        assert!(!is_flooded(&build, [10, 0, 1, 78], THIRD));
    }

    /// On a Kubernetes node, each pod forwards.
    #[test]
    fn a_copy_for_another_pod_is_flooded_whether_this_one_forwards() {
        let seen_by = |build: &Build, forwards, dst, mac| {
            let (facts, node) = seen(build, dst, SENDER, mac);
            let mut world = build.world.clone();
            let settings = &mut world.namespaces.get_mut(&4).unwrap().settings;
            *settings = Some(Settings {
                ip_forward: Some(forwards),
                ..Settings::default()
            });
            let node = NodeFacts {
                world: Some(Arc::new(world)),
                ..node
            };
            is_flooded(&facts, &node)
        };
        let build = pods("10.0.1.3", THIRD);
        for forwards in [0, 1] {
            assert!(seen_by(&build, forwards, "10.0.1.3", THIRD));
            // For a pod with one interface, what is for no one it knows of is a copy, too.
            assert!(seen_by(&build, forwards, "10.0.1.77", NOWHERE));
            // Its own address is asked for with another MAC address.
            assert!(!seen_by(&build, forwards, "10.0.1.4", NOWHERE));
        }
        // A router has another way for it.
        let mut router = build.clone();
        router.pair((id(4, 3), "eth1"), (id(2, 9), "eth9"));
        assert!(!seen_by(&router, 1, "10.0.1.77", NOWHERE));
    }
}
