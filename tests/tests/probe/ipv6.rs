//! IPv6 through the whole table: every layer is asked, and a layer that fails is named.

use std::fs;

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;
use whydrop_tests::{
    fault::{Chain, nft},
    kube::{Objects, Pod},
    lab::{Family, topology::RouterLab},
    probe::Probed,
    record::{Layer, LayerResult, Point},
    traffic::{ZoneServer, tls_server},
};

use super::{NODE, probe};

const NAME: &str = "cart.example.com";
const PORT: u16 = 8443;

struct Site {
    lab: RouterLab,
    directory: TempDir,
}

impl Site {
    fn build() -> Result<Self> {
        Ok(Self {
            lab: RouterLab::build()?,
            directory: TempDir::new()?,
        })
    }

    fn run(&self, policies: Vec<Value>) -> Result<Probed> {
        let lab = &self.lab;
        let server = lab.server.address(Family::V6);
        let objects = Objects {
            pods: vec![
                Pod::new("shop/web", "app=web", lab.client.address(Family::V6), NODE),
                Pod::new("shop/cart", "app=cart", server, NODE),
            ],
            policies,
            others: Vec::new(),
        };
        let cluster = objects.write(self.directory.path(), "cluster.json")?;
        let resolver = self.directory.path().join("resolv.conf");
        fs::write(&resolver, format!("nameserver {server}\n"))?;
        let to = format!("{NAME}:{PORT}");
        let probe = probe(lab, &lab.client, to, Family::V6);
        let probe = probe.cluster(&cluster).resolver(&resolver);
        probe.with("--http").with("/").run()
    }
}

fn admit(port: u16) -> Value {
    json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
        "metadata": {"namespace": "shop", "name": "admit"},
        "spec": {
            "podSelector": {"matchLabels": {"app": "cart"}},
            "policyTypes": ["Ingress"],
            "ingress": [{"ports": [
                {"port": port, "protocol": "TCP"},
                {"port": 53, "protocol": "UDP"},
            ]}],
        },
    })
}

#[test]
fn every_layer() -> Result<()> {
    let site = Site::build()?;
    let (client, server) = (&site.lab.client, &site.lab.server);
    let at = server.socket(Family::V6, PORT);
    let zone = [(NAME, at.ip())];
    let _dns = ZoneServer::start(server, server.socket(Family::V6, 53), &zone)?;
    let serving = tls_server::serve(server, at, NAME, tls_server::Kind::Good)?;
    let healthy = site.run(vec![admit(PORT)])?;
    healthy.healthy()?;
    for (layer, words) in [
        (Layer::Dns, at.ip().to_string()),
        (Layer::Tcp, "answered after".to_owned()),
        (Layer::Policy, "admitted; seen: answered".to_owned()),
        (Layer::Firewall, "got through".to_owned()),
        (
            Layer::Mtu,
            format!("1500 bytes, the MTU of eth0, pass to {}", at.ip()),
        ),
        (Layer::Listener, "handshake".to_owned()),
        (Layer::Tls, "TLS 1.3 and 1.2".to_owned()),
        (Layer::Application, "200 OK".to_owned()),
    ] {
        healthy.expect(layer, LayerResult::Ok, &words)?;
    }
    for test in healthy.layers.iter().map(|layer| &layer.test) {
        let is_inside = test.starts_with(&format!("ip netns exec {} ", client.name()))
            || test.starts_with(&format!("ip netns exec {} ", server.name()))
            || test.starts_with("whydrop explain ");
        ensure!(test.is_empty() || is_inside, "{test}");
    }

    // Nothing enforces the policy here.
    let refused = site.run(vec![admit(PORT + 1)])?;
    refused.expect(
        Layer::Policy,
        LayerResult::Ok,
        "1 of 2 flows are refused, but nothing enforces that",
    )?;

    drop(serving);
    let closed = site.run(vec![admit(PORT)])?;
    closed.fails(Layer::Tcp, Point::Socket, "no socket listens")?;
    closed.expect(Layer::Tls, LayerResult::Blocked, "blocked by TCP")?;

    let _serving = tls_server::serve(server, at, NAME, tls_server::Kind::Expired)?;
    let expired = site.run(vec![admit(PORT)])?;
    expired.fails(Layer::Tls, Point::Tls, "expired on 2021-01-01")?;

    nft(
        &site.lab.router,
        Chain::inet("forward"),
        &format!("tcp dport {PORT} drop"),
    )?;
    let dropped = site.run(vec![admit(PORT)])?;
    dropped.fails(Layer::Tcp, Point::Firewall, "")?;
    dropped.fails(Layer::Firewall, Point::Firewall, "")?;

    nft(
        &site.lab.router,
        Chain::inet("forward"),
        "udp dport 53 drop",
    )?;
    let unresolved = site.run(vec![admit(PORT)])?;
    unresolved.fails(Layer::Dns, Point::Firewall, "")?;
    Ok(())
}
