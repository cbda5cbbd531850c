//! A flowtable of nftables: packets of an open connection pass the hooks of routing by.

use anyhow::Result;
use whydrop_tests::{expected::ExpectedVerdict, incident::Stage};

use super::stage::{ALL, SERVER, dial, is_healthy, routed, skipped};

/// The router, with a flowtable; `None` on a kernel without.
fn stage() -> Result<Option<Stage>> {
    let stage = routed()?;
    let table = "flowtable f { hook ingress priority 0; devices = { client, server }; }; \
                 chain c { type filter hook forward priority 0; ct state established flow add @f; }";
    let added = stage.exec("node", &format!("nft 'table ip own {{ {table}; }}'"));
    if added.is_err() {
        skipped("flowtables")?;
        return Ok(None);
    }
    Ok(Some(stage))
}

#[test]
fn healthy() -> Result<()> {
    match stage()? {
        Some(stage) => is_healthy(&stage, SERVER),
        None => Ok(()),
    }
}

/// The first packet of a connection is in no flowtable yet.
#[test]
fn new_connections_are_dropped() -> Result<()> {
    let Some(stage) = stage()? else {
        return Ok(());
    };
    stage.exec("node", "nft add rule ip own c tcp dport 8080 drop")?;
    dial(&stage, &ALL, SERVER)?.outcome("unanswered")?.verdict(
        &ExpectedVerdict::new("firewall", "confirmed")
            .why("of chain c in table ip own: `tcp dport 8080 drop`")
            .fix("nft insert rule ip own c"),
    )?;
    Ok(())
}
