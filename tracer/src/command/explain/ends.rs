//! The two ends as they were typed, and who that is.

use std::net::IpAddr;

use anyhow::{Context, Result, bail};

use crate::{
    cli::endpoint::Endpoint,
    cluster::{
        objects::{ObjectName, Service},
        owner::Owner,
        policy::Protocol,
        resolve::{no_such, no_such_workload},
        view::{Kind, View},
    },
    policy::{Party, Peer},
};

/// What was given as the destination.
pub(super) enum Destination<'v> {
    /// Pods or addresses: these are what policies see.
    Plain(Vec<Peer<'v>>),
    /// A Service, at one of its addresses or by name.
    Service {
        service: &'v Service,
        address: Option<IpAddr>,
    },
    /// A node's address at a Service's NodePort.
    NodePort {
        service: &'v Service,
        port: u16,
        node: Peer<'v>,
    },
}

/// Who opens the connection: one, or each pod of a workload.
pub(super) fn sources<'v>(
    view: &'v View,
    end: &Endpoint,
    warnings: &mut Vec<String>,
) -> Result<Vec<Peer<'v>>> {
    match end {
        Endpoint::Net { net, .. } => Ok(vec![Peer::at(view, net.addr())]),
        _ => named(view, end, warnings),
    }
}

/// What is to answer.
pub(super) fn destination<'v>(
    view: &'v View,
    end: &Endpoint,
    protocol: Protocol,
    warnings: &mut Vec<String>,
) -> Result<Destination<'v>> {
    let found = match end {
        Endpoint::Net { net, port } => at(view, net.addr(), *port, protocol),
        Endpoint::Service {
            namespace, name, ..
        } => {
            let id = ObjectName::new(namespace, name);
            let Some(service) = view.service(&id) else {
                if let Some(unreadable) = view.unreadable_as(Kind::Service, &id) {
                    bail!("Service {unreadable} could not be read");
                }
                bail!(unknown(view, Kind::Service, &id));
            };
            Destination::Service {
                service,
                address: None,
            }
        }
        _ => Destination::Plain(named(view, end, warnings)?),
    };
    Ok(found)
}

fn at(view: &View, ip: IpAddr, port: Option<u16>, protocol: Protocol) -> Destination<'_> {
    let plain = || Destination::Plain(vec![Peer::at(view, ip)]);
    match (view.owner(ip), port) {
        (Owner::Service(service), _) => Destination::Service {
            service,
            address: Some(ip),
        },
        (Owner::Node { .. }, Some(port)) => match view.service_at_node_port(port, protocol) {
            Some(service) => Destination::NodePort {
                service,
                port,
                node: Peer::at(view, ip),
            },
            None => plain(),
        },
        _ => plain(),
    }
}

fn named<'v>(view: &'v View, end: &Endpoint, warnings: &mut Vec<String>) -> Result<Vec<Peer<'v>>> {
    match end {
        Endpoint::Pod {
            namespace, name, ..
        } => {
            let id = ObjectName::new(namespace, name);
            let Some(pod) = view.pod(&id) else {
                if let Some(unreadable) = view.unreadable_as(Kind::Pod, &id) {
                    return Ok(vec![Peer::unreadable(unreadable)]);
                }
                bail!(unknown(view, Kind::Pod, &id));
            };
            if pod.ended {
                warnings.push(format!("{} has ended and has no address any more", pod.id));
            }
            Ok(vec![Peer::pod(pod)])
        }
        Endpoint::Workload { workload, .. } => {
            let peers: Vec<Peer<'_>> = view.pods_of(workload).map(Peer::pod).collect();
            if peers.is_empty() {
                bail!(no_such_workload(view, workload));
            }
            Ok(peers)
        }
        // The options are validated.
        _ => bail!("{end}: policies judge an address, a pod or the pods of a workload"),
    }
}

/// The one address of an end, for a packet to be sent from or to it.
pub(super) fn address(view: Option<&View>, end: &Endpoint) -> Result<IpAddr> {
    let Some(view) = view else {
        let Some(net) = end.net() else {
            bail!("{end}: give its address, or the cluster's objects with --cluster");
        };
        return Ok(net.addr());
    };
    let addresses = match destination(view, end, Protocol::Icmp, &mut Vec::new())? {
        Destination::Service {
            service, address, ..
        } => address.into_iter().chain(service.ips()).collect(),
        Destination::Plain(peers) => peers.iter().flat_map(Peer::addresses).collect(),
        Destination::NodePort { node, .. } => node.addresses(),
    };
    let first: Option<&IpAddr> = addresses.first();
    first
        .copied()
        .with_context(|| format!("{end} has no address"))
}

fn unknown(view: &View, kind: Kind, id: &ObjectName) -> String {
    let (what, plural) = match kind {
        Kind::Service => ("Service", "Services"),
        _ => ("pod", "pods"),
    };
    match view.knows(kind) {
        true => no_such(view, kind, id),
        false => format!("unknown {what} {id}: no {plural} are known"),
    }
}

/// Whether an end is at this node, or on it.
pub(super) fn node_of<'v>(peer: &Peer<'v>) -> Option<&'v str> {
    match &peer.party {
        Party::Pod(pod) => pod.node.as_deref(),
        Party::Host { node, .. } => *node,
        _ => None,
    }
}
