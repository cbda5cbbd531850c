//! What either end of a connection was seen to send: the numbers that its later segments can have.

/// Bytes that may have been sent beyond what was seen: the segments of an open connection are not
/// looked at, and a window is hardly larger.
const AHEAD: u32 = 16 << 20;
/// The same for acknowledgements, where the other end's own numbers have moved too far: of most
/// transfers, one direction carries little.
const ACKNOWLEDGED_AHEAD: u32 = 1 << 20;

/// The sequence numbers that one end was seen to send.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Sent {
    /// The first and the highest one; `None` while none was seen.
    range: Option<(u32, u32)>,
}

impl Sent {
    /// Takes a number that it has sent, or that the other end has acknowledged.
    pub(crate) fn reached(&mut self, seq: u32) {
        let Some((first, highest)) = &mut self.range else {
            self.range = Some((seq, seq));
            return;
        };
        let gone = seq.wrapping_sub(*first);
        // A number before the first is an old one.
        if gone < u32::MAX / 2 && gone > highest.wrapping_sub(*first) {
            *highest = seq;
        }
    }

    /// Whether it could have sent a segment with this number.
    pub(crate) fn can_have_sent(&self, seq: u32) -> bool {
        self.is_within(seq, AHEAD)
    }

    /// Whether the other end can acknowledge this number.
    pub(crate) fn can_be_acknowledged(&self, ack: u32) -> bool {
        self.is_within(ack, ACKNOWLEDGED_AHEAD)
    }

    fn is_within(&self, number: u32, ahead: u32) -> bool {
        self.range.is_some_and(|(first, highest)| {
            let width = highest.wrapping_sub(first).saturating_add(ahead);
            number.wrapping_sub(first) <= width
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(numbers: &[u32]) -> Sent {
        let mut sent = Sent::default();
        for number in numbers {
            sent.reached(*number);
        }
        sent
    }

    #[test]
    fn what_was_sent_and_a_window_beyond_it_fits() {
        let sent = sent(&[1_000, 5_000, 3_000]);
        for fits in [1_000, 5_000, 5_000 + AHEAD] {
            assert!(sent.can_have_sent(fits), "{fits}");
        }
        for strange in [999, 5_001 + AHEAD, u32::MAX] {
            assert!(!sent.can_have_sent(strange), "{strange}");
        }
        assert!(!sent.can_be_acknowledged(5_001 + ACKNOWLEDGED_AHEAD));
    }

    #[test]
    fn numbers_wrap_around() {
        let sent = sent(&[u32::MAX - 10, 20]);
        assert!(sent.can_have_sent(u32::MAX));
        assert!(sent.can_have_sent(AHEAD));
        assert!(!sent.can_have_sent(u32::MAX - 11));
        assert!(!sent.can_have_sent(21 + AHEAD));
    }

    #[test]
    fn of_an_end_that_was_not_seen_nothing_fits() {
        assert!(!Sent::default().can_have_sent(0));
        assert!(!Sent::default().can_be_acknowledged(0));
    }
}
