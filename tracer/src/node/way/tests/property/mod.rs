//! The way of a packet says what the kernel does: small random networks with random faults, a packet
//! walked through the model, and the same packet sent.
//!
//! `WHYDROP_SEED` and `WHYDROP_NETWORKS` choose the first network and how many there are.

mod addresses;
mod faults;
mod lab;
mod observe;
mod plan;
mod random;
mod sent;

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    time::{Duration, Instant},
};

use self::{
    lab::Lab,
    observe::{Observer, Seen, Sighting},
    plan::Plan,
};
use crate::node::{
    way::{Act, End, Live, Packet, Start, Way},
    world::{Part, World},
};

const LIMIT: Duration = Duration::from_secs(20);

fn number(name: &str, default: u64) -> u64 {
    let text = env::var(name).ok();
    text.and_then(|text| text.parse().ok()).unwrap_or(default)
}

#[test]
#[ignore = "needs root, ip, nft; takes minutes"]
fn the_way_is_what_the_kernel_does() {
    let first = number("WHYDROP_SEED", 1);
    let count = number("WHYDROP_NETWORKS", 200);
    let mut ends: BTreeMap<&str, u64> = BTreeMap::new();
    let mut undecided: BTreeMap<String, u64> = BTreeMap::new();
    let mut disagreements = Vec::new();
    for seed in first..first + count {
        let plan = Plan::random(seed);
        let lab = Lab::build(&plan);
        let outcome = compare(&plan, &lab);
        *ends.entry(outcome.end).or_default() += 1;
        if let Some(want) = outcome.want {
            *undecided.entry(want).or_default() += 1;
        }
        if let Some(disagreement) = outcome.disagreement {
            println!("seed {seed}: {disagreement}\n{plan:#?}\n");
            disagreements.push(seed);
        }
    }
    println!("{count} networks: {ends:?}\nundecided: {undecided:#?}");
    assert_eq!(disagreements, Vec::<u64>::new(), "seeds that disagree");
}

struct Outcome {
    end: &'static str,
    want: Option<String>,
    disagreement: Option<String>,
}

fn compare(plan: &Plan, lab: &Lab) -> Outcome {
    let observer = Observer::open(plan, lab);
    let world = World::read(&Part::all(), LIMIT);
    let live = Live::new(&world, Instant::now() + LIMIT);
    let flow = plan.flow();
    let mut packet = Packet::first_of(flow);
    packet.len = Some(sent::length(plan));
    packet.ttl = Some(plan.ttl);
    let sender = lab.inode(&plan.sender());
    let ways = Way::all_of(&world, &live, Start::Sent(sender), &packet);
    let agrees = |seen: &Seen| ways.iter().any(|way| differs(way, seen).is_none());
    let seen = observer.send(lab, agrees);
    let wrong: Vec<_> = ways.iter().map(|way| differs(way, &seen)).collect();
    let agrees = wrong.iter().any(Option::is_none);
    let end = match &ways[0].end {
        End::Delivered { .. } => "delivered",
        End::Dropped { .. } => "dropped",
        End::Leaves { .. } => "leaves",
        End::Undecided { .. } => "undecided",
    };
    let words = |way: &Way| {
        let steps: Vec<_> = way.steps.iter().map(|step| step.in_words(&world)).collect();
        format!(
            "  {}\n  => {}",
            steps.join("\n  "),
            way.end.in_words(&world)
        )
    };
    Outcome {
        end,
        want: match &ways[0].end {
            End::Undecided { want, .. } => Some(want.replace(&lab.prefix, "")),
            _ => None,
        },
        disagreement: (!agrees).then(|| {
            let ways: Vec<_> = ways.iter().map(words).collect();
            let why: Vec<_> = wrong.into_iter().flatten().collect();
            format!(
                "{}\n{}\n  the kernel: {}",
                why.join("; "),
                ways.join("\n  or\n"),
                seen.in_words(&world)
            )
        }),
    }
}

/// How a way differs from what was seen.
fn differs(way: &Way, seen: &Seen) -> Option<String> {
    let mut expected = BTreeSet::new();
    let mut namespaces = BTreeSet::new();
    for step in &way.steps {
        namespaces.insert(step.netns);
        match step.act {
            Act::CameIn(link) => drop(expected.insert(Sighting::of(link, true))),
            Act::WentOut(link) => drop(expected.insert(Sighting::of(link, false))),
            Act::Bridged { from, to, .. } => {
                expected.extend(from.map(|from| Sighting::of(from, true)));
                expected.extend(to.map(|to| Sighting::of(to, false)));
            }
            _ => {}
        }
    }
    let end = match &way.end {
        End::Undecided { .. } => return None,
        End::Delivered { netns, .. } => {
            namespaces.insert(*netns);
            let delivered = seen.delivered == Some(*netns);
            (!delivered).then(|| "it was not delivered there".to_owned())
        }
        End::Leaves { by, .. } => {
            let left = seen.sightings.contains(&Sighting::of(*by, false));
            (!left || seen.delivered.is_some()).then(|| "it did not leave there".to_owned())
        }
        End::Dropped { netns, .. } => {
            namespaces.insert(*netns);
            let delivered = seen.delivered.is_some();
            delivered.then(|| "it was delivered".to_owned())
        }
    };
    if end.is_some() {
        return end;
    }
    if let Some(missing) = expected
        .iter()
        .find(|one| !one.is_loopback && !seen.sightings.contains(one))
    {
        return Some(format!("it was not seen at {missing:?}"));
    }
    let mut for_it = seen.for_it.iter();
    let beyond = for_it.find(|one| !namespaces.contains(&one.netns));
    beyond.map(|one| format!("it was seen in another namespace, at {one:?}"))
}
