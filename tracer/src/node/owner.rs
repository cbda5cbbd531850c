//! Whose address is it: the network namespace behind a veth, which is a pod's.

use std::{
    net::IpAddr,
    time::{Duration, Instant},
};

use anyhow::Result;

use crate::net::{
    Rtnetlink,
    netns::{self, NetnsRef, in_netns},
};

/// The namespace that has the address; `None` if none has, or several have and cannot be
/// distinguished.
///
/// `peer` is the index of the interface that the address must be behind, inside the namespace: the
/// other end of the veth by which the packet went. The limit is for the whole search.
///
/// # Errors
///
/// Never for a single namespace that cannot be entered: it is passed over.
pub(crate) fn of_address(
    address: IpAddr,
    peer: Option<u32>,
    limit: Duration,
) -> Result<Option<NetnsRef>> {
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
    let rtnetlink = Rtnetlink::open()?;
    let addresses = rtnetlink.addresses()?;
    Ok(addresses.iter().any(|own| own.address == address)
        && match peer {
            Some(ifindex) => rtnetlink.link(ifindex)?.is_some(),
            None => true,
        })
}
