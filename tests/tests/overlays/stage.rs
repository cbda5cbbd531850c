//! Two nodes, a pod on each, and a tunnel of some kind between them.

use std::{
    io::{self, Write as _},
    net::{Ipv4Addr, SocketAddrV4},
};

use anyhow::Result;
use whydrop_tests::{
    incident::Stage,
    lab::{Wireguard, WireguardPeer},
    sink::Sink,
};

use super::kind::{Facts, Kind};

/// The server in the second node's pod.
pub(super) const SERVER: &str = "10.21.2.2:8080";
/// The nodes' own addresses: the ends of the tunnel.
pub(super) const FIRST: &str = "10.20.10.1";
pub(super) const SECOND: &str = "10.20.10.2";
/// The port of WireGuard.
pub(super) const PORT: u16 = 51820;
/// What the network below the tunnel takes.
pub(super) const UNDERLAY_MTU: u32 = 1500;

impl Kind {
    /// Both nodes with the tunnel, and the server's pod on the second one; `None` on a kernel without
    /// such tunnels.
    pub(super) fn stage(self) -> Result<Option<Stage>> {
        let stage = Stage::new(["p1", "n1", "n2", "p2"])?;
        let link = self.facts().link;
        let probe = format!("link add probe type {link}; link del probe");
        if stage.ip("n1", &probe).is_err() {
            // Not by `eprintln!`, which the test harness captures.
            writeln!(
                io::stderr(),
                "skipped: this kernel has no {}",
                self.facts().name
            )?;
            return Ok(None);
        }
        stage.veth(("n1", "eth0"), ("n2", "eth0"))?;
        for own in [1, 2] {
            let (node, pod) = (format!("n{own}"), format!("p{own}"));
            stage.veth((&pod, "eth0"), (&node, "v"))?;
            stage.ip(
                &pod,
                &format!("addr add 10.21.{own}.2/24 dev eth0; route add default via 10.21.{own}.1"),
            )?;
            stage.ip(
                &node,
                &format!("addr add 10.20.10.{own}/24 dev eth0; addr add 10.21.{own}.1/24 dev v"),
            )?;
            stage.sysctl(&node, "net.ipv4.ip_forward=1")?;
        }
        self.build(&stage)?;
        stage.serve("p2", SERVER)?;
        stage.serve_udp("p2", SERVER)?;
        Ok(Some(stage))
    }

    /// Both nodes' ends of the tunnel, as wide as the network below allows.
    fn build(self, stage: &Stage) -> Result<()> {
        if self == Self::Wireguard {
            build_wireguard(stage)?;
        }
        let Facts {
            device, overhead, ..
        } = self.facts();
        let mtu = UNDERLAY_MTU - overhead;
        for (own, other) in [(1, 2), (2, 1)] {
            // How the device is made, its neighbor, and how the route leads to it.
            let (add, neighbor, via) = match self {
                Self::IpInIp => (
                    String::new(),
                    String::new(),
                    format!("via 10.20.10.{other}"),
                ),
                Self::Gre => (
                    format!("link add gre1 type gre local 10.20.10.{own} remote 10.20.10.{other}"),
                    String::new(),
                    String::new(),
                ),
                // What it sends must not be fragmented, as IP in IP and GRE have it by themselves.
                Self::Geneve => (
                    format!(
                        "link add gnv1 address 02:00:00:00:00:0{own} type geneve id 7 df set remote \
                         10.20.10.{other}"
                    ),
                    format!("neigh add 10.21.{other}.1 lladdr 02:00:00:00:00:0{other} dev gnv1"),
                    format!("via 10.21.{other}.1"),
                ),
                Self::Wireguard => Default::default(),
            };
            let onlink = if via.is_empty() { "" } else { "onlink" };
            stage.ip(
                &format!("n{own}"),
                &format!(
                    "{add}; link set {device} mtu {mtu} up; addr add 10.21.{own}.1/32 dev {device}
                     {neighbor}
                     route add 10.21.{other}.0/24 {via} dev {device} {onlink}"
                ),
            )?;
        }
        Ok(())
    }
}

/// Drops these packets at a hook of a node. Returns the rule.
pub(super) fn block(stage: &Stage, node: &str, hook: &str, packets: &str) -> Result<String> {
    let rule = format!("{packets} drop");
    let chain = format!("type filter hook {hook} priority 0; {rule};");
    stage.exec(
        node,
        &format!("nft 'table ip own {{ chain c {{ {chain} }}; }}'"),
    )?;
    Ok(rule)
}

/// What the first node sends to the second one gets lost outside.
pub(super) fn swallow(stage: &Stage) -> Result<()> {
    stage.keep(Sink::create(stage.namespace("n1"), "wan")?);
    stage.ip("n1", &format!("route add {SECOND} dev wan src {FIRST}"))
}

/// A device on each node, which knows the other one.
fn build_wireguard(stage: &Stage) -> Result<()> {
    let devices = ["n1", "n2"].map(|node| Wireguard {
        namespace: stage.namespace(node),
        name: Kind::Wireguard.facts().device,
    });
    let keys = [devices[0].create(1, PORT)?, devices[1].create(2, PORT)?];
    for (index, device) in devices.iter().enumerate() {
        let other = 1 - index;
        let number = u8::try_from(other + 1)?;
        device.add_peer(&WireguardPeer {
            key: keys[other],
            endpoint: Some(SocketAddrV4::new(Ipv4Addr::new(10, 20, 10, number), PORT)),
            allowed: (Ipv4Addr::new(10, 21, number, 0), 24),
        })?;
    }
    Ok(())
}
