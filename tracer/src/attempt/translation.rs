//! What NAT made of the opening packet on its way, and which later segments lack that.

use tracer_common::{packet::Tcp, tuple::Tuple};

use super::{Attempt, Reply};
use crate::{
    decode::{drop::DropFacts, untranslated::Untranslated},
    model::{Direction, Flow, Hook},
};

/// What a namespace made of the opening packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Translation {
    netns: u32,
    before: Tuple,
    behind: Tuple,
}

impl Attempt {
    /// The translations that the opening packet was seen to meet, in order.
    fn translations(&self) -> impl Iterator<Item = Translation> {
        let mut last = None;
        let firsts = self.hops.iter().filter(move |hop| {
            let is_first = last != Some(hop.place.netns);
            last = Some(hop.place.netns);
            is_first
        });
        firsts.filter_map(|first| {
            let netns = first.place.netns;
            let is_sent = first.place.dir == Direction::Out;
            // What was sent from here has passed NAT when it is seen.
            let before = match self.original.filter(|_| is_sent) {
                Some(original) => original,
                None => first.flow,
            };
            let mut outs = self.hops.iter().rev();
            let is_out =
                |place: &crate::model::Place| place.netns == netns && place.dir == Direction::Out;
            let behind = outs.find(|hop| is_out(&hop.place))?.flow;
            (before != behind).then_some(Translation {
                netns,
                before,
                behind,
            })
        })
    }

    /// Whether the connection is open, as far as this node saw.
    fn is_open(&self) -> bool {
        matches!(self.reply, Some(Reply::Answer(None))) && (self.reply_arrived() || self.settled)
    }

    /// The translation that either end's segments seem to lack, where it is not known which of
    /// several.
    pub(crate) fn first_translation(&self, by_client: bool) -> Option<Untranslated> {
        let mut all = self.translations();
        let first = self.segment_of(all.next()?, by_client);
        (all.next().is_none() && self.is_open()).then_some(first)
    }

    /// The translation that a dropped segment lacks, if it can be this connection's.
    pub(crate) fn untranslated(&self, facts: &DropFacts) -> Option<Untranslated> {
        let tcp = facts.tcp.filter(is_later)?;
        // What closes a connection without the other end's knowing is missed by no one.
        let is_missed = tcp.payload > 0 || !is_leftover(facts) || self.has_lost_translation();
        // In front of NAT, nothing is translated yet.
        let is_behind = facts.hook != Some(Hook::Prerouting);
        (is_missed && is_behind && self.is_open()).then_some(())?;
        let flow = &facts.key.flow;
        let entry = facts.wire.as_ref().and_then(|wire| wire.entry);
        let is_sent = |one: &Self, by_client| one.has_surely_sent(&tcp, by_client);
        self.translations()
            .filter(|one| entry != Some((one.before, one.behind.reversed())))
            .find_map(|one| {
                let by_client = match () {
                    () if one.lacks_destination(flow, facts.netns) && is_sent(self, true) => true,
                    () if self.lacks_way_back(&one, flow, facts.netns) && is_sent(self, false) => {
                        false
                    }
                    () => return None,
                };
                Some(Untranslated {
                    seen: Some(facts.flow),
                    ..self.segment_of(one, by_client)
                })
            })
    }

    /// The translation that a dropped answer lacks, of a query whose answer is still awaited.
    pub(crate) fn untranslated_answer(&self, facts: &DropFacts) -> Option<Untranslated> {
        let is_behind = facts.hook != Some(Hook::Prerouting);
        (is_behind && !self.reply_arrived()).then_some(())?;
        let entry = facts.wire.as_ref().and_then(|wire| wire.entry);
        let one = self
            .translations()
            .filter(|one| entry != Some((one.before, one.behind.reversed())))
            .find(|one| self.lacks_way_back(one, &facts.key.flow, facts.netns))?;
        Some(Untranslated {
            seen: Some(facts.flow),
            ..self.segment_of(one, false)
        })
    }

    fn segment_of(&self, of: Translation, by_client: bool) -> Untranslated {
        let first = self.hops.first();
        let sender = first.filter(|first| first.place.dir == Direction::Out);
        Untranslated {
            netns: of.netns,
            before: Flow::from(&of.before),
            behind: Flow::from(&of.behind),
            client: sender.map(|hop| hop.place.netns),
            by_client,
            seen: None,
        }
    }

    /// Whether both numbers of a segment are this connection's.
    fn has_surely_sent(&self, tcp: &Tcp, by_client: bool) -> bool {
        let (own, other) = match by_client {
            true => (&self.client_sent, &self.server_sent),
            false => (&self.server_sent, &self.client_sent),
        };
        own.can_have_sent(tcp.seq) && other.can_be_acknowledged(tcp.ack)
    }

    /// Whether a segment of the server's comes as it was sent to where it must have been translated
    /// back.
    fn lacks_way_back(&self, one: &Translation, flow: &Tuple, netns: Option<u32>) -> bool {
        let is_servers = *flow == one.behind.reversed();
        let source = |flow: &Tuple| (flow.src, flow.sport);
        // Its destination is translated back as it comes in, its source as it leaves.
        let came_in = source(&one.before) != source(&one.behind) && netns == Some(one.netns);
        let until = self
            .hops
            .iter()
            .take_while(|hop| hop.place.netns != one.netns);
        let mut clients_side = until.map(|hop| hop.place.netns);
        let has_left = netns.is_some_and(|netns| clients_side.any(|other| other == netns));
        is_servers && (came_in || has_left)
    }
}

impl Translation {
    /// Whether a segment of the client's goes on with another destination than the SYN did.
    fn lacks_destination(&self, flow: &Tuple, netns: Option<u32>) -> bool {
        let destination = |flow: &Tuple| (flow.dst, flow.dport);
        let source = |flow: &Tuple| (flow.src, flow.sport);
        let is_clients = [source(&self.before), source(&self.behind)].contains(&source(flow));
        let was_translated = destination(&self.before) != destination(&self.behind);
        let is_elsewhere = destination(flow) != destination(&self.behind);
        // In front of that namespace, it still has the first one.
        let is_untouched = destination(flow) == destination(&self.before);
        let is_behind = netns == Some(self.netns) || !is_untouched;
        is_clients && was_translated && is_elsewhere && is_behind
    }
}

fn is_later(tcp: &Tcp) -> bool {
    tcp.flags & (Tcp::SYN | Tcp::RST | Tcp::ACK) == Tcp::ACK
}

/// Whether it may be what is left of a connection that is over: TCP itself has dropped it.
fn is_leftover(facts: &DropFacts) -> bool {
    let function = facts.function.as_deref();
    function.is_some_and(|function| function.starts_with("tcp_"))
}
