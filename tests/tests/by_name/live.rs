//! Names from the API server that change while a trace runs.

use std::{net::SocketAddr, thread};

use anyhow::{Result, bail, ensure};
use serde_json::Value;
use tempfile::TempDir;
use whydrop_tests::{
    apiserver::{ApiServer, Manner},
    lab::{Family, topology::NodeLab},
    record::Record,
    tracer::{Tracer, watching},
    traffic::TcpAttempt,
};

use super::{Fault, pod, service, service_name, service_ports};

/// An API server that has the objects, and the option that leads to it.
fn api_server(objects: Vec<Value>) -> Result<(ApiServer, TempDir, [String; 2])> {
    let server = ApiServer::up()?;
    for object in objects {
        server.change(&plural(&object), "ADDED", object)?;
    }
    let dir = TempDir::new()?;
    let file = server.kubeconfig(dir.path())?;
    let option = ["--kubeconfig".to_owned(), file.display().to_string()];
    Ok((server, dir, option))
}

fn plural(object: &Value) -> String {
    let kind = object["kind"].as_str().unwrap_or_default();
    format!("{}s", kind.to_lowercase())
}

/// A Service's endpoint is another one mid-trace: the filter goes with it.
#[test]
fn a_service_whose_endpoint_changes() -> Result<()> {
    let lab = NodeLab::build()?;
    Family::each(|family| {
        let (port, target, _) = service_ports(family);
        let (server, _dir, option) = api_server(service(&lab, &lab.pod_a))?;
        let name = format!("svc/shop/{}:{port}", service_name(family));
        let mut arguments = watching(&[&lab.node]);
        arguments.extend(option);
        arguments.push(name.clone());
        let mut tracer = Tracer::start_with_cluster(arguments)?;
        let fault = Fault::on_port(&lab.node, family, target)?;
        let [before, after] = [&lab.pod_a, &lab.pod_b].map(|pod| pod.socket(family, target));
        fault.strikes(&lab.outside, after)?;
        let attempt = TcpAttempt::start(&lab.outside, None, before)?;
        dropped(&mut tracer, &attempt)?;
        drop(attempt);
        ensure!(
            drops_at(tracer.records(), after) == 0,
            "not an endpoint yet"
        );

        for object in service(&lab, &lab.pod_b) {
            if object["kind"] == "EndpointSlice" {
                server.change(&plural(&object), "MODIFIED", object)?;
            }
        }
        // The SYN is sent again until the filter has followed.
        let patient = TcpAttempt::start(&lab.outside, None, after)?;
        dropped(&mut tracer, &patient)?;
        let earlier = tracer.records().len();
        fault.strikes(&lab.outside, before)?;
        dropped(&mut tracer, &TcpAttempt::start(&lab.outside, None, after)?)?;
        let trace = tracer.stop()?;
        ensure!(
            drops_at(&trace.records[earlier..], before) == 0,
            "no endpoint any more"
        );
        let note = format!("{name} is now also {after}, no longer {before}");
        ensure!(trace.stderr.contains(&note), "{}", trace.stderr);
        Ok(())
    })
}

fn dropped(tracer: &mut Tracer, attempt: &TcpAttempt) -> Result<()> {
    let flow = attempt.flow();
    let is_it = |record: &Record| {
        record
            .as_drop()
            .is_some_and(|drop| drop.flow == flow.into())
    };
    tracer
        .wait_for(&format!("a drop of {flow}"), is_it)
        .map(drop)
}

fn drops_at(records: &[Record], place: SocketAddr) -> usize {
    let drops = records.iter().filter_map(Record::as_drop);
    drops.filter(|drop| drop.flow.dst == place.ip()).count()
}

/// The trace starts once the API server has said where the pod is, not before.
#[test]
fn a_name_is_waited_for() -> Result<()> {
    let lab = NodeLab::build()?;
    let (mut server, _dir, option) = api_server(vec![pod("cart", &lab.pod_a)])?;
    server.answer_all(Manner::Silent);
    let mut arguments = watching(&[&lab.node]);
    arguments.extend(option);
    arguments.push("shop/cart".to_owned());
    let waiting = thread::spawn(move || Tracer::start_with_cluster(arguments));
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    runtime.block_on(server.next_request())?;
    ensure!(!waiting.is_finished(), "it started without the address");
    server.answer_all(Manner::Served);
    let Ok(tracer) = waiting.join() else {
        bail!("the thread panicked");
    };
    let trace = tracer?.stop()?;
    let address = lab.pod_a.address(Family::V4).to_string();
    let in_force = trace.records.iter().any(|record| match record {
        Record::Started(started) => started.filter.contains(&address),
        _ => false,
    });
    ensure!(in_force, "{:?}", trace.records.first());
    Ok(())
}
