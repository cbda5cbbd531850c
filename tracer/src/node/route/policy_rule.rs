//! The policy rule (`ip rule`) that refuses a packet: the kernel answers that it is refused, and not
//! by which rule.

use std::net::IpAddr;

use ipnet::IpNet;

use super::{Lookup, Refusal};
use crate::{
    net::{Rule, RuleAction},
    node::world::{Kind, LinkId, World},
};

impl Lookup {
    /// The policy rule that refuses the packet; `None` unless one surely does, and the kernel's own
    /// answer is that rule's. For a blackhole, that answer may be [`Refusal::Source`]: the kernel
    /// gives the same error for a source that the reverse-path filter refuses.
    pub(crate) fn refusing_rule<'a>(&self, world: &'a World, netns: u32) -> Option<&'a Rule> {
        let rules = world.namespace(netns)?.rules.as_deref()?;
        let rule = self.walked(rules, &self.input(world, netns)?)?;
        // The kernel gives a blackhole's error for a source that a sender does not have, too.
        let is_foreign = |src| world.is_local(netns, src) != Some(true);
        let is_unclear = rule.action == RuleAction::Blackhole
            && self.packet.iif.is_none()
            && self.packet.src.is_some_and(is_foreign);
        (self.is_answer_of(rule) && !is_unclear).then_some(rule)
    }

    /// The policy rule that leads the packet to the table of its route; `None` for a table that the kernel
    /// looks up by itself, or where it is not sure which rule that is.
    pub(crate) fn choosing_rule<'a>(&self, world: &'a World, netns: u32) -> Option<&'a Rule> {
        /// `RT_TABLE_DEFAULT`, `RT_TABLE_MAIN`, `RT_TABLE_LOCAL`
        const OWN: [u32; 3] = [253, 254, 255];
        self.answer.as_ref().ok()?;
        let table = self.matched.as_ref()?.table;
        (!OWN.contains(&table)).then_some(())?;
        let rules = world.namespace(netns)?.rules.as_deref()?;
        let input = self.input(world, netns)?;
        let is_ipv4 = self.packet.dst.is_ipv4();
        let leads = |rule: &&Rule| {
            rule.is_ipv4 == is_ipv4
                && (rule.action == RuleAction::Lookup(table)
                    || matches!(rule.action, RuleAction::Goto(_)))
        };
        // A rule that jumps, or asks for what is not known, may come to the table otherwise.
        rules.iter().filter(leads).find_map(|rule| {
            match (rule.action, self.is_caught_by(rule, &input)) {
                (_, Some(false)) => None,
                (RuleAction::Lookup(_), Some(true)) => Some(Some(rule)),
                _ => Some(None),
            }
        })?
    }

    /// Whether the kernel refuses the packet as the rule would (`fib4_rule_action`,
    /// `fib6_rule_action`), and no route does.
    fn is_answer_of(&self, rule: &Rule) -> bool {
        let is_alike = matches!(
            (rule.action, &self.answer),
            (RuleAction::Unreachable, Err(Refusal::NoRoute))
                | (RuleAction::Prohibit, Err(Refusal::Prohibit))
                | (
                    RuleAction::Blackhole,
                    Err(Refusal::Other(libc::EINVAL) | Refusal::Source)
                )
        );
        let kind = rule.action.as_route();
        is_alike && !self.blocking.iter().any(|route| Some(route.kind) == kind)
    }

    /// The first refusing rule that the kernel comes to, if no table in front has a route.
    fn walked<'a>(&self, rules: &'a [Rule], input: &Input<'_>) -> Option<&'a Rule> {
        let is_ipv4 = self.packet.dst.is_ipv4();
        let mut rules = rules.iter().filter(|rule| rule.is_ipv4 == is_ipv4);
        // Only forward: the kernel takes no other targets.
        let mut from = 0;
        loop {
            let rule = rules.find(|rule| rule.priority >= from)?;
            let catches = self.is_caught_by(rule, input);
            match rule.action {
                // The kernel's answer says that none of them has a route for the packet.
                RuleAction::Lookup(_) | RuleAction::Vrf | RuleAction::Nop => {}
                _ if catches == Some(false) => {}
                RuleAction::Goto(target) => {
                    catches?;
                    // Without its target, the kernel passes over the rule.
                    let has_target = rules.clone().any(|rule| rule.priority == target);
                    from = if has_target { target } else { from };
                }
                RuleAction::Blackhole | RuleAction::Unreachable | RuleAction::Prohibit => {
                    return catches.map(|_| rule);
                }
                RuleAction::Other(_) => return None,
            }
        }
    }

    /// The name of the link that the packet came in through; `None` if that is not known.
    fn input<'a>(&self, world: &'a World, netns: u32) -> Option<Input<'a>> {
        let Some(ifindex) = self.packet.iif.filter(|iif| *iif != 0) else {
            return Some(Input {
                name: "lo",
                is_in_vrf: false,
            });
        };
        let link = world.link(LinkId { netns, ifindex })?;
        let master = link
            .master
            .and_then(|master| world.link(link.sibling(master)));
        Some(Input {
            name: &link.name,
            is_in_vrf: master.is_some_and(|master| matches!(master.kind, Kind::Vrf { .. })),
        })
    }

    /// Whether a rule is for the packet; `None` where it asks for what is not known.
    fn is_caught_by(&self, rule: &Rule, input: &Input<'_>) -> Option<bool> {
        let packet = self.packet;
        let is_unknown = rule.asks_more
            || rule.tos != 0
            || rule.uids.is_some()
            || rule.output.is_some()
            // The rules of a VRF may name the VRF.
            || (rule.input.is_some() && input.is_in_vrf)
            || (rule.proto.is_some() && packet.proto.is_none())
            || (rule.sport.is_some() && packet.sport.is_none())
            || (rule.dport.is_some() && packet.dport.is_none());
        if is_unknown {
            return None;
        }
        let is_in = |network: Option<IpNet>, address: Option<IpAddr>| match (network, address) {
            (None, _) => true,
            (Some(network), Some(address)) => network.contains(&address),
            // The kernel was asked without it.
            (Some(network), None) => network.prefix_len() == 0,
        };
        let is_port = |range: Option<(u16, u16)>, port: Option<u16>| {
            range
                .is_none_or(|(first, last)| port.is_some_and(|port| (first..=last).contains(&port)))
        };
        let is_mark = |(mark, mask): (u32, u32)| packet.mark & mask == mark;
        let fits = is_in(rule.from, packet.src)
            && is_in(rule.to, Some(packet.dst))
            && rule.mark.is_none_or(is_mark)
            && rule.proto.is_none_or(|proto| packet.proto == Some(proto))
            && is_port(rule.sport, packet.sport)
            && is_port(rule.dport, packet.dport)
            && rule.input.as_deref().is_none_or(|name| name == input.name);
        Some(fits != rule.inverted)
    }
}

