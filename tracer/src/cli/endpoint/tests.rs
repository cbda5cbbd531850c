//! Every form of the contract, and every way to get it wrong.

use proptest::prelude::*;

use super::*;

fn parse(text: &str) -> Endpoint {
    text.parse()
        .unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn error(text: &str) -> String {
    match text.parse::<Endpoint>() {
        Ok(endpoint) => panic!("{text} was taken as {endpoint:?}"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn every_form_of_the_contract_is_read_and_written_alike() {
    for text in [
        "10.244.3.17",
        "10.244.3.17:443",
        "fd00::7",
        "[fd00::7]:443",
        "10.244.0.0/16",
        "10.244.0.0/16:443",
        "fd00::/64",
        "[fd00::/64]:443",
        "0.0.0.0/0",
        "::/0",
        "::",
        "::1",
        ":443",
        "shop/cart",
        "shop/cart:8080",
        "10/20",
        "shop/cart-0.v2:8080",
        "svc/shop/cart:80",
        "svc/shop/cart",
        "svc/cart",
        "deploy/shop/cart",
        "deploy/shop/cart:8080",
        "sts/shop/db:5432",
        "ds/kube-system/agent",
        "deploy/cart",
    ] {
        assert_eq!(parse(text).to_string(), text);
    }
}

#[test]
fn other_spellings_become_the_usual_one() {
    assert_eq!(parse("[fd00::7]").to_string(), "fd00::7");
    assert_eq!(parse("fd00::/64:443").to_string(), "[fd00::/64]:443");
    assert_eq!(parse("10.244.3.17/16").to_string(), "10.244.0.0/16");
    assert_eq!(parse("10.244.3.17/32").to_string(), "10.244.3.17");
    assert_eq!(parse("::ffff:10.0.0.1").to_string(), "10.0.0.1");
    assert_eq!(parse("deployment/a/b").to_string(), "deploy/a/b");
    assert_eq!(parse("statefulsets/a/b").to_string(), "sts/a/b");
    assert_eq!(parse("[::ffff:10.0.0.1]:80").to_string(), "10.0.0.1:80");
}

#[test]
fn the_left_part_distinguishes_a_prefix_from_a_pod() {
    assert!(matches!(parse("10.0.0.0/16"), Endpoint::Net { .. }));
    assert!(matches!(parse("shop/cart"), Endpoint::Pod { .. }));
    assert!(matches!(parse("10/16"), Endpoint::Pod { .. }));
    assert!(error("10.0.0/16").starts_with("`10.0.0` has 3 numbers, not 4"));
    assert!(error("10.0.0.0/cart").starts_with("`cart` is not a prefix length"));
}

#[test]
fn errors_say_what_was_expected() {
    let all = [
        "",
        " ",
        "10.244.3.300:443",
        "10.244.3",
        "10.244.3.017",
        "10.244.3.17:0",
        "10.244.3.17:70000",
        "10.244.3.17:+80",
        "10.244.3.17:",
        ":",
        ":http",
        "10.244.0.0/33",
        "10.244.0.0/",
        "fd00::/129",
        "fd00::7:65000",
        "1:2:3:4:5:6:7:8:443",
        "fd00::g",
        "fe80::1%eth0",
        "[fd00::7",
        "[fd00::7]443",
        "[10.0.0.1]:80",
        "cart",
        "example.com:443",
        "Shop/cart",
        "shop/",
        "shop/-cart",
        "svc/shop/",
        "pod/shop/cart",
    ]
    .map(|text| format!("{text:20} {}", error(text)))
    .join("\n");
    insta::assert_snapshot!(all, @"
                         expected an endpoint, such as 10.244.3.17:443 or shop/cart:8080
                         expected an endpoint, such as 10.244.3.17:443 or shop/cart:8080
    10.244.3.300:443     `300` is not a number from 0 to 255; expected an IPv4 address, such as 10.244.3.17
    10.244.3             `10.244.3` has 3 numbers, not 4; expected an IPv4 address, such as 10.244.3.17
    10.244.3.017         `10.244.3.017` has a number with a leading zero; expected an IPv4 address, such as 10.244.3.17
    10.244.3.17:0        `0` is not a port; expected a number from 1 to 65535, such as 10.244.3.17:443
    10.244.3.17:70000    `70000` is not a port; expected a number from 1 to 65535, such as 10.244.3.17:443
    10.244.3.17:+80      `+80` is not a port; expected a number from 1 to 65535, such as 10.244.3.17:443
    10.244.3.17:         `` is not a port; expected a number from 1 to 65535, such as 10.244.3.17:443
    :                    `` is not a port; expected a number from 1 to 65535, such as 10.244.3.17:443
    :http                `http` is not a port; expected a number from 1 to 65535, such as 10.244.3.17:443
    10.244.0.0/33        `33` is not a prefix length; expected a number from 0 to 32, such as 10.244.0.0/16
    10.244.0.0/          `` is not a prefix length; expected a number from 0 to 32, such as 10.244.0.0/16
    fd00::/129           `129` is not a prefix length; expected a number from 0 to 128, such as fd00:10:244::/56
    fd00::7:65000        an IPv6 address with a port needs brackets: [fd00::7]:65000
    1:2:3:4:5:6:7:8:443  an IPv6 address with a port needs brackets: [1:2:3:4:5:6:7:8]:443
    fd00::g              `fd00::g` is not an IPv6 address; expected one such as fd00::7, or [fd00::7]:443 with a port
    fe80::1%eth0         an address cannot name an interface; omit `%eth0`, and use --netns to restrict the trace
    [fd00::7             expected an IPv6 address in brackets and a port, such as [fd00::7]:443
    [fd00::7]443         expected an IPv6 address in brackets and a port, such as [fd00::7]:443
    [10.0.0.1]:80        expected an IPv6 address in brackets and a port, such as [fd00::7]:443
    cart                 expected an address (10.244.3.17:443), a prefix (10.244.0.0/16), a port (:443), a pod with its namespace (shop/cart:8080), a Service (svc/shop/cart:80) or a workload (deploy/shop/cart:8080)
    example.com:443      expected an address (10.244.3.17:443), a prefix (10.244.0.0/16), a port (:443), a pod with its namespace (shop/cart:8080), a Service (svc/shop/cart:80) or a workload (deploy/shop/cart:8080)
    Shop/cart            `Shop` is not a namespace: expected lowercase letters, digits and `-`, such as shop/cart:8080
    shop/                `` is not a pod name: expected lowercase letters, digits and `-`, such as shop/cart:8080
    shop/-cart           `-cart` is not a pod name: expected lowercase letters, digits and `-`, such as shop/cart:8080
    svc/shop/            `` is not a Service name: expected lowercase letters, digits and `-`, such as svc/shop/cart:80
    pod/shop/cart        expected an address (10.244.3.17:443), a prefix (10.244.0.0/16), a port (:443), a pod with its namespace (shop/cart:8080), a Service (svc/shop/cart:80) or a workload (deploy/shop/cart:8080)
    ");
}

fn name() -> impl Strategy<Value = String> {
    "[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?"
}

fn endpoint() -> impl Strategy<Value = Endpoint> {
    let port = || proptest::option::of(1..=u16::MAX);
    prop_oneof![
        (any::<u32>(), 0..=32u8, port()).prop_map(|(ip, length, port)| {
            let ip = IpAddr::from(ip.to_be_bytes());
            Endpoint::from_net(IpNet::new(ip, length).expect("within 32"), port)
        }),
        (any::<u128>(), 0..=128u8, port()).prop_map(|(ip, length, port)| {
            let ip = IpAddr::from(ip.to_be_bytes());
            Endpoint::from_net(IpNet::new(ip, length).expect("within 128"), port)
        }),
        (1..=u16::MAX).prop_map(Endpoint::Port),
        (name(), name(), port()).prop_map(|(namespace, name, port)| Endpoint::Pod {
            namespace,
            name,
            port
        }),
        (name(), name(), port()).prop_map(|(namespace, name, port)| Endpoint::Service {
            namespace,
            name,
            port
        }),
        (name(), name(), port()).prop_map(|(namespace, name, port)| Endpoint::Workload {
            workload: Workload {
                kind: WorkloadKind::StatefulSet,
                id: ObjectName::new(namespace, name),
            },
            port
        }),
    ]
}

proptest! {
    #[test]
    fn no_input_makes_the_parser_panic(text in ".*") {
        let _ = text.parse::<Endpoint>();
    }

    #[test]
    fn no_address_like_input_does_either(text in "(svc/)?[\\[\\]0-9a-f:./%+]{0,30}") {
        if let Ok(endpoint) = text.parse::<Endpoint>() {
            prop_assert_eq!(endpoint.to_string().parse(), Ok(endpoint));
        }
    }

    #[test]
    fn what_is_written_is_read_again(endpoint in endpoint()) {
        prop_assert_eq!(endpoint.to_string().parse(), Ok(endpoint));
    }
}

/// What a user types, or a script makes of a name.
#[test]
fn fuzz_endpoint() {
    let corpus: [&[u8]; 8] = [
        b"10.244.3.17:443",
        b"[fd00::/64]:443",
        b"10.244.0.0/16",
        b":443",
        b"shop/cart:8080",
        b"svc/shop/cart:80",
        b"deploy/shop/web",
        b"fe80::1%eth0",
    ];
    crate::fuzz::run("endpoint", &corpus, |input| {
        if let Ok(endpoint) = crate::fuzz::text(input).parse::<Endpoint>() {
            let written = endpoint.to_string();
            let again = written.parse::<Endpoint>();
            assert_eq!(again.as_ref(), Ok(&endpoint), "{written}");
        }
    });
}
