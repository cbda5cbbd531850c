//! Between links: which way a frame takes by its MAC address.

use super::{At, Frame, Next, Walk};
use crate::node::{
    way::{Act, Because, End},
    world::{
        Between, FdbEntry, FdbKind, Holder, Kind, Link, LinkId, Obstacle,
        segment::{Edge, Step, Trail},
    },
};

impl Walk<'_> {
    /// A packet that has come in through a link. Behind a bridge port, its MAC address says where to;
    /// that is not known, but the sender's view of the next hop is.
    pub(super) fn arriving(&mut self, id: LinkId) -> Next {
        let link = self.link(id)?;
        if link.port.is_none() {
            return Ok(At::Input {
                link: id,
                prerouted: false,
            });
        }
        let Some(sender) = link.other_end() else {
            let want = format!(
                "the MAC address of a frame that came in through {}",
                link.name
            );
            return Err(self.undecided(want));
        };
        self.netns = sender.netns;
        let lookup = self.route(self.packet.route_key(None))?;
        let route = lookup.answer.as_ref().ok();
        let Some(route) = route.filter(|route| route.output == Some(sender.ifindex)) else {
            let want = format!(
                "the MAC address of a frame that came in through {}",
                link.name
            );
            return Err(self.undecided(want));
        };
        let hop = route.gateway.unwrap_or(self.packet.flow.dst);
        let mac = self.resolve(self.link(sender)?, hop)?;
        self.netns = id.netns;
        let frame = Frame {
            hop,
            mac,
            prerouted: false,
        };
        Ok(At::Frame(frame, Step::In(id, None)))
    }

    pub(super) fn frame(&mut self, mut frame: Frame, step: Step) -> Next {
        if let Some(link) = at(step) {
            self.enter(link.netns);
        }
        match step {
            Step::Out(link, _) => self.passes_programs(link, false)?,
            Step::In(link, _) => self.passes_programs(link, true)?,
            _ => {}
        }
        match step {
            Step::Taken(link) => return self.taken(&frame, link),
            Step::Gone(link) => return Err(self.gone(&frame, link)),
            Step::Bridge {
                bridge,
                from: Some(port),
                ..
            } if !frame.prerouted && self.calls_iptables(bridge)? => {
                frame.prerouted = true;
                if let Some(next) = self.bridge_prerouting(&mut frame, bridge, port)? {
                    return Ok(next);
                }
            }
            _ => {}
        }
        let (next, obstacle) = self.choose(&frame, step)?;
        if let (Step::Bridge { bridge, from, .. }, Step::In(..)) = (step, next) {
            self.taken_by_bridge(&mut frame, bridge, from)?;
        }
        if let Some(obstacle) = obstacle {
            return Err(self.dropped(at(step), Because::Obstacle(obstacle)));
        }
        if let Step::Bridge { bridge, from, .. } = step {
            self.bridged(&frame, bridge, from, next)?;
        }
        self.fits(step, next)?;
        Ok(At::Frame(frame, next))
    }

    /// The edge that the frame takes.
    fn choose(&self, frame: &Frame, step: Step) -> Result<Edge, Box<End>> {
        let edges = self.edges.from(step);
        let to = |next: Step| edges.iter().copied().find(|(edge, _)| *edge == next);
        if let Step::Bridge { bridge, from, vlan } = step
            && let Some(entry) = self.fdb(bridge, frame, vlan)?
        {
            let port = LinkId {
                ifindex: entry.ifindex,
                ..bridge
            };
            let mut found = edges.iter().copied();
            let edge = match entry.kind {
                FdbKind::Own if from.is_some() => {
                    found.find(|(next, _)| matches!(next, Step::In(id, _) if *id == bridge))
                }
                _ => found.find(|(next, _)| matches!(next, Step::Out(id, _) if *id == port)),
            };
            // What is known is not flooded.
            return match edge {
                Some((next, Some(Obstacle::NoFlood(_)))) => Ok((next, None)),
                Some(edge) => Ok(edge),
                None if self.asks_no_one.is_some() => {
                    Err(self.dropped(at(step), self.other_mac(frame)))
                }
                None => Err(self.undecided(format!(
                    "where the bridge {} sends frames to {}",
                    self.world.link_name(bridge, self.netns),
                    frame.mac
                ))),
            };
        }
        if let [only] = edges.as_slice() {
            return Ok(*only);
        }
        let segment = self.world.segment_from(step);
        let takers = segment.taken.iter().filter(|(link, _)| {
            let link = self.world.link(**link);
            link.is_some_and(|link| link.mac.as_ref() == Some(&frame.mac))
        });
        let best = takers
            .clone()
            .min_by_key(|(_, trail)| trail.obstacles.len());
        let clear = takers
            .clone()
            .filter(|(_, trail)| trail.obstacles.is_empty());
        if clear.count() > 1 {
            let names: Vec<_> = takers
                .map(|(link, _)| self.world.link_name(*link, self.netns))
                .collect();
            let want = format!("which of {} has {}", names.join(", "), frame.mac);
            return Err(self.undecided(want));
        }
        let next = |trail: &Trail| trail.steps.get(1).copied();
        if let Some(edge) = best.and_then(|(_, trail)| to(next(trail)?)) {
            return Ok(edge);
        }
        let exits: Vec<_> = segment
            .exits
            .values()
            .filter(|trail| trail.obstacles.is_empty())
            .collect();
        match exits.as_slice() {
            [] => Err(self.dropped(at(step), self.other_mac(frame))),
            [exit] => next(exit)
                .and_then(to)
                .ok_or_else(|| self.undecided(format!("where frames to {} go", frame.mac))),
            _ => Err(self.undecided(format!(
                "by which of several links frames to {} leave",
                frame.mac
            ))),
        }
    }

    /// A bridge takes in what is for an address of its own, or of a port; its namespace takes only
    /// what is for the bridge, or for the very port that the frame came in through.
    fn taken_by_bridge(
        &self,
        frame: &mut Frame,
        bridge: LinkId,
        from: Option<LinkId>,
    ) -> Result<(), Box<End>> {
        // A macvlan link on top of the bridge takes its own from there.
        let on_top =
            |link: &Link| link.parent() == Some(bridge) && link.mac.as_ref() == Some(&frame.mac);
        if self.world.links().any(on_top) {
            return Ok(());
        }
        let own = self.link(bridge)?.mac.clone();
        let port = from.and_then(|from| self.world.link(from)?.mac.clone());
        if own.as_ref() != Some(&frame.mac) && port.as_ref() != Some(&frame.mac) {
            let mut links = self.world.links();
            let owner = links.find(|link| {
                link.id.netns == bridge.netns
                    && link.master == Some(bridge.ifindex)
                    && link.mac.as_ref() == Some(&frame.mac)
            });
            let because = Because::TakenByBridge(Between::TakenByBridge {
                bridge,
                owner: owner.map_or(bridge, |owner| owner.id),
                mac: frame.mac.clone(),
            });
            return Err(self.dropped(Some(bridge), because));
        }
        frame.mac = own.unwrap_or_else(|| frame.mac.clone());
        Ok(())
    }

    fn other_mac(&self, frame: &Frame) -> Because {
        Because::OtherMac {
            hop: frame.hop,
            mac: frame.mac.clone(),
            holders: self.world.holders_near(self.netns, frame.hop),
        }
    }

    /// The bridge's entry for the frame's address.
    fn fdb(
        &self,
        bridge: LinkId,
        frame: &Frame,
        vlan: Option<u16>,
    ) -> Result<Option<&FdbEntry>, Box<End>> {
        let namespace = self.world.namespace(bridge.netns);
        let Some(fdb) = namespace.and_then(|namespace| namespace.fdb.as_ref()) else {
            return Err(self.undecided("the bridge's FDB was not read".to_owned()));
        };
        Ok(fdb.iter().find(|entry| {
            entry.bridge == bridge.ifindex
                && entry.mac == frame.mac
                && (entry.vlan.is_none() || vlan.is_none() || entry.vlan == vlan)
        }))
    }

    fn taken(&mut self, frame: &Frame, id: LinkId) -> Next {
        let link = self.link(id)?;
        if link.mac.as_ref().is_some_and(|mac| *mac != frame.mac) {
            return Err(self.dropped(Some(id), self.other_mac(frame)));
        }
        if let Some(holder) = self.twin(frame, link) {
            let because = Because::SameMac {
                hop: frame.hop,
                taker: id,
                holder,
            };
            return Err(self.dropped(Some(id), because));
        }
        Ok(At::Input {
            link: id,
            prerouted: frame.prerouted && link.bridge().is_some(),
        })
    }

    /// The holder of the next hop's address, if another link with its MAC address takes the frame, of
    /// a namespace that does not have the address and forwards nothing.
    fn twin(&self, frame: &Frame, taker: &Link) -> Option<Holder> {
        let netns = taker.id.netns;
        // A link on top of another one may share its address.
        let on_top = |link: Option<&Link>| link.is_none_or(|link| link.parent().is_some());
        self.world.is_bystander(netns, frame.hop)?.then_some(())?;
        let holders = self.world.holders_near(netns, frame.hop);
        let mut twins = holders.into_iter();
        twins.find(|holder| {
            holder.netns != netns
                && holder.mac.as_ref() == Some(&frame.mac)
                && !on_top(self.world.link(holder.link))
                && !on_top(Some(taker))
        })
    }

    fn gone(&self, frame: &Frame, id: LinkId) -> Box<End> {
        let link = self.world.link(id);
        let name = self.world.link_name(id, self.netns);
        match link.map(|link| &link.kind) {
            Some(Kind::Veth | Kind::Netkit) => self.undecided(format!(
                "the other end of {name} is in a namespace that cannot be entered"
            )),
            Some(Kind::Vxlan(_)) => self.undecided(format!(
                "what the tunnel {name} does with it is not followed"
            )),
            _ => Box::new(End::Leaves {
                by: id,
                to: frame.hop,
            }),
        }
    }

    /// A link takes no larger frames than its MTU from another link: there is no fragmentation
    /// here, and no ICMP.
    fn fits(&self, step: Step, next: Step) -> Result<(), Box<End>> {
        let (Some(len), Some(link)) = (self.packet.len, at(next)) else {
            return Ok(());
        };
        let matters = matches!(
            (step, next),
            (Step::Out(..), Step::In(..)) | (Step::Bridge { .. }, Step::Out(..))
        );
        let mtu = self.link(link)?.mtu;
        if matters && len > mtu {
            return Err(self.dropped(at(step), Because::TooBig { link, mtu }));
        }
        Ok(())
    }

    fn bridged(
        &mut self,
        frame: &Frame,
        bridge: LinkId,
        from: Option<LinkId>,
        next: Step,
    ) -> Result<(), Box<End>> {
        let to = match next {
            Step::Out(port, _) => Some(port),
            _ => None,
        };
        if frame.prerouted
            && let (Some(from), Some(to)) = (from, to)
        {
            self.bridge_forward(bridge, from, to)?;
        }
        self.did(Act::Bridged { bridge, from, to });
        Ok(())
    }

    /// The packet is in this namespace now.
    pub(super) fn enter(&mut self, netns: u32) {
        if netns != self.netns {
            self.netns = netns;
            self.packet.scrubbed();
        }
    }
}

/// The link that a step is at.
fn at(step: Step) -> Option<LinkId> {
    match step {
        Step::Out(link, _) | Step::In(link, _) | Step::Taken(link) | Step::Gone(link) => Some(link),
        Step::Bridge { bridge, from, .. } => from.or(Some(bridge)),
    }
}
