//! DNS: a policy that blocks it, a broken replica, and what the search list costs.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;
use whydrop_tests::{
    fault::{Chain, nft},
    kube::{Objects, enforce},
    lab::{Family, Host, topology::RouterLab},
    probe::{Probe, Probed},
    record::{Layer, LayerResult, Outcome, Point},
    tracer::{Reaped, run_to_end},
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
        self.serve_zone(number, &[NAME])
    }

    /// A replica that knows these names.
    fn serve_zone(&self, number: usize, names: &[&str]) -> Result<ZoneServer> {
        let replica = self.replicas[number];
        let cart = self.shop.lab.outside.address(Family::V4);
        let zone: Vec<_> = names.iter().map(|name| (*name, cart)).collect();
        ZoneServer::start(replica, replica.socket(Family::V4, 53), &zone)
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

/// One of two replicas denies the name, as one that has lost its connection to the API server does.
#[test]
fn one_replica_denies_the_name() -> Result<()> {
    let shop = Shop::build()?;
    let outside = &shop.lab.outside;
    let _server = TcpServer::echo(outside, outside.socket(Family::V4, PORT))?;
    let dns = Dns::build(&shop)?;
    let _first = dns.serve(0)?;
    {
        let _second = dns.serve(1)?;
        dns.run(Vec::new())?.healthy()?;
    }
    let _second = dns.serve_zone(1, &["other.example.com"])?;
    let differs = dns.run(Vec::new())?;
    let second = dns.replicas[1].address(Family::V4).to_string();
    let row = differs.fails(Layer::Dns, Point::Dns, &second)?;
    let verdict = row.verdict.as_ref().context("a verdict")?;
    ensure!(
        format!("{:?}", verdict.rule).contains("probe-dns-differs"),
        "{verdict:?}"
    );
    differs.expect(
        Layer::Dns,
        LayerResult::Failed,
        "1 of 2 DNS endpoints answer",
    )?;
    differs.expect(Layer::Tcp, LayerResult::Ok, "answered")?;
    Ok(())
}

/// The resolver's configuration names no server: nothing can be asked, and the message says why.
#[test]
fn no_server_to_ask() -> Result<()> {
    let shop = Shop::build()?;
    let outside = &shop.lab.outside;
    let _server = TcpServer::echo(outside, outside.socket(Family::V4, PORT))?;
    let dns = Dns::build(&shop)?;
    let _replicas = [dns.serve(0)?, dns.serve(1)?];
    dns.run(Vec::new())?.healthy()?;
    fs::write(&dns.resolver, "search shop.svc.cluster.local\n")?;
    let probe = dns.probe(&dns.objects(Vec::new()))?;
    let output = run_to_end(&mut probe.command())?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.code() == Some(1) && output.stdout.is_empty(),
        "{output:?}"
    );
    ensure!(
        stderr.contains("cannot be resolved") && stderr.contains("names no server"),
        "{stderr}"
    );
    Ok(())
}

/// A lab whose server serves TCP, and DNS to a client with a resolver's configuration.
struct Site {
    lab: RouterLab,
    server: SocketAddr,
    resolver: SocketAddr,
    /// A resolv.conf, of which the lines after the server's are the test's.
    file: PathBuf,
    _directory: TempDir,
    _serving: TcpServer,
}

impl Site {
    fn build() -> Result<Self> {
        let lab = RouterLab::build()?;
        let server = lab.server.socket(Family::V4, PORT);
        let directory = TempDir::new()?;
        let site = Self {
            _serving: TcpServer::echo(&lab.server, server)?,
            resolver: lab.server.socket(Family::V4, 53),
            file: directory.path().join("resolv.conf"),
            _directory: directory,
            server,
            lab,
        };
        site.configure("")?;
        Ok(site)
    }

    fn configure(&self, more: &str) -> Result<()> {
        let text = format!("nameserver {}\n{more}", self.resolver.ip());
        Ok(fs::write(&self.file, text)?)
    }

    fn probe(&self, name: &str) -> Probe {
        let to = format!("{name}:{PORT}");
        probe(&self.lab, &self.lab.client, to, Family::V4)
    }
}

