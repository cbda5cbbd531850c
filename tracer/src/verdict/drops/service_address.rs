//! What a closed port has to do with NAT: a rule has sent the packet to it, or none has led it away from
//! an address that is only there for a Service.

use super::Finding;
use crate::{
    decode::drop::DropFacts,
    model::{Fix, address},
    node::{facts::NodeFacts, world::Kind},
};

/// The device of kube-proxy's IPVS mode.
const IPVS: &str = "kube-ipvs0";

/// Adds it to what is found of a port that no socket listens on.
pub(super) fn explain(facts: &DropFacts, node: &NodeFacts, finding: &mut Finding) {
    let entry = facts.wire.as_deref().and_then(|wire| wire.entry);
    let (dst, port) = (facts.flow.dst, facts.flow.dport);
    if let Some((original, reply)) = entry {
        let asked = (original.dst.into(), Some(original.dport));
        // The entry's answers come from here: it is not an answer itself.
        let is_first = reply.src == facts.key.flow.dst;
        if is_first && asked != (dst, port) {
            finding.fact(format!(
                "it was for {}: a rule of this namespace (REDIRECT or DNAT) has sent it to this port",
                address(asked)
            ));
            return;
        }
    }
    let Some(device) = device(facts, node) else {
        return;
    };
    finding.fact(format!(
        "{dst} is an address of {device}, which carries no packets, and no rule has translated it"
    ));
    if device != IPVS {
        return;
    }
    finding.why += &format!(
        "; {dst} is on {IPVS}, which holds the addresses of Services for kube-proxy's IPVS mode"
    );
    finding.fix.push(Fix::advice(format!(
        "if kube-proxy no longer runs in IPVS mode, remove what it has left behind \
         (`kube-proxy --cleanup`, or `ip link delete {IPVS}`); otherwise, the Service has no such port"
    )));
}

/// The device that is there for the destination, and for no packets.
fn device<'a>(facts: &DropFacts, node: &'a NodeFacts) -> Option<&'a str> {
    let (netns, world) = facts.netns.zip(node.world.as_deref())?;
    let holders = world.holders(facts.flow.dst);
    let own = holders.iter().filter(|holder| holder.netns == netns);
    let mut links = own.filter_map(|holder| world.link(holder.link));
    let link = links.find(|link| link.kind == Kind::Dummy || link.name == IPVS)?;
    Some(&link.name)
}
