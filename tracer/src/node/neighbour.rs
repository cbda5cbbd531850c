//! Who is believed to have an address on a link: the entries of ARP and neighbour discovery.

use std::{fmt, net::IpAddr};

use anyhow::Result;

use super::rtnetlink::{Message, Rtnetlink, family, u16_at};

/// Length of `struct ndmsg`.
pub(super) const FIXED: usize = 12;

/// A link-layer address.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Mac(pub Vec<u8>);

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, byte) in self.0.iter().enumerate() {
            let colon = if place == 0 { "" } else { ":" };
            write!(f, "{colon}{byte:02x}")?;
        }
        Ok(())
    }
}

/// What is known of a neighbour (`NUD_…`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
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

impl State {
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
    pub fn is_usable(self) -> bool {
        !matches!(self, Self::None | Self::Incomplete | Self::Failed)
    }
}

impl fmt::Display for State {
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
pub struct Neighbour {
    /// Whose.
    pub address: IpAddr,
    /// On which interface.
    pub ifindex: u32,
    /// What is known of it.
    pub state: State,
    /// Where packets for it are sent to.
    pub lladdr: Option<Mac>,
    /// How often it was asked since it last answered, questions to it alone included: the kernel
    /// counts those, even unasked, for one that it knows nothing of (`__neigh_event_send()`).
    pub probes: u32,
}

/// As ip(8) prints it, without the interface.
impl fmt::Display for Neighbour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.address)?;
        if let Some(lladdr) = &self.lladdr {
            write!(f, " lladdr {lladdr}")?;
        }
        write!(f, " {}", self.state)
    }
}

/// The entries for an address, on one interface or on all.
pub(super) fn read(
    rtnetlink: &Rtnetlink,
    address: IpAddr,
    ifindex: Option<u32>,
) -> Result<Vec<Neighbour>> {
    let mut fixed = [0; FIXED];
    fixed[0] = family(address);
    let question = Message::new(libc::RTM_GETNEIGH, &fixed).with_u32(libc::NDA_IFINDEX, ifindex);
    rtnetlink.list(&question, |message| {
        let found = entry(message)?;
        // Kernels before 4.20 do not select.
        let fits = ifindex.is_none_or(|ifindex| ifindex == found.ifindex);
        (fits && found.address == address).then_some(found)
    })
}

pub(super) fn entry(message: &Message) -> Option<Neighbour> {
    // A proxy entry says what is answered for others.
    let is_proxy = *message.bytes.get(10)? & libc::NTF_PROXY != 0;
    let all = message.attributes(FIXED);
    (!is_proxy).then_some(Neighbour {
        address: all.address(libc::NDA_DST)?,
        ifindex: message.u32_at(4)?,
        state: State::new(u16_at(&message.bytes, 8)?),
        lladdr: all.get(libc::NDA_LLADDR).map(|value| Mac(value.to_vec())),
        probes: all.u32(libc::NDA_PROBES).unwrap_or(0),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(state: u16, flags: u8) -> Message {
        let mut fixed = [0; FIXED];
        fixed[4] = 5;
        fixed[8..10].copy_from_slice(&state.to_ne_bytes());
        fixed[10] = flags;
        Message::new(libc::RTM_NEWNEIGH, &fixed)
            .with_address(libc::NDA_DST, "10.0.0.9".parse().unwrap())
    }

    #[test]
    fn entries_are_read() {
        let failed = entry(&message(libc::NUD_FAILED, 0)).unwrap();
        assert_eq!(failed.to_string(), "10.0.0.9 FAILED");
        assert_eq!(failed.ifindex, 5);
        assert!(!failed.state.is_usable());
        let stale = message(libc::NUD_STALE, 0).with(libc::NDA_LLADDR, &[2, 0, 0, 0, 0, 0xab]);
        let stale = entry(&stale).unwrap();
        assert_eq!(stale.to_string(), "10.0.0.9 lladdr 02:00:00:00:00:ab STALE");
        assert!(stale.state.is_usable());
    }

    #[test]
    fn several_bits_are_one_state() {
        let configured = libc::NUD_PERMANENT | libc::NUD_NOARP;
        assert_eq!(State::new(configured), State::Permanent);
        assert_eq!(State::new(0), State::None);
    }

    #[test]
    fn a_proxy_is_no_neighbour() {
        assert_eq!(entry(&message(libc::NUD_PERMANENT, libc::NTF_PROXY)), None);
    }
}
