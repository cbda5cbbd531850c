//! What the model of the node makes of the packet, held against what was seen of it.
//!
//! Where both agree on where it ends, the model explains the silence. Where they disagree, one of
//! them is wrong: both are said, and nothing is claimed.

use std::collections::BTreeSet;

use super::{AttemptContext, Case};
use crate::{
    attempt::{Lost, Step},
    decode::drop::DropFacts,
    model::{
        Confidence::{Confirmed, Likely, Possible},
        Direction, Fix, Flow, Outcome, Point, address,
        shell::Command,
    },
    node::{
        way::{self, Act, Because, Comparison, End, Way},
        world::{Link, LinkId, World},
    },
    verdict::{
        drops::{question::LostQuestion, unanswered},
        policy_rule,
        rule::Finding,
    },
    words,
};

/// The way that the model gives an attempt's packet, where all of them end alike.
#[derive(Clone, Copy)]
pub(super) struct Model<'a> {
    pub(super) world: &'a World,
    pub(super) steps: &'a [way::Step],
    pub(super) end: Ending<'a>,
}

/// Where a way ends, as far as this node goes.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Ending<'a> {
    /// By an interface that leads off the node, whatever the model may know of what is behind it.
    Left(LinkId),
    Here(&'a End),
}

impl<'a> Model<'a> {
    fn of(case: &Case<'a>) -> Option<Self> {
        let around = case.around;
        let world = around.world.as_deref()?;
        let last = case.attempt.last_hop();
        let mut models = around
            .ways
            .iter()
            .map(|way| Self::on_node(world, way, around, last));
        let first = models.next()?;
        models.all(|other| other.end == first.end).then_some(first)
    }

    /// The part of a way that is on this node: up to the first interface that leads off it, if the
    /// packet was not seen behind that.
    pub(super) fn on_node(
        world: &'a World,
        way: &'a Way,
        around: &AttemptContext,
        last: Option<&Step>,
    ) -> Self {
        let seen = last.and_then(|last| seen_until(&way.steps, last));
        // What leads to a watched namespace does not lead off the part of the node that is seen.
        let is_inside = |link: LinkId| {
            let end = world.link(link).and_then(Link::other_end);
            end.is_some_and(|end| around.watched.contains(&end.netns))
        };
        let left = way
            .steps
            .iter()
            .enumerate()
            .find_map(|(at, step)| match step.act {
                Act::WentOut(link)
                    if around.uplinks.contains(&link)
                        && !is_inside(link)
                        && seen.is_none_or(|seen| seen <= at + 1) =>
                {
                    Some((at, link))
                }
                _ => None,
            });
        let (steps, end) = match left {
            Some((at, link)) => (&way.steps[..=at], Ending::Left(link)),
            None => (&way.steps[..], Ending::Here(&way.end)),
        };
        Self { world, steps, end }
    }

    /// Whether the packet ends where it was last seen: behind that place it takes no step that
    /// would have been seen, and a drop there would not have been seen either.
    fn agrees(self, case: &Case<'_>, dropped_in: u32, because: &Because) -> bool {
        // What waits for a neighbor is dropped seconds later.
        let waits = matches!(because, Because::Unanswered(_));
        let is_visible = !waits && case.around.watched.contains(&dropped_in);
        let agrees = !is_visible || own_drop(case, dropped_in, because).is_some();
        self.was_not_seen_further(case) && agrees
    }

    /// Whether the packet takes no step behind the place where it was last seen that would have
    /// been seen.
    pub(super) fn was_not_seen_further(self, case: &Case<'_>) -> bool {
        let seen = match case.attempt.last_hop() {
            Some(last) => seen_until(self.steps, last),
            None => Some(0),
        };
        seen.is_some_and(|seen| is_out_of_sight(&self.steps[seen..], &case.around.watched))
    }

    fn in_words(self) -> String {
        let end = match self.end {
            Ending::Left(by) => {
                format!("it leaves through {}", self.world.link_name(by, u32::MAX))
            }
            Ending::Here(end) => {
                let subject = match end {
                    End::Leaves { .. } => "it",
                    End::Undecided { .. } => "its way is",
                    End::Delivered { .. } | End::Dropped { .. } => "it is",
                };
                format!("{subject} {}", end.in_words(self.world))
            }
        };
        format!("by the routes and rules of this node, {end}")
    }
}

/// How many of these steps the packet was seen to take; `None` where it was seen elsewhere.
fn seen_until(steps: &[way::Step], last: &Step) -> Option<usize> {
    let place = LinkId {
        netns: last.place.netns,
        ifindex: last.place.ifindex,
    };
    let is_there = |act: &Act| match act {
        Act::CameIn(link) => *link == place && last.place.dir == Direction::In,
        Act::WentOut(link) => *link == place && last.place.dir == Direction::Out,
        Act::Bridged { bridge, from, to } => [Some(*bridge), *from, *to].contains(&Some(place)),
        _ => false,
    };
    let at = steps.iter().rposition(|step| is_there(&step.act))?;
    Some(at + 1)
}

