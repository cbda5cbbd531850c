//! What the running kernel's messages are read as, as root: `cargo test -- --ignored net::`.

use std::{net::IpAddr, process::Command};

use super::{Interface, Kind, Rule, RuleAction, Watch, netns::Namespace};
pub(crate) use super::{fdb::tests::fdb_entry, route::tests::route};

/// A rule for all packets of IPv4.
pub(crate) fn rule(table: u32) -> Rule {
    Rule {
        is_ipv4: true,
        priority: 0,
        from: None,
        to: None,
        input: None,
        output: None,
        mark: None,
        tos: 0,
        proto: None,
        sport: None,
        dport: None,
        uids: None,
        suppressed_prefix_len: None,
        asks_more: false,
        inverted: false,
        action: RuleAction::Lookup(table),
    }
}

#[tokio::test]
#[ignore = "needs root"]
async fn the_running_kernels_interfaces_are_read() {
    let name = format!("whydrop-kinds-{}", std::process::id());
    let ip = |arguments: &str| {
        let status = Command::new("ip").args(arguments.split(' ')).status();
        assert!(status.unwrap().success(), "ip {arguments}");
    };
    let inside = |arguments: &str| ip(&format!("-n {name} {arguments}"));
    ip(&format!("netns add {name}"));
    ip(&format!("netns add {name}-far"));
    let namespace = Namespace::named(&name).unwrap();
    let mut watch = Watch::start(&[namespace]).unwrap();
    inside("link add br0 type bridge");
    inside("link add up0 type veth peer name up1");
    inside("link set up0 mtu 1400 up");
    inside(&format!("link set up1 netns {name}-far"));
    inside("address add 10.9.0.1/24 dev up0");
    inside("route add default via 10.9.0.2");
    inside("link add pod0 master br0 type veth peer name pod1");
    inside("link add vx0 type vxlan id 42 local 10.9.0.1 dev up0 dstport 8472");
    let mut reported = 0;
    let uplink = |watch: &Watch| {
        let mut all = watch.inventory().iter();
        all.find(|one| one.is_uplink)
            .map(|one| one.link.name.clone())
    };
    let wait = std::time::Duration::from_secs(1);
    while let Ok(changes) = tokio::time::timeout(wait, watch.next()).await {
        reported += changes.unwrap().len();
    }
    let uplink = uplink(&watch);
    let find = |name: &str| -> Interface {
        let mut all = watch.inventory().iter();
        all.find(|one| one.link.name == name).cloned().unwrap()
    };
    let (up0, pod0, pod1, bridge, vxlan) = (
        find("up0"),
        find("pod0"),
        find("pod1"),
        find("br0"),
        find("vx0"),
    );
    ip(&format!("netns del {name}"));
    ip(&format!("netns del {name}-far"));
    assert!(reported >= 5);
    assert_eq!(uplink.as_deref(), Some("up0"));
    assert_eq!((up0.link.mtu, &up0.link.kind), (1400, &Kind::Veth));
    assert!(up0.addresses.contains(&IpAddr::from([10, 9, 0, 1])));
    assert!(up0.link.peer().is_some_and(|peer| peer.nsid.is_some()));
    assert!(matches!(bridge.link.kind, Kind::Bridge(_)));
    assert_eq!(pod0.link.master, Some(bridge.link.ifindex));
    assert_eq!(pod0.link.peer().unwrap().ifindex, pod1.link.ifindex);
    let tunnel = vxlan.link.vxlan().unwrap();
    assert_eq!((tunnel.vni, tunnel.port), (42, 8472));
    assert_eq!(tunnel.underlying, Some(up0.link.ifindex));
}

/// Every reader of the kernel's messages.
fn read_all(datagram: &[u8]) {
    for message in super::message::messages(datagram) {
        let _ = super::link::event(&message);
        let _ = super::address::event(&message);
        let _ = super::neighbor::entry(&message);
        let _ = super::route::read_any(&message);
        let _ = super::rule::rule(&message);
        let _ = super::qdisc::qdisc(&message);
        let _ = super::tc::filter(&message);
        let _ = super::sock_diag::socket(&message);
        let _ = super::conntrack::read(&message);
        let _ = super::conntrack_stats::read(&message);
        let _ = super::fdb::entry(&message, 1);
        let _ = super::bridge_fdb::entry(&message);
        let _ = super::vlan::vlans(&message);
        let _ = super::nft_rules::read(&message);
    }
}

/// Of this machine's own loopback, and of nothing: the corpus needs no root.
#[test]
fn fuzz_netlink() {
    use super::message::Request;

    let kinds = [
        libc::RTM_NEWLINK,
        libc::RTM_NEWADDR,
        libc::RTM_NEWNEIGH,
        libc::RTM_NEWROUTE,
        libc::RTM_NEWRULE,
        libc::RTM_NEWQDISC,
        libc::RTM_NEWTFILTER,
        20,
        256,
    ];
    // Attributes of all numbers, with values of the usual lengths, and nested once.
    let corpus = kinds.map(|kind| {
        let fill = |request: Request| {
            (1..64).fold(request, |request, number| {
                let length = [4, 1, 2, 8, 16, 6][usize::from(number) % 6];
                request.with(number, &vec![number as u8; length])
            })
        };
        let fixed = vec![2; 72];
        fill(Request::new(kind, &fixed)).nested(18, fill).bytes(0)
    });
    let corpus = corpus.each_ref().map(Vec::as_slice);
    crate::fuzz::run("netlink", &corpus, read_all);
}
