//! The forwarding database of a VXLAN device: which remote VTEP has which MAC address.

use std::{fmt, net::IpAddr};

use anyhow::Result;

use super::{
    neighbour::{FIXED, Mac, State},
    rtnetlink::{Message, Rtnetlink, u16_at},
};

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FdbEntry {
    /// Who is there. All zero: whoever has no entry of his own, and broadcasts.
    pub mac: Mac,
    /// The remote VTEP; `None` where a next-hop object names it.
    pub remote: Option<IpAddr>,
    /// Another UDP port than the device's.
    pub port: Option<u16>,
    /// Another network identifier than the device's.
    pub vni: Option<u32>,
    /// The interface that tunnel packets to it leave by, if it is fixed.
    pub via: Option<u32>,
    /// How it came about: permanent (configured), or learnt.
    pub state: State,
}

impl FdbEntry {
    /// Whether it is for whoever has no entry of his own.
    pub fn is_default(&self) -> bool {
        self.mac.0.iter().all(|byte| *byte == 0)
    }
}

/// As bridge(8) prints it, without the device.
impl fmt::Display for FdbEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.mac)?;
        if let Some(remote) = self.remote {
            write!(f, " dst {remote}")?;
        }
        if let Some(port) = self.port {
            write!(f, " port {port}")?;
        }
        if let Some(vni) = self.vni {
            write!(f, " vni {vni}")?;
        }
        Ok(())
    }
}

/// The entries of a VXLAN device itself; those of a bridge above it say nothing about VTEPs.
pub(super) fn read(rtnetlink: &Rtnetlink, ifindex: u32) -> Result<Vec<FdbEntry>> {
    let mut fixed = [0; FIXED];
    fixed[0] = libc::AF_BRIDGE as u8;
    fixed[4..8].copy_from_slice(&ifindex.to_ne_bytes());
    let question = Message::new(libc::RTM_GETNEIGH, &fixed);
    rtnetlink.list(&question, |message| entry(message, ifindex))
}

fn entry(message: &Message, ifindex: u32) -> Option<FdbEntry> {
    let is_own = *message.bytes.get(10)? & libc::NTF_SELF != 0;
    if !is_own || message.u32_at(4)? != ifindex {
        return None;
    }
    let all = message.attributes(FIXED);
    let port = all
        .get(libc::NDA_PORT)
        .and_then(|value| u16_at(value, 0))
        .map(u16::from_be);
    Some(FdbEntry {
        mac: Mac(all.get(libc::NDA_LLADDR)?.to_vec()),
        remote: all.address(libc::NDA_DST),
        port,
        vni: all.u32(libc::NDA_VNI),
        via: all.u32(libc::NDA_IFINDEX),
        state: State::new(u16_at(&message.bytes, 8)?),
    })
}

/// The entries that a frame to this MAC address is sent by: its own, or else the default ones.
pub fn matching<'a>(entries: &'a [FdbEntry], mac: &Mac) -> Vec<&'a FdbEntry> {
    let own: Vec<_> = entries.iter().filter(|entry| entry.mac == *mac).collect();
    if own.is_empty() {
        entries.iter().filter(|entry| entry.is_default()).collect()
    } else {
        own
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::node) fn to(mac: u8, remote: &str) -> FdbEntry {
        FdbEntry {
            mac: Mac(vec![mac; 6]),
            remote: Some(remote.parse().unwrap()),
            port: None,
            vni: None,
            via: None,
            state: State::Permanent,
        }
    }

    #[test]
    fn ones_own_entry_comes_before_the_defaults() {
        let entries = [to(0, "192.0.2.7"), to(0, "192.0.2.8"), to(1, "192.0.2.1")];
        let remotes = |mac| -> Vec<_> {
            let found = matching(&entries, &Mac(vec![mac; 6]));
            found.iter().map(|entry| entry.to_string()).collect()
        };
        assert_eq!(remotes(1), ["01:01:01:01:01:01 dst 192.0.2.1"]);
        assert_eq!(
            remotes(2),
            [
                "00:00:00:00:00:00 dst 192.0.2.7",
                "00:00:00:00:00:00 dst 192.0.2.8"
            ]
        );
        assert!(matching(&entries[2..], &Mac(vec![2; 6])).is_empty());
    }

    #[test]
    fn entries_are_read_of_the_device_itself() {
        let message = |flags: u8| {
            let mut fixed = [0; FIXED];
            fixed[4] = 9;
            fixed[8] = libc::NUD_PERMANENT as u8;
            fixed[10] = flags;
            Message::new(libc::RTM_NEWNEIGH, &fixed)
                .with(libc::NDA_LLADDR, &[2; 6])
                .with_address(libc::NDA_DST, "192.0.2.2".parse().unwrap())
                .with(libc::NDA_PORT, &4790_u16.to_be_bytes())
                .with_u32(libc::NDA_VNI, Some(42))
        };
        let found = entry(&message(libc::NTF_SELF), 9).unwrap();
        assert_eq!(
            found.to_string(),
            "02:02:02:02:02:02 dst 192.0.2.2 port 4790 vni 42"
        );
        assert_eq!(entry(&message(libc::NTF_MASTER), 9), None);
        assert_eq!(entry(&message(libc::NTF_SELF), 8), None);
    }
}
