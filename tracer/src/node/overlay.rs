//! The pieces that a packet needs to get from a VXLAN device to the remote node: a neighbor, an
//! FDB entry, a route to the VTEP, and a host that answers there.

use std::{fmt, net::IpAddr};

use anyhow::Result;

use super::route::Lookup;
use crate::net::{
    FdbEntry, Link, Mac, Neighbor, NeighborState, RouteKey, Rtnetlink, matching_entries,
};

/// What was read of the way through a tunnel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Overlay {
    /// The tunnel device.
    pub(crate) device: Link,
    /// The next hop of the inner packet on the tunnel: a gateway, or its destination itself. `None` if
    /// the packet's route does not lead there, as when the tunnel is a bridge's port.
    pub(crate) next_hop: Option<IpAddr>,
    /// The entries for it on the tunnel.
    pub(crate) neighbors: Vec<Neighbor>,
    /// The entries of the tunnel's FDB that apply: those for that neighbor's MAC address. All of
    /// them, if no MAC address is known.
    pub(crate) fdb: Vec<FdbEntry>,
    /// How many entries the FDB has.
    pub(crate) fdb_len: usize,
    /// The remote VTEPs of these entries.
    pub(crate) remotes: Vec<Remote>,
}

/// A remote VTEP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Remote {
    /// Its address.
    pub(crate) vtep: IpAddr,
    /// The route that tunnel packets to it take.
    pub(crate) route: Lookup,
    /// The entries for the next hop of that route, or for itself if it is on the link.
    pub(crate) neighbors: Vec<Neighbor>,
}

/// A piece that is not there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Missing {
    /// The tunnel device is down.
    DeviceDown,
    /// Nothing says which MAC address the next hop on the tunnel has: its entry's state, if it has
    /// one.
    Neighbor(IpAddr, Option<NeighborState>),
    /// No VTEP is known for this MAC address, and no default one.
    FdbEntry(Mac),
    /// There is no route to the VTEP, and why.
    Route(IpAddr, String),
    /// The VTEP, or the router on the way to it, does not answer: the VTEP, then who is silent.
    Answer(IpAddr, IpAddr),
}

/// In a sentence without an end.
impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DeviceDown => write!(f, "the tunnel device is down"),
            Self::Neighbor(hop, None) => {
                write!(f, "the tunnel device has no neighbor entry for {hop}")
            }
            Self::Neighbor(hop, Some(state)) => {
                write!(
                    f,
                    "the neighbor entry for {hop} on the tunnel device is {state}"
                )
            }
            Self::FdbEntry(mac) => write!(f, "the FDB has no VTEP for {mac}, and no default one"),
            Self::Route(vtep, why) => write!(f, "the VTEP {vtep} cannot be reached ({why})"),
            Self::Answer(vtep, hop) if vtep == hop => {
                write!(f, "the VTEP {vtep} does not answer ARP or ND")
            }
            Self::Answer(vtep, hop) => {
                write!(
                    f,
                    "{hop}, the way to the VTEP {vtep}, does not answer ARP or ND"
                )
            }
        }
    }
}

impl Overlay {
    /// Reads the way of a packet to `dst` through a tunnel. `route` is that of the inner packet.
    pub(super) fn read(
        rtnetlink: &Rtnetlink,
        device: Link,
        dst: IpAddr,
        route: Option<&Lookup>,
    ) -> Result<Self> {
        let route = route.and_then(|lookup| lookup.answer.as_ref().ok());
        let here = route.filter(|route| route.output == Some(device.ifindex));
        let next_hop = here.map(|route| route.gateway.unwrap_or(dst));
        let neighbors = match next_hop {
            Some(hop) => rtnetlink.neighbors_of(hop, Some(device.ifindex))?,
            None => Vec::new(),
        };
        let all = rtnetlink.fdb(device.ifindex)?;
        let fdb_len = all.len();
        let fdb = match usable_mac(&neighbors) {
            Some(mac) => matching_entries(&all, mac).into_iter().cloned().collect(),
            None => all,
        };
        let mut vteps: Vec<_> = fdb.iter().filter_map(|entry| entry.remote).collect();
        vteps.sort();
        vteps.dedup();
        let mut remotes = Vec::new();
        // Without a MAC address these are all VTEPs there are: thousands, perhaps.
        if usable_mac(&neighbors).is_some() {
            for vtep in vteps {
                remotes.push(Remote::read(rtnetlink, vtep)?);
            }
        }
        Ok(Self {
            device,
            next_hop,
            neighbors,
            fdb,
            fdb_len,
            remotes,
        })
    }

    /// The MAC address that the packet is sent to in the tunnel, if it goes there and that is known.
    pub(crate) fn next_mac(&self) -> Option<&Mac> {
        self.next_hop?;
        usable_mac(&self.neighbors)
    }

    /// The first piece that is missing, from the inside out; `None` if all that can be read is
    /// there. What is beyond this node cannot.
    pub(crate) fn missing(&self) -> Option<Missing> {
        if !self.device.up {
            return Some(Missing::DeviceDown);
        }
        let hop = self.next_hop?;
        // Each packet says itself where it goes.
        if self.device.vxlan().is_some_and(|vxlan| vxlan.external) {
            return None;
        }
        let Some(mac) = usable_mac(&self.neighbors) else {
            let state = self.neighbors.first().map(|found| found.state);
            return Some(Missing::Neighbor(hop, state));
        };
        if self.fdb.is_empty() {
            return Some(Missing::FdbEntry(mac.clone()));
        }
        // Of several, nothing says which one it should be: only what all of them lack is lacking.
        let missing: Option<Vec<_>> = self.remotes.iter().map(Remote::missing).collect();
        missing?.into_iter().next()
    }
}

