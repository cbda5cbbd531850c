//! The kernel's filter, from the options.

use std::{
    collections::{BTreeSet, HashMap},
    net::IpAddr,
};

use anyhow::{Result, ensure};
use tracer_common::{
    address::Address,
    filter::{Filter, MAX_NETNS, Member, Side, kind, ports},
    packet::protocol,
};

use crate::{
    cli::{
        endpoint::Endpoint,
        options::{Proto, TraceConfig},
    },
    cluster::resolve::Socket,
    net::netns,
};

/// Builds the filter that the kernel programs match packets with.
///
/// # Errors
///
/// A network namespace does not exist, or too many are asked for.
pub(crate) fn build(config: &TraceConfig) -> Result<Filter> {
    let mut filter = Filter {
        to: side(config.to.as_ref()),
        from: side(config.from.as_ref()),
        proto: match config.proto {
            Proto::Any => 0,
            Proto::Tcp => protocol::TCP.into(),
            Proto::Udp => protocol::UDP.into(),
            Proto::Icmp => protocol::ICMP.into(),
        },
        ..Filter::default()
    };
    ensure!(
        config.netns.len() <= MAX_NETNS,
        "at most {MAX_NETNS} network namespaces at once; leave --netns out for the whole node"
    );
    for (slot, name) in filter.netns.iter_mut().zip(&config.netns) {
        *slot = netns::resolve(name)?;
        filter.netns_len += 1;
    }
    Ok(filter)
}

/// A filter of two sets, which are filled later: packets to the one, from the other if there is one.
#[must_use]
pub(crate) fn of_sets(has_from: bool) -> Filter {
    let set = Side {
        kind: kind::SET,
        ..Side::default()
    };
    Filter {
        to: set,
        from: if has_from { set } else { Side::default() },
        ..Filter::default()
    }
}

/// The entries of a set of the kernel's with these sockets, and their values.
#[must_use]
pub(crate) fn entries(side: u16, sockets: &BTreeSet<Socket>) -> HashMap<Member, u32> {
    let mut entries = HashMap::new();
    for socket in sockets {
        let of_address = Member {
            address: socket.ip.into(),
            port: 0,
            side,
        };
        match socket.port {
            None => {
                entries.insert(of_address, ports::ALL);
            }
            Some(port) => {
                entries.entry(of_address).or_insert(ports::LISTED);
                entries.insert(Member { port, ..of_address }, ports::LISTED);
            }
        }
    }
    entries
}

fn side(endpoint: Option<&Endpoint>) -> Side {
    let mut side = Side::default();
    match endpoint {
        None => {}
        Some(Endpoint::Port(port)) => side.port = (*port).into(),
        Some(Endpoint::Net { net, port }) => {
            let address: IpAddr = net.network();
            side.kind = kind::PREFIX;
            side.address = address.into();
            side.mask = Address::mask(address, net.prefix_len());
            side.port = port.unwrap_or(0).into();
        }
        // Its addresses come later, and may change.
        Some(Endpoint::Pod { .. } | Endpoint::Service { .. } | Endpoint::Workload { .. }) => {
            side.kind = kind::SET;
        }
    }
    side
}
