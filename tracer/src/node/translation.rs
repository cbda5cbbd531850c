//! Connections that NAT has translated, and whose conntrack entry is gone or another one: what
//! belongs to them is not translated any more.

use std::time::Duration;

use anyhow::Result;

use super::{bypass, owner, sockets, sysctl};
use crate::{
    decode::untranslated::Untranslated,
    model::{Flow, Protocol},
    net::{
        conntrack_entry,
        netns::{Inside, NetnsRef, in_netns_async},
    },
};

/// What has become of a translation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LostTranslation {
    /// The connection's translation, and who lacks it.
    pub(crate) of: Untranslated,
    /// What the connection's entry makes of its packets now; `None` if there is no entry.
    pub(crate) now: Option<Flow>,
    /// Seconds until the entry of an idle connection expires (`nf_conntrack_tcp_timeout_established`),
    /// or that of a datagram without an answer (`nf_conntrack_udp_timeout`).
    pub(crate) idle_limit: Option<u64>,
}

impl LostTranslation {
    /// Asks conntrack for the connection's entry. `None` if that still translates it, or is not known,
    /// and where the client may have closed the connection.
    ///
    /// # Errors
    ///
    /// Conntrack cannot be asked.
    pub(crate) async fn read(of: Untranslated, limit: Duration) -> Result<Option<Self>> {
        let netns = NetnsRef::Inode(of.netns);
        let lost = in_netns_async(&netns, limit, move |inside| Self::read_inside(of, &inside));
        match lost.await? {
            // The server may not know yet that the client is gone. The entry of a connection that
            // was closed expires soon.
            Some(lost) if of.by_client || has_open_socket(&of, limit).await => Ok(Some(lost)),
            _ => Ok(None),
        }
    }

    fn read_inside(of: Untranslated, inside: &Inside) -> Result<Option<Self>> {
        let entry = conntrack_entry(&of.before, 0)?;
        if bypass::may_have_zones(inside) || entry.is_some_and(|entry| entry.is_reply(&of.before)) {
            return Ok(None);
        }
        let now = entry.map(|entry| entry.behind(&of.before));
        let setting = format!("/proc/sys/{}", idle_setting(of.before.proto));
        Ok((now != Some(of.behind)).then_some(Self {
            of,
            now,
            idle_limit: sysctl::number(&setting)?,
        }))
    }
}

/// The setting for how long conntrack keeps the entry of an idle connection, or of a datagram without
/// an answer.
pub(crate) fn idle_setting(of: Protocol) -> &'static str {
    match of {
        Protocol::Udp => "net/netfilter/nf_conntrack_udp_timeout",
        _ => "net/netfilter/nf_conntrack_tcp_timeout_established",
    }
}

/// Whether the client's connection is open, in the namespace that has sent its SYN, or else in the one
/// namespace with its address.
async fn has_open_socket(of: &Untranslated, limit: Duration) -> bool {
    let flow = of.before;
    let netns = match of.client {
        Some(inode) => Some(NetnsRef::Inode(inode)),
        None => {
            let search = move || owner::of_address(flow.src, None, limit);
            let found = tokio::task::spawn_blocking(search).await;
            found.ok().and_then(Result::ok).flatten()
        }
    };
    let Some(netns) = netns else {
        return false;
    };
    let read = in_netns_async(&netns, limit, move |_| {
        let own = sockets::with_local_port(flow.proto, flow.sport.unwrap_or(0))?;
        Ok(own.iter().any(|socket| {
            let remote = (socket.remote.ip(), Some(socket.remote.port()));
            let is_of_server = remote == (flow.dst, flow.dport);
            // A datagram socket that is not connected takes answers from anyone.
            match flow.proto {
                Protocol::Udp if !socket.is_connected() => socket.takes(flow.src) != Some(false),
                _ => socket.is_established && socket.local.ip() == flow.src && is_of_server,
            }
        }))
    });
    read.await.unwrap_or(false)
}
