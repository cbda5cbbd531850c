//! DNS: a policy that blocks it, a broken replica, and what the search list costs.

use std::{fs, path::PathBuf};

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use whydrop_tests::{
    fault::{Chain, nft},
    kube::{Objects, enforce},
    lab::{Family, Host},
    probe::{Probe, Probed},
    record::{Layer, LayerResult, Outcome, Point},
    traffic::{TcpServer, ZoneServer},
};

use super::{NODE, PORT, Shop, probe};

const NAME: &str = "cart.shop.svc.cluster.local";

/// The Service kube-dns in front of two replicas, and the resolver's configuration of a pod.
struct Dns<'a> {
    shop: &'a Shop,
    replicas: [&'a Host; 2],
    resolver: PathBuf,
}

impl<'a> Dns<'a> {
    fn build(shop: &'a Shop) -> Result<Self> {
        let [first, second, _] = shop.carts();
        let front = shop.lab.cluster_ip(Family::V4);
        let resolver = shop.directory.path().join("resolv.conf");
        fs::write(
            &resolver,
            format!(
                "search shop.svc.cluster.local svc.cluster.local cluster.local\n\
                 nameserver {front}\noptions ndots:5\n"
            ),
        )?;
        let to = first.socket(Family::V4, 53);
        let rule = format!("ip daddr {front} udp dport 53 dnat ip to {to}");
        nft(&shop.lab.node, Chain::dnat(), &rule)?;
        Ok(Self {
            shop,
            replicas: [first, second],
            resolver,
        })
    }

    /// A replica that answers.
    fn serve(&self, number: usize) -> Result<ZoneServer> {
        let replica = self.replicas[number];
        let cart = self.shop.lab.outside.address(Family::V4);
        ZoneServer::start(replica, replica.socket(Family::V4, 53), &[(NAME, cart)])
    }

    fn objects(&self, policies: Vec<Value>) -> Objects {
        let mut objects = self.shop.objects(policies);
        // The address that the pods ask is the Service's of DNS here.
        objects.others.clear();
        let front = self.shop.lab.cluster_ip(Family::V4);
        let ips = self
            .replicas
            .map(|replica| json!({"addresses": [replica.address(Family::V4)]}));
        objects.others.push(json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {"namespace": "kube-system", "name": "kube-dns"},
            "spec": {
                "clusterIP": front,
                "selector": {"k8s-app": "kube-dns"},
                "ports": [{"name": "dns", "port": 53, "protocol": "UDP"}],
            },
        }));
        objects.others.push(json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": {
                "namespace": "kube-system", "name": "kube-dns-x",
                "labels": {"kubernetes.io/service-name": "kube-dns"},
            },
            "addressType": "IPv4",
            "ports": [{"name": "dns", "port": 53, "protocol": "UDP"}],
            "endpoints": ips,
        }));
        objects
    }

    fn probe(&self, objects: &Objects) -> Result<Probe> {
        let file = self.shop.write(objects)?;
        let to = format!("{NAME}:{PORT}");
        let probe = probe(&self.shop.lab, &self.shop.lab.pod_a, to, Family::V4);
        Ok(probe.cluster(&file).resolver(&self.resolver))
    }

    fn run(&self, policies: Vec<Value>) -> Result<Probed> {
        let objects = self.objects(policies);
        enforce(&self.shop.lab.node, NODE, &objects)?;
        self.probe(&objects)?.run()
    }
}

