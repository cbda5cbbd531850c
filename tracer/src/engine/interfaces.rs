//! The interfaces of the watched namespaces, as far as the engine knows them.

use std::{
    collections::{BTreeSet, HashMap},
    net::IpAddr,
};

use crate::{
    net::{Change, Interface, Kind},
    node::world::LinkId,
};

/// The interfaces that there are.
#[derive(Debug, Default)]
pub(crate) struct Interfaces {
    /// By namespace and number.
    all: HashMap<(u32, u32), Interface>,
    /// How many interfaces of a namespace have an address.
    addresses: HashMap<(u32, IpAddr), usize>,
}

impl Interfaces {
    pub(crate) fn apply(&mut self, changes: Vec<Change>) {
        for change in changes {
            match change {
                Change::Appeared(interface) | Change::Changed(interface) => {
                    let key = (interface.netns, interface.link.ifindex);
                    self.remove(key);
                    for address in &interface.addresses {
                        let holders = self.addresses.entry((interface.netns, *address));
                        *holders.or_default() += 1;
                    }
                    self.all.insert(key, interface);
                }
                Change::Gone { netns, ifindex } => self.remove((netns, ifindex)),
            }
        }
    }

    pub(crate) fn get(&self, netns: u32, ifindex: u32) -> Option<&Interface> {
        self.all.get(&(netns, ifindex))
    }

    pub(crate) fn name_and_mtu(&self, netns: u32, ifindex: u32) -> Option<(String, u32)> {
        let link = &self.get(netns, ifindex)?.link;
        Some((link.name.clone(), link.mtu))
    }

    /// Whether an address is one of the namespace's own.
    pub(crate) fn is_local(&self, netns: u32, address: IpAddr) -> bool {
        address.is_loopback() || self.addresses.contains_key(&(netns, address))
    }

    /// A watched namespace that has the address.
    pub(crate) fn holder(&self, address: IpAddr) -> Option<u32> {
        let held = self.addresses.keys().find(|(_, held)| *held == address)?;
        Some(held.0)
    }

    /// The namespaces whose interfaces are watched.
    pub(crate) fn namespaces(&self) -> BTreeSet<u32> {
        self.all.keys().map(|(netns, _)| *netns).collect()
    }

    /// Those that lead off this node.
    pub(crate) fn uplinks(&self) -> BTreeSet<LinkId> {
        let uplinks = self.all.iter().filter(|(_, interface)| interface.is_uplink);
        uplinks
            .map(|((netns, ifindex), _)| LinkId {
                netns: *netns,
                ifindex: *ifindex,
            })
            .collect()
    }

    /// Whether a tunnel device is up.
    pub(crate) fn have_tunnels(&self) -> bool {
        let mut links = self.all.values().map(|interface| &interface.link);
        links.any(|link| link.up && link.kind.tunnel().is_some())
    }

    /// The interface of a node that has the address: what is no end of a pair is no pod's.
    pub(crate) fn host_interface(&self, address: IpAddr) -> Option<&str> {
        self.addresses.keys().find(|(_, held)| *held == address)?;
        let mut holders = self.all.values().filter(|interface| {
            let kind = &interface.link.kind;
            interface.addresses.contains(&address) && !matches!(kind, Kind::Veth | Kind::Netkit)
        });
        holders.next().map(|interface| interface.link.name.as_str())
    }

    /// The addresses of a namespace.
    pub(crate) fn addresses_in(&self, netns: u32) -> impl Iterator<Item = IpAddr> {
        let held = self.addresses.keys();
        held.filter_map(move |(own, address)| (*own == netns).then_some(*address))
    }

    fn remove(&mut self, key: (u32, u32)) {
        let Some(gone) = self.all.remove(&key) else {
            return;
        };
        for address in gone.addresses {
            let key = (gone.netns, address);
            if let Some(holders) = self.addresses.get_mut(&key) {
                *holders -= 1;
                if *holders == 0 {
                    self.addresses.remove(&key);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::Link;

    fn interface(ifindex: u32, addresses: &[IpAddr]) -> Interface {
        Interface {
            netns: 1,
            link: Link {
                ifindex,
                ..Link::default()
            },
            addresses: addresses.to_vec(),
            is_uplink: false,
        }
    }

    #[test]
    fn an_address_is_local_while_any_interface_has_it() {
        let address = IpAddr::from([10, 0, 0, 1]);
        let mut interfaces = Interfaces::default();
        interfaces.apply(vec![
            Change::Appeared(interface(1, &[address])),
            Change::Appeared(interface(2, &[address])),
        ]);
        interfaces.apply(vec![Change::Changed(interface(1, &[]))]);
        assert!(interfaces.is_local(1, address));
        assert!(!interfaces.is_local(2, address), "in another namespace");
        let gone = Change::Gone {
            netns: 1,
            ifindex: 2,
        };
        interfaces.apply(vec![gone]);
        assert!(!interfaces.is_local(1, address));
        assert!(interfaces.get(1, 2).is_none());
    }

    #[test]
    fn an_address_at_the_end_of_a_pair_is_no_host_s() {
        let (bridge, pod) = ([10, 244, 1, 1], [10, 244, 1, 5]);
        let of = |ifindex, kind, address: [u8; 4]| {
            let mut interface = interface(ifindex, &[address.into()]);
            interface.link.kind = kind;
            interface.link.name = format!("if{ifindex}");
            Change::Appeared(interface)
        };
        let mut interfaces = Interfaces::default();
        interfaces.apply(vec![of(1, Kind::Dummy, bridge), of(2, Kind::Veth, pod)]);
        assert_eq!(interfaces.host_interface(bridge.into()), Some("if1"));
        assert_eq!(interfaces.host_interface(pod.into()), None);
        let mut both: Vec<_> = interfaces.addresses_in(1).collect();
        both.sort();
        assert_eq!(both, [IpAddr::from(bridge), IpAddr::from(pod)]);
    }
}
