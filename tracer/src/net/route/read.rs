//! Reads `RTM_NEWROUTE`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use super::{Route, RouteKind};
use crate::net::message::{Attributes, Message, ip, u16_at, u32_at};

/// Length of `struct rtmsg`.
pub(super) const FIXED: usize = 12;
/// Length of `struct rtnexthop`.
pub(super) const NEXT_HOP: usize = 8;
/// `RTAX_MTU`
const METRIC_MTU: u16 = 2;
/// Offset of `rta_expires` in `struct rta_cacheinfo`.
const EXPIRES: usize = 8;
/// What `rta_expires` counts in: `USER_HZ`, the same on all machines with Linux of today.
const TICKS: u32 = 100;

pub(in crate::net) fn route(message: &Message<'_>) -> Option<Route> {
    if message.kind != libc::RTM_NEWROUTE {
        return None;
    }
    let [family, length, _, _, table, protocol, _, kind, ..] = *message.payload else {
        return None;
    };
    let all = message.attributes(FIXED);
    let any = match i32::from(family) {
        libc::AF_INET => IpAddr::from(Ipv4Addr::UNSPECIFIED),
        libc::AF_INET6 => Ipv6Addr::UNSPECIFIED.into(),
        _ => return None,
    };
    let to = all.address(libc::RTA_DST).unwrap_or(any);
    let expires = all.get(libc::RTA_CACHEINFO);
    let expires = expires.and_then(|info| u32_at(info, EXPIRES));
    let mtu = all.inside(libc::RTA_METRICS).u32(METRIC_MTU);
    Some(Route {
        kind: RouteKind::new(kind),
        to: IpNet::new(to, length).ok()?,
        output: all.u32(libc::RTA_OIF),
        ifname: None,
        gateway: gateway(all),
        source: all.address(libc::RTA_PREFSRC),
        hops: next_hops(all.get(libc::RTA_MULTIPATH).unwrap_or_default()),
        table: all.u32(libc::RTA_TABLE).unwrap_or(table.into()),
        protocol,
        metric: all.u32(libc::RTA_PRIORITY),
        mtu,
        mtu_expires: expires
            .filter(|ticks| mtu.is_some() && (1..=i32::MAX as u32).contains(ticks))
            .map(|ticks| ticks.div_ceil(TICKS)),
    })
}

fn gateway(all: Attributes<'_>) -> Option<IpAddr> {
    // RTA_VIA has a family of two bytes first: an IPv6 router for an IPv4 route.
    let via = || ip(all.get(libc::RTA_VIA)?.get(2..)?);
    all.address(libc::RTA_GATEWAY).or_else(via)
}

pub(super) fn next_hops(mut bytes: &[u8]) -> Vec<(u32, Option<IpAddr>)> {
    let mut found = Vec::new();
    while let (Some(length), Some(output)) = (u16_at(bytes, 0), u32_at(bytes, 4)) {
        let length = usize::from(length);
        let Some(rest) = bytes.get(NEXT_HOP..length) else {
            break;
        };
        found.push((output, gateway(Attributes(rest))));
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::message::Request;

    fn message(length: u8, kind: u8) -> Request {
        let mut fixed = [0; FIXED];
        fixed[0] = libc::AF_INET as u8;
        fixed[1] = length;
        fixed[4] = 254;
        fixed[7] = kind;
        Request::new(libc::RTM_NEWROUTE, &fixed)
    }

    #[test]
    fn a_learnt_mtu_expires_and_a_configured_one_does_not() {
        let answer = |ticks: u32| {
            let mut info = [0; 32];
            info[EXPIRES..EXPIRES + 4].copy_from_slice(&ticks.to_ne_bytes());
            let message = message(32, libc::RTN_UNICAST)
                .with_address(libc::RTA_DST, "10.0.0.9".parse().unwrap())
                .nested(libc::RTA_METRICS, |metrics| {
                    metrics.with_u32(METRIC_MTU, Some(1400))
                })
                .with(libc::RTA_CACHEINFO, &info);
            route(&message.message()).unwrap()
        };
        assert_eq!(answer(59_750).mtu_expires, Some(598));
        assert_eq!(answer(0).mtu, Some(1400));
        assert_eq!(answer(0).mtu_expires, None);
    }

    #[test]
    fn several_next_hops_and_a_router_of_the_other_version() {
        let hop = |output: u32, gateway: &str| {
            let gateway =
                Request::new(0, &[]).with_address(libc::RTA_GATEWAY, gateway.parse().unwrap());
            let gateway = gateway.payload();
            let mut hop = vec![0; NEXT_HOP];
            hop[0] = (NEXT_HOP + gateway.len()) as u8;
            hop[4..8].copy_from_slice(&output.to_ne_bytes());
            hop.extend(gateway);
            hop
        };
        let hops = [hop(2, "10.0.0.1"), hop(3, "10.0.0.2")].concat();
        let several = message(0, libc::RTN_UNICAST).with(libc::RTA_MULTIPATH, &hops);
        let found = route(&several.message());
        let gateway = |last| Some(IpAddr::from([10, 0, 0, last]));
        assert_eq!(found.unwrap().hops, [(2, gateway(1)), (3, gateway(2))]);
        assert_eq!(next_hops(&[0xff; 16]), []);

        let mut via = vec![10, 0];
        via.extend(Ipv6Addr::LOCALHOST.octets());
        let by_ipv6 = message(0, libc::RTN_UNICAST).with(libc::RTA_VIA, &via);
        let found = route(&by_ipv6.message()).unwrap();
        assert_eq!(found.gateway, Some(Ipv6Addr::LOCALHOST.into()));
        assert_eq!(found.to.to_string(), "0.0.0.0/0");
    }
}
