//! TCP segments as they are on the wire.

use std::net::{IpAddr, SocketAddr};

use super::raw::checksum;

/// Bytes of a TCP header without options.
const HEADER: usize = 20;
/// Bytes of the option for timestamps, with what aligns it.
const STAMPS: usize = 12;
const SYN: u8 = 0x02;
const RST: u8 = 0x04;
const ACK: u8 = 0x10;

/// What a segment from the peer says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Segment {
    pub(super) seq: u32,
    pub(super) ack: u32,
    pub(super) flags: u8,
    /// Bytes of its payload.
    pub(super) payload: u32,
    /// The first block of its SACK option: both edges.
    pub(super) sack: Option<(u32, u32)>,
    /// Its own timestamp and the one that it echoes.
    pub(super) stamps: Option<(u32, u32)>,
}

impl Segment {
    pub(super) fn is_syn_ack(&self) -> bool {
        self.flags & (SYN | ACK | RST) == SYN | ACK
    }

    pub(super) fn is_reset(&self) -> bool {
        self.flags & RST != 0
    }

    /// Whether it is an acknowledgment and nothing else.
    pub(super) fn is_bare(&self) -> bool {
        self.flags & 0x17 == ACK && self.payload == 0
    }

    /// Reads one as a raw socket gives it: behind its IP header in IPv4, without it in IPv6.
    pub(super) fn read(packet: &[u8], is_ipv4: bool) -> Option<Self> {
        let at = match is_ipv4 {
            true => usize::from(packet.first()? & 0xf) * 4,
            false => 0,
        };
        let tcp = packet.get(at..)?;
        let word = |at: usize| Some(u32::from_be_bytes(*tcp.get(at..)?.first_chunk()?));
        let length = usize::from(tcp.get(12)? >> 4) * 4;
        let mut options = tcp.get(HEADER..length)?;
        let mut segment = Self {
            seq: word(4)?,
            ack: word(8)?,
            flags: *tcp.get(13)?,
            payload: u32::try_from(tcp.len() - length).ok()?,
            ..Self::default()
        };
        while let Some((&kind, rest)) = options.split_first() {
            match kind {
                0 => break,
                1 => {
                    options = rest;
                    continue;
                }
                _ => {}
            }
            let Some(option) = rest
                .first()
                .filter(|length| **length >= 2)
                .and_then(|length| options.get(..usize::from(*length)))
            else {
                break;
            };
            let pair = || {
                let [a, b] = [option.get(2..6)?, option.get(6..10)?];
                let word = |bytes: &[u8]| Some(u32::from_be_bytes(*bytes.first_chunk()?));
                Some((word(a)?, word(b)?))
            };
            match kind {
                5 => segment.sack = pair(),
                8 => segment.stamps = pair(),
                _ => {}
            }
            options = &options[option.len()..];
        }
        Some(segment)
    }
}

/// A segment that acknowledges and has a payload of zeros.
#[derive(Debug, Clone, Copy)]
pub(super) struct Filler {
    pub(super) from: SocketAddr,
    pub(super) to: SocketAddr,
    pub(super) seq: u32,
    pub(super) ack: u32,
    /// Our timestamp and the peer's.
    pub(super) stamps: Option<(u32, u32)>,
    pub(super) payload: u32,
}

/// Bytes of all headers of such a segment.
pub(super) fn overhead(is_ipv4: bool, has_stamps: bool) -> u32 {
    let ip = if is_ipv4 { 20 } else { 40 };
    let options = if has_stamps { STAMPS } else { 0 };
    ip + u32::try_from(HEADER + options).unwrap_or_default()
}

impl Filler {
    /// Its bytes, from the TCP header on.
    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut tcp = Vec::new();
        tcp.extend(self.from.port().to_be_bytes());
        tcp.extend(self.to.port().to_be_bytes());
        tcp.extend(self.seq.to_be_bytes());
        tcp.extend(self.ack.to_be_bytes());
        let words = (HEADER + self.stamps.map_or(0, |_| STAMPS)) / 4;
        tcp.push(u8::try_from(words << 4).unwrap_or_default());
        tcp.push(ACK);
        // A window, no checksum yet, nothing urgent.
        tcp.extend([4, 0, 0, 0, 0, 0]);
        if let Some((own, theirs)) = self.stamps {
            tcp.extend([1, 1, 8, 10]);
            tcp.extend(own.to_be_bytes());
            tcp.extend(theirs.to_be_bytes());
        }
        let length = tcp.len() + usize::try_from(self.payload).unwrap_or_default();
        tcp.resize(length, 0);
        let mut summed = Vec::with_capacity(length + 40);
        for ip in [self.from.ip(), self.to.ip()] {
            match ip {
                IpAddr::V4(ip) => summed.extend(ip.octets()),
                IpAddr::V6(ip) => summed.extend(ip.octets()),
            }
        }
        summed.extend(u32::try_from(length).unwrap_or_default().to_be_bytes());
        summed.extend([0, 0, 0, 6]);
        summed.extend(&tcp);
        tcp[16..18].copy_from_slice(&checksum(&summed).to_be_bytes());
        tcp
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_can_be_read() {
        let filler = Filler {
            from: "10.0.0.1:40000".parse().unwrap(),
            to: "10.0.0.2:80".parse().unwrap(),
            seq: 0xffff_fff0,
            ack: 7,
            stamps: Some((1, 2)),
            payload: 48,
        };
        let bytes = filler.bytes();
        assert_eq!(bytes.len() + 20, 100);
        assert_eq!(overhead(true, true) + filler.payload, 100);
        let segment = Segment::read(&bytes, false).unwrap();
        let expected = Segment {
            seq: 0xffff_fff0,
            ack: 7,
            flags: ACK,
            payload: 48,
            sack: None,
            stamps: Some((1, 2)),
        };
        assert_eq!(segment, expected);
        assert!(!segment.is_bare() && !segment.is_syn_ack());
    }

    #[test]
    fn the_acknowledgment_of_an_old_segment_names_it() {
        let mut bytes = vec![0; 20];
        bytes[12] = 8 << 4;
        bytes[13] = ACK;
        bytes.extend([1, 1, 5, 10, 0, 0, 0, 1, 0, 0, 0, 9]);
        let segment = Segment::read(&bytes, false).unwrap();
        assert_eq!(segment.sack, Some((1, 9)));
        assert!(segment.is_bare());
    }

    #[test]
    fn malformed_options_end_the_list() {
        for options in [[5, 0, 0, 0], [5, 1, 0, 0], [8, 200, 0, 0], [0, 8, 10, 1]] {
            let mut bytes = vec![0; 20];
            bytes[12] = 6 << 4;
            bytes.extend(options);
            let segment = Segment::read(&bytes, false).unwrap();
            assert_eq!((segment.sack, segment.stamps), (None, None));
        }
        assert_eq!(Segment::read(&[0x45; 12], true), None);
    }
}
