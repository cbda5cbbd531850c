use proptest::prelude::*;

use super::*;

use crate::cluster::objects::{Backend, EndpointSlice, Node, TargetPort};
use crate::cluster::update::{Change, Source, Update};
use crate::cluster::view::Object;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn ips(texts: &[&str]) -> Vec<IpAddr> {
    texts.iter().map(|text| ip(text)).collect()
}

fn pod(name: &str, addresses: &[&str]) -> Pod {
    Pod {
        id: ObjectName::new("shop", name),
        ips: ips(addresses),
        ..Pod::default()
    }
}

fn port(name: &str, protocol: Protocol, port: u16, node_port: Option<u16>) -> ServicePort {
    ServicePort {
        name: name.to_owned(),
        protocol,
        port,
        node_port,
        target: TargetPort::Number(port),
    }
}

fn backends(ready: &[IpAddr], unready: &[IpAddr]) -> Vec<Backend> {
    let backend = |ready| {
        move |ip: &IpAddr| Backend {
            ip: *ip,
            ready,
            node: None,
        }
    };
    let unready = unready.iter().map(backend(false));
    ready.iter().map(backend(true)).chain(unready).collect()
}

fn slice(name: &str, ports: Vec<ServicePort>, ready: &[&str], unready: &[&str]) -> Object {
    Object::EndpointSlice(EndpointSlice {
        id: ObjectName::new("shop", name),
        service: Some("cart".to_owned()),
        ports,
        backends: backends(&ips(ready), &ips(unready)),
    })
}

/// A Service with two ports, each at a target port of its own, on a node with NodePorts.
fn shop() -> View {
    let mut view = View::default();
    view.insert(Object::Service(Service {
        id: ObjectName::new("shop", "cart"),
        cluster_ips: ips(&["10.96.0.7", "192.0.2.7"]),
        ports: vec![
            port("web", Protocol::Tcp, 80, Some(30080)),
            port("dns", Protocol::Udp, 53, None),
        ],
        ..Service::default()
    }));
    let targets = || {
        vec![
            port("web", Protocol::Tcp, 8080, None),
            port("dns", Protocol::Udp, 5353, None),
        ]
    };
    view.insert(slice("cart-a", targets(), &["10.244.1.5"], &["10.244.2.6"]));
    // A rollout that moves a named port: other endpoints, another number.
    let moved = vec![port("web", Protocol::Tcp, 9090, None)];
    view.insert(slice("cart-b", moved, &["10.244.1.7", "172.18.0.3"], &[]));
    view.insert(Object::Node(Node {
        name: "node-1".to_owned(),
        ips: ips(&["172.18.0.3"]),
        ..Node::default()
    }));
    view.insert(Object::from(pod("cart-0", &["10.244.1.5", "fd00::5"])));
    view
}

fn sockets(view: &View, name: &str, protocol: Option<Protocol>) -> String {
    match resolve(view, &name.parse().unwrap(), protocol) {
        Resolved::Members(members) => {
            let sockets = members.sockets.iter().map(ToString::to_string);
            sockets.chain(members.notes).collect::<Vec<_>>().join(" ")
        }
        other => format!("{other:?}"),
    }
}

#[test]
fn a_pod_is_its_addresses() {
    let view = shop();
    assert_eq!(sockets(&view, "shop/cart-0", None), "10.244.1.5 fd00::5");
    assert_eq!(
        sockets(&view, "shop/cart-0:8080", None),
        "10.244.1.5:8080 [fd00::5]:8080"
    );
    assert_eq!(sockets(&view, "shop/cart", None), "Unknown");
    assert_eq!(sockets(&view, "prod/cart-0", None), "Unknown");
}

#[test]
fn a_service_s_port_is_its_target_port_at_the_endpoints() {
    let view = shop();
    assert_eq!(
        sockets(&view, "svc/shop/cart:80", None),
        "10.96.0.7:80 10.244.1.5:8080 10.244.1.7:9090 10.244.2.6:8080 172.18.0.3:9090 \
         172.18.0.3:30080 192.0.2.7:80"
    );
    assert_eq!(
        sockets(&view, "svc/shop/cart:53", Some(Protocol::Udp)),
        "10.96.0.7:53 10.244.1.5:5353 10.244.2.6:5353 192.0.2.7:53"
    );
}

#[test]
fn without_a_port_it_is_any_but_at_a_node_s_address() {
    assert_eq!(
        sockets(&shop(), "svc/shop/cart", None),
        "10.96.0.7 10.244.1.5 10.244.1.7 10.244.2.6 172.18.0.3:9090 172.18.0.3:30080 192.0.2.7"
    );
}

#[test]
fn a_port_that_a_service_lacks_is_said() {
    let view = shop();
    assert_eq!(
        resolve(&view, &"svc/shop/cart:8080".parse().unwrap(), None),
        Resolved::NoSuchPort(
            "svc/shop/cart has no port 8080, but UDP 53 (dns), TCP 80 (web)".to_owned()
        )
    );
    assert_eq!(
        resolve(
            &view,
            &"svc/shop/cart:80".parse().unwrap(),
            Some(Protocol::Udp)
        ),
        Resolved::NoSuchPort(
            "svc/shop/cart has no UDP port 80, but UDP 53 (dns), TCP 80 (web)".to_owned()
        )
    );
}

