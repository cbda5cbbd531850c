//! Steps and ends in words.

use std::net::IpAddr;

use super::{
    Act, Because, End, Step,
    end::{Misdirected, SourceFault, Unanswered},
};
use crate::{
    model::address,
    node::world::{Between, LinkId, World},
    words,
};

impl Step {
    /// What happens, as a sentence without its end.
    pub(crate) fn in_words(&self, world: &World) -> String {
        let name = |id: &LinkId| world.link_name(*id, self.netns);
        match &self.act {
            Act::Sent => "a process sends it".to_owned(),
            Act::CameIn(link) => format!("in through {}", name(link)),
            Act::Bridged { bridge, from, to } => {
                let mut text = format!("the bridge {}", name(bridge));
                if let Some(from) = from {
                    text += &format!(" takes it from {}", name(from));
                }
                match to {
                    Some(to) => text += &format!(" to {}", name(to)),
                    None => text += " in",
                }
                text
            }
            Act::Passed(hook) => format!("{} lets it pass", hook.name()),
            Act::Translated(hook, flow) => format!(
                "{} translates it: from {} to {}",
                hook.name(),
                address(flow.source()),
                address(flow.destination())
            ),
            Act::KeptByEntry(hook, entry, rules) => format!(
                "{}: the conntrack entry of an earlier packet sends it to {}; the rules would send \
                 it to {}",
                hook.name(),
                address(entry.destination()),
                address(rules.destination())
            ),
            Act::Exempted(hook, rule, flow) => format!(
                "{}: {rule} exempts it from tracking, so that it is not translated to {}",
                hook.name(),
                address(flow.destination())
            ),
            Act::Routed(route) => route.clone(),
            Act::Resolved { hop, mac, by } => format!("{hop} is at {mac} ({by})"),
            Act::WentOut(link) => format!("out through {}", name(link)),
        }
    }
}

impl End {
    /// Where it ends, as a sentence without its end.
    pub(crate) fn in_words(&self, world: &World) -> String {
        match self {
            Self::Delivered { netns, link, .. } => {
                let namespace = world.namespace(*netns).map(|one| one.name.as_str());
                let namespace = words::namespace(namespace.unwrap_or("an unknown one"));
                match link {
                    Some(link) => format!(
                        "delivered in {namespace}, through {}",
                        world.link_name(*link, *netns)
                    ),
                    None => format!("delivered in {namespace}"),
                }
            }
            Self::Dropped {
                netns,
                link,
                because,
            } => {
                let what = match because {
                    Because::Rule(_, by) if by.rejects => "rejected",
                    _ => "dropped",
                };
                let because = because.in_words(world, *netns);
                match link {
                    Some(link) => {
                        format!("{what} at {}: {because}", world.link_name(*link, u32::MAX))
                    }
                    None => format!("{what}: {because}"),
                }
            }
            Self::Leaves { by, to } => {
                format!("leaves through {} to {to}", world.link_name(*by, u32::MAX))
            }
            Self::Undecided { want, .. } => format!("undecided: {want}"),
        }
    }
}