/// Whether none of these steps would have been seen.
pub(super) fn is_out_of_sight(steps: &[way::Step], watched: &BTreeSet<u32>) -> bool {
    !steps.iter().any(|step| match &step.act {
        Act::CameIn(link) | Act::WentOut(link) => watched.contains(&link.netns),
        _ => false,
    })
}

/// The model ends where the packet was last seen.
pub(super) fn explained(case: &Case<'_>) -> Option<Finding> {
    let model = unanswered(case)?;
    let Ending::Here(End::Dropped {
        netns,
        link,
        because,
    }) = model.end
    else {
        return None;
    };
    model.agrees(case, *netns, because).then_some(())?;
    // A drop of the packet that was seen elsewhere has ended it there.
    let seen = case.attempt.deciding_drop(case.outcome);
    let is_elsewhere = seen.is_some_and(|drop| drop.facts.netns != Some(*netns));
    (!is_elsewhere).then_some(())?;
    if let Because::Unanswered(unanswered) = because {
        if let Some(mut finding) = unanswered::cause(model.world, unanswered) {
            let refused = unanswered.refused.as_ref();
            let is_it = |lost: &&LostQuestion| {
                refused.is_some_and(|refused| lost.is_by(unanswered.hop, refused))
            };
            if let Some(lost) = case.around.lost_questions.iter().find(is_it) {
                finding.confidence = Confirmed;
                finding.fact(lost.in_words());
            }
            return Some(finding);
        }
        // The neighbor entry itself says more.
        if case.around.silent_hop.is_some() {
            return None;
        }
    }
    if let Some(refuted) = refuted(case, model) {
        return Some(refuted);
    }
    let place = name_of(model.world, *netns);
    let because_of = because.in_words(model.world, *netns);
    let why = format!("{}: {because_of}", place_of(model.world, *netns, *link));
    let compared = case.around.compared.as_ref();
    let counted = compared.filter(|compared| compared.sent > 0 && compared.moved == compared.sent);
    let was_seen = own_drop(case, *netns, because);
    let confidence = match counted.is_some_and(|counted| counted.is_alone) || was_seen.is_some() {
        true => Confirmed,
        false => Likely,
    };
    let mut finding = Finding::new(point(because), confidence, why).about(&[&place, &because_of]);
    finding.fact("the packet was last seen in front of that, and no answer came");
    finding.evidence.extend(was_seen.map(|drop| {
        let function = drop.function.as_deref().unwrap_or("an unknown function");
        format!("the kernel dropped it in that network namespace, in {function}")
    }));
    finding.evidence.extend(counted.map(in_figures));
    if counted.is_some_and(|counted| !counted.is_alone) {
        finding.fact("other packets came in meanwhile, which may have moved that counter");
    }
    finding.fix.extend(fix(model.world, *netns, because));
    Some(finding)
}

/// The drop of the packet that was seen where the model ends, and as the model has it.
fn own_drop<'a>(case: &Case<'a>, netns: u32, because: &Because) -> Option<&'a DropFacts> {
    let drop = case.attempt.deciding_drop(case.outcome)?;
    let facts = drop.facts.as_ref();
    let is_there = drop.lost == Lost::Opening && facts.netns == Some(netns);
    (is_there && fits(facts, because)).then_some(facts)
}

/// Whether the kernel's function is one that drops packets for this reason. Where it is not known to be
/// one, the drop shows nothing.
fn fits(facts: &DropFacts, because: &Because) -> bool {
    let functions: &[&str] = match because {
        Because::Rule(hook, _) => return facts.hook == Some(*hook),
        Because::Source(_) => &["ip_rcv_finish", "ip_route_input", "fib_validate_source"],
        Because::Route(..) | Because::PolicyRule(..) | Because::NotForwarding(_) => {
            &["ip_error", "ip_forward", "ip6_pkt_drop", "ip6_forward"]
        }
        // The functions that forward drop for many reasons.
        Because::Ttl if facts.reason.is("IP_INHDR") => &["ip_forward", "ip6_forward"],
        Because::TooBig { .. } if facts.reason.is("PKT_TOO_BIG") => &["ip_forward", "ip6_forward"],
        _ => return false,
    };
    let function = facts.function.as_deref().unwrap_or_default();
    facts.hook.is_none() && functions.iter().any(|known| function.starts_with(known))
}

/// The packet was sent again, and what counts such packets there has not counted it.
fn refuted(case: &Case<'_>, model: Model<'_>) -> Option<Finding> {
    let compared = case.around.compared.as_ref()?;
    (compared.moved < compared.sent).then_some(())?;
    let why = format!(
        "no answer came, and {}; but {}",
        model.in_words(),
        in_figures(compared)
    );
    Some(Finding::new(Point::Unknown, Possible, why).about(&[&compared.counter]))
}

