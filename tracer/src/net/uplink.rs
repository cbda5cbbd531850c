//! Which interfaces lead off this node: a packet that such an interface has sent is not seen here
//! any more.
//!
//! - A device with a driver, a tun device and an encrypting tunnel always do.
//! - A veth, bridge or the like does if a route with a gateway leaves through it: there is a router
//!   behind it. With directly connected routes only, there are pods behind it.
//! - An interface whose packets go on through another one of the same namespace does not, that other
//!   one does: a bridge or bond with a NIC in it, a VLAN, and a tunnel, whose packets are seen again
//!   inside the outer ones. A route with a gateway through such a tunnel says nothing (flannel,
//!   Calico and others have one for each node).

use std::collections::{BTreeMap, BTreeSet};

use super::{Interface, Kind};

/// The interfaces that lead off, given those that routes with a gateway leave through.
pub(super) fn uplinks(
    interfaces: &BTreeMap<u32, Interface>,
    gateways: &BTreeSet<u32>,
) -> BTreeSet<u32> {
    let mut found: BTreeSet<_> = interfaces
        .values()
        .filter(|interface| leads_off(interface, interfaces, gateways))
        .map(|interface| interface.link.ifindex)
        .collect();
    // What has a member that leads off sends through that member.
    let masters: BTreeSet<_> = interfaces
        .values()
        .filter(|member| {
            let below = member.link.lower().unwrap_or(member.link.ifindex);
            found.contains(&member.link.ifindex) || found.contains(&below)
        })
        .filter_map(|member| member.link.master)
        .filter(|master| {
            interfaces
                .get(master)
                .is_some_and(|master| master.link.kind != Kind::Physical)
        })
        .collect();
    found.retain(|ifindex| !masters.contains(ifindex));
    found
}

fn leads_off(
    interface: &Interface,
    interfaces: &BTreeMap<u32, Interface>,
    gateways: &BTreeSet<u32>,
) -> bool {
    let routed = gateways.contains(&interface.link.ifindex);
    match &interface.link.kind {
        Kind::Physical | Kind::Tun { .. } | Kind::Wireguard => true,
        Kind::Loopback | Kind::Dummy | Kind::Vxlan(_) | Kind::Geneve(_) | Kind::IpTunnel(_) => {
            false
        }
        Kind::Other(kind) => match kind.as_str() {
            "xfrm" | "vti" | "vti6" | "ppp" | "wwan" | "rmnet" => true,
            "ifb" | "openvswitch" | "nlmon" => false,
            _ => routed && !goes_on(interface, interfaces),
        },
        Kind::Veth
        | Kind::Netkit
        | Kind::Bridge(_)
        | Kind::Vlan { .. }
        | Kind::Macvlan(_)
        | Kind::Ipvlan
        | Kind::Vrf { .. }
        | Kind::Bond => routed && !goes_on(interface, interfaces),
    }
}

/// Whether what the interface sends is seen at another one of the same namespace.
fn goes_on(interface: &Interface, interfaces: &BTreeMap<u32, Interface>) -> bool {
    let next = interface.link.lower().or_else(|| {
        let peer = interface.link.peer()?;
        // A peer whose namespace has no id here cannot be told apart from one in this namespace by the
        // number alone: the two ends point to each other.
        let other = interfaces.get(&peer.ifindex)?.link.peer()?;
        (peer.nsid.is_none() && other.nsid.is_none() && other.ifindex == interface.link.ifindex)
            .then_some(peer.ifindex)
    });
    next.is_some_and(|next| interfaces.contains_key(&next))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::{Bridge, OtherLink, Vxlan, inventory::tests::interface};

    fn bridge() -> Kind {
        Kind::Bridge(Bridge::default())
    }

    fn leading_off(all: Vec<Interface>, gateways: &[u32]) -> Vec<u32> {
        let all = all.into_iter().map(|one| (one.link.ifindex, one)).collect();
        let gateways = gateways.iter().copied().collect();
        uplinks(&all, &gateways).into_iter().collect()
    }

    fn tied(mut interface: Interface, ifindex: u32, nsid: Option<i32>) -> Interface {
        interface.link.other = Some(OtherLink { ifindex, nsid });
        interface
    }

    fn enslaved(mut interface: Interface, master: u32) -> Interface {
        interface.link.master = Some(master);
        interface
    }

    #[test]
    fn a_nic_leads_off_and_a_pods_veth_does_not() {
        let all = vec![
            interface(1, Kind::Loopback),
            interface(2, Kind::Physical),
            tied(interface(3, Kind::Veth), 2, Some(0)),
            interface(4, Kind::Wireguard),
            interface(5, Kind::Tun { vnet_hdr: false }),
            interface(6, Kind::Dummy),
        ];
        assert_eq!(leading_off(all, &[]), [2, 4, 5]);
    }

    #[test]
    fn a_veth_with_a_router_behind_it_leads_off() {
        let all = vec![
            tied(interface(2, Kind::Veth), 2, Some(0)),
            tied(interface(3, Kind::Veth), 2, Some(1)),
        ];
        assert_eq!(leading_off(all, &[2]), [2]);
    }

    #[test]
    fn a_pair_within_the_namespace_does_not_lead_off() {
        let all = vec![
            tied(interface(2, Kind::Veth), 3, None),
            tied(interface(3, Kind::Veth), 2, None),
        ];
        assert_eq!(leading_off(all, &[2]), Vec::<u32>::new());
    }

    #[test]
    fn tunnels_are_seen_again_in_their_outer_packets() {
        let all = vec![
            interface(2, Kind::Physical),
            interface(3, Kind::Vxlan(Vxlan::default())),
        ];
        assert_eq!(leading_off(all, &[2, 3]), [2]);
    }

    #[test]
    fn the_member_leads_off_and_not_the_bridge_or_bond() {
        let all = vec![
            enslaved(interface(2, Kind::Physical), 3),
            interface(3, bridge()),
            interface(4, bridge()),
            tied(enslaved(interface(5, Kind::Vlan { id: 7 }), 6), 2, None),
            interface(6, bridge()),
            interface(7, Kind::Bond),
        ];
        assert_eq!(leading_off(all, &[3, 4, 5, 6]), [2, 4]);
    }

    #[test]
    fn a_virtual_function_under_its_nic_leaves_both() {
        let all = vec![
            interface(2, Kind::Physical),
            enslaved(interface(3, Kind::Physical), 2),
        ];
        assert_eq!(leading_off(all, &[2]), [2, 3]);
    }
}
