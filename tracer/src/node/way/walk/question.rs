//! What rules make of the question for a next hop: a Neighbor Solicitation and its answer are packets,
//! too, and meet the hooks of every namespace and bridge on their way.

use std::net::{IpAddr, Ipv6Addr};

use super::Walk;
use crate::{
    decode::tracked::Tracked,
    model::{Flow, Hook, Protocol},
    net::NeighborState,
    node::{
        way::{
            AtHook, End, Judgment, Packet,
            end::{Misdirected, Refused},
        },
        world::{
            Link, LinkId,
            segment::{Step, Trail},
        },
    },
};

const SOLICITATION: u8 = 135;
const ADVERTISEMENT: u8 = 136;

impl Walk<'_> {
    /// The rule that drops the question, or the answer to it. ARP meets no hooks of IP.
    pub(super) fn refused_question(
        &self,
        out: &Link,
        taker: &Link,
        hop: IpAddr,
        trail: &Trail,
    ) -> Result<Option<Refused>, Box<End>> {
        let IpAddr::V6(asked) = hop else {
            return Ok(None);
        };
        let Some(asks_as) = self.solicits_as(out) else {
            return Ok(None);
        };
        let there = message(SOLICITATION, asks_as, solicited(asked));
        let back = message(ADVERTISEMENT, hop, asks_as);
        let mut way = vec![
            hook(out, Hook::Output, None, Some(out)),
            hook(out, Hook::Postrouting, None, Some(out)),
        ];
        let crossings = crossings(trail);
        for (bridge, from, to) in &crossings {
            self.crossing(&mut way, *bridge, *from, *to)?;
        }
        way.push(hook(taker, Hook::Input, Some(taker), None));
        let there = way.into_iter().map(|at| (at, &there));
        let mut way = vec![
            hook(taker, Hook::Output, None, Some(taker)),
            hook(taker, Hook::Postrouting, None, Some(taker)),
        ];
        for (bridge, from, to) in crossings.iter().rev() {
            self.crossing(&mut way, *bridge, *to, *from)?;
        }
        way.push(hook(out, Hook::Input, Some(out), None));
        let back = way.into_iter().map(|at| (at, &back));
        for (at, message) in there.chain(back) {
            match self.kernel.pass(&at, message) {
                Judgment::Passes(_)
                | Judgment::PassesByEntry(..)
                | Judgment::PassesUntracked(..) => {}
                Judgment::Drops(by) => {
                    return Ok(Some(Refused {
                        netns: at.netns,
                        hook: at.hook,
                        by,
                        is_answer: message.icmp == Some((ADVERTISEMENT, 0)),
                    }));
                }
                Judgment::Undecided(want) => return Err(self.undecided(want)),
            }
        }
        Ok(None)
    }

    /// The configured entry by which the answer to a solicitation goes to another host. Others are
    /// updated by the question itself.
    pub(super) fn misdirected(&self, out: &Link, taker: &Link, hop: IpAddr) -> Option<Misdirected> {
        let asks_as = self.solicits_as(out).filter(|_| hop.is_ipv6())?;
        let entries = self.world.namespace(taker.id.netns)?.neighbors.as_ref()?;
        let entry = entries.iter().find(|entry| {
            entry.address == asks_as
                && entry.ifindex == taker.id.ifindex
                && entry.state == NeighborState::Permanent
        })?;
        let is_misdirected = entry.lladdr.is_some() && entry.lladdr != out.mac;
        is_misdirected.then(|| Misdirected {
            at: taker.id,
            entry: entry.clone(),
        })
    }

    /// The source of a solicitation: the packet's, if the link has it; else one of the link's.
    pub(super) fn solicits_as(&self, out: &Link) -> Option<IpAddr> {
        let namespace = self.world.namespace(out.id.netns)?;
        let mut own = namespace.addresses.iter().filter(|one| {
            one.ifindex == out.id.ifindex && one.address.is_ipv6() && one.flags.is_usable()
        });
        let of_packet = own.clone().find(|one| one.address == self.packet.flow.src);
        let link_local = |address: IpAddr| match address {
            IpAddr::V6(address) => address.is_unicast_link_local(),
            IpAddr::V4(_) => false,
        };
        let found = of_packet.or_else(|| own.find(|one| link_local(one.address)));
        found.map(|one| one.address)
    }

    /// The hooks that a bridge shows a message to, from one port to another.
    fn crossing(
        &self,
        way: &mut Vec<AtHook>,
        bridge: LinkId,
        from: Option<LinkId>,
        to: Option<LinkId>,
    ) -> Result<(), Box<End>> {
        // What the bridge's own namespace sends meets them there.
        let Some(from) = from else {
            return Ok(());
        };
        if !self.calls_iptables(bridge)? {
            return Ok(());
        }
        let bridge = self.link(bridge)?;
        let from = Some(self.link(from)?.name.clone());
        let to = match to {
            Some(to) => Some(self.link(to)?.name.clone()),
            None => None,
        };
        way.push(AtHook {
            ports: Some((from.clone(), None)),
            ..hook(bridge, Hook::Prerouting, Some(bridge), None)
        });
        if to.is_some() {
            let ports = Some((from, to));
            way.push(AtHook {
                ports: ports.clone(),
                ..hook(bridge, Hook::Forward, Some(bridge), Some(bridge))
            });
            way.push(AtHook {
                ports,
                ..hook(bridge, Hook::Postrouting, None, Some(bridge))
            });
        }
        Ok(())
    }
}

/// The bridges on a way, each with the port that it is entered by and the one that it is left through.
fn crossings(trail: &Trail) -> Vec<(LinkId, Option<LinkId>, Option<LinkId>)> {
    let pairs = trail.steps.windows(2);
    let crossings = pairs.filter_map(|pair| match *pair {
        [Step::Bridge { bridge, from, .. }, Step::Out(to, _)] => Some((bridge, from, Some(to))),
        [Step::Bridge { bridge, from, .. }, Step::In(..)] => Some((bridge, from, None)),
        _ => None,
    });
    crossings.collect()
}

fn hook(of: &Link, hook: Hook, input: Option<&Link>, output: Option<&Link>) -> AtHook {
    AtHook {
        netns: of.id.netns,
        hook,
        input: input.map(|link| link.name.clone()),
        output: output.map(|link| link.name.clone()),
        ports: None,
    }
}

/// The group that a solicitation for an address is sent to.
fn solicited(address: Ipv6Addr) -> IpAddr {
    let [.., a, b, c] = address.octets();
    Ipv6Addr::from([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, a, b, c]).into()
}

fn message(kind: u8, src: IpAddr, dst: IpAddr) -> Packet {
    Packet {
        ttl: Some(u8::MAX),
        icmp: Some((kind, 0)),
        // Conntrack leaves neighbor discovery alone.
        tracked: Tracked::Untracked,
        ..Packet::first_of(Flow {
            proto: Protocol::Icmpv6,
            src,
            sport: None,
            dst,
            dport: None,
        })
    }
}