/// The walk of the search list is counted: eight queries for a name with four dots.
#[test]
fn the_search_list_is_counted() -> Result<()> {
    let shop = Shop::build()?;
    let outside = &shop.lab.outside;
    let _server = TcpServer::echo(outside, outside.socket(Family::V4, PORT))?;
    let dns = Dns::build(&shop)?;
    let _replicas = [dns.serve(0)?, dns.serve(1)?];
    let walked = dns.run(Vec::new())?;
    walked.healthy()?;
    walked.expect(
        Layer::Dns,
        LayerResult::Ok,
        "ndots:5 costs 6 of these 8 queries",
    )?;
    walked.expect(Layer::Dns, LayerResult::Ok, "2 of 2 DNS endpoints answer")?;
    walked.expect(Layer::Tcp, LayerResult::Ok, "answered")?;
    let queries = walked.attempts.iter().filter(|one| one.dns.is_some());
    let answered = queries
        .filter(|one| one.outcome == Outcome::Answered)
        .count();
    ensure!(
        answered >= 10,
        "8 queries of the walk and one for each replica: {answered}"
    );
    Ok(())
}

/// One of two replicas has no socket: only asking each of them shows it.
#[test]
fn one_replica_of_two() -> Result<()> {
    let shop = Shop::build()?;
    let outside = &shop.lab.outside;
    let _server = TcpServer::echo(outside, outside.socket(Family::V4, PORT))?;
    let dns = Dns::build(&shop)?;
    let _first = dns.serve(0)?;
    {
        let _second = dns.serve(1)?;
        dns.run(Vec::new())?.healthy()?;
    }
    let broken = dns.run(Vec::new())?;
    broken.fails(Layer::Dns, Point::Socket, "")?;
    let row = broken.expect(
        Layer::Dns,
        LayerResult::Failed,
        "1 of 2 DNS endpoints answer",
    )?;
    let failing: Vec<_> = row
        .tests
        .iter()
        .filter(|test| test.result == LayerResult::Failed)
        .collect();
    let [failing] = failing.as_slice() else {
        anyhow::bail!("not one replica: {row:?}");
    };
    let second = dns.replicas[1].address(Family::V4).to_string();
    ensure!(failing.test.contains(&second), "{failing:?}");
    // The name still resolves, and the rest is asked.
    broken.expect(Layer::Tcp, LayerResult::Ok, "answered")?;
    Ok(())
}

/// A policy isolates the client for egress, and admits all but DNS.
#[test]
fn blocked_by_egress_isolation() -> Result<()> {
    let shop = Shop::build()?;
    let outside = &shop.lab.outside;
    let _server = TcpServer::echo(outside, outside.socket(Family::V4, PORT))?;
    let dns = Dns::build(&shop)?;
    let _replicas = [dns.serve(0)?, dns.serve(1)?];
    dns.run(Vec::new())?.healthy()?;
    let isolate = json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
        "metadata": {"namespace": "shop", "name": "only-http"},
        "spec": {
            "podSelector": {"matchLabels": {"app": "web"}},
            "policyTypes": ["Egress"],
            "egress": [{"ports": [{"port": PORT, "protocol": "TCP"}]}],
        },
    });
    let blocked = dns.run(vec![isolate])?;
    blocked.fails(Layer::Dns, Point::Policy, "")?;
    blocked.expect(Layer::Tcp, LayerResult::Blocked, "blocked by DNS")?;
    blocked.expect(
        Layer::Policy,
        LayerResult::Failed,
        "refused at egress by shop/only-http",
    )?;
    Ok(())
}

/// Every name of the walk is unknown to the server.
#[test]
fn no_such_name() -> Result<()> {
    let shop = Shop::build()?;
    let dns = Dns::build(&shop)?;
    let _replicas = [dns.serve(0)?, dns.serve(1)?];
    let file = shop.write(&dns.objects(Vec::new()))?;
    let to = format!("crat.shop:{PORT}");
    let probe = probe(&shop.lab, &shop.lab.pod_a, to, Family::V4);
    let unknown = probe.cluster(&file).resolver(&dns.resolver).run()?;
    let row = unknown.fails(Layer::Dns, Point::Dns, "crat.shop does not exist")?;
    let verdict = row.verdict.as_ref().expect("a verdict");
    let asked = "crat.shop.shop.svc.cluster.local., crat.shop.svc.cluster.local.";
    ensure!(
        verdict.evidence.iter().any(|fact| fact.contains(asked)),
        "{verdict:?}"
    );
    Ok(())
}
