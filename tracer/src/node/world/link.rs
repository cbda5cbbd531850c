//! A link of a network namespace: what it is, and what it is tied to.

use std::ops::Deref;

use crate::net::{self, Bridge};
pub(crate) use crate::net::{Kind, MacvlanMode};

/// A link, anywhere on the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct LinkId {
    /// Inode number of its namespace.
    pub(crate) netns: u32,
    /// Its number in there.
    pub(crate) ifindex: u32,
}

/// A link: what the kernel reports of it, where it is, and what it is tied to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Link {
    /// Where it is.
    pub(crate) id: LinkId,
    /// What the kernel reports of it.
    pub(crate) reported: net::Link,
    /// The other end of a pair, or the link below.
    pub(crate) tie: Tie,
}

impl Deref for Link {
    type Target = net::Link;

    fn deref(&self) -> &net::Link {
        &self.reported
    }
}

/// Models are changed where tests make them by hand.
#[cfg(test)]
impl std::ops::DerefMut for Link {
    fn deref_mut(&mut self) -> &mut net::Link {
        &mut self.reported
    }
}

/// The other link that one is tied to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Tie {
    /// There is no such link.
    #[default]
    None,
    /// This one.
    To(LinkId),
    /// One with this number in a namespace that cannot be entered, or was not read.
    Hidden(u32),
}

impl Tie {
    /// The other link, if it was read.
    pub(crate) fn link(self) -> Option<LinkId> {
        match self {
            Self::To(id) => Some(id),
            Self::None | Self::Hidden(_) => None,
        }
    }
}

impl Link {
    /// Whether it takes its own MAC address for that of each neighbor (NOARP; `arp_constructor()` and
    /// `ndisc_constructor()` in the kernel). Links of other kinds without ARP need no MAC address.
    pub(crate) fn resolves_to_itself(&self) -> bool {
        let has_neighbors = matches!(
            self.kind,
            Kind::Veth | Kind::Bridge(_) | Kind::Vlan { .. } | Kind::Macvlan(_) | Kind::Bond
        );
        self.noarp && has_neighbors
    }

    /// The bridge, if it is one.
    pub(crate) fn bridge(&self) -> Option<&Bridge> {
        match &self.kind {
            Kind::Bridge(bridge) => Some(bridge),
            _ => None,
        }
    }

    /// The other end, if it is one end of a pair and the other is known.
    pub(crate) fn other_end(&self) -> Option<LinkId> {
        self.kind.is_pair().then(|| self.tie.link())?
    }

    /// The link below, if it is on top of a known one.
    pub(crate) fn parent(&self) -> Option<LinkId> {
        self.is_on_parent().then(|| self.tie.link())?
    }

    /// Whether it is on top of another link.
    pub(crate) fn is_on_parent(&self) -> bool {
        matches!(
            self.kind,
            Kind::Macvlan(_) | Kind::Ipvlan | Kind::Vlan { .. }
        )
    }

    /// Another link of the same namespace.
    pub(crate) fn sibling(&self, ifindex: u32) -> LinkId {
        LinkId {
            netns: self.id.netns,
            ifindex,
        }
    }
}
