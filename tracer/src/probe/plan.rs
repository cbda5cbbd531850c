//! Everything that a probe will send, known before the first packet leaves.

use std::{
    net::{IpAddr, SocketAddr},
    time::SystemTime,
};

use super::{
    resolv::Resolver,
    target::{Destination, Destinations, Role, Target, at, behind},
};
use crate::{
    cluster::{owner::Owner, policy, view::View},
    model::{Layer, PlanReport, Protocol, Sending, Skip, shell::Command},
    net::netns::NetnsRef,
};

/// The port of DNS.
const DNS: u16 = 53;
/// How many addresses are asked with echo requests.
const MOST_ECHOED: usize = 3;
/// How many echo requests are sent to one address: the rounds of the search, and what confirms it.
pub(crate) const MOST_ECHOES: u32 = 64;
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
}

impl Source {
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
    pub(crate) echo: Result<Vec<IpAddr>, String>,
    pub(crate) http: Result<HttpPlan, String>,
}

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
        let dns = dns(view, &target, resolver);
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
        let echo = Ok(echoed(&destinations));
        Self {
            source,
            target,
            dns,
            destinations,
            tls,
            echo,
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

    /// The plan for the user.
    pub(crate) fn report(&self) -> PlanReport {
        let skips = [
            (Layer::Dns, self.dns.as_ref().err()),
            (Layer::Mtu, self.echo.as_ref().err()),
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

    fn sends(&self) -> Vec<Sending> {
        let mut sends = self.queries();
        let port = self.target.port();
        let sockets = |all: &[Destination]| -> Vec<(Option<IpAddr>, Option<u16>)> {
            match self.by_name() {
                true => vec![(None, port)],
                false => all
                    .iter()
                    .map(|one| (Some(one.socket.ip()), Some(one.socket.port())))
                    .collect(),
            }
        };
        let most = |several: u32| match self.by_name() {
            true => several * u32::try_from(MOST_ANSWERS).unwrap_or(u32::MAX),
            false => several,
        };
        let all = sockets(&self.destinations.all);
        let place = |dst: Option<IpAddr>, dport: Option<u16>| match (dst, dport) {
            (Some(ip), Some(port)) => SocketAddr::new(ip, port).to_string(),
            _ => self.target.to_string(),
        };
        for &(dst, dport) in &all {
            sends.push(Sending {
                layer: Layer::Tcp,
                proto: Protocol::Tcp,
                dst,
                dport,
                most: most(1),
                test: match (dst, dport) {
                    (Some(ip), Some(port)) => connect(SocketAddr::new(ip, port)),
                    _ => format!("nc -zv {}", place(dst, dport).replace(':', " ")),
                },
            });
        }
        for &dst in self.echo.iter().flatten() {
            sends.push(echo(Some(dst)));
        }
        if self.by_name() && self.echo.is_ok() {
            sends.push(echo(None));
        }
        // The one that TCP reaches is asked.
        for &(dst, dport) in &all {
            if let Ok(name) = &self.tls {
                sends.push(Sending {
                    layer: Layer::Tls,
                    proto: Protocol::Tcp,
                    dst,
                    dport,
                    most: 3,
                    test: hello(&place(dst, dport), name.as_deref()),
                });
            }
            if let Ok(plan) = &self.http {
                sends.push(Sending {
                    layer: Layer::Application,
                    proto: Protocol::Tcp,
                    dst,
                    dport,
                    most: 1,
                    test: plan.command(&place(dst, dport)),
                });
            }
        }
        sends
    }

    fn queries(&self) -> Vec<Sending> {
        let Ok(dns) = &self.dns else {
            return Vec::new();
        };
        let walk = u32::try_from(2 * dns.candidates.len()).unwrap_or(u32::MAX);
        let mut sends = Vec::new();
        for (n, server) in dns.servers.iter().enumerate() {
            sends.push(Sending {
                layer: Layer::Dns,
                proto: Protocol::Udp,
                dst: Some(server.socket.ip()),
                dport: Some(DNS),
                most: if n == 0 { walk } else { 2 },
                test: dns.command(server.socket.ip(), n == 0),
            });
        }
        for replica in &dns.replicas {
            sends.push(Sending {
                layer: Layer::Dns,
                proto: Protocol::Udp,
                dst: Some(replica.socket.ip()),
                dport: Some(replica.socket.port()),
                most: 1,
                test: dns.command_at(replica.socket),
            });
        }
        if let Some(first) = dns.servers.first() {
            sends.push(Sending {
                layer: Layer::Dns,
                proto: Protocol::Tcp,
                dst: Some(first.socket.ip()),
                dport: Some(DNS),
                most: 1,
                test: format!("dig +tcp @{} {}", first.socket.ip(), dns.name),
            });
        }
        sends
    }
}

impl DnsPlan {
    /// The command that asks a server: as the resolver does, or for the full name only.
    pub(crate) fn command(&self, server: IpAddr, walks: bool) -> String {
        let name = &self.name;
        match walks && self.candidates.len() > 1 {
            true => format!(
                "dig @{server} +search +ndots={} {name}",
                self.resolver.ndots
            ),
            false => format!("dig @{server} {name}"),
        }
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

    /// The command that asks an endpoint.
    pub(crate) fn command_at(&self, endpoint: SocketAddr) -> String {
        let (ip, name) = (endpoint.ip(), &self.name);
        match endpoint.port() {
            DNS => format!("dig @{ip} {name}"),
            port => format!("dig @{ip} -p {port} {name}"),
        }
    }
}

impl HttpPlan {
    pub(crate) fn command(&self, at: &str) -> String {
        let scheme = if self.tls { "https" } else { "http" };
        let url = format!("{scheme}://{at}{}", self.path);
        Command::new("curl -skv -H")
            .arg(format!("Host: {}", self.host))
            .arg(url)
            .to_string()
    }
}

/// The command that connects.
pub(crate) fn connect(to: SocketAddr) -> String {
    format!("nc -zv {} {}", to.ip(), to.port())
}

/// The command that begins TLS.
pub(crate) fn hello(at: &str, name: Option<&str>) -> String {
    let name = match name {
        Some(name) => format!("-servername {name} "),
        None => "-noservername ".to_owned(),
    };
    format!("openssl s_client -connect {at} {name}-alpn h2,http/1.1")
}

/// The command that sends an echo request of this packet size.
pub(crate) fn ping(dst: IpAddr, size: u32) -> String {
    let header = if dst.is_ipv4() { 28 } else { 48 };
    format!("ping -M do -s {} {dst}", size.saturating_sub(header))
}

fn echo(dst: Option<IpAddr>) -> Sending {
    Sending {
        layer: Layer::Mtu,
        proto: match dst {
            Some(IpAddr::V6(_)) => Protocol::Icmpv6,
            _ => Protocol::Icmp,
        },
        dst,
        dport: None,
        most: MOST_ECHOES,
        test: match dst {
            Some(dst) => format!("ping -M do -s SIZE {dst}"),
            None => "ping -M do -s SIZE ADDRESS".to_owned(),
        },
    }
}

/// A Service's address answers no echo request: its endpoints are asked instead.
fn echoed(destinations: &Destinations) -> Vec<IpAddr> {
    let of = |role| {
        let all = destinations.all.iter();
        all.filter(move |one: &&Destination| one.role == role)
    };
    let behind: Vec<_> = of(Role::Endpoint).collect();
    let asked = if behind.is_empty() {
        of(Role::Front).collect()
    } else {
        behind
    };
    let mut ips: Vec<IpAddr> = asked.iter().map(|one| one.socket.ip()).collect();
    ips.dedup();
    ips.truncate(MOST_ECHOED);
    ips
}

/// An address for the header `Host`.
fn host(socket: SocketAddr) -> String {
    match socket.ip() {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("[{ip}]"),
    }
}

fn dns(
    view: &View,
    target: &Target,
    resolver: Result<Resolver, String>,
) -> Result<DnsPlan, String> {
    if let Target::Endpoint(crate::cli::endpoint::Endpoint::Net { .. }) = target {
        return Err("the destination is an address".to_owned());
    }
    let resolver = resolver?;
    if resolver.nameservers.is_empty() {
        return Err(format!("{} names no server", resolver.origin));
    }
    let Some(name) = target.name(resolver.cluster_domain()) else {
        return Err(match target.endpoint() {
            Some(crate::cli::endpoint::Endpoint::Service { .. }) => format!(
                "{} has no search domain of a cluster, so the Service's name is not known",
                resolver.origin
            ),
            _ => "the destination is not asked for by a DNS name".to_owned(),
        });
    };
    let servers: Vec<_> = resolver
        .nameservers
        .iter()
        .map(|ip| at(view, *ip, DNS, Role::Front))
        .collect();
    let (mut replicas, mut not_ready) = (Vec::new(), Vec::new());
    let mut left_out = 0;
    for server in &servers {
        if let Owner::Service(service) = view.owner(server.socket.ip()) {
            let is_v6 = server.socket.is_ipv6();
            let protocol = policy::Protocol::Udp;
            let behind = behind(view, service, DNS, protocol, |ip| ip.is_ipv6() == is_v6);
            replicas.extend(behind.all);
            not_ready.extend(behind.not_ready);
            left_out += behind.left_out;
        }
    }
    replicas.sort_by_key(|one| one.socket);
    replicas.dedup_by_key(|one| one.socket);
    Ok(DnsPlan {
        candidates: resolver.candidates(&name),
        name,
        servers,
        replicas,
        not_ready,
        left_out,
        resolver,
    })
}
