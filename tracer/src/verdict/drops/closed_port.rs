//! Closed ports: a first packet that finds no socket, and why a socket of its port did not take it.

use super::{Concern, Finding, answers::looks_like_answer, place, service_address};
use crate::{
    decode::drop::DropFacts,
    model::{
        Confidence::{Confirmed, Likely},
        Point, Protocol,
    },
    node::{
        facts::NodeFacts,
        sockets::Socket,
        world::{Between, Kind, Link, LinkId},
    },
};

/// The name of this rule.
pub(crate) const CLOSED_PORT: &str = "closed-port";

pub(super) fn is_first(facts: &DropFacts) -> Concern {
    // Only a SYN asks for a listener. Any other segment belongs to a connection.
    let flags = facts.tcp_flags();
    let opens = flags.is_none_or(|flags| flags.syn() && !flags.ack());
    Concern::surely(opens && facts.reason.is("NO_SOCKET") && !looks_like_answer(facts))
}

/// A first packet that finds no socket.
pub(super) fn closed(facts: &DropFacts, node: &NodeFacts) -> Option<Finding> {
    let Some(port) = facts.flow.dport else {
        let why = format!("no socket takes {} at {}", facts.flow.proto, facts.flow.dst);
        let finding = Finding::new(Point::Socket, Confirmed, why);
        return Some(finding.about(&[&facts.flow.proto, &facts.flow.dst]));
    };
    let sockets = node.around.sockets.iter();
    let servers = sockets.filter(|socket| socket.is_listening || is_udp_server(facts, socket));
    let fits = servers.map(|server| fit(facts, node, server));
    let (confidence, why) = match fits.max() {
        Some(Fit::Never(why)) => (Confirmed, why),
        Some(Fit::Unknown(why) | Fit::Takes(why)) => (Likely, why),
        None => (
            Confirmed,
            format!(
                "no socket listens on {} port {port} of {}",
                facts.flow.proto, facts.flow.dst
            ),
        ),
    };
    let mut finding = Finding::new(Point::Socket, confidence, why).about(&[
        &facts.flow.proto,
        &facts.flow.dst,
        &port,
    ]);
    if let Some(other) = other_holder(facts, node) {
        finding.why += &format!("; {} is an address of {other}, too", facts.flow.dst);
        finding.fact("of two hosts with one address, the one that answers ARP or ND first gets it");
    }
    let is_own = facts.netns.zip(node.world.as_deref());
    let is_own = is_own.and_then(|(netns, world)| world.is_local(netns, facts.flow.dst));
    if is_own == Some(false) && facts.iif != 0 {
        finding.fact(format!(
            "{} is no address of this namespace: a route of type local takes it in{}",
            facts.flow.dst,
            match facts.mark {
                0 => String::new(),
                mark => format!(" (its mark is {mark:#x})"),
            }
        ));
    }
    service_address::explain(facts, node, &mut finding);
    Some(finding)
}

/// Another namespace on the same link that has the packet's destination, too.
fn other_holder(facts: &DropFacts, node: &NodeFacts) -> Option<String> {
    let (netns, world) = facts.netns.zip(node.world.as_deref())?;
    let from = LinkId {
        netns,
        ifindex: facts.iif,
    };
    let holders = world.holders_near(netns, facts.flow.dst);
    let mut others = holders.iter().filter(|one| one.netns != netns);
    let other = others.find(|one| one.is_up && world.between(from, one) == Between::Nothing)?;
    Some(world.holder_in_words(other, netns))
}

/// A datagram socket that takes from anyone.
fn is_udp_server(facts: &DropFacts, socket: &Socket) -> bool {
    facts.flow.proto == Protocol::Udp && !socket.is_connected()
}

/// Whether a socket of the port takes such a packet, in a sentence. The kernel has just said that none
/// took it, so the later of these variants explains more.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fit {
    /// It takes others only.
    Never(String),
    /// The kernel does not show it.
    Unknown(String),
    /// It does now.
    Takes(String),
}

