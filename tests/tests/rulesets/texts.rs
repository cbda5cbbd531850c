//! What a rule says, and whether it is written as its tool would write it.

use anyhow::{Result, ensure};
use whydrop_tests::expected::ExpectedVerdict;

use super::{field::Field, firewall};

/// Only the Service's endpoints on this node count; another Service has none at all.
#[test]
fn endpoints_on_this_node_and_anywhere() -> Result<()> {
    let field = Field::of("13")?;
    // The rules at FORWARD are met by what has a route.
    field
        .stage()
        .ip("node", "route add 10.30.60.0/24 via 10.30.2.2")?;
    let endpoint = |why| {
        ExpectedVerdict::any_of(["endpoint"])
            .at_least("confirmed")
            .why(why)
    };
    field
        .dropped("client", "10.30.1.1:31001")?
        .is(&endpoint("pay/ledger:api has no endpoint on this node").fix("traffic policy"))?
        .offers_no_command()?;
    field
        .dropped("client", "10.30.60.9:80")?
        .is(&endpoint("pay/void:api has no endpoints"))?
        .offers_no_command()
}

#[test]
fn limit_of_connections() -> Result<()> {
    let field = Field::of("14-1")?;
    field.serve("10.30.2.2:80")?;
    field
        .dropped("client", "10.30.2.2:80")?
        .is(&firewall().why("tcp dport 80 ct count over 0 drop"))?
        .mends(&[])
}

#[test]
fn reverse_path_by_fib() -> Result<()> {
    let field = Field::of("14-2")?;
    field
        .stage()
        .ip("client", "addr add 10.30.77.7/32 dev eth0")?;
    field.serve("10.30.2.2:80")?;
    field
        .dropped_from("client", Some("10.30.77.7"), "10.30.2.2:80")?
        .is(&firewall()
            .why("fib saddr . iif oif missing drop")
            .fix("add a route to it"))?
        .offers_no_command()
}

/// The words of ebtables, whose matches nft does not print.
#[test]
fn matches_of_ebtables() -> Result<()> {
    for (case, text) in [
        (
            "14-3",
            "-A FORWARD -p IPv4 --ip-proto tcp --ip-dport 80 -j DROP",
        ),
        (
            "ebtables-limit",
            "-A FORWARD -p IPv4 -i port9 --ip-dst 10.30.2.2 --limit 50/sec --limit-burst 50 -j DROP",
        ),
    ] {
        let field = Field::bridged(case)?;
        field.serve("10.30.2.2:80")?;
        field
            .dropped("neighbor", "10.30.2.2:80")?
            .is(&ExpectedVerdict::any_of(["firewall"])
                .at_least("likely")
                .why(text))?;
    }
    Ok(())
}

/// Each rule is written as `nft list` prints it.
#[test]
fn statements_of_nft() -> Result<()> {
    let field = Field::of("statements")?;
    let listed = field
        .stage()
        .exec("node", "nft -s list chain inet fw forward")?;
    let rules = listed.lines().map(str::trim);
    let mut wrong = Vec::new();
    for rule in rules.filter(|line| line.ends_with(" drop")) {
        let port = rule.split(' ').nth(2).unwrap_or_default();
        let as_listed = ExpectedVerdict::any_of(["firewall"]).why(format!("`{rule}`"));
        let dropped = field.dropped("client", &format!("10.30.2.2:{port}"))?;
        wrong.extend(dropped.is(&as_listed).err());
    }
    ensure!(wrong.is_empty(), "{wrong:#?}");
    Ok(())
}
