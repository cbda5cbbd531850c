//! Two nodes that are traced at the same time, each by a whydrop of its own, and what `whydrop join`
//! says of both together. A router that no trace watches lies between them.

use std::{
    collections::BTreeSet,
    net::{Shutdown, SocketAddr},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use tracer_model::{Confidence, Outcome, PathReport, Point};
use whydrop_tests::{
    deadline,
    fault::{Chain, Iptables, nft},
    joined::{TwoNodes, join, path_of},
    lab::{
        Family, Namespace,
        topology::{OverlayLab, Underlay},
    },
    record::Record,
    traffic::{Outcome::Connected, TcpAttempt, TcpServer, upload},
};

const PORT: u16 = 8080;

/// A failing attempt in traces of both nodes, after a healthy one: the path of each.
struct Tried {
    traces: [Vec<Record>; 2],
    flow: whydrop_tests::traffic::Flow,
}

/// Traces both nodes while a pod connects to the other node's pod, before the fault and after it.
fn pods(lab: &OverlayLab, fault: impl FnOnce() -> Result<()>) -> Result<Tried> {
    let [first, second] = &lab.nodes;
    let server = second.pod.socket(Family::V4, PORT);
    connect(lab, (&first.pod, &second.pod), (server, server), fault)
}

/// The same for the nodes themselves, without a tunnel.
fn nodes(lab: &OverlayLab, fault: impl FnOnce() -> Result<()>) -> Result<Tried> {
    let [first, second] = &lab.nodes;
    let server = second.node.socket(Family::V4, PORT);
    connect(lab, (&first.node, &second.node), (server, server), fault)
}

/// The client asks for the first address, and the server has the second.
fn connect(
    lab: &OverlayLab,
    (client, host): (&Namespace, &Namespace),
    (asked, server): (SocketAddr, SocketAddr),
    fault: impl FnOnce() -> Result<()>,
) -> Result<Tried> {
    let _server = TcpServer::echo(host, server)?;
    let [first, second] = &lab.nodes;
    let mut both = TwoNodes::start([&first.node, &second.node])?;
    both.healthy(TcpAttempt::start(client, None, asked)?)?;
    fault()?;
    let flow = both.await_outcome(TcpAttempt::start(client, None, asked)?)?;
    Ok(Tried {
        traces: both.finish()?,
        flow,
    })
}

impl Tried {
    /// The path of the failing attempt. The healthy one is a path through both nodes, without a
    /// verdict.
    fn path(&self) -> Result<PathReport> {
        let paths = join(&self.traces)?;
        let [healthy, _] = paths.as_slice() else {
            anyhow::bail!("not two paths: {paths:?}");
        };
        ensure!(
            healthy.outcome == Outcome::Answered
                && healthy.verdict.is_none()
                && healthy.between.is_none(),
            "{healthy:?}"
        );
        let seen_by = |node: &str| {
            let there = healthy.hops.iter().any(|hop| hop.node == node);
            there && healthy.reply_hops.iter().any(|hop| hop.node == node)
        };
        ensure!(
            TwoNodes::NAMES.iter().all(|node| seen_by(node)),
            "{healthy:?}"
        );
        Ok(path_of(&paths, self.flow)?.clone())
    }
}

/// Point, confidence, and the nodes between which it was lost.
type Judged<'a> = (Point, Confidence, Option<(&'a str, &'a str)>);

fn judged(path: &PathReport) -> Result<Judged<'_>> {
    let verdict = path.verdict.as_ref().context("a failure has a verdict")?;
    let between = path.between.as_ref();
    let between = between.map(|it| (it.from.as_str(), it.to.as_str()));
    Ok((verdict.point, verdict.confidence, between))
}

fn between<'a>(
    path: &'a PathReport,
    point: Point,
    nodes: (&'a str, &'a str),
) -> Result<&'a PathReport> {
    let expected = (point, Confidence::Confirmed, Some(nodes));
    ensure!(judged(path)? == expected, "{path:?}");
    Ok(path)
}

fn router(lab: &OverlayLab) -> Result<&Namespace> {
    lab.underlay.as_ref().context("a router")
}

