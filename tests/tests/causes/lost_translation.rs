//! A connection is idle, and its conntrack entry expires or is removed: what follows is not
//! translated as its SYN was (kubernetes/kubernetes#74839, moby/moby#31208).

use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
};

use anyhow::Result;
use whydrop_tests::{
    deadline,
    expected::ExpectedVerdict,
    incident::{Report, Stage, Watch},
    record::Outcome,
};

const SERVER: &str = "10.20.2.3:8080";
const SERVICE: &str = "10.20.96.10:80";
const ELSEWHERE: &str = "10.20.3.4:8080";

/// Two endpoints of a Service behind a node, and a router that swallows the Service's address.
struct Cluster {
    stage: Stage,
    server: TcpListener,
    _other: TcpListener,
}

/// A connection that has been of use.
struct Connection {
    client: TcpStream,
    server: TcpStream,
}

impl Cluster {
    fn new() -> Result<Self> {
        let mut stage = Stage::routed_pods()?;
        stage.add("c")?;
        stage.add("gw")?;
        stage.veth(("c", "eth0"), ("node", "vc"))?;
        stage.veth(("gw", "eth0"), ("node", "up"))?;
        stage.ip(
            "node",
            "addr add 10.20.3.1/24 dev vc; addr add 10.20.9.1/24 dev up",
        )?;
        stage.ip(
            "c",
            "addr add 10.20.3.4/24 dev eth0; route add default via 10.20.3.1",
        )?;
        stage.ip(
            "gw",
            "addr add 10.20.9.2/24 dev eth0; route add blackhole 10.20.96.0/24",
        )?;
        stage.sysctl("gw", "net.ipv4.ip_forward=1")?;
        let server = stage.enter("b", || TcpListener::bind(SERVER))?;
        let other = stage.enter("c", || TcpListener::bind(ELSEWHERE))?;
        Ok(Self {
            stage,
            server,
            _other: other,
        })
    }

    fn lead_to(&self, endpoint: &str) -> Result<()> {
        self.stage.exec(
            "node",
            &format!(
                "iptables -t nat -F PREROUTING
                 iptables -t nat -A PREROUTING -d 10.20.96.10/32 -p tcp --dport 80 \
                    -j DNAT --to-destination {endpoint}"
            ),
        )?;
        Ok(())
    }

    fn masquerade(&self) -> Result<()> {
        let rule = "iptables -t nat -A POSTROUTING -o vb -j MASQUERADE";
        self.stage.exec("node", rule).map(drop)
    }

    /// No entry is made for a connection that is open already.
    fn track_from_the_start_only(&self) -> Result<()> {
        let setting = "net.netfilter.nf_conntrack_tcp_loose=0";
        self.stage.sysctl("node", setting)
    }

    fn forget(&self) -> Result<()> {
        self.stage.exec("node", "conntrack -F").map(drop)
    }

    /// The client of the Service sends after its entry is gone.
    fn client_sends_late(&self) -> Result<Report> {
        self.trace((SERVICE, SERVICE), |connection, watch| {
            self.forget()?;
            connection.client.write_all(b"late")?;
            until(watch, Outcome::Stalled)
        })
    }

    fn connect(&self, to: &str) -> Result<Connection> {
        let client = self.stage.enter("a", || TcpStream::connect(to))?;
        client.set_read_timeout(Some(deadline()))?;
        let (server, _) = self.server.accept()?;
        let mut connection = Connection { client, server };
        connection.call(b"hello")?;
        connection.answer(b"hello")?;
        Ok(connection)
    }

    /// A connection to `to`, with what happens to it while whydrop runs with these arguments.
    fn trace(
        &self,
        (to, arguments): (&str, &str),
        happens: impl FnOnce(&mut Connection, &mut Watch<'_>) -> Result<()>,
    ) -> Result<Report> {
        self.stage
            .trace(["node", "a", "b", "c"], arguments, |watch| {
                let mut connection = self.connect(to)?;
                until(watch, Outcome::Answered)?;
                happens(&mut connection, watch)
            })
    }
}

impl Connection {
    fn call(&mut self, words: &[u8]) -> Result<()> {
        self.client.write_all(words)?;
        self.server.read_exact(&mut vec![0; words.len()])?;
        Ok(())
    }

