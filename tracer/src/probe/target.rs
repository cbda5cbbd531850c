//! The destination of a probe, and the addresses behind it.

use std::{
    collections::BTreeSet,
    fmt,
    net::{IpAddr, SocketAddr},
    str::FromStr,
};

use super::resolv::is_name;
use crate::{
    cli::endpoint::{Endpoint, EndpointError},
    cluster::{
        objects::{ObjectName, Service},
        owner::Owner,
        policy::Protocol,
        view::View,
    },
};

/// The destination, as the command line has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    /// An address, a pod, a Service or a workload, at a port.
    Endpoint(Endpoint),
    /// A name that is resolved as the source would.
    Host { name: String, port: u16 },
}

/// How many endpoints of a Service are asked.
const MOST_ENDPOINTS: usize = 10;

/// An address to connect to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Destination {
    pub(crate) socket: SocketAddr,
    pub(crate) role: Role,
    /// Its name, where it has one.
    pub(crate) name: Option<String>,
    /// The node that it is on.
    pub(crate) node: Option<String>,
    /// Whether its pod is ready; `None` where that is not known.
    pub(crate) ready: Option<bool>,
}

/// What an address is to the destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Role {
    /// The address that a client uses.
    Front,
    /// An endpoint behind it.
    Endpoint,
}

/// The addresses of a destination.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Destinations {
    /// Those to connect to.
    pub(crate) all: Vec<Destination>,
    /// Endpoints that are not asked, as they are not ready: no client is sent there.
    pub(crate) not_ready: Vec<Destination>,
    /// Endpoints that are not asked, as there are too many.
    pub(crate) left_out: usize,
}

impl FromStr for Target {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        let error = match text.parse() {
            Ok(endpoint) => return Ok(Self::Endpoint(endpoint)),
            Err(error) => error,
        };
        let named = text.rsplit_once(':').and_then(|(name, port)| {
            let port = port.parse().ok().filter(|port| *port != 0)?;
            let has_letter = name.bytes().any(|b| b.is_ascii_alphabetic());
            (has_letter && is_name(name)).then(|| Self::Host {
                name: name.to_ascii_lowercase(),
                port,
            })
        });
        named.ok_or(error)
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Endpoint(endpoint) => endpoint.fmt(f),
            Self::Host { name, port } => write!(f, "{name}:{port}"),
        }
    }
}

impl Target {
    pub(crate) fn port(&self) -> Option<u16> {
        match self {
            Self::Endpoint(endpoint) => endpoint.port(),
            Self::Host { port, .. } => Some(*port),
        }
    }

    /// The endpoint, unless it is a name for DNS.
    pub(crate) fn endpoint(&self) -> Option<&Endpoint> {
        match self {
            Self::Endpoint(endpoint) => Some(endpoint),
            Self::Host { .. } => None,
        }
    }

    /// The name that a client would resolve: that of a Service is in the domain of the cluster.
    pub(crate) fn name(&self, cluster_domain: Option<&str>) -> Option<String> {
        match self {
            Self::Host { name, .. } => Some(name.clone()),
            Self::Endpoint(Endpoint::Service {
                namespace, name, ..
            }) => {
                let domain = cluster_domain?;
                Some(format!("{name}.{namespace}.svc.{domain}"))
            }
            Self::Endpoint(_) => None,
        }
    }

    /// The addresses that are known before anything is sent; none for a name. `families` are those
    /// that the source has addresses of: IPv4 and IPv6.
    pub(crate) fn destinations(&self, view: &View, families: [bool; 2]) -> Destinations {
        let fits = |ip: &IpAddr| families[usize::from(ip.is_ipv6())];
        let Self::Endpoint(endpoint) = self else {
            return Destinations::default();
        };
        match endpoint {
            Endpoint::Net { net, port } => {
                let front = port.map(|port| at(view, net.addr(), port, Role::Front));
                Destinations {
                    all: front.into_iter().collect(),
                    ..Destinations::default()
                }
            }
            Endpoint::Pod {
                namespace,
                name,
                port,
            } => {
                let pod = view.pod(&ObjectName::new(namespace, name));
                let ips = pod.into_iter().flat_map(|pod| match pod.ips.is_empty() {
                    true => &pod.host_ips,
                    false => &pod.ips,
                });
                let ips = ips.filter(|ip| fits(ip)).copied();
                limited(view, port.unwrap_or_default(), Role::Front, ips)
            }
            Endpoint::Workload { workload, port } => {
                let ips = view.pods_of(workload).flat_map(|pod| &pod.ips);
                let ips = ips.filter(|ip| fits(ip)).copied();
                limited(view, port.unwrap_or_default(), Role::Front, ips)
            }
            Endpoint::Service {
                namespace,
                name,
                port,
            } => {
                let Some(service) = view.service(&ObjectName::new(namespace, name)) else {
                    return Destinations::default();
                };
                let Some(port) = port.or_else(|| only_port(service)) else {
                    return Destinations::default();
                };
                let fronts = service.cluster_ips.iter().filter(|ip| fits(ip));
                let fronts = fronts.map(|ip| at(view, *ip, port, Role::Front));
                let behind = behind(view, service, port, Protocol::Tcp, fits);
                Destinations {
                    all: fronts.chain(behind.all).collect(),
                    ..behind
                }
            }
            Endpoint::Port(_) => Destinations::default(),
        }
    }
}

