//! The forwarding database of a VXLAN device: which remote VTEP has which MAC address.

use std::{fmt, io, net::IpAddr};

use super::{
    Mac, NeighborState,
    message::{Message, Request},
    neighbor::FIXED,
    netlink::Rtnetlink,
};

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FdbEntry {
    /// The MAC address. All zero: the default entry, for broadcasts and unknown addresses.
    pub(crate) mac: Mac,
    /// The remote VTEP; `None` where a next-hop object names it.
    pub(crate) remote: Option<IpAddr>,
    /// Another UDP port than the device's.
    pub(crate) port: Option<u16>,
    /// Another network identifier than the device's.
    pub(crate) vni: Option<u32>,
    /// The interface that tunnel packets to it leave through, if it is fixed.
    pub(crate) via: Option<u32>,
    /// How it came about: permanent (configured), or learnt.
    pub(crate) state: NeighborState,
}

impl FdbEntry {
    /// Whether it is the default entry, for addresses without an entry.
    pub(crate) fn is_default(&self) -> bool {
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

impl Rtnetlink {
    /// The entries of a VXLAN device itself; those of a bridge above it say nothing about VTEPs.
    pub(crate) fn fdb(&self, ifindex: u32) -> io::Result<Vec<FdbEntry>> {
        let mut fixed = [0; FIXED];
        fixed[0] = libc::AF_BRIDGE as u8;
        fixed[4..8].copy_from_slice(&ifindex.to_ne_bytes());
        let question = Request::new(libc::RTM_GETNEIGH, &fixed);
        self.0.dump(&question, |message| entry(message, ifindex))
    }
}

pub(super) fn entry(message: &Message<'_>, ifindex: u32) -> Option<FdbEntry> {
    let is_own = message.u8_at(10)? & libc::NTF_SELF != 0;
    if !is_own || message.u32_at(4)? != ifindex {
        return None;
    }
    let all = message.attributes(FIXED);
    Some(FdbEntry {
        mac: Mac(all.get(libc::NDA_LLADDR)?.to_vec()),
        remote: all.address(libc::NDA_DST),
        port: all.port(libc::NDA_PORT),
        vni: all.u32(libc::NDA_VNI),
        via: all.u32(libc::NDA_IFINDEX),
        state: NeighborState::new(message.u16_at(8)?),
    })
}

/// The entries that a frame to this MAC address is sent by: its own, or else the default ones.
pub(crate) fn matching_entries<'a>(entries: &'a [FdbEntry], mac: &Mac) -> Vec<&'a FdbEntry> {
    let own: Vec<_> = entries.iter().filter(|entry| entry.mac == *mac).collect();
    if own.is_empty() {
        entries.iter().filter(|entry| entry.is_default()).collect()
    } else {
        own
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn fdb_entry(mac: u8, remote: &str) -> FdbEntry {
        FdbEntry {
            mac: Mac(vec![mac; 6]),
            remote: Some(remote.parse().unwrap()),
            port: None,
            vni: None,
            via: None,
            state: NeighborState::Permanent,
        }
    }

    #[test]
    fn ones_own_entry_comes_before_the_defaults() {
        let entries = [
            fdb_entry(0, "192.0.2.7"),
            fdb_entry(0, "192.0.2.8"),
            fdb_entry(1, "192.0.2.1"),
        ];
        let remotes = |mac| -> Vec<_> {
            let found = matching_entries(&entries, &Mac(vec![mac; 6]));
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
        assert!(matching_entries(&entries[2..], &Mac(vec![2; 6])).is_empty());
    }

    #[test]
    fn entries_are_read_of_the_device_itself() {
        let message = |flags: u8| {
            let mut fixed = [0; FIXED];
            fixed[4] = 9;
            fixed[8] = libc::NUD_PERMANENT as u8;
            fixed[10] = flags;
            Request::new(libc::RTM_NEWNEIGH, &fixed)
                .with(libc::NDA_LLADDR, &[2; 6])
                .with_address(libc::NDA_DST, "192.0.2.2".parse().unwrap())
                .with(libc::NDA_PORT, &4790_u16.to_be_bytes())
                .with_u32(libc::NDA_VNI, Some(42))
        };
        let found = entry(&message(libc::NTF_SELF).message(), 9).unwrap();
        assert_eq!(
            found.to_string(),
            "02:02:02:02:02:02 dst 192.0.2.2 port 4790 vni 42"
        );
        assert_eq!(entry(&message(libc::NTF_MASTER).message(), 9), None);
        assert_eq!(entry(&message(libc::NTF_SELF).message(), 8), None);
    }
}
