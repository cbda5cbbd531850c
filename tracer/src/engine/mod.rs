//! Tracking, folding, judging and naming, without I/O: what a running trace knows, and what it makes
//! of each input.
//!
//! [`Engine::handle`] takes an [`Input`] and the time, and returns [`Effect`]s: questions to ask,
//! reports to show. It reads no clock and waits for nothing, so that a recorded trace can be played
//! again, and a test can say what happens when.
//!
//! - `input`, `effect`: what goes in and what comes out
//! - `drops`: which drops are shown, and with which verdict
//! - `connects`: connects that fail before they send a packet
//! - `attempts`: what is seen of attempts, what decides them, and the verdict
//! - `cluster_context`: who is at the ends of a flow; `filter_names`: the ends of the filter that go
//!   by name
//! - `knowledge`: what is known of the cluster and the interfaces; `visibility`: what the probes may
//!   have missed
//! - `queries`: the open questions to the node; `losses`: what was lost; `excess`: what is too much to
//!   show; `networks`: who comes first in a flood

mod attempts;
mod cluster_context;
mod connects;
mod drops;
mod effect;
mod excess;
mod filter_names;
mod input;
mod interfaces;
mod knowledge;
mod losses;
mod networks;
#[cfg(test)]
mod properties;
mod queries;
#[cfg(test)]
mod tests;
mod visibility;
mod work;

use self::{
    attempts::Attempts, connects::Connects, drops::Drops, knowledge::Knowledge, losses::Losses,
    queries::Purpose, work::Work,
};
pub(crate) use self::{
    drops::DropOptions,
    effect::{Effect, MapQuery},
    filter_names::FilterNames,
    input::{Input, MapAnswer},
    queries::QueryId,
};
use crate::{
    cluster::update::Source,
    decode::{drop::DropFacts, event::Event},
    model::{Clock, Report},
    node::query::Answer,
    report::accounts::{DropTotals, Totals},
};

/// Nanoseconds of `CLOCK_MONOTONIC`, which the kernel programs read too.
pub(crate) type Nanos = u64;
const MILLISECOND: Nanos = 1_000_000;
const SECOND: Nanos = 1_000 * MILLISECOND;

/// What the engine is to do.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) drops: DropOptions,
    /// How many attempts are followed at once.
    pub(crate) attempts: usize,
    /// How long a SYN or a DNS query may go unanswered.
    pub(crate) timeout: Nanos,
    /// The ends of the filter that go by name.
    pub(crate) names: FilterNames,
    /// Whether the filter has an end: an address, a port or a name.
    pub(crate) has_ends: bool,
    /// What keeps the probes from seeing everything, a sentence each.
    pub(crate) blind_spots: Vec<String>,
    pub(crate) clock: Clock,
    /// What the user calls this node.
    pub(crate) node: Option<String>,
    /// How many records are shown in a second; `None` for all of them.
    pub(crate) most_records: Option<u64>,
}

/// What a running trace knows.
#[derive(Debug)]
pub(crate) struct Engine {
    knowledge: Knowledge,
    names: FilterNames,
    drops: Drops,
    attempts: Attempts,
    connects: Connects,
    losses: Losses,
    has_matched: bool,
    /// Until when events are read, where others wait.
    read_until: Option<Nanos>,
}

impl Engine {
    pub(crate) fn new(settings: Settings) -> Self {
        Self {
            knowledge: Knowledge::new(
                settings.clock,
                settings.node,
                settings.blind_spots,
                settings.most_records,
            ),
            names: settings.names,
            drops: Drops::new(settings.drops),
            connects: Connects::new(settings.drops.noise || settings.has_ends),
            attempts: Attempts::new(settings.timeout, settings.attempts),
            losses: Losses::default(),
            has_matched: false,
            read_until: None,
        }
    }

