//! Rules in front of NAT and behind it, at the same hook.

use anyhow::Result;

use super::{field::Field, firewall};

#[test]
fn own_connection_translated_in_output() -> Result<()> {
    let field = Field::of("1a")?;
    field.stage().ip("node", "route add 10.30.50.0/24 dev vb")?;
    field.serve("10.30.2.2:80")?;
    let late = firewall().why("maintenance").why("chain late");
    field
        .dropped("node", "10.30.50.1:443")?
        .is(&late)?
        .mends(&[])
}

#[test]
fn answer_translated_back_in_prerouting() -> Result<()> {
    let field = Field::of("1b")?;
    field.serve("10.30.2.2:80")?;
    let late = firewall().why("no web answers").why("chain late");
    field
        .dropped("client", "10.30.2.2:80")?
        .is(&late)?
        .mends(&[])
}

#[test]
fn source_translated_in_postrouting() -> Result<()> {
    let field = Field::of("nat-both-sides")?;
    field.serve("10.30.2.2:80")?;
    let last = firewall().why("translated").why("chain last");
    field
        .dropped("client", "10.30.2.2:80")?
        .is(&last)?
        .mends(&[])
}

#[test]
fn source_translated_in_input() -> Result<()> {
    let field = Field::of("nat-input")?;
    field.stage().ip("node", "route add 10.30.9.9 dev va")?;
    field.serve("10.30.1.1:81")?;
    let late = firewall().why("translated clients").why("chain late");
    field
        .dropped("client", "10.30.1.1:81")?
        .is(&late)?
        .mends(&[])?;
    let first = firewall().why("chain sources");
    field.serve("10.30.1.1:80")?;
    field
        .dropped("client", "10.30.1.1:80")?
        .is(&first)?
        .mends(&[])
}
