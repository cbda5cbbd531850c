//! Two nodes, a pod on each, and a tunnel of some kind between them.

use std::{
    io::{self, Write as _},
    net::{IpAddr, SocketAddr, TcpStream},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use whydrop_tests::{
    expected::ExpectedVerdict,
    incident::{End, Report, Stage},
    record::Direction,
    sink::Sink,
    traffic::UdpClient,
};

const SERVER: &str = "10.21.2.2:8080";
/// The nodes' own addresses: the ends of the tunnel.
const FIRST: &str = "10.20.10.1";
const SECOND: &str = "10.20.10.2";
const UNDERLAY_MTU: u32 = 1500;
/// Headers of IPv4 and UDP.
const HEADERS: u32 = 28;

/// A kind of tunnel.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    IpInIp,
}

impl Kind {
    /// As verdicts have it.
    const fn name(self) -> &'static str {
        match self {
            Self::IpInIp => "IP-in-IP",
        }
    }

    /// As the kernel has it.
    const fn link(self) -> &'static str {
        match self {
            Self::IpInIp => "ipip",
        }
    }

    /// The tunnel's device on both nodes.
    const fn device(self) -> &'static str {
        match self {
            Self::IpInIp => "tunl0",
        }
    }

    /// Bytes that it adds to each packet.
    const fn overhead(self) -> u32 {
        match self {
            Self::IpInIp => 20,
        }
    }

    /// Its packets, in nftables.
    const fn packets(self) -> &'static str {
        match self {
            Self::IpInIp => "ip protocol 4",
        }
    }

    /// They, in a rule that is proposed for them.
    const fn admitted(self) -> &'static str {
        match self {
            Self::IpInIp => "meta l4proto 4",
        }
    }

    /// What is to be opened for them between the nodes.
    const fn opened(self) -> &'static str {
        match self {
            Self::IpInIp => "IP-in-IP (protocol 4)",
        }
    }

    /// Both nodes with the tunnel, and the server's pod on the second one; `None` on a kernel without
    /// such tunnels.
    fn stage(self) -> Result<Option<Stage>> {
        let stage = Stage::new(["p1", "n1", "n2", "p2"])?;
        let link = self.link();
        let probe = format!("link add probe type {link} remote 192.0.2.1; link del probe");
        if stage.ip("n1", &probe).is_err() {
            // Not by `eprintln!`, which the test harness captures.
            writeln!(io::stderr(), "skipped: this kernel has no {}", self.name())?;
            return Ok(None);
        }
        stage.veth(("n1", "eth0"), ("n2", "eth0"))?;
        for (own, other) in [(1, 2), (2, 1)] {
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
            self.build(&stage, &node, own, other)?;
        }
        stage.serve("p2", SERVER)?;
        stage.serve_udp("p2", SERVER)?;
        Ok(Some(stage))
    }

    /// One node's end of the tunnel, as wide as the network below allows.
    fn build(self, stage: &Stage, node: &str, own: u8, other: u8) -> Result<()> {
        let mtu = UNDERLAY_MTU - self.overhead();
        match self {
            Self::IpInIp => stage.ip(
                node,
                &format!(
                    "link set tunl0 mtu {mtu} up; addr add 10.21.{own}.1/32 dev tunl0
                     route add 10.21.{other}.0/24 via 10.20.10.{other} dev tunl0 onlink"
                ),
            ),
        }
    }

    /// A connection through the tunnel, as seen on these nodes and in their pods.
    fn dial(self, stage: &Stage, nodes: [&'static str; 2]) -> Result<Report> {
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
        let expected = [
            ("eth0", Direction::Out, None),
            ("v", Direction::In, None),
            (self.device(), Direction::Out, None),
            ("eth0", Direction::Out, outer),
            ("eth0", Direction::In, outer),
            (self.device(), Direction::In, None),
            ("v", Direction::Out, None),
            ("eth0", Direction::In, None),
        ];
        ensure!(way == expected, "{way:?}");
        Ok(())
    }

    /// A rule at this hook of a node drops the tunnel's packets.
    fn blocked(self, node: &'static str, pod: &'static str, hook: &str) -> Result<()> {
        let Some(stage) = self.stage()? else {
            return Ok(());
        };
        let rule = format!("{} drop", self.packets());
        stage.exec(
            node,
            &format!(
                "nft 'table ip own {{ chain c {{ type filter hook {hook} priority 0; {rule}; }}; }}'"
            ),
        )?;
        self.dial(&stage, [node, pod])?.verdict(
            &ExpectedVerdict::new("overlay", "confirmed")
                .why(format!(
                    "drops the overlay's own packets in {}: `{rule}`",
                    hook.to_uppercase()
                ))
                .fix(format!(
                    "ip saddr {FIRST} ip daddr {SECOND} {}",
                    self.admitted()
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
        stage.keep(Sink::create(stage.namespace("n1"), "wan")?);
        stage.ip("n1", &format!("route add {SECOND} dev wan src {FIRST}"))?;
        let report = self.dial(&stage, ["p1", "n1"])?;
        report.outcome("unanswered")?.verdict(
            &ExpectedVerdict::new("off-node", "likely")
                .why(format!("left this node by wan inside a tunnel to {SECOND}"))
                .fix(format!(
                    "let through {} from {FIRST} to {SECOND}",
                    self.opened()
                )),
        )?;
        Ok(())
    }

    /// The second node, from which the tunnel is gone.
    fn without_end(self) -> Result<Option<Stage>> {
        let Some(stage) = self.stage()? else {
            return Ok(None);
        };
        stage.ip("n2", &format!("link set {} down", self.device()))?;
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
                .why("no tunnel device takes the encapsulated packet here")
                .evidence(format!("{} is down", self.device()))
                .fix(format!("ip link set dev {} up", self.device())),
        )?;
        Ok(())
    }

    pub(super) fn the_other_node_rejects_its_packets(self) -> Result<()> {
        let Some(stage) = self.without_end()? else {
            return Ok(());
        };
        let report = self.dial(&stage, ["n1", "p1"])?;
        report
            .outcome("unanswered")?
            .verdict(&ExpectedVerdict::new("overlay", "likely").why(format!(
                "the tunnel's remote end {SECOND} says: nothing takes {} there",
                self.opened()
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
        let device = self.device();
        let mtu = UNDERLAY_MTU - self.overhead();
        let narrowest = format!("{device}, with an MTU of {mtu}");
        self.send(&stage, mtu + 1)?.verdict(
            &self
                .too_large(mtu + 1, &narrowest, mtu)
                .fix(format!("start from an MTU of {mtu}"))
                .never_says(["ip link set"]),
        )?;
        Ok(())
    }

    /// The tunnel's device takes packets that do not fit into the network below with its headers.
    pub(super) fn tunnel_as_wide_as_its_underlay(self) -> Result<()> {
        let Some(stage) = self.stage()? else {
            return Ok(());
        };
        let device = self.device();
        stage.ip("n1", &format!("link set {device} mtu {UNDERLAY_MTU}"))?;
        let mtu = UNDERLAY_MTU - self.overhead();
        let narrowest = format!(
            "eth0, with an MTU of {UNDERLAY_MTU}, of which the tunnel takes {}",
            self.overhead()
        );
        self.send(&stage, mtu + 1)?.verdict(
            &self
                .too_large(mtu + 1, &narrowest, mtu)
                .fix(format!("ip link set dev {device} mtu {mtu}")),
        )?;
        Ok(())
    }
}

fn address(text: &str) -> Result<IpAddr> {
    text.parse().context("an address")
}
