//! What a packet shows where a rule looks at it.

use std::net::IpAddr;

use super::{
    condition::{Bits, EntryEnd, Field, Guard, Layer, Mark, Version},
    host::Kind,
    nft_value::address_number,
    packet::{Device, Ends, HookPacket, Ports},
    state::{End, State},
};
use crate::model::Hook;

/// The value of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Value<'a> {
    Number(u128),
    Name(&'a str),
    /// One of these names.
    Names(&'a [&'a str]),
    /// One of these interfaces.
    Devices(&'a [String]),
    /// The packet has no such field: the condition fails, negated or not.
    Absent,
    Unknown,
}

impl HookPacket {
    pub(super) fn value(&self, state: &State, field: Field) -> Value<'_> {
        let Ends {
            src,
            dst,
            sport,
            dport,
        } = state.ends;
        match field {
            Field::Source(version) => address(state.known(End::Source), src, version),
            Field::Destination(version) => address(state.known(End::Destination), dst, version),
            Field::SourcePort(proto) => {
                self.port(proto, sport.filter(|_| state.known(End::SourcePort)))
            }
            Field::DestinationPort(proto) => {
                self.port(proto, dport.filter(|_| state.known(End::DestinationPort)))
            }
            Field::Protocol(None) => Value::Number(self.proto.into()),
            Field::Protocol(Some(version)) => match self.has_version(version) {
                true => Value::Number(self.proto.into()),
                false => Value::Absent,
            },
            Field::Family => Value::Number(if src.is_ipv4() { 2 } else { 10 }),
            Field::EtherType => Value::Number(if src.is_ipv4() { 0x0800 } else { 0x86dd }),
            Field::Input => self.device(&self.input, self.is_hook(&[Hook::Output])),
            Field::Output => {
                let is_none_there = self.is_hook(&[Hook::Prerouting, Hook::Input, Hook::Ingress]);
                self.device(&self.output, is_none_there)
            }
            Field::InputPort | Field::OutputPort => match &self.ports {
                Ports::None => Value::Absent,
                Ports::Unknown => Value::Unknown,
                Ports::Bridged { input, .. } if field == Field::InputPort => {
                    self.device(input, false)
                }
                Ports::Bridged { output, .. } => self.device(output, false),
            },
            Field::IcmpType(proto) => self.icmp(proto, |(kind, _)| kind),
            Field::IcmpCode(proto) => self.icmp(proto, |(_, code)| code),
            Field::Header(bits) => self.bits(bits),
            Field::Length => number(self.len),
            Field::SourceMac => match self.src_mac {
                Some([a, b, c, d, e, f]) => {
                    Value::Number(u64::from_be_bytes([0, 0, a, b, c, d, e, f]).into())
                }
                None => Value::Unknown,
            },
            Field::PacketType => match self.destination_kind(state) {
                Some(Kind::Broadcast) => Value::Name("broadcast"),
                Some(Kind::Multicast) => Value::Name("multicast"),
                // The kernel does not take in what was sent to other hosts, or what was sent to
                // one address in a frame for many.
                Some(_) => Value::Name("host"),
                None => Value::Unknown,
            },
            Field::SourceType => kind(self.host.kind(src).filter(|_| state.known(End::Source))),
            Field::DestinationType => kind(self.destination_kind(state)),
            Field::ReversePath => match self.host.reverse_path {
                Some(exists) => Value::Number(exists.into()),
                None => Value::Unknown,
            },
            Field::Mark(mark) => {
                let bits = match mark {
                    Mark::Packet => state.mark,
                    Mark::Connection => state.connection_mark,
                };
                match bits.known {
                    u32::MAX => Value::Number(bits.value.into()),
                    _ => Value::Unknown,
                }
            }
            Field::State if state.states.is_power_of_two() => Value::Number(state.states.into()),
            Field::State => Value::Unknown,
            Field::Direction => match &self.entry {
                Some(entry) => Value::Name(if entry.is_reply { "reply" } else { "original" }),
                None => Value::Unknown,
            },
            Field::Entry(end) => self.entry_end(end),
            Field::Unknown(guard) if self.lacks(guard) => Value::Absent,
            Field::Unknown(_) => Value::Unknown,
        }
    }

    /// Whether packets like this one have no such field.
    pub(super) fn lacks(&self, guard: Guard) -> bool {
        match guard {
            Guard::Any => false,
            Guard::Version(version) => !self.has_version(version),
            Guard::Transport(proto) => proto != self.proto || self.is_later_fragment,
            Guard::Never => true,
        }
    }

    fn has_version(&self, version: Version) -> bool {
        self.ends.src.is_ipv4() == (version == Version::V4)
    }

    /// What the destination is, which some hooks say by themselves.
    fn destination_kind(&self, state: &State) -> Option<Kind> {
        let dst = state.ends.dst;
        let is_known = state.known(End::Destination);
        let by_address = self.host.kind(dst).filter(|_| is_known);
        let is_unicast = match dst {
            IpAddr::V4(dst) => !dst.is_multicast() && !dst.is_broadcast(),
            IpAddr::V6(dst) => !dst.is_multicast(),
        };
        match by_address {
            // What is routed on is not the host's, whatever the host is called now.
            _ if is_known && is_unicast && self.is_hook(&[Hook::Forward]) => Some(Kind::Unicast),
            // What is TCP's and reaches a socket is the host's own address.
            None if is_known && is_unicast && self.is_hook(&[Hook::Input]) && self.proto == 6 => {
                Some(Kind::Local)
            }
            known => known,
        }
    }

    fn device<'a>(&'a self, device: &'a Device, is_none_there: bool) -> Value<'a> {
        match device {
            // The kernel compares with an empty name where there is no interface.
            _ if is_none_there => Value::Name(""),
            Device::None => Value::Name(""),
            Device::Named(name) => Value::Name(name),
            Device::Unknown if self.host.devices.is_empty() => Value::Unknown,
            Device::Unknown => Value::Devices(&self.host.devices),
        }
    }

    fn port(&self, proto: Option<u8>, port: Option<u16>) -> Value<'_> {
        if proto.is_some_and(|proto| proto != self.proto) {
            return Value::Absent;
        }
        match port {
            // Without its header, a rule that asks for the port does not match.
            _ if self.is_later_fragment => Value::Absent,
            port => number(port),
        }
    }

    fn icmp(&self, proto: u8, part: impl Fn((u8, u8)) -> u8) -> Value<'_> {
        match self.icmp {
            _ if self.lacks(Guard::Transport(proto)) => Value::Absent,
            icmp => number(icmp.map(part)),
        }
    }

    fn bits(&self, bits: Bits) -> Value<'_> {
        let Some(header) = &self.header else {
            return match bits.layer {
                Layer::Network(version) if !self.has_version(version) => Value::Absent,
                Layer::Transport(proto) if self.lacks(Guard::Transport(proto)) => Value::Absent,
                _ => Value::Unknown,
            };
        };
        let start = match bits.layer {
            Layer::Network(version) if !self.has_version(version) => return Value::Absent,
            Layer::Transport(proto) if proto != self.proto => return Value::Absent,
            Layer::Transport(_) | Layer::AnyTransport if self.is_later_fragment => {
                return Value::Absent;
            }
            Layer::Network(_) | Layer::AnyNetwork => 0,
            Layer::Transport(_) | Layer::AnyTransport => header.transport_at,
        };
        number(read_bits(
            header.bytes.get(start..).unwrap_or_default(),
            bits.at,
            bits.count,
        ))
    }

    fn entry_end(&self, end: EntryEnd) -> Value<'_> {
        let entry = self.entry.as_ref();
        let ends = match end.is_reply {
            true => entry.and_then(|entry| entry.reply),
            false => entry.map(|entry| entry.original),
        };
        let Some(ends) = ends else {
            return Value::Unknown;
        };
        match (end.is_port, end.is_source) {
            (true, true) => number(ends.sport),
            (true, false) => number(ends.dport),
            (false, true) => Value::Number(address_number(ends.src)),
            (false, false) => Value::Number(address_number(ends.dst)),
        }
    }
}

