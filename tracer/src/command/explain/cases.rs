//! The ways in which the connection may go, and what the policies make of each.

use anyhow::Result;

use super::{
    ends::{Destination, destination, node_of, sources},
    service::{Target, Wanted, behind},
};
use crate::{
    cli::{PolicyProto, options::ExplainConfig},
    cluster::{objects::Service, view::View},
    policy::{Answer, Direction, Flow, Outcome, Party, Peer, Protocol, Side, judge},
};

/// One way: from one source to one destination.
pub(super) struct Case<'v> {
    /// As the policies of the destination see it.
    pub(super) flow: Flow<'v>,
    /// The destination as the policies of the source see it, where it is another: DNAT happens
    /// later.
    before: Option<Target<'v>>,
    /// The source's address after SNAT, where it may be another, and why.
    masked: Option<(Peer<'v>, String)>,
}

/// All ways that the options leave open; at least one.
pub(super) fn cases<'v>(
    view: &'v View,
    config: &ExplainConfig,
    warnings: &mut Vec<String>,
) -> Result<Vec<Case<'v>>> {
    // The question for every protocol has one answer only where all agree.
    let protocols: &[Protocol] = match config.proto {
        PolicyProto::Tcp => &[Protocol::Tcp],
        PolicyProto::Udp => &[Protocol::Udp],
        PolicyProto::Sctp => &[Protocol::Sctp],
        PolicyProto::Icmp => &[Protocol::Icmp],
        PolicyProto::Any => &[Protocol::Tcp, Protocol::Udp],
    };
    let mut found = Vec::new();
    for src in sources(view, &config.from, warnings)? {
        for protocol in protocols {
            let to = destination(view, &config.to, *protocol, warnings)?;
            let way = Way {
                view,
                src: &src,
                protocol: *protocol,
                port: config.to.port(),
            };
            found.extend(way.to(&to, warnings)?);
        }
    }
    // Each source and protocol has said the same.
    let mut said = std::collections::BTreeSet::new();
    warnings.retain(|warning| said.insert(warning.clone()));
    Ok(found)
}

/// From one source, by one protocol.
struct Way<'a, 'v> {
    view: &'v View,
    src: &'a Peer<'v>,
    protocol: Protocol,
    port: Option<u16>,
}

