//! The walk: a packet is somewhere, and what the kernel does with it there takes it somewhere else,
//! until it ends.

mod answerer;
mod bridge;
mod frame;
mod input;
mod neighbor;
mod output;
mod question;

use std::net::IpAddr;

use super::{Act, AtHook, Because, End, Judgment, Kernel, Packet, Start, Step, Way};
use crate::{
    model::Hook,
    net::{Mac, RouteKey},
    node::{
        programs::Program,
        route::{Lookup, Refusal},
        world::{
            Link, LinkId, World,
            segment::{self, Edges},
        },
    },
};

/// More moves than a packet makes that is not going in circles.
const MOST_MOVES: usize = 256;

/// Where a packet is.
#[derive(Clone, Debug, PartialEq)]
enum At {
    /// A process sends it.
    Send(u32),
    /// It is a frame between links.
    Frame(Frame, segment::Step),
    /// A namespace takes it in at a link.
    Input {
        link: LinkId,
        /// A bridge has shown it to `PREROUTING` already.
        prerouted: bool,
    },
    /// It is about to leave through a link.
    Output { link: LinkId, hop: IpAddr },
}

/// A frame between links.
#[derive(Clone, Debug, PartialEq)]
struct Frame {
    /// The next hop that it is for.
    hop: IpAddr,
    /// Its destination's MAC address.
    mac: Mac,
    /// A bridge has shown it to `PREROUTING` already.
    prerouted: bool,
}

/// The next place, or the end.
type Next = Result<At, Box<End>>;

pub(super) struct Walk<'a> {
    world: &'a World,
    kernel: &'a dyn Kernel,
    edges: Edges<'a>,
    packet: Packet,
    steps: Vec<Step>,
    /// The namespace that it is in.
    netns: u32,
    /// The link that it left through, if that has sent it to its own MAC address.
    asks_no_one: Option<LinkId>,
    /// Which of several packets to go on with, at each rule that chooses, as far as that is laid
    /// down; and from among how many.
    choices: Vec<Choice>,
    chosen: usize,
}

/// A choice: the place, and how many there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Choice {
    place: usize,
    of: usize,
}

impl<'a> Walk<'a> {
    pub(super) fn new(
        world: &'a World,
        kernel: &'a dyn Kernel,
        packet: Packet,
        choices: Vec<Choice>,
    ) -> Self {
        Self {
            world,
            kernel,
            edges: Edges::of(world),
            packet,
            steps: Vec::new(),
            netns: 0,
            asks_no_one: None,
            choices,
            chosen: 0,
        }
    }

    /// The choices of the next walk; `None` if all have been walked.
    pub(super) fn next_choices(mut self) -> Option<Vec<Choice>> {
        while let Some(last) = self.choices.last_mut() {
            last.place += 1;
            if last.place < last.of {
                return Some(self.choices);
            }
            self.choices.pop();
        }
        None
    }

    /// Chooses one of several.
    fn choose_one(&mut self, mut packets: Vec<Packet>) -> Packet {
        let of = packets.len();
        if of == 1 {
            return packets.swap_remove(0);
        }
        if self.choices.len() == self.chosen {
            self.choices.push(Choice { place: 0, of });
        }
        let place = self.choices[self.chosen].place.min(of - 1);
        self.chosen += 1;
        packets.swap_remove(place)
    }

    pub(super) fn run(&mut self, start: Start) -> Way {
        let mut next = match start {
            Start::Sent(netns) => {
                self.netns = netns;
                self.did(Act::Sent);
                Ok(At::Send(netns))
            }
            Start::In(link) => {
                self.netns = link.netns;
                self.arriving(link)
            }
        };
        for _ in 0..MOST_MOVES {
            next = match next {
                Ok(At::Send(netns)) => self.send(netns),
                Ok(At::Frame(frame, step)) => self.frame(frame, step),
                Ok(At::Input { link, prerouted }) => self.input(link, prerouted),
                Ok(At::Output { link, hop }) => self.output(link, hop),
                Err(end) => {
                    return Way {
                        steps: std::mem::take(&mut self.steps),
                        end: *end,
                    };
                }
            };
        }
        let end = match next {
            Err(end) => *end,
            Ok(_) => *self.undecided("the packet goes in circles".to_owned()),
        };
        Way {
            steps: std::mem::take(&mut self.steps),
            end,
        }
    }

    fn did(&mut self, act: Act) {
        let netns = self.netns;
        self.steps.push(Step { netns, act });
    }

    fn undecided(&self, want: String) -> Box<End> {
        Box::new(End::Undecided {
            netns: self.netns,
            want,
        })
    }

