//! Reads policy rules: `RTM_NEWRULE`.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::node::{
    rtnetlink::{Attributes, Message},
    world::rule::{Action, PolicyRule},
};

/// Length of `struct fib_rule_hdr`.
const FIXED: usize = 12;
/// `FIB_RULE_INVERT`
const INVERT: u32 = 2;

/// `FRA_…` of include/uapi/linux/fib_rules.h.
mod fra {
    pub(super) const DST: u16 = 1;
    pub(super) const SRC: u16 = 2;
    pub(super) const IIFNAME: u16 = 3;
    pub(super) const PRIORITY: u16 = 6;
    pub(super) const FWMARK: u16 = 10;
    pub(super) const SUPPRESS_PREFIXLEN: u16 = 14;
    pub(super) const TABLE: u16 = 15;
    pub(super) const FWMASK: u16 = 16;
    pub(super) const OIFNAME: u16 = 17;
    pub(super) const L3MDEV: u16 = 19;
    pub(super) const UID_RANGE: u16 = 20;
    pub(super) const IP_PROTO: u16 = 22;
    pub(super) const SPORT_RANGE: u16 = 23;
    pub(super) const DPORT_RANGE: u16 = 24;
}

/// Asks for all rules, of both versions.
pub(super) fn all() -> Message {
    Message::new(libc::RTM_GETRULE, &[0; FIXED])
}

pub(super) fn read(message: &Message) -> Option<PolicyRule> {
    let [family, dst_len, src_len, _, table, _, _, action, ..] = *message.bytes.as_slice() else {
        return None;
    };
    let is_ipv4 = match i32::from(family) {
        libc::AF_INET => true,
        libc::AF_INET6 => false,
        _ => return None,
    };
    let all = message.attributes(FIXED);
    let flags = message.u32_at(8)?;
    let others = [
        fra::UID_RANGE,
        fra::IP_PROTO,
        fra::SPORT_RANGE,
        fra::DPORT_RANGE,
        fra::SUPPRESS_PREFIXLEN,
    ];
    Some(PolicyRule {
        is_ipv4,
        priority: all.u32(fra::PRIORITY).unwrap_or(0),
        from: subnet(all, fra::SRC, src_len),
        to: subnet(all, fra::DST, dst_len),
        input: all.text(fra::IIFNAME),
        output: all.text(fra::OIFNAME),
        mark: all
            .u32(fra::FWMARK)
            .map(|mark| (mark, all.u32(fra::FWMASK).unwrap_or(u32::MAX))),
        inverted: flags & INVERT != 0,
        asks_more: others
            .into_iter()
            .any(|kind| all.get(kind).is_some_and(|v| v != [0xff; 4])),
        action: match action {
            1 if all
                .get(fra::L3MDEV)
                .is_some_and(|value| value.first() == Some(&1)) =>
            {
                Action::Vrf
            }
            1 => Action::Lookup(all.u32(fra::TABLE).unwrap_or(table.into())),
            6 => Action::Blackhole,
            7 => Action::Unreachable,
            8 => Action::Prohibit,
            other => Action::Other(other),
        },
    })
}

fn subnet(all: Attributes<'_>, kind: u16, length: u8) -> Option<IpNet> {
    let address: IpAddr = all.address(kind)?;
    IpNet::new(address, length).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_reads_as_the_ip_command_prints() {
        let fixed = [2, 0, 24, 0, 254, 0, 0, 1, 0, 0, 0, 0];
        let rule = Message::new(32, &fixed)
            .with_u32(fra::PRIORITY, Some(5270))
            .with_address(fra::SRC, "10.0.1.0".parse().unwrap())
            .with_u32(fra::TABLE, Some(52))
            .with_u32(fra::FWMARK, Some(0x4000))
            .with_u32(fra::FWMASK, Some(0xff0000))
            .with_u32(fra::SUPPRESS_PREFIXLEN, Some(u32::MAX));
        let rule = read(&rule).unwrap();
        assert_eq!(
            rule.to_string(),
            "5270: from 10.0.1.0/24 fwmark 0x4000/0xff0000 lookup 52"
        );
        assert!(!rule.asks_more);
    }
}
