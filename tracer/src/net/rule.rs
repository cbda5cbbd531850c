//! Policy rules: which routing table a packet is looked up in (`RTM_GETRULE`).

use std::{fmt, io};

use ipnet::IpNet;

use super::{
    message::{Attributes, Message, Request, u16_at, u32_at},
    netlink::Rtnetlink,
    route::RouteKind,
};

/// Number of the table of own addresses (`RT_TABLE_LOCAL`).
pub(crate) const LOCAL_TABLE: u32 = 255;
/// Length of `struct fib_rule_hdr`.
const FIXED: usize = 12;
/// `FIB_RULE_INVERT`
const INVERT: u32 = 2;

/// `FRA_…` of include/uapi/linux/fib_rules.h.
mod fra {
    pub(super) const DST: u16 = 1;
    pub(super) const SRC: u16 = 2;
    pub(super) const IIFNAME: u16 = 3;
    pub(super) const GOTO: u16 = 4;
    pub(super) const PRIORITY: u16 = 6;
    pub(super) const FWMARK: u16 = 10;
    pub(super) const TUN_ID: u16 = 12;
    pub(super) const SUPPRESS_IFGROUP: u16 = 13;
    pub(super) const SUPPRESS_PREFIXLEN: u16 = 14;
    pub(super) const TABLE: u16 = 15;
    pub(super) const FWMASK: u16 = 16;
    pub(super) const OIFNAME: u16 = 17;
    pub(super) const L3MDEV: u16 = 19;
    pub(super) const UID_RANGE: u16 = 20;
    pub(super) const IP_PROTO: u16 = 22;
    pub(super) const SPORT_RANGE: u16 = 23;
    pub(super) const DPORT_RANGE: u16 = 24;
    pub(super) const SPORT_MASK: u16 = 28;
    pub(super) const DPORT_MASK: u16 = 29;
}

/// A rule of `ip rule`. What it does not ask for is `None`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rule {
    /// Of IPv4, or else of IPv6.
    pub(crate) is_ipv4: bool,
    /// Rules are tried by rising priority.
    pub(crate) priority: u32,
    /// Sources that it is for.
    pub(crate) from: Option<IpNet>,
    /// Destinations that it is for.
    pub(crate) to: Option<IpNet>,
    /// The link that packets came in through; `lo` for those that are sent from here.
    pub(crate) input: Option<String>,
    /// The link that a socket is bound to.
    pub(crate) output: Option<String>,
    /// Value and mask of the firewall mark.
    pub(crate) mark: Option<(u32, u32)>,
    /// Type of service; 0 for any.
    pub(crate) tos: u8,
    /// IP protocol.
    pub(crate) proto: Option<u8>,
    /// Source ports, from the first to the last.
    pub(crate) sport: Option<(u16, u16)>,
    /// Destination ports, from the first to the last.
    pub(crate) dport: Option<(u16, u16)>,
    /// Users whose sockets send, from the first to the last.
    pub(crate) uids: Option<(u32, u32)>,
    /// Routes with a prefix of at most this length are passed over: 0 leaves out default routes.
    pub(crate) suppressed_prefix_len: Option<u32>,
    /// It asks for something that is not read here, such as a tunnel's identifier.
    pub(crate) asks_more: bool,
    /// It holds for what does not match.
    pub(crate) inverted: bool,
    /// What it does.
    pub(crate) action: RuleAction,
}

/// What a rule does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RuleAction {
    /// Looks up this table.
    Lookup(u32),
    /// Looks up the table of the VRF that the link belongs to.
    Vrf,
    /// Goes on with the rule of this priority.
    Goto(u32),
    /// Goes on with the next rule.
    Nop,
    /// Drops silently.
    Blackhole,
    /// Answers "network unreachable".
    Unreachable,
    /// Answers "prohibited".
    Prohibit,
    /// Another one (`FR_ACT_…`).
    Other(u8),
}

impl RuleAction {
    /// The kind of route that refuses packets in the same way, if it refuses any.
    pub(crate) fn as_route(self) -> Option<RouteKind> {
        match self {
            Self::Blackhole => Some(RouteKind::Blackhole),
            Self::Unreachable => Some(RouteKind::Unreachable),
            Self::Prohibit => Some(RouteKind::Prohibit),
            _ => None,
        }
    }
}

