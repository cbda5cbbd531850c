//! Sightings of SYNs and DNS queries from before they match the filter.

use aya_ebpf::helpers::bpf_ktime_get_ns;
use tracer_common::{
    event::{EARLY_HOPS, EarlyHop, EarlyHops, netns_from},
    tuple::Tuple,
};

use crate::{
    maps::{EARLY, LAYOUT, learn},
    place::Place,
    skb::Skb,
};

/// Keeps the sighting of a packet that does not match: NAT may make it match at a later hop.
#[inline(always)]
pub(crate) fn remember(key: u64, flow: &Tuple, skb: &Skb, direction: u32) -> Option<()> {
    let entry = EARLY.get_ptr_mut(EarlyHops::place(key))?;
    // SAFETY: the verifier checked the pointer, and the bound below. Two CPUs that race for a place
    // cost one early hop.
    unsafe {
        if (*entry).hops[0].key != key {
            (*entry).len = 0;
        }
        let len = (&raw const (*entry).len).read_volatile();
        if len >= EARLY_HOPS as u64 {
            return None;
        }
        // Bounded where it is used: of a number that was on the stack, Linux 6.1 forgets the bounds.
        let index = (&raw const (*entry).len).read_volatile() as usize & (EARLY_HOPS - 1);
        let hop = &mut (*entry).hops[index];
        hop.key = key;
        hop.at = bpf_ktime_get_ns();
        hop.flow = *flow;
        hop.device = skb.pointer(&LAYOUT.skb_dev);
        hop.direction = direction;
        (*entry).len = len + 1;
    }
    Some(())
}

/// Completes the early hops of a handshake that has come to match. The first sighting is the client's own:
/// what it sends later, and what comes back to it, has that tuple where the filter does not match it.
#[inline(always)]
pub(crate) fn learn_early(key: u64) {
    let Some(entry) = EARLY.get_ptr_mut(EarlyHops::place(key)) else {
        return;
    };
    // SAFETY: the verifier checked the pointer. A CPU that takes the place over at the very moment
    // makes another connection known, which costs records that no one asked for.
    unsafe {
        if (*entry).hops[0].key != key {
            return;
        }
        let len = (*entry).len as usize;
        for index in 0..EARLY_HOPS {
            if index < len {
                complete(&mut (*entry).hops[index]);
            }
        }
        learn(&(*entry).hops[0].flow);
    }
}

/// Reads where a hop is, within moments after the packet was there.
#[inline(always)]
fn complete(hop: &mut EarlyHop) {
    let place = Place::device(hop.device, netns_from::DEVICE);
    (hop.netns, hop.ifindex) = place.map_or((0, 0), |place| (place.netns, place.ifindex));
}
