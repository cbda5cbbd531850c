//! What the model of the node makes of the packet, held against what was seen of it.
//!
//! Where both agree on where it ends, the model explains the silence. Where they disagree, one of
//! them is wrong: both are said, and nothing is claimed.

use super::{AttemptContext, Case};
use crate::{
    attempt::Step,
    model::{
        Confidence::{Likely, Possible},
        Direction, Outcome, Point,
    },
    node::{
        way::{self, Act, Because, End, Way},
        world::{LinkId, World},
    },
    verdict::{drops::question, rule::Finding},
};

/// The way that the model gives an attempt's packet, where all of them end alike.
#[derive(Clone, Copy)]
struct Model<'a> {
    world: &'a World,
    steps: &'a [way::Step],
    end: Ending<'a>,
}

/// Where a way ends, as far as this node goes.
#[derive(Clone, Copy, PartialEq)]
enum Ending<'a> {
    /// By an interface that leads off the node, whatever the model may know of what is behind it.
    Left(LinkId),
    Here(&'a End),
}

impl<'a> Model<'a> {
    fn of(around: &'a AttemptContext) -> Option<Self> {
        let world = around.world.as_deref()?;
        let mut models = around
            .ways
            .iter()
            .map(|way| Self::on_node(world, way, around));
        let first = models.next()?;
        models.all(|other| other.end == first.end).then_some(first)
    }

    /// The part of a way that is on this node.
    fn on_node(world: &'a World, way: &'a Way, around: &AttemptContext) -> Self {
        let left = way
            .steps
            .iter()
            .enumerate()
            .find_map(|(at, step)| match step.act {
                Act::WentOut(link) if around.uplinks.contains(&link) => Some((at, link)),
                _ => None,
            });
        let (steps, end) = match left {
            Some((at, link)) => (&way.steps[..=at], Ending::Left(link)),
            None => (&way.steps[..], Ending::Here(&way.end)),
        };
        Self { world, steps, end }
    }

    /// How many of its steps the packet was seen to take; `None` where it was seen elsewhere.
    fn seen_until(self, last: &Step) -> Option<usize> {
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
        let mut steps = self.steps.iter();
        let at = steps.rposition(|step| is_there(&step.act))?;
        Some(at + 1)
    }

    /// Whether the packet ends where it was last seen: behind that place it takes no step that
    /// would have been seen, and a drop there would not have been seen either.
    fn agrees(self, case: &Case<'_>, dropped_in: u32, because: &Because) -> bool {
        let around = case.around;
        let seen = match case.attempt.last_hop() {
            Some(last) => self.seen_until(last),
            None => Some(0),
        };
        let Some(seen) = seen else { return false };
        let is_seen = self.steps[seen..].iter().any(|step| match &step.act {
            Act::CameIn(link) | Act::WentOut(link) => around.watched.contains(&link.netns),
            _ => false,
        });
        // What waits for a neighbor is dropped seconds later.
        let waits = matches!(because, Because::Unanswered(_));
        !is_seen && (waits || !around.watched.contains(&dropped_in))
    }

    fn in_words(self) -> String {
        let end = match self.end {
            Ending::Left(by) => {
                format!("it leaves by {}", self.world.link_name(by, u32::MAX))
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
    if let Because::Unanswered(unanswered) = because {
        if let Some(refused) = &unanswered.refused {
            return Some(question::by_a_rule(model.world, unanswered, refused));
        }
        if let Some((link, program)) = &unanswered.program {
            let world = model.world;
            return Some(question::by_a_program(world, unanswered, *link, program));
        }
        // The neighbor entry itself says more.
        if case.around.silent_hop.is_some() {
            return None;
        }
    }
    let namespace = model.world.namespace(*netns);
    let place = namespace.map_or_else(|| netns.to_string(), |one| one.name.clone());
    let at = link.map(|link| format!(", at {}", model.world.link_name(link, *netns)));
    let because_of = because.in_words(model.world, *netns);
    let why = format!(
        "in network namespace {place}{}: {because_of}",
        at.unwrap_or_default()
    );
    let mut finding = Finding::new(point(because), Likely, why).about(&[&place, &because_of]);
    finding.fact("the packet was last seen in front of that, and no answer came");
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
    let why = format!("it left by {ifname}, but {}", model.in_words());
    let mut finding = Finding::new(Point::Unknown, Possible, why).about(&[ifname]);
    finding.fact("the routes and rules were read after the packet: they may have changed since");
    Some(finding)
}

/// What the model says, as evidence for a verdict that does not rest on it.
pub(super) fn in_words(case: &Case<'_>) -> Option<String> {
    unanswered(case).map(Model::in_words)
}

fn unanswered<'a>(case: &Case<'a>) -> Option<Model<'a>> {
    let is_silent = case.outcome == Outcome::Unanswered && case.attempt.reply.is_none();
    Model::of(case.around).filter(|_| is_silent)
}

fn point(because: &Because) -> Point {
    match because {
        Because::Rule(..) => Point::Firewall,
        Because::Source(_) => Point::Rpfilter,
        Because::TooBig { .. } => Point::Mtu,
        Because::Unanswered(_) | Because::OtherMac { .. } | Because::TakenByBridge(_) => {
            Point::Endpoint
        }
        Because::Route(..)
        | Because::LoopbackSource(_)
        | Because::NotForwarding(_)
        | Because::Ttl
        | Because::Obstacle(_) => Point::Route,
    }
}
