//! What is known of the pod behind an address.

use super::*;

#[test]
fn a_closed_port_of_a_pod_that_does_not_run_says_so() {
    let mut cluster = cluster();
    let id = ObjectName::new("shop", "web");
    let mut web = cluster.view().pod(&id).unwrap().clone();
    web.ready = Some(false);
    web.problem = Some(crate::cluster::objects::ContainerProblem {
        container: "app".to_owned(),
        reason: "CrashLoopBackOff".to_owned(),
        since: Some(3600),
        restarts: 5,
    });
    web.container_ports = vec![(Protocol::Tcp, 8080), (Protocol::Tcp, 9090)];
    web.ports = vec![crate::cluster::objects::NamedPort {
        name: "http".to_owned(),
        protocol: Protocol::Tcp,
        port: 8080,
    }];
    let mut service = cluster.view().service(&id).unwrap().clone();
    service.ports[0].target = crate::cluster::objects::TargetPort::Number(8081);
    for object in [
        crate::cluster::view::Object::from(web),
        crate::cluster::view::Object::Service(service),
    ] {
        apply(&mut cluster, Change::Put(Box::new(object)));
    }
    let asked = Scene {
        asked_for: Some((scene(&cluster, "10.96.0.8", 80).dst, Some(80))),
        ..scene(&cluster, "10.244.1.2", 8081)
    };
    let found = refine(by_rule("closed-port", Point::Socket), &asked);
    assert_eq!(
        found.evidence[..2],
        [
            "shop/web is in CrashLoopBackOff since 01:00:00 UTC (container app, 5 restarts), not \
             ready",
            "Service shop/web sends port 80 to 8081; the containers of shop/web name 8080 (http) \
             and 9090"
        ]
    );
    // It stays a closed port, and a healthy pod's says no more.
    assert_eq!(
        (found.point, rule(&found)),
        (Point::Socket, Some("closed-port"))
    );
    let healthy = by_rule("closed-port", Point::Socket);
    assert_eq!(
        refine(healthy.clone(), &scene(&cluster, "10.244.1.4", 9)),
        healthy
    );
}

#[test]
fn an_address_that_was_another_pod_s_a_moment_ago_says_so() {
    let mut cluster = cluster();
    let id = ObjectName::new("shop", "cart");
    let mut heir = cluster.view().pod(&id).unwrap().clone();
    heir.id = ObjectName::new("shop", "heir");
    apply(&mut cluster, Change::Gone(Kind::Pod, id));
    let heir = crate::cluster::view::Object::from(heir);
    apply(&mut cluster, Change::Put(Box::new(heir)));
    let found = refined(Point::Endpoint, &scene(&cluster, "10.244.1.4", 80));
    assert!(
        found.evidence[0].starts_with("10.244.1.4 was shop/cart's until ")
            && found.evidence[0].ends_with(", and is shop/heir's now"),
        "{:?}",
        found.evidence
    );
    let other = refined(Point::Endpoint, &scene(&cluster, "10.244.1.2", 80));
    assert_eq!(other.evidence, ["a figure"]);
}
