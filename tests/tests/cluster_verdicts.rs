//! What the cluster's objects add to verdicts on real drops and on real silence. The healthy twin is
//! in each trace: a connection that the objects admit.

use std::net::{IpAddr, SocketAddr};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;
use whydrop_tests::{
    attempt::AttemptTrace,
    deadline,
    expected::{ExpectedAttempt, ExpectedVerdict},
    fault::{Chain, nft},
    kube::{self, Objects, Pod, refuse_service},
    lab::{
        Family, Namespace,
        topology::{NodeLab, VoidLab},
    },
    record::Record,
    tracer::{Tracer, watching},
    traffic::{TcpAttempt, TcpServer},
};

const PORT: u16 = 8080;

/// Starts a trace with these objects in a file, which is deleted with the directory.
fn watch(node: &Namespace, filter: &str, objects: &Objects) -> Result<(AttemptTrace, TempDir)> {
    let directory = tempfile::tempdir()?;
    let file = objects.write(directory.path(), "cluster.json")?;
    let file = file.display().to_string();
    let watch = AttemptTrace::start(&[node], [filter, "--cluster", &file])?;
    Ok((watch, directory))
}

fn service(id: &str, app: &str, ip: IpAddr, endpoints: &[IpAddr]) -> [Value; 2] {
    kube::service(id, app, ip, (endpoints, PORT))
}

/// Rules shaped like kube-proxy's, for a Service at port 80.
fn dnat(node: &Namespace, ip: IpAddr, id: &str, backend: SocketAddr) -> Result<()> {
    let rules = format!(
        "*nat\n:KUBE-SERVICES - [0:0]\n:KUBE-SVC-AAAAAAAAAAAAAAAA - [0:0]\n\
         :KUBE-SEP-BBBBBBBBBBBBBBBB - [0:0]\n\
         -A PREROUTING -m comment --comment \"kubernetes service portals\" -j KUBE-SERVICES\n\
         -A KUBE-SERVICES -d {ip}/32 -p tcp -m comment --comment \"{id} cluster IP\" -m tcp --dport \
         80 -j KUBE-SVC-AAAAAAAAAAAAAAAA\n\
         -A KUBE-SVC-AAAAAAAAAAAAAAAA -m comment --comment \"{id} -> {backend}\" -j \
         KUBE-SEP-BBBBBBBBBBBBBBBB\n\
         -A KUBE-SEP-BBBBBBBBBBBBBBBB -p tcp -m comment --comment \"{id}\" -m tcp -j DNAT \
         --to-destination {backend}\nCOMMIT\n"
    );
    node.run_with_input("iptables-nft-restore", &rules)
        .map(drop)
}

#[test]
fn a_service_whose_selector_matches_nothing() -> Result<()> {
    let lab = NodeLab::build()?;
    let ip = lab.cluster_ip(Family::V4);
    let mut objects = Objects {
        pods: vec![Pod::new(
            "shop/cart",
            "app=Cart",
            lab.pod_a.address(Family::V4),
            "n1",
        )],
        ..Objects::default()
    };
    objects.others.extend(service("shop/cart", "cart", ip, &[]));
    lab.node
        .run(&format!("ip route add unreachable {ip}/32 metric 4000"))?;
    lab.node.run(&format!(
        "ip route add {ip}/32 via {} dev eth0",
        lab.outside.address(Family::V4)
    ))?;
    let directory = tempfile::tempdir()?;
    let file = objects.write(directory.path(), "cluster.json")?;
    let mut arguments = watching(&[&lab.node]);
    arguments.extend([
        "10.0.0.0/8".to_owned(),
        "--cluster".to_owned(),
        file.display().to_string(),
    ]);
    let healthy = lab.outside.socket(Family::V4, PORT);
    let _server = TcpServer::echo(&lab.outside, healthy)?;
    let mut tracer = Tracer::start(arguments)?;
    refuse_service(&lab.node, "shop/cart", ip)?;
    TcpAttempt::start(&lab.pod_b, None, healthy)?.outcome(deadline())?;
    TcpAttempt::start(&lab.pod_b, None, SocketAddr::new(ip, 80))?.outcome(deadline())?;
    let record = tracer.wait_for("the rejected SYN", |record| record.as_drop().is_some())?;
    let drop = record.as_drop().context("a drop")?;
    let judged = ExpectedVerdict::new("endpoint", "confirmed")
        .why("the Service shop/cart has no endpoints")
        .evidence(
            "Service shop/cart selects app=cart, which matches no pod in shop; the closest is \
             pod cart, with app=Cart",
        )
        .fix("kubectl -n shop edit service cart");
    ensure!(
        judged.mismatch(&drop.verdict).is_none(),
        "{:?}",
        judged.mismatch(&drop.verdict)
    );
    ensure!(
        drop.dst_owner.as_deref() == Some("Service shop/cart"),
        "{:?}",
        drop.dst_owner
    );
    let trace = tracer.stop()?;
    let others = trace.drops().filter(|drop| drop.flow.dport != Some(80));
    ensure!(others.count() == 0, "drops of the healthy connection");
    Ok(())
}

