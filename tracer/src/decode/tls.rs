//! How far TLS got, as far as its packets show it: the ClientHello and what came back.

use super::sighting::Segment;
use crate::model::{Place, TlsStage};

/// The start of a TLS record (RFC 8446, section 5.1): its type, the version, its length, and the
/// type of the handshake message in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RecordStart(pub(crate) [u8; 6]);

impl RecordStart {
    /// A handshake record that begins with a ClientHello.
    pub(crate) fn is_client_hello(self) -> bool {
        matches!(self.0, [0x16, 0x03, _, _, _, 0x01])
    }
}

/// A connection whose client has begun TLS.
#[derive(Debug, Clone)]
pub(crate) struct Tls {
    /// Payload bytes of the packet that the ClientHello begins in.
    pub(crate) len: u32,
    /// How far it got.
    pub(crate) stage: TlsStage,
    /// Where it was first seen.
    pub(crate) place: Place,
    /// How often it was seen there.
    pub(crate) times: u64,
    /// When it was seen there for the first and the last time, in nanoseconds of
    /// `CLOCK_MONOTONIC`.
    pub(crate) span: (u64, u64),
    /// The interface at which the RST was first seen.
    pub(crate) reset_at: Option<Place>,
    client_seq: u32,
    server_seq: u32,
}

impl Tls {
    /// Begins with a segment of the client's, if that is a ClientHello.
    pub(crate) fn begin(place: &Place, at: u64, segment: &Segment) -> Option<Self> {
        segment.start.is_client_hello().then(|| Self {
            len: segment.payload,
            stage: TlsStage::Sent,
            place: place.clone(),
            times: 1,
            span: (at, at),
            reset_at: None,
            client_seq: segment.seq,
            server_seq: segment.ack,
        })
    }

    /// Takes a further sighting of the client's first data.
    pub(crate) fn seen_again(&mut self, place: &Place, at: u64, segment: &Segment) {
        if *place == self.place && segment.payload > 0 {
            self.times += 1;
            self.span.1 = at;
        }
    }

    /// Takes a segment of the server's that begins with its first sequence number.
    pub(crate) fn server_sent(&mut self, segment: &Segment) {
        let acknowledged = segment.ack.wrapping_sub(self.client_seq);
        let is_new = acknowledged > 0 && acknowledged < u32::MAX / 2;
        self.stage = match self.stage {
            TlsStage::Sent | TlsStage::Acknowledged if segment.payload > 0 => TlsStage::Answered,
            TlsStage::Sent if is_new => TlsStage::Acknowledged,
            stage => stage,
        };
    }

    /// Takes a RST of the server's. It is an answer to the ClientHello if the server has sent no
    /// data before it, as its sequence number says.
    pub(crate) fn reset(&mut self, place: &Place, seq: u32) {
        if seq == self.server_seq && matches!(self.stage, TlsStage::Sent | TlsStage::Acknowledged) {
            self.stage = TlsStage::Reset;
            self.reset_at = Some(place.clone());
        }
    }
}

/// How many connections have begun TLS, and how many of them were answered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct TlsCounts {
    /// ClientHellos, retransmissions apart.
    pub(crate) hellos: u64,
    /// Those that the server has answered with data.
    pub(crate) answered: u64,
    /// Those that the server's kernel has acknowledged, and its process has left unanswered for longer
    /// than the timeout.
    pub(crate) silent: u64,
}
