//! Packets of a connection that a rule would accept if conntrack had an entry for them.
//!
//! Firewalls accept what is established, and little else. A segment in the midst of a connection that is
//! dropped there is dropped for what conntrack says of it: the same packet, established, must pass.

use super::{
    Hint, HookPacket, Ruleset,
    marking::{ReadRules, before},
};
use crate::decode::tracked::Tracked;

/// Flags of TCP.
const SYN: u8 = 0x02;
const ACK: u8 = 0x10;

/// Why conntrack does not call it established.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Unestablished {
    /// Conntrack takes it for a connection's first packet: it has no entry any more, or never had one.
    Unknown,
    /// It fits no entry: it is invalid.
    Invalid,
    /// It is exempted from tracking, by this rule where one is known.
    Untracked(Option<String>),
}

impl Ruleset {
    /// Why a segment in the midst of a connection, or an answer, is not established, if it would pass this
    /// hook otherwise.
    pub(crate) fn unestablished(
        &self,
        packet: &HookPacket,
        read: ReadRules<'_>,
    ) -> Option<Unestablished> {
        let flags = packet.tcp_flags.filter(|_| packet.proto == 6)?;
        let is_later = flags & ACK != 0;
        let is_answer = is_later && flags & SYN != 0;
        is_later.then_some(())?;
        let found = match packet.tracked {
            Tracked::New if !is_answer => Unestablished::Unknown,
            Tracked::Nothing if !packet.host.tracks_nothing => Unestablished::Invalid,
            Tracked::Untracked => {
                let first = before(packet).into_iter().next()?;
                let rule = read(&first).and_then(|rules| rules.exempted_by(&first));
                Unestablished::Untracked(rule)
            }
            _ => return None,
        };
        let established = HookPacket {
            tracked: Tracked::Established,
            ..packet.clone()
        };
        let suspects = self.suspects(&established, Hint::Any);
        (suspects.complete && suspects.rules.is_empty()).then_some(found)
    }
}
