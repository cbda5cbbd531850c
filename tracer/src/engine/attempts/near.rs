//! Where an attempt's packets can be lost: at the interfaces of its ladder, and next to them.

use tracer_common::tuple::Tuple;

use crate::{
    attempt::{Attempt, Step},
    decode::drop::DropFacts,
    engine::interfaces::Interfaces,
    net::Link,
};

/// Whether a packet that was dropped can have come there by the attempt's way.
///
/// A packet that came in through an interface off that way is another one, whatever it says of itself.
pub(super) fn is_on_way(attempt: &Attempt, facts: &DropFacts, interfaces: &Interfaces) -> bool {
    let (netns, at, came_in_by) = (facts.key.netns, facts.key.ifindex, facts.iif);
    let mut seen = hops(attempt);
    if came_in_by == 0 {
        // It was made in the namespace, or has only just come into it.
        let is_own = at == 0 || interfaces.is_local(netns, facts.key.flow.src.into());
        if netns == 0 || (is_own && seen.any(|hop| hop.place.netns == netns)) {
            return true;
        }
    }
    let by = if came_in_by == 0 { at } else { came_in_by };
    hops(attempt).any(|hop| is_near(hop, (netns, by), interfaces))
}

/// Whether a dropped packet was in the same tunnel as the attempt's, or in none.
pub(super) fn is_in_its_tunnel(
    attempt: &Attempt,
    facts: &DropFacts,
    interfaces: &Interfaces,
) -> bool {
    let Some(outer) = facts.outer_tuple else {
        return true;
    };
    // What this node encapsulates itself may be lost before any interface has it in its tunnel.
    let is_own = facts.iif == 0 && interfaces.is_local(facts.key.netns, outer.src.into());
    // The source port differs by the flow inside, and by the direction.
    let ends = |outer: &Tuple| (outer.proto, outer.src, outer.dst);
    let mut known = hops(attempt).filter_map(|hop| hop.outer);
    is_own || known.any(|known| [ends(&known), ends(&known.reversed())].contains(&ends(&outer)))
}

fn hops(attempt: &Attempt) -> impl Iterator<Item = &Step> {
    attempt.hops.iter().chain(&attempt.reply_hops)
}

/// Whether an interface is the hop's, or tied to it: its bridge, what is above or below it, or the
/// other end of it.
fn is_near(hop: &Step, (netns, ifindex): (u32, u32), interfaces: &Interfaces) -> bool {
    let place = &hop.place;
    if (place.netns, place.ifindex) == (netns, ifindex) {
        return true;
    }
    let link = |netns, ifindex| interfaces.get(netns, ifindex).map(|known| &known.link);
    let of_hop = link(place.netns, place.ifindex);
    match link(netns, ifindex) {
        Some(here) if place.netns == netns => {
            here.lower() == Some(place.ifindex)
                || of_hop
                    .is_some_and(|of_hop| [of_hop.master, of_hop.lower()].contains(&Some(ifindex)))
        }
        here => {
            // The same numbers are in each namespace: where both ends are known, each has to point
            // to the other.
            let known = [(here, place.ifindex), (of_hop, ifindex)];
            let mut known = known
                .into_iter()
                .filter_map(|(link, other)| Some((link?, other)))
                .peekable();
            known.peek().is_some() && known.all(|(link, other)| is_other_end(link, other))
        }
    }
}

/// Whether the link's other end is in another namespace and has this number there.
fn is_other_end(link: &Link, other: u32) -> bool {
    let peer = link.peer();
    peer.is_some_and(|peer| peer.ifindex == other && peer.nsid.is_some())
}
