//! Same node against cross node.

use anyhow::Result;
use tempfile::TempDir;
use whydrop_tests::{
    fault::{Chain, nft},
    kube::{Objects, Pod, service},
    lab::{
        Family, Lab,
        topology::{OverlayLab, Underlay},
    },
    record::{Layer, LayerResult, Point},
    traffic::TcpServer,
};

use super::PORT;

/// The other node is gone: the endpoint on the same node answers, the one beyond does not.
#[test]
fn dead_vtep() -> Result<()> {
    let lab = Lab::new()?;
    let overlay = OverlayLab::build_in(&lab, Underlay::Direct)?;
    let near = overlay.second_pod(&lab)?;
    let [here, there] = &overlay.nodes;
    let ip = |host: &whydrop_tests::lab::Host| host.address(Family::V4);
    let _servers = [
        TcpServer::echo(&near, near.socket(Family::V4, PORT))?,
        TcpServer::echo(&there.pod, there.pod.socket(Family::V4, PORT))?,
    ];
    let front = lab.plan().address(Family::V4, 96, 10);
    let rule = format!(
        "ip daddr {front} tcp dport 80 dnat ip to {}:{PORT}",
        ip(&near)
    );
    nft(&here.node, Chain::dnat(), &rule)?;
    let endpoints = [ip(&near), ip(&there.pod)];
    let [one, other] = service("shop/cart", "cart", front, (&endpoints, PORT));
    let objects = Objects {
        pods: vec![
            Pod::new("shop/web", "app=web", ip(&here.pod), "node-1"),
            Pod::new("shop/cart-0", "app=cart", ip(&near), "node-1"),
            Pod::new("shop/cart-1", "app=cart", ip(&there.pod), "node-2"),
        ],
        policies: Vec::new(),
        others: vec![one, other],
    };
    let directory = TempDir::new()?;
    let file = objects.write(directory.path(), "cluster.json")?;
    let run = || {
        let watched: Vec<_> = [&here.node, &here.pod, &near]
            .map(|host| host.namespace())
            .into();
        let from = ip(&here.pod);
        let probe = whydrop_tests::probe::Probe::new(from, "svc/shop/cart:80", &watched);
        probe.cluster(&file).run()
    };
    let healthy = run()?;
    healthy.healthy()?;
    healthy.expect(
        Layer::Overlay,
        LayerResult::Ok,
        "placement makes no difference",
    )?;

    // No host has the other node's address any more.
    let vtep = ip(&there.node);
    here.node.sysctl("ipv4/neigh/eth0/mcast_solicit", "1")?;
    there
        .node
        .run(&format!("ip address delete {vtep}/24 dev eth0"))?;
    here.node.run("ip -4 neighbor flush dev eth0")?;
    let dead = run()?;
    let words = "1 of 1 on the same node and 0 of 1 on other nodes answer: the path between the nodes fails";
    dead.expect(Layer::Overlay, LayerResult::Failed, words)?;
    dead.expect(Layer::Tcp, LayerResult::Failed, "1 of 2 endpoints")?;
    let overlay = dead.layer(Layer::Overlay)?;
    let point = overlay.verdict.as_ref().map(|verdict| verdict.point);
    anyhow::ensure!(point == Some(Point::Overlay), "{overlay:?}");
    Ok(())
}
