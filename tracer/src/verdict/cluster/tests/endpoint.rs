//! Services without a usable endpoint, and addresses that are stale.

use super::*;

#[test]
fn a_service_without_endpoints_says_what_its_selector_matches() {
    let cluster = cluster();
    for point in [Point::Endpoint, Point::Unknown] {
        let verdict = refined(point, &silence(&cluster, "10.96.0.7", 80));
        assert_eq!(verdict.point, Point::Endpoint);
        let fact = "Service shop/pay selects app=pay, which matches no pod in shop";
        // The labels of the other pods are are not a misspelling, but different ones.
        assert_eq!(verdict.evidence[0], fact);
    }
    let healthy = refined(Point::Unknown, &silence(&cluster, "10.96.0.8", 80));
    assert_eq!(healthy.point, Point::Unknown);
}

#[test]
fn an_address_that_was_a_pod_s_is_a_stale_endpoint() {
    let mut cluster = cluster();
    let id = ObjectName::new("shop", "cart");
    apply(&mut cluster, Change::Gone(Kind::Pod, id));
    let verdict = refined(Point::OffNode, &silence(&cluster, "10.244.1.4", 80));
    assert_eq!(
        (verdict.point, verdict.confidence),
        (Point::Endpoint, Confidence::Likely)
    );
    assert!(
        verdict
            .why
            .contains("was the address of pod shop/cart, which has been gone since"),
        "{}",
        verdict.why
    );
    let vacant = refined(Point::Unknown, &silence(&cluster, "10.244.1.99", 80));
    assert_eq!(
        (vacant.point, vacant.confidence),
        (Point::Endpoint, Confidence::Possible)
    );
}

#[test]
fn dnat_to_an_address_that_is_no_endpoint_is_stale() {
    let cluster = cluster();
    let asked_for = |ip: &str, port| {
        let end = End {
            ip: ip.parse().unwrap(),
            port: Some(port),
            protocol: Some(Protocol::Tcp),
            at: SystemTime::now(),
            asked: true,
        };
        Some((cluster.name(&end), Some(port)))
    };
    // By the Service's own address, and by its NodePort.
    for (ip, port) in [("10.96.0.8", 80), ("10.0.0.11", 30080)] {
        let stale = Scene {
            asked_for: asked_for(ip, port),
            ..silence(&cluster, "10.244.1.4", 8080)
        };
        let verdict = refined(Point::Unknown, &stale);
        assert_eq!(verdict.point, Point::Endpoint);
        assert!(
            verdict
                .why
                .contains("is no ready endpoint of Service shop/web (1 is ready)"),
            "{}",
            verdict.why
        );
    }
    let right = Scene {
        asked_for: asked_for("10.96.0.8", 80),
        arrived: true,
        ..silence(&cluster, "10.244.1.2", 8080)
    };
    assert_eq!(refined(Point::Unknown, &right).point, Point::Unknown);
}