    fn answer(&mut self, words: &[u8]) -> Result<()> {
        self.server.write_all(words)?;
        self.client.read_exact(&mut vec![0; words.len()])?;
        Ok(())
    }
}

fn until(watch: &mut Watch<'_>, outcome: Outcome) -> Result<()> {
    watch.until(outcome.name(), |record| {
        let attempt = record.as_attempt();
        attempt.is_some_and(|attempt| attempt.outcome == outcome)
    })
}

fn lost(confidence: &'static str) -> ExpectedVerdict {
    ExpectedVerdict::new("conntrack", confidence)
        .why("the conntrack entry that translated 10.20.1.2")
        .fix("reconnect the client")
        .never_says(["no route", "security group"])
}

#[test]
fn the_server_speaks_first_when_a_masqueraded_connection_is_forgotten() -> Result<()> {
    let cluster = Cluster::new()?;
    cluster.masquerade()?;
    let report = cluster.trace((SERVER, SERVER), |connection, watch| {
        cluster.forget()?;
        connection.server.write_all(b"late")?;
        until(watch, Outcome::Stalled)
    })?;
    report.outcome("stalled")?.verdict(
        &lost("confirmed")
            .why("is gone")
            .why("what the server sends is not translated back"),
    )?;
    Ok(())
}

#[test]
fn the_rules_lead_to_another_endpoint_when_an_entry_is_removed() -> Result<()> {
    let cluster = Cluster::new()?;
    cluster.lead_to(SERVER)?;
    let report = cluster.trace((SERVICE, "--from 10.20.1.2"), |connection, watch| {
        cluster.lead_to(ELSEWHERE)?;
        cluster
            .stage
            .exec("node", "conntrack -D -p tcp --orig-dst 10.20.96.10")?;
        connection.client.write_all(b"late")?;
        until(watch, Outcome::Stalled)
    })?;
    report
        .outcome("stalled")?
        .verdict(&lost("confirmed").why("what the client sends goes to 10.20.3.4:8080"))?;
    Ok(())
}

#[test]
fn what_is_invalid_goes_on_untranslated() -> Result<()> {
    let cluster = Cluster::new()?;
    cluster.lead_to(SERVER)?;
    cluster.track_from_the_start_only()?;
    let report = cluster.client_sends_late()?;
    report
        .outcome("stalled")?
        .verdict(&lost("confirmed").why("what the client sends still goes to 10.20.96.10:80"))?;
    Ok(())
}

/// The router is not watched: nothing is seen but that the client sends its data again.
#[test]
fn what_is_untranslated_leaves_the_node() -> Result<()> {
    let cluster = Cluster::new()?;
    cluster.lead_to(SERVER)?;
    cluster.track_from_the_start_only()?;
    cluster
        .stage
        .ip("node", "route add default via 10.20.9.2")?;
    let report = cluster.client_sends_late()?;
    report
        .outcome("stalled")?
        .verdict(&lost("likely").why("is gone"))?;
    Ok(())
}

/// The process of the client has gone, and its server does not know it yet: no one misses the data.
#[test]
fn the_client_has_hung_up() -> Result<()> {
    let cluster = Cluster::new()?;
    cluster.masquerade()?;
    let report = cluster.trace((SERVER, SERVER), |connection, watch| {
        connection.client.shutdown(std::net::Shutdown::Both)?;
        connection
            .server
            .read_exact(&mut [0; 1])
            .expect_err("the end");
        cluster.forget()?;
        // A reset ends the server's connection: for this, or already for its ACK of the FIN.
        let _ = connection.server.write_all(b"late");
        connection
            .server
            .read_exact(&mut [0; 1])
            .expect_err("a reset");
        let another = cluster.connect(SERVER)?;
        let port = another.client.local_addr()?.port();
        watch.until("another connection", |record| {
            let attempt = record.as_attempt();
            attempt.is_some_and(|attempt| attempt.flow.sport == Some(port))
        })
    })?;
    report.silent().map(drop)
}

#[test]
fn healthy() -> Result<()> {
    let cluster = Cluster::new()?;
    cluster.lead_to(SERVER)?;
    cluster.masquerade()?;
    let report = cluster.trace((SERVICE, "--from 10.20.1.2"), |connection, _| {
        // Other endpoints are for new connections only.
        cluster.lead_to(ELSEWHERE)?;
        connection.answer(b"late")?;
        connection.call(b"late")
    })?;
    report.silent().map(drop)
}
