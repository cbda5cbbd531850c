//! Records as a trace would make them, for the tests of the renderers.

pub(super) mod attempts;
mod paths;
mod probe;
mod summaries;

pub(super) use self::paths::lost_between;
pub(super) use self::probe::probe;
pub(super) use self::summaries::{flooded, nothing_seen, reported, summary};

use std::{
    net::IpAddr,
    time::{Duration, SystemTime},
};

use crate::model::{
    Confidence, DropReport, Fix, Flow, Hook, Layer, LayerResult, LayerRow, Lost, More, Outcome,
    Outer, Packet, Pod, Point, PolicyDirection, PolicyVerdict, Refuted, Report, Started, Summary,
    Tick, Verdict, VerdictCount, shell::Command,
};

/// 2026-03-01 09:41:07.312 UTC.
fn ts() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_millis(1_772_358_067_312)
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn flow(proto: &str, src: (&str, u16), dst: (&str, u16)) -> Flow {
    // Port 0 stands for none.
    let port = |port| Some(port).filter(|port| *port != 0);
    Flow {
        proto: proto.parse().expect("a protocol"),
        src: ip(src.0),
        sport: port(src.1),
        dst: ip(dst.0),
        dport: port(dst.1),
    }
}

fn packet(len: u32) -> Packet {
    Packet {
        len,
        tcp_flags: None,
        seq: None,
        gso_size: None,
        icmp: None,
        echo: None,
    }
}

fn tcp(len: u32, flags: &str) -> Option<Packet> {
    Some(Packet {
        tcp_flags: Some(flags.parse().expect("flags")),
        seq: Some(1_234_567_890),
        ..packet(len)
    })
}