impl Rtnetlink {
    /// All rules of both versions, in the order in which each version tries them.
    pub(crate) fn rules(&self) -> io::Result<Vec<Rule>> {
        self.0
            .dump(&Request::new(libc::RTM_GETRULE, &[0; FIXED]), rule)
    }
}

pub(super) fn rule(message: &Message<'_>) -> Option<Rule> {
    let [family, dst_len, src_len, tos, table, _, _, action, ..] = *message.payload else {
        return None;
    };
    let is_ipv4 = match i32::from(family) {
        libc::AF_INET => true,
        libc::AF_INET6 => false,
        _ => return None,
    };
    let all = message.attributes(FIXED);
    let network = |attribute, length| IpNet::new(all.address(attribute)?, length).ok();
    let mask = all.u32(fra::FWMASK).unwrap_or(u32::MAX);
    Some(Rule {
        is_ipv4,
        priority: all.u32(fra::PRIORITY).unwrap_or(0),
        from: network(fra::SRC, src_len),
        to: network(fra::DST, dst_len),
        input: all.text(fra::IIFNAME),
        output: all.text(fra::OIFNAME),
        mark: all.u32(fra::FWMARK).map(|mark| (mark, mask)),
        tos,
        proto: all.u8(fra::IP_PROTO),
        sport: ports(all, fra::SPORT_RANGE),
        dport: ports(all, fra::DPORT_RANGE),
        uids: uids(all),
        // All bits set: none.
        suppressed_prefix_len: all
            .u32(fra::SUPPRESS_PREFIXLEN)
            .filter(|length| *length != u32::MAX),
        asks_more: all.iter().any(|(attribute, value)| match attribute {
            fra::TUN_ID => true,
            // All bits set: none.
            fra::SUPPRESS_IFGROUP => value != [0xff; 4],
            // All bits set: the port itself, which Linux 6.15 and later write to every such rule.
            fra::SPORT_MASK | fra::DPORT_MASK => value != [0xff; 2],
            // What later kernels ask for, such as DSCP and flow labels.
            later => later > fra::DPORT_RANGE,
        }),
        inverted: message.u32_at(8)? & INVERT != 0,
        action: match action {
            1 if all.is_set(fra::L3MDEV) => RuleAction::Vrf,
            1 => RuleAction::Lookup(all.u32(fra::TABLE).unwrap_or(table.into())),
            2 => RuleAction::Goto(all.u32(fra::GOTO).unwrap_or(0)),
            3 => RuleAction::Nop,
            6 => RuleAction::Blackhole,
            7 => RuleAction::Unreachable,
            8 => RuleAction::Prohibit,
            other => RuleAction::Other(other),
        },
    })
}

/// `struct fib_rule_port_range`, in host byte order.
fn ports(all: Attributes<'_>, attribute: u16) -> Option<(u16, u16)> {
    let range = all.get(attribute)?;
    Some((u16_at(range, 0)?, u16_at(range, 2)?))
}

/// `struct fib_rule_uid_range`
fn uids(all: Attributes<'_>) -> Option<(u32, u32)> {
    let range = all.get(fra::UID_RANGE)?;
    Some((u32_at(range, 0)?, u32_at(range, 4)?))
}