/// An answer is truncated: it is asked for again by TCP, which a rule may drop.
#[test]
fn truncated() -> Result<()> {
    let site = Site::build()?;
    let Site {
        lab,
        server,
        resolver,
        ..
    } = &site;
    let _dns = ZoneServer::truncating(&lab.server, *resolver, &[(NAME, server.ip())])?;
    let run = || site.probe(NAME).resolver(&site.file).run();
    let healthy = run()?;
    healthy.healthy()?;
    let row = healthy.expect(Layer::Dns, LayerResult::Ok, &server.ip().to_string())?;
    ensure!(row.test.contains("dig +tcp"), "{row:?}");
    nft(&lab.router, Chain::inet("forward"), "tcp dport 53 drop")?;
    let dropped = run()?;
    let row = dropped.fails(Layer::Dns, Point::Firewall, "")?;
    ensure!(row.test.contains("dig +tcp"), "{row:?}");
    dropped.expect(Layer::Tcp, LayerResult::Blocked, "blocked by DNS")?;
    Ok(())
}

/// A process of the pod has a mount namespace with a resolv.conf of its own: that one is used.
#[test]
fn the_pods_own_configuration() -> Result<()> {
    let site = Site::build()?;
    let Site {
        lab,
        server,
        resolver,
        file,
        ..
    } = &site;
    let _dns = ZoneServer::start(&lab.server, *resolver, &[(NAME, server.ip())])?;
    let run = || site.probe("cart.shop").run();
    for (domain, is_known) in [("svc.cluster.local", true), ("elsewhere.example", false)] {
        site.configure(&format!("search {domain}\noptions ndots:5\n"))?;
        let pod = pod_process(&lab.client, file)?;
        let probed = run()?;
        match is_known {
            true => {
                probed.healthy()?;
                let words = format!("{NAME}. is {}", server.ip());
                probed.expect(Layer::Dns, LayerResult::Ok, &words)?;
            }
            false => {
                let row = probed.fails(Layer::Dns, Point::Dns, "cart.shop does not exist")?;
                let verdict = row.verdict.as_ref().context("a verdict")?;
                let origin = format!("/etc/resolv.conf of process {}", pod.0.id());
                ensure!(
                    verdict.evidence.iter().any(|fact| fact.contains(&origin)),
                    "{verdict:?}"
                );
            }
        }
    }
    Ok(())
}

/// A process in a network namespace, with this file as its `/etc/resolv.conf`.
fn pod_process(host: &Host, file: &Path) -> Result<Reaped> {
    let mut command = Command::new("nsenter");
    command
        .arg(format!("--net=/run/netns/{}", host.name()))
        .args(["setpriv", "--pdeathsig", "KILL"])
        .args(["unshare", "--mount", "--propagation", "private"])
        .args([
            "sh",
            "-euc",
            "mount --bind \"$1\" /etc/resolv.conf; echo ready; exec sleep infinity",
            "sh",
        ])
        .arg(file)
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    let mut process = Reaped::new(command.spawn()?);
    let stdout = process.0.stdout.take().context("a pipe")?;
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line)?;
    ensure!(line.trim() == "ready", "{line:?}");
    Ok(process)
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

/// Every name of the walk is unknown to the server; the one that is spelled well is not.
#[test]
fn no_such_name() -> Result<()> {
    let shop = Shop::build()?;
    let outside = &shop.lab.outside;
    let _server = TcpServer::echo(outside, outside.socket(Family::V4, PORT))?;
    let dns = Dns::build(&shop)?;
    let _replicas = [dns.serve(0)?, dns.serve(1)?];
    dns.run(Vec::new())?.healthy()?;
    let file = shop.write(&dns.objects(Vec::new()))?;
    let to = format!("crat.shop:{PORT}");
    let probe = probe(&shop.lab, &shop.lab.pod_a, to, Family::V4);
    let unknown = probe.cluster(&file).resolver(&dns.resolver).run()?;
    let row = unknown.fails(Layer::Dns, Point::Dns, "crat.shop does not exist")?;
    // That the queries were admitted says nothing of a flow that has no address.
    unknown.expect(Layer::Policy, LayerResult::Blocked, "blocked by DNS")?;
    let verdict = row.verdict.as_ref().expect("a verdict");
    let asked = "crat.shop.shop.svc.cluster.local., crat.shop.svc.cluster.local.";
    ensure!(
        verdict.evidence.iter().any(|fact| fact.contains(asked)),
        "{verdict:?}"
    );
    Ok(())
}
