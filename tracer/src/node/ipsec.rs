//! Which policy of IPsec refuses a packet, and what the kernel has counted of it.

use std::{collections::BTreeMap, net::IpAddr};

use anyhow::Result;
use ipnet::IpNet;

use super::{gather::Question, sysctl::read_if_there};
use crate::net::{IpsecDirection, IpsecPolicy, IpsecSetup};

/// What IPsec makes of a packet, in one namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ipsec {
    /// For each direction, the policy that counts for the packet.
    policies: Vec<IpsecPolicy>,
    /// The number of security associations; `None` if the kernel does not say.
    pub(crate) associations: Option<u32>,
    blocked_by_default: Vec<IpsecDirection>,
    /// `/proc/net/xfrm_stat`, without zeros; `None` if the kernel does not count.
    counters: Option<BTreeMap<String, u64>>,
}

/// What a policy does to a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum IpsecRefusal {
    /// It blocks.
    Blocks,
    /// It wants the packet in these protocols of IPsec.
    Demands(Vec<u8>),
}

impl Ipsec {
    /// Reads what concerns this packet, in the namespace that this thread is in.
    ///
    /// # Errors
    ///
    /// The kernel cannot be asked.
    pub(super) fn read(question: &Question) -> Result<Self> {
        let setup = IpsecSetup::read()?;
        let counters = read_if_there("/proc/thread-self/net/xfrm_stat")?;
        let directions = [
            IpsecDirection::In,
            IpsecDirection::Forward,
            IpsecDirection::Out,
        ];
        let policies = directions.iter().filter_map(|direction| {
            let own = setup.policies.iter();
            let fitting =
                own.filter(|policy| policy.direction == *direction && fits(policy, question));
            fitting.min_by_key(|policy| policy.priority).cloned()
        });
        Ok(Self {
            policies: policies.collect(),
            associations: setup.associations,
            blocked_by_default: setup.blocked_by_default,
            counters: counters.map(|text| parse(&text)),
        })
    }

    /// The policy of a direction that refuses the packet as it is, or lets it pass only within IPsec.
    pub(crate) fn refusal(
        &self,
        direction: IpsecDirection,
    ) -> Option<(&IpsecPolicy, IpsecRefusal)> {
        let policy = self
            .policies
            .iter()
            .find(|policy| policy.direction == direction)?;
        let refusal = match (policy.blocks, policy.demands.as_slice()) {
            (true, _) => IpsecRefusal::Blocks,
            (false, []) => return None,
            (false, demands) => IpsecRefusal::Demands(demands.to_vec()),
        };
        Some((policy, refusal))
    }

    /// Whether no policy fits, and such packets are refused.
    pub(crate) fn is_refused_by_default(&self, direction: IpsecDirection) -> bool {
        let fits = self
            .policies
            .iter()
            .any(|policy| policy.direction == direction);
        !fits && self.blocked_by_default.contains(&direction)
    }

    /// A counter, by its name in `/proc/net/xfrm_stat`; `None` if the kernel does not count.
    pub(crate) fn counter(&self, name: &str) -> Option<u64> {
        let counters = self.counters.as_ref()?;
        Some(counters.get(name).copied().unwrap_or_default())
    }
}

/// The selector, as `ip xfrm policy` prints it.
pub(crate) fn selector(policy: &IpsecPolicy) -> String {
    let direction = match policy.direction {
        IpsecDirection::In => "in",
        IpsecDirection::Out => "out",
        IpsecDirection::Forward => "fwd",
    };
    let IpsecPolicy { src, dst, .. } = policy;
    format!("src {src} dst {dst} dir {direction}")
}

fn fits(policy: &IpsecPolicy, packet: &Question) -> bool {
    let has = |net: &IpNet, address: &IpAddr| net.contains(address);
    let has_port = |(port, mask): (u16, u16), own: Option<u16>| {
        mask == 0 || own.is_some_and(|own| own & mask == port & mask)
    };
    let (mark, mask) = policy.mark;
    has(&policy.src, &packet.src)
        && has(&policy.dst, &packet.dst)
        && (policy.proto == 0 || policy.proto == packet.proto)
        // Packets that differ in their source port share an answer: such a policy is left undecided.
        && has_port(policy.sport, None)
        && has_port(policy.dport, packet.dport)
        && packet.mark & mask == mark
        && (policy.ifindex == 0 || policy.ifindex == packet.ifindex)
}

/// A name and a value on each line.
fn parse(text: &str) -> BTreeMap<String, u64> {
    let lines = text.lines().filter_map(|line| {
        let (name, value) = line.split_once(char::is_whitespace)?;
        let value = value.trim().parse().ok()?;
        (value > 0).then(|| (name.to_owned(), value))
    });
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet() -> Question {
        Question {
            ifname: None,
            ifindex: 3,
            src: "10.1.0.2".parse().unwrap(),
            dst: "10.2.0.3".parse().unwrap(),
            dport: Some(80),
            proto: 6,
            iif: Some(3),
            mark: 0xe00,
            carrier: None,
            in_netfilter: false,
            wanted: [].into(),
        }
    }

    fn policy(dst: &str) -> IpsecPolicy {
        IpsecPolicy {
            direction: IpsecDirection::Out,
            src: "10.1.0.0/16".parse().unwrap(),
            dst: dst.parse().unwrap(),
            proto: 0,
            sport: (0, 0),
            dport: (0, 0),
            ifindex: 0,
            mark: (0, 0),
            priority: 0,
            blocks: false,
            demands: vec![50],
        }
    }

    #[test]
    fn a_policy_fits_by_all_of_its_selector() {
        let whole = policy("10.2.0.0/16");
        assert!(fits(&whole, &packet()));
        let others = [
            policy("10.3.0.0/16"),
            IpsecPolicy {
                proto: 17,
                ..whole.clone()
            },
            IpsecPolicy {
                dport: (443, 0xffff),
                ..whole.clone()
            },
            IpsecPolicy {
                mark: (0xd00, 0xf00),
                ..whole.clone()
            },
            IpsecPolicy {
                ifindex: 9,
                ..whole.clone()
            },
        ];
        for other in others {
            assert!(!fits(&other, &packet()), "{other:?}");
        }
        let exact = IpsecPolicy {
            proto: 6,
            dport: (80, 0xffff),
            mark: (0xe00, 0xf00),
            ifindex: 3,
            ..whole
        };
        assert!(fits(&exact, &packet()));
    }

    #[test]
    fn zeros_are_no_counters() {
        let counters = parse("XfrmInError             \t0\nXfrmOutNoStates         \t4\n\nX y\n");
        assert_eq!(counters, [("XfrmOutNoStates".to_owned(), 4)].into());
    }
}
