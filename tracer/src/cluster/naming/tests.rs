use std::path::Path;

use super::*;
use crate::cluster::{
    dump::Loaded,
    objects::{Node, ServicePort, TargetPort},
    update::{Change, Source, Update},
    view::{Kind, Object},
};

fn recorded() -> Cluster {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/cluster-dump.json");
    let mut loaded = Loaded::default();
    loaded.read_file(Path::new(path)).expect("the recording");
    let mut cluster = Cluster::default();
    for change in Change::all_of(loaded.view) {
        let source = Source::Api;
        cluster.apply(Update { source, change }, SystemTime::now());
    }
    cluster
}

fn server(ip: &str, port: u16) -> End {
    End {
        ip: ip.parse().unwrap(),
        port: Some(port),
        protocol: Some(Protocol::Tcp),
        at: SystemTime::now(),
        asked: true,
    }
}

fn words(cluster: &Cluster, ip: &str, port: u16) -> String {
    let end = server(ip, port);
    let name = cluster.name(&end);
    match name.pod() {
        Some(pod) => format!("{}/{}", pod.namespace, pod.name),
        None => name.words().unwrap_or_else(|| format!("{name:?}")),
    }
}

#[test]
fn services_with_a_role_are_recognised() {
    let cluster = recorded();
    let ip_of = |namespace: &str, name: &str| {
        let service = cluster.view().service(&ObjectName::new(namespace, name));
        service.expect("a Service").cluster_ips[0].to_string()
    };
    let api = words(&cluster, &ip_of("default", "kubernetes"), 443);
    assert_eq!(api, "Service default/kubernetes, the API server");
}

#[test]
fn every_pod_is_named_by_each_of_its_addresses() {
    let cluster = recorded();
    let mut seen = 0;
    for pod in cluster
        .view()
        .pods()
        .filter(|pod| !pod.host_network && !pod.ended)
    {
        for ip in &pod.ips {
            assert_eq!(words(&cluster, &ip.to_string(), 80), pod.id.to_string());
            seen += 1;
        }
    }
    assert_eq!(seen, 2, "the pods of the recording");
}

#[test]
fn a_node_is_a_node_though_pods_share_its_address() {
    let cluster = recorded();
    let node = cluster.view().nodes().next().expect("a node");
    let text = words(&cluster, &node.ips[0].to_string(), 65000);
    assert_eq!(text, format!("node {}", node.name));
}

#[test]
fn a_node_is_named_as_a_service_at_its_node_port() {
    let mut cluster = recorded();
    let node = cluster.view().nodes().next().expect("a node").clone();
    let ip = node.ips[0].to_string();
    let port = ServicePort {
        name: String::new(),
        protocol: Protocol::Tcp,
        port: 80,
        node_port: Some(30080),
        target: TargetPort::Number(80),
    };
    let service = Service {
        id: ObjectName::new("shop", "web"),
        ports: vec![port],
        ..Service::default()
    };
    let change = Change::Put(Box::new(Object::Service(service)));
    let source = Source::Api;
    cluster.apply(Update { source, change }, SystemTime::now());

    let expected = format!("node {}, NodePort of Service shop/web", node.name);
    assert_eq!(words(&cluster, &ip, 30080), expected);
    let plain = format!("node {}", node.name);
    assert_eq!(words(&cluster, &ip, 80), plain, "the Service's own port");
    assert_eq!(words(&cluster, &ip, 30081), plain);
    let udp = End {
        protocol: Some(Protocol::Udp),
        ..server(&ip, 30080)
    };
    assert_eq!(cluster.name(&udp).words(), Some(plain.clone()));
    let client = End {
        asked: false,
        ..server(&ip, 30080)
    };
    assert_eq!(cluster.name(&client).words(), Some(plain));
}

#[test]
fn an_address_in_a_node_s_range_that_no_pod_has_is_vacant() {
    let mut cluster = recorded();
    let node = Node {
        name: "n9".to_owned(),
        pod_nets: vec!["10.244.9.0/24".parse().unwrap()],
        ..Node::default()
    };
    let change = Change::Put(Box::new(Object::Node(node)));
    let source = Source::Api;
    cluster.apply(Update { source, change }, SystemTime::now());
    let text = words(&cluster, "10.244.9.77", 80);
    assert_eq!(text, "no known pod's, in the range of node n9");
}

#[test]
fn a_deleted_pod_leaves_its_name_behind() {
    let mut cluster = recorded();
    let pod = cluster
        .view()
        .pods()
        .find(|pod| !pod.host_network && !pod.ended);
    let (id, ip) = pod
        .map(|pod| (pod.id.clone(), pod.ips[0].to_string()))
        .unwrap();
    let gone = Update {
        source: Source::Api,
        change: Change::Gone(Kind::Pod, id.clone()),
    };
    cluster.apply(gone, SystemTime::now());
    let text = words(&cluster, &ip, 80);
    assert!(
        text.starts_with(&format!("unassigned; it belonged to {id} until ")),
        "{text}"
    );
}

#[test]
fn the_kubelet_probes_from_an_address_of_the_node() {
    let here = || Name::Here {
        ifname: "cni0".to_owned(),
        is_probe: false,
    };
    let pod = Name::Pod(Arc::new(Pod {
        probe_ports: vec![8080],
        ..Pod::default()
    }));
    let probe = here().connecting_to(&pod, Some(8080));
    let words = Some("this node (cni0), the kubelet's probe");
    assert_eq!(probe.words().as_deref(), words);
    let other = here().connecting_to(&pod, Some(8081));
    assert_eq!(other.words().as_deref(), Some("this node (cni0)"));
    assert_eq!(Name::Outside.connecting_to(&pod, Some(8080)), Name::Outside);
}
