//! A neighbor that does not answer ARP or ND: who has the address after all, and what is in between.
//!
//! Silence on the link says that an address is gone only if no namespace of this node has it.

mod disabled;
mod elsewhere;
mod silence;
#[cfg(test)]
mod tests;

use std::net::IpAddr;

use crate::{
    model::{
        Confidence::{self, Confirmed, Likely, Possible},
        Fix, Point, Site,
        shell::Command,
    },
    net::{NeighborState, Route},
    node::world::{Between, Holder, LinkId, Obstacle, World},
    verdict::drops::not_here::{own_mac, same_mac, share_mac},
};

/// The question that was not answered.
#[derive(Debug, Clone, Copy)]
pub(super) struct Unanswered<'a> {
    /// The address that was asked for.
    pub(super) address: IpAddr,
    /// The interface that the question left through, and its name.
    pub(super) from: Option<(LinkId, &'a str)>,
    /// The destination of the packet that waited; the address itself, or behind it.
    pub(super) dst: IpAddr,
    /// The source of that packet, which the question carries too.
    pub(super) src: IpAddr,
    /// The route that decided.
    pub(super) by: Option<&'a Route>,
}

/// What explains the silence.
#[derive(Debug, PartialEq)]
pub(super) struct Explanation {
    pub(super) point: Point,
    pub(super) confidence: Confidence,
    pub(super) why: String,
    pub(super) evidence: Vec<String>,
    pub(super) fix: Vec<Fix>,
}

impl<'a> Unanswered<'a> {
    /// Explains it; `world` is the node as a model, where it was read.
    pub(super) fn explain(self, world: Option<&World>) -> Explanation {
        if self.src.is_loopback() && !self.dst.is_loopback() {
            return self.asked_from_loopback();
        }
        let known = self.from.zip(world);
        known
            .and_then(|((from, _), world)| {
                self.own_address(from, world)
                    .or_else(|| self.held(from, world))
                    .or_else(|| self.is_disabled(from, world))
                    .or_else(|| self.held_elsewhere(from, world))
            })
            .unwrap_or_else(|| self.no_answer(world))
    }

    /// `127.0.0.1` left the host: no neighbor answers a question from that address.
    fn asked_from_loopback(self) -> Explanation {
        Explanation {
            point: Point::Route,
            confidence: Likely,
            why: format!(
                "the packet to {} has the source {}: no host answers an ARP question from a \
                 loopback address",
                self.dst, self.src
            ),
            evidence: vec!["nothing translated the source before the packet left".to_owned()],
            fix: vec![Fix::advice(format!(
                "masquerade what goes from {} to {} (kube-proxy does so with --masquerade-all, or \
                 where route_localnet is set)",
                self.src, self.dst
            ))],
        }
    }

    /// The address is one of the namespace that asks for it.
    fn own_address(self, from: LinkId, world: &World) -> Option<Explanation> {
        if !world.is_local(from.netns, self.address)? {
            return None;
        }
        let is_ipv4 = self.address.is_ipv4();
        let missing = world.lookup_local_missing(from.netns, is_ipv4)?;
        let own = format!("{} is an address of this very namespace", self.address);
        if !missing {
            return Some(Explanation {
                point: Point::Unknown,
                confidence: Possible,
                why: format!("{own}, and was still asked for on the link"),
                evidence: Vec::new(),
                fix: Vec::new(),
            });
        }
        Some(Explanation {
            point: Point::Route,
            confidence: Confirmed,
            why: format!("{own}, but no policy rule looks up the table local"),
            evidence: vec![
                "without that rule, packets for the node are routed out again".to_owned(),
            ],
            fix: vec![self.local_rule()],
        })
    }

    /// Another namespace of this node has it.
    fn held(self, from: LinkId, world: &World) -> Option<Explanation> {
        let holders = world.holders_near(from.netns, self.address);
        let others = holders.iter().filter(|holder| holder.netns != from.netns);
        let found: Vec<_> = others
            .map(|holder| (holder, world.between(from, holder)))
            // The same address may be in use on a link that has nothing to do with this one.
            .filter(|(_, between)| match between {
                Between::Apart { bridge, beside, .. } => bridge.is_some() || beside.is_some(),
                Between::OutOfSight(_) | Between::Same => false,
                _ => true,
            })
            .collect();
        let (holder, between) = found
            .iter()
            .find(|(holder, between)| *between == Between::Nothing && holder.is_up)
            .or(found.first())?;
        let mut explanation = self.held_by(world, from, holder, between);
        if found.len() > 1 {
            let all = found
                .iter()
                .map(|(holder, _)| world.holder_in_words(holder, from.netns));
            let all: Vec<_> = all.collect();
            explanation.evidence.push(format!(
                "the address is held more than once: {}",
                all.join("; ")
            ));
        }
        Some(explanation)
    }

