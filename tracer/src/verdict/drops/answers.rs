//! Packets of a connection that no socket takes: answers that came from another address than was
//! asked, and what is left of connections that are over.

use super::{Concern, Finding, function};
use crate::{
    decode::{drop::DropFacts, tracked::Tracked},
    model::{
        Confidence::{Likely, Possible},
        Fix, Point, Protocol, Site, address,
        shell::Command,
    },
    node::{
        change,
        facts::NodeFacts,
        sockets::Socket,
        world::{World, bridge_setting},
    },
};

pub(super) fn may_be_misaddressed(facts: &DropFacts) -> Concern {
    let flags = facts.tcp_flags();
    let opens = flags.is_some_and(|flags| flags.syn() && !flags.ack());
    Concern::maybe(facts.reason.is("NO_SOCKET") && !opens)
}

/// An answer from another address or port than the client asked.
pub(super) fn other_address(facts: &DropFacts, node: &NodeFacts) -> Option<Finding> {
    let socket = waiting_for_another(facts, node)?;
    let flow = facts.flow;
    let asked = socket.remote;
    let answered = address(flow.source());
    let evidence = vec![format!("the socket {} talks to {asked} only", socket.local)];
    let world = node.world.as_deref();
    if is_one_host(world, asked.ip(), flow.src) && Some(asked.port()) == flow.sport {
        let why = format!(
            "the answer came from {answered}, and {asked} was asked: the server answers from \
             another of its addresses"
        );
        let advice = format!("let the server listen on {} itself", asked.ip());
        return Some(Finding {
            evidence,
            fix: vec![Fix::advice(advice).at(Site::Sender)],
            ..Finding::new(Point::Socket, Likely, why).about(&[&answered, &asked])
        });
    }
    let why = format!(
        "an answer came from {answered}, and {asked} was asked: it was not translated back (NAT)"
    );
    let (more, fix) = untranslated(facts, world);
    Some(Finding {
        evidence: evidence.into_iter().chain(more).collect(),
        fix: vec![fix],
        ..Finding::new(Point::Conntrack, Likely, why).about(&[&answered, &asked])
    })
}

/// Why conntrack may not have seen the answer, or not taken it for one.
fn untranslated(facts: &DropFacts, world: Option<&World>) -> (Vec<String>, Fix) {
    let is_first = facts
        .tcp_flags()
        .is_none_or(|flags| flags.syn() && flags.ack());
    let is_ipv4 = facts.flow.src.is_ipv4();
    let around = world.into_iter().flat_map(|world| {
        let holders = world.holders(facts.flow.src);
        let links = holders.into_iter().filter_map(|holder| {
            let link = world.link(holder.link)?;
            let outer = world.link(link.other_end()?)?;
            world.link(outer.sibling(outer.master?))
        });
        links.collect::<Vec<_>>()
    });
    let bridge = around.into_iter().find_map(|link| {
        let bridge = link.bridge()?;
        let namespace = world?.namespace(link.id.netns)?;
        let settings = namespace.settings;
        let of_namespace = settings.and_then(|all| all.bridges_call_iptables(is_ipv4));
        let is_off = !bridge.calls_iptables(is_ipv4) && of_namespace.unwrap_or(0) == 0;
        is_off.then(|| {
            (
                link.name.clone(),
                of_namespace,
                world.map(|world| world.site(link.id.netns)),
            )
        })
    });
    if let Some((bridge, setting, site)) = bridge.filter(|_| is_first) {
        let name = bridge_setting(is_ipv4);
        let fix = match (setting, site) {
            (Some(before), site) => {
                let fix = change::sysctl(&format!("net/bridge/{name}"), before, 1);
                match site {
                    Some(site) => fix.at(site),
                    None => fix,
                }
            }
            // Without the module there is no such setting. Once it is loaded, it is 1 by default.
            (None, _) => Fix::change(
                Command::new("modprobe br_netfilter"),
                Command::new("modprobe -r br_netfilter"),
            )
            .at(Site::Host),
        };
        return (
            vec![format!(
                "{} is behind the bridge {bridge}, and {name} is 0: what it forwards passes \
                 conntrack by",
                facts.flow.src
            )],
            fix,
        );
    }
    let liberal = Command::new("sysctl -w net.netfilter.nf_conntrack_tcp_be_liberal=1");
    match facts.flow.proto {
        Protocol::Tcp if !is_first => (
            vec![
                "conntrack does not translate segments that it calls invalid (out of window)"
                    .to_owned(),
            ],
            Fix::command(liberal)
                .at(Site::Host)
                .noting("or drop what is INVALID"),
        ),
        _ => (
            Vec::new(),
            Fix::advice(
                "let the answer take the way back that the question came, through the node that \
                 translated it",
            ),
        ),
    }
}

/// Whether a segment is what is left of a connection that is over: it finds no socket, and none
/// waits for it under another name. A client that hangs up on data under way makes these. So does one
/// that has closed its datagram socket before the answer came, if it was that host's own: one that
/// forwards may have asked for another.
pub(in crate::verdict) fn is_leftover(facts: &DropFacts, node: &NodeFacts) -> bool {
    if looks_like_answer(facts) {
        let has_socket = !node.around.sockets.is_empty() || !node.gaps.is_empty();
        return is_answer(facts, node) && is_end_host(facts, node) && !has_socket;
    }
    let by_tcp = matches!(function(facts), "tcp_v4_rcv" | "tcp_v6_rcv");
    let opens = facts.tcp_flags().is_none_or(|flags| flags.syn());
    facts.reason.is("NO_SOCKET") && by_tcp && !opens && waiting_for_another(facts, node).is_none()
}