fn only_port(service: &Service) -> Option<u16> {
    let mut ports = service
        .ports
        .iter()
        .filter(|port| port.protocol == Protocol::Tcp);
    ports
        .next()
        .filter(|_| ports.next().is_none())
        .map(|port| port.port)
}

fn limited(view: &View, port: u16, role: Role, ips: impl Iterator<Item = IpAddr>) -> Destinations {
    let all: BTreeSet<IpAddr> = ips.collect();
    Destinations {
        left_out: all.len().saturating_sub(MOST_ENDPOINTS),
        not_ready: Vec::new(),
        all: all
            .into_iter()
            .take(MOST_ENDPOINTS)
            .map(|ip| at(view, ip, port, role))
            .collect(),
    }
}

/// The endpoints behind a port of a Service.
pub(crate) fn behind(
    view: &View,
    service: &Service,
    port: u16,
    protocol: Protocol,
    fits: impl Fn(&IpAddr) -> bool,
) -> Destinations {
    let mut ports = service.ports.iter();
    let Some(port) = ports.find(|one| one.port == port && one.protocol == protocol) else {
        return Destinations::default();
    };
    let mut found: Vec<Destination> = Vec::new();
    for slice in view.slices_of(&service.id) {
        let mut targets = slice.ports.iter();
        let same = |one: &&crate::cluster::objects::ServicePort| {
            one.name == port.name && one.protocol == port.protocol
        };
        let Some(target) = targets.find(same) else {
            continue;
        };
        for backend in slice.backends.iter().filter(|backend| fits(&backend.ip)) {
            let mut one = at(view, backend.ip, target.port, Role::Endpoint);
            one.node = one.node.or_else(|| backend.node.clone());
            one.ready = Some(backend.ready && one.ready != Some(false));
            found.push(one);
        }
    }
    found.sort_by_key(|one| one.socket);
    found.dedup_by_key(|one| one.socket);
    let is_ready = |one: &Destination| one.ready != Some(false);
    let (mut all, not_ready): (Vec<_>, _) = found.into_iter().partition(is_ready);
    let left_out = all.len().saturating_sub(MOST_ENDPOINTS);
    all.truncate(MOST_ENDPOINTS);
    Destinations {
        all,
        not_ready,
        left_out,
    }
}

/// An address, with what the cluster knows of it.
pub(crate) fn at(view: &View, ip: IpAddr, port: u16, role: Role) -> Destination {
    let (name, node, ready) = match view.owner(ip) {
        Owner::Pod(pod) => (Some(pod.id.to_string()), pod.node.clone(), pod.ready),
        Owner::Service(service) => (Some(format!("svc/{}", service.id)), None, None),
        Owner::Node { name, .. } => {
            let name = name.map(str::to_owned);
            (name.as_ref().map(|name| format!("node {name}")), name, None)
        }
        _ => (None, None, None),
    };
    Destination {
        socket: SocketAddr::new(ip, port),
        role,
        name,
        node,
        ready,
    }
}

impl Destination {
    /// Its name and address, for reading.
    pub(crate) fn text(&self) -> String {
        match &self.name {
            Some(name) => format!("{name} ({})", self.socket),
            None => self.socket.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_a_port_is_for_dns_and_all_else_is_an_endpoint() {
        let parse = |text: &str| text.parse::<Target>();
        let host = |name: &str, port| Target::Host {
            name: name.to_owned(),
            port,
        };
        assert_eq!(
            parse("api.Example.com:443").unwrap(),
            host("api.example.com", 443)
        );
        assert_eq!(parse("cart:8080").unwrap(), host("cart", 8080));
        for endpoint in [
            "10.0.0.1:80",
            "shop/cart:80",
            "svc/shop/cart:80",
            "[fd00::1]:80",
        ] {
            assert!(
                matches!(parse(endpoint), Ok(Target::Endpoint(_))),
                "{endpoint}"
            );
        }
        for wrong in [
            "",
            "api.example.com",
            "10.0.0.256:80",
            "a b:80",
            "a:0",
            "1:2:3",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
