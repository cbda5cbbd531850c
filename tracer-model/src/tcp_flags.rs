//! TCP flags.

use std::{fmt, str::FromStr};

use tracer_common::packet::Tcp;

/// The flags of a TCP header.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct TcpFlags(u8);

/// In the order in which tcpdump writes them.
const LETTERS: [(u8, char); 6] = [
    (Tcp::SYN, 'S'),
    (Tcp::FIN, 'F'),
    (Tcp::RST, 'R'),
    (Tcp::PSH, 'P'),
    (Tcp::URG, 'U'),
    (Tcp::ACK, 'A'),
];

impl TcpFlags {
    /// From the byte in the header.
    pub fn new(bits: u8) -> Self {
        Self(bits)
    }

    /// As in the header.
    pub fn bits(self) -> u8 {
        self.0
    }

    /// The sender synchronizes sequence numbers.
    pub fn syn(self) -> bool {
        self.has(Tcp::SYN)
    }

    /// The acknowledgement number is valid.
    pub fn ack(self) -> bool {
        self.has(Tcp::ACK)
    }

    /// The sender has no more data.
    pub fn fin(self) -> bool {
        self.has(Tcp::FIN)
    }

    /// The sender resets the connection.
    pub fn rst(self) -> bool {
        self.has(Tcp::RST)
    }

    /// The sender pushes what it has sent so far.
    pub fn psh(self) -> bool {
        self.has(Tcp::PSH)
    }

    /// The urgent pointer is valid.
    pub fn urg(self) -> bool {
        self.has(Tcp::URG)
    }

    /// SYN and ACK: the answer to a SYN.
    pub fn is_syn_ack(self) -> bool {
        self.syn() && self.ack()
    }

    fn has(self, bit: u8) -> bool {
        self.0 & bit != 0
    }
}

/// As tcpdump writes them, SYN first: `S`, `SA`, `PA`, `FA`, `R`.
impl fmt::Display for TcpFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let set = LETTERS.iter().filter(|(bit, _)| self.has(*bit));
        f.pad(&set.map(|(_, letter)| letter).collect::<String>())
    }
}

/// A letter that stands for no flag.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is no TCP flag")]
pub struct UnknownFlag(char);

/// Reads what `Display` writes.
impl FromStr for TcpFlags {
    type Err = UnknownFlag;

    fn from_str(text: &str) -> Result<Self, UnknownFlag> {
        let bit = |letter| {
            let mut known = LETTERS.iter();
            let found = known.find(|(_, known)| *known == letter);
            found.map(|(bit, _)| *bit).ok_or(UnknownFlag(letter))
        };
        text.chars()
            .try_fold(0, |bits, letter| Ok(bits | bit(letter)?))
            .map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_read_as_tcpdump_writes_them() {
        for (bits, text) in [
            (Tcp::SYN, "S"),
            (Tcp::SYN | Tcp::ACK, "SA"),
            (Tcp::PSH | Tcp::ACK, "PA"),
            (0, ""),
        ] {
            assert_eq!(TcpFlags::new(bits).to_string(), text);
            assert_eq!(
                text.parse::<TcpFlags>().expect("flags"),
                TcpFlags::new(bits)
            );
        }
        assert!("S?".parse::<TcpFlags>().is_err());
    }
}
