//! Filters that come and go: one by a Service's name, of which the endpoints change all the time, and
//! traces that look for something else each time.

use std::net::{IpAddr, Ipv4Addr};

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;
use whydrop_tests::{
    apiserver::ApiServer,
    kube::service,
    lab::{Family, Topology as _, topology::NodeLab},
    tracer::{Tracer, watching},
};

use crate::churn::FILTERED;

const SERVICE: &str = "shop/cart";
/// Endpoints in one round, besides the real one in every other round.
const ENDPOINTS: u8 = 100;
/// Pods that there are at a time.
const PODS: usize = 20;

/// An API server of which the objects change.
pub(crate) struct Filters {
    server: ApiServer,
    directory: TempDir,
    cluster_ip: IpAddr,
    /// The endpoint that churn's packets go to.
    real: IpAddr,
}

impl Filters {
    pub(crate) fn start(lab: &NodeLab) -> Result<Self> {
        let filters = Self {
            server: ApiServer::up()?,
            directory: TempDir::new()?,
            cluster_ip: lab.cluster_ip(Family::V4),
            real: lab.outside.address(Family::V4),
        };
        filters.service("ADDED", 0)?;
        Ok(filters)
    }

    /// A trace that follows the Service.
    pub(crate) fn follow(&self, lab: &NodeLab) -> Result<Tracer> {
        let kubeconfig = self.server.kubeconfig(self.directory.path())?;
        let mut arguments = watching(&[&lab.node]);
        arguments.extend(["--timeout", "500ms", "--kubeconfig"].map(str::to_owned));
        arguments.extend([kubeconfig.display().to_string(), format!("svc/{SERVICE}")]);
        Tracer::start_with_cluster(arguments)
    }

    /// Other endpoints, and a pod instead of another.
    pub(crate) fn round(&self, round: usize) -> Result<()> {
        self.service("MODIFIED", round)?;
        self.server.change("pods", "ADDED", pod(round))?;
        if let Some(oldest) = round.checked_sub(PODS) {
            self.server.change("pods", "DELETED", pod(oldest))?;
        }
        Ok(())
    }

    fn service(&self, what: &str, round: usize) -> Result<()> {
        let other = round.to_be_bytes()[size_of::<usize>() - 1];
        let mut endpoints: Vec<IpAddr> = (0..ENDPOINTS)
            .map(|host| Ipv4Addr::new(203, 0, 113 ^ other, host).into())
            .collect();
        if round % 2 == 1 {
            endpoints.push(self.real);
        }
        for object in service(SERVICE, "cart", self.cluster_ip, (&endpoints, FILTERED)) {
            let plural = if object["kind"] == "Service" {
                "services"
            } else {
                "endpointslices"
            };
            self.server.change(plural, what, object)?;
        }
        Ok(())
    }
}

fn pod(number: usize) -> Value {
    let [.., third, fourth] = number.to_be_bytes();
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"namespace": "shop", "name": format!("cart-{number}"), "labels": {"app": "cart"}},
        "spec": {"nodeName": "node-1", "containers": []},
        "status": {"phase": "Running", "podIPs": [{"ip": format!("198.18.{third}.{fourth}")}]},
    })
}

/// A trace with the filter of this round, from its start to its end.
pub(crate) fn short_trace(lab: &NodeLab, round: usize) -> Result<()> {
    let filters = [
        vec![lab.outside.socket(Family::V4, FILTERED).to_string()],
        vec![lab.outside.address(Family::V6).to_string()],
        vec![":53".to_owned(), "--proto".to_owned(), "udp".to_owned()],
        vec!["--from".to_owned(), "10.0.0.0/8".to_owned()],
    ];
    let mut arguments = watching(&lab.namespaces());
    arguments.extend(filters[round % filters.len()].iter().cloned());
    let trace = Tracer::start(arguments)?.stop()?;
    ensure!(trace.stderr.is_empty(), "{}", trace.stderr);
    Ok(())
}
