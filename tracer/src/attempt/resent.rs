//! Segments that are sent again and again: what a stalled connection looks like.

use std::{
    collections::VecDeque,
    time::{Duration, SystemTime},
};

use tracer_common::event::RetransmitEvent;

use crate::decode::tls::Tls;

/// How often a segment is sent again until that means something …
const RESENT: u64 = 3;
/// … and the least time that this takes where nothing gets through: the first pauses are 200, 400
/// and 800 ms. Path MTU discovery sends again as often in a few milliseconds, and gets through.
const PAUSES: Duration = Duration::from_millis(500);

/// Full-size segments that are sent again and again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Retransmissions {
    /// The segment's first sequence number.
    pub(crate) seq: u32,
    /// How often it was sent again.
    pub(crate) times: u64,
    /// When it was sent again for the first and the last time, in nanoseconds of
    /// `CLOCK_MONOTONIC`.
    pub(crate) span: (u64, u64),
    /// Payload bytes of it in one packet.
    pub(crate) len: u32,
    /// Payload bytes of a full segment.
    pub(crate) mss: u32,
    /// Whether the client is the sender.
    pub(crate) by_client: bool,
}

/// Segments of data that were dropped, and dropped again when they were sent again: what can be seen
/// of retransmissions whose socket is in a namespace that is not watched, or on another machine.
///
/// A sender that gets no acknowledgement sends its last segment again, then its first: those are not
/// the same, and the last few are kept apart.
#[derive(Debug, Clone, Default)]
pub(crate) struct Redrops {
    /// Oldest first.
    segments: VecDeque<Redrop>,
}

/// One segment.
#[derive(Debug, Clone, Copy)]
struct Redrop {
    /// Its first sequence number.
    seq: u32,
    /// How often it was dropped.
    times: u64,
    /// When it was dropped for the first and the last time.
    span: (SystemTime, SystemTime),
}

/// Segments that are kept apart.
const SEGMENTS: usize = 4;

impl Retransmissions {
    pub(super) fn count(&mut self, event: &RetransmitEvent, by_client: bool) {
        let RetransmitEvent {
            at, seq, len, mss, ..
        } = *event;
        if self.seq != seq || self.by_client != by_client {
            *self = Self {
                seq,
                by_client,
                span: (at, at),
                ..Self::default()
            };
        }
        self.times += 1;
        self.span.1 = at;
        self.len = len.min(mss);
        self.mss = mss;
    }

    /// Whether nothing of it gets through.
    pub(super) fn is_stall(&self) -> bool {
        self.times >= RESENT && takes_long(self.span)
    }
}

impl Redrops {
    pub(super) fn count(&mut self, seq: u32, at: SystemTime) {
        if let Some(known) = self.segments.iter_mut().find(|known| known.seq == seq) {
            known.times += 1;
            known.span.1 = at;
            return;
        }
        if self.segments.len() >= SEGMENTS {
            self.segments.pop_front();
        }
        self.segments.push_back(Redrop {
            seq,
            times: 1,
            span: (at, at),
        });
    }

    /// Whether nothing of one gets through. Its first drop is of the segment itself.
    pub(super) fn is_stall(&self) -> bool {
        self.segments.iter().any(|segment| {
            let (first, last) = segment.span;
            let takes_long = last.duration_since(first).is_ok_and(|span| span >= PAUSES);
            segment.times > RESENT && takes_long
        })
    }
}

/// Whether a ClientHello is sent again and again. It was seen first when it was first sent.
pub(super) fn is_stalled_hello(hello: &Tls) -> bool {
    hello.times > RESENT && takes_long(hello.span)
}

fn takes_long((first, last): (u64, u64)) -> bool {
    Duration::from_nanos(last.saturating_sub(first)) >= PAUSES
}