/// The first of the ports that clients get by default (`ip_local_port_range`).
const FIRST_OF_CLIENTS: u16 = 32_768;

/// Whether a datagram that no socket takes looks like an answer, by what it says or by its ports: a
/// client's port shows no closed server.
pub(super) fn looks_like_answer(facts: &DropFacts) -> bool {
    let is_client = |port: Option<u16>| port.is_some_and(|port| port >= FIRST_OF_CLIENTS);
    let by_ports = is_client(facts.flow.dport) && !is_client(facts.flow.sport);
    let is_answer = answers_dns(facts).unwrap_or(by_ports);
    facts.flow.proto == Protocol::Udp && facts.reason.is("NO_SOCKET") && is_answer
}

/// Whether it is one: it says so, or conntrack knows what it answers. Ports alone do not show it, as a
/// server may use any.
fn is_answer(facts: &DropFacts, node: &NodeFacts) -> bool {
    answers_dns(facts) == Some(true) || node.answered.is_some()
}

/// Of a DNS message, whether it is an answer.
fn answers_dns(facts: &DropFacts) -> Option<bool> {
    facts.dns.as_ref().map(|(_, is_answer)| *is_answer)
}

/// Whether what comes in for the namespace is its own processes'.
fn is_end_host(facts: &DropFacts, node: &NodeFacts) -> bool {
    let is_ipv4 = facts.flow.dst.is_ipv4();
    let netns = facts.netns.zip(node.world.as_deref());
    netns.is_some_and(|(netns, world)| world.is_end_host(netns, is_ipv4) == Some(true))
}

pub(super) fn may_be_untracked(facts: &DropFacts) -> Concern {
    let lacks_entry = matches!(facts.tracked, Tracked::Untracked | Tracked::Nothing);
    Concern::maybe(lacks_entry && may_be_misaddressed(facts) != Concern::No)
}

/// The answer to a connection that NAT has changed passes conntrack by, and so does not become what
/// the client waits for.
pub(super) fn untracked(facts: &DropFacts, node: &NodeFacts) -> Option<Finding> {
    let entry = node.answered.as_ref()?;
    let behind = entry.behind(&facts.flow);
    (behind != facts.flow).then_some(())?;
    let (asked, by) = (entry.original.destination(), entry.original.source());
    let because = match facts.tracked {
        Tracked::Untracked => "a rule exempts it from tracking (notrack)",
        _ => "conntrack has given it no entry",
    };
    let why = format!(
        "{} answers {}, which asked {}, and {because}: it is not translated back (NAT)",
        address(facts.flow.source()),
        address(by),
        address(asked)
    );
    let mut finding = Finding::new(Point::Conntrack, Likely, why).about(&[&facts.flow.src]);
    finding.fact(format!(
        "conntrack has an entry for that connection, whose answers come from {} to {}",
        address(entry.reply.source()),
        address(entry.reply.destination())
    ));
    finding.fix.push(Fix::advice(match facts.tracked {
        Tracked::Untracked => "let no notrack rule match what NAT has changed, in either direction",
        _ => "let both directions of the connection be tracked alike (zones, liberal windows)",
    }));
    Some(finding)
}

pub(super) fn is_stray(facts: &DropFacts) -> Concern {
    let flags = facts.tcp_flags();
    let answers = flags.is_some_and(|flags| flags.syn() && flags.ack());
    Concern::surely((answers && facts.reason.is("NO_SOCKET")) || looks_like_answer(facts))
}

/// An answer that no socket waits for: a SYN-ACK, or a datagram.
pub(super) fn stray(facts: &DropFacts, _: &NodeFacts) -> Option<Finding> {
    if looks_like_answer(facts) {
        let answered = address(facts.flow.source());
        let waits = address(facts.flow.destination());
        let why = format!(
            "no socket waits for what looks like an answer of {answered} to {waits}: its process has \
             closed the socket, or the conntrack entry that translated the question is gone"
        );
        let finding = Finding::new(Point::Unknown, Possible, why);
        return Some(finding.about(&[&facts.flow.src, &facts.flow.dst]));
    }
    let finding = Finding::new(
        Point::Unknown,
        Possible,
        format!(
            "a SYN-ACK from {} for a connection that no socket here opened: another host opened \
             it, or the client has given up",
            facts.flow.src
        ),
    );
    Some(finding.about(&[&facts.flow.src, &facts.flow.dst]))
}

/// The socket with the packet's destination as its own address that talks to another end.
fn waiting_for_another<'a>(facts: &DropFacts, node: &'a NodeFacts) -> Option<&'a Socket> {
    facts.reason.is("NO_SOCKET").then_some(())?;
    let flags = facts.tcp_flags();
    let opens = flags.is_some_and(|flags| flags.syn() && !flags.ack());
    let resets = flags.is_some_and(|flags| flags.rst());
    (!opens && !resets).then_some(())?;
    node.around.sockets.iter().find(|socket| {
        let is_end = socket.local.ip() == facts.flow.dst;
        let remote = (socket.remote.ip(), Some(socket.remote.port()));
        is_end && socket.is_connected() && remote != (facts.flow.src, facts.flow.sport)
    })
}

/// Whether one namespace has both addresses.
fn is_one_host(world: Option<&World>, one: std::net::IpAddr, other: std::net::IpAddr) -> bool {
    world.is_some_and(|world| {
        let others = world.holders(other);
        let mut ones = world.holders(one).into_iter();
        ones.any(|one| others.iter().any(|other| other.netns == one.netns))
    })
}
