//! What to do about a rule of Calico's that enforces no policy, by the comment that felix gives it
//! (felix/rules).

use super::Mending;
use crate::{
    model::Fix,
    node::ruleset::{packet::HookPacket, suspects::Suspect},
};

pub(super) fn of_no_policy(suspect: &Suspect, packet: &HookPacket) -> Mending {
    let says = |words: &str| suspect.text.contains(words);
    let src = packet.ends.src;
    let is_from_workload = suspect.chain.contains("cali-from-wl");
    let interface = match is_from_workload {
        true => packet.input.name(),
        false => packet.output.name(),
    };
    let (remark, advice) = if says("Unknown interface") {
        (
            interface.map(|name| format!("Calico has no workload endpoint for the interface {name}")),
            "see whether calico-node is ready on this node, and whether the pod has a workload endpoint \
             (`calicoctl get workloadendpoints -A`): calico-node adds its interface to that chain"
                .to_owned(),
        )
    } else if says("DefaultEndpointToHostAction") {
        (
            Some(
                "no network policy is involved: by this setting, Calico keeps pods from their own node"
                    .to_owned(),
            ),
            "set defaultEndpointToHostAction to Accept in Calico's FelixConfiguration (`calicoctl patch \
             felixconfiguration default -p '{\"spec\":{\"defaultEndpointToHostAction\":\"Accept\"}}'`)"
                .to_owned(),
        )
    } else if says("from non-Calico hosts") || says("from non-allowed hosts") {
        (
            Some(format!("{src} is no address of a node that Calico knows")),
            format!(
                "compare {src} with the addresses that Calico has of its nodes (`calicoctl get nodes -o \
                 wide`), and set the node's IP autodetection method, or add {src} to externalNodesList \
                 in the FelixConfiguration"
            ),
        )
    } else if says("encapped packets originating in workloads") {
        (
            None,
            "pods may send no tunnel packets: set allowVXLANPacketsFromWorkloads or \
             allowIPIPPacketsFromWorkloads in the FelixConfiguration"
                .to_owned(),
        )
    } else if says("rpfilter") || says("fib saddr") {
        let by = packet.input.name();
        let by = by.map_or_else(String::new, |name| {
            format!(": {src} is not routed back by {name}")
        });
        (
            Some(format!(
                "it is Calico's reverse-path check of what pods send{by}"
            )),
            "let pods send from their own addresses only, or list others in the annotation \
             cni.projectcalico.org/allowedSourcePrefixes of the pod"
                .to_owned(),
        )
    } else {
        return Mending::default();
    };
    Mending {
        fixes: vec![Fix::advice(advice)],
        remarks: remark.into_iter().collect(),
    }
}
