//! Packets that do not fit into a tunnel.

use super::*;
use crate::{
    decode::drop::Wire,
    model::{Fix, Packet},
    net::{Geneve, Kind, Link},
    node::mtu::Hop,
};

const DONT_FRAGMENT: u8 = 0x40;

/// A packet of this length, dropped on its way into a tunnel.
fn too_large(function: &str, first: u8, flags: u8, len: u32) -> DropFacts {
    let mut bytes = vec![0; 40];
    bytes[0] = first;
    bytes[6] = flags;
    let mut facts = facts("NOT_SPECIFIED", function);
    facts.flow.dst = [10, 21, 2, 2].into();
    facts.mtu = Some(1500);
    facts.ifname = Some("tunl0".to_owned());
    facts.packet = Some(Packet {
        len,
        tcp_flags: None,
        seq: None,
        gso_size: None,
        icmp: None,
        echo: None,
    });
    facts.wire = Some(Arc::new(Wire {
        bytes,
        ..Wire::default()
    }));
    facts
}

/// A tunnel of this MTU, above an interface of 1500 bytes.
fn above(mtu: u32) -> NodeFacts {
    let hop = |ifname: &str, mtu, overhead| Hop {
        ifname: ifname.to_owned(),
        mtu,
        overhead,
    };
    let mut node = NodeFacts::default();
    node.around.tunnel = Some(Link {
        name: "tunl0".to_owned(),
        mtu,
        ..Link::default()
    });
    node.around.hops = vec![
        hop("veth", 1500, 0),
        hop("tunl0", mtu, 0),
        hop("eth0", 1500, 20),
    ];
    node
}

#[test]
fn a_tunnel_as_wide_as_its_underlay_drops_what_its_header_makes_too_large() {
    let facts = too_large("ip_tunnel_xmit", 0x45, DONT_FRAGMENT, 1481);
    let verdict = judge(&facts, &above(1500));
    assert_eq!(verdict.point, Point::Mtu);
    assert_eq!(verdict.confidence, Confidence::Confirmed);
    assert_eq!(
        verdict.why,
        "a packet of 1481 bytes does not fit into eth0, whose MTU is 1500, with the 20 bytes that the \
         tunnel adds"
    );
    assert!(
        verdict.fix[0]
            .text()
            .contains("ip link set dev tunl0 mtu 1480")
    );
}

#[test]
fn what_fits_or_may_be_fragmented_was_dropped_for_something_else() {
    let point = |first, flags, len| {
        let facts = too_large("ip_tunnel_xmit", first, flags, len);
        judge(&facts, &above(1500)).point
    };
    assert_eq!(point(0x45, DONT_FRAGMENT, 1480), Point::Overlay);
    assert_eq!(point(0x45, 0, 1481), Point::Overlay);
    assert_eq!(point(0x60, 0, 1481), Point::Mtu);
}

#[test]
fn a_tunnel_is_widened_no_further_than_its_underlay_has_room() {
    let fix = |mtu, len| {
        let mut facts = too_large("ip_forward", 0x45, DONT_FRAGMENT, len);
        facts.reason = "PKT_TOO_BIG".into();
        facts.ifname = Some("veth".to_owned());
        judge(&facts, &above(mtu)).fix[0].text()
    };
    assert!(fix(1400, 1480).contains("ip link set dev tunl0 mtu 1480"));
    let too_large_for_both = fix(1480, 1481);
    assert!(too_large_for_both.contains("an MTU of 1480"));
    assert!(!too_large_for_both.contains("ip link set dev tunl0"));
    assert!(fix(1400, 1481).contains("an MTU of 1480"));
}

/// Below the tunnel, the route of what is inside does not say which device it was.
#[test]
fn the_device_that_leads_to_the_other_end_is_made_smaller() {
    let device = |name: &str, remote: Option<[u8; 4]>| Link {
        name: name.to_owned(),
        mtu: 1500,
        kind: Kind::Geneve(Geneve {
            remote: remote.map(Into::into),
            ..Geneve::default()
        }),
        ..Link::default()
    };
    let fixes = |devices: &[Link]| {
        let mut facts = too_large("ip_fragment", 0x45, DONT_FRAGMENT, 1501);
        facts.outer = tunnelled("", "").outer;
        let mut node = above(1500);
        node.around.tunnel = None;
        node.around.alike = Some(devices.to_vec());
        let fixes = judge(&facts, &node).fix;
        fixes.iter().map(Fix::text).collect::<String>()
    };
    let [leading, other] = [("gnv1", [192, 0, 2, 2]), ("gnv2", [192, 0, 2, 9])];
    let [leading, other] = [leading, other].map(|(name, to)| device(name, Some(to)));
    let named = fixes(&[other.clone(), leading.clone()]);
    assert!(named.contains("ip link set dev gnv1 mtu 1480"), "{named}");
    assert!(fixes(&[device("gnv3", None)]).contains("gnv3 mtu 1480"));
    assert_eq!(fixes(&[leading.clone(), leading]), "");
    assert_eq!(fixes(&[other]), "");
}
