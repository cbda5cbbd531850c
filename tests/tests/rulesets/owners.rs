//! Who made the rule, and what they take instead of a rule of ours.

use anyhow::Result;
use whydrop_tests::expected::ExpectedVerdict;

use super::{field::Field, firewall};

/// A rule of an agent, for which there is only its own setting.
fn is_of(field: &Field, to: &str, owner: &str, advice: &str) -> Result<()> {
    field
        .dropped("client", to)?
        .is(&firewall().why(owner).fix(advice))?
        .offers_no_command()
}

#[test]
fn block_in_forward_is_a_policy_of_weave_net() -> Result<()> {
    let policy = ExpectedVerdict::new("policy", "confirmed").why("Weave Net");
    Field::with_bridge("5a", "eth0", "weave", "vethwepl7")?
        .dropped("client", "10.30.2.2:80")?
        .is(&policy)?
        .offers_no_command()
}

#[test]
fn isolation_of_networks() -> Result<()> {
    let field = Field::with_bridge("5c", "podman1", "podman2", "veth3")?;
    is_of(&field, "10.30.2.2:80", "Podman", "one network")?;
    let field = Field::with_bridge("5d", "cni1", "cni2", "veth3")?;
    is_of(
        &field,
        "10.30.2.2:80",
        "CNI firewall plugin",
        "ingressPolicy",
    )
}

#[test]
fn zones_of_firewalld() -> Result<()> {
    let field = Field::of("5g")?;
    is_zone(&field, "10.30.1.1:80", "--zone=work")?;
    let field = Field::of("6b")?;
    is_of(&field, "10.30.2.2:80", "firewalld", "firewall-cmd")
}

/// `firewall-cmd` is proposed, which is not there.
fn is_zone(field: &Field, to: &str, zone: &str) -> Result<()> {
    field
        .dropped("client", to)?
        .is(&firewall().why("firewalld").fix(zone))
        .map(drop)
}
