//! A veth pair takes what both of its ends take, so a fix gives both the same MTU. One end alone only
//! moves the drop to the other.

use super::function;
use crate::{
    decode::drop::DropFacts,
    model::{Fix, Site},
    net,
    node::{
        change,
        facts::NodeFacts,
        world::{Link, World},
    },
};

/// Both ends of the veth pair that dropped a packet, as the namespace reports them: the other one is too
/// narrow for it.
pub(super) fn narrow_peer<'a>(
    facts: &DropFacts,
    node: &'a NodeFacts,
) -> Option<(&'a net::Link, &'a net::Link)> {
    let by_veth = matches!(function(facts), "__dev_forward_skb2" | "__dev_forward_skb");
    let link = node.around.link.as_ref().filter(|_| by_veth)?;
    let peer = node.around.peer.as_ref()?;
    let len = facts.packet.as_ref()?.len;
    (len > peer.mtu).then_some((link, peer))
}

/// A veth pair of the node.
pub(super) struct Pair<'a> {
    world: &'a World,
    near: &'a Link,
    far: &'a Link,
}

impl<'a> Pair<'a> {
    /// The pair that an interface of the packet's namespace is an end of, where both ends are known.
    pub(super) fn at(facts: &DropFacts, node: &'a NodeFacts, ifname: &str) -> Option<Self> {
        let world = node.world.as_deref()?;
        let near = world.link_named(facts.netns?, ifname)?;
        let far = world.link(near.other_end()?)?;
        Some(Self { world, near, far })
    }

    /// Both ends with their MTUs, in words.
    pub(super) fn in_words(&self) -> String {
        let Self { world, near, far } = self;
        format!(
            "{} (MTU {}) and {} (MTU {}) are the two ends of a veth pair, and need the same MTU",
            near.name,
            near.mtu,
            world.link_name(far.id, near.id.netns),
            far.mtu
        )
    }

    /// The commands that give both ends this MTU; an end that has it needs none.
    pub(super) fn set(&self, mtu: u32) -> Vec<Fix> {
        let Self { world, near, far } = self;
        let of = |end: &Link| (end.mtu != mtu).then(|| change::mtu(&end.name, end.mtu, mtu));
        // The near one is in the namespace of the drop.
        let near = of(near);
        let far = of(far).map(|fix| fix.at(world.site(far.id.netns)));
        let fixes = near.into_iter().chain(far).collect::<Vec<_>>();
        match fixes.as_slice() {
            [_, _] => fixes
                .into_iter()
                .map(|fix| fix.noting("both ends together"))
                .collect(),
            _ => fixes,
        }
    }

    /// The MTU that both ends should have if they differ. A bridge neither cuts packets up nor reports
    /// them as too large, so its ports take what the others of it take; elsewhere, the smaller one works,
    /// if it is at least what the protocol needs.
    pub(super) fn agreed(&self, least: u32) -> u32 {
        let Self { near, far, .. } = self;
        let (narrow, wide) = (near.mtu.min(far.mtu), near.mtu.max(far.mtu));
        let is_wide = |end: &Link| self.other_ports(end).iter().any(|mtu| *mtu >= wide);
        match narrow < least || is_wide(near) || is_wide(far) {
            true => wide,
            false => narrow,
        }
    }

    /// The MTUs of the other ports of the bridge that an end is a port of.
    fn other_ports(&self, end: &Link) -> Vec<u32> {
        let namespace = self.world.namespace(end.id.netns);
        let links = namespace.into_iter().flat_map(|one| one.links.values());
        let others = links
            .filter(|link| end.port.is_some() && link.master == end.master && link.id != end.id);
        others.map(|link| link.mtu).collect()
    }
}

/// What gives both ends of such a pair the same MTU, where only the namespace's own view of it is known.
pub(super) fn without_world(near: &net::Link, far: &net::Link, least: u32) -> Fix {
    let (narrow, wide) = (near.mtu.min(far.mtu), near.mtu.max(far.mtu));
    match near.port.is_some() || narrow < least {
        true => Fix::advice(format!(
            "give {}, the other end of {}, an MTU of {wide}, too",
            far.name, near.name
        ))
        .at(Site::Host),
        false => change::mtu(&near.name, near.mtu, narrow),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::world::build::{Build, id};

    const LEAST: u32 = 1280;

    fn pair(world: &World) -> Pair<'_> {
        let near = world.link(id(1, 2)).unwrap();
        let far = world.link(near.other_end().unwrap()).unwrap();
        Pair { world, near, far }
    }

    fn lines(fixes: &[Fix]) -> Vec<String> {
        fixes.iter().map(Fix::line).collect()
    }

    #[test]
    fn a_port_is_as_wide_as_the_others_of_its_bridge() {
        let mut build = Build::two_pods();
        build.at(id(2, 2)).mtu = 1300;
        let found = pair(&build.world);
        assert_eq!(found.agreed(LEAST), 1500);
        assert_eq!(
            lines(&found.set(1500)),
            ["in the network namespace 2: ip link set dev eth0 mtu 1500"]
        );
        // All others are as narrow.
        build.at(id(1, 3)).mtu = 1300;
        assert_eq!(pair(&build.world).agreed(LEAST), 1300);
    }

    #[test]
    fn both_ends_are_set_together() {
        let mut build = Build::two_pods();
        build.at(id(2, 2)).mtu = 1300;
        build.at(id(1, 2)).mtu = 1300;
        assert_eq!(
            lines(&pair(&build.world).set(1500)),
            [
                "ip link set dev va mtu 1500  # both ends together",
                "in the network namespace 2: ip link set dev eth0 mtu 1500  # both ends together"
            ]
        );
    }

    #[test]
    fn without_a_bridge_the_smaller_one_works() {
        let mut build = Build::new();
        build.pair((id(1, 2), "right"), (id(2, 2), "eth0"));
        build.at(id(2, 2)).mtu = 1300;
        let found = pair(&build.world);
        assert_eq!(found.agreed(LEAST), 1300);
        assert_eq!(found.agreed(1301), 1500);
        assert_eq!(lines(&found.set(1300)), ["ip link set dev right mtu 1300"]);
        assert_eq!(
            found.in_words(),
            "right (MTU 1500) and eth0 of network namespace n2 (MTU 1300) are the two ends of a veth \
             pair, and need the same MTU"
        );
    }
}
