//! The model in words.

use super::{
    Between, FdbKind, Holder, Mac, Obstacle, PortState, World,
    link::{Kind, LinkId, MacvlanMode},
};
use crate::words;

/// What port timers count in: `USER_HZ`, the same on all machines with Linux of today.
const TICKS: u64 = 100;

impl World {
    /// A link's name; with its namespace, if that is not the reader's.
    pub(crate) fn link_name(&self, id: LinkId, reader: u32) -> String {
        let name = match self.link(id) {
            Some(link) => link.name.clone(),
            None => format!("link {}", id.ifindex),
        };
        match self.namespace(id.netns) {
            Some(namespace) if id.netns != reader => {
                format!("{name} of {}", words::namespace(&namespace.name))
            }
            _ => name,
        }
    }

    /// What is between a link and a holder of an address, as a sentence without its end. `None` if
    /// nothing is in the way.
    pub(crate) fn between_in_words(&self, from: LinkId, between: &Between) -> Option<String> {
        let name = |id| self.link_name(id, from.netns);
        Some(match between {
            Between::Same | Between::Nothing | Between::OutOfSight(_) => return None,
            Between::Obstacles(obstacles) => {
                let all: Vec<_> = obstacles
                    .iter()
                    .map(|obstacle| self.obstacle_in_words(obstacle, from.netns))
                    .collect();
                all.join(", and ")
            }
            Between::TakenByBridge { bridge, owner, mac } => format!(
                "the bridge {} takes frames to {mac} for its own: {} has the same address",
                name(*bridge),
                name(*owner)
            ),
            Between::SentElsewhere {
                bridge,
                port,
                behind,
                mac,
            } => format!(
                "a configured FDB entry of the bridge {} sends frames to {mac} to {}, but that \
                 address is behind {}",
                name(*bridge),
                name(*port),
                name(*behind)
            ),
            Between::Apart {
                outer,
                bridge: Some(bridge),
                ..
            } => format!(
                "{} is a port of the bridge {}, which {} does not reach",
                name(*outer),
                name(*bridge),
                name(from)
            ),
            Between::Apart {
                outer,
                bridge: None,
                beside: Some(_),
            } => format!("{} is a port of no bridge", name(*outer)),
            Between::Apart { .. } => {
                format!("no bridge or cable leads there from {}", name(from))
            }
        })
    }

    /// The bridge port to which a configured entry sends frames for a MAC address, as the rest of a
    /// sentence; empty if there is none.
    pub(crate) fn configured_in_words(&self, mac: &Mac, reader: u32) -> String {
        let entries = self.namespaces.values().flat_map(|namespace| {
            let fdb = namespace.fdb.iter().flatten();
            fdb.map(move |entry| (namespace.inode, entry))
        });
        let mut configured =
            entries.filter(|(_, entry)| entry.kind == FdbKind::Static && entry.mac == *mac);
        let Some((netns, entry)) = configured.next() else {
            return String::new();
        };
        let name = |ifindex| self.link_name(LinkId { netns, ifindex }, reader);
        format!(
            ": a configured FDB entry of the bridge {} sends them to {}",
            name(entry.bridge),
            name(entry.ifindex)
        )
    }

    /// What is in the way, as a sentence without its end.
    pub(crate) fn obstacle_in_words(&self, obstacle: &Obstacle, reader: u32) -> String {
        let name = |id: &LinkId| self.link_name(*id, reader);
        match obstacle {
            Obstacle::Down(id) => format!("{} is down", name(id)),
            Obstacle::NoCarrier(id) => format!("{} has no carrier", name(id)),
            Obstacle::PortState(id, state) => {
                let mut text = format!("the bridge port {} is in STP state {state}", name(id));
                if let Some(seconds) = self.seconds_to_forwarding(*id) {
                    text += &format!(" and forwards in {seconds} s");
                }
                text
            }
            Obstacle::Isolated(one, other) => format!(
                "the bridge ports {} and {} are both isolated",
                name(one),
                name(other)
            ),
            Obstacle::Hairpin(id) => format!(
                "the frame would have to leave through {0}, where it came in, and hairpin mode of {0} \
                 is off",
                name(id)
            ),
            Obstacle::VlanIn(id, None) => {
                format!("the bridge port {} takes no untagged frames", name(id))
            }
            Obstacle::VlanIn(id, Some(vlan)) | Obstacle::VlanOut(id, vlan) => {
                format!(
                    "the bridge port {} is not a member of VLAN {vlan}",
                    name(id)
                )
            }
            Obstacle::NoFlood(id) => {
                format!(
                    "broadcasts do not leave through the bridge port {}",
                    name(id)
                )
            }
            Obstacle::OwnParent { child, parent } => format!(
                "{} is on top of {}, and the two never exchange frames",
                name(child),
                name(parent)
            ),
            Obstacle::MacvlanMode(id) => {
                let mode = match self.link(*id).map(|link| &link.kind) {
                    Some(Kind::Macvlan(MacvlanMode::Private)) => "private",
                    Some(Kind::Macvlan(MacvlanMode::Vepa)) => "vepa",
                    Some(Kind::Macvlan(MacvlanMode::Source)) => "source",
                    Some(Kind::Macvlan(MacvlanMode::Passthru)) => "passthru",
                    _ => "another",
                };
                format!(
                    "{} is in macvlan mode {mode}, which keeps it apart from others of its parent",
                    name(id)
                )
            }
        }
    }

    /// How long a bridge port still waits for the spanning tree.
    fn seconds_to_forwarding(&self, id: LinkId) -> Option<u64> {
        let link = self.link(id)?;
        let port = link.port?;
        let bridge = self.link(link.sibling(link.master?))?.bridge()?;
        let then = match port.state {
            PortState::Listening => u64::from(bridge.forward_delay),
            PortState::Learning => 0,
            _ => return None,
        };
        (port.forward_delay_timer > 0).then(|| (port.forward_delay_timer + then).div_ceil(TICKS))
    }

    /// A holder's link, and what is wrong with the address there.
    pub(crate) fn holder_in_words(&self, holder: &Holder, reader: u32) -> String {
        let mut text = self.link_name(holder.link, reader);
        if holder.flags.dadfailed {
            text += ", where duplicate address detection found another holder";
        } else if holder.flags.tentative && !holder.flags.is_usable() {
            text += ", where duplicate address detection has not finished";
        } else if !holder.is_up {
            text += ", which is down";
        } else if !holder.has_carrier {
            text += ", which has no carrier";
        }
        text
    }
}
