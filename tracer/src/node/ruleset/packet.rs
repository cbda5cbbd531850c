//! The packet, as it is at a hook.

use std::{net::IpAddr, sync::Arc};

use super::{host::Host, model::Family};
use crate::{decode::tracked::Tracked, model::Hook};

/// A packet at a hook: as it was dropped there, or as it comes there. What is `None` is not known.
#[derive(Clone, Debug)]
pub(crate) struct HookPacket {
    /// The hook.
    pub(crate) hook: Option<Hook>,
    /// Its addresses and ports.
    pub(crate) ends: Ends,
    /// Transport protocol.
    pub(crate) proto: u8,
    /// TCP flags.
    pub(crate) tcp_flags: Option<u8>,
    /// ICMP type and code.
    pub(crate) icmp: Option<(u8, u8)>,
    /// The interface that it came in through.
    pub(crate) input: Device,
    /// The interface that it leaves through.
    pub(crate) output: Device,
    /// The bridge ports that it came in and leaves through, where a bridge hands it to the IP hooks.
    pub(crate) ports: Ports,
    /// Firewall mark.
    pub(crate) mark: Option<u32>,
    /// A fragment behind the first one.
    pub(crate) is_later_fragment: bool,
    /// What conntrack has said of it.
    pub(crate) tracked: Tracked,
    /// The connection's entry in conntrack.
    pub(crate) entry: Option<Entry>,
    /// What NAT makes of it at this hook.
    pub(crate) nat: Translation,
    /// Its headers.
    pub(crate) header: Option<Arc<Header>>,
    /// Bytes from the network header up.
    pub(crate) len: Option<u32>,
    /// Source MAC address.
    pub(crate) src_mac: Option<[u8; 6]>,
    /// The network namespace.
    pub(crate) host: Arc<Host>,
}

/// What NAT may change of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ends {
    /// Source address.
    pub(crate) src: IpAddr,
    /// Destination address.
    pub(crate) dst: IpAddr,
    /// Source port.
    pub(crate) sport: Option<u16>,
    /// Destination port.
    pub(crate) dport: Option<u16>,
}

/// An interface at a hook.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Device {
    /// There is none.
    None,
    /// This one.
    Named(String),
    /// It is not known which.
    #[default]
    Unknown,
}

/// Bridge ports, as `-m physdev` sees them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Ports {
    /// No bridge has handed it to the IP hooks.
    None,
    /// A bridge has.
    Bridged {
        /// The port that it came in through.
        input: Device,
        /// The port that it leaves through.
        output: Device,
    },
    /// Not known.
    #[default]
    Unknown,
}

/// A connection's entry in conntrack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// The tuple of the connection's first packet.
    pub(crate) original: Ends,
    /// The tuple of its answers, as they come in.
    pub(crate) reply: Option<Ends>,
    /// The packet is an answer.
    pub(crate) is_reply: bool,
}

/// The packet's headers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// From the network header up, as far as they were captured.
    pub(crate) bytes: Vec<u8>,
    /// Where the transport header is.
    pub(crate) transport_at: usize,
}

/// What NAT makes of a packet at one hook.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Translation {
    /// Its ends in front of NAT.
    pub(crate) before: Option<Ends>,
    /// Its ends behind NAT, if the connection's entry has them; otherwise the rules decide.
    pub(crate) after: Option<Ends>,
    /// Where it was dropped.
    pub(crate) side: Side,
}

/// On which side of a hook's NAT a packet was dropped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Side {
    /// In front of it.
    Before,
    /// Behind it.
    Behind,
    /// Undecidable.
    #[default]
    Either,
}

impl HookPacket {
    /// A packet of which only these are known.
    pub(crate) fn new(ends: Ends, proto: u8) -> Self {
        Self {
            hook: None,
            ends,
            proto,
            tcp_flags: None,
            icmp: None,
            input: Device::Unknown,
            output: Device::Unknown,
            ports: Ports::Unknown,
            mark: None,
            is_later_fragment: false,
            tracked: Tracked::Unknown,
            entry: None,
            nat: Translation::default(),
            header: None,
            len: None,
            src_mac: None,
            host: Arc::default(),
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
            Family::Ip => self.ends.src.is_ipv4(),
            Family::Ip6 => self.ends.src.is_ipv6(),
            _ => true,
        };
        of_hook && of_version
    }

    /// Whether it fits no connection: it has no entry in conntrack, and cannot begin one.
    pub(super) fn is_invalid(&self) -> bool {
        const SYN: u8 = 2;
        const ACK: u8 = 16;
        let begins = match self.proto {
            6 => self
                .tcp_flags
                .is_none_or(|flags| flags & (SYN | ACK) == SYN),
            // Questions, and not errors about other packets.
            1 => self
                .icmp
                .is_none_or(|(kind, _)| matches!(kind, 8 | 13 | 15 | 17)),
            58 => self.icmp.is_none_or(|(kind, _)| kind >= 128),
            _ => true,
        };
        self.tracked == Tracked::Nothing && !begins
    }

    /// Whether a bridge only forwards it: no route of the host leads it on.
    pub(super) fn is_bridged(&self) -> bool {
        self.hook.is_some_and(Hook::is_bridge) || matches!(self.ports, Ports::Bridged { .. })
    }

    pub(super) fn is_hook(&self, hooks: &[Hook]) -> bool {
        self.hook.is_some_and(|own| hooks.contains(&own))
    }
}

impl Ends {
    /// Those of packets in the other direction.
    #[must_use]
    pub(crate) fn reversed(self) -> Self {
        Self {
            src: self.dst,
            dst: self.src,
            sport: self.dport,
            dport: self.sport,
        }
    }

    /// These with the destination of others.
    #[must_use]
    pub(crate) fn to_destination_of(self, other: Self) -> Self {
        Self {
            dst: other.dst,
            dport: other.dport,
            ..self
        }
    }
}

impl Device {
    /// Its name, where one is known.
    pub(crate) fn name(&self) -> Option<&str> {
        match self {
            Self::Named(name) => Some(name),
            Self::None | Self::Unknown => None,
        }
    }
}

impl From<Option<String>> for Device {
    fn from(name: Option<String>) -> Self {
        name.map_or(Self::Unknown, Self::Named)
    }
}
