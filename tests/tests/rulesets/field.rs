//! The stage of rulesets from the field: a node between a client and a server, with the rules of
//! `tracer/testdata/ruleset/cases`.

use std::{
    collections::BTreeSet,
    io,
    net::{IpAddr, SocketAddr, SocketAddrV4},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use socket2::{Domain, Protocol, Socket, Type};
use whydrop_tests::{
    expected::ExpectedVerdict,
    incident::{Report, Stage},
    lab::Namespace,
    offer::paste,
    record::{Confidence, Fix, Verdict},
    traffic::{Outcome, TcpAttempt, UdpClient},
};

const CLIENT: &str = "10.30.1.2";
const SERVER: &str = "10.30.2.2";

/// What loads a source file.
const LOADERS: [(&str, &str); 4] = [
    ("sets", "ipset restore"),
    ("nft", "nft -f -"),
    ("rules", "iptables-nft-restore -c"),
    ("sh", "sh"),
];

/// `client` 10.30.1.2 – 10.30.1.1 `node` 10.30.2.1 – 10.30.2.2 `server`.
pub(super) struct Field {
    stage: Stage,
}

impl Field {
    /// The node's interfaces are `va` and `vb`.
    pub(super) fn of(case: &str) -> Result<Self> {
        Self::with_links(case, "va", "vb")
    }

    /// The node's interfaces have these names.
    pub(super) fn with_links(case: &str, va: &str, vb: &str) -> Result<Self> {
        let stage = Stage::new(["client", "node", "server"])?;
        stage.veth(("client", "eth0"), ("node", va))?;
        stage.veth(("server", "eth0"), ("node", vb))?;
        stage.ip(
            "node",
            &format!("addr add 10.30.1.1/24 dev {va}; addr add 10.30.2.1/24 dev {vb}"),
        )?;
        stage.ip(
            "client",
            "addr add 10.30.1.2/24 dev eth0; route add default via 10.30.1.1",
        )?;
        stage.ip(
            "server",
            "addr add 10.30.2.2/24 dev eth0; route add default via 10.30.2.1",
        )?;
        stage.sysctl("node", "net.ipv4.ip_forward=1")?;
        let field = Self { stage };
        field.load(case)?;
        Ok(field)
    }

    /// The server is behind a bridge of the node, at this port.
    pub(super) fn with_bridge(case: &str, va: &str, bridge: &str, port: &str) -> Result<Self> {
        let field = Self::with_links("none", va, port)?;
        field.stage.ip(
            "node",
            &format!(
                "addr flush dev {port}; link add {bridge} type bridge; link set {bridge} up
                 link set {port} master {bridge}; addr add 10.30.2.1/24 dev {bridge}"
            ),
        )?;
        field.load(case)?;
        Ok(field)
    }

    /// The server and a neighbor, 10.30.2.9, are at the ports `tap9` and `port9` of the bridge
    /// `qbr9`, which shows its frames to iptables.
    pub(super) fn bridged(case: &str) -> Result<Self> {
        let mut field = Self::with_bridge("none", "va", "qbr9", "tap9")?;
        field.stage.add("neighbor")?;
        field.stage.veth(("neighbor", "eth0"), ("node", "port9"))?;
        field.stage.ip("node", "link set port9 master qbr9")?;
        field.stage.ip(
            "neighbor",
            "link set eth0 address 02:30:00:00:00:09; addr add 10.30.2.9/24 dev eth0",
        )?;
        field
            .stage
            .sysctl("node", "net.bridge.bridge-nf-call-iptables=1")?;
        field.load(case)?;
        Ok(field)
    }

    /// The rules of a case, in the node.
    pub(super) fn load(&self, case: &str) -> Result<()> {
        for (kind, loader) in LOADERS {
            let source = source(case, kind);
            if source.exists() {
                let script = format!("{loader} < {}", source.display());
                self.stage.exec("node", &script)?;
            }
        }
        Ok(())
    }

    pub(super) fn stage(&self) -> &Stage {
        &self.stage
    }

    /// A server that answers at this address and port: of the server, or of the node.
    pub(super) fn serve(&self, address: &str) -> Result<()> {
        self.stage.serve(server_of(address), address)
    }

    /// A connection is tried, until a packet is dropped.
    pub(super) fn dropped<'a>(&'a self, role: &'a str, to: &str) -> Result<Fallen<'a>> {
        self.dropped_from(role, None, to)
    }

    /// The same, until it was dropped twice and the attempt has the second verdict.
    pub(super) fn dropped_twice<'a>(&'a self, role: &'a str, to: &str) -> Result<Fallen<'a>> {
        let address: SocketAddr = to.parse().with_context(|| to.to_owned())?;
        let start = move || TcpAttempt::start(self.stage.namespace(role), None, address);
        let report = self.stage.trace(["node"], "--all", |watch| {
            let _waits = start()?;
            watch.until("a drop of which more is known", |record| {
                let attempt = record.as_attempt().and_then(|one| one.verdict.as_ref());
                attempt.is_some_and(|verdict| verdict.confidence == Confidence::Confirmed)
            })
        })?;
        Ok(Fallen {
            field: self,
            report,
            passes: passes(start),
        })
    }

    /// The same from this address.
    pub(super) fn dropped_from<'a>(
        &'a self,
        role: &'a str,
        source: Option<&str>,
        to: &str,
    ) -> Result<Fallen<'a>> {
        let source: Option<IpAddr> = source.map(str::parse).transpose()?;
        let address: SocketAddr = to.parse().with_context(|| to.to_owned())?;
        let start = move || TcpAttempt::start(self.stage.namespace(role), source, address);
        let report = self.stage.trace(["node"], "--all", |watch| {
            let _waits = start()?;
            watch.until_drop()
        })?;
        Ok(Fallen {
            field: self,
            report,
            passes: passes(start),
        })
    }

    /// A DNS query is sent, until it is dropped.
    pub(super) fn dropped_query<'a>(&'a self, role: &'a str, to: &str) -> Result<Fallen<'a>> {
        let report = self.stage.trace(["node"], "--all", |watch| {
            watch.ask(role, to)?;
            watch.until_drop()
        })?;
        Ok(Fallen {
            field: self,
            report,
            passes: Box::new(|| Ok(false)),
        })
    }

    /// A datagram is sent to an echo server there, until a packet is dropped.
    pub(super) fn dropped_datagram(&self, role: &str, to: &str) -> Result<Fallen<'_>> {
        let address: SocketAddr = to.parse().with_context(|| to.to_owned())?;
        self.stage.serve_udp(server_of(to), to)?;
        let client = UdpClient::connect(self.stage.namespace(role), None, address)?;
        let report = self.stage.trace(["node"], "--all", |watch| {
            client.send(100)?;
            watch.until_drop()
        })?;
        Ok(Fallen {
            field: self,
            report,
            passes: Box::new(move || {
                client.send(100)?;
                Ok(client.answered(Duration::from_millis(1500))?)
            }),
        })
    }

    /// A ping is sent, until a packet is dropped.
    pub(super) fn dropped_ping<'a>(&'a self, role: &'a str, to: &str) -> Result<Fallen<'a>> {
        let command = format!("ping -n -c1 -W1 {to}");
        let passes = move || Ok(self.stage.exec(role, &command).is_ok());
        let report = self.stage.trace(["node"], "--all", |watch| {
            ensure!(!passes()?, "nothing was dropped");
            watch.until_drop()
        })?;
        Ok(Fallen {
            field: self,
            report,
            passes: Box::new(passes),
        })
    }

    /// The client answers a SYN that was never sent, with a SYN-ACK.
    pub(super) fn dropped_answer(&self, to: &str) -> Result<Fallen<'_>> {
        let to: SocketAddrV4 = to.parse().with_context(|| to.to_owned())?;
        let from = SocketAddrV4::new(CLIENT.parse()?, 40000);
        let report = self.stage.trace(["node"], "--all", |watch| {
            syn_ack(self.stage.namespace("client"), from, to)?;
            watch.until_drop()
        })?;
        Ok(Fallen {
            field: self,
            report,
            passes: Box::new(|| Ok(false)),
        })
    }

    /// Whether a connection is established, or refused because nothing listens.
    fn connects(&self, role: &str, to: SocketAddr) -> Result<bool> {
        let attempt = TcpAttempt::start(self.stage.namespace(role), None, to)?;
        let outcome = attempt.outcome(Duration::from_millis(1500))?;
        Ok(matches!(outcome, Outcome::Connected(_)))
    }

    /// The rules as they are, without what differs from one reading to the next.
    fn rules(&self) -> Result<String> {
        let text = self.stage.exec("node", "nft -n list ruleset")?;
        let words = text.split_whitespace();
        let mut skip = 0;
        let mut kept = Vec::new();
        for word in words {
            if skip > 0 {
                skip -= 1;
            } else if matches!(word, "packets" | "bytes" | "expires") {
                skip = 1;
            } else {
                kept.push(word);
            }
        }
        Ok(kept.join(" "))
    }
}