    fn held_by(
        self,
        world: &World,
        from: LinkId,
        holder: &Holder,
        between: &Between,
    ) -> Explanation {
        let held = format!(
            "{} is an address of {}",
            self.address,
            world.holder_in_words(holder, from.netns)
        );
        if let Some(explanation) = self.lacks_local_table(world, holder, &held) {
            return explanation;
        }
        if let Some(twins) = share_mac(world, from, holder)
            .then(|| same_mac(world, from, holder))
            .flatten()
        {
            return Explanation {
                point: Point::Endpoint,
                confidence: Likely,
                why: format!("{held}, and {twins}"),
                evidence: Vec::new(),
                fix: vec![own_mac()],
            };
        }
        let is_ready = holder.flags.is_usable() && holder.is_up && holder.has_carrier;
        let mut fix = repair(world, from, between);
        let (confidence, why) = match world.between_in_words(from, between) {
            // What is in between is down for that.
            _ if !holder.is_up => (Likely, held.clone()),
            Some(between) => (Likely, format!("{held}, but {between}")),
            None if !is_ready => (Likely, held.clone()),
            None if let Some(silence) = self.silence(world, from, holder.link) => {
                fix.extend(silence.fix);
                (silence.confidence, format!("{held}: {}", silence.why))
            }
            // The model says that it can be reached: then the model lacks the cause.
            None => (Possible, format!("{held}, and did not answer (ARP or ND)")),
        };
        let point = match fix.is_empty() && confidence == Possible {
            true => Point::Unknown,
            false => Point::Endpoint,
        };
        let evidence = match point {
            Point::Unknown => self.unexamined(world, from, holder.link),
            _ => Vec::new(),
        };
        Explanation {
            point,
            confidence,
            why,
            evidence,
            fix,
        }
    }

    /// The namespace that has the address does not know it for its own: it answers for nothing.
    fn lacks_local_table(self, world: &World, holder: &Holder, held: &str) -> Option<Explanation> {
        let is_missing = world.lookup_local_missing(holder.netns, self.address.is_ipv4())?;
        is_missing.then(|| Explanation {
            point: Point::Route,
            confidence: Likely,
            why: format!("{held}, but no policy rule looks up the table local there"),
            evidence: vec![
                "without that rule, a namespace answers no ARP or ND for its own addresses"
                    .to_owned(),
            ],
            fix: vec![self.local_rule().at(world.site(holder.netns))],
        })
    }

    /// The rule that every namespace begins with.
    fn local_rule(self) -> Fix {
        let ip = match self.address.is_ipv4() {
            true => "ip rule",
            false => "ip -6 rule",
        };
        let rule = |verb: &'static str| Command::new(ip).arg(verb).words("pref 0 lookup local");
        Fix::change(rule("add"), rule("del"))
    }

    /// No namespace in sight has it.
    fn no_answer(self, world: Option<&World>) -> Explanation {
        let at = self.from.map(|(_, name)| format!(" at {name}"));
        let at = at.unwrap_or_default();
        let mut evidence = Vec::new();
        let is_gateway = self.address != self.dst;
        let proxy = self.proxy(world);
        if let Some((proxy, _)) = &proxy {
            evidence.push(format!(
                "{proxy} answers for others (proxy_arp), but only for addresses that it has a \
                 route to, through another interface"
            ));
        }
        let is_held = |world: &World| !world.holders(self.address).is_empty();
        // In a namespace that was not read, the address may be held after all.
        let (is_whole, confidence) = match world {
            Some(world) if world.is_whole() => (true, Likely),
            _ => (false, Possible),
        };
        if is_whole && world.is_some_and(|world| !is_held(world)) {
            evidence.push(format!(
                "no network namespace of this node has {}",
                self.address
            ));
        }
        if let Some(route) = self.onto_the_link(world).filter(|_| proxy.is_none()) {
            evidence.push(format!(
                "the route {route} has no gateway: it takes any address for a neighbor"
            ));
            return Explanation {
                point: Point::Route,
                confidence,
                why: format!(
                    "the default route leads onto the link{at} without a gateway, and no host there \
                     answers for {} (ARP or ND)",
                    self.address
                ),
                evidence,
                fix: vec![Fix::advice(
                    "give that default route a gateway, or remove it where another default route \
                     should apply",
                )],
            };
        }
        let why = if is_gateway {
            format!(
                "the gateway {} does not answer (ARP or ND){at}; {} is behind it",
                self.address, self.dst
            )
        } else {
            format!("no host answers for {} (ARP or ND){at}", self.address)
        };
        let fix = proxy.map(|(proxy, netns)| {
            Fix::advice(format!(
                "in network namespace {netns}, add a route to {} (a default route will do), so \
                 that {proxy} answers for it",
                self.address
            ))
            .at(Site::Host)
        });
        Explanation {
            point: Point::Endpoint,
            confidence,
            why,
            evidence,
            fix: fix.into_iter().collect(),
        }
    }

