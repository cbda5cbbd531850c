//! What is proposed helps, opens nothing else, and is taken back without a trace.

use anyhow::Result;
use whydrop_tests::expected::ExpectedVerdict;

use super::{field::Field, firewall};

#[test]
fn behind_an_unconditional_goto_or_return() -> Result<()> {
    for case in ["11b", "11c", "mend-diverted"] {
        let field = Field::of(case)?;
        field.serve("10.30.2.2:80")?;
        field
            .dropped("client", "10.30.2.2:80")?
            .is(&firewall().why("drop policy"))?
            .mends(&["10.30.2.2:81"])?;
    }
    Ok(())
}

#[test]
fn second_drop_behind_the_first() -> Result<()> {
    let field = Field::of("11f")?;
    field.serve("10.30.2.2:80")?;
    let both = firewall().why("table inet first").evidence("behind it");
    field
        .dropped("client", "10.30.2.2:80")?
        .is(&both)?
        .mends(&["10.30.2.2:81"])
}

#[test]
fn answers_that_the_same_policy_drops() -> Result<()> {
    let field = Field::of("11g")?;
    field.serve("10.30.2.2:80")?;
    field
        .dropped("client", "10.30.2.2:80")?
        .is(&firewall().evidence("the answers are dropped as well"))?
        .mends(&["10.30.2.2:81"])?;
    let field = Field::of("mend-host")?;
    field.serve("10.30.1.1:80")?;
    field
        .dropped("client", "10.30.1.1:80")?
        .is(&firewall().why("chain in "))?
        .mends(&["10.30.1.1:81"])
}

#[test]
fn ping_does_not_open_ports() -> Result<()> {
    let field = Field::of("11a")?;
    field.serve("10.30.2.2:25")?;
    field
        .dropped_ping("client", "10.30.2.2")?
        .is(&firewall().why("--icmp-type 8"))?
        .mends(&["10.30.2.2:25"])
}

#[test]
fn banned_by_a_set_and_dropped_by_the_policy_behind() -> Result<()> {
    let field = Field::of("7e")?;
    field.serve("10.30.1.1:8080")?;
    field
        .dropped("client", "10.30.1.1:8080")?
        .is(&firewall().why("@banned").evidence("behind it"))?
        .mends(&["10.30.1.1:8081"])
}

#[test]
fn packet_of_no_connection() -> Result<()> {
    let conntrack = ExpectedVerdict::any_of(["conntrack"]).at_least("confirmed");
    Field::of("11e")?
        .dropped_answer("10.30.2.2:80")?
        .is(&conntrack)?
        .offers_no_command()
}

#[test]
fn forged_senders_and_hostile_names() -> Result<()> {
    Field::of("mend-spoof")?
        .dropped("client", "10.30.2.2:80")?
        .is(&firewall().why("antispoof"))?
        .offers_no_command()?;
    let field = Field::of("none")?;
    field.stage().exec("node", HOSTILE)?;
    field
        .dropped("client", "10.30.2.2:443")?
        .offers_no_command()
}

/// A chain whose name is a second command of nft's.
const HOSTILE: &str = r##"nft -j -f - <<'END'
{"nftables": [
  {"add": {"table": {"family": "inet", "name": "t"}}},
  {"add": {"chain": {"family": "inet", "table": "t", "name": "ok accept; add table inet pasted; #",
    "type": "filter", "hook": "forward", "prio": 0, "policy": "accept"}}},
  {"add": {"rule": {"family": "inet", "table": "t", "chain": "ok accept; add table inet pasted; #",
    "expr": [
      {"match": {"op": "==", "left": {"payload": {"protocol": "tcp", "field": "dport"}},
        "right": 443}},
      {"drop": null}]}}}
]}
END"##;

#[test]
fn agents_write_their_chains_anew() -> Result<()> {
    for (case, va, vb, to, owner) in [
        ("5b", "va", "vb", "10.30.1.1:80", "Tailscale"),
        ("5e", "va", "qr-30", "10.30.2.2:80", "OpenStack Neutron"),
    ] {
        Field::with_links(case, va, vb)?
            .dropped("client", to)?
            .is(&firewall().why(owner))?
            .offers_no_command()?;
    }
    let policy = ExpectedVerdict::any_of(["policy"])
        .at_least("confirmed")
        .why("Weave Net");
    Field::with_links("weave-egress", "weave", "eth0")?
        .dropped("client", "10.30.2.2:80")?
        .is(&policy)?
        .offers_no_command()?;
    let field = Field::with_links("5f", "eth0", "vb")?;
    field.serve("10.30.2.2:80")?;
    field
        .dropped("client", "10.30.2.2:80")?
        .is(&firewall().why("chain DOCKER-USER"))?
        .mends(&["10.30.2.2:81"])
}
