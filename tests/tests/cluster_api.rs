//! The names of pods by the API server, while a trace runs.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;
use whydrop_tests::{
    apiserver::{ApiServer, Manner},
    lab::{Family, Host, topology::NodeLab},
    poll_until,
    record::{Drop, Pod, Record},
    tracer::{Trace, Tracer, watching},
    traffic::TcpAttempt,
};

/// Nothing listens there: a SYN to it is dropped by the socket layer of its pod.
const CLOSED: u16 = 8099;

/// A lab, and an API server that knows its pods by name.
struct Named {
    lab: NodeLab,
    server: ApiServer,
    directory: TempDir,
}

impl Named {
    fn build() -> Result<Self> {
        let named = Self {
            lab: NodeLab::build()?,
            server: ApiServer::down()?,
            directory: tempfile::tempdir()?,
        };
        named.place("client-ok", "client-ok", &named.lab.pod_a, "ADDED")?;
        named.place("server", "server", &named.lab.pod_b, "ADDED")?;
        Ok(named)
    }

    /// A pod like a recorded one, with the addresses of a host.
    fn place(&self, like: &str, name: &str, host: &Host, what: &str) -> Result<()> {
        let mut pod = self.server.object("pods", "prod", like)?;
        pod["metadata"]["name"] = name.into();
        pod["metadata"]["uid"] = format!("{name}-uid").into();
        pod["status"]["phase"] = "Running".into();
        let ips = [Family::V4, Family::V6].map(|family| host.address(family).to_string());
        pod["status"]["podIP"] = ips[0].clone().into();
        pod["status"]["podIPs"] = ips.into_iter().map(|ip| json!({"ip": ip})).collect();
        self.server.change("pods", what, pod).map(drop)
    }

    fn trace(&self) -> Result<Tracer> {
        let lab = &self.lab;
        let kubeconfig = self.server.kubeconfig(self.directory.path())?;
        let mut arguments = watching(&[&lab.node, &lab.pod_a, &lab.pod_b]);
        arguments.push("--kubeconfig".to_owned());
        arguments.push(kubeconfig.to_str().context("UTF-8")?.to_owned());
        arguments.push(format!(":{CLOSED}"));
        Tracer::start_with_cluster(arguments)
    }

    /// The drop of a SYN from the one pod to the other.
    fn dropped(&self, tracer: &mut Tracer, family: Family) -> Result<Drop> {
        let to = self.lab.pod_b.socket(family, CLOSED);
        let flow = TcpAttempt::start(&self.lab.pod_a, None, to)?.flow();
        let port = Some(flow.src.port());
        let record = tracer.wait_for("the drop of a SYN", |record| {
            record.as_drop().is_some_and(|drop| drop.flow.sport == port)
        })?;
        Ok(record.as_drop().context("a drop")?.clone())
    }
}

/// How often something was said: before the trace began, or beside it.
fn times_said(trace: &Trace, what: &str) -> usize {
    let before = trace.records.iter().filter_map(|record| match record {
        Record::Started(started) => Some(&started.degraded),
        _ => None,
    });
    let before = before.flatten().filter(|said| said.contains(what)).count();
    before + trace.stderr.matches(what).count()
}

fn id(pod: Option<&Pod>) -> Option<String> {
    pod.map(Pod::to_string)
}

#[test]
fn both_ends_of_a_drop_have_names_and_an_address_that_is_given_on_has_a_new_one() -> Result<()> {
    let mut named = Named::build()?;
    named.server.listen()?;
    let mut tracer = named.trace()?;
    named.server.wait_for_watch("pods")?;
    for family in Family::BOTH {
        let drop = named.dropped(&mut tracer, family)?;
        ensure!(
            id(drop.src_pod.as_ref()).as_deref() == Some("prod/client-ok"),
            "{drop:?}"
        );
        ensure!(
            id(drop.dst_pod.as_ref()).as_deref() == Some("prod/server"),
            "{drop:?}"
        );
        let labels = drop.dst_pod.map(|pod| pod.labels).unwrap_or_default();
        ensure!(
            labels.get("app").is_some_and(|app| app == "server"),
            "{labels:?}"
        );
    }

    // The address goes to another pod, and the watch reports both.
    let gone: Value = named.server.object("pods", "prod", "server")?;
    named.server.change("pods", "DELETED", gone)?;
    named.place("client-ok", "successor", &named.lab.pod_b, "ADDED")?;
    poll_until("the successor's name", || {
        let drop = named.dropped(&mut tracer, Family::V4).ok()?;
        (id(drop.dst_pod.as_ref())? == "prod/successor").then_some(())
    })?;
    let trace = tracer.stop()?;
    ensure!(times_said(&trace, "API server") == 0, "{}", trace.stderr);
    Ok(())
}

#[test]
fn a_trace_needs_no_api_server_to_be_there() -> Result<()> {
    let mut named = Named::build()?;
    let mut tracer = named.trace()?;
    let drop = named.dropped(&mut tracer, Family::V4)?;
    ensure!(drop.src_pod.is_none() && drop.dst_pod.is_none(), "{drop:?}");

    // It comes up in the course of the trace.
    named.server.listen()?;
    named.server.wait_for_watch("pods")?;
    poll_until("names", || {
        let drop = named.dropped(&mut tracer, Family::V4).ok()?;
        (id(drop.dst_pod.as_ref())? == "prod/server").then_some(())
    })?;
    let trace = tracer.stop()?;
    let said = "does not answer (Connection refused";
    ensure!(times_said(&trace, said) == 1, "{:?}", trace.records.first());
    Ok(())
}

#[test]
fn what_is_forbidden_is_said_and_pods_are_named_all_the_same() -> Result<()> {
    let mut named = Named::build()?;
    named.server.answer("networkpolicies", Manner::Forbidden);
    named.server.listen()?;
    let mut tracer = named.trace()?;
    named.server.wait_for_watch("pods")?;
    let drop = named.dropped(&mut tracer, Family::V4)?;
    ensure!(
        id(drop.dst_pod.as_ref()).as_deref() == Some("prod/server"),
        "{drop:?}"
    );
    let trace = tracer.stop()?;
    let said = "to list networkpolicies (403)";
    ensure!(times_said(&trace, said) == 1, "{}", trace.stderr);
    Ok(())
}
