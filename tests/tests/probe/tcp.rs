//! TCP, policy and listener: a closed port, and one endpoint of three that a policy closes.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use whydrop_tests::{
    fault::{Chain, nft},
    kube::enforce,
    lab::{Family, topology::RouterLab},
    record::{Layer, LayerResult, Point},
    traffic::TcpServer,
};

use super::{NODE, PORT, Shop, probe};

/// Everything works, over IPv4 and IPv6: each layer that can be asked says so, with figures.
#[test]
fn healthy_and_closed() -> Result<()> {
    Family::at_once(|family| {
        let lab = RouterLab::build()?;
        let server = lab.server.socket(family, PORT);
        let serving = TcpServer::echo(&lab.server, server)?;
        let healthy = probe(&lab, &lab.client, server, family).run()?;
        healthy.healthy()?;
        healthy.expect(Layer::Tcp, LayerResult::Ok, "answered after")?;
        healthy.expect(Layer::Firewall, LayerResult::Ok, "got through")?;
        healthy.expect(Layer::Mtu, LayerResult::Ok, "1500 bytes")?;
        healthy.expect(Layer::Listener, LayerResult::Ok, "handshake")?;
        healthy.expect(Layer::Dns, LayerResult::Skipped, "an address")?;

        drop(serving);
        let closed = probe(&lab, &lab.client, server, family).run()?;
        let tcp = closed.fails(Layer::Tcp, Point::Socket, "no socket listens")?;
        ensure!(tcp.tests.is_empty(), "one address, one test: {tcp:?}");
        closed.expect(Layer::Listener, LayerResult::Failed, "no socket listens")?;
        closed.expect(Layer::Mtu, LayerResult::Ok, "1500 bytes")?;
        let [attempt] = closed.attempts.as_slice() else {
            anyhow::bail!("not one attempt: {:?}", closed.attempts);
        };
        ensure!(attempt.hops.len() == 4, "the whole way: {:?}", attempt.hops);
        Ok(())
    })
}

/// A rule drops the SYN.
#[test]
fn dropped_by_a_rule() -> Result<()> {
    Family::at_once(|family| {
        let lab = RouterLab::build()?;
        let server = lab.server.socket(family, PORT);
        let _serving = TcpServer::echo(&lab.server, server)?;
        nft(
            &lab.router,
            Chain::inet("forward"),
            &format!("tcp dport {} drop", PORT + 1),
        )?;
        probe(&lab, &lab.client, server, family).run()?.healthy()?;
        nft(
            &lab.router,
            Chain::inet("forward"),
            &format!("tcp dport {PORT} drop"),
        )?;
        let dropped = probe(&lab, &lab.client, server, family).run()?;
        dropped.fails(Layer::Tcp, Point::Firewall, "")?;
        dropped.fails(Layer::Firewall, Point::Firewall, "")?;
        dropped.expect(Layer::Listener, LayerResult::Blocked, "")?;
        // Echo requests pass: what can still be asked is asked.
        dropped.expect(Layer::Mtu, LayerResult::Ok, "1500 bytes")?;
        Ok(())
    })
}