/// A node's address says little: at a NodePort, and only there, its Service is named too.
#[test]
fn a_node_port_is_named_by_its_service() -> Result<()> {
    const NODE_PORT: u16 = 30080;
    let lab = NodeLab::build()?;
    let node = lab.node.address(Family::V4);
    let mut objects = Objects {
        others: service("shop/web", "web", lab.cluster_ip(Family::V4), &[]).into(),
        ..Objects::default()
    };
    objects.others[0]["spec"]["ports"][0]["nodePort"] = NODE_PORT.into();
    objects.others.push(json!({
        "apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"}, "spec": {},
        "status": {"addresses": [{"type": "InternalIP", "address": node.to_string()}]},
    }));
    let _server = TcpServer::echo(&lab.node, SocketAddr::new(node, PORT))?;
    let (mut watch, _file) = watch(&lab.node, &node.to_string(), &objects)?;
    let answered = ExpectedAttempt::answered()
        .hops(&[(&lab.node, "eth0 in")])
        .reply_hops(&[(&lab.node, "eth0 out")]);
    let healthy = SocketAddr::new(node, PORT);
    watch.healthy(&lab.outside, &lab.node, healthy, &answered)?;
    nft(
        &lab.node,
        Chain::inet("input"),
        &format!("tcp dport {NODE_PORT} reject"),
    )?;
    let node_port = SocketAddr::new(node, NODE_PORT);
    TcpAttempt::start(&lab.outside, None, node_port)?.outcome(deadline())?;
    let tracer = watch.tracer();
    let record = tracer.wait_for("the rejected SYN", |record| record.as_drop().is_some())?;
    let drop = record.as_drop().context("a drop")?;
    let judged = ExpectedVerdict::new("firewall", "confirmed")
        .why("table inet filter_input")
        .fix("nft insert rule");
    ensure!(
        judged.mismatch(&drop.verdict).is_none(),
        "{:?}",
        judged.mismatch(&drop.verdict)
    );
    let owner = drop.dst_owner.as_deref();
    ensure!(
        owner == Some("node n1, NodePort of Service shop/web"),
        "{owner:?}"
    );
    let mut attempts = tracer.records().iter().filter_map(Record::as_attempt);
    let talk = attempts.find(|attempt| attempt.flow.dport == Some(PORT));
    let owner = talk.and_then(|talk| talk.dst_owner.as_deref());
    ensure!(owner == Some("node n1"), "{owner:?}");
    Ok(())
}

