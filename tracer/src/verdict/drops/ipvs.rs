//! IPVS: it takes the packets of a service, and drops them if there is no server to send them to.

use super::{Concern, Finding, is_netfilter, unruled};
use crate::{
    decode::drop::{DropFacts, SentBack},
    model::{
        Confidence::{Confirmed, Likely},
        Fix, Hook, Point, address,
    },
    node::{facts::NodeFacts, ipvs::IpvsService},
    words,
};

/// "Port unreachable" of ICMP and ICMPv6, which IPVS answers with (`ip_vs_leave()` of
/// net/netfilter/ipvs/ip_vs_core.c).
const PORT_UNREACHABLE: [SentBack; 2] = [SentBack::Error(3, 3), SentBack::Error(1, 4)];

pub(super) fn may_be_balanced(facts: &DropFacts) -> Concern {
    let hooks = [Hook::Input, Hook::Forward, Hook::Output];
    let is_there = facts.hook.is_some_and(|hook| hooks.contains(&hook));
    Concern::maybe(is_netfilter(facts) && is_there)
}

pub(super) fn without_server(facts: &DropFacts, node: &NodeFacts) -> Option<Finding> {
    let service = unblamed(node)?;
    (service.weighted == 0).then_some(())?;
    let was_answered = facts
        .sent_back
        .is_some_and(|answer| PORT_UNREACHABLE.contains(&answer));
    let confidence = if was_answered { Confirmed } else { Likely };
    let name = address((service.address, Some(service.port)));
    let lack = match service.servers {
        0 => "no server".to_owned(),
        1 => "one server, whose weight is 0".to_owned(),
        several => format!(
            "{}, all of weight 0",
            words::count(several as u64, "server")
        ),
    };
    let why = format!("the IPVS service {name} has {lack}");
    let mut finding = Finding::new(Point::Endpoint, confidence, why).about(&[&name]);
    finding.fact("no rule at this hook could have dropped it");
    if was_answered {
        finding.fact("this node has answered it with \"port unreachable\", as IPVS does then");
    }
    finding.fix.push(Fix::advice(
        "give the service a server that is ready: in Kubernetes, a ready endpoint of the Service (kube-proxy \
         writes the servers); see `ipvsadm -Ln`",
    ));
    Some(finding)
}

/// It has one.
pub(super) fn has_server(_: &DropFacts, node: &NodeFacts) -> Option<String> {
    let service = unblamed(node).filter(|service| service.weighted > 0)?;
    Some(format!(
        "the IPVS service {} has {} that gets new connections",
        address((service.address, Some(service.port))),
        words::count(service.weighted as u64, "server")
    ))
}

/// The service that takes the packet, if no rule could have dropped it.
fn unblamed(node: &NodeFacts) -> Option<&IpvsService> {
    let service = node.around.ipvs.as_ref()?;
    unruled::no_rule_can(node).then_some(service)
}
