//! What the tests of these modules share.

use crate::cluster::{
    objects::{ObjectName, Pod},
    view::{Object, View},
};

/// Puts a pod of the namespace `shop` on a node.
pub(super) fn pod(view: &mut View, name: &str, ip: &str, node: &str) {
    view.insert(Object::from(Pod {
        id: ObjectName::new("shop", name),
        ips: vec![ip.parse().expect("an address")],
        node: Some(node.to_owned()),
        ..Pod::default()
    }));
}
