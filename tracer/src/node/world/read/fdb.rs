//! Reads the forwarding databases of bridges: `RTM_NEWNEIGH` of `AF_BRIDGE`.

use crate::node::{
    neighbour::{FIXED, Mac},
    rtnetlink::{Message, u16_at},
    world::bridge::{FdbEntry, FdbKind},
};

/// Asks for all entries of all devices.
pub(super) fn all() -> Message {
    let mut fixed = [0; FIXED];
    fixed[0] = libc::AF_BRIDGE as u8;
    Message::new(libc::RTM_GETNEIGH, &fixed)
}

/// Reads an entry of a bridge; those of a device itself are something else.
pub(super) fn read(message: &Message) -> Option<FdbEntry> {
    let flags = *message.bytes.get(10)?;
    let state = u16_at(&message.bytes, 8)?;
    let all = message.attributes(FIXED);
    let bridge = all.u32(libc::NDA_MASTER)?;
    let is_of_bridge = flags & libc::NTF_SELF == 0;
    is_of_bridge.then_some(())?;
    Some(FdbEntry {
        bridge,
        ifindex: message.u32_at(4)?,
        mac: Mac(all.get(libc::NDA_LLADDR)?.to_vec()),
        vlan: all.get(libc::NDA_VLAN).and_then(|value| u16_at(value, 0)),
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
    fn an_own_address_is_told_from_a_learned_one() {
        let message = |state: u16, flags: u8| {
            let mut fixed = [0; FIXED];
            fixed[4] = 7;
            fixed[8..10].copy_from_slice(&state.to_ne_bytes());
            fixed[10] = flags;
            Message::new(libc::RTM_NEWNEIGH, &fixed)
                .with(libc::NDA_LLADDR, &[2; 6])
                .with_u32(libc::NDA_MASTER, Some(3))
        };
        let kind = |state| read(&message(state, 0)).unwrap().kind;
        assert_eq!(kind(libc::NUD_PERMANENT), FdbKind::Own);
        assert_eq!(kind(libc::NUD_NOARP), FdbKind::Static);
        assert_eq!(kind(libc::NUD_REACHABLE), FdbKind::Learned);
        assert_eq!(read(&message(libc::NUD_PERMANENT, libc::NTF_SELF)), None);
    }
}
