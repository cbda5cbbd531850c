//! Asks the kernel which route a packet would take.

use std::{io, net::IpAddr};

use ipnet::IpNet;

use super::{Route, RouteKind, read, read::FIXED};
use crate::net::{
    message::{Request, family},
    netlink::Rtnetlink,
};

/// Numbers of include/uapi/linux/rtnetlink.h.
mod rta {
    pub(super) const UID: u16 = 25;
    pub(super) const IP_PROTO: u16 = 27;
    pub(super) const SPORT: u16 = 28;
    pub(super) const DPORT: u16 = 29;
}

/// Protocols that the kernel takes in a question.
const PROTOCOLS: [u8; 4] = [6, 17, 1, 58];

/// What the kernel looks at to choose a route for a packet. What is `None` is left out of the
/// question, and rules that ask for it are taken not to match.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RouteKey {
    /// Where it goes.
    pub(crate) dst: IpAddr,
    /// Where it comes from, if that is to be taken into account.
    pub(crate) src: Option<IpAddr>,
    /// The interface it came in through; `None` for one that is sent from here.
    pub(crate) iif: Option<u32>,
    /// The interface that its socket is bound to.
    pub(crate) oif: Option<u32>,
    /// Its mark, which rules may ask for.
    pub(crate) mark: u32,
    /// The type-of-service byte of IPv4, or the traffic class of IPv6, which rules may ask for.
    pub(crate) tos: u8,
    /// Its protocol, which rules may ask for.
    pub(crate) proto: Option<u8>,
    /// Its source port, which rules may ask for.
    pub(crate) sport: Option<u16>,
    /// Its destination port, which rules may ask for.
    pub(crate) dport: Option<u16>,
    /// The user whose socket sends it, which rules may ask for.
    pub(crate) uid: Option<u32>,
}

impl RouteKey {
    /// Just to an address, sent from here.
    pub(crate) fn to(dst: IpAddr) -> Self {
        Self {
            dst,
            src: None,
            iif: None,
            oif: None,
            mark: 0,
            tos: 0,
            proto: None,
            sport: None,
            dport: None,
            uid: None,
        }
    }

    /// The same packet, sent from here instead of forwarded.
    pub(crate) fn sent_here(self) -> Self {
        Self {
            src: None,
            iif: None,
            ..self
        }
    }

    fn question(self, flags: u32) -> Request {
        let length = if self.dst.is_ipv4() { 32 } else { 128 };
        let src = self.src.filter(|src| src.is_ipv4() == self.dst.is_ipv4());
        let mut fixed = [0; FIXED];
        fixed[0] = family(self.dst);
        fixed[1] = length;
        fixed[2] = if src.is_some() { length } else { 0 };
        fixed[3] = self.tos;
        // IPv6 always reports the table, and refuses the flag.
        let flags = if self.dst.is_ipv4() {
            flags | libc::RTM_F_LOOKUP_TABLE
        } else {
            flags
        };
        fixed[8..].copy_from_slice(&flags.to_ne_bytes());
        let mut request =
            Request::new(libc::RTM_GETROUTE, &fixed).with_address(libc::RTA_DST, self.dst);
        if let Some(src) = src {
            request = request.with_address(libc::RTA_SRC, src);
        }
        if let Some(proto) = self.proto.filter(|proto| PROTOCOLS.contains(proto)) {
            request = request.with(rta::IP_PROTO, &[proto]);
            // Without a protocol, ports are not taken.
            for (attribute, port) in [(rta::SPORT, self.sport), (rta::DPORT, self.dport)] {
                if let Some(port) = port {
                    request = request.with(attribute, &port.to_be_bytes());
                }
            }
        }
        request
            .with_u32(libc::RTA_IIF, self.iif)
            .with_u32(libc::RTA_OIF, self.oif)
            .with_u32(libc::RTA_MARK, (self.mark != 0).then_some(self.mark))
            .with_u32(rta::UID, self.uid)
    }
}

impl Rtnetlink {
    /// What the kernel would do with a packet. The inner error is its refusal.
    pub(crate) fn route(&self, key: RouteKey) -> io::Result<io::Result<Option<Route>>> {
        self.0.ask(&key.question(0), read::route)
    }

    /// The route that decides, with the addresses it is for. Kernels before 4.13 answer as
    /// [`Rtnetlink::route`] does.
    pub(crate) fn matching_route(&self, key: RouteKey) -> io::Result<io::Result<Option<Route>>> {
        self.0
            .ask(&key.question(libc::RTM_F_FIB_MATCH), read::route)
    }

    /// The routes of the table main that lead into a part of a network by way of a router.
    pub(crate) fn routes_by_gateway(&self, network: IpNet) -> io::Result<Vec<Route>> {
        let mut fixed = [0; FIXED];
        fixed[0] = family(network.addr());
        let question = Request::new(libc::RTM_GETROUTE, &fixed);
        self.0.dump(&question, |message| {
            read::route(message).filter(|route| {
                route.kind == RouteKind::Unicast
                    && route.table == u32::from(libc::RT_TABLE_MAIN)
                    && network.contains(&route.to)
                    && (route.gateway.is_some() || !route.hops.is_empty())
            })
        })
    }

    /// The routes that refuse packets to an address, or end the search in their table, in all tables.
    pub(crate) fn blocking_routes(&self, dst: IpAddr) -> io::Result<Vec<Route>> {
        let mut found = Vec::new();
        for number in [
            libc::RTN_BLACKHOLE,
            libc::RTN_UNREACHABLE,
            libc::RTN_PROHIBIT,
            libc::RTN_THROW,
        ] {
            let kind = RouteKind::new(number);
            let mut fixed = [0; FIXED];
            fixed[0] = family(dst);
            // The kernel lists only these, so that many other routes cost nothing.
            fixed[7] = number;
            let question = Request::new(libc::RTM_GETROUTE, &fixed);
            found.extend(self.0.dump(&question, |message| {
                read::route(message).filter(|route| route.kind == kind && route.to.contains(&dst))
            })?);
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_question_says_all_that_rules_ask_for() {
        let key = RouteKey {
            src: Some("10.0.0.2".parse().unwrap()),
            iif: Some(3),
            mark: 0x4000,
            proto: Some(6),
            dport: Some(443),
            ..RouteKey::to("10.1.2.3".parse().unwrap())
        };
        let question = key.question(0);
        let message = question.message();
        assert_eq!(&message.payload[..3], [2, 32, 32]);
        let all = message.attributes(FIXED);
        assert_eq!(all.address(libc::RTA_SRC), key.src);
        assert_eq!(all.u32(libc::RTA_IIF), Some(3));
        assert_eq!(all.u32(libc::RTA_OIF), None);
        assert_eq!(all.u32(libc::RTA_MARK), Some(0x4000));
        assert_eq!(all.u8(rta::IP_PROTO), Some(6));
        assert_eq!(all.port(rta::DPORT), Some(443));
    }
}
