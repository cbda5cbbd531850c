//! Entries of connection tracking (ctnetlink), one at a time.

use std::io;

use super::{
    message::{Attributes, Message, Request, family},
    netlink::Netlink,
    subsystem::Subsystem,
};
use crate::model::{Flow, Protocol};

/// Length of `struct nfgenmsg`.
const FIXED: usize = 4;
/// `NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_GET`
const GET: u16 = 1 << 8 | 1;
/// `IPS_SEEN_REPLY`
const SEEN_REPLY: u32 = 1 << 1;

/// `CTA_…` of include/uapi/linux/netfilter/nfnetlink_conntrack.h.
mod cta {
    pub(super) const TUPLE_ORIG: u16 = 1;
    pub(super) const TUPLE_REPLY: u16 = 2;
    pub(super) const STATUS: u16 = 3;
    pub(super) const ZONE: u16 = 18;
    pub(super) const TUPLE_IP: u16 = 1;
    pub(super) const TUPLE_PROTO: u16 = 2;
    pub(super) const IP_V4_SRC: u16 = 1;
    pub(super) const IP_V4_DST: u16 = 2;
    pub(super) const IP_V6_SRC: u16 = 3;
    pub(super) const IP_V6_DST: u16 = 4;
    pub(super) const PROTO_NUM: u16 = 1;
    pub(super) const PROTO_SRC_PORT: u16 = 2;
    pub(super) const PROTO_DST_PORT: u16 = 3;
}

/// A connection's entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ConntrackEntry {
    /// The connection's first packet, as it came.
    pub(crate) original: Flow,
    /// Its answers, as they come.
    pub(crate) reply: Flow,
    /// An answer was seen.
    pub(crate) is_answered: bool,
}

impl ConntrackEntry {
    /// Whether a packet is an answer, and not one of who opened the connection.
    pub(crate) fn is_reply(&self, packet: &Flow) -> bool {
        *packet == self.reply && *packet != self.original
    }

    /// What a packet of the connection is behind NAT.
    #[must_use]
    pub(crate) fn behind(&self, packet: &Flow) -> Flow {
        match self.is_reply(packet) {
            true => self.original.reversed(),
            false => self.reply.reversed(),
        }
    }
}

/// The entry that a packet belongs to, as it comes into the namespace that this thread is in, in a
/// zone; 0 is the one outside of all zones. `None` if there is none.
///
/// # Errors
///
/// The kernel cannot be asked without loading a module.
pub(crate) fn conntrack_entry(packet: &Flow, zone: u16) -> io::Result<Option<ConntrackEntry>> {
    Subsystem::Conntrack.require()?;
    match Netlink::netfilter()?.ask(&question(packet, zone), read)? {
        Ok(found) => Ok(found),
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(None),
        Err(error) => Err(error),
    }
}

fn question(packet: &Flow, zone: u16) -> Request {
    let fixed = [family(packet.dst), 0, 0, 0];
    let (src, dst) = match packet.dst.is_ipv4() {
        true => (cta::IP_V4_SRC, cta::IP_V4_DST),
        false => (cta::IP_V6_SRC, cta::IP_V6_DST),
    };
    let request = match zone {
        0 => Request::new(GET, &fixed),
        zone => Request::new(GET, &fixed).with(cta::ZONE, &zone.to_be_bytes()),
    };
    request.nested(cta::TUPLE_ORIG, |tuple| {
        let tuple = tuple.nested(cta::TUPLE_IP, |ip| {
            ip.with_address(src, packet.src)
                .with_address(dst, packet.dst)
        });
        tuple.nested(cta::TUPLE_PROTO, |proto| {
            let mut proto = proto.with(cta::PROTO_NUM, &[packet.proto.number()]);
            for (kind, port) in [
                (cta::PROTO_SRC_PORT, packet.sport),
                (cta::PROTO_DST_PORT, packet.dport),
            ] {
                if let Some(port) = port {
                    proto = proto.with(kind, &port.to_be_bytes());
                }
            }
            proto
        })
    })
}

pub(super) fn read(message: &Message<'_>) -> Option<ConntrackEntry> {
    let all = message.attributes(FIXED);
    let status = all.u32(cta::STATUS).map_or(0, u32::from_be);
    Some(ConntrackEntry {
        original: tuple(all.inside(cta::TUPLE_ORIG))?,
        reply: tuple(all.inside(cta::TUPLE_REPLY))?,
        is_answered: status & SEEN_REPLY != 0,
    })
}

fn tuple(tuple: Attributes<'_>) -> Option<Flow> {
    let (ip, proto) = (tuple.inside(cta::TUPLE_IP), tuple.inside(cta::TUPLE_PROTO));
    let either = |v4, v6| ip.address(v4).or_else(|| ip.address(v6));
    Some(Flow {
        proto: Protocol::from(proto.u8(cta::PROTO_NUM)?),
        src: either(cta::IP_V4_SRC, cta::IP_V6_SRC)?,
        sport: proto.port(cta::PROTO_SRC_PORT),
        dst: either(cta::IP_V4_DST, cta::IP_V6_DST)?,
        dport: proto.port(cta::PROTO_DST_PORT),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flow(src: &str, dst: &str) -> Flow {
        Flow {
            proto: Protocol::Udp,
            src: src.parse().unwrap(),
            sport: Some(5353),
            dst: dst.parse().unwrap(),
            dport: Some(53),
        }
    }

    #[test]
    fn a_question_is_a_tuple() {
        for (src, dst) in [("10.0.0.1", "10.0.0.2"), ("fd00::1", "fd00::2")] {
            let packet = flow(src, dst);
            let question = question(&packet, 1);
            let all = question.message().attributes(FIXED);
            assert_eq!(tuple(all.inside(cta::TUPLE_ORIG)), Some(packet));
            assert_eq!(all.port(cta::ZONE), Some(1));
        }
    }

    #[test]
    fn an_entry_says_what_a_packet_becomes() {
        let entry = ConntrackEntry {
            original: flow("10.0.0.1", "10.96.0.10"),
            reply: flow("10.0.0.1", "10.0.0.2").reversed(),
            is_answered: false,
        };
        let behind = entry.behind(&entry.original);
        assert_eq!(behind, flow("10.0.0.1", "10.0.0.2"));
        assert!(entry.is_reply(&entry.reply));
        let answer = entry.behind(&entry.reply);
        assert_eq!(answer, flow("10.0.0.1", "10.96.0.10").reversed());
    }
}
