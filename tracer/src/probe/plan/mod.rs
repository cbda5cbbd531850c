//! Everything that a probe will send, known before the first packet leaves.
//!
//! - [`dns`]: the queries
//! - `sends`: the list for the user
//! - [`command`]: how a person asks the like

pub(crate) mod command;
mod dns;
mod sends;

use std::{
    net::{IpAddr, SocketAddr},
    time::SystemTime,
};

pub(crate) use self::dns::DnsPlan;
use super::{
    resolv::Resolver,
    target::{Destination, Destinations, Role, Target},
};
use crate::{
    cluster::{policy::Protocol, source::ClusterConfig, view::View},
    model::{Layer, Netns, PlanReport, Skip, shell::Command},
    net::netns::NetnsRef,
};

/// The port of DNS.
const DNS: u16 = 53;
/// To how many addresses packets of all sizes are sent.
const MOST_SIZED: usize = 3;
/// The MTU where the interface is not known.
pub(crate) const USUAL_MTU: u32 = 1500;
/// How many echo requests, or segments, are sent to one address to find the MTU: the rounds of the
/// search, and what confirms it.
pub(crate) const MOST_SIZES: u32 = 64;
/// How many addresses of a name are connected to.
pub(crate) const MOST_ANSWERS: usize = 8;
/// The ports whose servers speak TLS, by their registration or by custom.
const TLS_PORTS: [u16; 13] = [
    443, 465, 636, 853, 990, 993, 995, 2379, 5671, 6443, 8443, 8883, 10250,
];

/// Where everything is sent from.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    /// As the command line has it; `None` for this node.
    pub(crate) asked: Option<String>,
    pub(crate) netns: NetnsRef,
    pub(crate) inode: u32,
    /// The namespace in words.
    pub(crate) name: String,
    /// The addresses to send from; empty for whichever the routes choose.
    pub(crate) addresses: Vec<IpAddr>,
    /// The families that it has addresses of: IPv4 and IPv6.
    pub(crate) families: [bool; 2],
    /// The node that it is on.
    pub(crate) node: Option<String>,
    /// Its interfaces.
    pub(crate) interfaces: Vec<Interface>,
    /// How a command enters its namespace.
    pub(crate) site: Netns,
    /// Its namespace as an option, where others have its address, too.
    pub(crate) netns_option: Option<String>,
}

/// An interface of the source.
#[derive(Debug, Clone)]
pub(crate) struct Interface {
    pub(crate) name: String,
    pub(crate) mtu: u32,
    pub(crate) addresses: Vec<IpAddr>,
}

impl Source {
    /// The command, to be run where the probe sends from.
    pub(crate) fn shown(&self, command: &Command) -> String {
        self.site.there(command)
    }

    /// The address to send to a destination from; `None` for whichever the routes choose.
    pub(crate) fn address_for(&self, dst: IpAddr) -> Option<IpAddr> {
        let mut own = self.addresses.iter().copied();
        own.find(|own| own.is_ipv4() == dst.is_ipv4())
    }
}

/// What the user wants besides.
#[derive(Debug, Clone, Default)]
pub(crate) struct Wishes {
    /// The path of a request.
    pub(crate) http: Option<String>,
    /// TLS at any port.
    pub(crate) tls: bool,
    /// The name for TLS and HTTP.
    pub(crate) server_name: Option<String>,
    /// Where the cluster's objects come from.
    pub(crate) cluster: ClusterConfig,
}

/// Everything that will be sent.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) source: Source,
    pub(crate) target: Target,
    pub(crate) dns: Result<DnsPlan, String>,
    /// Known addresses; for a name, those that DNS answers come later.
    pub(crate) destinations: Destinations,
    /// TLS, with this name in the ClientHello.
    pub(crate) tls: Result<Option<String>, String>,
    pub(crate) http: Result<HttpPlan, String>,
    /// The beginning of the command that evaluates NetworkPolicies.
    explain: Command,
}

/// The request.
#[derive(Debug, Clone)]
pub(crate) struct HttpPlan {
    pub(crate) path: String,
    pub(crate) host: String,
    pub(crate) tls: bool,
}

