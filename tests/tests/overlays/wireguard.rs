//! WireGuard. What is inside its packets shows on its devices only, so that a filter for that matches none
//! of its packets.

use anyhow::Result;

use super::{kind::Kind, stage::swallow};

const KIND: Kind = Kind::Wireguard;

#[test]
fn healthy() -> Result<()> {
    KIND.healthy()
}

#[test]
fn blocked_where_it_leaves() -> Result<()> {
    KIND.encrypted_and_blocked("n1", "output")
}

#[test]
fn swallowed_on_the_way() -> Result<()> {
    KIND.without_handshake(swallow)
}

/// It says when the last handshake was.
#[test]
fn swallowed_after_a_handshake() -> Result<()> {
    KIND.swallowed_after_a_handshake()
}

#[test]
fn no_tunnel_at_the_other_node() -> Result<()> {
    KIND.without_handshake(|stage| stage.ip("n2", "link set wg0 down"))
}

#[test]
fn larger_than_the_tunnel_takes() -> Result<()> {
    KIND.larger_than_the_tunnel_takes()
}

#[test]
fn tunnel_narrower_than_its_underlay_allows() -> Result<()> {
    KIND.tunnel_narrower_than_its_underlay_allows()
}

#[test]
fn no_peer_for_the_address() -> Result<()> {
    KIND.no_peer_for_the_address()
}
