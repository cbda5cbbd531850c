//! The packet, as it was at the hook.

use std::net::IpAddr;

use super::{
    condition::{Field, Version, state},
    model::Family,
};
use crate::{
    decode::{drop::DropFacts, tracked::Tracked},
    model::Hook,
};

/// A packet at a hook. What is `None` is not known.
#[derive(Clone, Debug)]
pub struct HookPacket {
    /// The hook.
    pub hook: Option<Hook>,
    /// Source address at the hook, after NAT that was done before.
    pub src: IpAddr,
    /// Destination address at the hook.
    pub dst: IpAddr,
    /// Transport protocol.
    pub proto: u8,
    /// Source port.
    pub sport: Option<u16>,
    /// Destination port.
    pub dport: Option<u16>,
    /// TCP flags.
    pub tcp_flags: Option<u8>,
    /// ICMP type.
    pub icmp_type: Option<u8>,
    /// Interface that it came in by.
    pub iifname: Option<String>,
    /// Interface that it goes out by.
    pub oifname: Option<String>,
    /// Firewall mark when it was dropped.
    pub mark: Option<u32>,
    /// A fragment behind the first one.
    pub is_later_fragment: bool,
    /// What conntrack has said of it.
    pub tracked: Tracked,
}

/// The value of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Value<'a> {
    Number(u128),
    Name(&'a str),
    /// The packet has no such field: the condition fails, negated or not.
    Absent,
    Unknown,
}

impl HookPacket {
    /// The packet of a drop.
    pub fn of(facts: &DropFacts) -> Self {
        let tuple = &facts.key.flow;
        // With br_netfilter, rules see the bridge where the drop shows its port.
        let is_bridged = facts.stack.iter().any(|frame| frame.starts_with("br_nf_"));
        let device = facts.ifname.clone().filter(|_| !is_bridged);
        let goes_out = matches!(
            facts.hook,
            Some(Hook::Postrouting | Hook::BridgePostrouting | Hook::Egress)
        );
        let is_either = facts.hook.is_none_or(Hook::is_bridge);
        let (iifname, oifname) = match (device, goes_out) {
            (Some(_), _) if is_either => (None, None),
            (device, true) => (None, device),
            (device, false) => (device, None),
        };
        let icmp = facts.packet.as_ref().and_then(|packet| packet.icmp);
        let inner = Self {
            hook: facts.hook,
            src: tuple.src.into(),
            dst: tuple.dst.into(),
            proto: tuple.proto,
            sport: tuple.has_ports().then_some(tuple.sport),
            dport: tuple.has_ports().then_some(tuple.dport),
            tcp_flags: facts.tcp.map(|tcp| tcp.flags),
            icmp_type: icmp.map(|(kind, _)| kind),
            iifname,
            oifname,
            mark: facts.packet.as_ref().map(|_| facts.mark),
            is_later_fragment: tuple.is_later_fragment(),
            tracked: facts.tracked,
        };
        let Some(outer) = &facts.outer else {
            return inner;
        };
        // The hook saw the packet that carries the other one. On its way out, the drop still shows
        // the tunnel's device.
        Self {
            src: outer.src,
            dst: outer.dst,
            proto: outer.proto.number(),
            sport: outer.sport,
            dport: outer.dport,
            tcp_flags: None,
            icmp_type: None,
            iifname: inner.iifname.filter(|_| facts.hook != Some(Hook::Output)),
            is_later_fragment: false,
            ..inner
        }
    }

    /// Whether chains of this family and hook see the packet.
    pub(super) fn meets(&self, family: Family, hook: &str) -> bool {
        let of_hook = match self.hook {
            None => true,
            Some(own) => {
                let (is_bridge, is_device) = (own.is_bridge(), own.is_device());
                let kind = match family {
                    Family::Bridge => is_bridge,
                    Family::Netdev => is_device,
                    Family::Inet => !is_bridge,
                    Family::Ip | Family::Ip6 => !is_bridge && !is_device,
                };
                kind && own.name_in_family().eq_ignore_ascii_case(hook)
            }
        };
        let of_version = match family {
            Family::Ip => self.src.is_ipv4(),
            Family::Ip6 => self.src.is_ipv6(),
            _ => true,
        };
        of_hook && of_version
    }

    /// The states that conntrack may have given the packet.
    pub(super) fn states(&self) -> u8 {
        match self.tracked {
            Tracked::Unknown => state::ALL,
            Tracked::New => state::NEW,
            Tracked::Established => state::ESTABLISHED,
            Tracked::Related => state::RELATED,
            Tracked::Untracked => state::UNTRACKED,
            Tracked::Nothing => state::INVALID,
        }
    }

    pub(super) fn value(&self, field: Field) -> Value<'_> {
        match field {
            Field::Source(version) => address(self.src, version),
            Field::Destination(version) => address(self.dst, version),
            Field::SourcePort(proto) => self.port(proto, self.sport),
            Field::DestinationPort(proto) => self.port(proto, self.dport),
            Field::Protocol(None) => Value::Number(self.proto.into()),
            Field::Protocol(Some(version)) => match address(self.src, version) {
                Value::Absent => Value::Absent,
                _ => Value::Number(self.proto.into()),
            },
            Field::Family => Value::Number(if self.src.is_ipv4() { 2 } else { 10 }),
            Field::EtherType => Value::Number(if self.src.is_ipv4() { 0x0800 } else { 0x86dd }),
            Field::Input => name(self.iifname.as_deref(), self.is_hook(&[Hook::Output])),
            Field::Output => name(
                self.oifname.as_deref(),
                self.is_hook(&[Hook::Prerouting, Hook::Input, Hook::Ingress]),
            ),
            Field::IcmpType(proto) if proto != self.proto => Value::Absent,
            Field::IcmpType(_) => match self.icmp_type {
                Some(kind) => Value::Number(kind.into()),
                None if self.is_later_fragment => Value::Absent,
                None => Value::Unknown,
            },
            Field::Unknown => Value::Unknown,
        }
    }

    fn is_hook(&self, hooks: &[Hook]) -> bool {
        self.hook.is_some_and(|own| hooks.contains(&own))
    }

    fn port(&self, proto: Option<u8>, port: Option<u16>) -> Value<'_> {
        if proto.is_some_and(|proto| proto != self.proto) {
            return Value::Absent;
        }
        match port {
            // Without its header, a rule that asks for the port does not match.
            _ if self.is_later_fragment => Value::Absent,
            Some(port) => Value::Number(port.into()),
            None => Value::Unknown,
        }
    }
}

fn address(address: IpAddr, version: Version) -> Value<'static> {
    match (address, version) {
        (IpAddr::V4(address), Version::V4) => Value::Number(u32::from(address).into()),
        (IpAddr::V6(address), Version::V6) => Value::Number(address.into()),
        _ => Value::Absent,
    }
}

fn name(name: Option<&str>, is_none_there: bool) -> Value<'_> {
    match name {
        // The kernel compares with an empty name where there is no interface.
        _ if is_none_there => Value::Name(""),
        Some(name) => Value::Name(name),
        None => Value::Unknown,
    }
}
