//! What may come through the ring buffer.

use super::*;
use crate::tuple::Tuple;

fn drop_event(fill: u8) -> DropEvent {
    read(&[fill; size_of::<DropEvent>()]).unwrap()
}

#[test]
fn an_event_of_another_length_or_kind_is_refused() {
    for (kind, lengths) in [
        (0, None),
        (
            kind::DROP,
            Some(offset_of!(DropEvent, capture)..=size_of::<DropEvent>()),
        ),
        (
            kind::SIGHTING,
            Some(offset_of!(SightingEvent, capture)..=size_of::<SightingEvent>()),
        ),
        (
            kind::RETRANSMIT,
            Some(size_of::<RetransmitEvent>()..=size_of::<RetransmitEvent>()),
        ),
        (
            kind::RELEASE,
            Some(size_of::<ReleaseEvent>()..=size_of::<ReleaseEvent>()),
        ),
        (
            kind::EARLY,
            Some(size_of::<EarlyEvent>()..=size_of::<EarlyEvent>()),
        ),
        (
            kind::CONNECT,
            Some(size_of::<ConnectEvent>()..=size_of::<ConnectEvent>()),
        ),
        (7, None),
    ] {
        let mut bytes = vec![0; 2000];
        bytes[..8].copy_from_slice(&kind.to_ne_bytes());
        for len in 0..2000 {
            assert_eq!(
                Event::from_bytes(&bytes[..len]).is_some(),
                lengths
                    .as_ref()
                    .is_some_and(|lengths| lengths.contains(&len)),
                "{len} bytes of kind {kind}"
            );
        }
    }
}

#[test]
fn what_an_event_says_to_have_must_be_there() {
    let sent = |event: &DropEvent, len: usize| {
        // SAFETY: an event is plain integers, without padding.
        let bytes =
            unsafe { core::slice::from_raw_parts(core::ptr::from_ref(event).cast::<u8>(), len) };
        match Event::from_bytes(bytes) {
            Some(Event::Drop(event)) => Some((event.captured().len(), event.frames().len())),
            _ => None,
        }
    };
    let mut event = drop_event(0);
    event.kind = kind::DROP;
    event.capture_len = 40;
    let len = event.sent_len();
    assert_eq!(len, offset_of!(DropEvent, capture) + 40);
    assert_eq!(sent(&event, len), Some((40, 0)));
    assert_eq!(sent(&event, len - 1), None);
    event.stack_bytes = 16;
    let len = event.sent_len();
    assert_eq!(len, offset_of!(DropEvent, stack) + 16);
    assert_eq!(sent(&event, len), Some((40, 2)));
    assert_eq!(sent(&event, len - 1), None);
}

#[test]
fn early_hops_are_those_of_their_own_key() {
    let hop = |key| EarlyHop {
        key,
        ..EarlyHop::default()
    };
    let mut hops = EarlyHops {
        len: u64::MAX,
        hops: [hop(1), hop(2), hop(1), hop(0)],
    };
    assert_eq!(hops.of(1).count(), 2);
    hops.len = 1;
    assert_eq!((hops.of(1).count(), hops.of(2).count()), (1, 0));
    assert!((0..100_000).all(|key| EarlyHops::place(key) < EARLY_PLACES));
}

#[test]
fn lengths_from_the_kernel_are_never_trusted() {
    let mut event = drop_event(0xff);
    assert_eq!(event.captured().len(), CAPTURE_LEN);
    assert_eq!(event.frames().len(), 0, "-1 is an error of bpf_get_stack");
    event.stack_bytes = i64::MAX;
    assert_eq!(event.frames().len(), STACK_DEPTH);
}

#[test]
fn a_stack_is_wanted_for_these_reasons_or_for_all() {
    let mut policy = StackPolicy {
        always: 0,
        reasons: [12, 0, 0, 0],
    };
    assert!(policy.wants(12));
    assert!(!policy.wants(13) && !policy.wants(0));
    policy.always = 1;
    assert!(policy.wants(13) && policy.wants(0));
}

#[test]
fn the_map_key_has_no_hidden_padding() {
    assert_eq!(size_of::<DropKey>(), size_of::<Tuple>() + 8 + 3 * 4 + 4);
}

/// A log with these events, each cut to its length.
fn log(events: &[&[u8]]) -> HeldLog {
    let mut log = HeldLog {
        key: 1,
        len: 0,
        netns: 0,
        ifindex: 0,
        direction: 0,
        flow: 0,
        is_answered: 0,
        was_settled: 0,
        reserved: 0,
        bytes: [0; HELD_BYTES],
    };
    for event in events {
        let at = log.len as usize;
        log.bytes[at..at + event.len()].copy_from_slice(event);
        log.len += event.len().next_multiple_of(8) as u32;
    }
    log
}

fn sighting(captured: u8) -> Vec<u8> {
    let mut bytes = vec![captured; offset_of!(SightingEvent, capture) + usize::from(captured)];
    bytes[..8].copy_from_slice(&kind::SIGHTING.to_ne_bytes());
    let at = offset_of!(SightingEvent, capture_len);
    bytes[at..at + 4].copy_from_slice(&u32::from(captured).to_ne_bytes());
    bytes
}

#[test]
fn a_log_is_the_events_that_were_put_into_it() {
    let mut early = vec![0; size_of::<EarlyEvent>()];
    early[..8].copy_from_slice(&kind::EARLY.to_ne_bytes());
    let [syn, other] = [60, 61].map(sighting);
    let log = log(&[&early, &syn, &other]);
    let events: Vec<_> = log.events().collect();
    assert_eq!(events, [&early, &syn, &other]);
    assert!(
        events
            .iter()
            .all(|event| Event::from_bytes(event).is_some())
    );
}

#[test]
fn a_log_ends_where_it_makes_no_sense() {
    let syn = sighting(60);
    let mut unknown = syn.clone();
    unknown[..8].copy_from_slice(&9_u64.to_ne_bytes());
    assert_eq!(log(&[&syn, &unknown, &syn]).events().count(), 1);
    let mut cut = log(&[&syn, &syn]);
    cut.len -= 8;
    assert_eq!(cut.events().count(), 1);
    cut.len = u32::MAX;
    assert_eq!(cut.events().count(), 2, "behind them there are zeros");
}

#[test]
fn a_flow_leads_to_one_place_either_way() {
    let flow = |port| Tuple {
        src: crate::address::Address::v4([10, 0, 0, 1]),
        dst: crate::address::Address::v4([10, 0, 0, 2]),
        sport: port,
        dport: 80,
        proto: crate::packet::protocol::TCP,
        flags: Tuple::HAS_PORTS,
        reserved: [0; 2],
    };
    let places: std::collections::HashSet<_> = (0..1000)
        .map(|port| {
            assert_eq!(held_flow(&flow(port)), held_flow(&flow(port).reversed()));
            held_flow(&flow(port))
        })
        .collect();
    assert!(places.len() > 900, "{}", places.len());
    assert!(places.iter().all(|place| (*place as usize) < HELD_FLOWS));
    for places in [512, HELD_PLACES] {
        let used: std::collections::HashSet<_> = (0..100_000)
            .map(|key| held_place(key, places as u32))
            .collect();
        assert_eq!(used.len(), places);
        assert!(used.iter().all(|place| *place < places));
    }
}
