//! What comes and goes.

use std::net::SocketAddr;

use anyhow::{Result, ensure};
use whydrop_tests::{
    deadline,
    fault::{Chain, nft},
    lab::{Family, Lab, VethPairs, topology::NodeLab},
    traffic::{Outcome, TcpAttempt, TcpServer, UdpClient, upload},
};

const OPEN: u16 = 8080;
const CLOSED: u16 = 8081;
pub(crate) const FILTERED: u16 = 8082;
/// Links that come and go at once.
const LINKS: usize = 20;
const GROUP: u32 = 77;

/// Everything that comes and goes in a lab.
pub(crate) struct Churn<'a> {
    in_lab: &'a Lab,
    lab: &'a NodeLab,
    _servers: Vec<TcpServer>,
    /// Attempts that stay unanswered; each stays for a few rounds.
    silent: Vec<TcpAttempt>,
    pub(crate) rounds: usize,
}

impl<'a> Churn<'a> {
    pub(crate) fn start(in_lab: &'a Lab, lab: &'a NodeLab) -> Result<Self> {
        for port in [FILTERED, 53] {
            for protocol in ["tcp", "udp"] {
                let rule = format!("{protocol} dport {port} drop");
                nft(&lab.node, Chain::inet("forward"), &rule)?;
            }
        }
        // With every port, another kind of drop.
        for client in [&lab.pod_a, &lab.outside] {
            client.sysctl("ipv4/ip_local_port_range", "40000 40127")?;
            client.sysctl("ipv4/tcp_tw_reuse", "1")?;
        }
        let servers = Family::BOTH
            .into_iter()
            .map(|family| TcpServer::echo(&lab.outside, lab.outside.socket(family, OPEN)));
        Ok(Self {
            in_lab,
            lab,
            _servers: servers.collect::<Result<_>>()?,
            silent: Vec::new(),
            rounds: 0,
        })
    }

    /// One round: interfaces, a pod, an address, and traffic with every outcome.
    pub(crate) fn round(&mut self) -> Result<()> {
        self.links()?;
        self.pod()?;
        self.address()?;
        let family = Family::BOTH[self.rounds % 2];
        self.traffic(family)?;
        self.rounds += 1;
        Ok(())
    }

    /// What was left of the last rounds goes.
    pub(crate) fn end(&mut self) -> Result<()> {
        self.silent.clear();
        Ok(())
    }

    fn links(&self) -> Result<()> {
        let pairs = VethPairs {
            name: "churn",
            count: LINKS,
            group: GROUP,
        };
        let node = &self.lab.node;
        pairs.create(node, &self.lab.outside)?;
        node.run(&format!("ip link delete group {GROUP}")).map(drop)
    }

    /// A pod that is born, talks, is denied, and dies with a connection attempt under way.
    fn pod(&mut self) -> Result<()> {
        let pod = self.lab.further_pod(self.in_lab, "churn", "veth-c")?;
        pod.sysctl("ipv4/ip_local_port_range", "40000 40015")?;
        let server = self.lab.outside.socket(Family::V4, OPEN);
        let healthy = TcpAttempt::start(&pod, None, server)?;
        ensure!(
            matches!(healthy.outcome(deadline())?, Outcome::Connected(_)),
            "a pod that cannot talk"
        );
        let filtered = self.lab.outside.socket(Family::V4, FILTERED);
        drop(TcpAttempt::start(&pod, None, filtered)?);
        // The pod's own end of the pair is in a namespace that is not watched; its other end is.
        self.lab.node.run("ip link delete veth-c").map(drop)
    }

    fn address(&self) -> Result<()> {
        let address = self.in_lab.plan().address(Family::V4, 1, 200);
        let node = &self.lab.node;
        node.run(&format!("ip address add {address}/32 dev cni0"))?;
        node.run(&format!("ip address delete {address}/32 dev cni0"))
            .map(drop)
    }

    fn traffic(&mut self, family: Family) -> Result<()> {
        let (client, server) = (&self.lab.pod_a, &self.lab.outside);
        let attempt = |port| TcpAttempt::start(client, None, server.socket(family, port));
        let Outcome::Connected(connection) = attempt(OPEN)?.outcome(deadline())? else {
            anyhow::bail!("no connection");
        };
        ensure!(
            upload(connection, 10_000, deadline())?,
            "the transfer stalled"
        );
        ensure!(
            matches!(attempt(CLOSED)?.outcome(deadline())?, Outcome::Refused),
            "a closed port that does not refuse"
        );
        if self.silent.len() >= 8 {
            self.silent.remove(0);
        }
        self.silent.push(attempt(FILTERED)?);
        for port in [FILTERED, 53] {
            let target = SocketAddr::new(server.address(family), port);
            UdpClient::connect(client, None, target)?.storm(50)?;
        }
        Ok(())
    }
}
