//! Sends the packet, and knows it again.

use std::{io, net::SocketAddr};

use socket2::{Domain, Socket, Type};

use super::{
    addresses::Family,
    plan::{PORT, Plan, SOURCE_PORT},
};
use crate::model::Protocol;

/// What no other datagram carries.
const MAGIC: &[u8] = b"whydrop-way-property";

/// The length of the packet, from the network header up.
pub(super) fn length(plan: &Plan) -> u32 {
    let transport = match plan.protocol {
        // With the options of a SYN: MSS, SACK permitted, timestamps, window scale.
        Protocol::Tcp => 40,
        _ => 8,
    };
    (header(plan.family) + transport + plan.payload) as u32
}

/// Bytes of a network header without options.
pub(super) fn header(family: Family) -> usize {
    match family {
        Family::V4 => 20,
        Family::V6 => 40,
    }
}

/// Sends it from the namespace of this thread. A socket that still connects comes back, and goes on
/// doing so.
pub(super) fn send(plan: &Plan) -> io::Result<Option<Socket>> {
    let from = SocketAddr::from((plan.pod_address(plan.from), SOURCE_PORT));
    let to = SocketAddr::from((plan.address(plan.to), PORT));
    let domain = Domain::for_address(from);
    let is_tcp = plan.protocol == Protocol::Tcp;
    let kind = if is_tcp { Type::STREAM } else { Type::DGRAM };
    let socket = Socket::new(domain, kind, None)?;
    match plan.family {
        Family::V4 => socket.set_ttl_v4(plan.ttl.into())?,
        Family::V6 => socket.set_unicast_hops_v6(plan.ttl.into())?,
    }
    // A pod without its address has nothing to send from.
    socket.bind(&from.into())?;
    if is_tcp {
        socket.set_nonblocking(true)?;
        return match socket.connect(&to.into()) {
            Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => Ok(Some(socket)),
            outcome => outcome.map(|()| None),
        };
    }
    let mut bytes = vec![0; plan.payload];
    bytes[..MAGIC.len()].copy_from_slice(MAGIC);
    socket.send_to(&bytes, &to.into())?;
    Ok(None)
}

/// Whether this is the packet, seen with its network header.
pub(super) fn is_it(plan: &Plan, packet: &[u8]) -> bool {
    let protocol = match plan.family {
        Family::V4 if packet.first() == Some(&0x45) => packet.get(9),
        Family::V6 if packet.first().is_some_and(|byte| byte >> 4 == 6) => packet.get(6),
        _ => None,
    };
    protocol == Some(&plan.protocol.number())
        && packet
            .get(header(plan.family)..)
            .is_some_and(|transport| is_its_transport(plan, transport))
}

/// Whether this is the packet, seen from its transport header up.
pub(super) fn is_its_transport(plan: &Plan, bytes: &[u8]) -> bool {
    const FLAGS: usize = 13;
    const SYN: u8 = 2;
    if plan.protocol != Protocol::Tcp {
        return bytes.get(8..).is_some_and(|data| data.starts_with(MAGIC));
    }
    let port = |at: usize| {
        let bytes = bytes.get(at..at + 2)?.try_into().ok()?;
        Some(u16::from_be_bytes(bytes))
    };
    // Without ECN's flags, which a SYN may have.
    let flags = bytes.get(FLAGS).map(|flags| flags & 0x3f);
    (port(0), port(2), flags) == (Some(SOURCE_PORT), Some(PORT), Some(SYN))
}
