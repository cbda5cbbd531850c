//! The VLANs of bridges and their ports: `RTM_NEWLINK` of `AF_BRIDGE`.

use std::io;

use super::{
    message::{Message, Request, u16_at},
    netlink::Rtnetlink,
};

/// Length of `struct ifinfomsg`.
const FIXED: usize = 16;
const EXT_MASK: u16 = 29;
const AF_SPEC: u16 = 26;
const VLAN_INFO: u16 = 2;

/// `BRIDGE_VLAN_INFO_…` of include/uapi/linux/if_bridge.h.
mod flag {
    pub(super) const PVID: u16 = 1 << 1;
    pub(super) const UNTAGGED: u16 = 1 << 2;
    pub(super) const RANGE_BEGIN: u16 = 1 << 3;
    pub(super) const RANGE_END: u16 = 1 << 4;
}

/// Identifiers of VLANs, from the first to the last, at a port or at the bridge itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Vlan {
    /// The port, or the bridge.
    pub(crate) ifindex: u32,
    /// The first identifier.
    pub(crate) first: u16,
    /// The last identifier.
    pub(crate) last: u16,
    /// Untagged frames that come in get it.
    pub(crate) pvid: bool,
    /// Its frames leave untagged.
    pub(crate) untagged: bool,
}

impl Rtnetlink {
    /// The VLANs of all bridges and ports; those that follow each other come as a range.
    pub(crate) fn vlans(&self) -> io::Result<Vec<Vlan>> {
        let mut fixed = [0; FIXED];
        fixed[0] = libc::AF_BRIDGE as u8;
        let mask = libc::RTEXT_FILTER_BRVLAN_COMPRESSED.cast_unsigned();
        let question = Request::new(libc::RTM_GETLINK, &fixed).with_u32(EXT_MASK, Some(mask));
        Ok(self.0.dump(&question, vlans)?.concat())
    }
}

/// Reads those of one bridge or port.
pub(super) fn vlans(message: &Message<'_>) -> Option<Vec<Vlan>> {
    let ifindex = message.u32_at(4)?;
    let mut found = Vec::new();
    let mut begin = None;
    for (kind, value) in message.attributes(FIXED).inside(AF_SPEC).iter() {
        let (VLAN_INFO, Some(flags), Some(id)) = (kind, u16_at(value, 0), u16_at(value, 2)) else {
            continue;
        };
        if flags & flag::RANGE_BEGIN != 0 {
            begin = Some(id);
            continue;
        }
        let first = begin.take().filter(|_| flags & flag::RANGE_END != 0);
        found.push(Vlan {
            ifindex,
            first: first.unwrap_or(id),
            last: id,
            pvid: flags & flag::PVID != 0,
            untagged: flags & flag::UNTAGGED != 0,
        });
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_one_entry() {
        let info = |flags: u16, id: u16| [flags.to_ne_bytes(), id.to_ne_bytes()].concat();
        let mut fixed = [0; FIXED];
        fixed[4] = 7;
        let request = Request::new(libc::RTM_NEWLINK, &fixed).nested(AF_SPEC, |vlans| {
            vlans
                .with(VLAN_INFO, &info(flag::PVID | flag::UNTAGGED, 1))
                .with(VLAN_INFO, &info(flag::RANGE_BEGIN, 10))
                .with(VLAN_INFO, &info(flag::RANGE_END, 19))
        });
        let found = vlans(&request.message()).unwrap();
        let ranges: Vec<_> = found.iter().map(|vlan| (vlan.first, vlan.last)).collect();
        assert_eq!(ranges, [(1, 1), (10, 19)]);
        assert!(found[0].pvid && found[0].untagged && !found[1].untagged);
    }
}
