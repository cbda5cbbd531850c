//! Whose address is it: the network namespace behind a veth, which is a pod's.

use std::{
    net::IpAddr,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use nix::ifaddrs::getifaddrs;

use crate::net::netns::{self, NetnsRef, in_netns};

/// The namespace that has the address; `None` if none has, or several have and cannot be told
/// apart.
///
/// `peer` is the index of the interface that the address must be behind, inside the namespace: the
/// other end of the veth by which the packet went. The limit is for the whole search.
///
/// # Errors
///
/// Never for a single namespace that cannot be entered: it is passed over.
pub fn of_address(address: IpAddr, peer: Option<u32>, limit: Duration) -> Result<Option<NetnsRef>> {
    let deadline = Instant::now() + limit;
    let mut found = Vec::new();
    for inode in netns::all() {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break;
        }
        let netns = NetnsRef::Inode(inode);
        if in_netns(&netns, left, move |_| has(address, peer)).unwrap_or(false) {
            found.push(netns);
        }
    }
    Ok(found.pop().filter(|_| found.is_empty()))
}

/// Whether the namespace that this thread is in has the address, behind that interface.
fn has(address: IpAddr, peer: Option<u32>) -> Result<bool> {
    let mut has_address = false;
    let mut has_peer = peer.is_none();
    for interface in getifaddrs().context("cannot list the namespace's addresses")? {
        has_address |= interface.address.is_some_and(|found| {
            found
                .as_sockaddr_in()
                .is_some_and(|v4| IpAddr::from(v4.ip()) == address)
                || found
                    .as_sockaddr_in6()
                    .is_some_and(|v6| IpAddr::from(v6.ip()) == address)
        });
        if !has_peer {
            has_peer =
                nix::net::if_::if_nametoindex(interface.interface_name.as_str()).ok() == peer;
        }
    }
    Ok(has_address && has_peer)
}
