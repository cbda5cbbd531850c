//! The forwarding databases of bridges: `RTM_NEWNEIGH` of `AF_BRIDGE`.

use std::io;

use super::{
    Mac,
    message::{Message, Request},
    neighbor::FIXED,
    netlink::Rtnetlink,
};

/// An entry of a bridge's forwarding database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BridgeFdbEntry {
    /// The bridge.
    pub(crate) bridge: u32,
    /// The port, or the bridge itself.
    pub(crate) ifindex: u32,
    /// The address.
    pub(crate) mac: Mac,
    /// Its VLAN, where the bridge filters by VLAN.
    pub(crate) vlan: Option<u16>,
    /// How it came about.
    pub(crate) kind: FdbKind,
}

/// How an entry came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FdbKind {
    /// Learned from a frame.
    Learned,
    /// Configured, at a port.
    Static,
    /// An address of the bridge itself: frames to it are taken in, whatever port they came by.
    Own,
}

impl Rtnetlink {
    /// The entries of all bridges.
    pub(crate) fn bridge_fdb(&self) -> io::Result<Vec<BridgeFdbEntry>> {
        let mut fixed = [0; FIXED];
        fixed[0] = libc::AF_BRIDGE as u8;
        self.0
            .dump(&Request::new(libc::RTM_GETNEIGH, &fixed), entry)
    }
}

/// Reads an entry of a bridge; those of a device itself are something else.
pub(super) fn entry(message: &Message<'_>) -> Option<BridgeFdbEntry> {
    let flags = message.u8_at(10)?;
    let state = message.u16_at(8)?;
    let all = message.attributes(FIXED);
    let bridge = all.u32(libc::NDA_MASTER)?;
    let is_of_bridge = flags & libc::NTF_SELF == 0;
    is_of_bridge.then_some(BridgeFdbEntry {
        bridge,
        ifindex: message.u32_at(4)?,
        mac: Mac(all.get(libc::NDA_LLADDR)?.to_vec()),
        vlan: all.u16(libc::NDA_VLAN),
        kind: if state & libc::NUD_PERMANENT != 0 {
            FdbKind::Own
        } else if state & libc::NUD_NOARP != 0 {
            FdbKind::Static
        } else {
            FdbKind::Learned
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_own_address_is_distinguished_from_a_learned_one() {
        let message = |state: u16, flags: u8| {
            let mut fixed = [0; FIXED];
            fixed[4] = 7;
            fixed[8..10].copy_from_slice(&state.to_ne_bytes());
            fixed[10] = flags;
            Request::new(libc::RTM_NEWNEIGH, &fixed)
                .with(libc::NDA_LLADDR, &[2; 6])
                .with_u32(libc::NDA_MASTER, Some(3))
        };
        let kind = |state| entry(&message(state, 0).message()).unwrap().kind;
        assert_eq!(kind(libc::NUD_PERMANENT), FdbKind::Own);
        assert_eq!(kind(libc::NUD_NOARP), FdbKind::Static);
        assert_eq!(kind(libc::NUD_REACHABLE), FdbKind::Learned);
        let of_device = message(libc::NUD_PERMANENT, libc::NTF_SELF);
        assert_eq!(entry(&of_device.message()), None);
    }
}