/// A policy isolates one of three endpoints; the Service leads to another one.
#[test]
fn one_endpoint_of_three() -> Result<()> {
    let shop = Shop::build()?;
    let _servers: Vec<_> = shop
        .carts()
        .into_iter()
        .map(|cart| TcpServer::echo(cart, cart.socket(Family::V4, PORT)))
        .collect::<Result<_>>()?;
    let (front, second) = (shop.front(), shop.carts()[1].address(Family::V4));
    let first = shop.carts()[0].address(Family::V4);
    let rule = format!("ip daddr {front} tcp dport 80 dnat ip to {first}:{PORT}");
    nft(&shop.lab.node, Chain::dnat(), &rule)?;
    let run = |policies| {
        let objects = shop.objects(policies);
        enforce(&shop.lab.node, NODE, &objects)?;
        let file = shop.write(&objects)?;
        let to = "svc/shop/cart:80";
        probe(&shop.lab, &shop.lab.pod_a, to, Family::V4)
            .cluster(&file)
            .run()
    };
    let healthy = run(Vec::new())?;
    healthy.healthy()?;
    healthy.expect(Layer::Tcp, LayerResult::Ok, "3 of 3 endpoints")?;
    healthy.expect(
        Layer::Overlay,
        LayerResult::Skipped,
        "placement makes no difference",
    )?;

    let deny = json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
        "metadata": {"namespace": "shop", "name": "deny-one"},
        "spec": {
            "podSelector": {"matchLabels": {"number": "n1"}},
            "policyTypes": ["Ingress"],
        },
    });
    let denied = run(vec![deny])?;
    denied.fails(Layer::Tcp, Point::Policy, "")?;
    let tcp = denied.expect(Layer::Tcp, LayerResult::Failed, "2 of 3 endpoints")?;
    let failing: Vec<_> = tcp
        .tests
        .iter()
        .filter(|test| test.result == LayerResult::Failed)
        .collect();
    let [failing] = failing.as_slice() else {
        anyhow::bail!("not one endpoint: {tcp:?}");
    };
    ensure!(failing.test.contains(&second.to_string()), "{failing:?}");
    let policy = denied.fails(Layer::Policy, Point::Policy, "")?;
    let verdict = policy.verdict.as_ref().context("a verdict")?;
    let blamed = verdict.policy.as_ref().context("a policy")?;
    ensure!(blamed.policies == ["shop/deny-one"], "{blamed:?}");
    denied.expect(
        Layer::Policy,
        LayerResult::Failed,
        "refused at ingress by shop/deny-one",
    )?;
    Ok(())
}

/// A policy refuses the flow and nothing enforces it; what fails is the closed port.
#[test]
fn a_policy_that_nothing_enforces_and_a_closed_port() -> Result<()> {
    let shop = Shop::build()?;
    let [first, ..] = shop.carts();
    let deny = json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
        "metadata": {"namespace": "shop", "name": "deny-first"},
        "spec": {
            "podSelector": {"matchLabels": {"number": "n0"}},
            "policyTypes": ["Ingress"],
        },
    });
    let run = |policies| {
        let file = shop.write(&shop.objects(policies))?;
        let to = format!("shop/cart-0:{PORT}");
        probe(&shop.lab, &shop.lab.pod_a, to, Family::V4)
            .cluster(&file)
            .run()
    };
    {
        let _server = TcpServer::echo(first, first.socket(Family::V4, PORT))?;
        let healthy = run(Vec::new())?;
        healthy.healthy()?;
        healthy.expect(Layer::Policy, LayerResult::Ok, "admitted; seen: answered")?;
    }
    let closed = run(vec![deny])?;
    closed.fails(Layer::Tcp, Point::Socket, "no socket listens")?;
    closed.expect(
        Layer::Policy,
        LayerResult::Ok,
        "refused at ingress by shop/deny-first, but nothing enforces that",
    )?;
    let main = closed
        .summary
        .as_ref()
        .and_then(|summary| summary.verdict.as_ref());
    ensure!(
        main.is_some_and(|verdict| verdict.point == Point::Socket),
        "{main:?}"
    );
    Ok(())
}

/// Another process pings the same address, and a rule drops its large packets: that says nothing of the
/// probe's.
#[test]
fn pings_of_others() -> Result<()> {
    let lab = RouterLab::build()?;
    let server = lab.server.socket(Family::V4, PORT);
    let _serving = TcpServer::echo(&lab.server, server)?;
    let rule = "icmp type echo-request icmp id 4242 drop";
    nft(&lab.router, Chain::inet("forward"), rule)?;
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let pinging = scope.spawn(|| -> Result<()> {
            while !stop.load(Ordering::Relaxed) {
                let ping = format!("ping -e 4242 -c 20 -i 0.01 -W 0.01 {}", server.ip());
                // It gets no reply.
                let _ = lab.client.run(&ping);
            }
            Ok(())
        });
        let probed = probe(&lab, &lab.client, server, Family::V4).run();
        stop.store(true, Ordering::Relaxed);
        pinging.join().expect("no panic")?;
        let probed = probed?;
        probed.healthy()?;
        let summary = probed.summary.as_ref().context("a summary")?;
        ensure!(summary.drops == 0, "{} drops: {summary:?}", summary.drops);
        Ok(())
    })
}
