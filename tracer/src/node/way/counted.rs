//! What the kernel counts where a way ends: read twice, it shows whether the packet ended there.

use std::time::Duration;

use super::{Act, Because, End, Way, end::SourceFault};
use crate::{
    net::netns::in_netns,
    node::{counters::Counters, route::Refusal, world::World},
};

/// A reading of the counter of packets that end like this one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Counted {
    /// The namespace where it ends.
    pub(crate) netns: u32,
    /// Why, in words.
    pub(crate) because: String,
    /// What counts that.
    pub(crate) counter: String,
    /// Its value.
    pub(crate) value: u64,
    /// Who else moves it.
    pub(crate) others: Others,
}

/// What else moves a counter than packets that end like this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Others {
    /// It is the counter of one rule: only packets that match it.
    Rule,
    /// It is a whole namespace's: any packet that comes in there. So many have come in so far.
    Arrivals(u64),
    /// It is a whole namespace's, and what else moves it is not counted.
    Uncounted,
}

/// Two readings of one counter, and what was seen of the packet in between.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Comparison {
    /// What counts.
    pub(crate) counter: String,
    /// How far it has moved.
    pub(crate) moved: u64,
    /// How often the packet was sent meanwhile.
    pub(crate) sent: u64,
    /// No other packet could have moved it: it is a rule's own, or none came in.
    pub(crate) is_alone: bool,
}

impl Counted {
    /// Reads it for the one end of all these ways; `None` if the kernel does not count that.
    pub(super) fn read(
        world: &World,
        ways: &[Way],
        is_ipv4: bool,
        limit: Duration,
    ) -> Option<Self> {
        let (first, others) = ways.split_first()?;
        let End::Dropped { netns, because, .. } = &first.end else {
            return None;
        };
        others
            .iter()
            .all(|other| other.end == first.end)
            .then_some(())?;
        let (counter, value, others) = match because {
            Because::Rule(_, by) => ("its counter".to_owned(), by.counter?, Others::Rule),
            _ => {
                let name = counter(first, because).filter(|_| is_ipv4)?;
                let namespace = world.namespace(*netns)?;
                let read = in_netns(&namespace.reference, limit, |_| Counters::read());
                let counters = read.ok()?;
                let arrivals = counters.get(ARRIVALS).filter(|_| has_arrived(first));
                let others = arrivals.map_or(Others::Uncounted, Others::Arrivals);
                (name.to_owned(), counters.get(name)?, others)
            }
        };
        Some(Self {
            netns: *netns,
            because: because.in_words(world, *netns),
            counter,
            value,
            others,
        })
    }

    /// What has happened since an earlier reading, between which the packet was sent so often; `None`
    /// if that was of another end.
    pub(crate) fn since(&self, earlier: &Self, sent: u64) -> Option<Comparison> {
        let is_same = (self.netns, &self.because, &self.counter)
            == (earlier.netns, &earlier.because, &earlier.counter);
        is_same.then_some(())?;
        let is_alone = match (self.others, earlier.others) {
            (Others::Rule, Others::Rule) => true,
            (Others::Arrivals(now), Others::Arrivals(then)) => now.checked_sub(then) == Some(sent),
            _ => false,
        };
        Some(Comparison {
            counter: self.counter.clone(),
            moved: self.value.checked_sub(earlier.value)?,
            sent,
            is_alone,
        })
    }
}

/// All IPv4 packets that have come into a namespace.
const ARRIVALS: &str = "IpInReceives";

/// Whether a packet has come into the namespace where it ends, and was not sent there.
fn has_arrived(way: &Way) -> bool {
    let mut steps = way.steps.iter().rev();
    let how = steps.find(|step| matches!(step.act, Act::Sent | Act::CameIn(_)));
    how.is_some_and(|step| matches!(step.act, Act::CameIn(_)))
}

/// The counter of the namespace for IPv4, as `nstat -az` names it. Those of IPv6 also count what else
/// ends there.
fn counter(way: &Way, because: &Because) -> Option<&'static str> {
    let arrived = has_arrived(way);
    match because {
        Because::Source(SourceFault::ReversePath) => Some("TcpExtIPReversePathFilter"),
        Because::NotForwarding(_) => Some("IpInAddrErrors"),
        Because::Route(Refusal::NoRoute, _) if arrived => Some("IpExtInNoRoutes"),
        Because::Route(Refusal::NoRoute, _) => Some("IpOutNoRoutes"),
        _ => None,
    }
}
