//! Reads a link's settings of IPv4 and IPv6 (`IFLA_AF_SPEC`): arrays of 32-bit numbers, whose places
//! are those of include/uapi/linux/ip.h and ipv6.h.

use crate::net::message::{Attributes, u32_at};

const AF_SPEC: u16 = 26;
const INET_CONF: u16 = 1;
const INET6_CONF: u16 = 2;

/// `IPV4_DEVCONF_…`, which start at 1.
mod v4 {
    pub(super) const FORWARDING: usize = 1;
    pub(super) const PROXY_ARP: usize = 3;
    pub(super) const RP_FILTER: usize = 8;
    pub(super) const ARP_FILTER: usize = 13;
    pub(super) const ARP_IGNORE: usize = 19;
    pub(super) const ACCEPT_LOCAL: usize = 23;
    pub(super) const SRC_VMARK: usize = 24;
    pub(super) const PROXY_ARP_PVLAN: usize = 25;
    pub(super) const ROUTE_LOCALNET: usize = 26;
}

/// `DEVCONF_…`, which start at 0.
mod v6 {
    pub(super) const FORWARDING: usize = 0;
    pub(super) const ACCEPT_RA: usize = 3;
    pub(super) const PROXY_NDP: usize = 22;
    pub(super) const DISABLE_IPV6: usize = 26;
}

/// A link's own settings of IPv4 (`net.ipv4.conf.LINK`), 0 is off. Those of `all` apply, too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ipv4Settings {
    /// `forwarding`
    pub(crate) forwarding: u32,
    /// `rp_filter`
    pub(crate) rp_filter: u32,
    /// `route_localnet`
    pub(crate) route_localnet: u32,
    /// `proxy_arp`
    pub(crate) proxy_arp: u32,
    /// `proxy_arp_pvlan`
    pub(crate) proxy_arp_pvlan: u32,
    /// `arp_ignore`
    pub(crate) arp_ignore: u32,
    /// `arp_filter`
    pub(crate) arp_filter: u32,
    /// `accept_local`
    pub(crate) accept_local: u32,
    /// `src_valid_mark`
    pub(crate) src_valid_mark: u32,
}

/// A link's own settings of IPv6 (`net.ipv6.conf.LINK`), 0 is off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ipv6Settings {
    /// `forwarding`
    pub(crate) forwarding: u32,
    /// `accept_ra`
    pub(crate) accept_ra: u32,
    /// `proxy_ndp`
    pub(crate) proxy_ndp: u32,
    /// `disable_ipv6`
    pub(crate) disable_ipv6: u32,
}

pub(super) fn ipv4(link: Attributes<'_>) -> Option<Ipv4Settings> {
    let of_family = link.inside(AF_SPEC).inside(libc::AF_INET as u16);
    let all = of_family.get(INET_CONF)?;
    let at = |place: usize| u32_at(all, 4 * (place - 1)).unwrap_or(0);
    Some(Ipv4Settings {
        forwarding: at(v4::FORWARDING),
        rp_filter: at(v4::RP_FILTER),
        route_localnet: at(v4::ROUTE_LOCALNET),
        proxy_arp: at(v4::PROXY_ARP),
        proxy_arp_pvlan: at(v4::PROXY_ARP_PVLAN),
        arp_ignore: at(v4::ARP_IGNORE),
        arp_filter: at(v4::ARP_FILTER),
        accept_local: at(v4::ACCEPT_LOCAL),
        src_valid_mark: at(v4::SRC_VMARK),
    })
}

pub(super) fn ipv6(link: Attributes<'_>) -> Option<Ipv6Settings> {
    let of_family = link.inside(AF_SPEC).inside(libc::AF_INET6 as u16);
    let all = of_family.get(INET6_CONF)?;
    let at = |place: usize| u32_at(all, 4 * place).unwrap_or(0);
    Some(Ipv6Settings {
        forwarding: at(v6::FORWARDING),
        accept_ra: at(v6::ACCEPT_RA),
        proxy_ndp: at(v6::PROXY_NDP),
        disable_ipv6: at(v6::DISABLE_IPV6),
    })
}
