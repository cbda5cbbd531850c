//! Whatever the kernel programs send: every record is decoded, followed, judged and shown, or
//! refused, and nothing panics.

use std::mem::offset_of;

use proptest::{
    collection::vec, prelude::*, sample::select, strategy::ValueTree as _, test_runner::TestRunner,
};
use tracer_common::event::{
    ConnectEvent, DropEvent, EARLY_HOPS, EarlyHop, EarlyHops, RetransmitEvent, SightingEvent, kind,
};

use super::{Effect, Engine, Input, MapAnswer, MapQuery, Nanos, tests};
use crate::{
    decode::drop::Decoder,
    kernel::clock,
    model::Tallies,
    sink::{Detail, Printer, Style, TraceFormat},
};

/// A TCP segment of a handshake, so that some sightings find each other: the numbers are few.
fn segment() -> impl Strategy<Value = Vec<u8>> {
    let number = || select(vec![0u32, 1, 2, u32::MAX]);
    let flags = select(vec![0x02u8, 0x12, 0x10, 0x18, 0x04, 0x14, 0xff]);
    (number(), number(), flags, any::<bool>()).prop_map(|(seq, ack, flags, reversed)| {
        let (src, dst) = if reversed { (2, 1) } else { (1, 2) };
        let mut packet = vec![0x45, 0, 0, 40, 0, 0, 0, 0, 64, 6, 0, 0];
        packet.extend([10, 0, 0, src, 10, 0, 0, dst]);
        packet.extend([0, src, 0, dst]);
        packet.extend(seq.to_be_bytes());
        packet.extend(ack.to_be_bytes());
        packet.extend([0x50, flags, 0, 0, 0, 0, 0, 0]);
        packet
    })
}

