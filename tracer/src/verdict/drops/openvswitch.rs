//! Open vSwitch's own reasons (`enum ovs_drop_reason` in net/openvswitch/drop.h, Linux 6.7).

use super::{Concern, Finding, place};
use crate::{
    decode::drop::DropFacts,
    model::{
        Confidence::{Confirmed, Likely},
        Fix, Point, Site,
    },
    node::facts::NodeFacts,
};

/// The point that the reason leads to, and what the switch has done.
fn cause(facts: &DropFacts) -> Option<(Point, &'static str)> {
    Some(match facts.reason.name() {
        "OVS_DROP_EXPLICIT" => (Point::Firewall, "a flow with the action drop refuses it"),
        "OVS_DROP_LAST_ACTION" => (
            Point::Firewall,
            "its flow has no output: the flow tables refuse it, a NetworkPolicy's among them",
        ),
        "OVS_DROP_METER" => (Point::Queue, "a meter of its flow is exceeded"),
        "OVS_DROP_CONNTRACK" => (Point::Conntrack, "conntrack refuses it"),
        "OVS_DROP_IP_TTL" => (Point::Route, "its TTL expired in the flow tables"),
        "OVS_DROP_FRAG_L2_TOO_LONG" | "OVS_DROP_FRAG_INVALID_PROTO" => (
            Point::Mtu,
            "it is larger than the MTU, and cannot be fragmented there",
        ),
        "OVS_DROP_ACTION_ERROR" => (Point::Unknown, "an action of its flow failed"),
        "OVS_DROP_RECURSION_LIMIT" | "OVS_DROP_DEFERRED_LIMIT" => (
            Point::Unknown,
            "its flow recirculates more often than the kernel allows",
        ),
        _ => return None,
    })
}

pub(super) fn is_refused(facts: &DropFacts) -> Concern {
    Concern::surely(cause(facts).is_some())
}

/// Which flow it was, only the switch itself can say.
pub(super) fn refused(facts: &DropFacts, _: &NodeFacts) -> Option<Finding> {
    let (point, what) = cause(facts)?;
    let why = format!(
        "Open vSwitch dropped it{}: {what} ({})",
        place(facts),
        facts.reason
    );
    // Without an output, a flow may also lack an entry that should be there.
    let confidence = match facts.reason.is("OVS_DROP_LAST_ACTION") {
        true => Likely,
        false => Confirmed,
    };
    let mut finding = Finding::new(point, confidence, why).about(&[&facts.reason, &place(facts)]);
    finding.fix.push(
        Fix::advice(
            "`ovs-appctl ofproto/trace BRIDGE FLOW` names the flow (Antrea: `antctl trace-packet`, \
             OVN: `ovn-trace`)",
        )
        .at(Site::Host),
    );
    Some(finding)
}
