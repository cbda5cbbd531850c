//! Why a route refuses a packet, or is not there, and what mends it.

use std::net::IpAddr;

use ipnet::IpNet;

use super::Finding;
use crate::{
    decode::drop::DropFacts,
    model::{Fix, shell::Command},
    net::Route,
    node::{change, facts::NodeFacts, world::Link},
};

/// A route refuses the packet.
pub(super) fn refused_by(
    finding: &mut Finding,
    facts: &DropFacts,
    node: &NodeFacts,
    route: &Route,
) {
    let dst = facts.flow.dst;
    let is_block = route.to.prefix_len() < route.to.max_prefix_len();
    finding.subject = route.to_string();
    if let Some(link) = link_of_pod(facts, node).filter(|_| is_block) {
        finding.why = format!(
            "{dst} has no route of its own, so the route {} of its whole block refuses it",
            route.whole()
        );
        finding.fact(format!(
            "{dst} is behind {}; that the block has such a route is normal where each pod has one \
             of its own",
            link.name
        ));
        let change = |verb: &'static str| {
            Command::new("ip route")
                .arg(verb)
                .arg(dst)
                .words("dev")
                .arg(&link.name)
                .words("scope link")
        };
        let fix = Fix::change(change("add"), change("del"));
        finding
            .fix
            .push(fix.noting("or restart the CNI's agent (calico-node), which sets it"));
        return;
    }
    finding.why = format!("the route {} refuses it", route.whole());
    if is_block && route.is_of_daemon() {
        finding.fix.push(Fix::advice(format!(
            "a routing daemon has made that route for the whole block: let it, or the CNI's agent, \
             set the route of {dst} again; do not delete the block's"
        )));
        return;
    }
    if route.metric.is_some_and(|metric| metric >= LAST_RESORT) {
        finding.fact("its metric makes it the last resort: it refuses what no other route takes");
        finding.fix.push(Fix::advice(format!(
            "add the route to {dst} that is missing, such as a default route (or have DHCP or the \
             CNI's agent set it again); to delete the refusal helps nothing"
        )));
        return;
    }
    finding.fix.push(without(route));
}

/// Routes with this metric or a larger one come behind all that anyone means to use.
const LAST_RESORT: u32 = 1 << 31;

/// A route ends the search in its table, and no other table has one.
pub(super) fn thrown_by(finding: &mut Finding, dst: IpAddr, route: &Route) {
    finding.why = format!(
        "no route to {dst}: the route {} ends the search in table main, and no table behind it has \
         a route",
        route.whole()
    );
    finding.subject = route.to_string();
    let note = "if a wider route of table main is to take it";
    finding.fix.push(without(route).noting(note));
}

/// Deletes a route.
fn without(route: &Route) -> Fix {
    let whole = |command| {
        let words = route.whole();
        words.split(' ').fold(command, Command::arg)
    };
    let ip = |verb: &'static str| match route.to {
        IpNet::V4(_) => Command::new("ip route").words(verb),
        IpNet::V6(_) => Command::new("ip -6 route").words(verb),
    };
    Fix::change(whole(ip("del")), whole(ip("add")))
}

/// The interface of this namespace that another namespace with the destination is behind.
fn link_of_pod<'a>(facts: &DropFacts, node: &'a NodeFacts) -> Option<&'a Link> {
    let (netns, world) = facts.netns.zip(node.world.as_deref())?;
    let holders = world.holders_near(netns, facts.flow.dst);
    holders.into_iter().find_map(|holder| {
        let end = world.link(holder.link)?.other_end()?;
        world.link(end).filter(|_| end.netns == netns)
    })
}

/// A router that advertises IPv6 routes is not listened to once the interface forwards.
pub(super) fn add_lost_advertisements(finding: &mut Finding, facts: &DropFacts, node: &NodeFacts) {
    let (Some(netns), Some(world)) = (facts.netns, node.world.as_deref()) else {
        return;
    };
    // What is behind a link of this namespace needs a route of its own, and no default one.
    if facts.flow.dst.is_ipv4() || link_of_pod(facts, node).is_some() {
        return;
    }
    let is_deaf = |link: &&Link| {
        let settings = link.ipv6;
        let ignores = settings.is_some_and(|own| own.accept_ra == 1 && own.forwarding != 0);
        link.id.netns == netns && link.id.ifindex != facts.iif && link.up && ignores
    };
    let is_loopback = |link: &&Link| link.name == "lo";
    let deaf: Vec<_> = world
        .links()
        .filter(is_deaf)
        .filter(|link| !is_loopback(link))
        .collect();
    let Some(first) = deaf.first() else { return };
    let names: Vec<_> = deaf.iter().take(3).map(|link| link.name.as_str()).collect();
    finding.fact(format!(
        "accept_ra is 1 and forwarding is on at {}: router advertisements are ignored there, so a \
         default route that one of them gave expires",
        names.join(", ")
    ));
    if deaf.len() == 1 {
        let path = format!("net/ipv6/conf/{}/accept_ra", first.name);
        let fix = change::sysctl(&path, 1, 2);
        finding
            .fix
            .push(fix.noting("if the default route came from a router advertisement"));
    }
}

/// A network of Docker's that takes packets for one of the same addresses elsewhere.
pub(super) fn taken_by_docker(facts: &DropFacts, node: &NodeFacts) -> Option<(String, Fix)> {
    let matched = node.around.route.as_ref()?.matched.as_ref()?;
    let default = node.around.default_route.as_ref()?;
    let name = matched.ifname.as_deref()?;
    let is_dockers = name == "docker0" || name.starts_with("br-");
    (is_dockers && matched.gateway.is_none() && matched.to.prefix_len() > 0).then_some(())?;
    let subnet = matched.to;
    let fact = format!(
        "{subnet} is the subnet of {name}; without it, the route {default} would take {}",
        facts.flow.dst
    );
    let advice = format!(
        "if {subnet} is a network elsewhere, too: give {name} another subnet (\"bip\" or \
         \"default-address-pools\" in Docker's daemon.json)"
    );
    Some((fact, Fix::advice(advice)))
}
