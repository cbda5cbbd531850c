//! One end of a connection, as the command line writes it.
//!
//! `10.0.0.0/16` and `shop/cart` look alike. What stands before the slash decides: an address
//! makes it a prefix, anything else is a namespace. A namespace is a DNS label, which has neither
//! dots nor colons, so that a mistyped address is never taken for a name.

mod error;

use std::{fmt, net::IpAddr, str::FromStr};

use ipnet::IpNet;

pub(crate) use self::error::EndpointError;
use crate::cluster::{
    objects::ObjectName,
    workload::{Workload, WorkloadKind},
};

/// One end of a connection.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Endpoint {
    /// An address or a prefix (an address is a prefix of full length), with or without a port.
    Net {
        /// The addresses; bits beyond the prefix are zero.
        net: IpNet,
        /// The port.
        port: Option<u16>,
    },
    /// A port at any address.
    Port(u16),
    /// A pod.
    Pod {
        /// The pod's namespace.
        namespace: String,
        /// The pod's name.
        name: String,
        /// The port.
        port: Option<u16>,
    },
    /// A Service: its addresses, and every endpoint behind it.
    Service {
        /// The Service's namespace.
        namespace: String,
        /// The Service's name.
        name: String,
        /// The Service's port.
        port: Option<u16>,
    },
    /// A workload: every pod that it has made.
    Workload {
        /// Which one.
        workload: Workload,
        /// The pods' port.
        port: Option<u16>,
    },
}

impl Endpoint {
    /// Whether it is a port of one address, pod or Service: a filter so narrow that a person wants
    /// to see each of its connections.
    #[must_use]
    pub(crate) fn is_port_of_one(&self) -> bool {
        match self {
            Self::Net { net, port } => port.is_some() && net.prefix_len() == net.max_prefix_len(),
            Self::Pod { port, .. } | Self::Service { port, .. } => port.is_some(),
            // Of all pods of a workload.
            Self::Workload { .. } | Self::Port(_) => false,
        }
    }

    /// An address or prefix. A full-length one that is an IPv4 address in IPv6 clothes is taken
    /// as IPv4, which is what such a packet is on the wire.
    #[must_use]
    pub(crate) fn from_net(net: IpNet, port: Option<u16>) -> Self {
        let net = if net.prefix_len() == net.max_prefix_len() {
            IpNet::from(net.addr().to_canonical())
        } else {
            net.trunc()
        };
        Self::Net { net, port }
    }

    /// The addresses, where the endpoint says them itself.
    #[must_use]
    pub(crate) fn net(&self) -> Option<IpNet> {
        match self {
            Self::Net { net, .. } => Some(*net),
            _ => None,
        }
    }