/// Bits of a header, the first the highest.
fn read_bits(bytes: &[u8], at: u16, count: u16) -> Option<u128> {
    if count > 128 {
        return None;
    }
    (at..at.checked_add(count)?).try_fold(0, |number, bit| {
        let byte = bytes.get(usize::from(bit / 8))?;
        Some(number << 1 | u128::from(byte >> (7 - bit % 8) & 1))
    })
}

fn number(number: Option<impl Into<u128>>) -> Value<'static> {
    number.map_or(Value::Unknown, |number| Value::Number(number.into()))
}

fn kind(kind: Option<Kind>) -> Value<'static> {
    match kind.map(Kind::names) {
        None => Value::Unknown,
        Some([name]) => Value::Name(name),
        Some(names) => Value::Names(names),
    }
}

fn address(is_known: bool, address: IpAddr, version: Version) -> Value<'static> {
    match (address, version) {
        (IpAddr::V4(_), Version::V6) | (IpAddr::V6(_), Version::V4) => Value::Absent,
        _ if is_known => Value::Number(address_number(address)),
        _ => Value::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_of_a_header_are_read_highest_first() {
        let bytes = [0x45, 0x00, 0x12, 0x34];
        assert_eq!(read_bits(&bytes, 0, 4), Some(4));
        assert_eq!(read_bits(&bytes, 4, 4), Some(5));
        assert_eq!(read_bits(&bytes, 16, 16), Some(0x1234));
        assert_eq!(read_bits(&bytes, 19, 13), Some(0x1234 & 0x1fff));
        assert_eq!(read_bits(&bytes, 24, 16), None);
        assert_eq!(read_bits(&bytes, 0, 200), None);
        assert_eq!(read_bits(&bytes, u16::MAX, 8), None);
    }
}
