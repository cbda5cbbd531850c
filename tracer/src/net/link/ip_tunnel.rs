//! Reads what tunnels of IP in IP, GRE and their like are set up with.

use tracer_common::tunnel::Tunnel;

use super::{IpTunnel, read::specified};
use crate::net::message::Attributes;

/// Numbers of include/uapi/linux/if_tunnel.h. GRE and IP in IP have some of their own.
mod ifla {
    pub(super) const IPTUN_LOCAL: u16 = 2;
    pub(super) const IPTUN_REMOTE: u16 = 3;
    pub(super) const IPTUN_FLAGS: u16 = 8;
    pub(super) const IPTUN_ENCAP_TYPE: u16 = 15;
    pub(super) const IPTUN_COLLECT_METADATA: u16 = 19;
    pub(super) const GRE_OFLAGS: u16 = 3;
    pub(super) const GRE_LOCAL: u16 = 6;
    pub(super) const GRE_REMOTE: u16 = 7;
    pub(super) const GRE_FLAGS: u16 = 13;
    pub(super) const GRE_ENCAP_TYPE: u16 = 14;
    pub(super) const GRE_COLLECT_METADATA: u16 = 18;
}

/// `GRE_CSUM`, `GRE_KEY` and `GRE_SEQ`, in network byte order: four bytes for each.
const GRE_OPTIONS: [u16; 3] = [0x8000, 0x2000, 0x1000];
/// `IP6_TNL_F_IGN_ENCAP_LIMIT`: without it, IPv6 tunnels add an extension header.
const NO_LIMIT: u32 = 1;
const LIMIT_HEADER: u32 = 8;
/// `TUNNEL_ENCAP_FOU` and `TUNNEL_ENCAP_GUE`: UDP, and GUE's own header.
const ENCAPSULATIONS: [(u16, u32); 2] = [(1, 8), (2, 8 + 4)];

/// `None` if this is no name for such a link.
pub(super) fn read(name: &str, data: Attributes<'_>) -> Option<IpTunnel> {
    let tunnel = Tunnel::of_link(name)?;
    let mut kinds = tunnel.link_kinds().iter().copied();
    let kind = kinds.find(|kind| *kind == name)?;
    let is_gre = match tunnel {
        Tunnel::Gre | Tunnel::Gretap | Tunnel::Erspan => true,
        Tunnel::Ipip | Tunnel::Sit | Tunnel::Ip6tnl => false,
        Tunnel::Vxlan | Tunnel::Geneve | Tunnel::Wireguard => return None,
    };
    let (local, remote, flags, encapsulation, external) = if is_gre {
        (
            ifla::GRE_LOCAL,
            ifla::GRE_REMOTE,
            ifla::GRE_FLAGS,
            ifla::GRE_ENCAP_TYPE,
            ifla::GRE_COLLECT_METADATA,
        )
    } else {
        (
            ifla::IPTUN_LOCAL,
            ifla::IPTUN_REMOTE,
            ifla::IPTUN_FLAGS,
            ifla::IPTUN_ENCAP_TYPE,
            ifla::IPTUN_COLLECT_METADATA,
        )
    };
    let limits = kind.starts_with("ip6") && data.u32(flags).unwrap_or(0) & NO_LIMIT == 0;
    let encapsulation = data.u16(encapsulation).unwrap_or(0);
    let encapsulation = ENCAPSULATIONS
        .iter()
        .find(|(kind, _)| *kind == encapsulation);
    let mut options = encapsulation.map_or(0, |(_, length)| *length);
    if limits {
        options += LIMIT_HEADER;
    }
    // ERSPAN always has its sequence number.
    if is_gre && tunnel != Tunnel::Erspan {
        let set = data.port(ifla::GRE_OFLAGS).unwrap_or(0);
        let count = GRE_OPTIONS.iter().filter(|flag| set & **flag != 0).count();
        options += 4 * count as u32;
    }
    Some(IpTunnel {
        tunnel,
        kind,
        local: specified(data.address(local)),
        remote: specified(data.address(remote)),
        options,
        // A flag has no value.
        external: data.get(external).is_some(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::message::Request;

    fn tunnel(name: &str, fill: impl FnOnce(Request) -> Request) -> IpTunnel {
        let data = fill(Request::new(0, &[]));
        read(name, data.message().attributes(0)).unwrap()
    }

    #[test]
    fn a_tunnel_with_a_remote_is_read() {
        let remote = "192.0.2.7".parse().unwrap();
        let found = tunnel("ipip", |data| {
            data.with_address(ifla::IPTUN_LOCAL, "0.0.0.0".parse().unwrap())
                .with_address(ifla::IPTUN_REMOTE, remote)
        });
        assert_eq!((found.tunnel, found.kind), (Tunnel::Ipip, "ipip"));
        assert_eq!((found.local, found.remote), (None, Some(remote)));
        assert_eq!(found.options, 0);
        assert!(!found.external);
        let external = tunnel("gretap", |data| data.with(ifla::GRE_COLLECT_METADATA, &[]));
        assert!(external.external);
        let none = Request::new(0, &[]);
        assert_eq!(read("vxlan", none.message().attributes(0)), None);
    }

    #[test]
    fn options_take_their_bytes() {
        let key_and_sum = |data: Request| data.with(ifla::GRE_OFLAGS, &0xa000_u16.to_be_bytes());
        assert_eq!(tunnel("gretap", key_and_sum).options, 8);
        assert_eq!(tunnel("ip6gre", key_and_sum).options, 16);
        let free = |data: Request| data.with_u32(ifla::IPTUN_FLAGS, Some(NO_LIMIT));
        assert_eq!(tunnel("ip6tnl", free).options, 0);
        assert_eq!(tunnel("ip6tnl", |data| data).options, 8);
        let gue = |data: Request| data.with(ifla::IPTUN_ENCAP_TYPE, &2_u16.to_ne_bytes());
        assert_eq!(tunnel("sit", gue).options, 12);
    }
}
