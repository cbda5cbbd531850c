//! Who enforces NetworkPolicies here, recognised by the pods that run on the nodes.

use crate::cluster::{objects::Pod, view::View};

/// Names that the pods of enforcing plugins begin with.
const ENFORCERS: [&str; 14] = [
    "antrea-agent",
    "aws-node",
    "azure-npm",
    "calico-node",
    "canal",
    "cilium",
    "kube-network-policies",
    "kube-ovn",
    "kube-router",
    "ovnkube-node",
    "ovs-node",
    "romana-agent",
    "weave-net",
    "yunion-cni",
];

/// Whether the pods show a CNI plugin that enforces no policies, and none that does. The name of
/// that plugin.
#[must_use]
pub fn enforces_nothing(view: &View) -> Option<&'static str> {
    let mut idle = None;
    for pod in view.pods().filter(|pod| !pod.ended) {
        let name = pod.id.name.as_str();
        if ENFORCERS.iter().any(|enforcer| name.starts_with(enforcer)) {
            return None;
        }
        if name.starts_with("kube-flannel") {
            idle = Some("flannel");
        } else if name.starts_with("kindnet") {
            if !is_old_kindnet(pod) {
                return None;
            }
            idle = Some("kindnet");
        }
    }
    idle
}

/// That nobody enforces policies, as a sentence.
#[must_use]
pub fn unenforced(view: &View) -> Option<String> {
    let plugin = enforces_nothing(view)?;
    Some(format!(
        "only {plugin} runs on the nodes, which enforces no NetworkPolicies: all of them are \
         without effect until something does"
    ))
}

/// kindnet enforces policies since v20240813 (kind v0.24); its images carry the date.
fn is_old_kindnet(pod: &Pod) -> bool {
    let tag = pod
        .images
        .iter()
        .find_map(|image| image.split_once("kindnetd:v"));
    let date = tag
        .and_then(|(_, tag)| tag.get(..8))
        .and_then(|date| date.parse::<u32>().ok());
    date.is_some_and(|date| date < 20_240_813)
}
