//! Elements of `from` and `to`.

use super::{
    super::*,
    cluster::{ask, end, lets_in, miss, with},
};

fn from(elements: &str) -> String {
    format!("{{podSelector: {{}}, ingress: [{{from: {elements}}}]}}")
}

#[test]
fn one_element_is_and_and_two_are_or() {
    let both = from(
        "[{namespaceSelector: {matchLabels: {env: dev}}, podSelector: {matchLabels: {app: api}}}]",
    );
    assert_eq!(lets_in(&both, "test/api"), Some(true));
    assert_eq!(lets_in(&both, "shop/api"), Some(false));
    assert_eq!(lets_in(&both, "shop/probe"), Some(false));
    let either = from(
        "[{namespaceSelector: {matchLabels: {env: dev}}}, {podSelector: {matchLabels: {app: api}}}]",
    );
    assert_eq!(lets_in(&either, "test/api"), Some(true));
    assert_eq!(lets_in(&either, "shop/api"), Some(true));
    assert_eq!(lets_in(&either, "shop/probe"), Some(false));
}

#[test]
fn a_pod_selector_alone_means_the_own_namespace() {
    let spec = from("[{podSelector: {}}]");
    assert_eq!(lets_in(&spec, "shop/probe"), Some(true));
    assert_eq!(lets_in(&spec, "test/api"), Some(false));
    assert_eq!(lets_in(&spec, "203.0.113.9"), Some(false));
}

#[test]
fn an_unknown_namespace_is_undecidable_but_for_its_name() {
    let by_label = from("[{namespaceSelector: {matchLabels: {env: prod}}}]");
    assert_eq!(lets_in(&by_label, "nowhere/lost"), None);
    let by_name = |name: &str| {
        from(&format!(
            "[{{namespaceSelector: {{matchLabels: {{kubernetes.io/metadata.name: {name}}}}}}}]"
        ))
    };
    assert_eq!(lets_in(&by_name("nowhere"), "nowhere/lost"), Some(true));
    assert_eq!(lets_in(&by_name("shop"), "nowhere/lost"), Some(false));
    assert_eq!(
        lets_in(&from("[{namespaceSelector: {}}]"), "nowhere/lost"),
        Some(true)
    );
}

#[test]
fn blocks_hold_addresses_outside_and_leave_pods_open() {
    let spec = from("[{ipBlock: {cidr: 203.0.113.0/24, except: [203.0.113.128/25]}}]");
    assert_eq!(lets_in(&spec, "203.0.113.9"), Some(true));
    assert_eq!(lets_in(&spec, "203.0.113.200"), Some(false));
    assert_eq!(lets_in(&spec, "198.51.100.1"), Some(false));
    assert_eq!(lets_in(&spec, "shop/api"), Some(false));
    assert_eq!(
        lets_in(&from("[{ipBlock: {cidr: 10.0.0.0/8}}]"), "shop/api"),
        None
    );
    let v6 = from("[{ipBlock: {cidr: '2001:db8::/32'}}]");
    assert_eq!(lets_in(&v6, "2001:db8::7"), Some(true));
    assert_eq!(lets_in(&v6, "2001:db9::7"), Some(false));
    assert_eq!(lets_in(&v6, "203.0.113.9"), Some(false));
}

#[test]
fn a_pod_is_found_by_each_of_its_addresses_while_it_has_them() {
    let view = with(&["{podSelector: {}}"]);
    for address in ["10.1.0.2", "fd01::2", "::ffff:10.1.0.2"] {
        assert_eq!(
            end(&view, address).as_pod().map(|pod| pod.id.name.as_str()),
            Some("web")
        );
    }
    // It has ended, and its address is out of the range of a node's pods.
    let answer = ask(&view, "10.2.0.7", "203.0.113.9", Protocol::Tcp, 1);
    assert_eq!(answer.allowed, None);
    assert!(end(&view, "10.2.0.7").as_pod().is_none());
}

#[test]
fn the_nearest_miss_is_said_in_words() {
    let tcp = |spec: &str, src: &str| miss(spec, src, Protocol::Tcp, 8080);
    let all = [
        tcp(&from("[{podSelector: {matchLabels: {app: api}}}]"), "shop/probe"),
        tcp(&from("[{podSelector: {matchLabels: {app: api}}}]"), "test/api"),
        tcp(&from("[{namespaceSelector: {matchLabels: {env: dev}}}]"), "shop/api"),
        tcp(
            &from("[{namespaceSelector: {matchLabels: {env: prod}}, podSelector: {matchLabels: {app: api}}}]"),
            "shop/probe",
        ),
        tcp(
            &from("[{namespaceSelector: {matchLabels: {env: prod}}, podSelector: {matchLabels: {app: api}}}]"),
            "test/api",
        ),
        tcp(&from("[{ipBlock: {cidr: 0.0.0.0/0, except: [10.0.0.0/8]}}]"), "shop/api"),
        tcp(&from("[{podSelector: {}}, {ipBlock: {cidr: 192.0.2.0/24}}]"), "203.0.113.9"),
        tcp("{podSelector: {}}", "shop/api"),
    ]
    .join("\n");
    insta::assert_snapshot!(all, @"
    admits podSelector app=api in this namespace; the client is app=probe
    admits podSelector app=api in this namespace; the client is in namespace test
    admits every pod in namespaceSelector env=dev; the client is in namespace shop (env=prod)
    admits podSelector app=api in namespaceSelector env=prod: podSelector and namespaceSelector of one element must both match, and the namespace does, the pod doesn't; the client is app=probe
    admits podSelector app=api in namespaceSelector env=prod: podSelector and namespaceSelector of one element must both match, and the pod does, the namespace doesn't; the client is in namespace test (env=dev)
    admits ipBlock 0.0.0.0/0 except 10.0.0.0/8; the client 10.2.0.3 is among the exceptions
    admits ipBlock 192.0.2.0/24; the client is 203.0.113.9 (1 other peer)
    has no ingress rule and admits nothing
    ");
}