/// As ip(8) prints it.
impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.priority)?;
        if self.inverted {
            write!(f, "not ")?;
        }
        match self.from {
            Some(from) => write!(f, "from {from}")?,
            None => write!(f, "from all")?,
        }
        if let Some(to) = self.to {
            write!(f, " to {to}")?;
        }
        match self.mark {
            Some((mark, u32::MAX)) => write!(f, " fwmark {mark:#x}")?,
            Some((mark, mask)) => write!(f, " fwmark {mark:#x}/{mask:#x}")?,
            None => {}
        }
        if let Some(input) = &self.input {
            write!(f, " iif {input}")?;
        }
        if let Some(output) = &self.output {
            write!(f, " oif {output}")?;
        }
        if self.tos != 0 {
            write!(f, " tos {:#x}", self.tos)?;
        }
        if let Some(proto) = self.proto {
            write!(f, " ipproto {proto}")?;
        }
        for (name, range) in [("sport", self.sport), ("dport", self.dport)] {
            match range {
                Some((first, last)) if first == last => write!(f, " {name} {first}")?,
                Some((first, last)) => write!(f, " {name} {first}-{last}")?,
                None => {}
            }
        }
        if let Some((first, last)) = self.uids {
            write!(f, " uidrange {first}-{last}")?;
        }
        match self.action {
            RuleAction::Lookup(LOCAL_TABLE) => write!(f, " lookup local")?,
            RuleAction::Lookup(254) => write!(f, " lookup main")?,
            RuleAction::Lookup(253) => write!(f, " lookup default")?,
            RuleAction::Lookup(table) => write!(f, " lookup {table}")?,
            RuleAction::Vrf => write!(f, " lookup [l3mdev-table]")?,
            RuleAction::Goto(priority) => write!(f, " goto {priority}")?,
            RuleAction::Nop => write!(f, " nop")?,
            RuleAction::Blackhole => write!(f, " blackhole")?,
            RuleAction::Unreachable => write!(f, " unreachable")?,
            RuleAction::Prohibit => write!(f, " prohibit")?,
            RuleAction::Other(number) => write!(f, " action {number}")?,
        }
        match self.suppressed_prefix_len {
            Some(length) => write!(f, " suppress_prefixlength {length}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_reads_as_the_ip_command_prints() {
        let fixed = [2, 0, 24, 0, 254, 0, 0, 1, 0, 0, 0, 0];
        let request = Request::new(libc::RTM_NEWRULE, &fixed)
            .with_u32(fra::PRIORITY, Some(5270))
            .with_address(fra::SRC, "10.0.1.0".parse().unwrap())
            .with_u32(fra::TABLE, Some(52))
            .with_u32(fra::FWMARK, Some(0x4000))
            .with_u32(fra::FWMASK, Some(0xff0000))
            .with_u32(fra::SUPPRESS_PREFIXLEN, Some(u32::MAX));
        let rule = rule(&request.message()).unwrap();
        assert_eq!(
            rule.to_string(),
            "5270: from 10.0.1.0/24 fwmark 0x4000/0xff0000 lookup 52"
        );
        assert_eq!(rule.suppressed_prefix_len, None);
        assert!(!rule.asks_more);
    }

    #[test]
    fn all_that_a_rule_asks_for_is_read() {
        let fixed = [10, 0, 0, 0, 0, 0, 0, 1, 2, 0, 0, 0];
        let request = Request::new(libc::RTM_NEWRULE, &fixed)
            .with_u32(fra::PRIORITY, Some(7))
            .with_u32(fra::TABLE, Some(254))
            .with(fra::IP_PROTO, &[6])
            .with(
                fra::DPORT_RANGE,
                &[80_u16, 90].map(u16::to_ne_bytes).concat(),
            )
            .with(fra::UID_RANGE, &[0_u32, 9].map(u32::to_ne_bytes).concat())
            .with_u32(fra::SUPPRESS_PREFIXLEN, Some(0));
        assert_eq!(
            rule(&request.message()).unwrap().to_string(),
            "7: not from all ipproto 6 dport 80-90 uidrange 0-9 lookup main suppress_prefixlength 0"
        );
    }

    #[test]
    fn a_port_without_a_mask_of_its_own_is_no_further_question() {
        let by_mask = |mask: u16| {
            let fixed = [2, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 0];
            let port = [80_u16, 80].map(u16::to_ne_bytes).concat();
            let request = Request::new(libc::RTM_NEWRULE, &fixed)
                .with(fra::DPORT_RANGE, &port)
                .with(fra::DPORT_MASK, &mask.to_ne_bytes());
            rule(&request.message()).unwrap().asks_more
        };
        assert!(!by_mask(u16::MAX));
        assert!(by_mask(0xfffe));
    }

    #[test]
    fn the_kernel_lists_its_own_rules() {
        let rules = Rtnetlink::open().unwrap().rules().unwrap();
        let is_main = |rule: &Rule| rule.action == RuleAction::Lookup(254);
        assert!(rules.iter().any(is_main));
    }
}
