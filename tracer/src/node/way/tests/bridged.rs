//! Two pods behind a bridge.

use super::table::{Node, flow};
use crate::{
    model::Hook,
    node::{
        way::{Act, Start},
        world::{
            FdbEntry, FdbKind, Kind,
            build::{Build, id},
            settings::Settings,
        },
    },
};

const A: &str = "10.0.1.2";
const B: &str = "10.0.1.3";

fn bridged(nf_call: Option<u64>) -> Node {
    let mut build = Build::two_pods();
    for netns in [1, 2, 3] {
        build.link(id(netns, 9), "lo", Kind::Loopback);
    }
    build.world.namespaces.get_mut(&1).unwrap().settings = Some(Settings {
        bridge_nf_call_iptables: nf_call,
        ..Settings::default()
    });
    let mut node = Node::new(build);
    for pod in [2, 3] {
        node.route(pod, "10.0.1.0/24", 2, None);
        node.route(pod, "0.0.0.0/0", 2, Some("10.0.1.1"));
    }
    node.route(1, "10.0.1.0/24", 1, None);
    node
}

fn end(node: &Node) -> String {
    node.end(Start::Sent(2), A, B)
}

const DELIVERED: &str = "delivered in network namespace n3, through eth0";

#[test]
fn a_bridge_passes_frames() {
    let node = bridged(None);
    assert_eq!(end(&node), DELIVERED);
    assert_eq!(node.end(Start::In(id(1, 2)), A, B), DELIVERED);
    let way = node.walk(Start::Sent(2), A, B);
    let hooks = way
        .steps
        .iter()
        .filter(|step| step.netns == 1 && matches!(step.act, Act::Passed(_) | Act::Translated(..)));
    assert_eq!(hooks.count(), 0);
    let to_bridge = node.end(Start::Sent(2), A, "10.0.1.1");
    assert_eq!(to_bridge, "delivered in network namespace n1, through cni0");
    assert_eq!(node.end(Start::Sent(1), "10.0.1.1", B), DELIVERED);
}

#[test]
fn rules_meet_bridged_packets_where_the_bridge_calls_them() {
    for hook in [Hook::Prerouting, Hook::Forward, Hook::Postrouting] {
        let mut node = bridged(Some(0));
        node.drops(1, hook);
        assert_eq!(end(&node), DELIVERED);
        let mut node = bridged(Some(1));
        node.drops(1, hook);
        assert_eq!(
            end(&node),
            format!("dropped: {} drops it: a rule", hook.name())
        );
    }
}

#[test]
fn a_service_of_the_pod_itself_takes_hairpin_mode() {
    let mut node = bridged(Some(1));
    node.dnat(1, Hook::Prerouting, &flow("10.0.1.1", "10.9.0.1"), &[A]);
    let service = |node: &Node| node.end(Start::Sent(2), A, "10.9.0.1");
    assert_eq!(
        service(&node),
        "dropped at va of network namespace n1: the frame would have to leave through va, where it came \
         in, and hairpin mode of va is off"
    );
    node.build.port(id(1, 2), 1).hairpin = true;
    assert_eq!(
        service(&node),
        "delivered in network namespace n2, through eth0"
    );
}

#[test]
fn a_veth_without_a_master_is_not_reached() {
    let mut node = bridged(None);
    node.build.at(id(1, 3)).port = None;
    node.build.at(id(1, 3)).master = None;
    assert_eq!(
        end(&node),
        "dropped at eth0 of network namespace n2: ARP requests for 10.0.1.3 get no answer at eth0; \
         10.0.1.3 is an address of eth0 of network namespace n3, but vb of network namespace n1 is a port \
         of no bridge"
    );
}

#[test]
fn a_frame_goes_where_the_fdb_says() {
    let mut node = bridged(None);
    let mac = node.build.at(id(3, 2)).mac.clone().unwrap();
    let entry = |ifindex, kind| FdbEntry {
        bridge: 1,
        ifindex,
        mac: mac.clone(),
        vlan: None,
        kind,
    };
    let set = |node: &mut Node, entry| {
        node.build.world.namespaces.get_mut(&1).unwrap().fdb = Some(vec![entry]);
        end(node)
    };
    assert_eq!(set(&mut node, entry(3, FdbKind::Learned)), DELIVERED);
    assert_eq!(
        set(&mut node, entry(2, FdbKind::Learned)),
        "dropped at va of network namespace n1: the frame would have to leave through va, where it came \
         in, and hairpin mode of va is off"
    );
    node.build.at(id(1, 3)).mac = Some(mac.clone());
    assert_eq!(
        set(&mut node, entry(3, FdbKind::Own)),
        "dropped at cni0 of network namespace n1: the bridge cni0 takes frames to \
         02:00:00:03:00:02 for its own: vb has the same address"
    );
}

#[test]
fn a_rule_may_drop_the_question() {
    let mut node = bridged(Some(1));
    let settings = node.build.world.namespaces.get_mut(&1).unwrap();
    let settings = settings.settings.as_mut().unwrap();
    settings.bridge_nf_call_ip6tables = Some(1);
    for pod in [2, 3] {
        node.build.address(id(pod, 2), &format!("fd00::{pod}"));
        node.route(pod, "fd00::/64", 2, None);
    }
    let end = |node: &Node| node.end(Start::Sent(2), "fd00::2", "fd00::3");
    assert_eq!(end(&node), DELIVERED);
    node.drops(1, Hook::Forward);
    assert_eq!(
        end(&node),
        "dropped at eth0 of network namespace n2: Neighbor Solicitations for fd00::3 get no answer \
         at eth0; FORWARD of network namespace n1 drops the question: a rule; fd00::3 is an \
         address of eth0 of network namespace n3"
    );
}