    /// Takes one input. Returns what is to be done, in this order.
    pub(crate) fn handle(&mut self, input: Input, now: Nanos) -> Vec<Effect> {
        let mut effects = Vec::new();
        let Self {
            knowledge,
            drops,
            attempts,
            connects,
            losses,
            names,
            has_matched,
            read_until,
        } = self;
        *has_matched |= matches!(input, Input::Event(_));
        let cx = &mut knowledge.context(now, &mut effects);
        match input {
            Input::Event(Event::Drop { facts, count }) => {
                let mut facts = facts;
                let is_own = attempts.seen(&facts, count, cx.interfaces);
                facts.quotes_seen = facts.quoted_tuple.is_some() && is_own;
                facts.untranslated = attempts.untranslated(&facts);
                facts.sent_back = attempts.sent_back(&facts, cx);
                facts.is_from_node = cx.is_from_node(&facts);
                let judged = drops.received(
                    *facts,
                    count,
                    is_own,
                    |one, other| attempts.connects(one, other),
                    cx,
                );
                attempts.dropped(judged, cx);
            }
            Input::Event(Event::Sighting(sighting)) => {
                if let Some(quoted) = sighting.too_big_for() {
                    drops.notified(quoted, cx.now);
                }
                attempts.sighted(&sighting, cx);
            }
            Input::Event(Event::Retransmit(event)) => {
                drops.resent(&event, cx.now);
                attempts.retransmitted(&event, cx);
            }
            Input::Event(Event::Connect(failed)) => connects.failed(failed, cx),
            Input::Map(MapAnswer::Counts(exact)) => {
                attempts.counted(&exact, cx);
                drops.counted(&exact, |facts| attempts.has_reached(facts), cx);
            }
            Input::Map(MapAnswer::AllCounts(exact)) => {
                let counts: Vec<_> = exact.iter().map(|(of, count)| (of.key, *count)).collect();
                attempts.counted(&counts, cx);
                drops.reconcile(exact, cx);
            }
            Input::Map(MapAnswer::EarlyHops(key, early)) => attempts.preceded(&key, &early, cx),
            Input::Map(MapAnswer::Forgotten(kinds)) => {
                drops.forgotten(&kinds);
                attempts.forgotten(&kinds);
            }
            Input::Answer(id, answer) => match (cx.queries.close(id), answer) {
                (Some(Purpose::Drops(subject)), answer) => {
                    let judged = drops.answered(subject, answer.and_then(Answer::about_drop), cx);
                    attempts.dropped(judged, cx);
                }
                (Some(Purpose::Rules(netns)), answer) => {
                    let facts = answer.map(Answer::about_rules).unwrap_or_default();
                    let judged = drops.corrected(netns, facts, cx);
                    attempts.corrected(judged, cx);
                }
                (Some(Purpose::Connect(kind)), answer) => connects.answered(&kind, answer, cx),
                (Some(purpose), answer) => attempts.answered(purpose, answer, cx),
                (None, _) => {}
            },
            Input::Cluster(updates) => {
                knowledge.learn(updates, now, &mut effects);
                names.follow(&knowledge.cluster, &mut effects);
            }
            Input::Netns(names) => knowledge.netns.learn(names),
            Input::Interfaces(changes) => knowledge.see(changes),
            Input::Unwatched(sentence) => {
                cx.visibility.watched_except(sentence, cx.clock.wall(now));
            }
            Input::ReadUntil(until) => *read_until = until,
            Input::Tick(tallies) => {
                let judged = drops.release(now, |facts| attempts.has_reached(facts), cx);
                attempts.dropped(judged, cx);
                drops.tick(cx);
                losses.tick(tallies, cx);
                // The answer to an attempt may be among the events that wait.
                let read = read_until.unwrap_or(now).min(now);
                attempts.tick(read, || drops.waiting(), cx);
                cx.report_excess(false);
            }
            Input::Detached(tallies) => {
                losses.tick(tallies, cx);
                let reached = |facts: &DropFacts| attempts.has_reached(facts);
                let judged = drops.release(Nanos::MAX, reached, cx);
                attempts.dropped(judged, cx);
                let until = now;
                cx.effects.push(Effect::Read(MapQuery::AllCounts { until }));
                attempts.ask_what_is_unread(cx);
            }
            Input::Finish => {
                let judged = drops.give_up(cx);
                attempts.dropped(judged, cx);
                attempts.finish(cx);
                connects.finish(cx);
                cx.report_excess(true);
                let (drops, kernel) = (drops.totals(), losses.tallies());
                let at = cx.clock.wall(now);
                let summary = cx.accounts.close(Totals {
                    at,
                    node: cx.node(),
                    unwatched: cx.visibility.gaps(at),
                    drops: DropTotals {
                        all: drops.all.saturating_add(kernel.uncounted),
                        folded: cx.excess.packets(),
                        ..drops
                    },
                    folded: cx.excess.total(),
                    lost: cx.visibility.lost,
                    malformed: kernel.malformed,
                    untracked: attempts.untracked(),
                    tls: attempts.tls(cx.now),
                    answered: kernel.answered,
                    has_tunnels: cx.interfaces.have_tunnels(),
                });
                cx.report(Report::Summary(Box::new(summary)));
            }
        }
        effects
    }

    /// Whether drops wait for answers of the node, or the summary does: at the end, these are worth
    /// waiting for.
    pub(crate) fn awaits_node(&self) -> bool {
        let queries = &self.knowledge.queries;
        queries.about_drops() > 0 || queries.about_connects() || queries.about_the_end()
    }

    /// Starts to report changes of the filter's names. Returns what one should know of them at the
    /// start, a sentence each.
    pub(crate) fn start(&mut self) -> Vec<String> {
        self.names.start()
    }

    /// What this node is called, as far as it is known.
    pub(crate) fn node(&self) -> Option<String> {
        self.knowledge.node()
    }

    /// Whether a packet was seen that matches the filter: an event of a drop, or of an attempt.
    pub(crate) fn has_matched(&self) -> bool {
        self.has_matched
    }

    /// Events lost so far.
    pub(crate) fn lost(&self) -> u64 {
        self.knowledge.lost()
    }

    /// The ends of the filter that go by name.
    pub(crate) fn names(&self) -> &FilterNames {
        &self.names
    }

    /// Why a trace cannot start: a name that does not exist, or will never match. `silent` are the
    /// sources that have not reported all they know.
    pub(crate) fn refusal(&self, started: &[Source], silent: &[Source]) -> Option<String> {
        self.names.refusal(&self.knowledge.cluster, started, silent)
    }

    /// How much work the drops so far were, and the attempts.
    pub(crate) fn work(&self) -> [Work; 2] {
        [self.drops.work(), self.attempts.work()]
    }
}
