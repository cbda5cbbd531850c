//! What the objects say of the pod that was to answer: what keeps its containers from running, which
//! ports they name, and who had its address before.

use std::time::{Duration, SystemTime};

use super::{Scene, endpoint::requested_service, lead};
use crate::{
    cluster::{
        naming::{Name, clock_time},
        objects::{Pod, TargetPort},
        policy::Protocol,
    },
    model::{Point, Verdict},
};

/// How long an address's former owner is worth a word: neighbor entries are stale for minutes.
const LATELY: Duration = Duration::from_secs(600);

/// A port is closed, and the pod's state or its Service's target port may say why. Containers need
/// not name their ports, so this concludes nothing.
pub(super) fn closed_port(scene: &Scene<'_>, verdict: &mut Verdict) -> bool {
    let Name::Pod(pod) = &scene.dst else {
        return false;
    };
    if verdict.point == Point::Socket {
        let facts = problem(pod).into_iter().chain(target(scene, pod));
        lead(verdict, facts.collect::<Vec<_>>());
    }
    false
}

/// `shop/front-1 is in CrashLoopBackOff since 16:10:00 UTC (container web, 5 restarts), not ready`
fn problem(pod: &Pod) -> Option<String> {
    let id = &pod.id;
    let unready = pod.ready == Some(false);
    let Some(problem) = &pod.problem else {
        return unready.then(|| format!("{id} is not ready"));
    };
    let since = problem.since.and_then(|seconds| {
        let since = Duration::from_secs(u64::try_from(seconds).ok()?);
        let since = SystemTime::UNIX_EPOCH.checked_add(since)?;
        Some(format!(" since {}", clock_time(since)))
    });
    let restarts = match problem.restarts {
        0 => String::new(),
        1 => ", 1 restart".to_owned(),
        more => format!(", {more} restarts"),
    };
    Some(format!(
        "{id} is in {}{} (container {}{restarts}){}",
        problem.reason,
        since.unwrap_or_default(),
        problem.container,
        if unready { ", not ready" } else { "" },
    ))
}

/// `Service shop/web sends port 80 to 8081; the containers of shop/web-1 name TCP 8080 (http)`
fn target(scene: &Scene<'_>, pod: &Pod) -> Option<String> {
    let protocol = Protocol::of_flow(scene.flow.proto)?;
    let reached = scene.flow.dport?;
    let named: Vec<_> = pod
        .container_ports
        .iter()
        .filter(|(own, _)| *own == protocol)
        .map(|(_, port)| *port)
        .collect();
    if named.is_empty() || named.contains(&reached) {
        return None;
    }
    let (service, port) = requested_service(scene)?;
    let mut ports = service.ports.iter();
    let own = ports.find(|own| own.protocol == protocol && Some(own.port) == port)?;
    let to = match &own.target {
        TargetPort::Number(number) => number.to_string(),
        TargetPort::Named(name) => format!("{reached} ({name})"),
    };
    let names = named.iter().map(|port| {
        let mut ports = pod.ports.iter();
        let name = ports.find(|named| named.port == *port && named.protocol == protocol);
        match name {
            Some(named) => format!("{port} ({})", named.name),
            None => port.to_string(),
        }
    });
    let names: Vec<_> = names.collect();
    Some(format!(
        "Service {} sends port {} to {to}; the containers of {} name {}",
        service.id,
        own.port,
        pod.id,
        names.join(" and ")
    ))
}

/// The address was another pod's a while ago: what others remember of it may be that pod's.
pub(super) fn predecessor(scene: &Scene<'_>, verdict: &mut Verdict) -> bool {
    let Name::Pod(pod) = &scene.dst else {
        return false;
    };
    if !matches!(
        verdict.point,
        Point::Endpoint | Point::Conntrack | Point::Unknown
    ) {
        return false;
    }
    let ip = scene.flow.dst;
    let before = scene.cluster.predecessor(ip, scene.at);
    let before = before.filter(|(former, until)| {
        let age = scene.at.duration_since(*until).unwrap_or_default();
        (&former.id, &former.uid) != (&pod.id, &pod.uid) && age <= LATELY
    });
    let fact = before.map(|(former, until)| {
        format!(
            "{ip} was {}'s until {}, and is {}'s now",
            former.id,
            clock_time(until),
            pod.id
        )
    });
    lead(verdict, fact);
    false
}