#[test]
fn a_cluster_ip_that_leaves_the_node_is_no_route_s_fault() {
    let mut cluster = cluster();
    let routed = |cluster: &Cluster, dst: &str, port| {
        let scene = Scene {
            outcome: Some(Outcome::Rejected),
            ..scene(cluster, dst, port)
        };
        refine(by_rule("rejected", Point::Route), &scene)
    };
    let none = routed(&cluster, "10.96.0.7", 80);
    assert_eq!(
        (none.point, none.confidence),
        (Point::Endpoint, Confidence::Confirmed)
    );
    assert!(
        none.why.contains("shop/pay has no ready endpoint"),
        "{}",
        none.why
    );
    let port = routed(&cluster, "10.96.0.8", 8080);
    assert_eq!(rule(&port), Some("service-untranslated"));
    assert!(
        port.why
            .contains("svc/shop/web has no TCP port 8080, but TCP 80"),
        "{}",
        port.why
    );
    let unassigned = routed(&cluster, "10.96.0.9", 80);
    assert!(
        unassigned
            .why
            .contains("no Service has the address 10.96.0.9"),
        "{}",
        unassigned.why
    );
    let unwritten = routed(&cluster, "10.96.0.8", 80);
    assert_eq!(
        (unwritten.point, unwritten.confidence),
        (Point::Endpoint, Confidence::Likely)
    );
    assert!(
        unwritten.why.contains("did not translate it"),
        "{}",
        unwritten.why
    );
    // The router's error does not matter: neither its firewall nor a missing host is the cause.
    for point in [Point::Firewall, Point::Endpoint] {
        let rejected = |dst, port| {
            let scene = Scene {
                outcome: Some(Outcome::Rejected),
                ..scene(&cluster, dst, port)
            };
            refine(by_rule("rejected", point), &scene)
        };
        for (dst, port) in [("10.96.0.8", 8080), ("10.96.0.9", 80), ("10.96.0.8", 80)] {
            let verdict = rejected(dst, port);
            assert_eq!(rule(&verdict), Some("service-untranslated"), "{verdict:?}");
        }
        assert_eq!(rejected("10.97.0.9", 80).point, point);
    }
    // An address outside, and a Service's that was translated, stay what they are.
    assert_eq!(routed(&cluster, "10.97.0.9", 80).point, Point::Route);
    let translated = Scene {
        asked_for: Some((scene(&cluster, "10.96.0.8", 80).dst, Some(80))),
        outcome: Some(Outcome::Rejected),
        ..scene(&cluster, "10.244.1.2", 8080)
    };
    assert_eq!(
        refine(by_rule("rejected", Point::Route), &translated).point,
        Point::Route
    );
    // Its endpoint is on another node, and it may not go there.
    let mut local = cluster
        .view()
        .service(&ObjectName::new("shop", "web"))
        .unwrap()
        .clone();
    local.internal_local = true;
    let mut slice = crate::cluster::objects::EndpointSlice {
        id: ObjectName::new("shop", "web-1"),
        service: Some("web".to_owned()),
        ports: vec![local.ports[0].clone()],
        backends: vec![crate::cluster::objects::Backend {
            ip: "10.244.2.9".parse().unwrap(),
            ready: true,
            node: Some("n2".to_owned()),
        }],
    };
    slice.ports[0].port = 8080;
    for object in [
        crate::cluster::view::Object::Service(local),
        crate::cluster::view::Object::EndpointSlice(slice),
    ] {
        apply(&mut cluster, Change::Put(Box::new(object)));
    }
    let elsewhere = routed(&cluster, "10.96.0.8", 80);
    assert!(
        elsewhere.why.contains("no endpoint on node n1 (internalTrafficPolicy: Local); its endpoint is 10.244.2.9 on n2"),
        "{}",
        elsewhere.why
    );
    // kube-proxy's own rule says the same.
    let by_kube_proxy = refine(
        by_rule("netfilter", Point::Endpoint),
        &scene(&cluster, "10.96.0.8", 80),
    );
    assert_eq!(rule(&by_kube_proxy), Some("no-local-endpoint"));
    assert!(
        by_kube_proxy.why.contains("no endpoint on this node"),
        "{}",
        by_kube_proxy.why
    );
    let fix = by_kube_proxy.fix[1].line();
    assert!(fix.contains("patch service web"), "{fix}");
}

#[test]
fn an_endpoint_on_this_node_contradicts_a_rule_that_finds_none() {
    let mut cluster = cluster();
    let id = ObjectName::new("shop", "web");
    let mut local = cluster.view().service(&id).unwrap().clone();
    local.internal_local = true;
    let backend = |node: Option<&str>| crate::cluster::objects::Backend {
        ip: "10.244.1.2".parse().unwrap(),
        ready: true,
        node: node.map(ToOwned::to_owned),
    };
    let slice = |backends| crate::cluster::objects::EndpointSlice {
        id: ObjectName::new("shop", "web-1"),
        service: Some("web".to_owned()),
        ports: vec![crate::cluster::objects::ServicePort {
            port: 8080,
            ..local.ports[0].clone()
        }],
        backends,
    };
    let service = crate::cluster::view::Object::Service(local.clone());
    apply(&mut cluster, Change::Put(Box::new(service)));
    for (nodes, is_local) in [
        (vec![Some("n2")], true),
        (vec![Some("n2"), Some("n1")], false),
        (vec![None], false),
    ] {
        let backends = nodes.into_iter().map(backend).collect();
        let slice = crate::cluster::view::Object::EndpointSlice(slice(backends));
        apply(&mut cluster, Change::Put(Box::new(slice)));
        let by_rule = by_rule("netfilter", Point::Endpoint);
        let found = refine(by_rule, &scene(&cluster, "10.96.0.8", 80));
        let is_found = rule(&found) == Some("no-local-endpoint");
        assert_eq!(is_found, is_local, "{}", found.why);
    }
}
