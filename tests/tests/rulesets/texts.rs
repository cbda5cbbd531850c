//! What a rule says, and whether it is written as its tool would write it.

use anyhow::Result;
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
        .is(&endpoint("pay/ledger:api has no endpoint on this node"))?
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
        .is(&firewall().why("fib saddr . iif oif missing drop"))
        .map(drop)
}
