//! Services and the pods behind them: is there an endpoint?

use super::{Scene, lead, service};
use crate::{
    cluster::{
        naming::{Name, clock_time},
        objects::{Backend, EndpointSlice, ObjectName, Service},
        policy::Protocol,
        view::{Kind, View},
    },
    model::{Confidence, Fix, Outcome, Point, Site, Verdict, shell::Command},
};

/// The Service that the client asked for, by its own address or by a NodePort, and its port.
pub(super) fn requested_service<'a>(scene: &'a Scene<'_>) -> Option<(&'a Service, Option<u16>)> {
    let (name, port) = match &scene.asked_for {
        Some((name, port)) => (name, *port),
        None => (&scene.dst, scene.flow.dport),
    };
    match name {
        Name::Service { id, .. } => Some((scene.view().service(id)?, port)),
        Name::Node {
            node_port_of: Some(id),
            ..
        } => {
            let service = scene.view().service(id)?;
            let protocol = Protocol::of_flow(scene.flow.proto)?;
            let mut ports = service.ports.iter();
            let own = ports.find(|known| known.protocol == protocol && known.node_port == port)?;
            Some((service, Some(own.port)))
        }
        _ => None,
    }
}

/// What takes connections to a port of a Service; `None` where that is not known.
pub(super) fn ready_backends<'v>(
    view: &'v View,
    service: &'v Service,
    scene: &Scene<'_>,
    port: Option<u16>,
) -> Option<Vec<&'v Backend>> {
    if !view.knows(Kind::EndpointSlice) {
        return None;
    }
    let protocol = Protocol::of_flow(scene.flow.proto)?;
    let named = service
        .ports
        .iter()
        .find(|known| known.protocol == protocol && Some(known.port) == port)?;
    let slices = view.slices_of(&service.id).filter(|slice| {
        slice
            .ports
            .iter()
            .any(|target| target.name == named.name && target.protocol == named.protocol)
    });
    Some(slices.flat_map(EndpointSlice::ready).collect())
}

/// The Service has no endpoints.
pub(super) fn service_without_endpoints(scene: &Scene<'_>, verdict: &mut Verdict) -> bool {
    let rejected = scene.outcome == Some(Outcome::Rejected)
        && matches!(verdict.point, Point::Unknown | Point::Firewall);
    // Where no rule of kube-proxy's comes first, the packet goes by whatever route there is.
    let went_on = scene.asked_for.is_none() && service::went_on(scene, verdict);
    if verdict.point != Point::Endpoint && !rejected && !went_on && !scene.is_silence(verdict) {
        return false;
    }
    let Some((service, port)) = requested_service(scene) else {
        return false;
    };
    let view = scene.view();
    if !ready_backends(view, service, scene, port).is_some_and(|ready| ready.is_empty()) {
        return false;
    }
    let id = &service.id;
    let (pods, hints) = behind(view, service);
    let is_cause = rejected || went_on || scene.is_silence(verdict);
    if is_cause {
        let (why, confidence) = match went_on {
            true => (
                format!(
                    "the Service {id} has no ready endpoint, so its packet went on untranslated"
                ),
                Confidence::Confirmed,
            ),
            false => (
                format!("the Service {id} has no ready endpoint"),
                Confidence::Likely,
            ),
        };
        let seen = std::mem::replace(&mut verdict.why, why);
        lead(verdict, [seen]);
        verdict.point = Point::Endpoint;
        verdict.confidence = confidence;
        verdict.subject = id.to_string();
        verdict.fix.clear();
    }
    lead(verdict, [pods]);
    verdict.fix.extend(hints);
    is_cause
}

