//! The network namespace that everything is sent from.

use std::{net::IpAddr, time::Duration};

use anyhow::{Result, bail};

use crate::{
    cli::{endpoint::Endpoint, options::ProbeConfig},
    cluster::{live::Cluster, objects::ObjectName, owner::Owner},
    model::Site,
    net::netns::{self, Namespace, NetnsRef},
    node::world::{Parts, World},
    probe::plan::{Interface, Source},
};

/// How long the node may take to answer.
const LIMIT: Duration = Duration::from_secs(5);

/// The network namespaces of the node, with their links and addresses.
pub(super) fn world() -> World {
    World::read(&Parts::new(), LIMIT)
}

/// Finds it.
///
/// # Errors
///
/// No namespace of this node has the source's address, or several have.
pub(super) fn find(config: &ProbeConfig, cluster: &Cluster, world: &World) -> Result<Source> {
    let Some(from) = &config.from else {
        let own = Namespace::own()?.inode;
        let node = addresses_in(world, own).find_map(|ip| node_at(cluster, ip));
        return source(world, None, own, Vec::new(), node);
    };
    let (addresses, netns, node) = match from {
        Endpoint::Pod {
            namespace, name, ..
        } => {
            let pod = cluster.view().pod(&ObjectName::new(namespace, name));
            let Some(pod) = pod else {
                bail!("{from} is not known");
            };
            let ips = match pod.ips.is_empty() {
                true => pod.host_ips.clone(),
                false => pod.ips.clone(),
            };
            let netns = pod.sandbox.as_ref().and_then(|sandbox| sandbox.netns);
            (ips, netns, pod.node.clone())
        }
        Endpoint::Net { net, .. } => {
            let node = node_at(cluster, net.addr());
            (vec![net.addr()], None, node)
        }
        // The options are validated.
        _ => bail!("--from {from}: one address or pod"),
    };
    let inode = match netns.filter(|inode| world.namespace(*inode).is_some()) {
        Some(inode) => inode,
        None => holder(config, world, &addresses)?,
    };
    source(world, Some(from.to_string()), inode, addresses, node)
}

fn source(
    world: &World,
    asked: Option<String>,
    inode: u32,
    addresses: Vec<IpAddr>,
    node: Option<String>,
) -> Result<Source> {
    let namespace = world.namespace(inode);
    let name = namespace.map_or_else(|| inode.to_string(), |one| one.name.clone());
    let netns = namespace.map_or(NetnsRef::Inode(inode), |one| one.reference.clone());
    let mut families = [false; 2];
    let own = addresses_in(world, inode).collect::<Vec<_>>();
    let all = if addresses.is_empty() {
        &own
    } else {
        &addresses
    };
    for ip in all.iter().filter(|ip| !ip.is_loopback()) {
        families[usize::from(ip.is_ipv6())] = true;
    }
    let Site::Namespace(site) = world.site(inode) else {
        bail!("{name} is no network namespace");
    };
    let is_shared = addresses.iter().any(|ip| {
        let mut holders = world.holders(*ip).into_iter();
        holders.any(|holder| holder.netns != inode)
    });
    let path = match &netns {
        NetnsRef::Path(path) => path.to_str().map(str::to_owned),
        _ => None,
    };
    Ok(Source {
        asked,
        netns,
        inode,
        name,
        addresses,
        families,
        node,
        interfaces: interfaces(world, inode),
        site,
        netns_option: path.filter(|_| is_shared),
    })
}

/// The one namespace that has the first address that any has.
fn holder(config: &ProbeConfig, world: &World, addresses: &[IpAddr]) -> Result<u32> {
    let watched = config.netns.iter().map(|name| netns::resolve(name));
    let watched: Vec<u32> = watched.collect::<Result<_>>()?;
    for ip in addresses {
        let mut holders = world.holders(*ip);
        holders.sort_by_key(|holder| holder.netns);
        holders.dedup_by_key(|holder| holder.netns);
        match holders.as_slice() {
            [] => {}
            [only] => return Ok(only.netns),
            several => {
                let mut wanted = several.iter().filter(|one| watched.contains(&one.netns));
                if let (Some(only), None) = (wanted.next(), wanted.next()) {
                    return Ok(only.netns);
                }
                let names: Vec<_> = several.iter().map(|one| one.netns_name.as_str()).collect();
                bail!(
                    "several network namespaces have {ip}: {}; --netns names the right one",
                    names.join(", ")
                );
            }
        }
    }
    bail!(
        "no network namespace of this node has the address of {}: run the probe on the node that it is \
         on",
        config
            .from
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default()
    )
}

fn interfaces(world: &World, inode: u32) -> Vec<Interface> {
    let Some(namespace) = world.namespace(inode) else {
        return Vec::new();
    };
    let all = namespace.links.values().map(|link| {
        let held = namespace.addresses.iter();
        let own = held.filter(|held| held.ifindex == link.id.ifindex);
        Interface {
            name: link.name.clone(),
            mtu: link.mtu,
            addresses: own.map(|held| held.address).collect(),
        }
    });
    all.collect()
}

fn addresses_in(world: &World, inode: u32) -> impl Iterator<Item = IpAddr> + '_ {
    let namespace = world.namespace(inode);
    let addresses = namespace.into_iter().flat_map(|one| &one.addresses);
    addresses.map(|held| held.address)
}

fn node_at(cluster: &Cluster, ip: IpAddr) -> Option<String> {
    match cluster.view().owner(ip) {
        Owner::Pod(pod) => pod.node.clone(),
        Owner::Node { name, .. } => name.map(str::to_owned),
        _ => None,
    }
}