/// A packet that was dropped.
pub(super) struct Fallen<'a> {
    field: &'a Field,
    report: Report,
    /// Whether another one like it passes.
    passes: Box<dyn Fn() -> Result<bool> + 'a>,
}

impl Fallen<'_> {
    /// Every drop has a verdict that says this.
    pub(super) fn is(self, expected: &ExpectedVerdict) -> Result<Self> {
        for verdict in self.verdicts() {
            if let Some(wrong) = expected.mismatch(verdict) {
                anyhow::bail!("{wrong}, in\n{}", self.report);
            }
        }
        Ok(self)
    }

    /// What is said of the first drop.
    pub(super) fn first_is(self, expected: &ExpectedVerdict) -> Result<Self> {
        let first = self.verdicts().into_iter().next();
        self.says(first, expected)?;
        Ok(self)
    }

    /// What is said of the last drop.
    pub(super) fn last_is(self, expected: &ExpectedVerdict) -> Result<Self> {
        let last = self.verdicts().into_iter().next_back();
        self.says(last, expected)?;
        Ok(self)
    }

    /// What is said of the attempt, and in the end.
    pub(super) fn attempt_is(self, expected: &ExpectedVerdict) -> Result<Self> {
        let attempts = self.report.attempts();
        let attempt = attempts.first().and_then(|one| one.verdict.as_ref());
        self.says(attempt, expected)?;
        self.says(self.report.trace().summary.verdict.as_ref(), expected)?;
        Ok(self)
    }

    fn says(&self, verdict: Option<&Verdict>, expected: &ExpectedVerdict) -> Result<()> {
        let verdict = verdict.with_context(|| format!("no verdict in\n{}", self.report))?;
        match expected.mismatch(verdict) {
            Some(wrong) => anyhow::bail!("{wrong}, in\n{}", self.report),
            None => Ok(()),
        }
    }

    fn verdicts(&self) -> Vec<&Verdict> {
        let drops = self.report.trace().drops();
        drops.map(|drop| &drop.verdict).collect()
    }

    /// Everything that is proposed lets the connection pass, opens nothing that `closed` names, and
    /// is taken back without a trace.
    pub(super) fn mends(self, closed: &[&str]) -> Result<()> {
        let before = self.field.rules()?;
        let verdicts = self.verdicts();
        let mut undos = Vec::new();
        let fixes = verdicts.iter().flat_map(|verdict| &verdict.fix);
        let lines: BTreeSet<_> = fixes.map(|fix| (fix.line(), fix.undo_line())).collect();
        ensure!(!lines.is_empty(), "no fix in\n{}", self.report);
        for (apply, undo) in &lines {
            undos.push(undo.as_deref().with_context(|| apply.clone())?);
            paste(apply)?;
        }
        ensure!((self.passes)()?, "it does not help, in\n{}", self.report);
        for address in closed {
            ensure!(
                !self.field.connects("client", address.parse()?)?,
                "it opens {address}, in\n{}",
                self.report
            );
        }
        for undo in undos {
            paste(undo)?;
        }
        let after = self.field.rules()?;
        ensure!(before == after, "undone, {before}\nis {after}");
        Ok(())
    }

    /// No command is proposed.
    pub(super) fn offers_no_command(self) -> Result<()> {
        let verdicts = self.verdicts();
        let fixes = verdicts.iter().flat_map(|verdict| &verdict.fix);
        let mut fixes = fixes.map(Fix::text);
        let command = fixes.find(|fix| fix.starts_with("ip netns exec") || fix.contains("(undo:"));
        ensure!(command.is_none(), "{command:?}, in\n{}", self.report);
        Ok(())
    }
}

