//! Which interfaces routes with a gateway leave through: `RTM_NEWROUTE` and `RTM_DELROUTE`.

use std::{collections::BTreeSet, io};

use super::read::{FIXED, next_hops};
use crate::net::{
    message::{Message, Request},
    netlink::Rtnetlink,
};

impl Rtnetlink {
    /// The interfaces that routes with a gateway leave through, in all tables, of both versions.
    pub(in crate::net) fn gateways(&self) -> io::Result<BTreeSet<u32>> {
        let all = Request::new(libc::RTM_GETROUTE, &[0; FIXED]);
        // A list that keeps changing is read again on the next change.
        let listing = self.0.listing(&all, |message| {
            Some(gateways(message)).filter(|found| !found.is_empty())
        })?;
        Ok(listing.items.into_iter().flatten().collect())
    }
}

/// The interfaces that a route with a gateway leaves through, whether it has come or gone.
pub(in crate::net) fn gateways(message: &Message<'_>) -> Vec<u32> {
    let is_relevant = matches!(message.kind, libc::RTM_NEWROUTE | libc::RTM_DELROUTE)
        && message.u8_at(7) == Some(libc::RTN_UNICAST);
    if !is_relevant {
        return Vec::new();
    }
    let all = message.attributes(FIXED);
    let hops = next_hops(all.get(libc::RTA_MULTIPATH).unwrap_or_default());
    let routed = hops
        .into_iter()
        .filter_map(|(output, gateway)| gateway.map(|_| output));
    let has_gateway = [libc::RTA_GATEWAY, libc::RTA_VIA]
        .into_iter()
        .any(|gateway| all.get(gateway).is_some());
    let output = all.u32(libc::RTA_OIF).filter(|_| has_gateway);
    routed.chain(output).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gateways_are_found_in_routes() {
        let unicast = [2, 0, 0, 0, 254, 0, 0, libc::RTN_UNICAST, 0, 0, 0, 0];
        let new = || Request::new(libc::RTM_NEWROUTE, &unicast);
        let connected = new().with_u32(libc::RTA_OIF, Some(7));
        assert!(gateways(&connected.message()).is_empty());
        let routed = new()
            .with(libc::RTA_GATEWAY, &[10, 0, 0, 1])
            .with_u32(libc::RTA_OIF, Some(7));
        assert_eq!(gateways(&routed.message()), [7]);
        // Two hops of `struct rtnexthop`: one with a gateway, one without.
        let mut hops = vec![16, 0, 0, 0, 8, 0, 0, 0, 8, 0, libc::RTA_GATEWAY as u8, 0];
        hops.extend([10, 0, 0, 1, 8, 0, 0, 0, 9, 0, 0, 0]);
        let multipath = new().with(libc::RTA_MULTIPATH, &hops);
        assert_eq!(gateways(&multipath.message()), [8]);
    }
}