/// Why a Service has no endpoints, in words, and where to look.
fn behind(view: &View, service: &Service) -> (String, Vec<Fix>) {
    let ObjectName { namespace, name } = &service.id;
    if service.selector.is_empty() {
        let fact = format!(
            "Service {namespace}/{name} has no selector, and no EndpointSlice with a ready address"
        );
        let look = kubectl(namespace)
            .words("get endpointslices -l")
            .arg(format!("kubernetes.io/service-name={name}"));
        return (fact, vec![in_cluster(look)]);
    }
    let pairs: Vec<_> = service
        .selector
        .iter()
        .map(|(k, v)| format!("{k}={v}"))
        .collect();
    let selector = pairs.join(",");
    let matching = |count: usize| {
        view.pods_in(namespace)
            .filter(|pod| !pod.ended)
            .filter(move |pod| {
                let hits = service
                    .selector
                    .iter()
                    .filter(|(k, v)| pod.labels.get(*k) == Some(*v));
                hits.count() == count
            })
    };
    let all: Vec<_> = matching(service.selector.len()).collect();
    if !all.is_empty() {
        let unready = all.iter().filter(|pod| pod.ready == Some(false)).count();
        let fact = format!(
            "Service {namespace}/{name} selects {selector}: {} pod{} in {namespace}, {unready} of them not ready",
            all.len(),
            if all.len() == 1 { "" } else { "s" }
        );
        let look = kubectl(namespace).words("describe pods -l").arg(selector);
        return (fact, vec![in_cluster(look)]);
    }
    if !view.knows(Kind::Pod) {
        return (
            format!("Service {namespace}/{name} selects {selector}"),
            Vec::new(),
        );
    }
    // The labels of the closest pod, for the one word that is wrong.
    let near = (1..service.selector.len())
        .rev()
        .find_map(|count| matching(count).next());
    let near = near.or_else(|| {
        view.pods_in(namespace).find(|pod| {
            let mut wanted = service.selector.iter();
            !pod.ended
                && wanted.any(|(key, value)| {
                    let label = pod.labels.get(key);
                    label.is_some_and(|label| is_slip(value, label))
                })
        })
    });
    let other = near.map(|pod| {
        let labels: Vec<_> = service
            .selector
            .keys()
            .filter_map(|key| Some(format!("{key}={}", pod.labels.get(key)?)))
            .collect();
        format!(
            "; the closest is pod {}, with {}",
            pod.id.name,
            labels.join(",")
        )
    });
    let fact = format!(
        "Service {namespace}/{name} selects {selector}, which matches no pod in {namespace}{}",
        other.unwrap_or_default()
    );
    let look = kubectl(namespace).words("get pods --show-labels");
    let edit = kubectl(namespace).words("edit service").arg(name);
    (fact, vec![in_cluster(look), in_cluster(edit)])
}

fn in_cluster(command: Command) -> Fix {
    Fix::command(command).at(Site::Cluster)
}

fn kubectl(namespace: &str) -> Command {
    Command::new("kubectl -n").arg(namespace)
}

/// Whether one word may have been meant for the other: most labels of the same key are just others.
fn is_slip(wanted: &str, found: &str) -> bool {
    let (wanted, found) = (wanted.to_lowercase(), found.to_lowercase());
    let distance = strsim::damerau_levenshtein(&wanted, &found);
    distance * 4 <= wanted.chars().count()
}

/// The address is no longer in use.
pub(super) fn stale(scene: &Scene<'_>, verdict: &mut Verdict) -> bool {
    let by_rule = verdict.point == Point::Endpoint;
    if !by_rule && !scene.is_silence(verdict) {
        return false;
    }
    let ip = scene.flow.dst;
    let (why, confidence) = match &scene.dst {
        Name::Former(pod, until) => (
            format!(
                "{ip} was the address of pod {}, which has been gone since {}, and is unassigned now",
                pod.id,
                clock_time(*until)
            ),
            Confidence::Likely,
        ),
        Name::Vacant(node) => (
            format!("{ip} is in the range of node {node}'s pods, and no known pod has it"),
            Confidence::Possible,
        ),
        _ => return not_behind(scene, verdict),
    };
    if by_rule {
        lead(verdict, [why]);
    } else {
        let seen = std::mem::replace(&mut verdict.why, why);
        lead(verdict, [seen]);
        verdict.point = Point::Endpoint;
        verdict.confidence = confidence;
        verdict.subject = ip.to_string();
        verdict.fix.clear();
    }
    not_behind(scene, verdict) || !by_rule
}

/// DNAT led to an address that is no endpoint of the Service.
fn not_behind(scene: &Scene<'_>, verdict: &mut Verdict) -> bool {
    if scene.asked_for.is_none() {
        return false;
    }
    let Some((service, port)) = requested_service(scene) else {
        return false;
    };
    let Some(ready) = ready_backends(scene.view(), service, scene, port) else {
        return false;
    };
    if ready.is_empty() || ready.iter().any(|backend| backend.ip == scene.flow.dst) {
        return false;
    }
    let fact = format!(
        "{} is no ready endpoint of Service {} ({} {} ready): the rules that lead to it here are \
         stale",
        scene.flow.dst,
        service.id,
        ready.len(),
        if ready.len() == 1 { "is" } else { "are" },
    );
    if verdict.point == Point::Endpoint {
        verdict.evidence.insert(1.min(verdict.evidence.len()), fact);
        false
    } else {
        let seen = std::mem::replace(&mut verdict.why, fact);
        lead(verdict, [seen]);
        verdict.point = Point::Endpoint;
        verdict.confidence = Confidence::Likely;
        verdict.subject = format!("{} {}", service.id, scene.flow.dst);
        verdict.fix.clear();
        true
    }
}