/// Whether another connection comes about.
fn passes<'a>(start: impl Fn() -> Result<TcpAttempt> + 'a) -> Box<dyn Fn() -> Result<bool> + 'a> {
    Box::new(move || {
        let outcome = start()?.outcome(Duration::from_millis(1500))?;
        Ok(matches!(outcome, Outcome::Connected(_)))
    })
}

fn server_of(address: &str) -> &'static str {
    if address.starts_with(SERVER) {
        "server"
    } else {
        "node"
    }
}

/// Sends a segment by hand: SYN and ACK, without a payload.
fn syn_ack(namespace: &Namespace, from: SocketAddrV4, to: SocketAddrV4) -> Result<()> {
    let mut segment = [0; 20];
    segment[..2].copy_from_slice(&from.port().to_be_bytes());
    segment[2..4].copy_from_slice(&to.port().to_be_bytes());
    segment[4..8].copy_from_slice(&7_u32.to_be_bytes());
    segment[8..12].copy_from_slice(&8_u32.to_be_bytes());
    segment[12..16].copy_from_slice(&[0x50, 0x12, 0xff, 0xff]);
    let pseudo = [from.ip().octets(), to.ip().octets(), [0, 6, 0, 20]].concat();
    let words = pseudo.chunks(2).chain(segment.chunks(2));
    let sum: u32 = words
        .map(|word| u32::from(u16::from_be_bytes([word[0], word[1]])))
        .sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    let folded = (folded & 0xffff) + (folded >> 16);
    segment[16..18].copy_from_slice(&(!(folded as u16)).to_be_bytes());
    let socket = namespace.enter(|| -> io::Result<Socket> {
        let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::TCP))?;
        socket.bind(&SocketAddrV4::new(*from.ip(), 0).into())?;
        Ok(socket)
    })?;
    socket.send_to(&segment, &to.into())?;
    Ok(())
}

fn source(case: &str, kind: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../tracer/testdata/ruleset/cases")
        .join(format!("{case}.{kind}"))
}
