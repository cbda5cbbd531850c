//! Services that lead nowhere from this node, and a rejection that another node's policy makes. The
//! healthy twin is in each trace.

use std::net::{IpAddr, SocketAddr};

use anyhow::Result;
use serde_json::{Value, json};
use tempfile::TempDir;
use whydrop_tests::{
    attempt::AttemptTrace,
    expected::ExpectedAttempt,
    fault::{Chain, nft},
    kube::{self, Objects, Pod},
    lab::{
        Family, Namespace,
        topology::{NodeLab, VoidLab},
    },
    traffic::TcpServer,
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

fn node_object(name: &str, address: IpAddr) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Node", "metadata": {"name": name}, "spec": {},
        "status": {"addresses": [{"type": "InternalIP", "address": address.to_string()}]},
    })
}

/// kube-proxy drops what comes to a node port where no endpoint is on the node.
#[test]
fn no_endpoint_on_this_node() -> Result<()> {
    const NODE_PORT: u16 = 30081;
    let lab = NodeLab::build()?;
    let node = lab.node.address(Family::V4);
    let elsewhere: IpAddr = [10, 244, 77, 9].into();
    let [mut service, mut slice] = kube::service(
        "shop/cart",
        "cart",
        lab.cluster_ip(Family::V4),
        (&[elsewhere], PORT),
    );
    service["spec"]["externalTrafficPolicy"] = "Local".into();
    service["spec"]["ports"][0]["nodePort"] = NODE_PORT.into();
    slice["endpoints"][0]["nodeName"] = "n2".into();
    let objects = Objects {
        others: vec![service, slice, node_object("n1", node)],
        ..Objects::default()
    };
    let healthy = SocketAddr::new(node, PORT);
    let _server = TcpServer::echo(&lab.node, healthy)?;
    let (mut watch, _file) = watch(&lab.node, &node.to_string(), &objects)?;
    watch.healthy(
        &lab.outside,
        &lab.node,
        healthy,
        &ExpectedAttempt::answered()
            .hops(&[(&lab.node, "eth0 in")])
            .reply_hops(&[(&lab.node, "eth0 out")]),
    )?;
    let rules = format!(
        "*filter\n:KUBE-EXTERNAL-SERVICES - [0:0]\n\
         -A INPUT -m conntrack --ctstate NEW -m comment --comment \"kubernetes \
         externally-visible service portals\" -j KUBE-EXTERNAL-SERVICES\n\
         -A KUBE-EXTERNAL-SERVICES -p tcp -m comment --comment \"shop/cart has no local \
         endpoints\" -m addrtype --dst-type LOCAL -m tcp --dport {NODE_PORT} -j DROP\nCOMMIT\n"
    );
    lab.node.run_with_input("iptables-nft-restore", &rules)?;
    watch.silent(
        &lab.outside,
        SocketAddr::new(node, NODE_PORT),
        &ExpectedAttempt::dropped("unanswered", "endpoint")
            .hops(&[(&lab.node, "eth0 in")])
            .why(format!(
                "the Service shop/cart has no endpoint on this node (externalTrafficPolicy: Local); \
                 its endpoint is {elsewhere} on n2"
            )),
    )?;
    watch.finish().map(drop)
}

/// What goes to a ClusterIP that no rule translates leaves through the default route.
#[test]
fn a_cluster_ip_that_leaves_the_node_untranslated() -> Result<()> {
    let lab = VoidLab::build()?;
    let far = lab.far_address(Family::V4);
    let [api, cart]: [IpAddr; 2] = [[10, 96, 0, 1].into(), [10, 96, 0, 10].into()];
    let pod = lab.pod.address(Family::V4);
    let mut objects = Objects {
        pods: vec![Pod::new("shop/web", "app=web", pod, "n1")],
        ..Objects::default()
    };
    for (id, ip, endpoints) in [
        ("default/kubernetes", api, vec![far]),
        ("shop/cart", cart, vec![]),
    ] {
        let own = kube::service(id, "cart", ip, (&endpoints, PORT));
        objects.others.extend(own);
    }
    let (mut watch, _file) = watch(&lab.node, "10.0.0.0/8", &objects)?;
    let left = |confidence| {
        let expected = ExpectedAttempt::failed("unanswered", "endpoint", confidence);
        expected.hops(&[(&lab.node, "veth-a in, cni0 in, eth0 out")])
    };
    for (ip, port, expected) in [
        (
            cart,
            80,
            left("confirmed").why("the Service shop/cart has no ready endpoint"),
        ),
        (
            cart,
            81,
            left("confirmed").why("svc/shop/cart has no TCP port 81, but TCP 80"),
        ),
        (
            [10, 96, 0, 11].into(),
            80,
            left("confirmed").why("no Service has the address 10.96.0.11"),
        ),
        (
            api,
            80,
            left("likely").why("this node did not translate it"),
        ),
    ] {
        watch.silent(&lab.pod, SocketAddr::new(ip, port), &expected)?;
    }
    // An address that is no Service's stays beyond the node.
    watch.silent(
        &lab.pod,
        SocketAddr::new(far, PORT),
        &ExpectedAttempt::failed("unanswered", "off-node", "likely")
            .hops(&[(&lab.node, "veth-a in, cni0 in, eth0 out")]),
    )?;
    watch.finish().map(drop)
}

/// The enforcer of another node rejects, and only its answer is seen here.
#[test]
fn another_node_rejects_what_the_policies_refuse() -> Result<()> {
    let lab = NodeLab::build()?;
    let (web, vault) = (
        lab.pod_a.address(Family::V4),
        lab.outside.address(Family::V4),
    );
    let objects = Objects {
        pods: vec![
            Pod::new("shop/web", "app=web", web, "n1"),
            Pod::new("bank/vault", "app=vault", vault, "n2"),
        ],
        policies: vec![json!({
            "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
            "metadata": {"namespace": "bank", "name": "one-port"},
            "spec": {
                "podSelector": {}, "policyTypes": ["Ingress"],
                "ingress": [{"ports": [{"port": PORT + 1}]}],
            },
        })],
        ..Objects::default()
    };
    let there = [(&*lab.node, "veth-a in, cni0 in, eth0 out")];
    let back = [(&*lab.node, "eth0 in, cni0 out, veth-a out")];
    let to = |port| SocketAddr::new(vault, port);
    let _server = TcpServer::echo(&lab.outside, to(PORT))?;
    let (mut watch, _file) = watch(&lab.node, &vault.to_string(), &objects)?;
    let answered = ExpectedAttempt::answered().hops(&there).reply_hops(&back);
    watch.healthy(&lab.pod_a, &lab.outside, to(PORT), &answered)?;
    nft(
        &lab.outside,
        Chain::inet("input"),
        "tcp dport >= 8080 reject with icmp port-unreachable",
    )?;
    let rejected = |point, confidence| {
        let expected = ExpectedAttempt::failed("rejected", point, confidence);
        expected.hops(&there).reply_hops(&back)
    };
    watch.broken(
        &lab.pod_a,
        to(PORT),
        &rejected("policy", "likely").judged(|verdict| verdict.policies(["bank/one-port"])),
    )?;
    watch.broken(
        &lab.pod_a,
        to(PORT + 1),
        &rejected("firewall", "possible").evidence("the NetworkPolicies admit the flow"),
    )?;
    watch.finish().map(drop)
}
