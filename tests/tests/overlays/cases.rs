//! What goes wrong with a tunnel, whatever its kind.

use std::{
    net::{IpAddr, SocketAddr, TcpStream},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use whydrop_tests::{
    expected::ExpectedVerdict,
    incident::{End, Report, Stage},
    record::Direction,
    traffic::UdpClient,
};

use super::{
    kind::{Facts, Kind},
    stage::{FIRST, SECOND, SERVER, UNDERLAY_MTU, block, swallow},
};

/// Headers of IPv4 and UDP.
const HEADERS: u32 = 28;

impl Kind {
    /// A connection through the tunnel, as seen on these nodes and in their pods.
    pub(super) fn dial(self, stage: &Stage, nodes: [&'static str; 2]) -> Result<Report> {
        stage.trace(nodes, SERVER, |watch| watch.dial("p1", SERVER))
    }

    pub(super) fn healthy(self) -> Result<()> {
        let Some(stage) = self.stage()? else {
            return Ok(());
        };
        let report = stage.trace(["p1", "n1", "n2", "p2"], SERVER, |watch| {
            watch.dial("p1", SERVER)?.ends(End::Answered)
        })?;
        report.silent()?;
        let attempts = report.attempts();
        let [attempt] = &attempts[..] else {
            anyhow::bail!("not one attempt, in\n{report}");
        };
        // On the device it is itself, below it the tunnel's.
        let way: Vec<_> = attempt
            .hops
            .iter()
            .map(|hop| {
                let outer = hop.outer.as_ref().map(|outer| (outer.src, outer.dst));
                (hop.ifname.as_str(), hop.dir, outer)
            })
            .collect();
        let outer = Some((address(FIRST)?, address(SECOND)?));
        let mut expected = vec![
            ("eth0", Direction::Out, None),
            ("v", Direction::In, None),
            (self.facts().device, Direction::Out, None),
            ("eth0", Direction::Out, outer),
            ("eth0", Direction::In, outer),
            (self.facts().device, Direction::In, None),
            ("v", Direction::Out, None),
            ("eth0", Direction::In, None),
        ];
        if self == Self::Wireguard {
            // Encrypted, nothing shows what is inside.
            expected.retain(|(ifname, _, outer)| (*ifname, outer.is_some()) != ("eth0", true));
        }
        ensure!(way == expected, "{way:?}");
        Ok(())
    }

    /// A rule at this hook of a node drops the tunnel's packets.
    fn blocked(self, node: &'static str, pod: &'static str, hook: &str) -> Result<()> {
        let Some(stage) = self.stage()? else {
            return Ok(());
        };
        let rule = block(&stage, node, hook, self.facts().packets)?;
        self.dial(&stage, [node, pod])?.verdict(
            &ExpectedVerdict::new("overlay", "confirmed")
                .why(format!(
                    "drops the overlay's own packets in {}: `{rule}`",
                    hook.to_uppercase()
                ))
                .fix(format!(
                    "ip saddr {FIRST} ip daddr {SECOND} {}",
                    self.facts().admitted
                )),
        )?;
        Ok(())
    }

    pub(super) fn blocked_where_it_leaves(self) -> Result<()> {
        self.blocked("n1", "p1", "output")
    }

    pub(super) fn blocked_where_it_arrives(self) -> Result<()> {
        self.blocked("n2", "p2", "input")
    }

    /// What is sent to the second node gets lost outside the first one.
    pub(super) fn swallowed_on_the_way(self) -> Result<()> {
        let Some(stage) = self.stage()? else {
            return Ok(());
        };
        swallow(&stage)?;
        let report = self.dial(&stage, ["p1", "n1"])?;
        let (protocol, port) = self.facts().opened;
        report.outcome("unanswered")?.verdict(
            &ExpectedVerdict::new("off-node", "likely")
                .why(format!("left this node by wan inside a tunnel to {SECOND}"))
                .fix(format!(
                    "let through {protocol} from {FIRST} to {SECOND}{port}"
                )),
        )?;
        Ok(())
    }

    /// The second node, from which the tunnel is gone.
    fn without_end(self) -> Result<Option<Stage>> {
        let Some(stage) = self.stage()? else {
            return Ok(None);
        };
        stage.ip("n2", &format!("link set {} down", self.facts().device))?;
        Ok(Some(stage))
    }

    pub(super) fn no_tunnel_at_the_other_node(self) -> Result<()> {
        let Some(stage) = self.without_end()? else {
            return Ok(());
        };
        let report = stage.trace(["n2", "p2"], SERVER, |watch| {
            // With the device its routes went: nothing shows the first node to be one. What comes from a
            // stranger opens no attempt.
            let server = SERVER.parse()?;
            let patience = Duration::from_secs(1);
            let connected = watch
                .stage()
                .enter("p1", || TcpStream::connect_timeout(&server, patience));
            ensure!(connected.is_err(), "the other node has no tunnel");
            watch.until_drop()
        })?;
        report.verdict(
            &ExpectedVerdict::any_of(["overlay"])
                .at_least("likely")
                .why(self.facts().untaken)
                .evidence(format!("{} is down", self.facts().device))
                .fix(format!("ip link set dev {} up", self.facts().device)),
        )?;
        Ok(())
    }

    pub(super) fn the_other_node_rejects_its_packets(self) -> Result<()> {
        let Some(stage) = self.without_end()? else {
            return Ok(());
        };
        let report = self.dial(&stage, ["n1", "p1"])?;
        let (protocol, port) = self.facts().opened;
        report
            .outcome("unanswered")?
            .verdict(&ExpectedVerdict::new("overlay", "likely").why(format!(
                "the tunnel's remote end {SECOND} says: nothing takes {protocol}{port} there"
            )))?;
        Ok(())
    }
    /// A datagram of this length, headers included, which must not be fragmented.
    fn send(self, stage: &Stage, length: u32) -> Result<Report> {
        let server: SocketAddr = SERVER.parse()?;
        stage.trace(["p1", "n1"], SERVER, |watch| {
            let client = UdpClient::connect(watch.stage().namespace("p1"), None, server)?;
            client.probe_mtu()?;
            client.send((length - HEADERS) as usize)?;
            watch.until_drop()
        })
    }

    fn too_large(self, length: u32, hop: &str, left: u32) -> ExpectedVerdict {
        ExpectedVerdict::new("mtu", "confirmed")
            .why(format!("a packet of {length} bytes"))
            .evidence(format!("the narrowest hop here is {hop}"))
            .evidence(format!("ping -M do -s {} 10.21.2.2", left - HEADERS))
    }

    /// The pods' interfaces are wider than the tunnel.
    pub(super) fn larger_than_the_tunnel_takes(self) -> Result<()> {
        let Some(stage) = self.stage()? else {
            return Ok(());
        };
        let device = self.facts().device;
        let mtu = UNDERLAY_MTU - self.facts().overhead;
        let narrowest = format!("{device}, with an MTU of {mtu}");
        self.send(&stage, mtu + 1)?.verdict(
            &self
                .too_large(mtu + 1, &narrowest, mtu)
                .fix(format!("start from an MTU of {mtu}"))
                .never_says(["ip link set"]),
        )?;
        Ok(())
    }

    /// The network below the tunnel has room for the packet, and its device has not.
    pub(super) fn tunnel_narrower_than_its_underlay_allows(self) -> Result<()> {
        let Some(stage) = self.stage()? else {
            return Ok(());
        };
        let Facts {
            device, overhead, ..
        } = self.facts();
        stage.ip("n1", &format!("link set {device} mtu 1400"))?;
        let room = UNDERLAY_MTU - overhead;
        self.send(&stage, room)?.verdict(
            &self
                .too_large(room, &format!("{device}, with an MTU of 1400"), 1400)
                .fix(format!("ip link set dev {device} mtu {room} (undo: ")),
        )?;
        Ok(())
    }

    /// The tunnel's device takes packets that do not fit into the network below with its headers.
    pub(super) fn tunnel_as_wide_as_its_underlay(self) -> Result<()> {
        let Some(stage) = self.stage()? else {
            return Ok(());
        };
        let device = self.facts().device;
        stage.ip("n1", &format!("link set {device} mtu {UNDERLAY_MTU}"))?;
        let mtu = UNDERLAY_MTU - self.facts().overhead;
        let narrowest = format!(
            "eth0, with an MTU of {UNDERLAY_MTU}, of which the tunnel takes {}",
            self.facts().overhead
        );
        // It is dropped by the tunnel's device, or below it with all headers.
        let dropped = match self {
            Self::Geneve => mtu + 1 + self.facts().overhead,
            _ => mtu + 1,
        };
        self.send(&stage, mtu + 1)?.verdict(
            &self
                .too_large(dropped, &narrowest, mtu)
                .fix(format!("ip link set dev {device} mtu {mtu}")),
        )?;
        Ok(())
    }
}

fn address(text: &str) -> Result<IpAddr> {
    text.parse().context("an address")
}
