//! Ports: those of the destination, on both sides.

use super::{
    super::*,
    cluster::{ask, miss, with},
};

fn ingress(ports: &str) -> String {
    format!("{{podSelector: {{}}, ingress: [{{ports: {ports}}}]}}")
}

fn lets(ports: &str, protocol: Protocol, port: u16) -> Option<bool> {
    let view = with(&[&ingress(ports)]);
    ask(&view, "shop/api", "shop/web", protocol, port).allowed
}

#[test]
fn an_absent_protocol_is_tcp_and_an_absent_port_is_every_one() {
    assert_eq!(lets("[{port: 80}]", Protocol::Tcp, 80), Some(true));
    assert_eq!(lets("[{port: 80}]", Protocol::Udp, 80), Some(false));
    assert_eq!(lets("[{protocol: UDP}]", Protocol::Udp, 7), Some(true));
    assert_eq!(lets("[{protocol: UDP}]", Protocol::Tcp, 7), Some(false));
    assert_eq!(
        lets("[{protocol: SCTP, port: 7}]", Protocol::Sctp, 7),
        Some(true)
    );
    assert_eq!(lets("[]", Protocol::Sctp, 7), Some(true));
}

#[test]
fn ranges_include_both_ends() {
    let range = "[{port: 9090, endPort: 9100}]";
    for (port, admitted) in [(9089, false), (9090, true), (9100, true), (9101, false)] {
        assert_eq!(lets(range, Protocol::Tcp, port), Some(admitted), "{port}");
    }
}

#[test]
fn names_are_those_of_the_destination() {
    assert_eq!(lets("[{port: http}]", Protocol::Tcp, 8080), Some(true));
    assert_eq!(lets("[{port: http}]", Protocol::Tcp, 80), Some(false));
    // `dns` is a UDP port there.
    assert_eq!(lets("[{port: dns}]", Protocol::Tcp, 53), Some(false));
    assert_eq!(
        lets("[{port: dns, protocol: UDP}]", Protocol::Udp, 53),
        Some(true)
    );
    let view =
        with(&["{podSelector: {}, policyTypes: [Egress], egress: [{ports: [{port: http}]}]}"]);
    let ask = |dst| ask(&view, "shop/api", dst, Protocol::Tcp, 8080).allowed;
    assert_eq!(ask("shop/web"), Some(true));
    assert_eq!(ask("203.0.113.9"), Some(false));
}

#[test]
fn egress_compares_the_destination_port_too() {
    let view =
        with(&["{podSelector: {}, policyTypes: [Egress], egress: [{ports: [{port: 443}]}]}"]);
    let ask = |port| ask(&view, "shop/web", "203.0.113.9", Protocol::Tcp, port).allowed;
    assert_eq!((ask(443), ask(444)), (Some(true), Some(false)));
}

#[test]
fn without_a_port_it_depends() {
    let judge = |ports: &str| {
        let view = with(&[&ingress(ports)]);
        let flow = Flow {
            src: super::cluster::end(&view, "shop/api"),
            dst: super::cluster::end(&view, "shop/web"),
            protocol: Protocol::Tcp,
            port: None,
        };
        evaluate(&view, &flow).allowed
    };
    assert_eq!(judge("[{port: 80}]"), None);
    assert_eq!(judge("[{protocol: TCP}]"), Some(true));
    assert_eq!(judge("[{protocol: UDP}]"), Some(false));
}

#[test]
fn the_nearest_miss_is_said_in_words() {
    let miss = |ports: &str, protocol, port| miss(&ingress(ports), "shop/api", protocol, port);
    let all = [
        miss(
            "[{port: 8080}, {port: 9090, endPort: 9100}]",
            Protocol::Tcp,
            8081,
        ),
        miss("[{port: 53}]", Protocol::Udp, 53),
        miss("[{port: 80, protocol: SCTP}]", Protocol::Udp, 53),
        miss("[{port: http}]", Protocol::Tcp, 80),
        miss("[{port: metrics}]", Protocol::Tcp, 80),
    ]
    .join("\n");
    insta::assert_snapshot!(all, @"
    admits the client, but port 8081 is not among 8080, 9090-9100
    admits the client, but TCP 53 is admitted, UDP 53 is not
    admits the client, but only SCTP is admitted, UDP is not
    admits the client, but port 80 is not among http (8080 on shop/web)
    admits the client, but port 80 is not among metrics (no TCP port of shop/web has that name)
    ");
}
