//! The MAC address of the next hop: from the neighbor entry, or by who would answer the question for
//! it.

use std::net::IpAddr;

use super::Walk;
use crate::{
    net::{Mac, NeighborState, RouteKey, RouteKind},
    node::{
        programs::Program,
        way::{
            Act, Because, End,
            end::{Refused, Unanswered},
        },
        world::{
            Kind, Link, LinkId,
            segment::{Segment, Step, Trail},
        },
    },
};

/// Who answers.
enum Answer {
    /// This link, for its own namespace's address.
    Own(LinkId, Mac),
    /// This link, for others.
    Proxy(LinkId, Mac),
}

/// A question that got no answer.
struct Question {
    hop: IpAddr,
    asks_as: Option<IpAddr>,
    state: Option<NeighborState>,
    refused: Option<Refused>,
    program: Option<(LinkId, Program)>,
}

/// Whether a link takes its own MAC address for that of each neighbor (`arp_constructor()` and
/// `ndisc_constructor()` in the kernel). Others without ARP need no MAC address.
fn asks_no_one(link: &Link) -> bool {
    let has_neighbors = matches!(
        link.kind,
        Kind::Veth | Kind::Bridge(_) | Kind::Vlan { .. } | Kind::Macvlan(_) | Kind::Bond
    );
    link.noarp && has_neighbors
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
        if let Some(own) = out.mac.as_ref().filter(|_| asks_no_one(out) && is_own) {
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
        let asks_as = self.asks_as(out, hop);
        let mut answers = Vec::new();
        let mut refused = None;
        let mut program = None;
        for (link, trail) in &segment.taken {
            if !trail.obstacles.is_empty() || link.netns == out.id.netns {
                continue;
            }
            let taker = self.link(*link)?;
            let Some(answer) = self.answer(taker, hop, asks_as)? else {
                continue;
            };
            match self.program_on(trail)? {
                // It was not answered: a program may be why.
                found @ Some(_) if state == Some(NeighborState::Failed) => {
                    program = found;
                    continue;
                }
                Some((link, found)) => return Err(self.undecided_by(link, &found)),
                None => {}
            }
            match self.refused_question(out, taker, hop, trail)? {
                None => answers.push(answer),
                by_rule => refused = by_rule,
            }
        }
        match answers.as_slice() {
            [] => {
                let question = Question {
                    hop,
                    asks_as,
                    state,
                    refused,
                    program,
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

    /// The source address of an ARP question: the packet's, if the namespace has it; else one of the
    /// link's.
    fn asks_as(&self, out: &Link, hop: IpAddr) -> Option<IpAddr> {
        if hop.is_ipv6() {
            return None;
        }
        let src = self.packet.flow.src;
        if self.world.is_local(out.id.netns, src) == Some(true) {
            return Some(src);
        }
        // As `inet_select_addr()` does: one in the same subnet, one of the link, one of any link.
        let namespace = self.world.namespace(out.id.netns)?;
        let candidates = namespace.addresses.iter().filter(|one| {
            one.address.is_ipv4() && !one.flags.secondary && one.scope <= libc::RT_SCOPE_LINK
        });
        let mut of_link = candidates
            .clone()
            .filter(|one| one.ifindex == out.id.ifindex);
        let in_subnet = of_link.clone().find(|one| one.is_in_subnet_with(hop));
        let mut of_any = candidates.filter(|one| one.scope < libc::RT_SCOPE_LINK);
        let found = in_subnet
            .or_else(|| of_link.next())
            .or_else(|| of_any.next());
        found.map(|one| one.address)
    }

    /// Whether a link answers a question that reaches it.
    fn answer(
        &self,
        link: &Link,
        hop: IpAddr,
        asks_as: Option<IpAddr>,
    ) -> Result<Option<Answer>, Box<End>> {
        let Some(mac) = link.mac.clone() else {
            return Ok(None);
        };
        if link.noarp && hop.is_ipv4() {
            return Ok(None);
        }
        let is_local = self.world.is_local(link.id.netns, hop) == Some(true);
        if hop.is_ipv6() {
            let answers = is_local && self.world.has_address(link.id, hop);
            return Ok(answers.then_some(Answer::Own(link.id, mac)));
        }
        if !is_local && !self.does_proxy_arp(link) {
            return Ok(None);
        }
        // A question without a source looks like one of address detection.
        if asks_as.is_none() {
            let answers = is_local && self.world.answers_at(link, hop, None);
            return Ok(answers.then_some(Answer::Own(link.id, mac)));
        }
        let key = RouteKey {
            src: asks_as,
            iif: Some(link.id.ifindex),
            ..RouteKey::to(hop)
        };
        let lookup = self.kernel.route(link.id.netns, key);
        let lookup = lookup.map_err(|gap| self.undecided(gap))?;
        Ok(match &lookup.answer {
            Ok(route) if route.kind == RouteKind::Local => self
                .world
                .answers_at(link, hop, asks_as)
                .then_some(Answer::Own(link.id, mac)),
            Ok(route)
                if route.kind == RouteKind::Unicast
                    && route.output != Some(link.id.ifindex)
                    && self.does_proxy_arp(link) =>
            {
                Some(Answer::Proxy(link.id, mac))
            }
            _ => None,
        })
    }

    fn does_proxy_arp(&self, link: &Link) -> bool {
        let namespace = self.world.namespace(link.id.netns);
        let all = namespace
            .and_then(|one| one.settings?.proxy_arp)
            .unwrap_or(0);
        let own = link.ipv4.unwrap_or_default();
        // It answers only where the link forwards, too.
        (all != 0 || own.proxy_arp != 0) && own.forwarding != 0
    }

    fn no_answer(&self, out: &Link, question: Question, segment: &Segment) -> Box<End> {
        let Question {
            hop,
            asks_as,
            state,
            refused,
            program,
        } = question;
        let exit = segment
            .exits
            .iter()
            .find(|(_, trail)| trail.obstacles.is_empty())
            .map(|(exit, _)| *exit);
        // Outside, someone may answer, unless the kernel has given up.
        if let Some(by) = exit.filter(|_| state != Some(NeighborState::Failed)) {
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
            })),
        )
    }

    /// A link that answers for others, but not for this address.
    fn silent_proxy(
        &self,
        hop: IpAddr,
        asks_as: Option<IpAddr>,
        segment: &Segment,
    ) -> Option<(LinkId, String)> {
        let mut links = segment.taken.keys().filter_map(|id| self.world.link(*id));
        let proxy = links.find(|link| hop.is_ipv4() && self.does_proxy_arp(link))?;
        let key = RouteKey {
            src: asks_as,
            iif: Some(proxy.id.ifindex),
            ..RouteKey::to(hop)
        };
        let lookup = self.kernel.route(proxy.id.netns, key).ok()?;
        Some((proxy.id, lookup.to_string()))
    }
}