    /// The port, where there is one.
    #[must_use]
    pub(crate) fn port(&self) -> Option<u16> {
        match self {
            Self::Port(port) => Some(*port),
            Self::Net { port, .. }
            | Self::Pod { port, .. }
            | Self::Service { port, .. }
            | Self::Workload { port, .. } => *port,
        }
    }
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(input: &str) -> Result<Self, EndpointError> {
        if input.trim().is_empty() {
            return Err(EndpointError::Empty);
        }
        if let Some(rest) = input.strip_prefix('[') {
            return bracketed(rest);
        }
        if let Some(digits) = input.strip_prefix(':')
            && !digits.contains(':')
        {
            return parse_port(digits).map(Self::Port);
        }
        let Some((left, right)) = input.split_once('/') else {
            return address(input);
        };
        if is_address_like(left) {
            let ip = parse_address(left)?;
            let (length, port) = split_port(right)?;
            return Ok(Self::from_net(prefix(ip, length)?, port));
        }
        match right.split_once('/') {
            Some((namespace, name)) if left == "svc" => service(namespace, name),
            Some((namespace, name)) => match WorkloadKind::from_resource(left) {
                Some(kind) => workload(kind, namespace, name),
                None => Err(EndpointError::Unknown),
            },
            None => pod(left, right),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let port = match self {
            Self::Net { net, port } => {
                let single = net.prefix_len() == net.max_prefix_len();
                return match (port, net) {
                    (Some(port), IpNet::V6(_)) if single => write!(f, "[{}]:{port}", net.addr()),
                    (Some(port), IpNet::V6(_)) => write!(f, "[{net}]:{port}"),
                    (Some(port), IpNet::V4(_)) if single => write!(f, "{}:{port}", net.addr()),
                    (Some(port), IpNet::V4(_)) => write!(f, "{net}:{port}"),
                    (None, _) if single => write!(f, "{}", net.addr()),
                    (None, _) => write!(f, "{net}"),
                };
            }
            Self::Port(port) => &Some(*port),
            Self::Pod {
                namespace,
                name,
                port,
            } => {
                write!(f, "{namespace}/{name}")?;
                port
            }
            Self::Service {
                namespace,
                name,
                port,
            } => {
                write!(f, "svc/{namespace}/{name}")?;
                port
            }
            Self::Workload { workload, port } => {
                write!(f, "{workload}")?;
                port
            }
        };
        port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

/// What follows `[`: an address or a prefix, `]`, and perhaps a port.
fn bracketed(rest: &str) -> Result<Endpoint, EndpointError> {
    let (inside, after) = rest.split_once(']').ok_or(EndpointError::Brackets)?;
    if !inside.contains(':') {
        return Err(EndpointError::Brackets);
    }
    let net = match inside.split_once('/') {
        Some((ip, length)) => prefix(parse_address(ip)?, length)?,
        None => IpNet::from(parse_address(inside)?),
    };
    let port = match after.strip_prefix(':') {
        Some(digits) => Some(parse_port(digits)?),
        None if after.is_empty() => None,
        None => return Err(EndpointError::Brackets),
    };
    Ok(Endpoint::from_net(net, port))
}

/// An address without a slash and without brackets, perhaps with a port.
fn address(input: &str) -> Result<Endpoint, EndpointError> {
    let (host, port) = match input.split_once(':') {
        // More than one colon: IPv6, whose ports stand behind brackets only.
        Some((_, rest)) if rest.contains(':') => (input, None),
        Some((host, digits)) => (host, Some(digits)),
        None => (input, None),
    };
    let ip = parse_address(host)?;
    let port = port.map(parse_port).transpose()?;
    Ok(Endpoint::from_net(IpNet::from(ip), port))
}

fn pod(namespace: &str, right: &str) -> Result<Endpoint, EndpointError> {
    let example = "shop/cart:8080";
    let (name, port) = split_port(right)?;
    Ok(Endpoint::Pod {
        namespace: label(namespace, "namespace", example)?,
        name: subdomain(name, "pod name", example)?,
        port,
    })
}

fn service(namespace: &str, right: &str) -> Result<Endpoint, EndpointError> {
    let example = "svc/shop/cart:80";
    let (name, port) = split_port(right)?;
    Ok(Endpoint::Service {
        namespace: label(namespace, "namespace", example)?,
        name: label(name, "Service name", example)?,
        port,
    })
}

fn workload(kind: WorkloadKind, namespace: &str, right: &str) -> Result<Endpoint, EndpointError> {
    let example = "deploy/shop/cart:8080";
    let (name, port) = split_port(right)?;
    let id = ObjectName::new(
        label(namespace, "namespace", example)?,
        subdomain(name, "workload name", example)?,
    );
    Ok(Endpoint::Workload {
        workload: Workload { kind, id },
        port,
    })
}

/// A DNS subdomain: labels with dots between them.
fn subdomain(
    name: &str,
    what: &'static str,
    example: &'static str,
) -> Result<String, EndpointError> {
    match name.len() <= 253 && name.split('.').all(is_label) {
        true => Ok(name.to_owned()),
        false => wrong(name, what, example),
    }
}

fn label(name: &str, what: &'static str, example: &'static str) -> Result<String, EndpointError> {
    if is_label(name) {
        Ok(name.to_owned())
    } else {
        wrong(name, what, example)
    }
}

fn wrong<T>(name: &str, what: &'static str, example: &'static str) -> Result<T, EndpointError> {
    Err(EndpointError::Name {
        name: name.to_owned(),
        what,
        example,
    })
}

/// A DNS label as RFC 1123 has it.
fn is_label(name: &str) -> bool {
    (1..=63).contains(&name.len())
        && name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !name.starts_with('-')
        && !name.ends_with('-')
}

fn split_port(input: &str) -> Result<(&str, Option<u16>), EndpointError> {
    match input.split_once(':') {
        Some((left, digits)) => Ok((left, Some(parse_port(digits)?))),
        None => Ok((input, None)),
    }
}

fn parse_port(digits: &str) -> Result<u16, EndpointError> {
    match number::<u16>(digits) {
        Some(port) if port != 0 => Ok(port),
        _ => Err(EndpointError::Port(digits.to_owned())),
    }
}

fn prefix(ip: IpAddr, length: &str) -> Result<IpNet, EndpointError> {
    let (longest, example) = if ip.is_ipv4() {
        (32, "10.244.0.0/16")
    } else {
        (128, "fd00:10:244::/56")
    };
    number::<u8>(length)
        .and_then(|length| IpNet::new(ip, length).ok())
        .ok_or_else(|| EndpointError::Prefix {
            length: length.to_owned(),
            longest,
            example,
        })
}

/// Digits only: `u16::from_str` would also take `+443`.
fn number<T: FromStr>(digits: &str) -> Option<T> {
    digits
        .bytes()
        .all(|b| b.is_ascii_digit())
        .then(|| digits.parse().ok())
        .flatten()
}

/// Whether this must be an address, be it a correct one or not.
fn is_address_like(text: &str) -> bool {
    text.contains(':') || is_dotted(text)
}

fn is_dotted(text: &str) -> bool {
    text.contains('.') && text.bytes().all(|b| b.is_ascii_digit() || b == b'.')
}

fn parse_address(text: &str) -> Result<IpAddr, EndpointError> {
    if let Ok(ip) = text.parse() {
        return Ok(ip);
    }
    if is_dotted(text) {
        return Err(EndpointError::Ipv4(ipv4_problem(text)));
    }
    if !text.contains(':') {
        return Err(EndpointError::Unknown);
    }
    if let Some((_, zone)) = text.split_once('%') {
        return Err(EndpointError::Zone(format!("%{zone}")));
    }
    if let Some((host, port)) = text.rsplit_once(':')
        && host.parse::<IpAddr>().is_ok()
        && number::<u32>(port).is_some()
    {
        let (address, port) = (host.to_owned(), port.to_owned());
        return Err(EndpointError::NoBrackets { address, port });
    }
    Err(EndpointError::Ipv6(text.to_owned()))
}

fn ipv4_problem(text: &str) -> String {
    let octets: Vec<&str> = text.split('.').collect();
    if octets.len() != 4 {
        return format!("`{text}` has {} numbers, not 4", octets.len());
    }
    match octets.iter().find(|octet| octet.parse::<u8>().is_err()) {
        Some(octet) => format!("`{octet}` is not a number from 0 to 255"),
        // The parser refuses leading zeros, which some programs read as octal.
        None => format!("`{text}` has a number with a leading zero"),
    }
}

#[cfg(test)]
mod tests;
