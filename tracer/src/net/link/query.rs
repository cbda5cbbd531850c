//! Asks for links.

use std::io;

use tracer_common::tunnel::Tunnel;

use super::{
    Link,
    read::{FIXED, LinkEvent, event, ifla, link},
};
use crate::net::{
    message::Request,
    netlink::{Listing, Rtnetlink},
};

impl Rtnetlink {
    /// All interfaces.
    pub(crate) fn links(&self) -> io::Result<Vec<Link>> {
        self.0.dump(&all(), link)
    }

    /// All interfaces, for an inventory that also follows changes.
    pub(in crate::net) fn link_listing(&self) -> io::Result<Listing<LinkEvent>> {
        self.0.listing(&all(), event)
    }

    /// The interface with this number.
    pub(crate) fn link(&self, ifindex: u32) -> io::Result<Option<Link>> {
        match self.0.ask(&one(ifindex), link)? {
            Err(error) if error.raw_os_error() == Some(libc::ENODEV) => Ok(None),
            answer => answer,
        }
    }

    /// The other end of a veth pair, wherever it is. `None` if it is no such pair, or the kernel
    /// does not say (before 4.20 it answers for this namespace only).
    pub(crate) fn peer(&self, of: &Link) -> io::Result<Option<Link>> {
        let Some(peer) = of.peer() else {
            return Ok(None);
        };
        let nsid = peer.nsid.map(i32::cast_unsigned);
        let question = one(peer.ifindex).with_u32(ifla::TARGET_NETNSID, nsid);
        let found = self.0.ask(&question, link)?.ok().flatten();
        // What answers for this namespace instead is not linked to this very interface.
        Ok(found.filter(|found| found.peer().is_some_and(|back| back.ifindex == of.ifindex)))
    }

    /// The tunnels of a kind.
    pub(crate) fn tunnel_links(&self, tunnel: Tunnel) -> io::Result<Vec<Link>> {
        let mut found = Vec::new();
        for kind in tunnel.link_kinds() {
            // The kernel lists only these, so that thousands of pods cost nothing.
            let question = all().nested(libc::IFLA_LINKINFO, |info| {
                info.with(ifla::INFO_KIND, format!("{kind}\0").as_bytes())
            });
            found.extend(self.0.dump(&question, |message| {
                // Or all, if it does not know the kind.
                link(message).filter(|link| link.kind.name() == *kind)
            })?);
        }
        Ok(found)
    }
}

/// Without counters, which make most of a message.
fn all() -> Request {
    let mask = libc::RTEXT_FILTER_SKIP_STATS.cast_unsigned();
    Request::new(libc::RTM_GETLINK, &[0; FIXED]).with_u32(ifla::EXT_MASK, Some(mask))
}

fn one(ifindex: u32) -> Request {
    let mut fixed = [0; FIXED];
    fixed[4..8].copy_from_slice(&ifindex.to_ne_bytes());
    Request::new(libc::RTM_GETLINK, &fixed)
}
