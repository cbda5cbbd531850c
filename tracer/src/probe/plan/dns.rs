//! The queries.

use std::net::IpAddr;

use super::DNS;
use crate::{
    cli::endpoint::Endpoint,
    cluster::{owner::Owner, policy::Protocol, view::View},
    probe::{
        resolv::Resolver,
        target::{Destination, Role, Target, at, behind},
    },
};

/// The queries.
#[derive(Debug, Clone)]
pub(crate) struct DnsPlan {
    pub(crate) resolver: Resolver,
    /// The name as it is asked for.
    pub(crate) name: String,
    /// The names that are tried one after the other.
    pub(crate) candidates: Vec<String>,
    /// The servers of the resolver.
    pub(crate) servers: Vec<Destination>,
    /// The endpoints behind them.
    pub(crate) replicas: Vec<Destination>,
    /// Endpoints that are not asked, as they are not ready.
    pub(crate) not_ready: Vec<Destination>,
    /// Endpoints that are not asked, as there are too many.
    pub(crate) left_out: usize,
}

impl DnsPlan {
    /// # Errors
    ///
    /// No name is asked for, or no server can be; the reason in words.
    pub(super) fn new(
        view: &View,
        target: &Target,
        resolver: Result<Resolver, String>,
    ) -> Result<Self, String> {
        if let Target::Endpoint(Endpoint::Net { .. }) = target {
            return Err("the destination is an address".to_owned());
        }
        let resolver = resolver?;
        if resolver.nameservers.is_empty() {
            return Err(format!("{} names no server", resolver.origin));
        }
        let Some(name) = target.name(resolver.cluster_domain()) else {
            return Err(match target.endpoint() {
                Some(Endpoint::Service { .. }) => format!(
                    "{} has no search domain of a cluster, so the Service's name is not known",
                    resolver.origin
                ),
                _ => "the destination is not asked for by a DNS name".to_owned(),
            });
        };
        let server = |ip: &IpAddr| at(view, *ip, DNS, Role::Front);
        let mut plan = Self {
            candidates: resolver.candidates(&name),
            name,
            servers: resolver.nameservers.iter().map(server).collect(),
            replicas: Vec::new(),
            not_ready: Vec::new(),
            left_out: 0,
            resolver,
        };
        plan.find_replicas(view);
        Ok(plan)
    }

    /// Finds the endpoints behind the servers that are Services.
    fn find_replicas(&mut self, view: &View) {
        for server in &self.servers {
            if let Owner::Service(service) = view.owner(server.socket.ip()) {
                let is_v6 = server.socket.is_ipv6();
                let same_family = |ip: &IpAddr| ip.is_ipv6() == is_v6;
                let behind = behind(view, service, DNS, Protocol::Udp, same_family);
                self.replicas.extend(behind.all);
                self.not_ready.extend(behind.not_ready);
                self.left_out += behind.left_out;
            }
        }
        self.replicas.sort_by_key(|one| one.socket);
        self.replicas.dedup_by_key(|one| one.socket);
    }

    /// What the search list costs, where it costs something: a name with few dots is asked for in
    /// every domain of it before it is asked for as it is.
    pub(crate) fn storm(&self, queries: usize, in_vain: usize) -> Option<String> {
        let Self { name, resolver, .. } = self;
        (in_vain > 0 && self.candidates.len() > 1).then(|| {
            format!(
                "ndots:{} costs {in_vain} of these {queries} queries: {name} has {} dots, so the search \
                 list comes first; {name}. with a final dot needs {}",
                resolver.ndots,
                name.matches('.').count(),
                queries - in_vain
            )
        })
    }
}
