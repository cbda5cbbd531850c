//! The encapsulation, or the path between nodes under it.

use super::{Finding, found, function, is_tunnelled, place};
use crate::{
    drops::decode::DropFacts,
    node::facts::NodeFacts,
    record::{Confidence::Confirmed, Point},
};

pub(super) fn overlay(facts: &DropFacts, node: &NodeFacts) -> Option<Finding> {
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
    let mut finding = found(Point::Overlay, Confirmed, why)?;
    finding.evidence = evidence(facts, node);
    Some(finding)
}

/// What the node says of the tunnel: the device, the VTEP, and what is missing on the way there.
fn evidence(facts: &DropFacts, node: &NodeFacts) -> Vec<String> {
    let mut evidence = Vec::new();
    let around = &node.around;
    if let Some(suspects) = &node.suspects {
        let rules = suspects.rules.iter().take(2);
        evidence.extend(rules.map(|rule| format!("it can have been {}", rule.describe())));
    }
    if let Some(overlay) = &around.overlay {
        evidence.extend(overlay.missing().map(|missing| format!("{missing}")));
        let vni = overlay.device.vxlan.as_ref().map(|vxlan| vxlan.vni);
        evidence.push(match vni {
            Some(vni) => format!("the tunnel device is {}, VNI {vni}", overlay.device.name),
            None => format!("the tunnel device is {}", overlay.device.name),
        });
    }
    if let Some(remote) = &around.remote {
        evidence.push(format!(
            "the route to the VTEP {}: {}",
            remote.vtep, remote.route
        ));
        let entries = remote.neighbours.iter();
        evidence.extend(entries.map(|entry| format!("the neighbour entry: {entry}")));
    }
    if facts.reason == "VXLAN_VNI_NOT_FOUND" {
        let known: Vec<_> = around
            .tunnels
            .iter()
            .filter_map(|tunnel| Some(format!("{} on {}", tunnel.vxlan.as_ref()?.vni, tunnel.name)))
            .collect();
        evidence.push(match known.as_slice() {
            [] => "this namespace has no VXLAN device".to_owned(),
            known => format!("the VNIs here are {}", known.join(", ")),
        });
    }
    evidence
}