/// The router drops the tunnel's packets: confirmed, with what to open.
#[test]
fn a_tunnels_packets_are_lost_between_the_nodes() -> Result<()> {
    for port in [OverlayLab::PORT, OverlayLab::LINUX_PORT] {
        let lab = OverlayLab::on_port(Underlay::Routed, port)?;
        let rule = format!("udp dport {port} drop");
        let tried = pods(&lab, || nft(router(&lab)?, Chain::inet("forward"), &rule))?;
        let path = tried.path()?;
        between(&path, Point::Overlay, ("node-1", "node-2"))?;
        let outer = path.between.as_ref().and_then(|it| it.outer);
        let outer = outer.context("it was encapsulated")?;
        let vteps = [0, 1].map(|index| lab.nodes[index].node.address(Family::V4));
        ensure!([outer.src, outer.dst] == vteps, "{outer:?}");
        let fix = format!("udp from {} to {} port {port}", vteps[0], vteps[1]);
        let verdict = path.verdict.as_ref().context("a verdict")?;
        ensure!(verdict.fix[0].line().contains(&fix), "{verdict:?}");
    }
    Ok(())
}

/// Without a tunnel: the network lost it, and it is no tunnel's fault.
#[test]
fn plain_packets_are_lost_between_the_nodes() -> Result<()> {
    let lab = OverlayLab::build(Underlay::Routed)?;
    let rule = format!("tcp dport {PORT} drop");
    let tried = nodes(&lab, || nft(router(&lab)?, Chain::inet("forward"), &rule))?;
    between(&tried.path()?, Point::OffNode, ("node-1", "node-2")).map(drop)
}

/// The SYN comes through, and the SYN-ACK is lost on its way back.
#[test]
fn the_answer_is_lost_between_the_nodes() -> Result<()> {
    let lab = OverlayLab::build(Underlay::Routed)?;
    let back = lab.nodes[0].node.address(Family::V4);
    let rule = format!("ip daddr {back} udp dport {} drop", lab.port);
    let tried = pods(&lab, || nft(router(&lab)?, Chain::inet("forward"), &rule))?;
    let path = tried.path()?;
    between(&path, Point::Overlay, ("node-2", "node-1"))?;
    ensure!(
        path.reply_hops.iter().all(|hop| hop.node == "node-2"),
        "{path:?}"
    );
    Ok(())
}

/// What the far node dropped is its own verdict, with its evidence.
#[test]
fn the_far_node_dropped_it() -> Result<()> {
    let lab = OverlayLab::build(Underlay::Routed)?;
    let rule = format!("tcp dport {PORT} drop");
    let far = &lab.nodes[1].node;
    let tried = pods(&lab, || nft(far, Chain::inet("forward"), &rule))?;
    let path = tried.path()?;
    let expected = (Point::Firewall, Confidence::Confirmed, None);
    ensure!(judged(&path)? == expected, "{path:?}");
    let verdict = path.verdict.as_ref().context("a verdict")?;
    ensure!(
        verdict.why.contains("filter_forward") && verdict.evidence[0].contains("node-2"),
        "{verdict:?}"
    );
    Ok(())
}

/// So is what its policy engine refused: both saw the attempt, and the path has the verdict of the node that
/// has the policy.
#[test]
fn a_policy_of_the_far_node_refused_it() -> Result<()> {
    let lab = OverlayLab::build(Underlay::Routed)?;
    let far = &lab.nodes[1].node;
    let rules = format!(
        "*filter\n:cali-FORWARD - [0:0]\n:cali-tw-veth-a - [0:0]\n-A FORWARD -j cali-FORWARD\n\
         -A cali-FORWARD -p tcp --dport {PORT} -j cali-tw-veth-a\n\
         -A cali-tw-veth-a -m comment --comment \"Drop if no policies passed packet\" -j DROP\nCOMMIT\n"
    );
    let load = || far.run_with_input("iptables-nft-restore", &rules).map(drop);
    let tried = pods(&lab, load)?;
    let path = tried.path()?;
    let expected = (Point::Policy, Confidence::Confirmed, None);
    ensure!(judged(&path)? == expected, "{path:?}");
    let nodes: BTreeSet<_> = path.hops.iter().map(|hop| hop.node.as_str()).collect();
    ensure!(nodes == TwoNodes::NAMES.into(), "{path:?}");
    Ok(())
}

