//! Who is believed to have an address on a link: the entries of ARP and neighbor discovery.

use std::{fmt, io, net::IpAddr};

use super::{
    message::{Message, Request, family},
    netlink::Rtnetlink,
};

/// Length of `struct ndmsg`.
pub(super) const FIXED: usize = 12;
/// `ndm_flags` in it.
const FLAGS: usize = 10;

/// A link-layer address.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Mac(pub(crate) Vec<u8>);

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, byte) in self.0.iter().enumerate() {
            let colon = if place == 0 { "" } else { ":" };
            write!(f, "{colon}{byte:02x}")?;
        }
        Ok(())
    }
}

/// What is known of a neighbor (`NUD_…`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NeighborState {
    /// Nothing yet.
    None,
    /// Asked for, and not answered so far.
    Incomplete,
    /// It answered lately.
    Reachable,
    /// It answered, some time ago; will be asked when it is needed.
    Stale,
    /// As stale, but in use: will be asked soon.
    Delay,
    /// As stale, being asked.
    Probe,
    /// It did not answer.
    Failed,
    /// Needs no asking.
    Noarp,
    /// Configured.
    Permanent,
}

impl NeighborState {
    pub(super) fn new(bits: u16) -> Self {
        // Of entries of an FDB, several may be set; the first says most.
        let states = [
            (libc::NUD_PERMANENT, Self::Permanent),
            (libc::NUD_NOARP, Self::Noarp),
            (libc::NUD_FAILED, Self::Failed),
            (libc::NUD_INCOMPLETE, Self::Incomplete),
            (libc::NUD_REACHABLE, Self::Reachable),
            (libc::NUD_STALE, Self::Stale),
            (libc::NUD_DELAY, Self::Delay),
            (libc::NUD_PROBE, Self::Probe),
        ];
        let mut set = states.into_iter().filter(|(bit, _)| bits & bit != 0);
        set.next().map_or(Self::None, |(_, state)| state)
    }

    /// Whether packets are sent to it, right or wrong.
    pub(crate) fn is_usable(self) -> bool {
        !matches!(self, Self::None | Self::Incomplete | Self::Failed)
    }
}

impl fmt::Display for NeighborState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "NONE",
            Self::Incomplete => "INCOMPLETE",
            Self::Reachable => "REACHABLE",
            Self::Stale => "STALE",
            Self::Delay => "DELAY",
            Self::Probe => "PROBE",
            Self::Failed => "FAILED",
            Self::Noarp => "NOARP",
            Self::Permanent => "PERMANENT",
        })
    }
}

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Neighbor {
    /// Whose.
    pub(crate) address: IpAddr,
    /// On which interface.
    pub(crate) ifindex: u32,
    /// What is known of it.
    pub(crate) state: NeighborState,
    /// Where packets for it are sent to.
    pub(crate) lladdr: Option<Mac>,
    /// How often it was asked since it last answered, questions to it alone included: the kernel
    /// counts those, even unasked, for one that it knows nothing of (`__neigh_event_send()`).
    pub(crate) probes: u32,
}

/// As ip(8) prints it, without the interface.
impl fmt::Display for Neighbor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.address)?;
        if let Some(lladdr) = &self.lladdr {
            write!(f, " lladdr {lladdr}")?;
        }
        write!(f, " {}", self.state)
    }
}

/// An address that is answered for, though another host has it: `ip neigh add proxy`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ProxyEntry {
    /// The address.
    pub(crate) address: IpAddr,
    /// At which interface; 0 for all.
    pub(crate) ifindex: u32,
}

impl Rtnetlink {
    /// The entries for an address, on one interface or on all.
    pub(crate) fn neighbors_of(
        &self,
        address: IpAddr,
        ifindex: Option<u32>,
    ) -> io::Result<Vec<Neighbor>> {
        let question = question(family(address)).with_u32(libc::NDA_IFINDEX, ifindex);
        self.0.dump(&question, |message| {
            let found = entry(message)?;
            // Kernels before 4.20 do not select.
            let fits = ifindex.is_none_or(|ifindex| ifindex == found.ifindex);
            (fits && found.address == address).then_some(found)
        })
    }

