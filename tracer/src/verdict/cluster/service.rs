//! Services whose packets kube-proxy did not lead to an endpoint: none is on this node, the Service
//! has no such port, or none at all has the address.

use std::net::IpAddr;

use super::{
    Scene,
    endpoint::{ready_backends, requested_service},
    lead,
    policy::is_rule,
};
use crate::{
    cluster::{
        naming::Name,
        objects::{Backend, ObjectName, Service},
        policy::Protocol,
        resolve::no_such_port,
        view::{Kind, View},
    },
    model::{Confidence, Fix, Outcome, Point, Site, Verdict, shell::Command},
};

/// Bits of the host part of the largest range that the API server takes for Services.
const MOST_BITS: u32 = 20;

/// How many endpoints are named.
const NAMED: usize = 3;

/// kube-proxy's rule drops what comes to a node without an endpoint of a Service whose traffic policy
/// is Local.
pub(super) fn no_local_endpoint(scene: &Scene<'_>, verdict: &mut Verdict) -> bool {
    if verdict.point != Point::Endpoint || scene.outcome == Some(Outcome::Answered) {
        return false;
    }
    let Some((service, port)) = requested_service(scene) else {
        return false;
    };
    let Some(setting) = local_policy(scene, service) else {
        return false;
    };
    let is_by_rule = is_rule(verdict, "netfilter");
    let ready = ready_backends(scene.view(), service, scene, port).unwrap_or_default();
    // One that is ready here already is not in the rules yet.
    let is_elsewhere = |backend: &&Backend| match (&backend.node, &scene.node) {
        (Some(node), Some(own)) => node != own,
        (Some(_), None) => true,
        (None, _) => false,
    };
    if !is_by_rule || ready.is_empty() || !ready.iter().all(is_elsewhere) {
        return false;
    }
    let why = format!(
        "the Service {} has no endpoint on this node ({setting}: Local); {}",
        named(service, scene, port),
        elsewhere(scene.view(), &ready)
    );
    let seen = std::mem::replace(&mut verdict.why, why);
    lead(verdict, [seen]);
    verdict.subject = format!("{} {setting}", service.id);
    verdict.fix = local_fixes(&service.id, setting);
    true
}