/// The far node's INPUT rejects it: the client's node sees an ICMP error, the far one the rule.
#[test]
fn the_far_node_rejected_it() -> Result<()> {
    let lab = OverlayLab::build(Underlay::Routed)?;
    let input = Iptables {
        table: "filter",
        chain: "INPUT",
    };
    let far = &lab.nodes[1].node;
    let rule = format!("-p tcp --dport {PORT} -j REJECT");
    let tried = nodes(&lab, || input.append(far, Family::V4, &rule))?;
    let path = tried.path()?;
    ensure!(path.outcome == Outcome::Rejected, "{path:?}");
    let expected = (Point::Firewall, Confidence::Confirmed, None);
    ensure!(judged(&path)? == expected, "{path:?}");
    Ok(())
}

/// The first node translates the destination: both see it as one attempt by its ISN.
#[test]
fn nat_at_the_first_node() -> Result<()> {
    let lab = OverlayLab::build(Underlay::Routed)?;
    let [first, second] = &lab.nodes;
    let server = second.pod.socket(Family::V4, PORT);
    let asked: SocketAddr = "198.51.100.7:80".parse()?;
    let rule = format!("ip daddr 198.51.100.7 tcp dport 80 dnat ip to {server}");
    nft(&first.node, Chain::dnat(), &rule)?;
    let block = format!("udp dport {} drop", lab.port);
    let fault = || nft(router(&lab)?, Chain::inet("forward"), &block);
    let tried = connect(&lab, (&first.pod, &second.pod), (asked, server), fault)?;
    between(&tried.path()?, Point::Overlay, ("node-1", "node-2")).map(drop)
}

/// The same with a filter by a Service: each node matches what the name stands for, as `kubectl whydrop` has
/// it, and the second one never sees the address that was asked for.
#[test]
fn a_filter_by_the_address_of_a_service() -> Result<()> {
    let lab = OverlayLab::build(Underlay::Routed)?;
    let [first, second] = &lab.nodes;
    let server = second.pod.socket(Family::V4, PORT);
    let asked: SocketAddr = "198.51.100.7:80".parse()?;
    let rule = format!("ip daddr 198.51.100.7 tcp dport 80 dnat ip to {server}");
    nft(&first.node, Chain::dnat(), &rule)?;
    let _server = TcpServer::echo(&second.pod, server)?;
    let filter = [
        "svc/shop/cart:80",
        "--to-is",
        &asked.to_string(),
        "--to-is",
        &server.to_string(),
    ];
    let mut both = TwoNodes::start_with([&[&first.node], &[&second.node]], &filter)?;
    both.healthy(TcpAttempt::start(&first.pod, None, asked)?)?;
    let drop = format!("tcp dport {PORT} drop");
    nft(&second.node, Chain::inet("forward"), &drop)?;
    let flow = both.await_outcome(TcpAttempt::start(&first.pod, None, asked)?)?;
    let tried = Tried {
        traces: both.finish()?,
        flow,
    };
    let path = tried.path()?;
    let expected = (Point::Firewall, Confidence::Confirmed, None);
    ensure!(judged(&path)? == expected, "{path:?}");
    Ok(())
}

