//! IPVS in front of a server, as kube-proxy's IPVS mode has it.

use std::net::SocketAddrV4;

use anyhow::Result;
use whydrop_tests::{
    expected::ExpectedVerdict,
    fault::{add_ipvs_server, add_ipvs_service},
    incident::Stage,
};

use super::stage::{ALL, SERVER, dial, is_healthy, routed, skipped};

/// The service's address, at a dummy interface of the node.
const SERVICE: &str = "10.96.0.10:80";

/// The router with a service; `None` on a kernel without IPVS.
fn stage() -> Result<Option<Stage>> {
    let stage = routed()?;
    let _ = stage.exec("node", "modprobe -a ip_vs ip_vs_rr");
    let service: SocketAddrV4 = SERVICE.parse()?;
    if add_ipvs_service(stage.namespace("node"), service).is_err() {
        skipped("IPVS")?;
        return Ok(None);
    }
    stage.ip(
        "node",
        "link add ipvs0 type dummy; addr add 10.96.0.10/32 dev ipvs0; link set ipvs0 up",
    )?;
    Ok(Some(stage))
}

fn with_server(weight: i32) -> Result<Option<Stage>> {
    let Some(stage) = stage()? else {
        return Ok(None);
    };
    let node = stage.namespace("node");
    add_ipvs_server(node, SERVICE.parse()?, SERVER.parse()?, weight)?;
    Ok(Some(stage))
}

#[test]
fn healthy() -> Result<()> {
    match with_server(1)? {
        Some(stage) => is_healthy(&stage, SERVICE),
        None => Ok(()),
    }
}

fn refused(stage: &Stage, lack: &str) -> Result<()> {
    dial(stage, &ALL, SERVICE)?.outcome("rejected")?.verdict(
        &ExpectedVerdict::new("endpoint", "confirmed")
            .why(format!("the IPVS service {SERVICE} has {lack}"))
            .fix("give the service a server"),
    )?;
    Ok(())
}

#[test]
fn no_server() -> Result<()> {
    match stage()? {
        Some(stage) => refused(&stage, "no server"),
        None => Ok(()),
    }
}

/// The one that there is gets no new connections, as when its pod terminates.
#[test]
fn server_of_weight_zero() -> Result<()> {
    match with_server(0)? {
        Some(stage) => refused(&stage, "one server, whose weight is 0"),
        None => Ok(()),
    }
}

/// A rule drops the packets of a service that has a server.
#[test]
fn dropped_by_a_rule_in_front_of_it() -> Result<()> {
    let Some(stage) = with_server(1)? else {
        return Ok(());
    };
    stage.exec(
        "server",
        "nft 'table ip own { chain c { type filter hook input priority 0; tcp dport 8080 drop; }; }'",
    )?;
    dial(&stage, &ALL, SERVICE)?
        .outcome("unanswered")?
        .verdict(
            &ExpectedVerdict::new("firewall", "confirmed")
                .why("of chain c in table ip own: `tcp dport 8080 drop`")
                .fix("nft insert rule ip own c"),
        )?;
    Ok(())
}