impl Because {
    /// Why it is dropped, as a sentence without its end, for a reader in a namespace.
    pub(crate) fn in_words(&self, world: &World, reader: u32) -> String {
        let name = |id: &LinkId| world.link_name(*id, reader);
        match self {
            Self::Rule(hook, by) => {
                let does = if by.rejects { "rejects" } else { "drops" };
                format!("{} {does} it: {}", hook.name(), by.text)
            }
            Self::Route(_, route) => route.clone(),
            Self::PolicyRule(rule, dst) => {
                format!("the policy rule `{rule}` refuses what goes to {dst}")
            }
            Self::Source(SourceFault::Own) => {
                "its source is an address of this namespace itself".to_owned()
            }
            Self::Source(SourceFault::Martian) => {
                "its source or destination is a loopback or otherwise impossible address".to_owned()
            }
            Self::Source(SourceFault::ReversePath) => {
                "the reverse-path filter refuses its source".to_owned()
            }
            Self::AsksNoOne(link) => format!(
                "{} is set not to ask for neighbors (NOARP), and sends to its own MAC address",
                name(link)
            ),
            Self::LoopbackSource(link) => format!(
                "its source is a loopback address, and route_localnet is 0 at {}",
                name(link)
            ),
            Self::NotForwarding(link) => {
                format!(
                    "packets that come in through {} are not forwarded",
                    name(link)
                )
            }
            Self::Ttl => "it has used up its hops (TTL)".to_owned(),
            Self::TooBig { link, mtu } => {
                format!("it is larger than the MTU of {}, {mtu}", name(link))
            }
            Self::Unanswered(unanswered) => unanswered.in_words(world, reader),
            Self::OtherMac { hop, mac, holders } => {
                let mut text = format!("frames for {hop} go to the MAC address {mac}");
                if holders.is_empty() {
                    text += ", which no link here has";
                }
                for holder in holders {
                    let held = world.holder_in_words(holder, reader);
                    match &holder.mac {
                        Some(own) if own == mac => {
                            text += &format!(", which {held} has; but they come out here");
                            text += &world.configured_in_words(mac, reader);
                        }
                        Some(own) => {
                            text += &format!(", but {hop} is at {held}, whose address is {own}");
                        }
                        None => {}
                    }
                }
                text
            }
            Self::SameMac { hop, taker, holder } => format!(
                "{} takes the frames for {hop}: it has the same MAC address as {}, which has {hop}",
                name(taker),
                world.holder_in_words(holder, reader)
            ),
            Self::TakenByBridge(between) => {
                let from = LinkId {
                    netns: reader,
                    ifindex: 0,
                };
                world.between_in_words(from, between).unwrap_or_default()
            }
            Self::Obstacle(obstacle) => world.obstacle_in_words(obstacle, reader),
        }
    }
}

impl Unanswered {
    fn in_words(&self, world: &World, reader: u32) -> String {
        let hop = self.hop;
        let questions = match hop.is_ipv4() {
            true => "ARP requests",
            false => "Neighbor Solicitations",
        };
        let what = if self.is_gateway { "the gateway " } else { "" };
        let from = world.link_name(self.from, reader);
        if self.lacks_source {
            return format!(
                "{from} sends no {questions} for {what}{hop}: it has no usable link-local address"
            );
        }
        let mut text = format!("{questions} for {what}{hop} get no answer at {from}");
        if let Some(asks_as) = self.asks_as.filter(IpAddr::is_loopback) {
            text += &format!("; they come from {asks_as}, which other hosts refuse");
        }
        if let Some(refused) = &self.refused {
            let what = match refused.is_answer {
                true => "the answer",
                false => "the question",
            };
            let netns = world.namespace(refused.netns).map(|one| &one.name);
            let netns = netns.map_or_else(String::new, |name| {
                format!(" of {}", words::namespace(name))
            });
            text += &format!(
                "; {}{netns} drops {what}: {}",
                refused.hook.name(),
                refused.by.text
            );
        }
        if let Some((link, program)) = &self.program {
            text += &format!(
                "; a program at {} sees the questions ({program})",
                world.link_name(*link, reader)
            );
        }
        if let Some(misdirected) = &self.misdirected {
            text += &format!("; {}", misdirected.in_words(world, reader));
        }
        for (holder, between) in &self.holders {
            text += &match between {
                Between::Same => self.held_here(world),
                _ => format!(
                    "; {hop} is an address of {}",
                    world.holder_in_words(holder, reader)
                ),
            };
            if let Some(words) = world.between_in_words(self.from, between) {
                text += &format!(", but {words}");
            }
        }
        if let Some((link, route)) = &self.proxy {
            text += &format!(
                "; {} does proxy ARP, but its namespace has no other way there ({route})",
                world.link_name(*link, reader)
            );
        }
        text
    }

    fn held_here(&self, world: &World) -> String {
        let mut text = format!("; {} is an address of this namespace itself", self.hop);
        let is_ipv4 = self.hop.is_ipv4();
        if world.lookup_local_missing(self.from.netns, is_ipv4) == Some(true) {
            text += ", and no policy rule looks up the table local";
        }
        text
    }
}

impl Misdirected {
    /// Where the answer goes, for a reader in a namespace.
    pub(crate) fn in_words(&self, world: &World, reader: u32) -> String {
        let mac = self.entry.lladdr.as_ref();
        format!(
            "{} sends the answer to {}: its configured neighbor entry for {} has that MAC address",
            world.link_name(self.at, reader),
            mac.map_or_else(|| "no one".to_owned(), ToString::to_string),
            self.entry.address
        )
    }
}
