//! Routes, and the answer to "which one would this packet take?".
//!
//! - [`Route`]: one route
//! - [`RouteKey`]: what the kernel looks at to choose one

mod gateways;
mod key;
mod read;

use std::{fmt, net::IpAddr};

use ipnet::IpNet;

pub(super) use self::gateways::gateways;
pub(crate) use self::key::RouteKey;

/// A route, or the answer for one address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Route {
    /// What it does.
    pub(crate) kind: RouteKind,
    /// The addresses it is for; a single one in the answer to a question about one.
    pub(crate) to: IpNet,
    /// The interface that packets leave through.
    pub(crate) output: Option<u32>,
    /// That interface's name.
    pub(crate) ifname: Option<String>,
    /// The next router; `None` if the destination is on the link.
    pub(crate) gateway: Option<IpAddr>,
    /// The source of packets that this namespace sends by it, if it says one: the answer for one address
    /// does.
    pub(crate) source: Option<IpAddr>,
    /// Of a route with several next hops: the interface and gateway of each.
    pub(crate) hops: Vec<(u32, Option<IpAddr>)>,
    /// The table, 254 is main, 255 is local.
    pub(crate) table: u32,
    /// Who made it (`RTPROT_…`).
    pub(crate) protocol: u8,
    /// Its metric.
    pub(crate) metric: Option<u32>,
    /// The MTU it says, in bytes: configured, or learnt from an ICMP message.
    pub(crate) mtu: Option<u32>,
    /// Seconds for which a learnt MTU still holds. `None`: it was not learnt, but configured.
    pub(crate) mtu_expires: Option<u32>,
}

/// What a route does with a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RouteKind {
    /// Sends it on.
    Unicast,
    /// Takes it in.
    Local,
    /// Takes it in and sends it to all on the link.
    Broadcast,
    /// Sends it to a group.
    Multicast,
    /// Drops it silently.
    Blackhole,
    /// Drops it and says "host unreachable".
    Unreachable,
    /// Drops it and says "administratively prohibited".
    Prohibit,
    /// Goes on with the next table.
    Throw,
    /// Something else (`RTN_…`).
    Other(u8),
}

impl RouteKind {
    pub(super) fn new(number: u8) -> Self {
        match number {
            libc::RTN_UNICAST => Self::Unicast,
            libc::RTN_LOCAL => Self::Local,
            libc::RTN_BROADCAST => Self::Broadcast,
            libc::RTN_MULTICAST => Self::Multicast,
            libc::RTN_BLACKHOLE => Self::Blackhole,
            libc::RTN_UNREACHABLE => Self::Unreachable,
            libc::RTN_PROHIBIT => Self::Prohibit,
            libc::RTN_THROW => Self::Throw,
            other => Self::Other(other),
        }
    }

    /// Whether packets end here for good.
    pub(crate) fn is_blocking(self) -> bool {
        matches!(self, Self::Blackhole | Self::Unreachable | Self::Prohibit)
    }
}

impl fmt::Display for RouteKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unicast => "unicast",
            Self::Local => "local",
            Self::Broadcast => "broadcast",
            Self::Multicast => "multicast",
            Self::Blackhole => "blackhole",
            Self::Unreachable => "unreachable",
            Self::Prohibit => "prohibit",
            Self::Throw => "throw",
            Self::Other(number) => return write!(f, "type {number}"),
        })
    }
}

impl Route {
    /// Whether a routing daemon has made it, and not the kernel or a person.
    pub(crate) fn is_of_daemon(&self) -> bool {
        self.protocol > libc::RTPROT_STATIC
    }

    /// All that `ip route add` needs to make it again.
    pub(crate) fn whole(&self) -> String {
        match self.protocol {
            libc::RTPROT_UNSPEC | libc::RTPROT_BOOT => self.to_string(),
            protocol => match DAEMONS.iter().find(|(number, _)| *number == protocol) {
                Some((_, name)) => format!("{self} proto {name}"),
                None => format!("{self} proto {protocol}"),
            },
        }
    }
}

/// Names that ip(8) has for makers of routes (`rt_protos`).
const DAEMONS: [(u8, &str); 6] = [
    (2, "kernel"),
    (4, "static"),
    (11, "zebra"),
    (12, "bird"),
    (186, "bgp"),
    (188, "ospf"),
];

/// As ip(8) prints it.
impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.kind != RouteKind::Unicast {
            write!(f, "{} ", self.kind)?;
        }
        match self.to {
            to if to.prefix_len() == 0 => write!(f, "default")?,
            to if to.prefix_len() == to.max_prefix_len() => write!(f, "{}", to.addr())?,
            to => write!(f, "{to}")?,
        }
        if let Some(gateway) = self.gateway {
            write!(f, " via {gateway}")?;
        }
        match (&self.ifname, self.output) {
            (Some(name), _) => write!(f, " dev {name}")?,
            (None, Some(number)) => write!(f, " dev if{number}")?,
            (None, None) => {}
        }
        for (output, gateway) in &self.hops {
            match gateway {
                Some(gateway) => write!(f, " nexthop via {gateway} dev if{output}")?,
                None => write!(f, " nexthop dev if{output}")?,
            }
        }
        match self.table {
            0 | 254 => {}
            255 => write!(f, " table local")?,
            table => write!(f, " table {table}")?,
        }
        if let Some(metric) = self.metric {
            write!(f, " metric {metric}")?;
        }
        if let Some(mtu) = self.mtu {
            write!(f, " mtu {mtu}")?;
        }
        if let Some(seconds) = self.mtu_expires {
            write!(f, " expires {seconds}sec")?;
        }
        Ok(())
    }
}

#[cfg(test)]
pub(super) use self::read::route as read_any;

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn route(to: &str, ifname: &str) -> Route {
        Route {
            kind: RouteKind::Unicast,
            to: to.parse().unwrap(),
            output: Some(2),
            ifname: Some(ifname.to_owned()),
            gateway: None,
            hops: Vec::new(),
            table: 254,
            protocol: libc::RTPROT_BOOT,
            metric: None,
            mtu: None,
            mtu_expires: None,
            source: None,
        }
    }

    #[test]
    fn reads_as_the_ip_command_prints() {
        let mut answer = route("10.1.2.3/32", "eth0");
        answer.gateway = Some("10.0.0.1".parse().unwrap());
        assert_eq!(answer.to_string(), "10.1.2.3 via 10.0.0.1 dev eth0");
        answer.mtu = Some(1400);
        answer.mtu_expires = Some(597);
        answer.to = "0.0.0.0/0".parse().unwrap();
        assert_eq!(
            answer.to_string(),
            "default via 10.0.0.1 dev eth0 mtu 1400 expires 597sec"
        );
    }

    #[test]
    fn what_a_route_does_comes_first() {
        let blackhole = Route {
            kind: RouteKind::Blackhole,
            output: None,
            ifname: None,
            table: 7,
            ..route("10.1.0.0/16", "")
        };
        assert_eq!(blackhole.to_string(), "blackhole 10.1.0.0/16 table 7");
        assert_eq!(blackhole.whole(), "blackhole 10.1.0.0/16 table 7");
        let of = |protocol| Route {
            protocol,
            ..blackhole.clone()
        };
        assert!(of(12).is_of_daemon() && !blackhole.is_of_daemon());
        assert_eq!(of(12).whole(), "blackhole 10.1.0.0/16 table 7 proto bird");
        assert_eq!(of(77).whole(), "blackhole 10.1.0.0/16 table 7 proto 77");
        assert!(blackhole.kind.is_blocking() && !RouteKind::Throw.is_blocking());
    }
}
