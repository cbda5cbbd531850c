//! Filters by the names of pods and Services, known from files; in `live`, from an API server.

mod live;

use std::{net::SocketAddr, process::Command};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tempfile::NamedTempFile;
use whydrop_tests::{
    attempt::AttemptTrace,
    binary,
    expected::ExpectedAttempt,
    fault::{Chain, counted_packets, nft},
    lab::{Family, Host, Namespace, topology::NodeLab},
    poll_until,
    record::Record,
    tracer::run_to_end,
    traffic::{TcpAttempt, TcpServer},
};

/// The port of the Service `shop/cart`, the port that its endpoints listen at, and its NodePort:
/// one for each family, since rules know only ports.
fn service_ports(family: Family) -> (u16, u16, u16) {
    (80, family.pick(8004, 8006), family.pick(30004, 30006))
}

fn pod(name: &str, host: &Host) -> Value {
    let ips: Vec<_> = Family::BOTH
        .map(|family| json!({"ip": host.address(family)}))
        .into();
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"namespace": "shop", "name": name},
        "spec": {"nodeName": "node-1", "containers": []},
        "status": {"phase": "Running", "podIPs": ips},
    })
}

/// A Service `shop/cart-v4` or `-v6` in front of one endpoint, and the node with its NodePort.
fn service(lab: &NodeLab, endpoint: &Host) -> Vec<Value> {
    let mut objects = vec![json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {"name": "node-1"},
        "status": {"addresses": Family::BOTH
            .map(|family| json!({"type": "InternalIP", "address": lab.node.address(family)}))},
    })];
    for family in Family::BOTH {
        let name = service_name(family);
        let (port, target, node_port) = service_ports(family);
        objects.push(json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {"namespace": "shop", "name": name},
            "spec": {
                "clusterIP": lab.cluster_ip(family), "clusterIPs": [lab.cluster_ip(family)],
                "ports": [{"name": "http", "port": port, "targetPort": "web", "nodePort": node_port}],
            },
        }));
        objects.push(json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": {
                "namespace": "shop", "name": format!("{name}-x7k2p"),
                "labels": {"kubernetes.io/service-name": name},
            },
            "ports": [{"name": "http", "port": target}],
            "endpoints": [{"addresses": [endpoint.address(family)]}],
        }));
    }
    objects
}

fn service_name(family: Family) -> &'static str {
    family.pick("cart-v4", "cart-v6")
}

/// As `kubectl get -o json` writes it.
fn file(items: &[Value]) -> Result<NamedTempFile> {
    let file = NamedTempFile::new()?;
    let list = json!({"apiVersion": "v1", "kind": "List", "items": items});
    serde_json::to_writer(&file, &list)?;
    Ok(file)
}

/// A trace of a node that knows the objects.
fn watch(lab: &NodeLab, objects: &[Value], arguments: &[&str]) -> Result<AttemptTrace> {
    let file = file(objects)?;
    let path = file.path().to_str().context("a path")?;
    AttemptTrace::start(&[&lab.node], [&["--cluster", path], arguments].concat())
}

/// What `started` says of the filter.
fn filter(watch: &mut AttemptTrace) -> Result<String> {
    let started = watch.tracer().wait_for("the start", |_| true)?;
    match started {
        Record::Started(started) => Ok(started.filter.clone()),
        other => anyhow::bail!("{other:?} before the start"),
    }
}

/// Drops TCP to a port in the node, and counts.
struct Fault<'a> {
    node: &'a Namespace,
    chain: Chain<'a>,
}

impl<'a> Fault<'a> {
    fn on_port(node: &'a Namespace, family: Family, port: u16) -> Result<Self> {
        let chain = Chain {
            family: family.pick("ip", "ip6"),
            ..Chain::inet("forward")
        };
        nft(node, chain, &format!("tcp dport {port} counter drop"))?;
        Ok(Self { node, chain })
    }

    /// Makes an attempt that the rule drops, and that the filter does not match.
    fn strikes(&self, client: &Namespace, peer: SocketAddr) -> Result<()> {
        let before = counted_packets(self.node, self.chain)?;
        let _attempt = TcpAttempt::start(client, None, peer)?;
        poll_until("the rule to drop", || {
            let now = counted_packets(self.node, self.chain).ok()?;
            (now > before).then_some(())
        })
    }
}