fn in_figures(compared: &Comparison) -> String {
    let Comparison {
        counter,
        moved,
        sent,
        ..
    } = compared;
    let sent = words::times(*sent);
    format!("the packet was sent again {sent}, and {counter} moved by {moved} meanwhile")
}

/// A rule exempts the packet from tracking, so that the rules which would translate it do not.
pub(super) fn exempted(case: &Case<'_>) -> Option<Finding> {
    let model = unanswered(case)?;
    let last = case.attempt.last_hop()?;
    let seen = seen_until(model.steps, last)?;
    let mut steps = model.steps[..seen].iter();
    let (netns, hook, rule, elsewhere) = steps.find_map(|step| match &step.act {
        Act::Exempted(hook, rule, flow) => Some((step.netns, hook, rule, flow)),
        _ => None,
    })?;
    // It was seen behind that place, as it was.
    let seen_as = Flow::from(&last.flow).destination();
    (seen_as == Flow::from(&case.attempt.flow).destination()).then_some(())?;
    let to = elsewhere.destination();
    let why = format!(
        "{rule} exempts it from connection tracking, so that NAT does not send it to {}: it goes on \
         with the address that the client asked for",
        address(to)
    );
    let place = name_of(model.world, netns);
    let mut finding = Finding::new(Point::Conntrack, Likely, why).about(&[&place, rule]);
    finding.fact(format!(
        "at {} of {}, other rules would translate it to {}",
        hook.name(),
        words::namespace(&place),
        address(to)
    ));
    finding.fact(format!(
        "it was seen at {}, still for {}",
        last.place.ifname,
        address(seen_as)
    ));
    finding.fix.push(Fix::advice(
        "remove that rule, unless what it was written for (NodeLocal DNSCache, for instance) answers at \
         that address again",
    ));
    Some(finding)
}

/// The packet left this node, but not by the model.
pub(super) fn contradicted(case: &Case<'_>) -> Option<Finding> {
    let model = unanswered(case)?;
    let last = case.attempt.last_hop()?;
    let leads_off = case.around.last_interface.as_ref()?.leads_off;
    let left = last.place.dir == Direction::Out && leads_off;
    let ends_here = matches!(
        model.end,
        Ending::Here(End::Delivered { .. } | End::Dropped { .. })
    );
    (left && ends_here).then_some(())?;
    let ifname = &last.place.ifname;
    let why = format!("it left through {ifname}, but {}", model.in_words());
    let mut finding = Finding::new(Point::Unknown, Possible, why).about(&[ifname]);
    finding.fact("the routes and rules were read after the packet: they may have changed since");
    Some(finding)
}

pub(super) fn name_of(world: &World, netns: u32) -> String {
    let namespace = world.namespace(netns);
    namespace.map_or_else(|| netns.to_string(), |one| one.name.clone())
}

/// Where a packet ends: the namespace, and the link if it is at one.
pub(super) fn place_of(world: &World, netns: u32, link: Option<LinkId>) -> String {
    let at = link.map(|link| format!(", at {}", world.link_name(link, netns)));
    let namespace = words::namespace(&name_of(world, netns));
    format!("in {namespace}{}", at.unwrap_or_default())
}

/// What the model says, as evidence for a verdict that does not rest on it.
pub(super) fn in_words(case: &Case<'_>) -> Option<String> {
    unanswered(case).map(Model::in_words)
}

/// The model, where nothing came back.
pub(super) fn unanswered<'a>(case: &Case<'a>) -> Option<Model<'a>> {
    let is_silent = case.outcome == Outcome::Unanswered && case.attempt.reply.is_none();
    Model::of(case).filter(|_| is_silent)
}

/// What would change it, where the reason for a drop says that.
pub(super) fn fix(world: &World, netns: u32, because: &Because) -> Option<Fix> {
    match because {
        Because::PolicyRule(rule, _) => Some(policy_rule::removal(rule).at(world.site(netns))),
        Because::AsksNoOne(link) => {
            let dev = Command::new("ip link set dev").arg(&world.link(*link)?.name);
            let fix = Fix::change(dev.clone().words("arp on"), dev.words("arp off"));
            Some(fix.at(world.site(link.netns)))
        }
        _ => None,
    }
}

pub(super) fn point(because: &Because) -> Point {
    match because {
        Because::Rule(..) => Point::Firewall,
        Because::Source(_) => Point::Rpfilter,
        Because::TooBig { .. } => Point::Mtu,
        Because::Unanswered(_)
        | Because::OtherMac { .. }
        | Because::SameMac { .. }
        | Because::TakenByBridge(_) => Point::Endpoint,
        Because::Route(..)
        | Because::PolicyRule(..)
        | Because::LoopbackSource(_)
        | Because::AsksNoOne(_)
        | Because::NotForwarding(_)
        | Because::Ttl
        | Because::Obstacle(_) => Point::Route,
    }
}
