//! GRE with the other node as its remote.

use anyhow::Result;

use super::kind::Kind;

const KIND: Kind = Kind::Gre;

#[test]
fn healthy() -> Result<()> {
    KIND.healthy()
}

#[test]
fn blocked_where_it_leaves() -> Result<()> {
    KIND.blocked_where_it_leaves()
}

#[test]
fn blocked_where_it_arrives() -> Result<()> {
    KIND.blocked_where_it_arrives()
}

#[test]
fn swallowed_on_the_way() -> Result<()> {
    KIND.swallowed_on_the_way()
}

#[test]
fn no_tunnel_at_the_other_node() -> Result<()> {
    KIND.no_tunnel_at_the_other_node()
}

/// The same, as the first node sees it.
#[test]
fn the_other_node_rejects_its_packets() -> Result<()> {
    KIND.the_other_node_rejects_its_packets()
}

#[test]
fn larger_than_the_tunnel_takes() -> Result<()> {
    KIND.larger_than_the_tunnel_takes()
}

#[test]
fn tunnel_as_wide_as_its_underlay() -> Result<()> {
    KIND.tunnel_as_wide_as_its_underlay()
}

#[test]
fn tunnel_narrower_than_its_underlay_allows() -> Result<()> {
    KIND.tunnel_narrower_than_its_underlay_allows()
}