/// Ends the trace: only drops between these two were reported.
fn finish(watch: AttemptTrace, client: &Host, server: &Host, family: Family) -> Result<()> {
    let trace = watch.finish()?;
    let ends = (client.address(family), server.address(family));
    for drop in trace.drops() {
        ensure!(
            (drop.flow.src, drop.flow.dst) == ends,
            "not asked for:\n  {drop:?}"
        );
    }
    ensure!(trace.drops().next().is_some(), "no drop was reported");
    Ok(())
}

const IN: &str = "eth0 in, cni0 out, veth-a out";
const IN_BACK: &str = "veth-a in, cni0 in, eth0 out";
const OUT: &str = "veth-a in, cni0 in, eth0 out";
const OUT_BACK: &str = "eth0 in, cni0 out, veth-a out";

#[test]
fn a_pod() -> Result<()> {
    let lab = NodeLab::build()?;
    Family::each(|family| {
        let objects = vec![pod("cart", &lab.pod_a), pod("web", &lab.pod_b)];
        let mut watch = watch(&lab, &objects, &["shop/cart"])?;
        let addresses = Family::BOTH.map(|family| lab.pod_a.address(family).to_string());
        let shown = filter(&mut watch)?;
        let addresses = addresses.join(", ");
        let wanted = format!("any → shop/cart ({addresses}), both directions");
        ensure!(shown.starts_with(&wanted), "{shown:?}");
        let peer = lab.pod_a.socket(family, family.pick(8004, 8006));
        let _server = TcpServer::echo(&lab.pod_a, peer)?;
        watch.healthy(
            &lab.outside,
            &lab.pod_a,
            peer,
            &ExpectedAttempt::answered()
                .hops(&[(&lab.node, IN)])
                .reply_hops(&[(&lab.node, IN_BACK)]),
        )?;
        let fault = Fault::on_port(&lab.node, family, peer.port())?;
        fault.strikes(&lab.outside, lab.pod_b.socket(family, peer.port()))?;
        watch.silent(
            &lab.outside,
            peer,
            &ExpectedAttempt::dropped("unanswered", "firewall").hops(&[(&lab.node, "eth0 in")]),
        )?;
        finish(watch, &lab.outside, &lab.pod_a, family)
    })
}

#[test]
fn a_pod_at_a_port() -> Result<()> {
    let lab = NodeLab::build()?;
    Family::each(|family| {
        let peer = lab.pod_a.socket(family, family.pick(8004, 8006));
        let name = format!("shop/cart:{}", peer.port());
        let mut watch = watch(&lab, &[pod("cart", &lab.pod_a)], &[&name])?;
        let other = lab.pod_a.socket(family, peer.port() + 1000);
        let both = [other, peer].map(|peer| Fault::on_port(&lab.node, family, peer.port()));
        let [elsewhere, here] = both;
        here?;
        elsewhere?.strikes(&lab.outside, other)?;
        watch.silent(
            &lab.outside,
            peer,
            &ExpectedAttempt::dropped("unanswered", "firewall").hops(&[(&lab.node, "eth0 in")]),
        )?;
        let trace = watch.finish()?;
        let ports: Vec<_> = trace.drops().map(|drop| drop.flow.dport).collect();
        ensure!(
            ports.iter().all(|port| *port == Some(peer.port())),
            "{ports:?}"
        );
        Ok(())
    })
}

/// Translates as kube-proxy does: to the endpoint, from the ClusterIP and from the NodePort.
fn proxy(lab: &NodeLab, family: Family, endpoint: SocketAddr) -> Result<[SocketAddr; 2]> {
    let protocol = family.pick("ip", "ip6");
    let (port, _, node_port) = service_ports(family);
    let fronts = [
        SocketAddr::new(lab.cluster_ip(family), port),
        lab.node.socket(family, node_port),
    ];
    for front in fronts {
        let (address, port) = (front.ip(), front.port());
        let rule =
            format!("{protocol} daddr {address} tcp dport {port} dnat {protocol} to {endpoint}");
        nft(&lab.node, Chain::dnat(), &rule)?;
    }
    Ok(fronts)
}