/// A DNS query or answer.
fn dns() -> impl Strategy<Value = Vec<u8>> {
    any::<[u8; 4]>().prop_map(|[id, flags, labels, rest]| {
        let mut packet = vec![0x45, 0, 0, 60, 0, 0, 0, 0, 64, 17, 0, 0];
        packet.extend([10, 0, 0, 1, 10, 0, 0, 2, 0x80, 0, 0, 53, 0, 40, 0, 0]);
        packet.extend([0, id % 4, flags, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
        packet.extend([labels % 4, b'a', b'b', b'c', 0, 0, 1, 0, rest]);
        packet
    })
}

/// An ICMP error about a packet.
fn error(about: impl Strategy<Value = Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    (about, select(vec![[3u8, 4], [3, 1], [3, 13], [11, 0]])).prop_map(|(about, icmp)| {
        let mut packet = vec![0x45, 0, 0, 60, 0, 0, 0, 0, 64, 1, 0, 0];
        packet.extend([10, 0, 0, 254, 10, 0, 0, 1]);
        packet.extend(icmp);
        packet.extend([0; 6]);
        packet.extend(about);
        packet
    })
}

/// The bytes of a record: any, with a packet at the place of the capture or not.
fn record() -> impl Strategy<Value = Vec<u8>> {
    let packet = prop_oneof![
        4 => segment(),
        2 => dns(),
        2 => error(segment()),
        1 => error(dns()),
        1 => vec(any::<u8>(), 0..64),
    ];
    let fill = prop_oneof![Just(0u8), Just(0xff), any::<u8>()];
    let at = prop_oneof![select(vec![0, 1, u64::MAX]), any::<u64>()];
    let noise = prop_oneof![Just(Vec::new()), vec(any::<u8>(), 0..80)];
    let kind = prop_oneof![2 => Just(kind::SIGHTING), 1 => 0..7u64];
    (kind, at, fill, noise, packet, 0..8u8).prop_map(|(kind, at, fill, noise, packet, place)| {
        let (len, capture_at) = match kind {
            kind::DROP => (size_of::<DropEvent>(), offset_of!(DropEvent, capture)),
            kind::SIGHTING => (
                size_of::<SightingEvent>(),
                offset_of!(SightingEvent, capture),
            ),
            kind::RETRANSMIT => (size_of::<RetransmitEvent>(), 0),
            kind::CONNECT => (size_of::<ConnectEvent>(), 0),
            _ => (noise.len() + 16, 0),
        };
        let mut bytes = vec![fill; len];
        let mut put = |at: usize, part: &[u8]| {
            for (byte, value) in bytes[at..].iter_mut().zip(part) {
                *byte = *value;
            }
        };
        put(16, &noise);
        if capture_at != 0 {
            put(capture_at, &packet);
            let len = u32::try_from(packet.len()).unwrap_or(u32::MAX);
            put(capture_at - 4, &len.to_ne_bytes());
        }
        // Few enough places that an answer comes back to where its question was seen.
        if kind == kind::SIGHTING && place < 4 {
            let words = [1, 1, u32::from(place % 2)].map(u32::to_ne_bytes);
            put(offset_of!(SightingEvent, place), words.as_flattened());
        }
        put(0, &kind.to_ne_bytes());
        put(8, &at.to_ne_bytes());
        bytes
    })
}

/// A trace without a kernel, which prints what the engine reports.
struct Rehearsal {
    decoder: Decoder,
    engine: Engine,
    early: Vec<EarlyHop>,
    printers: [Printer<Vec<u8>>; 2],
}

impl Rehearsal {
    fn new() -> Self {
        let decoder = Decoder::new(Default::default(), Default::default(), clock::now());
        let detail = Detail {
            verbose: true,
            answered: true,
        };
        let printer = |format| Printer::new(Vec::new(), format, Style::plain(), detail);
        Self {
            engine: Engine::new(tests::settings()),
            decoder,
            early: Vec::new(),
            printers: [TraceFormat::Text, TraceFormat::Json].map(printer),
        }
    }

    fn take(&mut self, bytes: &[u8], now: Nanos) {
        if let Ok(Some(event)) = self.decoder.decode(bytes) {
            self.feed(Input::Event(event), now);
        }
    }

    fn feed(&mut self, input: Input, now: Nanos) {
        for effect in self.engine.handle(input, now) {
            match effect {
                Effect::Ask(id, _) => self.feed(Input::Answer(id, None), now),
                Effect::Read(MapQuery::EarlyHops(key)) => {
                    let early = MapAnswer::EarlyHops(key, self.early.clone());
                    self.feed(Input::Map(early), now);
                }
                Effect::Report(report) => {
                    for printer in &mut self.printers {
                        let _ = printer.print(&report).expect("a vector takes everything");
                    }
                }
                _ => {}
            }
        }
    }

    fn end(&mut self, now: Nanos) {
        self.feed(Input::Tick(Tallies::default()), now);
        self.feed(Input::Finish, now);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn no_record_of_the_ring_buffer_makes_it_panic(
        records in vec((record(), any::<u64>()), 1..24),
        end in any::<u64>(),
    ) {
        let mut rehearsal = Rehearsal::new();
        for (bytes, now) in &records {
            rehearsal.take(bytes, *now);
        }
        rehearsal.end(end);
    }

    /// What the map of early hops holds is no better known.
    #[test]
    fn no_early_hop_makes_it_panic(packet in record(), len in any::<u64>(), fill in any::<u8>()) {
        let hop = EarlyHop {
            key: 1,
            at: len,
            netns: fill.into(),
            ifindex: fill.into(),
            ..EarlyHop::default()
        };
        let hops = EarlyHops {
            len,
            hops: [hop; EARLY_HOPS],
        };
        let mut rehearsal = Rehearsal::new();
        rehearsal.early = hops.of(1).copied().collect();
        rehearsal.take(&packet, 0);
        rehearsal.end(u64::MAX);
    }
}

/// Records of which nothing comes would pass all of the above.
#[test]
fn the_records_make_attempts_of_many_outcomes() {
    let mut runner = TestRunner::deterministic();
    let mut text = String::new();
    for _ in 0..200 {
        let mut rehearsal = Rehearsal::new();
        for bytes in vec(record(), 60)
            .new_tree(&mut runner)
            .expect("records")
            .current()
        {
            rehearsal.take(&bytes, 0);
        }
        rehearsal.end(2 * tests::TIMEOUT);
        let [printed, _] = rehearsal.printers.map(Printer::into_inner);
        text += std::str::from_utf8(&printed).expect("text");
    }
    for outcome in ["answered", "refused", "rejected", "unanswered"] {
        assert!(text.contains(outcome), "{outcome}");
    }
}

/// What the kernel programs send, through the whole of a trace.
#[test]
fn fuzz_events() {
    let blank = |kind: u64, length: usize| {
        let mut bytes = vec![0; length];
        bytes[..8].copy_from_slice(&kind.to_ne_bytes());
        bytes
    };
    let corpus = [
        blank(kind::DROP, size_of::<DropEvent>()),
        blank(kind::SIGHTING, size_of::<SightingEvent>()),
        blank(kind::RETRANSMIT, size_of::<RetransmitEvent>()),
        blank(kind::CONNECT, size_of::<ConnectEvent>()),
    ];
    let corpus = corpus.each_ref().map(Vec::as_slice);
    let rehearsal = std::cell::RefCell::new((Rehearsal::new(), 1));
    crate::fuzz::run("events", &corpus, |input| {
        let (rehearsal, now) = &mut *rehearsal.borrow_mut();
        *now += 1_000_000;
        let mut input = input.to_vec();
        // The kernel counts from zero: no trace lasts until sums of it overflow.
        let count = offset_of!(DropEvent, count);
        if let Some(high) = input.get_mut(count + 4..count + 8) {
            high.fill(0);
        }
        rehearsal.take(&input, *now);
    });
}