    /// All entries of ARP and neighbor discovery.
    pub(crate) fn neighbors(&self) -> io::Result<Vec<Neighbor>> {
        self.0.dump(&question(libc::AF_UNSPEC as u8), entry)
    }

    /// All addresses that are answered for by an entry of their own. The kernel lists them only if
    /// the question has the flag.
    pub(crate) fn proxy_entries(&self) -> io::Result<Vec<ProxyEntry>> {
        let mut fixed = [0; FIXED];
        fixed[FLAGS] = libc::NTF_PROXY;
        self.0
            .dump(&Request::new(libc::RTM_GETNEIGH, &fixed), proxy_entry)
    }
}

fn question(family: u8) -> Request {
    let mut fixed = [0; FIXED];
    fixed[0] = family;
    Request::new(libc::RTM_GETNEIGH, &fixed)
}

pub(super) fn entry(message: &Message<'_>) -> Option<Neighbor> {
    // AF_UNSPEC lists the entries of bridges too.
    let is_ip = matches!(i32::from(message.u8_at(0)?), libc::AF_INET | libc::AF_INET6);
    // A proxy entry says what is answered for others.
    let is_proxy = message.u8_at(FLAGS)? & libc::NTF_PROXY != 0;
    let all = message.attributes(FIXED);
    (is_ip && !is_proxy).then_some(Neighbor {
        address: all.address(libc::NDA_DST)?,
        ifindex: message.u32_at(4)?,
        state: NeighborState::new(message.u16_at(8)?),
        lladdr: all.get(libc::NDA_LLADDR).map(|value| Mac(value.to_vec())),
        probes: all.u32(libc::NDA_PROBES).unwrap_or(0),
    })
}

fn proxy_entry(message: &Message<'_>) -> Option<ProxyEntry> {
    // Kernels that ignore the flag in the question list the neighbors instead.
    let is_proxy = message.u8_at(FLAGS)? & libc::NTF_PROXY != 0;
    let address = message.attributes(FIXED).address(libc::NDA_DST)?;
    is_proxy.then_some(ProxyEntry {
        address,
        ifindex: message.u32_at(4)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(state: u16, flags: u8) -> Request {
        let mut fixed = [0; FIXED];
        fixed[0] = libc::AF_INET as u8;
        fixed[4] = 5;
        fixed[8..10].copy_from_slice(&state.to_ne_bytes());
        fixed[10] = flags;
        Request::new(libc::RTM_NEWNEIGH, &fixed)
            .with_address(libc::NDA_DST, "10.0.0.9".parse().unwrap())
    }

    #[test]
    fn entries_are_read() {
        let failed = entry(&message(libc::NUD_FAILED, 0).message()).unwrap();
        assert_eq!(failed.to_string(), "10.0.0.9 FAILED");
        assert_eq!(failed.ifindex, 5);
        assert!(!failed.state.is_usable());
        let stale = message(libc::NUD_STALE, 0).with(libc::NDA_LLADDR, &[2, 0, 0, 0, 0, 0xab]);
        let stale = entry(&stale.message()).unwrap();
        assert_eq!(stale.to_string(), "10.0.0.9 lladdr 02:00:00:00:00:ab STALE");
        assert!(stale.state.is_usable());
    }

    #[test]
    fn several_bits_are_one_state() {
        let configured = libc::NUD_PERMANENT | libc::NUD_NOARP;
        assert_eq!(NeighborState::new(configured), NeighborState::Permanent);
        assert_eq!(NeighborState::new(0), NeighborState::None);
    }

    #[test]
    fn a_proxy_is_no_neighbor() {
        let proxy = message(libc::NUD_PERMANENT, libc::NTF_PROXY);
        assert_eq!(entry(&proxy.message()), None);
        let found = proxy_entry(&proxy.message()).unwrap();
        assert_eq!(found.address.to_string(), "10.0.0.9");
        assert_eq!(found.ifindex, 5);
        let neighbor = message(libc::NUD_PERMANENT, 0);
        assert_eq!(proxy_entry(&neighbor.message()), None);
    }
}
