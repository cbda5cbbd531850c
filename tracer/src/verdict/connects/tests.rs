use std::net::IpAddr;

use super::*;
use crate::{
    decode::connect::ConnectKind,
    model::Confidence,
    net::{RouteKey, tests::route},
    node::route::Lookup,
};

fn failed(error: ConnectError) -> FailedConnect {
    FailedConnect {
        at: 0,
        flow: tracer_common::tuple::Tuple::default(),
        about: ConnectKind {
            src: None,
            sport: None,
            dst: IpAddr::from([10, 0, 0, 9]),
            dport: 443,
            netns: 1,
            error,
            by_program: false,
            mark: 0,
            ifindex: 0,
            comm: "curl".to_owned(),
        },
        pid: 42,
    }
}

fn with_answer(answer: Result<crate::net::Route, Refusal>) -> ConnectFacts {
    ConnectFacts {
        route: Some(Lookup {
            packet: RouteKey::to(IpAddr::from([10, 0, 0, 9])),
            answer,
            matched: None,
            blocking: Vec::new(),
        }),
        ..ConnectFacts::default()
    }
}

fn with_ports(connected: usize) -> ConnectFacts {
    ConnectFacts {
        ports: Some(Ports {
            range: (50000, 50009),
            connected,
        }),
        ..ConnectFacts::default()
    }
}

fn judged(failed: &FailedConnect, facts: &ConnectFacts) -> (String, Point, Confidence) {
    let verdict = judge(failed, facts);
    let rule = verdict.rule.map(|rule| rule.as_str().to_owned());
    (rule.unwrap_or_default(), verdict.point, verdict.confidence)
}

#[test]
fn a_route_is_missing_if_the_kernel_says_so_still() {
    let gone = failed(ConnectError::NoRoute);
    let found = judged(&gone, &with_answer(Err(Refusal::NoRoute)));
    assert_eq!(
        found,
        ("connect-no-route".to_owned(), Point::Route, Confirmed)
    );
    // It has come since.
    let found = judged(&gone, &with_answer(Ok(route("10.0.0.0/8", "eth0"))));
    assert_eq!(found.2, Likely);
    let found = judged(&gone, &ConnectFacts::default());
    assert_eq!(found.2, Likely);
}

#[test]
fn an_invalid_argument_is_no_blackhole_without_one() {
    let invalid = failed(ConnectError::Invalid);
    let found = judged(&invalid, &with_answer(Ok(route("10.0.0.0/8", "eth0"))));
    assert_eq!(found.1, Point::Unknown);
    let found = judged(&invalid, &with_answer(Err(Refusal::Blackhole)));
    assert_eq!((found.1, found.2), (Point::Route, Confirmed));
    let mut bound = failed(ConnectError::Invalid);
    bound.about.src = Some(IpAddr::from([10, 9, 9, 9]));
    let facts = ConnectFacts {
        has_source: Some(false),
        ..with_answer(Err(Refusal::Other(22)))
    };
    assert_eq!(judged(&bound, &facts).0, "connect-no-source");
}

#[test]
fn ports_are_used_up_if_half_of_them_are_taken() {
    let full = failed(ConnectError::NoAddress);
    let found = judged(&full, &with_ports(5));
    assert_eq!(
        found,
        ("connect-no-port".to_owned(), Point::Socket, Confirmed)
    );
    assert_eq!(judged(&full, &with_ports(1)).2, Likely);
    let mut ipv6 = failed(ConnectError::NoAddress);
    ipv6.about.dst = "fd00::9".parse().expect("an address");
    // No source address, it may be.
    assert_eq!(judged(&ipv6, &with_ports(1)).1, Point::Unknown);
    assert_eq!(judged(&ipv6, &with_ports(9)).1, Point::Socket);
}

#[test]
fn a_program_refuses_with_whatever_error() {
    for error in [
        ConnectError::NotPermitted,
        ConnectError::NoRoute,
        ConnectError::NoAddress,
    ] {
        let mut refused = failed(error);
        refused.about.by_program = true;
        let found = judged(&refused, &ConnectFacts::default());
        assert_eq!(
            found,
            ("connect-program".to_owned(), Point::Firewall, Confirmed)
        );
    }
}

#[test]
fn another_error_is_named() {
    let verdict = judge(&failed(ConnectError::Other(105)), &ConnectFacts::default());
    assert_eq!(verdict.point, Point::Unknown);
    assert!(verdict.evidence[0].contains("ENOBUFS"), "{verdict:?}");
}
