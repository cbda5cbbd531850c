//! Destinations with a role in the cluster: the API server, kubelets, nodes.

use super::*;

#[test]
fn the_api_server_and_the_kubelets_are_named_with_their_gates() {
    let cluster = cluster();
    let api = refined(Point::OffNode, &silence(&cluster, "10.0.0.5", 6443));
    assert!(api.evidence[0].contains("API server"), "{:?}", api.evidence);
    // A ClusterIP that left the node has met none of the gates.
    let untranslated = refined(Point::OffNode, &silence(&cluster, "10.96.0.1", 443));
    assert_eq!(rule(&untranslated), Some("service-untranslated"));
    let lines: Vec<_> = untranslated.fix.iter().map(Fix::line).collect();
    assert!(
        !lines.iter().any(|line| line.contains("authorized")),
        "{lines:?}"
    );
    assert!(
        api.fix
            .iter()
            .any(|fix| fix.line().contains("authorized IP ranges"))
    );
    let kubelet = refined(Point::OffNode, &silence(&cluster, "10.0.0.11", 10250));
    assert!(kubelet.evidence[0].contains("kubelet of node n1"));
    let other = refined(Point::OffNode, &silence(&cluster, "10.0.0.11", 80));
    assert_eq!(other, verdict(Point::OffNode));
}

#[test]
fn a_tunnel_s_far_end_is_named_by_its_node() {
    let cluster = cluster();
    let mut tunnelled = scene(&cluster, "10.244.1.4", 8080);
    tunnelled.outer = Some(Flow {
        proto: crate::model::Protocol::Udp,
        src: "10.0.0.12".parse().unwrap(),
        sport: Some(50000),
        dst: "10.0.0.11".parse().unwrap(),
        dport: Some(4789),
    });
    let verdict = refined(Point::Overlay, &tunnelled);
    assert!(
        verdict
            .evidence
            .contains(&"the VTEP 10.0.0.11 is node n1".to_owned())
    );
}