    fn dropped(&self, link: Option<LinkId>, because: Because) -> Box<End> {
        Box::new(End::Dropped {
            netns: self.netns,
            link,
            // What becomes of a frame that was sent so is of no interest.
            because: self.asks_no_one.map_or(because, Because::AsksNoOne),
        })
    }

    fn link(&self, id: LinkId) -> Result<&'a Link, Box<End>> {
        let gone = || self.undecided(format!("link {} was not read", id.ifindex));
        self.world.link(id).ok_or_else(gone)
    }

    fn link_of(&self, output: Option<u32>) -> Result<&'a Link, Box<End>> {
        let unsaid = || self.undecided("the route names no link".to_owned());
        let ifindex = output.ok_or_else(unsaid)?;
        self.link(LinkId {
            netns: self.netns,
            ifindex,
        })
    }

    fn route(&self, key: RouteKey) -> Result<Lookup, Box<End>> {
        if self.packet.mark.is_none() && self.may_route_by_mark() {
            let want = "the packet's mark, by which policy rules choose its route".to_owned();
            return Err(self.undecided(want));
        }
        let lookup = self.kernel.route(self.netns, key);
        let lookup = lookup.map_err(|gap| self.undecided(gap))?;
        let several = lookup.matched.as_ref().map_or(0, |route| route.hops.len());
        if several > 1 {
            let want = format!("which of the {several} next hops of a route it takes");
            return Err(self.undecided(want));
        }
        Ok(lookup)
    }

    /// Whether a policy rule asks for the mark, as far as the rules were read.
    fn may_route_by_mark(&self) -> bool {
        let rules = self.world.namespace(self.netns);
        let rules = rules.and_then(|namespace| namespace.rules.as_ref());
        rules.is_none_or(|rules| rules.iter().any(|rule| rule.mark.is_some()))
    }

    /// Why a packet without a route is dropped.
    fn unrouted(&self, refusal: Refusal, lookup: &Lookup) -> Because {
        match lookup.refusing_rule(self.world, self.netns) {
            Some(rule) => Because::PolicyRule(Box::new(rule.clone()), lookup.packet.dst),
            None => Because::Route(refusal, lookup.to_string()),
        }
    }

    /// The first program at a link that may do anything with what passes there.
    fn program(&self, link: &Link, is_ingress: bool) -> Result<Option<Program>, Box<End>> {
        let programs = self.kernel.programs(link, is_ingress);
        let programs = programs.map_err(|gap| self.undecided(gap))?;
        Ok(programs.into_iter().next())
    }

    fn passes_programs(&self, link: LinkId, is_ingress: bool) -> Result<(), Box<End>> {
        match self.program(self.link(link)?, is_ingress)? {
            None => Ok(()),
            Some(program) => Err(self.undecided_by(link, &program)),
        }
    }

    fn undecided_by(&self, link: LinkId, program: &Program) -> Box<End> {
        let name = self.world.link_name(link, self.netns);
        let want = format!("whether a program at {name} lets it pass ({program})");
        self.undecided(want)
    }

    /// Shows the packet to the rules at a hook.
    fn hook(
        &mut self,
        hook: Hook,
        input: Option<&Link>,
        output: Option<&Link>,
    ) -> Result<(), Box<End>> {
        self.hook_at(&AtHook {
            netns: self.netns,
            hook,
            input: input.map(|link| link.name.clone()),
            output: output.map(|link| link.name.clone()),
            ports: None,
        })
    }

    fn hook_at(&mut self, at: &AtHook) -> Result<(), Box<End>> {
        match self.kernel.pass(at, &self.packet) {
            Judgment::Passes(packets) if packets.is_empty() => {
                let want = format!("what the rules at {} make of it", at.hook.name());
                Err(self.undecided(want))
            }
            Judgment::Passes(packets) => {
                let before = self.packet.flow;
                self.packet = self.choose_one(packets);
                self.did(match self.packet.flow {
                    after if after != before => Act::Translated(at.hook, after),
                    _ => Act::Passed(at.hook),
                });
                Ok(())
            }
            Judgment::PassesByEntry(packet, rules) => {
                self.did(Act::KeptByEntry(at.hook, packet.flow, rules));
                self.packet = packet;
                Ok(())
            }
            Judgment::PassesUntracked(packet, rule, flow) => {
                self.did(Act::Exempted(at.hook, rule, flow));
                self.packet = packet;
                Ok(())
            }
            Judgment::Drops(by) => Err(self.dropped(None, Because::Rule(at.hook, by))),
            Judgment::Undecided(want) => Err(self.undecided(want)),
        }
    }
}
