//! The packet has used up its hops: it goes around, or its sender has set too small a TTL.

use super::{Concern, Finding, function, overlay, place};
use crate::{
    decode::drop::DropFacts,
    model::{
        Confidence::{Confirmed, Likely, Possible},
        Fix, Point, Site,
        shell::Command,
    },
    node::{
        facts::NodeFacts,
        way::{Act, Because, End, Step, Way},
        world::{LinkId, World},
    },
};

pub(super) fn is_expired(facts: &DropFacts) -> Concern {
    let forwards = matches!(function(facts), "ip_forward" | "ip6_forward");
    Concern::surely(forwards && facts.reason.is("IP_INHDR"))
}

pub(super) fn time_to_live(facts: &DropFacts, node: &NodeFacts) -> Option<Finding> {
    if let Some(finding) = overlay::leads_back(facts, node) {
        return Some(finding);
    }
    let expired = format!("TTL expired in transit{}", place(facts));
    let onward = match node.world.as_deref() {
        Some(world) => onward(facts, node, world),
        None => Onward::Unknown,
    };
    let about = [&place(facts) as &dyn std::fmt::Display];
    Some(match onward {
        Onward::Around(links) => {
            let why = format!("{expired}: a routing loop through {links}");
            let mut finding = Finding::new(Point::Route, Confirmed, why).about(&about);
            finding.fact(
                "with all the hops that a packet can have, it would come here again and again",
            );
            finding.fix.push(one_of_them(facts));
            finding
        }
        Onward::Back(link) => {
            let why = format!(
                "{expired}: it would leave through {link}, where it came in: a routing loop with the router \
                 there, or a sender whose TTL is too small"
            );
            let mut finding = Finding::new(Point::Route, Likely, why).about(&about);
            finding.fix.push(one_of_them(facts));
            finding
        }
        Onward::Arrives(whom) if is_answer(facts) => {
            let why = format!(
                "TTL expired in transit{}: it is an answer, and by the routes of now its way ends at \
                 {whom} without a loop, so its TTL is too small: its sender's, or one that a rule sets",
                place(facts)
            );
            let mut finding = Finding::new(Point::Route, Likely, why).about(&about);
            if is_neighbor(facts, node) {
                finding.fact(format!(
                    "{} is in a subnet of the interface that it came in through: it was sent with one hop \
                     left, or a rule here has left it one (`-j TTL`, `ip ttl set`)",
                    facts.flow.src
                ));
            }
            finding.fix.push(
                Fix::advice(
                    "raise the sender's TTL (net.ipv4.ip_default_ttl, IP_TTL of the socket; hop_limit \
                     for IPv6; of the metadata service of AWS, http-put-response-hop-limit), or find \
                     the rule that rewrites it on the way",
                )
                .at(Site::Sender),
            );
            finding
        }
        Onward::Arrives(whom) => {
            let why = format!(
                "{expired}, and by the routes of now its way ends at {whom} without a loop: the sender's TTL \
                 is too small, as traceroute has it on purpose, or the routes have changed since"
            );
            let mut finding = Finding::new(Point::Route, Possible, why).about(&about);
            finding.fix.push(
                Fix::advice(
                    "if it comes again, look at the sender's TTL (net.ipv4.ip_default_ttl; hop_limit for \
                     IPv6)",
                )
                .at(Site::Sender),
            );
            finding
        }
        Onward::Unknown => {
            let why = format!("{expired}: a routing loop, or a sender whose TTL is too small");
            Finding::new(Point::Route, Possible, why).about(&about)
        }
    })
}

/// Whether it answers a SYN: traceroute sends no such packets.
fn is_answer(facts: &DropFacts) -> bool {
    let flags = facts.tcp_flags();
    flags.is_some_and(|flags| flags.syn() && flags.ack())
}

/// Whether its sender is on the link that it came in through.
fn is_neighbor(facts: &DropFacts, node: &NodeFacts) -> bool {
    let namespace = facts.netns.zip(node.world.as_deref());
    let namespace = namespace.and_then(|(netns, world)| world.namespace(netns));
    let mut held = namespace.into_iter().flat_map(|one| &one.addresses);
    held.any(|held| held.ifindex == facts.iif && held.is_in_subnet_with(facts.flow.src))
}

/// Where a packet like it would go from here, had it hops left.
enum Onward {
    /// By these links in turn.
    Around(String),
    /// Out by the link that it came in through.
    Back(String),
    /// To a namespace of this node that has the destination.
    Arrives(String),
    Unknown,
}

fn onward(facts: &DropFacts, node: &NodeFacts, world: &World) -> Onward {
    let reader = facts.netns.unwrap_or_default();
    let came_in = |step: &Step| matches!(step.act, Act::CameIn(link) if link.ifindex == facts.iif);
    // A rule may choose among several destinations: then all of them have to lead around.
    let circles: Option<Vec<_>> = node.ways.iter().map(circle).collect();
    if let Some(links) = circles.and_then(|circles| circles.into_iter().next()) {
        let names = links.into_iter().map(|link| world.link_name(link, reader));
        return Onward::Around(names.collect::<Vec<_>>().join(" and "));
    }
    let [way] = node.ways.as_slice() else {
        return Onward::Unknown;
    };
    match way.end {
        End::Leaves { by, .. } if by.netns == reader && by.ifindex == facts.iif => {
            Onward::Back(world.link_name(by, reader))
        }
        End::Delivered { netns, .. } if way.steps.iter().any(came_in) => {
            match world.namespace(netns) {
                Some(namespace) => Onward::Arrives(format!(
                    "{} in network namespace {}",
                    facts.flow.dst, namespace.name
                )),
                None => Onward::Unknown,
            }
        }
        _ => Onward::Unknown,
    }
}

/// The links that a packet comes in through again and again until its hops are used up.
fn circle(way: &Way) -> Option<Vec<LinkId>> {
    let End::Dropped {
        because: Because::Ttl,
        ..
    } = way.end
    else {
        return None;
    };
    let came_in: Vec<LinkId> = way
        .steps
        .iter()
        .filter_map(|step| match step.act {
            Act::CameIn(link) => Some(link),
            _ => None,
        })
        .collect();
    let (last, before) = came_in.split_last()?;
    let again = before.iter().rposition(|link| link == last)?;
    let mut links = before[again..].to_vec();
    links.dedup();
    Some(links)
}

fn one_of_them(facts: &DropFacts) -> Fix {
    let get = Command::new("ip route get").arg(facts.flow.dst);
    Fix::advice(format!(
        "compare `{get}` on the routers of the loop, and correct the one that should not send it back"
    ))
    .at(Site::Host)
}
