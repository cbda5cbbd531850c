//! From arguments to options, through clap.

use clap::Parser;

use super::*;

fn config(args: &[&str]) -> Result<Config, clap::Error> {
    let cli = Cli::try_parse_from(["whydrop"].iter().chain(args))?;
    Config::new(cli, &Terminal::none())
}

fn trace(args: &[&str]) -> TraceConfig {
    match config(args) {
        Ok(Config {
            mode: Mode::Trace(trace),
        }) => *trace,
        other => panic!("{args:?}: {other:?}"),
    }
}

fn refused(args: &[&str]) -> String {
    match config(args) {
        Ok(config) => panic!("{args:?} was taken as {config:?}"),
        Err(error) => format!("{}: {error}", error.exit_code()),
    }
}

#[test]
fn defaults_are_those_of_the_contract() {
    let trace = trace(&["10.244.3.17:443"]);
    assert_eq!(
        trace.to.map(|to| to.to_string()).as_deref(),
        Some("10.244.3.17:443")
    );
    assert_eq!(trace.from, None);
    assert_eq!(trace.proto, Proto::Any);
    assert_eq!(trace.timeout, Duration::from_secs(1));
    assert_eq!((trace.duration, trace.count), (None, None));
    assert_eq!(trace.output.format, TraceFormat::Text);
    assert!(trace.netns.is_empty());
    assert!(!(trace.all || trace.noise || trace.stack || trace.debug));
    assert!(!trace.detail.verbose && trace.detail.answered);
}

#[test]
fn all_options_of_a_trace_arrive() {
    let trace = trace(&[
        "--from=10.0.0.0/8",
        "--proto=udp",
        "--timeout=3s",
        "--duration=2m",
        "--count=7",
        "-o",
        "json",
        "--netns=a",
        "--netns=/run/netns/b",
        "--noise",
        "--stack",
        "-v",
        "--debug",
        "--no-kube",
        ":53",
    ]);
    assert_eq!(trace.to, Some(Endpoint::Port(53)));
    assert_eq!(trace.proto, Proto::Udp);
    assert_eq!(trace.timeout, Duration::from_secs(3));
    assert_eq!(trace.duration, Some(Duration::from_mins(2)));
    assert_eq!(trace.count, Some(7));
    assert_eq!(trace.output.format, TraceFormat::Json);
    assert_eq!(trace.netns, ["a", "/run/netns/b"]);
    assert!(trace.noise && trace.stack && trace.debug && trace.cluster.no_kube);
    assert!(trace.detail.verbose && trace.detail.answered);
}

#[test]
fn a_broad_filter_hides_what_was_answered() {
    let answered = |args: &[&str]| trace(args).detail.answered;
    assert!(!answered(&["--all"]));
    assert!(!answered(&["10.244.3.17"]));
    assert!(!answered(&["10.244.3.0/24:443"]));
    assert!(!answered(&[":53"]));
    assert!(answered(&["10.244.3.17:443"]));
    assert!(answered(&["svc/shop/cart:80"]));
    assert!(answered(&["10.244.3.17", "--from", "10.244.1.0/24"]));
    assert!(answered(&["--all", "--answered"]));
}

#[test]
fn filters_read_like_sentences() {
    let all = [
        &["10.244.3.17:443", "--proto", "tcp"][..],
        &["--from", "10.244.1.0/24"],
        &[":53", "--from", "fd00::7:443", "--netns", "node"],
        &["[fd00::7]:443"],
        &["svc/shop/cart:80", "--from", "shop/web"],
        &["--all"],
        &["--all", "--proto", "icmp", "--netns", "a", "--netns", "b"],
    ]
    .map(|args| {
        trace(args).filter_description(|end| {
            let is_name = !matches!(end, Endpoint::Net { .. } | Endpoint::Port(_));
            is_name.then(|| "10.96.0.1:80".to_owned())
        })
    })
    .join("\n");
    insta::assert_snapshot!(all, @"
    any → 10.244.3.17:443 (tcp), both directions
    10.244.1.0/24 → any, both directions
    [fd00::7:443], any port → any:53, both directions, in netns node
    any → [fd00::7]:443, both directions
    shop/web (10.96.0.1:80) → svc/shop/cart:80 (10.96.0.1:80), both directions
    everything
    everything (icmp), in netns a, b
    ");
}

#[test]
fn a_missing_filter_is_wrong_usage_and_says_what_to_do() {
    insta::assert_snapshot!(refused(&["--proto", "udp"]), @"
    2: error: specify a destination, --from, or --all for everything on this node

      whydrop 10.244.3.17:443
      whydrop --from 10.244.1.0/24
      whydrop --all

    Usage: whydrop [OPTIONS] [TO]
           whydrop <COMMAND>

    For more information, try '--help'.
    ");
}

#[test]
fn what_cannot_match_is_wrong_usage() {
    let all = [
        &["10.0.0.1:443", "--proto", "icmp"][..],
        &["10.0.0.1", "--from", "fd00::7"],
        &["--all", "--netns", ""],
        &["explain", "--from", "10.0.0.1", "--to", "10.0.0.2"],
        &["explain", "--from", "10.0.0.0/8", "--to", "10.0.0.2:80"],
        &["explain", "--from", "svc/shop/cart", "--to", "shop/web:80"],
    ]
    .map(|args| refused(args).lines().next().unwrap_or_default().to_owned())
    .join("\n");
    insta::assert_snapshot!(all, @"
    2: error: icmp has no ports, but 10.0.0.1:443 has one: omit :443 or --proto icmp
    2: error: fd00::7 and 10.0.0.1 cannot be the ends of one connection: one is IPv4, the other IPv6
    2: error: --netns needs a name as `ip netns` lists it, or a path such as /proc/1234/ns/net
    2: error: --to needs a port for tcp, such as --to 10.0.0.2:443
    2: error: --from 10.0.0.0/8: expected one address, pod or workload, such as 10.244.3.17:443, shop/cart:8080 or deploy/shop/cart:8080
    2: error: --from svc/shop/cart: expected one address, pod or workload, such as 10.244.3.17:443, shop/cart:8080 or deploy/shop/cart:8080
    ");
}

#[test]
fn check_needs_nothing() {
    assert!(matches!(
        config(&["check"]),
        Ok(Config {
            mode: Mode::Check(..)
        })
    ));
    let json = config(&["check", "-o", "json"]);
    assert!(matches!(json, Ok(Config { mode: Mode::Check(out, _) }) if out.format == Format::Json));
}
