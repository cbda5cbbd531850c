//! What batches of messages make of an inventory.

use super::*;
use crate::net::{Address, AddressFlags, Bridge, Kind, Link, Mac};

const NETNS: u32 = 4026531840;

/// A link as a message shows it.
fn link(ifindex: u32, kind: Kind) -> Link {
    Link {
        ifindex,
        name: format!("if{ifindex}"),
        kind,
        mtu: 1500,
        mac: Some(Mac(vec![2, 0, 0, 0, 0, 1])),
        up: true,
        running: true,
        ..Link::default()
    }
}

/// An interface with that link.
pub(in crate::net) fn interface(ifindex: u32, kind: Kind) -> Interface {
    Interface {
        netns: NETNS,
        link: link(ifindex, kind),
        addresses: Vec::new(),
        is_uplink: false,
    }
}

fn veth(ifindex: u32) -> LinkEvent {
    LinkEvent::Present(Box::new(link(ifindex, Kind::Veth)))
}

fn address(ifindex: u32, address: &str, present: bool) -> AddressEvent {
    let address = Address {
        ifindex,
        address: address.parse().unwrap(),
        prefix_len: 24,
        scope: 0,
        flags: AddressFlags::default(),
    };
    if present {
        AddressEvent::Present(address)
    } else {
        AddressEvent::Gone(address)
    }
}

fn gone(ifindex: u32) -> Change {
    Change::Gone {
        netns: NETNS,
        ifindex,
    }
}

/// One word for each change.
fn changes(table: &mut Table) -> Vec<String> {
    let changes = table.finish();
    let words = changes.iter().map(|change| match change {
        Change::Appeared(interface) => format!("+{}", interface.link.ifindex),
        Change::Changed(interface) => format!("~{}", interface.link.ifindex),
        Change::Gone { ifindex, .. } => format!("-{ifindex}"),
    });
    words.collect()
}

#[test]
fn interfaces_come_change_and_go() {
    let mut inventory = Inventory::default();
    let table = inventory.table(NETNS);
    table.replace(vec![veth(2), veth(3)], vec![address(2, "10.0.0.1", true)]);
    assert_eq!(changes(table), ["+2", "+3"]);
    table.link(veth(2));
    assert_eq!(changes(table), [""; 0]);
    let mut renamed = link(2, Kind::Veth);
    renamed.name = "eth0".to_owned();
    table.link(LinkEvent::Present(Box::new(renamed)));
    table.link(LinkEvent::Gone(3));
    assert_eq!(changes(table), ["~2", "-3"]);
    let kept = inventory.iter().next().unwrap();
    assert_eq!(kept.link.name, "eth0");
    assert_eq!(kept.addresses.len(), 1);
    assert_eq!(inventory.remove(NETNS), [gone(2)]);
    assert_eq!(inventory.iter().count(), 0);
}

#[test]
fn a_short_life_is_not_reported_and_a_second_one_is() {
    let mut inventory = Inventory::default();
    let table = inventory.table(NETNS);
    table.link(veth(2));
    assert_eq!(changes(table), ["+2"]);
    table.link(veth(3));
    table.link(LinkEvent::Gone(3));
    // Out of the namespace and back: the probes on it are gone.
    table.link(LinkEvent::Gone(2));
    table.link(veth(2));
    assert_eq!(changes(table), ["-2", "+2"]);
    table.link(LinkEvent::Gone(9));
    table.address(address(9, "10.0.0.9", true));
    assert_eq!(changes(table), [""; 0]);
}

#[test]
fn a_new_listing_reports_the_difference() {
    let mut inventory = Inventory::default();
    let table = inventory.table(NETNS);
    table.replace(vec![veth(2), veth(3), veth(4)], Vec::new());
    changes(table);
    let other = LinkEvent::Present(Box::new(link(4, Kind::Bridge(Bridge::default()))));
    table.replace(vec![veth(2), other, veth(5)], Vec::new());
    assert_eq!(changes(table), ["-3", "-4", "+4", "+5"]);
}

#[test]
fn addresses_come_once_and_go() {
    let mut inventory = Inventory::default();
    let table = inventory.table(NETNS);
    table.replace(
        vec![veth(2)],
        vec![
            address(2, "10.0.0.1", true),
            address(2, "10.0.0.1", true),
            address(2, "fd00::1", true),
        ],
    );
    table.finish();
    let addresses = |inventory: &Inventory| -> Vec<String> {
        let all = inventory.iter().flat_map(|interface| &interface.addresses);
        all.map(ToString::to_string).collect()
    };
    assert_eq!(addresses(&inventory), ["10.0.0.1", "fd00::1"]);
    let table = inventory.table(NETNS);
    table.address(address(2, "10.0.0.1", false));
    table.address(address(2, "10.0.0.2", true));
    assert_eq!(changes(table), ["~2"]);
    assert_eq!(addresses(&inventory), ["10.0.0.2", "fd00::1"]);
}

#[test]
fn routes_make_uplinks() {
    let mut inventory = Inventory::default();
    let table = inventory.table(NETNS);
    table.replace(vec![veth(2), veth(3)], Vec::new());
    table.gateways([3].into());
    table.finish();
    let uplinks = |inventory: &Inventory| -> Vec<u32> {
        let all = inventory.iter().filter(|interface| interface.is_uplink);
        all.map(|interface| interface.link.ifindex).collect()
    };
    assert_eq!(uplinks(&inventory), [3]);
    let table = inventory.table(NETNS);
    table.gateways([2].into());
    assert_eq!(changes(table), ["~2", "~3"]);
    assert_eq!(uplinks(&inventory), [2]);
}
