//! What the command line takes, and how it refuses the rest.

use std::time::Duration;

use clap::{CommandFactory, error::ErrorKind};

use super::{
    values::{duration, ring_size},
    *,
};

fn parse(args: &[&str]) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(["whydrop"].iter().chain(args))
}

fn refused(args: &[&str]) -> String {
    match parse(args) {
        Ok(cli) => panic!("{args:?} was accepted as {cli:?}"),
        Err(error) => {
            assert_eq!(error.exit_code(), 2);
            error
                .to_string()
                .lines()
                .next()
                .unwrap_or_default()
                .to_owned()
        }
    }
}

#[test]
fn clap_finds_no_contradiction() {
    Cli::command().debug_assert();
}

#[test]
fn durations_have_units() {
    for (text, millis) in [
        ("500ms", 500),
        ("3s", 3_000),
        ("2m", 120_000),
        ("1m 30s", 90_000),
    ] {
        assert_eq!(duration(text), Ok(Duration::from_millis(millis)));
    }
    for text in [
        "",
        "5",
        "s",
        "-3s",
        "0s",
        "3 parsecs",
        "900years",
        "99999999999999999999s",
    ] {
        assert!(duration(text).is_err(), "{text}");
    }
}

#[test]
fn ring_sizes_have_units_or_none() {
    for (text, bytes) in [
        ("4K", 4096),
        ("4096", 4096),
        ("16m", 16 << 20),
        ("1024M", 1 << 30),
    ] {
        assert_eq!(ring_size(text), Ok(bytes));
    }
}

#[test]
fn help_fits_80_columns_and_teaches() {
    let help = Cli::command().term_width(80).render_long_help().to_string();
    for word in ["Examples:", "Exit status:", "svc/shop/cart:80", "Cluster:"] {
        assert!(help.contains(word), "{word} is missing in\n{help}");
    }
    // The commented examples are a little wider, and wrap.
    assert!(
        help.lines().all(|line| line.chars().count() <= 95),
        "{help}"
    );
}

#[test]
fn wrong_usage_is_refused_with_status_2() {
    let all = [
        &["10.244.3.300"][..],
        &["10.244.3.17:0"],
        &["--proto", "sctp", "--all"],
        &["--all", "10.0.0.1"],
        &["--all", "--count", "0"],
        &["--all", "--duration", "5"],
        &["--all", "--timeout", "0s"],
        &["--all", "--ring-size", "3M"],
        &["--all", "--ring-size", "2K"],
        &["--all", "--ring-size", "4096M"],
        &["--all", "--ring-size", "M"],
        &["--all", "-o", "yaml"],
        &["--all", "check"],
        &["--all", "--no-kube", "--kubeconfig", "a"],
        &["chek"],
        &["explain", "--from", "10.0.0.1"],
    ]
    .map(refused)
    .join("\n");
    insta::assert_snapshot!(all, @"
    error: invalid value '10.244.3.300' for '[TO]': `300` is not a number from 0 to 255; expected an IPv4 address, such as 10.244.3.17
    error: invalid value '10.244.3.17:0' for '[TO]': `0` is not a port; expected a number from 1 to 65535, such as 10.244.3.17:443
    error: invalid value 'sctp' for '--proto <tcp|udp|icmp|any>'
    error: the argument '--all' cannot be used with '[TO]'
    error: invalid value '0' for '--count <N>': must be at least 1
    error: invalid value '5' for '--duration <DURATION>': expected a number with a unit, such as 500ms, 3s or 2m
    error: invalid value '0s' for '--timeout <DURATION>': must be greater than zero
    error: invalid value '3M' for '--ring-size <SIZE>': expected a power of two from 4K to 1024M, such as 16M
    error: invalid value '2K' for '--ring-size <SIZE>': expected a power of two from 4K to 1024M, such as 16M
    error: invalid value '4096M' for '--ring-size <SIZE>': expected a power of two from 4K to 1024M, such as 16M
    error: invalid value 'M' for '--ring-size <SIZE>': expected a power of two from 4K to 1024M, such as 16M
    error: invalid value 'yaml' for '--output <text|json>'
    error: invalid value 'check' for '[TO]': options follow the subcommand: whydrop check [OPTIONS]
    error: the argument '--no-kube' cannot be used with '--kubeconfig <FILE>'
    error: invalid value 'chek' for '[TO]': expected an address (10.244.3.17:443), a prefix (10.244.0.0/16), a port (:443), a pod with its namespace (shop/cart:8080), a Service (svc/shop/cart:80) or a workload (deploy/shop/cart:8080)
    error: the following required arguments were not provided:
    ");
}

#[test]
fn help_and_version_are_no_errors() {
    let kind = |args: &[&str]| parse(args).map(|_| ()).map_err(|error| error.kind());
    assert_eq!(kind(&["--help"]), Err(ErrorKind::DisplayHelp));
    assert_eq!(kind(&["--version"]), Err(ErrorKind::DisplayVersion));
}
