//! A next hop that does not answer ARP or ND: the kernel drops the packet only seconds later.

use std::{net::IpAddr, time::Duration};

use anyhow::Result;

use super::{route::Lookup, sysctl};
use crate::net::{
    Neighbor, NeighborState, Route, RouteKey, RouteKind, Rtnetlink,
    netns::{NetnsRef, in_netns_async},
};

/// Questions without an answer before anything is said: they are a second apart, and who is slow
/// has answered the first by then.
const ENOUGH: u32 = 2;

/// Next hops of one route that are looked at.
const MANY_HOPS: usize = 16;

/// The neighbor that a packet waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SilentHop {
    /// The address that the kernel asks for: the packet's destination, or a router on the way.
    pub(crate) address: IpAddr,
    /// The interface that it asks at.
    pub(crate) ifname: String,
    /// That interface is a tunnel.
    pub(crate) is_tunnel: bool,
    /// `INCOMPLETE` while it is asked, `FAILED` when that was given up.
    pub(crate) state: NeighborState,
    /// How often it was asked in vain, while that goes on.
    pub(crate) asked: u32,
    /// The route that decides.
    pub(crate) by: Option<Route>,
}

impl SilentHop {
    /// Looks for it in a namespace, within the limit. `None` if the packet's next hop is known, or
    /// was not asked often enough.
    ///
    /// # Errors
    ///
    /// As of [`in_netns_async`]; or the kernel cannot be asked.
    pub(crate) async fn of(
        netns: &NetnsRef,
        packet: RouteKey,
        limit: Duration,
    ) -> Result<Option<Self>> {
        in_netns_async(netns, limit, move |_| Self::read(packet)).await
    }

    fn read(packet: RouteKey) -> Result<Option<Self>> {
        let rtnetlink = Rtnetlink::open()?;
        let lookup = Lookup::read(&rtnetlink, packet)?;
        let Ok(route) = lookup.answer else {
            return Ok(None);
        };
        let (RouteKind::Unicast, Some(output)) = (route.kind, route.output) else {
            return Ok(None);
        };
        // Which of several next hops it takes, the answer does not always say.
        let hops = match &lookup.matched {
            Some(route) if !route.hops.is_empty() => route.hops.clone(),
            _ => vec![(output, route.gateway)],
        };
        let mut silent = Vec::new();
        for (output, gateway) in hops.into_iter().take(MANY_HOPS) {
            let address = gateway.unwrap_or(packet.dst);
            silent.extend(Self::at(&rtnetlink, output, address)?);
        }
        let only = silent.pop().filter(|_| silent.is_empty());
        Ok(only.map(|hop| Self {
            by: lookup.matched,
            ..hop
        }))
    }

    /// The neighbor at an interface, if it was asked often enough in vain.
    fn at(rtnetlink: &Rtnetlink, output: u32, address: IpAddr) -> Result<Option<Self>> {
        let entries = rtnetlink.neighbors_of(address, Some(output))?;
        let (Some(entry), Some(link)) = (entries.first(), rtnetlink.link(output)?) else {
            return Ok(None);
        };
        let version = if address.is_ipv4() { 4 } else { 6 };
        let setting = format!(
            "/proc/sys/net/ipv{version}/neigh/{}/ucast_solicit",
            link.name
        );
        let to_it_alone = sysctl::number(&setting)?.unwrap_or(0);
        let asked = asked(entry, to_it_alone);
        Ok(asked.map(|asked| Self {
            address,
            is_tunnel: link.kind.tunnel().is_some(),
            ifname: link.name,
            state: entry.state,
            asked,
            by: None,
        }))
    }
}

/// How often a neighbor was asked in vain, if that is enough.
fn asked(entry: &Neighbor, to_it_alone: u64) -> Option<u32> {
    let asked = u64::from(entry.probes).saturating_sub(to_it_alone);
    let asked = u32::try_from(asked).ok()?;
    match entry.state {
        NeighborState::Failed => Some(asked),
        NeighborState::Incomplete => (asked >= ENOUGH).then_some(asked),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_question_is_not_enough() {
        let entry = |state, probes| Neighbor {
            address: IpAddr::from([10, 0, 0, 9]),
            ifindex: 2,
            state,
            lladdr: None,
            probes,
        };
        assert_eq!(asked(&entry(NeighborState::Incomplete, 4), 3), None);
        assert_eq!(asked(&entry(NeighborState::Incomplete, 5), 3), Some(2));
        assert_eq!(asked(&entry(NeighborState::Failed, 6), 3), Some(3));
        for living in [
            NeighborState::Reachable,
            NeighborState::Stale,
            NeighborState::Delay,
            NeighborState::Probe,
        ] {
            assert_eq!(asked(&entry(living, 6), 3), None);
        }
    }
}
