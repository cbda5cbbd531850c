//! Neighbor Discovery messages that are refused (RFC 4861, section 7.1).

use super::{Concern, Finding, place};
use crate::{
    decode::drop::DropFacts,
    model::{Confidence::Confirmed, Point},
    node::facts::NodeFacts,
};

/// What is wrong with the message, and who makes such ones.
fn fault(facts: &DropFacts) -> Option<(&'static str, &'static str)> {
    Some(match facts.reason.name() {
        "IPV6_NDISC_HOP_LIMIT" => (
            "its hop limit is not 255",
            "a message that a router has forwarded, or whose hop limit a rule has changed, looks so; \
             so does a forged one",
        ),
        "IPV6_NDISC_FRAG" => (
            "it comes in fragments (RFC 6980)",
            "the sysctl suppress_frag_ndisc refuses these",
        ),
        "IPV6_NDISC_BAD_CODE" => ("its ICMPv6 code is not 0", "its sender is at fault"),
        "IPV6_NDISC_BAD_OPTIONS" => ("its options are malformed", "its sender is at fault"),
        _ => return None,
    })
}

pub(super) fn is_refused(facts: &DropFacts) -> Concern {
    Concern::surely(fault(facts).is_some())
}

/// Its sender does not find its neighbor, or is not found.
pub(super) fn refused(facts: &DropFacts, _: &NodeFacts) -> Option<Finding> {
    let (fault, origin) = fault(facts)?;
    let why = format!(
        "a Neighbor Discovery message of {} is refused{}: {fault}",
        facts.flow.src,
        place(facts)
    );
    let mut finding =
        Finding::new(Point::Endpoint, Confirmed, why).about(&[&facts.flow.src, &fault]);
    finding.fact(origin);
    finding.fact("without it, hosts of the link do not find each other's MAC addresses");
    Some(finding)
}
