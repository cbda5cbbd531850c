//! Nodes and hostNetwork pods: policies do not isolate them, and see them as they like.

use super::{
    super::*,
    cluster::{ask, with},
};

const DENY: &str = "{podSelector: {}, policyTypes: [Ingress, Egress]}";

fn judge(spec: &str, src: &str, dst: &str) -> Option<bool> {
    ask(&with(&[spec]), src, dst, Protocol::Tcp, 8080).allowed
}

#[test]
fn the_own_node_is_always_let_in() {
    assert_eq!(judge(DENY, "192.168.0.1", "shop/web"), Some(true));
    assert_eq!(judge(DENY, "192.168.0.2", "shop/web"), Some(false));
    assert_eq!(judge(DENY, "shop/agent", "shop/web"), Some(false));
    // The agent is on n2, whose pod `api` is.
    assert_eq!(judge(DENY, "shop/agent", "shop/api"), Some(true));
}

#[test]
fn a_pod_reaches_itself() {
    assert_eq!(judge(DENY, "shop/web", "shop/web"), Some(true));
}

#[test]
fn a_host_network_pod_is_not_isolated() {
    let side = ask(
        &with(&[DENY]),
        "203.0.113.9",
        "shop/agent",
        Protocol::Tcp,
        1,
    )
    .ingress;
    assert_eq!((side.outcome, side.pod), (Outcome::NotIsolated, None));
}

#[test]
fn whether_selectors_see_host_network_pods_is_undecided() {
    let api = "{podSelector: {}, ingress: [{from: [{podSelector: {matchLabels: {app: api}}}]}]}";
    for src in ["shop/agent", "192.168.0.2"] {
        assert_eq!(judge(api, src, "shop/web"), None, "{src}");
    }
    let web = "{podSelector: {}, ingress: [{from: [{podSelector: {matchLabels: {app: web}}}]}]}";
    assert_eq!(judge(web, "shop/agent", "shop/web"), Some(false));
    let block = "{podSelector: {}, ingress: [{from: [{ipBlock: {cidr: 192.168.0.0/24}}]}]}";
    assert_eq!(judge(block, "192.168.0.2", "shop/web"), Some(true));
    assert_eq!(judge(block, "shop/agent", "shop/web"), None);
}

#[test]
fn the_way_to_the_own_node_is_the_implementations_choice() {
    assert_eq!(judge(DENY, "shop/web", "192.168.0.1"), None);
    assert_eq!(judge(DENY, "shop/web", "192.168.0.2"), Some(false));
}
