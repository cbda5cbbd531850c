//! The packet arrives, and no answer can come back: what the model of the node makes of the answer.
//!
//! A route that is missing where the answer is made drops no packet that could be seen: the kernel
//! makes no answer at all.

use super::{
    Case,
    way::{Ending, Model, fix, is_out_of_sight, name_of, place_of, point, unanswered},
};
use crate::{
    model::{Confidence::Likely, Fix, Point},
    node::{
        way::{Act, Because, End, Step},
        world::{LinkId, World},
    },
    verdict::rule::Finding,
    words,
};

/// The model delivers the packet, and loses the answer.
pub(super) fn explained(case: &Case<'_>) -> Option<Finding> {
    let model = unanswered(case)?;
    let Ending::Here(End::Delivered { netns, .. }) = model.end else {
        return None;
    };
    let around = case.around;
    let back = Model::on_node(model.world, around.way_back.as_ref()?, around, None);
    let fits = model.was_not_seen_further(case) && is_out_of_sight(back.steps, &around.watched);
    fits.then_some(())?;
    lost(case, back, *netns)
        .filter(|_| !is_translated_before(model.steps, back, *netns))
        .or_else(|| not_translated_back(model, back, *netns))
}

/// The answer ends on its way.
fn lost(case: &Case<'_>, back: Model<'_>, from: u32) -> Option<Finding> {
    let Ending::Here(End::Dropped {
        netns,
        link,
        because,
    }) = back.end
    else {
        return None;
    };
    // Without a route, the kernel makes no packet; what waits for a neighbor is dropped later.
    let is_silent = match because {
        Because::Unanswered(_) => true,
        Because::Route(..) | Because::PolicyRule(..) => *netns == from,
        _ => false,
    };
    (is_silent || !case.around.watched.contains(netns)).then_some(())?;
    let world = back.world;
    let because_of = because.in_words(world, *netns);
    let why = format!(
        "it reaches {}, and no answer comes back: {}: {because_of}",
        words::namespace(&name_of(world, from)),
        place_of(world, *netns, *link),
    );
    let mut finding =
        Finding::new(point(because), Likely, why).about(&[&name_of(world, *netns), &because_of]);
    finding.fact("by the routes and rules of this node, it is delivered; no answer to it was seen");
    finding.fix.extend(fix(world, *netns, because));
    Some(finding)
}

/// Whether the answer would have to be translated back before it ends: then the entry of the
/// connection decides, and it may not be there any more.
fn is_translated_before(question: &[Step], back: Model<'_>, from: u32) -> bool {
    let Ending::Here(End::Dropped { netns, .. }) = back.end else {
        return true;
    };
    *netns != from && translators(question).next().is_some()
}

/// The namespaces that translate the packet.
fn translators(question: &[Step]) -> impl Iterator<Item = u32> {
    question.iter().filter_map(|step| match step.act {
        Act::Translated(..) | Act::KeptByEntry(..) => Some(step.netns),
        _ => None,
    })
}

/// The answer comes by none of the namespaces that have translated the packet.
fn not_translated_back(model: Model<'_>, back: Model<'_>, from: u32) -> Option<Finding> {
    let world = model.world;
    let gets_through = matches!(
        back.end,
        Ending::Left(_) | Ending::Here(End::Delivered { .. } | End::Leaves { .. })
    );
    let missed = translators(model.steps).find(|one| *one != from)?;
    let passes = back.steps.iter().any(|step| step.netns == missed);
    (gets_through && !passes).then_some(())?;
    let out = first_out(back.steps)?;
    let (there, translator) = (name_of(world, from), name_of(world, missed));
    let by = world.link_name(out, from);
    let why = format!(
        "the answer leaves {} by {by}, and not by {translator}, which translated the question: it is not \
         translated back (NAT)",
        words::namespace(&there)
    );
    let mut finding = Finding::new(Point::Conntrack, Likely, why).about(&[&there, &translator]);
    finding.fact(format!(
        "by the routes of this node, the answer {}",
        outcome(world, back)
    ));
    finding.fix.push(Fix::advice(format!(
        "let the answer take the way back through {translator}: a route there, or masquerade the \
         question"
    )));
    Some(finding)
}

fn first_out(steps: &[Step]) -> Option<LinkId> {
    steps.iter().find_map(|step| match step.act {
        Act::WentOut(link) => Some(link),
        _ => None,
    })
}

fn outcome(world: &World, back: Model<'_>) -> String {
    match back.end {
        Ending::Left(by) => format!("leaves this node by {}", world.link_name(by, u32::MAX)),
        Ending::Here(end) => {
            let verb = match end {
                End::Leaves { .. } => "",
                _ => "is ",
            };
            format!("{verb}{}", end.in_words(world))
        }
    }
}