fn fit(facts: &DropFacts, node: &NodeFacts, socket: &Socket) -> Fit {
    let (port, ip) = (socket.local.port(), socket.local.ip());
    if let Some(takes) = socket.takes_only(facts.flow.dst) {
        return Fit::Never(format!("the listener of port {port} {takes}"));
    }
    let takes = socket.takes(facts.flow.dst);
    let came_in = place(facts);
    let Some(options) = socket.options else {
        let only_ipv6 = if takes.is_none() {
            "takes IPv6 only, "
        } else {
            ""
        };
        return Fit::Unknown(format!(
            "the socket of {} port {port} did not take it{came_in}: it {only_ipv6}is bound to another \
             interface (SO_BINDTODEVICE), or was opened since",
            facts.flow.proto
        ));
    };
    let bound = options.ifindex.filter(|bound| *bound != facts.iif);
    match (bound, vrf(facts, node)) {
        (Some(bound), None) => {
            let link = link(facts, node, bound);
            let name = link.map_or(format!("interface {bound}"), |link| link.name.clone());
            Fit::Never(format!(
                "the listener of port {port} is bound to {name}, and takes nothing that comes \
                 in{came_in}"
            ))
        }
        // Which sockets take packets of a VRF depends on more than the interface.
        (_, Some(vrf)) => Fit::Unknown(format!(
            "the socket of {} port {port} did not take it{came_in}: it takes no packets of the VRF \
             {vrf}, or was opened since",
            facts.flow.proto
        )),
        (None, None) => Fit::Takes(format!(
            "no socket took {} port {port} of {} when the packet came: the one that listens on {ip} \
             now was opened since",
            facts.flow.proto, facts.flow.dst
        )),
    }
}

/// The VRF that the packet came in through, its name.
fn vrf<'a>(facts: &DropFacts, node: &'a NodeFacts) -> Option<&'a str> {
    let incoming = link(facts, node, facts.iif)?;
    let master = incoming.master.and_then(|master| link(facts, node, master));
    let mut both = [Some(incoming), master].into_iter().flatten();
    let vrf = both.find(|link| matches!(link.kind, Kind::Vrf { .. }))?;
    Some(&vrf.name)
}

/// A link of the namespace that dropped the packet.
fn link<'a>(facts: &DropFacts, node: &'a NodeFacts, ifindex: u32) -> Option<&'a Link> {
    let netns = facts.netns?;
    node.world.as_deref()?.link(LinkId { netns, ifindex })
}

#[cfg(test)]
mod tests {
    use super::{super::tests, *};
    use crate::node::sockets::Options;

    /// A listener that takes IPv4 too, and is bound to no interface.
    fn dual_stack() -> Socket {
        Socket {
            local: "[::]:8080".parse().unwrap(),
            remote: "[::]:0".parse().unwrap(),
            is_established: false,
            is_listening: true,
            waiting: 0,
            inode: 1,
            dropped: None,
            options: Some(Options::default()),
        }
    }

    fn only(ipv6_only: bool, ifindex: Option<u32>) -> Socket {
        let options = Some(Options { ifindex, ipv6_only });
        Socket {
            options,
            ..dual_stack()
        }
    }

    /// What is found of a SYN for 10.0.0.1 port 8080 that came in through interface 2.
    fn found(sockets: &[Socket]) -> Finding {
        let mut facts = tests::facts("NO_SOCKET", "tcp_v4_rcv");
        facts.flow.dst = [10, 0, 0, 1].into();
        facts.flow.dport = Some(8080);
        facts.iif = 2;
        let mut node = NodeFacts::default();
        node.around.sockets = sockets.to_vec();
        closed(&facts, &node).unwrap()
    }

    #[track_caller]
    fn check(sockets: &[Socket], confidence: crate::model::Confidence, why: &str) {
        let finding = found(sockets);
        assert!(finding.why.contains(why), "{}", finding.why);
        assert_eq!(finding.confidence, confidence, "{}", finding.why);
    }

    #[test]
    fn an_ipv6_listener_takes_ipv4_unless_the_kernel_says_otherwise() {
        check(&[only(true, None)], Confirmed, "takes IPv6 only");
        check(&[dual_stack()], Likely, "was opened since");
        let unread = Socket {
            options: None,
            ..dual_stack()
        };
        check(&[unread], Likely, "it takes IPv6 only, is bound to another");
    }

    #[test]
    fn a_listener_is_not_blamed_for_its_own_interface() {
        check(&[only(false, Some(3))], Confirmed, "bound to interface 3");
        check(&[only(false, Some(2))], Likely, "was opened since");
    }

    #[test]
    fn one_that_takes_it_now_explains_more_than_one_that_never_did() {
        let sockets = [only(true, None), dual_stack()];
        check(&sockets, Likely, "was opened since");
        check(&[], Confirmed, "no socket listens on");
    }
}
