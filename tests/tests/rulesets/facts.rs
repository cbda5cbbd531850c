//! What is known of the packet, the host and the sets.

use anyhow::Result;
use whydrop_tests::expected::ExpectedVerdict;

use super::{field::Field, firewall};

#[test]
fn map_of_states_and_a_new_connection() -> Result<()> {
    let field = Field::of("3a")?;
    field.serve("10.30.1.1:8080")?;
    field
        .dropped("client", "10.30.1.1:8080")?
        .is(&firewall().why("drop policy of chain incoming"))?
        .mends(&["10.30.1.1:8081"])
}

#[test]
fn map_of_states_and_a_packet_of_no_connection() -> Result<()> {
    for case in ["2", "3a"] {
        let conntrack = ExpectedVerdict::any_of(["conntrack"])
            .at_least("confirmed")
            .why("ct state vmap");
        let field = Field::of(case)?;
        field
            .dropped_answer("10.30.1.1:8080")?
            .is(&conntrack)?
            .offers_no_command()?;
    }
    Ok(())
}

#[test]
fn map_of_marks() -> Result<()> {
    let field = Field::of("3c")?;
    field.serve("10.30.2.2:80")?;
    field
        .dropped("client", "10.30.2.2:80")?
        .is(&firewall().why("chain guests"))?
        .mends(&[])
}

#[test]
fn bare_port_in_an_ipset() -> Result<()> {
    let field = Field::of("4")?;
    field
        .dropped_datagram("client", "10.30.1.1:30123")?
        .is(&firewall().why("rule 1 of chain INPUT"))?
        .mends(&[])
}

#[test]
fn interface_on_the_other_side() -> Result<()> {
    for (case, role, chain) in [
        ("6a", "client", "no web to the backends"),
        ("6c", "client", "rule 3 of chain STAGE-2"),
        ("6d", "node", "oifname \"vb\""),
        ("6e", "client", "oifname \"vb\""),
    ] {
        let field = Field::of(case)?;
        field.serve("10.30.2.2:80")?;
        field
            .dropped(role, "10.30.2.2:80")?
            .is(&firewall().why(chain))?
            .mends(&[])?;
    }
    Ok(())
}

#[test]
fn type_of_the_destination() -> Result<()> {
    let field = Field::of("7a")?;
    field.serve("10.30.1.1:8080")?;
    field
        .dropped("client", "10.30.1.1:8080")?
        .is(&firewall().why("drop policy of chain INPUT"))?
        .mends(&["10.30.1.1:8081"])?;
    let field = Field::of("7b")?;
    field.serve("10.30.1.1:80")?;
    field
        .dropped("client", "10.30.1.1:80")?
        .is(&firewall().why("`tcp dport 80 drop`"))?
        .mends(&[])
}

#[test]
fn header_fields() -> Result<()> {
    for case in ["7c", "7d"] {
        let field = Field::of(case)?;
        field.serve("10.30.2.2:80")?;
        field
            .dropped("client", "10.30.2.2:80")?
            .is(&firewall().why("`tcp dport 80 drop`"))?
            .mends(&[])?;
    }
    let field = Field::of("header-matches")?;
    field.serve("10.30.2.2:81")?;
    field
        .dropped("client", "10.30.2.2:81")?
        .is(&firewall().why("--dport 81"))?
        .mends(&[])
}

#[test]
fn exceptions_and_lists_of_ipsets() -> Result<()> {
    let field = Field::of("7f")?;
    field.serve("10.30.2.2:80")?;
    field
        .dropped("client", "10.30.2.2:80")?
        .is(&firewall().why("rule 2 of chain FORWARD"))?
        .mends(&[])
}

#[test]
fn source_that_is_not_routed_back() -> Result<()> {
    let field = Field::of("7h")?;
    field
        .stage()
        .sysctl("node", "net.ipv4.conf.all.rp_filter=0")?;
    field
        .stage()
        .sysctl("node", "net.ipv4.conf.va.rp_filter=0")?;
    field
        .stage()
        .ip("client", "addr add 10.30.77.7/32 dev eth0")?;
    field
        .dropped_from("client", Some("10.30.77.7"), "10.30.2.2:80")?
        .is(&firewall().why("chain spoof").fix("add a route to it"))?
        .offers_no_command()
}

#[test]
fn bridge_ports_and_mac_addresses() -> Result<()> {
    let field = Field::bridged("7g")?;
    field.serve("10.30.2.2:80")?;
    field
        .dropped("neighbor", "10.30.2.2:80")?
        .is(&firewall().why("chain pm-none"))?
        .mends(&["10.30.2.2:81"])?;
    // The same with another MAC address is forged.
    let field = Field::bridged("7g")?;
    field
        .stage()
        .ip("neighbor", "link set eth0 address 02:30:00:00:00:10")?;
    field
        .dropped("neighbor", "10.30.2.2:80")?
        .is(&firewall().why("wrong MAC address"))?
        .offers_no_command()
}
