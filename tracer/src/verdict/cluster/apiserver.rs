//! The API server and the kubelets: destinations with gates of their own.

use super::{Scene, lead};
use crate::{
    cluster::{
        naming::{Name, Role},
        objects::{ObjectName, Pod},
    },
    model::{Fix, Site, Verdict},
};

/// The port at which a kubelet serves the API server (logs, exec, metrics).
const KUBELET: u16 = 10250;

/// What the destination is, if it is one of the two.
enum Destination {
    ApiServer,
    Kubelet(String),
}

/// Names the destination, and where nothing came back lists what usually stands in between.
pub(super) fn destination(scene: &Scene<'_>, verdict: &mut Verdict) -> bool {
    let Some(destination) = find(scene) else {
        return false;
    };
    let silent = scene.is_silence(verdict);
    let (name, gates) = match destination {
        Destination::ApiServer => (
            "the destination is the cluster's API server".to_owned(),
            vec![
                "the API server's authorized IP ranges must contain the address \
                 that this node's traffic leaves with"
                    .to_owned(),
                "the control plane's security group must let in tcp 443 (6443) \
                 from the nodes"
                    .to_owned(),
            ],
        ),
        Destination::Kubelet(node) => (
            format!("the destination is the kubelet of node {node}"),
            vec![format!(
                "the security group of node {node} must let in tcp {KUBELET} \
                 from the control plane"
            )],
        ),
    };
    lead(verdict, [name]);
    if silent {
        verdict.evidence.extend(konnectivity(scene));
        let gates = gates.into_iter().map(Fix::advice);
        verdict.fix.extend(gates.map(|gate| gate.at(Site::Beyond)));
    }
    false
}

fn find(scene: &Scene<'_>) -> Option<Destination> {
    let is_api = |name: &Name| {
        matches!(
            name,
            Name::Service {
                role: Role::ApiServer,
                ..
            }
        )
    };
    let asked = scene.asked_for.as_ref().map(|(name, _)| name);
    if is_api(&scene.dst) || asked.is_some_and(is_api) {
        return Some(Destination::ApiServer);
    }
    let service = ObjectName::new("default", "kubernetes");
    let behind_it = scene.view().slices_of(&service).any(|slice| {
        let port = slice
            .ports
            .iter()
            .any(|port| Some(port.port) == scene.flow.dport);
        port && slice.ready().any(|backend| backend.ip == scene.flow.dst)
    });
    if behind_it {
        return Some(Destination::ApiServer);
    }
    match &scene.dst {
        Name::Node {
            name: Some(name), ..
        } if scene.flow.dport == Some(KUBELET) => Some(Destination::Kubelet(name.clone())),
        _ => None,
    }
}

/// The agents by which a managed control plane reaches the nodes.
fn konnectivity(scene: &Scene<'_>) -> Option<String> {
    let is_agent = |pod: &&Pod| pod.id.name.starts_with("konnectivity-agent") && !pod.ended;
    let agents: Vec<_> = scene.view().pods().filter(is_agent).collect();
    let unready = agents.iter().filter(|pod| pod.ready == Some(false)).count();
    (unready > 0).then(|| {
        format!(
            "{unready} of {} konnectivity agents are not ready",
            agents.len()
        )
    })
}