impl<'v> Way<'_, 'v> {
    fn to(&self, to: &Destination<'v>, warnings: &mut Vec<String>) -> Result<Vec<Case<'v>>> {
        match to {
            Destination::Plain(peers) => {
                let cases = peers
                    .iter()
                    .map(|peer| self.case((peer.clone(), self.port)));
                Ok(cases.collect())
            }
            Destination::Service { service, address } => {
                let is_inside = address.is_none_or(|ip| service.cluster_ips.contains(&ip));
                let local = service.internal_local && is_inside;
                let wanted = Wanted {
                    protocol: self.protocol,
                    port: self.port,
                    is_ipv6: address.map(|ip| ip.is_ipv6()).or_else(|| self.family()),
                    only_on: node_of(self.src)
                        .filter(|_| local)
                        .map(|node| (node, "internalTrafficPolicy")),
                    by_name: address.is_none(),
                };
                let masked = (!is_inside && !service.external_local && is_from_outside(self.src))
                    .then(|| (any_node(), masked_because(service)));
                let targets = behind(self.view, service, &wanted, warnings)?;
                Ok(self.through(service, *address, targets, None, masked.as_ref()))
            }
            Destination::NodePort {
                service,
                port,
                node,
            } => self.by_node_port(service, *port, node, warnings),
        }
    }

    fn by_node_port(
        &self,
        service: &'v Service,
        node_port: u16,
        node: &Peer<'v>,
        warnings: &mut Vec<String>,
    ) -> Result<Vec<Case<'v>>> {
        let mut ports = service.ports.iter();
        let own =
            ports.find(|port| port.node_port == Some(node_port) && port.protocol == self.protocol);
        let entry = node_of(node);
        let wanted = Wanted {
            protocol: self.protocol,
            port: own.map(|port| port.port),
            is_ipv6: node.address.map(|ip| ip.is_ipv6()),
            only_on: entry
                .filter(|_| service.external_local)
                .map(|node| (node, "externalTrafficPolicy")),
            by_name: false,
        };
        let targets = behind(self.view, service, &wanted, warnings)?;
        // Translated at the node that has the port: before, on a pod's own node, it is not.
        let is_elsewhere = node_of(self.src).is_none_or(|own| Some(own) != entry);
        let before = is_elsewhere.then(|| (node.clone(), Some(node_port)));
        let masked = (!service.external_local).then(|| (node.clone(), masked_because(service)));
        Ok(self.through(
            service,
            node.address,
            targets,
            before.as_ref(),
            masked.as_ref(),
        ))
    }

    /// Through a Service to what stands behind it, or to the Service where that is not known.
    fn through(
        &self,
        service: &'v Service,
        address: Option<std::net::IpAddr>,
        targets: Vec<Target<'v>>,
        before: Option<&Target<'v>>,
        masked: Option<&(Peer<'v>, String)>,
    ) -> Vec<Case<'v>> {
        if targets.is_empty() {
            let itself = Peer {
                address: address.or_else(|| service.ips().next()),
                party: Party::Service(service),
            };
            return vec![self.case((itself, self.port))];
        }
        let case = |target: Target<'v>| {
            let its_node = node_of(&target.0);
            // Behind the node's own port, the source is translated last of all.
            let is_seen_so = |(mask, _): &(Peer<'v>, String)| {
                let at = node_of(mask);
                at.is_none() || at != its_node
            };
            Case {
                before: before.cloned(),
                masked: masked.filter(|mask| is_seen_so(mask)).cloned(),
                ..self.case(target)
            }
        };
        targets.into_iter().map(case).collect()
    }

    fn case(&self, (dst, port): Target<'v>) -> Case<'v> {
        Case {
            flow: Flow {
                src: self.src.clone(),
                dst,
                protocol: self.protocol,
                port,
            },
            before: None,
            masked: None,
        }
    }

    /// The family of all the source's addresses, where it has but one.
    fn family(&self) -> Option<bool> {
        let addresses = self.src.addresses();
        let first = addresses.first()?.is_ipv6();
        let same = addresses.iter().all(|ip| ip.is_ipv6() == first);
        same.then_some(first)
    }
}

fn is_from_outside(src: &Peer<'_>) -> bool {
    matches!(src.party, Party::Outside | Party::Unknown(_))
}

/// A node, and it is not known which.
fn any_node<'v>() -> Peer<'v> {
    Peer {
        address: None,
        party: Party::Host {
            node: None,
            pods: Vec::new(),
            named: false,
        },
    }
}

fn masked_because(service: &Service) -> String {
    format!(
        "the client's address may be a node's by then (SNAT, as the externalTrafficPolicy of \
         Service {} is not Local), and the policies admit one of the two and not the other",
        service.id
    )
}

impl Case<'_> {
    /// What the policies of both sides make of it.
    pub(super) fn judge(&self, view: &View) -> Answer {
        let egress = match &self.before {
            Some((dst, port)) => {
                let before = Flow {
                    dst: dst.clone(),
                    port: *port,
                    ..self.flow.clone()
                };
                judge(view, &before, Direction::Egress)
            }
            None => judge(view, &self.flow, Direction::Egress),
        };
        Answer::of(egress, self.ingress(view))
    }

    fn ingress(&self, view: &View) -> Side {
        let side = judge(view, &self.flow, Direction::Ingress);
        let Some((mask, because)) = &self.masked else {
            return side;
        };
        let masked = Flow {
            src: mask.clone(),
            ..self.flow.clone()
        };
        let other = judge(view, &masked, Direction::Ingress);
        if side.allowed() == other.allowed() {
            return side;
        }
        Side {
            outcome: Outcome::Undecidable,
            because: Some(because.clone()),
            ..side
        }
    }
}
