//! Whose an address is.

use std::net::IpAddr;

use super::{
    objects::{Pod, Service},
    unreadable::UnreadableName,
    view::{Kind, View},
};

/// Whose an address is.
#[derive(Debug, Clone)]
pub(crate) enum Owner<'v> {
    /// A pod's with a network namespace of its own.
    Pod(&'v Pod),
    /// A node's, and so that of all its hostNetwork pods.
    Node {
        /// The node's name, where it is known.
        name: Option<&'v str>,
        /// Its hostNetwork pods.
        pods: Vec<&'v Pod>,
    },
    /// A Service's: policies never see it, as they compare what stands behind it.
    Service(&'v Service),
    /// No pod's, in the range of this node's pods.
    Gone(&'v str),
    /// A host's outside the cluster.
    Outside,
    /// This object's, or perhaps this object's: it could not be read.
    Unreadable(Kind, &'v UnreadableName),
    /// Pods are not known, so it may be any pod's.
    Unknown,
}

impl View {
    /// Whose an address is.
    #[must_use]
    pub(crate) fn owner(&self, ip: IpAddr) -> Owner<'_> {
        if let Some((kind, id)) = self.unreadable_at(ip) {
            return Owner::Unreadable(kind, id);
        }
        let (hosts, pods): (Vec<_>, Vec<_>) = self.claimants(ip).partition(|pod| pod.host_network);
        // Who is leaving, or was there before, has given the address up or is about to.
        if let Some(pod) = pods
            .into_iter()
            .max_by_key(|pod| (!pod.deleted, pod.created))
        {
            return Owner::Pod(pod);
        }
        let node = self
            .nodes()
            .find(|node| node.ips.contains(&ip))
            .map(|node| node.name.as_str());
        let is_host = node.is_some() || !hosts.is_empty() || self.hosted_at(ip).next().is_some();
        if is_host {
            let of_pods = || {
                let on_it = self.hosted_at(ip).next();
                on_it
                    .or(hosts.first().copied())
                    .and_then(|pod| pod.node.as_deref())
            };
            return Owner::Node {
                name: node.or_else(of_pods),
                pods: hosts,
            };
        }
        if let Some(service) = self.services_at(ip).next() {
            return Owner::Service(service);
        }
        if !self.knows(Kind::Pod) {
            return Owner::Unknown;
        }
        let range = self
            .nodes()
            .find(|node| node.pod_nets.iter().any(|net| net.contains(&ip)));
        match (range, self.unreadable_anywhere()) {
            (Some(node), _) => Owner::Gone(&node.name),
            (None, Some((kind, id))) => Owner::Unreadable(kind, id),
            (None, None) => Owner::Outside,
        }
    }
}