/// Where a packet came in, as rules see it: `lo` is where those come from that are sent from here.
struct Input<'a> {
    name: &'a str,
    is_in_vrf: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        net::{
            RouteKey, RouteKind,
            tests::{route, rule},
        },
        node::world::build::{Build, id},
    };

    const SRC: [u8; 4] = [10, 0, 0, 1];

    fn refusing(action: RuleAction) -> Rule {
        Rule {
            priority: 100,
            action,
            ..rule(254)
        }
    }

    /// What the kernel answers to a packet that came in through `eth0`, or was sent from here.
    fn lookup(iif: Option<u32>, refusal: Refusal) -> Lookup {
        Lookup {
            packet: RouteKey {
                src: Some(SRC.into()),
                iif,
                proto: Some(6),
                dport: Some(80),
                ..RouteKey::to([10, 0, 0, 2].into())
            },
            answer: Err(refusal),
            matched: None,
            blocking: Vec::new(),
        }
    }

    fn is_named(lookup: &Lookup, rules: &[Rule]) -> bool {
        let mut build = Build::new();
        build.link(id(1, 2), "eth0", Kind::Physical);
        build.link(id(1, 3), "eth1", Kind::Physical).master = Some(4);
        build.link(id(1, 4), "red", Kind::Vrf { table: 10 });
        build.rules(1, rules);
        lookup.refusing_rule(&build.world, 1).is_some()
    }

    #[test]
    fn only_a_rule_that_surely_catches_the_packet_is_named() {
        let prohibited = lookup(Some(2), Refusal::Prohibit);
        let named = |rules: &[Rule]| is_named(&prohibited, rules);
        let prohibit = |from| Rule {
            from,
            ..refusing(RuleAction::Prohibit)
        };
        let source = IpNet::from(IpAddr::from(SRC));
        let other: IpNet = "192.0.2.0/24".parse().unwrap();
        assert!(named(&[rule(254), prohibit(Some(source))]));
        assert!(!named(&[prohibit(Some(other))]));
        let unknown = Rule {
            tos: 8,
            ..prohibit(None)
        };
        assert!(!named(&[unknown, prohibit(Some(source))]));
        let inverted = Rule {
            inverted: true,
            ..prohibit(Some(other))
        };
        assert!(named(&[inverted]));
        let by_mark = Rule {
            mark: Some((7, u32::MAX)),
            ..prohibit(None)
        };
        assert!(!named(&[by_mark]));
        let by_port = |first, last| Rule {
            dport: Some((first, last)),
            ..prohibit(None)
        };
        assert!(named(&[by_port(80, 90)]));
        assert!(!named(&[by_port(81, 90)]));
        let by_source_port = Rule {
            sport: Some((1, u16::MAX)),
            ..prohibit(None)
        };
        assert!(!named(&[by_source_port]));
    }

    #[test]
    fn the_kernels_own_answer_has_to_be_the_rules() {
        for (action, answer) in [
            (RuleAction::Prohibit, Refusal::Prohibit),
            (RuleAction::Unreachable, Refusal::NoRoute),
            (RuleAction::Blackhole, Refusal::Other(libc::EINVAL)),
        ] {
            let rules = [refusing(action)];
            for refusal in [
                Refusal::Prohibit,
                Refusal::NoRoute,
                Refusal::Other(libc::EINVAL),
                Refusal::NotForwarding,
                Refusal::Unreachable,
            ] {
                let named = is_named(&lookup(Some(2), refusal), &rules);
                assert_eq!(named, refusal == answer, "{action:?} {refusal:?}");
            }
        }
        // A route refuses it in the same way.
        let mut by_route = lookup(Some(2), Refusal::Prohibit);
        by_route.blocking.push(crate::net::Route {
            kind: RouteKind::Prohibit,
            ..route("10.0.0.0/8", "")
        });
        assert!(!is_named(&by_route, &[refusing(RuleAction::Prohibit)]));
        // The kernel refuses a source that is not its own with the blackhole's error.
        let sent = lookup(None, Refusal::Other(libc::EINVAL));
        assert!(!is_named(&sent, &[refusing(RuleAction::Blackhole)]));
    }

    #[test]
    fn what_is_jumped_over_refuses_nothing() {
        let goto = |target| Rule {
            priority: 50,
            ..refusing(RuleAction::Goto(target))
        };
        let prohibited = lookup(Some(2), Refusal::Prohibit);
        let named = |rules: &[Rule]| is_named(&prohibited, rules);
        let behind = Rule {
            priority: 200,
            ..rule(254)
        };
        let prohibit = refusing(RuleAction::Prohibit);
        assert!(!named(&[goto(200), prohibit.clone(), behind.clone()]));
        assert!(named(&[goto(100), prohibit.clone(), behind.clone()]));
        // Without its target, the rule does nothing.
        assert!(named(&[goto(150), prohibit.clone(), behind.clone()]));
        let for_others = Rule {
            mark: Some((7, u32::MAX)),
            ..goto(200)
        };
        assert!(named(&[for_others, prohibit.clone(), behind.clone()]));
        let unknown = Rule {
            tos: 8,
            ..goto(200)
        };
        assert!(!named(&[unknown, prohibit, behind]));
    }

    #[test]
    fn lo_is_where_packets_from_here_come_in() {
        let by = |input: &str| Rule {
            input: Some(input.to_owned()),
            ..refusing(RuleAction::Prohibit)
        };
        let named = |iif, input| is_named(&lookup(iif, Refusal::Prohibit), &[by(input)]);
        assert!(named(None, "lo"));
        assert!(named(Some(0), "lo"));
        assert!(named(Some(2), "eth0"));
        assert!(!named(Some(2), "lo"));
        assert!(!named(None, "eth0"));
        // A link that is not known.
        assert!(!named(Some(9), "lo"));
        // A link of a VRF.
        assert!(!named(Some(3), "eth1"));
    }
}
