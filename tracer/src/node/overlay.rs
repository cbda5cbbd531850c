//! The pieces that a packet needs to get from a VXLAN device to the remote node: a neighbour, an
//! FDB entry, a route to the VTEP, and somebody who answers there.

use std::{fmt, net::IpAddr};

use anyhow::Result;

use super::{
    fdb::{self, FdbEntry, matching},
    link::LinkFacts,
    neighbour::{self, Mac, Neighbour, State},
    route::{Lookup, Packet},
    rtnetlink::Rtnetlink,
};

/// What was read of the way through a tunnel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overlay {
    /// The tunnel device.
    pub device: LinkFacts,
    /// Whom the inner packet is for on the tunnel: a gateway, or its destination itself. `None` if
    /// the packet's route does not lead there, as when the tunnel is a bridge's port.
    pub next_hop: Option<IpAddr>,
    /// The entries for it on the tunnel.
    pub neighbours: Vec<Neighbour>,
    /// The entries of the tunnel's FDB that apply: those for that neighbour's MAC address. All of
    /// them, if no MAC address is known.
    pub fdb: Vec<FdbEntry>,
    /// How many entries the FDB has.
    pub fdb_len: usize,
    /// The remote VTEPs of these entries.
    pub remotes: Vec<Remote>,
}

/// A remote VTEP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remote {
    /// Its address.
    pub vtep: IpAddr,
    /// The route that tunnel packets to it take.
    pub route: Lookup,
    /// The entries for the next hop of that route, or for itself if it is on the link.
    pub neighbours: Vec<Neighbour>,
}

