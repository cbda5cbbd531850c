//! Reads which interfaces routes with a gateway go out by: `RTM_NEWROUTE` and `RTM_DELROUTE`.

use super::netlink::{Message, Request, attributes, u16_at, u32_at};

/// Length of `struct rtmsg`.
const FIXED: usize = 12;
/// Length of `struct rtnexthop`.
const NEXT_HOP: usize = 8;

/// Asks for all routes of all tables, of both versions.
pub(super) fn all() -> Request {
    Request::new(libc::RTM_GETROUTE, 0, &[0; FIXED])
}

/// The interfaces that a route with a gateway goes out by, whether it has come or gone.
pub(super) fn gateways(message: &Message<'_>) -> Vec<u32> {
    let mut found = Vec::new();
    let relevant = matches!(message.kind, libc::RTM_NEWROUTE | libc::RTM_DELROUTE)
        && message.payload.get(7) == Some(&libc::RTN_UNICAST);
    let Some(rest) = message.payload.get(FIXED..).filter(|_| relevant) else {
        return found;
    };
    let mut output = None;
    let mut gateway = false;
    for (attribute, value) in attributes(rest) {
        match attribute {
            libc::RTA_OIF => output = u32_at(value, 0),
            libc::RTA_GATEWAY | libc::RTA_VIA => gateway = true,
            libc::RTA_MULTIPATH => next_hops(value, &mut found),
            _ => {}
        }
    }
    found.extend(output.filter(|_| gateway));
    found
}

fn next_hops(mut hops: &[u8], found: &mut Vec<u32>) {
    while let (Some(length), Some(output)) = (u16_at(hops, 0), u32_at(hops, 4)) {
        let length = usize::from(length);
        let Some(rest) = hops.get(NEXT_HOP..length) else {
            return;
        };
        if attributes(rest).any(|(kind, _)| matches!(kind, libc::RTA_GATEWAY | libc::RTA_VIA)) {
            found.push(output);
        }
        hops = hops.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
}