/// Through the ClusterIP, through the NodePort, and straight to the endpoint.
#[test]
fn a_service() -> Result<()> {
    let lab = NodeLab::build()?;
    Family::each(|family| {
        let (port, target, node_port) = service_ports(family);
        let endpoint = lab.outside.socket(family, target);
        let fronts = proxy(&lab, family, endpoint)?;
        let name = format!("svc/shop/{}:{port}", service_name(family));
        let mut watch = watch(&lab, &service(&lab, &lab.outside), &[&name])?;
        let shown = filter(&mut watch)?;
        for place in [fronts[0], lab.node.socket(family, node_port), endpoint] {
            ensure!(
                shown.contains(&place.to_string()),
                "no {place} in {shown:?}"
            );
        }
        let _server = TcpServer::echo(&lab.outside, endpoint)?;
        let answered = || {
            ExpectedAttempt::answered()
                .hops(&[(&lab.node, OUT)])
                .reply_hops(&[(&lab.node, OUT_BACK)])
        };
        for front in fronts {
            let expected = answered().translated(endpoint);
            watch.healthy(&lab.pod_a, &lab.outside, front, &expected)?;
        }
        watch.healthy(&lab.pod_a, &lab.outside, endpoint, &answered())?;

        // Another port of the endpoint, which is not the Service's.
        let other = lab.outside.socket(family, target + 1000);
        Fault::on_port(&lab.node, family, other.port())?.strikes(&lab.pod_a, other)?;
        Fault::on_port(&lab.node, family, target)?;
        for peer in [fronts[0], fronts[1], endpoint] {
            watch.silent(
                &lab.pod_a,
                peer,
                &ExpectedAttempt::dropped("unanswered", "firewall")
                    .hops(&[(&lab.node, "veth-a in, cni0 in")]),
            )?;
        }
        let trace = watch.finish()?;
        let ports: Vec<_> = trace.drops().map(|drop| drop.flow.dport).collect();
        ensure!(ports.iter().all(|port| *port == Some(target)), "{ports:?}");
        Ok(())
    })
}

/// Both ends by name: one pod's way to a Service, not the other's.
#[test]
fn from_a_pod_to_a_service() -> Result<()> {
    let lab = NodeLab::build()?;
    Family::each(|family| {
        let (_, target, _) = service_ports(family);
        let endpoint = lab.outside.socket(family, target);
        let [front, _] = proxy(&lab, family, endpoint)?;
        let mut objects = service(&lab, &lab.outside);
        objects.extend([pod("web", &lab.pod_a), pod("other", &lab.pod_b)]);
        let name = format!("svc/shop/{}", service_name(family));
        let mut watch = watch(&lab, &objects, &[&name, "--from", "shop/web"])?;
        let _server = TcpServer::echo(&lab.outside, endpoint)?;
        let expected = ExpectedAttempt::answered()
            .hops(&[(&lab.node, OUT)])
            .reply_hops(&[(&lab.node, OUT_BACK)])
            .translated(endpoint);
        watch.healthy(&lab.pod_a, &lab.outside, front, &expected)?;
        let fault = Fault::on_port(&lab.node, family, target)?;
        fault.strikes(&lab.pod_b, front)?;
        watch.silent(
            &lab.pod_a,
            front,
            &ExpectedAttempt::dropped("unanswered", "firewall")
                .hops(&[(&lab.node, "veth-a in, cni0 in")]),
        )?;
        finish(watch, &lab.pod_a, &lab.outside, family)
    })
}

fn refuses(arguments: &[&str], words: &[&str]) -> Result<()> {
    let mut command = Command::new(binary());
    let output = run_to_end(command.args(["-o", "json", "--no-kube"]).args(arguments))?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.code() == Some(1),
        "{}: {stderr}",
        output.status
    );
    ensure!(output.stdout.is_empty(), "something was traced");
    for words in words {
        ensure!(stderr.contains(words), "no {words:?} in: {stderr}");
    }
    Ok(())
}

#[test]
fn unknown_names() -> Result<()> {
    let lab = NodeLab::build()?;
    let mut objects = service(&lab, &lab.outside);
    objects.extend([pod("cart-0", &lab.pod_a), pod("web-0", &lab.pod_b)]);
    let file = file(&objects)?;
    let path = file.path().to_str().context("a path")?;
    refuses(
        &["--cluster", path, "shop/crat-0"],
        &["there is no pod shop/crat-0", "shop/cart-0"],
    )?;
    refuses(
        &["--cluster", path, "--from", "prod/cart-0"],
        &["shop/cart-0"],
    )?;
    refuses(
        &["--cluster", path, "svc/shop/card-v4:80"],
        &["there is no Service shop/card-v4", "shop/cart-v4"],
    )?;
    refuses(
        &["--cluster", path, "svc/shop/cart-v4:81"],
        &["has no port 81", "80 (http)"],
    )?;
    refuses(
        &["shop/cart-0"],
        &["--cluster FILE", "--kubeconfig", "--cri-socket"],
    )?;
    refuses(
        &["--cluster", "/no/such/file", "shop/cart-0"],
        &["/no/such/file", "shop/cart-0"],
    )
}
