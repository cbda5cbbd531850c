//! Frames that a bridge only forwards, and that still pass the rules of iptables (br_netfilter).

use super::Mending;
use crate::{
    model::Hook,
    node::{
        change,
        ruleset::{Ruleset, packet::HookPacket},
        world::bridge_setting,
    },
};

/// Keeps the bridge from handing its frames to iptables. `None` where the bridge's own rules have
/// dropped it, where that setting is not what does it, or where addresses are translated: then answers
/// across the bridge need it.
pub(super) fn past_iptables(ruleset: &Ruleset, packet: &HookPacket) -> Option<Mending> {
    let is_of_bridge = packet.hook.is_none_or(Hook::is_bridge);
    if is_of_bridge || ruleset.translates || !packet.host.bridge_calls_iptables {
        return None;
    }
    let name = bridge_setting(packet.ends.src.is_ipv4());
    Some(Mending {
        fixes: vec![change::sysctl(&format!("net/bridge/{name}"), 1, 0)],
        remarks: vec![format!(
            "a bridge only forwards it; {name} is 1, so it has to pass the rules for routed packets, \
             as have all frames of the bridges here"
        )],
    })
}