    /// The default route that takes the address for a neighbor; `None` where a host of the link has
    /// answered for others, as a router with proxy ARP does.
    fn onto_the_link(self, world: Option<&World>) -> Option<&'a Route> {
        let route = self.by.filter(|route| {
            route.to.prefix_len() == 0 && route.gateway.is_none() && route.hops.is_empty()
        })?;
        let ((from, _), world) = self.from.zip(world)?;
        let namespace = world.namespace(from.netns)?;
        let is_in_subnet = |address: IpAddr| {
            let mut held = namespace.addresses.iter();
            held.any(|held| held.ifindex == from.ifindex && held.is_in_subnet_with(address))
        };
        let mut entries = namespace.neighbors.as_ref()?.iter();
        let is_proxied = entries.any(|entry| {
            let is_same_version = entry.address.is_ipv4() == self.address.is_ipv4();
            entry.ifindex == from.ifindex
                && is_same_version
                && entry.state == NeighborState::Reachable
                && !is_in_subnet(entry.address)
        });
        (self.address == self.dst && !is_proxied).then_some(route)
    }

    /// The other end of the link, where it is one that answers for others, and its namespace.
    fn proxy(self, world: Option<&World>) -> Option<(String, String)> {
        let ((from, _), world) = self.from.zip(world)?;
        let other = world.link(world.link(from)?.other_end()?)?;
        let answers = other.ipv4.is_some_and(|ipv4| ipv4.proxy_arp != 0);
        let namespace = world.namespace(other.id.netns)?;
        answers.then(|| {
            (
                world.link_name(other.id, from.netns),
                namespace.name.clone(),
            )
        })
    }
}

/// What removes an obstacle. A link of another namespace may be down on purpose, unless it is the bridge
/// that its ports need.
fn repair(world: &World, from: LinkId, between: &Between) -> Vec<Fix> {
    let is_bridge = |id: LinkId| world.link(id).is_some_and(|link| link.bridge().is_some());
    let name = |id: LinkId| world.link(id).map(|link| link.name.clone());
    let port = |id: LinkId, on: &'static str, off: &'static str| {
        let set = |state: &'static str| {
            Some(
                Command::new("bridge link set dev")
                    .arg(name(id)?)
                    .words(state),
            )
        };
        Some(Fix::change(set(on)?, set(off)?).at(world.site(id.netns)))
    };
    let fix = match between {
        Between::Obstacles(obstacles) => match obstacles.first() {
            Some(Obstacle::Hairpin(id)) => port(*id, "hairpin on", "hairpin off"),
            Some(Obstacle::Isolated(id, _)) => port(*id, "isolated off", "isolated on"),
            Some(Obstacle::Down(id)) if id.netns == from.netns || is_bridge(*id) => {
                name(*id).map(|name| {
                    let set = |state: &'static str| {
                        Command::new("ip link set dev").arg(&name).words(state)
                    };
                    Fix::change(set("up"), set("down")).at(world.site(id.netns))
                })
            }
            _ => None,
        },
        Between::Apart {
            outer,
            bridge: None,
            beside: Some(bridge),
        } => join_bridge(world, *outer, *bridge),
        _ => None,
    };
    fix.into_iter().collect()
}

/// Makes an interface a port of the bridge that the question reached.
fn join_bridge(world: &World, outer: LinkId, bridge: LinkId) -> Option<Fix> {
    let (outer, bridge) = (world.link(outer)?, world.link(bridge)?);
    let dev = || Command::new("ip link set dev").arg(&outer.name);
    let fix = Fix::change(
        dev().words("master").arg(&bridge.name),
        dev().words("nomaster"),
    );
    Some(fix.at(world.site(outer.id.netns)))
}