#[test]
fn dnat_to_a_pod_that_is_no_endpoint_any_more() -> Result<()> {
    let lab = NodeLab::build()?;
    let ip = lab.cluster_ip(Family::V4);
    let living = lab.pod_a.address(Family::V4);
    let IpAddr::V4(v4) = living else {
        unreachable!("an IPv4 address")
    };
    let gone = IpAddr::from([v4.octets()[0], v4.octets()[1], v4.octets()[2], 77]);
    let mut objects = Objects {
        pods: vec![Pod::new("shop/cart", "app=cart", living, "n1")],
        ..Objects::default()
    };
    objects
        .others
        .extend(service("shop/cart", "cart", ip, &[living]));
    let _server = TcpServer::echo(&lab.pod_a, SocketAddr::new(living, PORT))?;
    let (mut watch, _file) = watch(&lab.node, &format!("{ip}"), &objects)?;
    dnat(&lab.node, ip, "shop/cart", SocketAddr::new(living, PORT))?;
    watch.healthy(
        &lab.outside,
        &lab.pod_a,
        SocketAddr::new(ip, 80),
        &ExpectedAttempt::answered()
            .hops(&[(&lab.node, "eth0 in, cni0 out, veth-a out")])
            .reply_hops(&[(&lab.node, "veth-a in, cni0 in, eth0 out")])
            .translated(SocketAddr::new(living, PORT)),
    )?;
    dnat(&lab.node, ip, "shop/cart", SocketAddr::new(gone, PORT))?;
    let attempt = TcpAttempt::start(&lab.outside, None, SocketAddr::new(ip, 80))?;
    let record = watch
        .tracer()
        .wait_for("the drop of the SYN", |record| record.as_drop().is_some())?;
    let judged = ExpectedVerdict::new("endpoint", "likely")
        .why(format!("no host answers for {gone}"))
        .evidence(format!(
            "{gone} is no ready endpoint of Service shop/cart (1 is ready)"
        ));
    let drop = record.as_drop().context("a drop")?;
    ensure!(
        judged.mismatch(&drop.verdict).is_none(),
        "{:?}",
        judged.mismatch(&drop.verdict)
    );
    attempt.outcome(deadline()).map(std::mem::drop)
}

/// What leaves the node may be refused by a policy elsewhere. The drop was not seen: it stays `off-node`.
#[test]
fn silence_beyond_the_node_is_no_proof_of_a_policy() -> Result<()> {
    let lab = VoidLab::build()?;
    let (pod, far) = (lab.pod.address(Family::V4), lab.far_address(Family::V4));
    let deny = json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
        "metadata": {"namespace": "bank", "name": "deny"},
        "spec": {"podSelector": {}, "policyTypes": ["Ingress"]},
    });
    for (policies, words) in [
        (
            vec![deny],
            "the NetworkPolicies do not admit the flow: bank/vault is isolated for ingress",
        ),
        (vec![], "no drop of it was seen on this node"),
    ] {
        let objects = Objects {
            pods: vec![
                Pod::new("shop/web", "app=web", pod, "n1"),
                Pod::new("bank/vault", "app=vault", far, "n2"),
            ],
            policies,
            others: vec![json!({
                "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicyList", "items": [],
            })],
        };
        let (mut watch, _file) = watch(&lab.node, &format!("{far}"), &objects)?;
        watch.silent(
            &lab.pod,
            SocketAddr::new(far, PORT),
            &ExpectedAttempt::failed("unanswered", "off-node", "likely")
                .hops(&[(&lab.node, "veth-a in, cni0 in, eth0 out")])
                .evidence(words),
        )?;
        watch.finish()?;
    }
    Ok(())
}

#[test]
fn the_api_server_beyond_the_node_is_named_with_its_gates() -> Result<()> {
    let lab = VoidLab::build()?;
    let far = lab.far_address(Family::V4);
    let mut objects = Objects {
        pods: vec![Pod::new(
            "shop/web",
            "app=web",
            lab.pod.address(Family::V4),
            "n1",
        )],
        ..Objects::default()
    };
    objects.others.extend(service(
        "default/kubernetes",
        "none",
        "10.96.0.1".parse()?,
        &[far],
    ));
    let (mut watch, _file) = watch(&lab.node, &format!("{far}"), &objects)?;
    for (port, words) in [
        (PORT, "the destination is the cluster's API server"),
        (PORT + 1, "tun interface"),
    ] {
        watch.silent(
            &lab.pod,
            SocketAddr::new(far, port),
            &ExpectedAttempt::failed("unanswered", "off-node", "likely")
                .hops(&[(&lab.node, "veth-a in, cni0 in, eth0 out")])
                .evidence(words),
        )?;
    }
    let trace = watch.finish()?;
    for attempt in trace.attempts() {
        let verdict = attempt.verdict.as_ref().context("a verdict")?;
        let gates = verdict
            .fix
            .iter()
            .any(|fix| fix.line().contains("authorized IP ranges"));
        ensure!(gates == (attempt.flow.dport == Some(PORT)), "{verdict:?}");
    }
    Ok(())
}