impl Remote {
    /// Reads the way to a VTEP.
    pub(super) fn read(rtnetlink: &Rtnetlink, vtep: IpAddr) -> Result<Self> {
        let route = Lookup::read(rtnetlink, RouteKey::to(vtep))?;
        let neighbors = match &route.answer {
            Ok(route) => {
                let hop = route.gateway.unwrap_or(vtep);
                rtnetlink.neighbors_of(hop, route.output)?
            }
            Err(_) => Vec::new(),
        };
        Ok(Self {
            vtep,
            route,
            neighbors,
        })
    }

    fn missing(&self) -> Option<Missing> {
        let route = match &self.route.answer {
            Err(_) => return Some(Missing::Route(self.vtep, self.route.to_string())),
            Ok(route) => route,
        };
        // No entry means that the address was not looked up lately.
        let silent = self.neighbors.iter().any(|found| !found.state.is_usable());
        let hop = route.gateway.unwrap_or(self.vtep);
        silent.then_some(Missing::Answer(self.vtep, hop))
    }
}

fn usable_mac(neighbors: &[Neighbor]) -> Option<&Mac> {
    let mut usable = neighbors.iter().filter(|found| found.state.is_usable());
    usable.find_map(|found| found.lladdr.as_ref())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::{
        net::{
            Kind, Vxlan,
            tests::{fdb_entry, route},
        },
        node::route::Refusal,
    };

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn neighbor(of: &str, state: NeighborState) -> Neighbor {
        Neighbor {
            address: address(of),
            ifindex: 9,
            state,
            lladdr: state.is_usable().then(|| Mac(vec![1; 6])),
            probes: 0,
        }
    }

    pub(crate) fn whole() -> Overlay {
        Overlay {
            device: Link {
                up: true,
                ..Link::default()
            },
            next_hop: Some(address("10.244.1.0")),
            neighbors: vec![neighbor("10.244.1.0", NeighborState::Permanent)],
            fdb: vec![fdb_entry(1, "192.0.2.2")],
            fdb_len: 1,
            remotes: vec![Remote {
                vtep: address("192.0.2.2"),
                route: Lookup {
                    packet: RouteKey::to(address("192.0.2.2")),
                    answer: Ok(route("192.0.2.2/32", "eth0")),
                    matched: None,
                    blocking: Vec::new(),
                },
                neighbors: Vec::new(),
            }],
        }
    }

    #[test]
    fn what_is_missing_is_named_from_the_inside_out() {
        let said = |overlay: &Overlay| overlay.missing().map(|missing| missing.to_string());
        let mut overlay = whole();
        assert_eq!(overlay.missing(), None);
        overlay.remotes[0].neighbors = vec![neighbor("192.0.2.2", NeighborState::Failed)];
        assert_eq!(
            said(&overlay).unwrap(),
            "the VTEP 192.0.2.2 does not answer ARP or ND"
        );
        overlay.remotes[0].route.answer = Err(Refusal::NoRoute);
        assert_eq!(
            said(&overlay).unwrap(),
            "the VTEP 192.0.2.2 cannot be reached (192.0.2.2: no route)"
        );
        overlay.fdb.clear();
        assert_eq!(
            said(&overlay).unwrap(),
            "the FDB has no VTEP for 01:01:01:01:01:01, and no default one"
        );
        overlay.neighbors = vec![neighbor("10.244.1.0", NeighborState::Incomplete)];
        assert_eq!(
            said(&overlay).unwrap(),
            "the neighbor entry for 10.244.1.0 on the tunnel device is INCOMPLETE"
        );
        overlay.neighbors.clear();
        assert_eq!(
            said(&overlay).unwrap(),
            "the tunnel device has no neighbor entry for 10.244.1.0"
        );
        overlay.device.up = false;
        assert_eq!(said(&overlay).unwrap(), "the tunnel device is down");
    }

    #[test]
    fn a_silent_router_is_distinguished_from_a_silent_vtep() {
        let mut overlay = whole();
        let remote = &mut overlay.remotes[0];
        let by_router = remote.route.answer.as_mut().unwrap();
        by_router.gateway = Some(address("192.0.2.254"));
        remote.neighbors = vec![neighbor("192.0.2.254", NeighborState::Incomplete)];
        assert_eq!(
            overlay.missing(),
            Some(Missing::Answer(
                address("192.0.2.2"),
                address("192.0.2.254")
            ))
        );
    }

    #[test]
    fn one_of_several_vteps_that_is_silent_proves_nothing() {
        let mut overlay = whole();
        let mut silent = overlay.remotes[0].clone();
        silent.neighbors = vec![neighbor("192.0.2.2", NeighborState::Failed)];
        overlay.remotes.push(silent.clone());
        assert_eq!(overlay.missing(), None);
        overlay.remotes[0] = silent;
        assert!(overlay.missing().is_some());
    }

    #[test]
    fn packets_that_bring_their_vtep_need_no_fdb() {
        let mut overlay = whole();
        overlay.device.kind = Kind::Vxlan(Vxlan {
            external: true,
            ..Vxlan::default()
        });
        overlay.neighbors.clear();
        overlay.fdb.clear();
        assert_eq!(overlay.missing(), None);
    }
}