impl Plan {
    pub(crate) fn new(
        view: &View,
        source: Source,
        target: Target,
        resolver: Result<Resolver, String>,
        wishes: Wishes,
    ) -> Self {
        let destinations = target.destinations(view, source.families);
        let dns = DnsPlan::new(view, &target, resolver);
        let port = target.port().or_else(|| {
            let first = destinations.all.first();
            first.map(|first| first.socket.port())
        });
        let is_tls = wishes.tls || port.is_some_and(|port| TLS_PORTS.contains(&port));
        let named = wishes.server_name.clone().or_else(|| match &target {
            Target::Host { name, .. } => Some(name.trim_end_matches('.').to_owned()),
            Target::Endpoint(_) => dns.as_ref().ok().map(|dns| dns.name.clone()),
        });
        let tls = match is_tls {
            true => Ok(named.clone()),
            false => Err(format!(
                "port {} is not a usual port of TLS; --tls asks anyway",
                port.unwrap_or_default()
            )),
        };
        let http = match wishes.http {
            Some(path) => Ok(HttpPlan {
                path,
                host: named.unwrap_or_else(|| {
                    let front = destinations.all.first();
                    front.map_or_else(|| target.to_string(), |front| host(front.socket))
                }),
                tls: is_tls,
            }),
            None => Err("not asked for; --http PATH asks".to_owned()),
        };
        Self {
            explain: command::explain(&wishes.cluster),
            source,
            target,
            dns,
            destinations,
            tls,
            http,
        }
    }

    /// Whether the addresses come from DNS.
    pub(crate) fn by_name(&self) -> bool {
        matches!(self.target, Target::Host { .. })
    }

    /// All addresses that packets are sent to and that are known by now.
    pub(crate) fn addresses(&self) -> Vec<IpAddr> {
        let dns = self.dns.iter();
        let dns = dns.flat_map(|dns| dns.servers.iter().chain(&dns.replicas));
        let all = self.destinations.all.iter().chain(dns);
        all.map(|one| one.socket.ip()).collect()
    }

    /// The command that evaluates the NetworkPolicies for a flow.
    pub(crate) fn explain(&self, from: &str, to: &str, protocol: Protocol) -> Command {
        let ends = self.explain.clone().arg("--from").arg(from);
        let ends = ends.arg("--to").arg(to);
        match protocol {
            Protocol::Udp => ends.words("--proto udp"),
            _ => ends,
        }
    }

    /// The command that follows the way of a flow through this node.
    pub(crate) fn way(&self, from: IpAddr, to: SocketAddr, protocol: Protocol) -> Command {
        let flow = self.explain(&from.to_string(), &to.to_string(), protocol);
        let way = flow.arg("--way");
        match &self.source.netns_option {
            Some(netns) => way.arg("--netns").arg(netns),
            None => way,
        }
    }

    /// The plan for the user.
    pub(crate) fn report(&self) -> PlanReport {
        let skips = [
            (Layer::Dns, self.dns.as_ref().err()),
            (Layer::Tls, self.tls.as_ref().err()),
            (Layer::Application, self.http.as_ref().err()),
        ];
        let skips = skips.into_iter().filter_map(|(layer, reason)| {
            Some(Skip {
                layer,
                reason: reason?.clone(),
            })
        });
        PlanReport {
            ts: SystemTime::now(),
            from: self.source.asked.clone(),
            to: self.target.to_string(),
            netns: self.source.name.clone(),
            sends: self.sends(),
            skips: skips.collect(),
        }
    }
}

/// Addresses to which packets of all sizes are sent: a Service's own answers no echo request, so its
/// endpoints take its place.
pub(crate) fn sized(all: &[Destination]) -> Vec<Destination> {
    let is_endpoint = |one: &&Destination| one.role == Role::Endpoint;
    let has_endpoints = all.iter().any(|one| is_endpoint(&one));
    let fitting = all
        .iter()
        .filter(|one| !has_endpoints || is_endpoint(one))
        .cloned();
    let mut chosen: Vec<Destination> = Vec::new();
    for one in fitting {
        if chosen.len() == MOST_SIZED {
            break;
        }
        if chosen
            .iter()
            .all(|known| known.socket.ip() != one.socket.ip())
        {
            chosen.push(one);
        }
    }
    chosen
}

/// An address for the header `Host`.
fn host(socket: SocketAddr) -> String {
    match socket.ip() {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("[{ip}]"),
    }
}