#[test]
fn a_headless_service_is_its_endpoints() {
    let mut view = shop();
    let mut headless = view
        .service(&ObjectName::new("shop", "cart"))
        .unwrap()
        .clone();
    headless.cluster_ips.clear();
    headless.ports[0].node_port = None;
    view.insert(Object::Service(headless.clone()));
    assert_eq!(
        sockets(&view, "svc/shop/cart:80", None),
        "10.244.1.5:8080 10.244.1.7:9090 10.244.2.6:8080 172.18.0.3:9090"
    );
    for name in ["cart-a", "cart-b"] {
        view.remove(Kind::EndpointSlice, &ObjectName::new("shop", name));
    }
    assert_eq!(
        resolve(&view, &"svc/shop/cart:80".parse().unwrap(), None),
        Resolved::Nowhere("svc/shop/cart has neither an address nor an endpoint".to_owned())
    );
}

#[test]
fn what_cannot_be_known_is_said() {
    let mut view = View::default();
    view.insert(Object::Service(Service {
        id: ObjectName::new("shop", "cart"),
        cluster_ips: ips(&["10.96.0.7"]),
        ports: vec![port("", Protocol::Tcp, 80, Some(30080))],
        ..Service::default()
    }));
    let Resolved::Members(members) = resolve(&view, &"svc/shop/cart:80".parse().unwrap(), None)
    else {
        panic!("it has an address");
    };
    assert!(!members.complete);
    assert!(
        members.notes[0].contains("NodePorts"),
        "{:?}",
        members.notes
    );
    assert!(
        members.notes[1].contains("EndpointSlices"),
        "{:?}",
        members.notes
    );
}

#[test]
fn a_host_network_pod_is_where_its_node_is() {
    let mut view = shop();
    let mut agent = pod("agent", &[]);
    agent.host_network = true;
    agent.host_ips = ips(&["172.18.0.3"]);
    agent.node = Some("node-1".to_owned());
    view.insert(Object::from(agent));
    assert_eq!(
        sockets(&view, "shop/agent:9100", None),
        "172.18.0.3:9100 shop/agent has the address of node-1: every connection to this port there matches"
    );
    assert!(sockets(&view, "shop/agent", None).contains("give a port"));
}

#[test]
fn a_pod_may_have_no_address_yet_or_any_more() {
    let mut view = shop();
    view.insert(Object::from(pod("new", &[])));
    assert_eq!(
        sockets(&view, "shop/new", None),
        "Nowhere(\"shop/new has no address yet\")"
    );
    let mut job = pod("job", &["10.244.1.5"]);
    job.ended = true;
    view.insert(Object::from(job));
    assert!(sockets(&view, "shop/job", None).contains("has ended"));
}

#[test]
fn a_former_address_is_kept_until_it_is_another_s() {
    let mut cluster = Cluster::default();
    let source = Source::Api;
    let other = Change::Put(Box::new(Object::from(pod("other", &["10.244.1.9"]))));
    let former: BTreeSet<_> = ips(&["10.244.1.8", "10.244.1.9"])
        .into_iter()
        .map(|ip| Socket { ip, port: None })
        .collect();
    let id = ObjectName::new("shop", "cart-0");
    assert_eq!(not_taken(&cluster, |pod| pod.id == id, &former), former);
    cluster.apply(
        Update {
            source,
            change: other,
        },
        std::time::SystemTime::now(),
    );
    let kept = not_taken(&cluster, |pod| pod.id == id, &former);
    assert_eq!(
        kept.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["10.244.1.8"]
    );
}

#[test]
fn the_nearest_names_are_offered() {
    let view = shop();
    let id = |name| ObjectName::new("shop", name);
    assert_eq!(
        no_such(&view, Kind::Pod, &id("cart")),
        "there is no pod shop/cart; there is a Service: svc/shop/cart; the nearest names: \
         shop/cart-0"
    );
    assert_eq!(
        no_such(&view, Kind::Service, &id("card")),
        "there is no Service shop/card; the nearest names: shop/cart"
    );
    assert_eq!(
        no_such(&View::default(), Kind::Pod, &id("cart")),
        "there is no pod shop/cart, nor any other"
    );
}

proptest! {
    #[test]
    fn every_endpoint_is_at_each_target_of_an_asked_port(
        own: [u8; 4], endpoints in proptest::collection::btree_set(any::<[u8; 4]>(), 0..5),
        front in 1u16.., targets in proptest::collection::btree_set(1u16.., 1..3),
    ) {
        let mut view = View::default();
        let asked = port("", Protocol::Tcp, front, None);
        view.insert(Object::Service(Service {
            id: ObjectName::new("shop", "cart"),
            cluster_ips: vec![own.into()],
            ports: vec![asked],
            ..Service::default()
        }));
        let all: Vec<IpAddr> = endpoints.iter().map(|bytes| IpAddr::from(*bytes)).collect();
        for target in &targets {
            view.insert(Object::EndpointSlice(EndpointSlice {
                id: ObjectName::new("shop", target.to_string()),
                service: Some("cart".to_owned()),
                ports: vec![port("", Protocol::Tcp, *target, None)],
                backends: backends(&all, &[]),
            }));
        }
        view.declare(Kind::EndpointSlice);
        let name: Endpoint = format!("svc/shop/cart:{front}").parse().unwrap();
        let Resolved::Members(members) = resolve(&view, &name, None) else {
            panic!("it has an address");
        };
        let mut expected = BTreeSet::from([Socket { ip: own.into(), port: Some(front) }]);
        for ip in all {
            expected.extend(targets.iter().map(|port| Socket { ip, port: Some(*port) }));
        }
        prop_assert_eq!(members.sockets, expected);
        prop_assert!(members.complete && members.notes.is_empty());
    }
}
