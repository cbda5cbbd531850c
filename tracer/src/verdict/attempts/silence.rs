//! Nothing came back, or it did not come all the way: the gap, which means something only where
//! nothing could have been missed.

use std::net::IpAddr;

use super::{
    Case, departure, doubts, own_subnet::OwnSubnet, replies::carrier_in_words, way, wireguard,
};
use crate::{
    attempt::{Reply, Step},
    model::{
        Confidence::{Likely, Possible},
        Direction, Fix, Flow, Outcome, Point, Site, address,
        shell::Command,
    },
    node::answer_route::AnswerRoute,
    verdict::{
        drops::listener,
        neighbor::{Explanation, Unanswered},
        rule::Finding,
    },
    words,
};

/// An answer was seen, and did not arrive.
pub(super) fn reply_lost(case: &Case<'_>) -> Option<Finding> {
    (case.outcome == Outcome::Unanswered).then_some(())?;
    departure::shared_source(case).is_none().then_some(())?;
    let attempt = case.attempt;
    let what = match attempt.reply.as_ref()? {
        Reply::Answer(None) => "the SYN-ACK",
        Reply::Answer(Some(_)) => "the DNS answer",
        Reply::Reset => "a RST",
        Reply::Rejection(_) => "an ICMP error",
    };
    let last = attempt.last_reply_hop();
    let at = last.map_or("", |hop| &hop.place.ifname);
    let first = attempt.hops.first().map_or("", |hop| &hop.place.ifname);
    if let Some(left) = last.and_then(|last| left_this_node(case, last)) {
        let why = format!(
            "{what} left this node by {at}, and not by {first}, where the first packet was seen"
        );
        let mut finding = Finding {
            evidence: left,
            ..Finding::new(Point::OffNode, Likely, why).about(&[&what, &at, &first])
        };
        let client = IpAddr::from(attempt.flow.src);
        match &case.around.answer_route {
            Some(route) => blame_route(&mut finding, route, client, (first, at)),
            None => finding.fix.push(Fix::advice(format!(
                "let the answer leave through {first}: give {client} a route there, in front of the policy \
                 rule or route that leads it to {at}"
            ))),
        }
        return Some(finding);
    }
    let why = format!(
        "{what} was last seen at {at} and never arrived at {first}, where the first packet was seen"
    );
    Some(Finding {
        evidence: doubts(case.around),
        ..Finding::new(Point::Unknown, Possible, why).about(&[&what, &at, &first])
    })
}

/// Names the route that the answer took, and the policy rule that leads to it.
fn blame_route(
    finding: &mut Finding,
    route: &AnswerRoute,
    client: IpAddr,
    (first, at): (&str, &str),
) {
    let AnswerRoute {
        lookup,
        rule,
        free_in_front,
        site,
    } = route;
    let dst = lookup.packet.dst;
    let Some(rule) = rule else {
        finding.fact(format!("the route of the answer: {lookup}"));
        finding.fix.push(
            Fix::advice(format!(
                "let the answer leave through {first}: give {client} a route there that is more specific \
                 than the one that leads it to {at}"
            ))
            .at(site.clone()),
        );
        return;
    };
    finding.fact(format!(
        "the policy rule `{rule}` leads the answer to a table whose route is {lookup}"
    ));
    let advice = format!(
        "let the answer leave through {first}: a policy rule in front of `{rule}` that looks up a table with a \
         route by {first}"
    );
    let ip = match dst.is_ipv4() {
        true => "ip rule",
        false => "ip -6 rule",
    };
    let change = |verb: &'static str, number: u32| {
        let command = Command::new(ip).arg(verb).words("pref").arg(number);
        command.words("to").arg(dst).words("lookup main")
    };
    finding.fix.push(match free_in_front {
        Some(number) => Fix::change(change("add", *number), change("del", *number))
            .noting("if the table main has a route to the client that leads there")
            .at(site.clone()),
        None => Fix::advice(advice).at(site.clone()),
    });
}

/// An answer from another address than was asked.
pub(super) fn misaddressed_answer(case: &Case<'_>) -> Option<Finding> {
    (case.outcome == Outcome::Unanswered).then_some(())?;
    let attempt = case.attempt;
    let reply = Flow::from(&attempt.misaddressed_reply()?.flow);
    let requested = Flow::from(&attempt.flow);
    let (from, asked) = (address(reply.source()), address(requested.destination()));
    let translated = attempt.last_hop().map(|hop| Flow::from(&hop.flow));
    let translated = translated.filter(|last| last.dst != requested.dst);
    if translated.is_some_and(|last| (last.dst, last.dport) == (reply.src, reply.sport)) {
        let why = format!(
            "an answer came from {from}, and {asked} was asked: it was not translated back (NAT)"
        );
        let mut finding =
            Finding::new(Point::Conntrack, Likely, why).about(&[&reply.src, &requested.dst]);
        finding.fact(format!("the question was translated to {from} on its way"));
        finding.fix.push(Fix::advice(
            "let the answer take the way back that the question came, through the conntrack that \
             translated it (at a bridge: net.bridge.bridge-nf-call-iptables=1)",
        ));
        return Some(finding);
    }
    let why =
        format!("an answer came from {from}, and {asked} was asked: the client does not take it");
    Some(Finding::new(Point::Unknown, Possible, why).about(&[&reply.src, &requested.dst]))
}

