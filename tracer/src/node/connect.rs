//! Why a connect failed before it sent a packet: the route, the local ports, and the programs of the
//! process's control groups.

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, Result};

use super::{
    programs::{self, Program},
    route::Lookup,
    sysctl,
    world::{Part, World},
};
use crate::{
    decode::connect::{ConnectKind, FailedConnect},
    kernel::connect_error::ConnectError,
    model::Protocol,
    net::{
        Link, RouteKey, Rtnetlink,
        netns::{Inside, NetnsRef, in_netns_async},
        sock_diag::tcp_connections_to,
    },
};

/// What the node says of a connect that failed. What could not be read is `None`, and said in `gaps`.
#[derive(Debug, Clone, Default)]
pub(crate) struct ConnectFacts {
    /// The route that such a connect would take now.
    pub(crate) route: Option<Lookup>,
    /// The interface that the socket is bound to.
    pub(crate) device: Option<Link>,
    /// Whether the address that the socket is bound to is one of the namespace.
    pub(crate) has_source: Option<bool>,
    /// The local ports.
    pub(crate) ports: Option<Ports>,
    /// The programs that decide about connects, of the process's control groups or, if it has ended, of
    /// those of its namespace.
    pub(crate) programs: Vec<Program>,
    /// All namespaces, where a policy rule may refuse it.
    pub(crate) world: Option<Arc<World>>,
    /// Why something is missing, a sentence each.
    pub(crate) gaps: Vec<String>,
}

/// The local ports that the kernel may choose from, and how many of them are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ports {
    /// `net.ipv4.ip_local_port_range`: the first and the last.
    pub(crate) range: (u16, u16),
    /// Of these, how many have a connection to the destination, in whatever state.
    pub(crate) connected: usize,
}

impl Ports {
    /// How many there are.
    pub(crate) fn all(self) -> usize {
        let (first, last) = self.range;
        usize::from(last.saturating_sub(first)) + 1
    }

    fn read(destination: SocketAddr) -> Result<Option<Self>> {
        let path = "/proc/sys/net/ipv4/ip_local_port_range";
        let Some(text) = sysctl::read_if_there(path)? else {
            return Ok(None);
        };
        let mut words = text.split_whitespace();
        let mut port = || {
            let word = words
                .next()
                .with_context(|| format!("{path} is too short"))?;
            word.parse().with_context(|| format!("{path} says {word}"))
        };
        let range: (u16, u16) = (port()?, port()?);
        let taken = tcp_connections_to(destination)?;
        let taken = taken.iter().map(|socket| socket.local.port());
        let connected = taken.filter(|port| (range.0..=range.1).contains(port));
        Ok(Some(Self {
            range,
            connected: connected.collect::<BTreeSet<_>>().len(),
        }))
    }
}

impl ConnectFacts {
    /// Asks the node, within this time.
    pub(crate) async fn read(failed: FailedConnect, limit: Duration) -> Self {
        let netns = NetnsRef::Inode(failed.about.netns);
        let read = move |inside: Inside| Ok(Self::read_inside(&inside, &failed));
        let read = in_netns_async(&netns, limit, read).await;
        let mut found = read.unwrap_or_else(|error| Self {
            gaps: vec![format!("{error:#}")],
            ..Self::default()
        });
        // A policy rule may refuse it: the kernel does not say which.
        let is_unexplained = |lookup: &Lookup| lookup.answer.is_err() && lookup.culprit().is_none();
        if found.route.as_ref().is_some_and(is_unexplained) {
            found.world = Some(World::recent_async(Part::all(), limit).await);
        }
        found
    }

    fn read_inside(inside: &Inside, failed: &FailedConnect) -> Self {
        let mut found = Self::default();
        let about = &failed.about;
        if about.by_program {
            let read = programs::of_connects(*inside, failed.pid, about.dst.is_ipv4());
            found.programs = found
                .kept("the programs of control groups", read)
                .unwrap_or_default();
            return found;
        }
        let rtnetlink = match Rtnetlink::open() {
            Ok(rtnetlink) => rtnetlink,
            Err(error) => {
                found
                    .gaps
                    .push(format!("cannot open an rtnetlink socket: {error}"));
                return found;
            }
        };
        let route = Lookup::read(&rtnetlink, key(about));
        found.route = found.kept("the route", route.map_err(Into::into));
        if about.ifindex != 0 {
            let link = rtnetlink.link(about.ifindex);
            found.device = found
                .kept("its interface", link.map_err(Into::into))
                .flatten();
        }
        if let Some(src) = about.src {
            let addresses = rtnetlink.addresses().map_err(Into::into);
            let addresses = found.kept("the addresses", addresses);
            let has = |address: IpAddr| address == src || src.is_loopback();
            found.has_source = addresses.map(|all| all.iter().any(|one| has(one.address)));
        }
        if about.error == ConnectError::NoAddress {
            let read = Ports::read(SocketAddr::new(about.dst, about.dport));
            found.ports = found.kept("the local ports", read).flatten();
        }
        found
    }

    fn kept<T>(&mut self, what: &str, read: Result<T>) -> Option<T> {
        read.map_err(|error| self.gaps.push(format!("{what} cannot be read: {error:#}")))
            .ok()
    }
}

/// What the kernel chooses the route by.
fn key(about: &ConnectKind) -> RouteKey {
    RouteKey {
        src: about.src,
        oif: Some(about.ifindex).filter(|ifindex| *ifindex != 0),
        mark: about.mark,
        proto: Some(Protocol::Tcp.number()),
        sport: about.sport,
        dport: Some(about.dport),
        ..RouteKey::to(about.dst)
    }
}
