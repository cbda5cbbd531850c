//! The encapsulation, or the path between nodes under it.

use super::{Finding, found, is_tunnelled, place};
use crate::{
    drops::decode::DropFacts,
    node::facts::NodeFacts,
    record::{Confidence::Confirmed, Point},
    verdict::drop::function,
};

pub(super) fn overlay(facts: &DropFacts, _: &NodeFacts) -> Option<Finding> {
    let reason = facts.reason.as_str();
    let in_tunnel_code = ["vxlan_", "geneve_", "ip_tunnel_", "ip_md_tunnel_"]
        .iter()
        .any(|prefix| function(facts).starts_with(prefix));
    let why = match reason {
        "VXLAN_VNI_NOT_FOUND" => "no VXLAN device here has the packet's VNI".to_owned(),
        "NO_TX_TARGET" | "VXLAN_NO_REMOTE" => {
            format!(
                "the tunnel device{} knows no VTEP for the packet's MAC address",
                place(facts)
            )
        }
        "TUNNEL_TXINFO" | "VXLAN_INVALID_HDR" | "LOCAL_MAC" | "MAC_INVALID_SOURCE"
            if in_tunnel_code || is_tunnelled(facts) =>
        {
            format!("the tunnel refuses the packet ({reason})")
        }
        "NO_SOCKET" if is_tunnelled(facts) => {
            "no tunnel device listens for the encapsulated packet here".to_owned()
        }
        "NETFILTER_DROP" if is_tunnelled(facts) => format!(
            "a netfilter rule drops the overlay's own packets{}",
            facts
                .hook
                .map(|hook| format!(" in {hook}"))
                .unwrap_or_default()
        ),
        "NEIGH_FAILED" | "NEIGH_QUEUEFULL" if is_tunnelled(facts) => {
            "the next hop to the remote VTEP does not answer".to_owned()
        }
        "IP_OUTNOROUTES" | "IP_INNOROUTES" if is_tunnelled(facts) || in_tunnel_code => {
            "there is no route to the remote VTEP".to_owned()
        }
        _ if in_tunnel_code => format!("the tunnel code dropped it ({reason})"),
        _ => return None,
    };
    found(Point::Overlay, Confirmed, why)
}