/// The traffic policy of the Service that counts for the address that was asked, if it is Local.
fn local_policy(scene: &Scene<'_>, service: &Service) -> Option<&'static str> {
    let asked = match scene.asked_for {
        Some(_) => None,
        None => Some(scene.flow.dst),
    };
    let is_inside = asked.is_some_and(|ip| service.cluster_ips.contains(&ip));
    match is_inside {
        true => service.internal_local.then_some("internalTrafficPolicy"),
        false => service.external_local.then_some("externalTrafficPolicy"),
    }
}

/// What helps where there is no endpoint on the node.
fn local_fixes(id: &ObjectName, setting: &str) -> Vec<Fix> {
    let patch = |value: &str| {
        Command::new("kubectl -n")
            .arg(&id.namespace)
            .words("patch service")
            .arg(&id.name)
            .words("-p")
            .arg(format!("{{\"spec\":{{\"{setting}\":\"{value}\"}}}}"))
    };
    vec![
        Fix::advice("run a pod of the Service on this node, or send to a node that has one"),
        Fix::change(patch("Cluster"), patch("Local")).at(Site::Cluster),
    ]
}

/// `its endpoint is shop/cart-1 on n1`
fn elsewhere(view: &View, ready: &[&Backend]) -> String {
    let named = ready.iter().take(NAMED).map(|backend| {
        let pod = view.claimants(backend.ip).find(|pod| !pod.host_network);
        let who = pod.map_or_else(|| backend.ip.to_string(), |pod| pod.id.to_string());
        match &backend.node {
            Some(node) => format!("{who} on {node}"),
            None => who,
        }
    });
    let named: Vec<_> = named.collect();
    let are = match ready.len() {
        1 => "its endpoint is",
        _ => "its endpoints are",
    };
    let more = ready.len().saturating_sub(NAMED);
    let more = (more > 0).then(|| format!(" and {more} more"));
    format!("{are} {}{}", named.join(", "), more.unwrap_or_default())
}

/// `shop/cart:http`
fn named(service: &Service, scene: &Scene<'_>, port: Option<u16>) -> String {
    let protocol = Protocol::of_flow(scene.flow.proto);
    let mut ports = service.ports.iter();
    let own = ports.find(|own| Some(own.protocol) == protocol && Some(own.port) == port);
    match own.map(|own| own.name.as_str()) {
        None | Some("") => service.id.to_string(),
        Some(name) => format!("{}:{name}", service.id),
    }
}

/// A packet to a Service's address left this node, or was to be routed, as it came: a ClusterIP that
/// is not translated is never a routing problem.
pub(super) fn untranslated(scene: &Scene<'_>, verdict: &mut Verdict) -> bool {
    if scene.asked_for.is_some() || !went_on(scene, verdict) {
        return false;
    }
    let Some((why, subject, confidence, fix)) = reason(scene) else {
        return false;
    };
    let seen = std::mem::replace(&mut verdict.why, why);
    lead(verdict, [seen]);
    verdict.point = Point::Endpoint;
    verdict.confidence = confidence;
    verdict.subject = subject;
    verdict.fix = fix;
    true
}

/// Whether the packet was past the place where this node translates.
pub(super) fn went_on(scene: &Scene<'_>, verdict: &Verdict) -> bool {
    match scene.outcome {
        // A route is looked up behind the translation.
        None => verdict.point == Point::Route,
        Some(Outcome::Unanswered) => matches!(verdict.point, Point::OffNode | Point::Route),
        // The sender of the error met the address untranslated: a router with a firewall, or one that
        // knows no host there.
        Some(Outcome::Rejected) => match verdict.point {
            Point::Route => true,
            Point::Firewall | Point::Endpoint => is_rule(verdict, "rejected"),
            _ => false,
        },
        Some(_) => false,
    }
}

type Reason = (String, String, Confidence, Vec<Fix>);

fn reason(scene: &Scene<'_>) -> Option<Reason> {
    let view = scene.view();
    let Name::Service { id, .. } = &scene.dst else {
        return no_service(scene);
    };
    let service = view.service(id)?;
    // Load balancers and external addresses may be served by others.
    service
        .cluster_ips
        .contains(&scene.flow.dst)
        .then_some(())?;
    let protocol = Protocol::of_flow(scene.flow.proto)?;
    let port = scene.flow.dport;
    let has_port = service
        .ports
        .iter()
        .any(|own| own.protocol == protocol && Some(own.port) == port);
    if !has_port {
        let why = format!(
            "{}; the packet went on untranslated",
            no_such_port(service, port, Some(protocol))
        );
        let edit = Command::new("kubectl -n")
            .arg(&id.namespace)
            .words("get service")
            .arg(&id.name)
            .words("-o yaml");
        let look = Fix::command(edit).at(Site::Cluster);
        return Some((why, id.to_string(), Confidence::Confirmed, vec![look]));
    }
    let ready = ready_backends(view, service, scene, port)?;
    let client_node = match &scene.src {
        Name::Pod(pod) => pod.node.as_deref(),
        Name::Node { name, .. } => name.as_deref(),
        _ => None,
    };
    let is_elsewhere =
        |backend: &&Backend| backend.node.is_some() && backend.node.as_deref() != client_node;
    if service.internal_local
        && let Some(node) = client_node
        && ready.iter().all(is_elsewhere)
    {
        let why = format!(
            "the Service {} has no endpoint on node {node} (internalTrafficPolicy: Local); {}; the \
             packet went on untranslated",
            named(service, scene, port),
            elsewhere(view, &ready)
        );
        let fix = local_fixes(id, "internalTrafficPolicy");
        return Some((why, id.to_string(), Confidence::Confirmed, fix));
    }
    let why = format!(
        "{}:{} is the Service {id}, {}, and this node did not translate it: kube-proxy (or what \
         stands in for it) has not written its rules here, or they were removed",
        scene.flow.dst,
        port.unwrap_or_default(),
        elsewhere(view, &ready),
    );
    let restart = Fix::advice("restart kube-proxy on this node, so that it writes its rules again");
    Some((why, id.to_string(), Confidence::Likely, vec![restart]))
}

/// No Service has the address, and Services alone have addresses like it.
fn no_service(scene: &Scene<'_>) -> Option<Reason> {
    let ip = scene.flow.dst;
    let is_free = matches!(scene.dst, Name::Outside) && scene.view().is_service_address(ip);
    is_free.then(|| {
        let why = format!(
            "no Service has the address {ip}, which is in the range of the cluster's Services"
        );
        let look = Command::new("kubectl get services -A");
        let look = Fix::command(look).at(Site::Cluster);
        (why, ip.to_string(), Confidence::Confirmed, vec![look])
    })
}

impl View {
    /// Whether an address can only be a Service's. The range is not in the objects; but the API
    /// server has the first address of it, and all others are in it.
    fn is_service_address(&self, ip: IpAddr) -> bool {
        let api = ObjectName::new("default", "kubernetes");
        let first = self.service(&api).and_then(|service| {
            let mut own = service.cluster_ips.iter();
            own.find(|own| own.is_ipv4() == ip.is_ipv4()).copied()
        });
        let Some(first) = first.filter(|_| self.knows(Kind::Service)) else {
            return false;
        };
        let base = number(first).wrapping_sub(1);
        let others = self.services().flat_map(|service| &service.cluster_ips);
        let own = others
            .filter(|other| other.is_ipv4() == ip.is_ipv4())
            .map(|other| number(*other));
        // The smallest range from there that holds them all.
        let differing = own.fold(1, |bits, other| bits | (other ^ base));
        let host_bits = 128 - differing.leading_zeros();
        let mask = u128::MAX.checked_shl(host_bits).unwrap_or(0);
        host_bits <= MOST_BITS && base & !mask == 0 && number(ip) & mask == base
    }
}

fn number(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(ip) => u32::from(ip).into(),
        IpAddr::V6(ip) => ip.into(),
    }
}
