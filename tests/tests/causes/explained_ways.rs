//! `whydrop explain --way`: who takes a packet that was never sent, or refuses it.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use whydrop_tests::{binary, incident::Stage, tracer::run_to_end};

const SERVER: &str = "10.20.2.3:8080";

/// The exit status, and where the only way ends.
fn explain(stage: &Stage, to: &str, more: &[&str]) -> Result<(Option<i32>, Value)> {
    let mut command = Command::new(binary());
    command.args(["explain", "--way", "-o", "json", "--from", "10.20.1.2"]);
    command.args(["--to", to, "--netns", stage.name("a")]);
    let output = run_to_end(command.args(more))?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let answer: Value = serde_json::from_slice(&output.stdout).with_context(|| said)?;
    let ways = answer["ways"].as_array().context("ways")?;
    ensure!(ways.len() == 1, "{answer}");
    Ok((output.status.code(), ways[0]["end"].clone()))
}

fn check(answer: &(Option<i32>, Value), status: i32, end: &str, words: &str) -> Result<()> {
    let (code, said) = answer;
    let text = said["text"].as_str().unwrap_or_default();
    ensure!(
        *code == Some(status) && said["end"] == end && text.contains(words),
        "{end} with {words:?}, and status {status}, but: {code:?} {said}"
    );
    Ok(())
}

#[test]
fn a_port_is_open_or_closed() -> Result<()> {
    let stage = Stage::routed_pods()?;
    let closed = explain(&stage, SERVER, &[])?;
    check(
        &closed,
        10,
        "refused",
        "no process listens on tcp 10.20.2.3:8080",
    )?;
    ensure!(closed.1["socket"].is_null(), "{}", closed.1);
    stage.serve("b", SERVER)?;
    let open = explain(&stage, SERVER, &[])?;
    check(&open, 0, "delivered", "has the socket 10.20.2.3:8080")?;
    let pid = open.1["socket"]["pid"].as_u64();
    ensure!(pid == Some(std::process::id().into()), "{}", open.1);
    Ok(())
}

#[test]
fn a_datagram_finds_a_socket_or_none() -> Result<()> {
    let stage = Stage::routed_pods()?;
    stage.serve("b", SERVER)?;
    let udp = ["--proto", "udp"];
    let closed = explain(&stage, SERVER, &udp)?;
    check(&closed, 10, "refused", "no process has a socket on udp")?;
    stage.serve_udp("b", SERVER)?;
    check(&explain(&stage, SERVER, &udp)?, 0, "delivered", SERVER)
}

#[test]
fn a_listener_takes_others_only() -> Result<()> {
    let stage = Stage::routed_pods()?;
    stage.ip("b", "link set lo up")?;
    stage.serve("b", "127.0.0.1:8080")?;
    let refused = explain(&stage, SERVER, &[])?;
    check(&refused, 10, "refused", "listens on 127.0.0.1 only")?;
    stage.serve("b", SERVER)?;
    check(&explain(&stage, SERVER, &[])?, 0, "delivered", SERVER)
}

#[test]
fn a_rule_drops_or_rejects() -> Result<()> {
    let stage = Stage::routed_pods()?;
    stage.serve("b", SERVER)?;
    stage.exec(
        "node",
        "nft add table ip own; nft add chain ip own f '{ type filter hook forward priority 0; }'
         nft add rule ip own f tcp dport 8081 drop",
    )?;
    check(&explain(&stage, SERVER, &[])?, 0, "delivered", SERVER)?;
    let dropped = explain(&stage, "10.20.2.3:8081", &[])?;
    check(&dropped, 10, "dropped", "FORWARD drops it")?;
    stage.exec("node", "nft add rule ip own f tcp dport 8080 reject")?;
    let rejected = explain(&stage, SERVER, &[])?;
    check(&rejected, 10, "rejected", "FORWARD rejects it")
}

/// A route into a tunnel: what that does with the packet is not followed. The twin has the same
/// destination behind a route that can be followed.
#[test]
fn a_tunnel_leaves_it_undecided() -> Result<()> {
    const BEHIND: &str = "10.20.9.9:8080";
    let stage = Stage::routed_pods()?;
    stage.ip("b", "link set lo up; addr add 10.20.9.9/32 dev lo")?;
    stage.serve("b", BEHIND)?;
    stage.ip("node", "route add 10.20.9.9/32 via 10.20.2.3")?;
    check(&explain(&stage, BEHIND, &[])?, 0, "delivered", BEHIND)?;
    stage.ip(
        "node",
        "link add tun1 type vxlan id 7 dstport 4789 remote 10.20.2.3; link set tun1 up; route \
         replace 10.20.9.9/32 dev tun1",
    )?;
    let into_tunnel = explain(&stage, BEHIND, &[])?;
    check(&into_tunnel, 11, "undecided", "the tunnel tun1")
}