/// A piece that is not there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Missing {
    /// The tunnel device is down.
    DeviceDown,
    /// Nothing says which MAC address the next hop on the tunnel has: its entry's state, if it has
    /// one.
    Neighbour(IpAddr, Option<State>),
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
            Self::Neighbour(hop, None) => {
                write!(f, "the tunnel device has no neighbour entry for {hop}")
            }
            Self::Neighbour(hop, Some(state)) => {
                write!(
                    f,
                    "the neighbour entry for {hop} on the tunnel device is {state}"
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
        device: LinkFacts,
        dst: IpAddr,
        route: Option<&Lookup>,
    ) -> Result<Self> {
        let route = route.and_then(|lookup| lookup.answer.as_ref().ok());
        let here = route.filter(|route| route.output == Some(device.ifindex));
        let next_hop = here.map(|route| route.gateway.unwrap_or(dst));
        let neighbours = match next_hop {
            Some(hop) => neighbour::read(rtnetlink, hop, Some(device.ifindex))?,
            None => Vec::new(),
        };
        let all = fdb::read(rtnetlink, device.ifindex)?;
        let fdb_len = all.len();
        let fdb = match usable_mac(&neighbours) {
            Some(mac) => matching(&all, mac).into_iter().cloned().collect(),
            None => all,
        };
        let mut vteps: Vec<_> = fdb.iter().filter_map(|entry| entry.remote).collect();
        vteps.sort();
        vteps.dedup();
        let mut remotes = Vec::new();
        // Without a MAC address these are all VTEPs there are: thousands, perhaps.
        if usable_mac(&neighbours).is_some() {
            for vtep in vteps {
                remotes.push(Remote::read(rtnetlink, vtep)?);
            }
        }
        Ok(Self {
            device,
            next_hop,
            neighbours,
            fdb,
            fdb_len,
            remotes,
        })
    }

    /// The first piece that is missing, from the inside out; `None` if all that can be read is
    /// there. What is beyond this node cannot.
    pub fn missing(&self) -> Option<Missing> {
        if !self.device.up {
            return Some(Missing::DeviceDown);
        }
        let hop = self.next_hop?;
        // Each packet says itself where it goes.
        if self.device.external {
            return None;
        }
        let Some(mac) = usable_mac(&self.neighbours) else {
            let state = self.neighbours.first().map(|found| found.state);
            return Some(Missing::Neighbour(hop, state));
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
        let route = Lookup::read(rtnetlink, Packet::to(vtep))?;
        let neighbours = match &route.answer {
            Ok(route) => {
                let hop = route.gateway.unwrap_or(vtep);
                neighbour::read(rtnetlink, hop, route.output)?
            }
            Err(_) => Vec::new(),
        };
        Ok(Self {
            vtep,
            route,
            neighbours,
        })
    }

    fn missing(&self) -> Option<Missing> {
        let route = match &self.route.answer {
            Err(_) => return Some(Missing::Route(self.vtep, self.route.to_string())),
            Ok(route) => route,
        };
        // No entry means that nobody has asked lately.
        let silent = self.neighbours.iter().any(|found| !found.state.is_usable());
        let hop = route.gateway.unwrap_or(self.vtep);
        silent.then_some(Missing::Answer(self.vtep, hop))
    }
}

fn usable_mac(neighbours: &[Neighbour]) -> Option<&Mac> {
    let mut usable = neighbours.iter().filter(|found| found.state.is_usable());
    usable.find_map(|found| found.lladdr.as_ref())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::node::{
        fdb::tests::to,
        route::{Refusal, tests::route},
    };

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn neighbour(of: &str, state: State) -> Neighbour {
        Neighbour {
            address: address(of),
            ifindex: 9,
            state,
            lladdr: state.is_usable().then(|| Mac(vec![1; 6])),
            probes: 0,
        }
    }

    pub(crate) fn whole() -> Overlay {
        Overlay {
            device: LinkFacts {
                up: true,
                ..LinkFacts::default()
            },
            next_hop: Some(address("10.244.1.0")),
            neighbours: vec![neighbour("10.244.1.0", State::Permanent)],
            fdb: vec![to(1, "192.0.2.2")],
            fdb_len: 1,
            remotes: vec![Remote {
                vtep: address("192.0.2.2"),
                route: Lookup {
                    packet: Packet::to(address("192.0.2.2")),
                    answer: Ok(route("192.0.2.2/32", "eth0")),
                    matched: None,
                    blocking: Vec::new(),
                },
                neighbours: Vec::new(),
            }],
        }
    }

    #[test]
    fn what_is_missing_is_named_from_the_inside_out() {
        let said = |overlay: &Overlay| overlay.missing().map(|missing| missing.to_string());
        let mut overlay = whole();
        assert_eq!(overlay.missing(), None);
        overlay.remotes[0].neighbours = vec![neighbour("192.0.2.2", State::Failed)];
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
        overlay.neighbours = vec![neighbour("10.244.1.0", State::Incomplete)];
        assert_eq!(
            said(&overlay).unwrap(),
            "the neighbour entry for 10.244.1.0 on the tunnel device is INCOMPLETE"
        );
        overlay.neighbours.clear();
        assert_eq!(
            said(&overlay).unwrap(),
            "the tunnel device has no neighbour entry for 10.244.1.0"
        );
        overlay.device.up = false;
        assert_eq!(said(&overlay).unwrap(), "the tunnel device is down");
    }

    #[test]
    fn a_silent_router_is_told_from_a_silent_vtep() {
        let mut overlay = whole();
        let remote = &mut overlay.remotes[0];
        let by_router = remote.route.answer.as_mut().unwrap();
        by_router.gateway = Some(address("192.0.2.254"));
        remote.neighbours = vec![neighbour("192.0.2.254", State::Incomplete)];
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
        silent.neighbours = vec![neighbour("192.0.2.2", State::Failed)];
        overlay.remotes.push(silent.clone());
        assert_eq!(overlay.missing(), None);
        overlay.remotes[0] = silent;
        assert!(overlay.missing().is_some());
    }

    #[test]
    fn packets_that_bring_their_vtep_need_no_fdb() {
        let mut overlay = whole();
        overlay.device.external = true;
        overlay.neighbours.clear();
        overlay.fdb.clear();
        assert_eq!(overlay.missing(), None);
    }
}