/// It waits here for a neighbor that does not answer.
pub(super) fn silent_hop(case: &Case<'_>) -> Option<Finding> {
    (case.outcome == Outcome::Unanswered && case.attempt.reply.is_none()).then_some(())?;
    let hop = case.around.silent_hop.as_ref()?;
    let last = case.attempt.last_hop()?;
    let dst = IpAddr::from(last.flow.dst);
    let world = case.around.world.as_deref();
    let from = world.and_then(|world| world.link_named(last.place.netns, &hop.ifname));
    let unanswered = Unanswered {
        address: hop.address,
        from: from.map(|link| (link.id, hop.ifname.as_str())),
        dst,
        src: last.flow.src.into(),
        by: hop.by.as_ref(),
    };
    let Explanation {
        point,
        confidence,
        why,
        evidence: found_out,
        fix,
    } = unanswered.explain(world);
    let mut evidence = vec![format!(
        "the neighbor entry of {} is {}: {} unanswered; the packet is queued behind them",
        hop.address,
        hop.state,
        words::count(hop.asked.into(), "probe")
    )];
    evidence.extend(found_out);
    let point = match point {
        Point::Endpoint if hop.is_tunnel => Point::Overlay,
        point => point,
    };
    Some(Finding {
        evidence,
        fix,
        ..Finding::new(point, confidence, why).about(&[&hop.address, &hop.ifname])
    })
}

/// It left this node, and nothing came back: the honest negative.
pub(super) fn off_node(case: &Case<'_>) -> Option<Finding> {
    (case.outcome == Outcome::Unanswered && case.attempt.reply.is_none()).then_some(())?;
    // An address of this node is never off it.
    case.around.destination_holder.is_none().then_some(())?;
    let last = case.attempt.last_hop()?;
    let mut evidence = left_this_node(case, last)?;
    evidence.extend(departure::in_words(case, last));
    evidence.push("no drop of it was seen on this node".to_owned());
    evidence.extend(way::in_words(case));
    let peer = case.around.encrypted.as_ref().map(|to| &to.peer);
    let own = OwnSubnet::of(case, last).filter(|_| peer.is_none());
    if let Some(own) = &own {
        evidence.insert(0, own.in_words());
    }
    let own = own.as_ref().and_then(OwnSubnet::repair);
    let inside = match (&last.outer, peer) {
        (Some(outer), _) => format!(" inside a tunnel to {}", IpAddr::from(outer.dst)),
        (None, Some(peer)) => format!(", encrypted for the WireGuard peer at {}", peer.endpoint),
        (None, None) => String::new(),
    };
    evidence.extend(peer.map(wireguard::handshake));
    let why = format!(
        "it left this node by {}{inside}, and nothing came back",
        last.place.ifname
    );
    Some(Finding {
        evidence,
        fix: own
            .into_iter()
            .chain([what_to_open(last, peer.and_then(|peer| peer.carrier))])
            .collect(),
        ..Finding::new(Point::OffNode, Likely, why).about(&[&last.place.ifname, &inside])
    })
}

/// It was last seen somewhere, and that is all.
pub(super) fn gap(case: &Case<'_>) -> Option<Finding> {
    let Some(last) = case.attempt.last_hop() else {
        let why = "nothing was seen of it";
        return Some(Finding::new(Point::Unknown, Possible, why));
    };
    let leads_off = case
        .around
        .last_interface
        .as_ref()
        .map(|interface| interface.leads_off);
    let what = match (last.place.dir, leads_off) {
        (_, None) => "what that interface leads to is not known",
        (Direction::Out, Some(true)) => {
            "it may have been lost behind it, but this node was not seen whole"
        }
        (_, _) if case.around.lost > 0 && !case.around.destination_is_local => {
            "what happened to it then may be among the events that were lost"
        }
        (Direction::Out, Some(false)) => {
            "no answer from behind that interface was seen, and no drop of it"
        }
        (Direction::In, _) if case.around.destination_is_local => {
            "that namespace has the destination's address, and no answer of it was seen"
        }
        (Direction::In, _) => "it was not seen to leave again, and no drop of it was seen",
    };
    let verb = match last.place.dir {
        Direction::In => "came in through",
        Direction::Out => "left through",
    };
    let holder = case.around.destination_holder.as_ref();
    let held =
        holder.map(|name| format!("network namespace {name} of this node has its destination"));
    let mut evidence: Vec<_> = held.into_iter().collect();
    let listener = case
        .around
        .listener
        .as_ref()
        .map(listener::in_words)
        .unwrap_or_default();
    evidence.extend(listener);
    evidence.extend(way::in_words(case));
    evidence.extend(doubts(case.around));
    let why = format!("last seen when it {verb} {}: {what}", last.place.ifname);
    Some(Finding {
        evidence,
        ..Finding::new(Point::Unknown, Possible, why).about(&[&last.place.ifname, &what])
    })
}

/// The evidence that what was last seen here left this node; `None` where that cannot be claimed.
pub(super) fn left_this_node(case: &Case<'_>, last: &Step) -> Option<Vec<String>> {
    let interface = case.around.last_interface.as_ref()?;
    let left = last.place.dir == Direction::Out && interface.leads_off;
    (left && doubts(case.around).is_empty()).then(|| {
        vec![format!(
            "{} is a {} interface that leads off this node; probes were on all interfaces, and 0 \
             events were lost",
            last.place.ifname, interface.kind
        )]
    })
}

/// What has to be allowed beyond this node.
fn what_to_open(last: &Step, encrypted: Option<Flow>) -> Fix {
    let flow = encrypted.unwrap_or_else(|| last.outer.as_ref().unwrap_or(&last.flow).into());
    let port = flow
        .dport
        .map(|port| format!(" port {port}"))
        .unwrap_or_default();
    Fix::advice(format!(
        "let through {} from {} to {}{port} (security group, router, the far end's firewall)",
        carrier_in_words(&flow),
        flow.src,
        flow.dst
    ))
    .at(Site::Beyond)
}
