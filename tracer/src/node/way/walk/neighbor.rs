//! The MAC address of the next hop: from the neighbor entry, or by who would answer the question for
//! it.

use std::net::IpAddr;

use super::{Walk, answerer::Answer};
use crate::{
    net::{Mac, NeighborState},
    node::{
        programs::Program,
        way::{
            Act, Because, End,
            end::{Misdirected, Refused, Unanswered},
        },
        world::{
            Kind, Link, LinkId,
            segment::{Segment, Step, Trail},
        },
    },
};

/// A question that got no answer.
struct Question {
    hop: IpAddr,
    asks_as: Option<IpAddr>,
    state: Option<NeighborState>,
    refused: Option<Refused>,
    program: Option<(LinkId, Program)>,
    misdirected: Option<Misdirected>,
    lacks_source: bool,
}

impl Question {
    fn for_hop(hop: IpAddr) -> Self {
        Self {
            hop,
            asks_as: None,
            state: None,
            refused: None,
            program: None,
            misdirected: None,
            lacks_source: false,
        }
    }
}

impl Walk<'_> {
    /// The MAC address of a next hop at a link.
    pub(super) fn resolve(&mut self, out: &Link, hop: IpAddr) -> Result<Mac, Box<End>> {
        let entries = self.world.namespace(out.id.netns);
        let Some(entries) = entries.and_then(|namespace| namespace.neighbors.as_ref()) else {
            return Err(self.undecided("the neighbor entries were not read".to_owned()));
        };
        let mut entries = entries.iter();
        let entry = entries.find(|one| one.address == hop && one.ifindex == out.id.ifindex);
        let state = entry.map(|entry| entry.state);
        let known = entry.filter(|entry| entry.state.is_usable());
        let known = known.and_then(|entry| entry.lladdr.as_ref());
        let is_own = known.is_none_or(|mac| Some(mac) == out.mac.as_ref());
        if let Some(own) = out
            .mac
            .as_ref()
            .filter(|_| out.resolves_to_itself() && is_own)
        {
            self.asks_no_one = Some(out.id);
            self.resolved(out, hop, own, format!("that of {}: NOARP", out.name));
            return Ok(own.clone());
        }
        if let Some(mac) = known {
            let by = format!(
                "neighbor entry {}",
                entry.map_or(NeighborState::None, |one| one.state)
            );
            self.resolved(out, hop, mac, by);
            return Ok(mac.clone());
        }
        if out.noarp && matches!(out.kind, Kind::Ipvlan | Kind::Netkit) {
            let want = format!("whom {} hands it to without a MAC address", out.name);
            return Err(self.undecided(want));
        }
        let segment = self.world.segment(out.id);
        if hop.is_ipv6() && self.solicits_as(out).is_none() {
            let question = Question {
                state,
                lacks_source: true,
                ..Question::for_hop(hop)
            };
            return Err(self.no_answer(out, question, &segment));
        }
        let asks_as = self.asks_as(out, hop);
        let mut answers = Vec::new();
        let mut refused = None;
        let mut program = None;
        let mut misdirected = None;
        for (link, trail) in &segment.taken {
            if !trail.obstacles.is_empty() {
                continue;
            }
            if *link == out.id && asks_as == Some(hop) {
                // A port with hairpin sends the question back, and ARP learns from questions, too.
                let want = "whether its own question, which a bridge sends back, answers it";
                return Err(self.undecided(want.to_owned()));
            }
            if link.netns == out.id.netns {
                continue;
            }
            let taker = self.link(*link)?;
            let Some(answer) = self.answer(taker, hop, asks_as)? else {
                continue;
            };
            match self.dead_redirect(out)?.or(self.program_on(trail)?) {
                // It was not answered: a program may be why.
                Some((link, found))
                    if state == Some(NeighborState::Failed) || found.leads_nowhere().is_some() =>
                {
                    program = Some((link, found));
                    continue;
                }
                Some((link, found)) => return Err(self.undecided_by(link, &found)),
                None => {}
            }
            match self.refused_question(out, taker, hop, trail)? {
                None => match self.misdirected(out, taker, hop) {
                    None => answers.push(answer),
                    elsewhere => misdirected = elsewhere,
                },
                by_rule => refused = by_rule,
            }
        }
        match answers.as_slice() {
            [] => {
                let question = Question {
                    asks_as,
                    state,
                    refused,
                    program,
                    misdirected,
                    ..Question::for_hop(hop)
                };
                Err(self.no_answer(out, question, &segment))
            }
            [Answer::Own(link, mac) | Answer::Proxy(link, mac)] => {
                let name = self.world.link_name(*link, out.id.netns);
                let by = match answers[0] {
                    Answer::Own(..) => format!("{name} answers for its own address"),
                    Answer::Proxy(..) => format!("{name} answers for others"),
                };
                self.resolved(out, hop, mac, by);
                Ok(mac.clone())
            }
            _ => Err(self.undecided(format!("which of several answers for {hop} comes first"))),
        }
    }

    /// A filter of tc by which all that leaves through a link goes to an interface that takes nothing.
    fn dead_redirect(&self, out: &Link) -> Result<Option<(LinkId, Program)>, Box<End>> {
        let program = self.program(out, false)?;
        let program = program.filter(|program| program.leads_nowhere().is_some());
        Ok(program.map(|program| (out.id, program)))
    }

    /// A program on the way of a question, which may keep it, or answer it itself.
    fn program_on(&self, trail: &Trail) -> Result<Option<(LinkId, Program)>, Box<End>> {
        for step in &trail.steps {
            let (link, is_ingress) = match *step {
                Step::Out(link, _) => (link, false),
                Step::In(link, _) => (link, true),
                _ => continue,
            };
            if let Some(program) = self.program(self.link(link)?, is_ingress)? {
                return Ok(Some((link, program)));
            }
        }
        Ok(None)
    }

    fn resolved(&mut self, out: &Link, hop: IpAddr, mac: &Mac, by: String) {
        self.netns = out.id.netns;
        let mac = mac.clone();
        self.did(Act::Resolved { hop, mac, by });
    }

    fn no_answer(&self, out: &Link, question: Question, segment: &Segment) -> Box<End> {
        let Question {
            hop,
            asks_as,
            state,
            refused,
            program,
            misdirected,
            lacks_source,
        } = question;
        let exit = segment
            .exits
            .iter()
            .find(|(_, trail)| trail.obstacles.is_empty())
            .map(|(exit, _)| *exit);
        // Outside, someone may answer, unless the kernel has given up.
        if let Some(by) = exit.filter(|_| state != Some(NeighborState::Failed) && !lacks_source) {
            return Box::new(End::Leaves { by, to: hop });
        }
        let holders = self.world.holders_near(out.id.netns, hop);
        let holders = holders.into_iter().map(|holder| {
            let between = self.world.between(out.id, &holder);
            (holder, between)
        });
        self.dropped(
            Some(out.id),
            Because::Unanswered(Box::new(Unanswered {
                hop,
                is_gateway: hop != self.packet.flow.dst,
                from: out.id,
                asks_as,
                state,
                holders: holders.collect(),
                proxy: self.silent_proxy(hop, asks_as, segment),
                refused,
                program,
                misdirected,
                lacks_source,
            })),
        )
    }
}