fn strings(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

fn unknown() -> Verdict {
    Verdict::new(Point::Unknown, Confidence::Possible, "")
}

fn dropped(flow: Flow, packet: Option<Packet>, reason: &str) -> DropReport {
    DropReport {
        ts: ts(),
        flow,
        original_dst: None,
        outer: None,
        quoted: None,
        packet,
        reason: reason.into(),
        function: None,
        hook: None,
        ifname: None,
        netns: None,
        netns_name: None,
        count: 1,
        noise: false,
        corrects: None,
        src_pod: None,
        dst_pod: None,
        src_owner: None,
        dst_owner: None,
        stack: None,
        verdict: unknown(),
    }
}

fn pod(namespace: &str, name: &str) -> Option<Pod> {
    let (namespace, name) = (namespace.to_owned(), name.to_owned());
    Some(Pod {
        namespace,
        name,
        node: None,
        labels: [].into(),
    })
}

fn record(drop: DropReport) -> Report {
    Report::Drop(Box::new(drop))
}

/// A SYN that an nft rule in FORWARD dropped.
pub(super) fn syn() -> Report {
    record(syn_drop())
}

fn syn_drop() -> DropReport {
    DropReport {
        function: Some("nf_hook_slow".to_owned()),
        hook: Some(Hook::Forward),
        ifname: Some("veth7a1c".to_owned()),
        netns: Some(4_026_532_456),
        netns_name: Some("node".to_owned()),
        ..dropped(
            flow("tcp", ("10.244.1.5", 43_210), ("10.244.3.17", 443)),
            tcp(60, "S"),
            "NETFILTER_DROP",
        )
    }
}

/// The same, judged: named pods, more evidence than fits, a policy and a manifest.
pub(super) fn judged() -> Report {
    record(DropReport {
        src_pod: pod("shop", "web-7d9f8b6c5-x2x4z"),
        dst_pod: pod("shop", "cart-0"),
        verdict: Verdict {
            rule: Some("policy-enforced".into()),
            refuted: vec![Refuted {
                rule: "conntrack-full".into(),
                because: "812 of 262144 entries are in use".to_owned(),
            }],
            evidence: strings(&[
                "1 packet was dropped in FORWARD by the chain KUBE-POD-FW-XYZ",
                "10.244.3.17 belongs to shop/cart-0 since 08:12:44",
                "the counter of the rule rose by 1",
            ]),
            fix: vec![Fix::recorded(
                "kubectl -n shop apply -f - <<EOF\nkind: NetworkPolicy\nEOF".to_owned(),
            )],
            policy: Some(PolicyVerdict {
                direction: PolicyDirection::Ingress,
                pod: "shop/cart-0".to_owned(),
                policies: strings(&["shop/deny-all"]),
                missing: "from pods with app=web, port 443/TCP".to_owned(),
            }),
            ..Verdict::new(
                Point::Policy,
                Confidence::Confirmed,
                "the policy shop/deny-all isolates shop/cart-0, and no rule admits shop/web on \
                 port 443",
            )
        },
        ..syn_drop()
    })
}

/// A storm of UDP, folded.
pub(super) fn storm() -> Report {
    record(DropReport {
        function: Some("udp_queue_rcv_one_skb".to_owned()),
        ifname: Some("eth0".to_owned()),
        netns: Some(4_026_532_460),
        count: 20_412,
        verdict: Verdict {
            evidence: strings(&["the socket holds 212,992 of 212,992 bytes"]),
            fix: vec![Fix::command(Command::new(
                "sysctl -w net.core.rmem_max=8388608",
            ))],
            ..Verdict::new(
                Point::Socket,
                Confidence::Likely,
                "the receive buffer of port 514 is full",
            )
        },
        ..dropped(
            flow("udp", ("10.244.1.9", 50_000), ("10.244.3.20", 514)),
            Some(packet(1042)),
            "SOCKET_RCVBUFF",
        )
    })
}

/// A packet within VXLAN with an unknown VNI.
pub(super) fn vxlan() -> Report {
    record(DropReport {
        outer: Outer::new(
            Some(flow("udp", ("10.0.0.11", 53_211), ("10.0.0.12", 8472))),
            Some(7),
        ),
        function: Some("vxlan_rcv".to_owned()),
        ifname: Some("eth0".to_owned()),
        netns_name: Some("node".to_owned()),
        netns: Some(4_026_531_840),
        ..dropped(
            flow("tcp", ("10.244.1.5", 43_210), ("10.244.3.17", 443)),
            tcp(1500, "PA"),
            "VXLAN_VNI_NOT_FOUND",
        )
    })
}

/// A DNS query to a ClusterIP, dropped after DNAT.
pub(super) fn dnat() -> Report {
    record(DropReport {
        original_dst: Some((ip("10.96.0.10"), Some(53))),
        function: Some("ip_forward".to_owned()),
        ifname: Some("cni0".to_owned()),
        netns_name: Some("node".to_owned()),
        stack: Some(strings(&[
            "kfree_skb_reason",
            "ip_forward",
            "ip_rcv",
            "__netif_receive_skb",
        ])),
        ..dropped(
            flow("udp", ("10.244.1.5", 40_000), ("10.244.2.2", 53)),
            Some(packet(71)),
            "IP_OUTNOROUTES",
        )
    })
}

/// An ICMP error that asked a sender for smaller packets.
pub(super) fn icmp() -> Report {
    record(DropReport {
        quoted: Some(flow("tcp", ("10.244.3.17", 443), ("10.244.1.5", 43_210))),
        hook: Some(Hook::Input),
        function: Some("nf_hook_slow".to_owned()),
        ..dropped(
            flow("icmp", ("10.0.0.1", 0), ("10.244.3.17", 0)),
            Some(Packet {
                icmp: Some((3, 4)),
                ..packet(576)
            }),
            "NETFILTER_DROP",
        )
    })
}

/// Long addresses.
pub(super) fn ipv6() -> Report {
    record(DropReport {
        function: Some("ip6_pkt_discard".to_owned()),
        ..dropped(
            flow(
                "tcp",
                ("fd00:10:244:1:a8bb:ccff:fedd:ee01", 43_210),
                ("fd00:10:244:3:a8bb:ccff:fedd:ee17", 8443),
            ),
            tcp(80, "S"),
            "IP_OUTNOROUTES",
        )
    })
}

/// A drop on an interface of this name.
pub(crate) fn drop_on(name: &str) -> Report {
    record(DropReport {
        ifname: Some(name.to_owned()),
        ..syn_drop()
    })
}

/// The first record, on a kernel that lacks something.
pub(super) fn started() -> Report {
    Report::Started(Box::new(Started {
        node: Some("node-1".to_owned()),
        addresses: Vec::new(),
        complete: true,
        scope: None,
        ts: ts(),
        kernel: "6.1.0-28-amd64".to_owned(),
        interfaces: 12,
        hooks: strings(&["kfree_skb", "tcp_retransmit_skb"]),
        degraded: strings(&[
            "this kernel does not label drops of VXLAN, bridge and veth: their reason is \
             NOT_SPECIFIED",
        ]),
        filter: "any → 10.244.3.17:443 (tcp), both directions".to_owned(),
    }))
}

/// The first record of a trace of many namespaces.
pub(super) fn started_in_namespaces() -> Report {
    Report::Started(Box::new(Started {
        node: Some("node-1".to_owned()),
        addresses: Vec::new(),
        complete: true,
        scope: None,
        ts: ts(),
        kernel: "6.12.9".to_owned(),
        interfaces: 1,
        hooks: vec![],
        degraded: vec![],
        filter: "everything, in netns node-a, node-b, cni-5c2f8a5e-1b7d, cni-91c0e7f2-88aa, \
                 cni-3d5e6f70-0c1b"
            .to_owned(),
    }))
}

/// A loss.
pub(super) fn lost() -> Report {
    Report::Lost(Lost {
        ts: ts(),
        events: 1024,
        place: "the ring buffer".to_owned(),
    })
}

/// A trace with nothing to report.
pub(super) fn tick() -> Report {
    Report::Tick(Tick { ts: ts(), lost: 0 })
}

/// Drops that are too many to show each.
pub(super) fn more() -> Report {
    Report::More(More {
        ts: ts(),
        outcome: None,
        records: 4_312,
        count: 4_318,
        sources: 1_203,
        point: Some(Point::Firewall),
        rule: Some("netfilter".into()),
        why: Some("dropped by rule handle 2 of chain f in table inet t".to_owned()),
        isns: Vec::new(),
    })
}

/// One of each.
pub(crate) fn all() -> Vec<Report> {
    let mut all = vec![
        started(),
        started_in_namespaces(),
        syn(),
        judged(),
        storm(),
        vxlan(),
        dnat(),
        icmp(),
        ipv6(),
        lost(),
        tick(),
        more(),
        summary(),
        flooded(),
        reported(),
        nothing_seen(),
        lost_between(),
    ];
    all.extend(attempts::all());
    all
}