/// The network between the nodes takes no large packet, and says nothing: the handshake is seen at both, and
/// the connection stands still. That they are lost there, and not in the second node, no trace shows.
#[test]
fn large_packets_are_lost_between_the_nodes() -> Result<()> {
    let lab = OverlayLab::build(Underlay::Routed)?;
    let [first, second] = &lab.nodes;
    let server = second.pod.socket(Family::V4, PORT);
    let _server = TcpServer::echo(&second.pod, server)?;
    // That segments are sent again is seen where their socket is.
    let namespaces = [first, second].map(|node| -> [&Namespace; 2] { [&node.node, &node.pod] });
    let [first_node, second_node] = &namespaces;
    let mut both = TwoNodes::start_with([first_node, second_node], &["--all"])?;
    both.healthy(TcpAttempt::start(&first.pod, None, server)?)?;
    let rule = format!("udp dport {} ip length > 1000 drop", lab.port);
    nft(router(&lab)?, Chain::inet("forward"), &rule)?;
    let attempt = TcpAttempt::start(&first.pod, None, server)?;
    let flow = attempt.flow();
    let Connected(connection) = attempt.outcome(deadline())? else {
        anyhow::bail!("no connection");
    };
    let transfer = {
        let connection = connection.try_clone()?;
        thread::spawn(move || upload(connection, 200_000, deadline()))
    };
    both.await_stall(flow)?;
    connection.shutdown(Shutdown::Both)?;
    let is_complete = transfer.join().expect("the transfer does not panic")?;
    ensure!(!is_complete, "large packets got through");
    let tried = Tried {
        traces: both.finish()?,
        flow,
    };
    let path = tried.path()?;
    ensure!(path.outcome == Outcome::Stalled, "{path:?}");
    let (point, confidence, between) = judged(&path)?;
    ensure!(
        point == Point::Mtu && confidence < Confidence::Confirmed && between.is_none(),
        "{path:?}"
    );
    let nodes: BTreeSet<_> = path.hops.iter().map(|hop| hop.node.as_str()).collect();
    ensure!(nodes == TwoNodes::NAMES.into(), "{path:?}");
    Ok(())
}

/// A second node whose clock is 90 s ahead says the same, and the difference is found.
#[test]
fn clocks_that_differ_are_compared() -> Result<()> {
    let lab = OverlayLab::build(Underlay::Routed)?;
    let rule = format!("udp dport {} drop", lab.port);
    let mut tried = pods(&lab, || nft(router(&lab)?, Chain::inet("forward"), &rule))?;
    for record in &mut tried.traces[1] {
        let later = Duration::from_secs(90);
        match record {
            Record::Started(started) => started.ts += later,
            Record::Drop(drop) => drop.ts += later,
            Record::Attempt(attempt) => attempt.ts += later,
            Record::Lost(lost) => lost.ts += later,
            Record::More(more) => more.ts += later,
            Record::Summary(summary) => {
                summary.ts = summary.ts.map(|ts| ts + later);
            }
            Record::Tick(tick) => tick.ts += later,
            Record::Path(_) | Record::Plan(_) | Record::Layer(_) => {}
        }
    }
    let paths = join(&tried.traces)?;
    let [healthy, _] = paths.as_slice() else {
        anyhow::bail!("not two paths: {paths:?}");
    };
    let clock = &healthy.clock[1];
    let (offset, most) = (clock.offset_us, clock.uncertainty_us);
    let (offset, most) = (offset.context("compared")?, most.context("bounded")?);
    ensure!(offset.abs_diff(90_000_000) <= most, "{clock:?}");
    between(&tried.path()?, Point::Overlay, ("node-1", "node-2")).map(drop)
}

/// What the second node cannot know it does not say: it lost events, began too late, did not watch
/// everything, had another filter, or breaks off.
#[test]
fn a_node_that_missed_something_confirms_nothing() -> Result<()> {
    let lab = OverlayLab::build(Underlay::Routed)?;
    let rule = format!("udp dport {} drop", lab.port);
    let tried = pods(&lab, || nft(router(&lab)?, Chain::inet("forward"), &rule))?;
    let edits: [fn(&mut Vec<Record>); 5] = [
        |records| {
            for record in records {
                if let Record::Summary(summary) = record {
                    summary.lost = 3;
                }
            }
        },
        |records| {
            if let Some(Record::Started(started)) = records.first_mut() {
                started.ts += Duration::from_secs(3600);
            }
        },
        |records| {
            if let Some(Record::Started(started)) = records.first_mut() {
                started.complete = false;
            }
        },
        |records| {
            if let Some(Record::Started(started)) = records.first_mut() {
                let scope = started.scope.as_mut();
                scope.expect("a scope").to = Some("198.51.100.7:80".to_owned());
            }
        },
        |records| {
            records.pop();
        },
    ];
    for edit in edits {
        let mut traces = tried.traces.clone();
        edit(&mut traces[1]);
        let paths = join(&traces)?;
        let path = path_of(&paths, tried.flow)?;
        let (_, confidence, between) = judged(path)?;
        ensure!(
            confidence < Confidence::Confirmed && between.is_none(),
            "{path:?}"
        );
    }
    Ok(())
}
