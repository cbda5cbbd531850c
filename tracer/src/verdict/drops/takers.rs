//! A tunnel's packet that no device of its kind takes, or that a device has no peer for: which devices and
//! peers there are, and why they do not fit.

use std::net::IpAddr;

use tracer_common::tunnel::Tunnel;

use super::{Finding, function, is_tunnelled};
use crate::{
    decode::drop::DropFacts,
    model::{Fix, Flow, shell::Command},
    net::{Kind, Link},
    node::facts::NodeFacts,
};

/// What is said of it.
pub(super) const NONE: &str = "no tunnel device takes the encapsulated packet here";

/// Functions that drop what no device has taken, and give no reason.
const UNTAKEN: [&str; 4] = ["tunnel4_rcv", "tunnel64_rcv", "tunnel6_rcv", "tunnel46_rcv"];
/// One that also drops packets whose header is broken.
const GRE: &str = "gre_rcv";

/// Whether the kernel found no device for it. Whether GRE's function did, the devices tell.
pub(super) fn is_refused(facts: &DropFacts, node: &NodeFacts) -> bool {
    if !is_tunnelled(facts) || facts.reason.is_specified() {
        return false;
    }
    let devices = node.around.alike.as_deref();
    UNTAKEN.contains(&function(facts))
        || function(facts) == GRE
            && facts.outer.is_some_and(|outer| {
                devices.is_some_and(|all| !all.iter().any(|link| link.up && fits(link, &outer)))
            })
}

/// Why a WireGuard device does not send a packet, where its peers show that.
pub(super) fn unsent_by_wireguard(
    facts: &DropFacts,
    node: &NodeFacts,
) -> Option<(&'static str, String)> {
    let device = node.around.wireguard.as_ref()?;
    (function(facts) == "wg_xmit").then_some(())?;
    let (name, dst) = (facts.ifname.as_deref()?, facts.flow.dst);
    match device.peer_of(dst) {
        None => Some((
            "peer",
            format!("no WireGuard peer of {name} has {dst} among its allowed IPs"),
        )),
        Some(peer) if peer.endpoint.is_none() => Some((
            "endpoint",
            format!(
                "the WireGuard peer of {name} for {dst} has no endpoint: none is configured, and it has \
                 sent nothing yet"
            ),
        )),
        Some(_) => None,
    }
}

/// Whether a device is for packets with these outer ends.
fn fits(link: &Link, outer: &Flow) -> bool {
    let is = |end: Option<IpAddr>, address| end.is_none_or(|end| end == address);
    let local = match &link.kind {
        Kind::IpTunnel(tunnel) => tunnel.local,
        Kind::Vxlan(vxlan) => vxlan.local,
        _ => None,
    };
    is(link.tunnel_remote(), outer.src) && is(local, outer.dst)
}

/// Which devices there are, and what to do if one that fits is down.
pub(super) fn explain(finding: &mut Finding, facts: &DropFacts, node: &NodeFacts) {
    let Some(outer) = facts.outer else { return };
    let tunnel = Tunnel::of(outer.proto.number(), outer.dport, outer.dst.is_ipv6());
    let (Some(devices), Some(tunnel)) = (&node.around.alike, tunnel) else {
        return;
    };
    let named: Vec<_> = devices.iter().map(|link| in_words(link, &outer)).collect();
    finding.evidence.insert(
        0,
        match named.as_slice() {
            [] => format!("this namespace has no {} device", tunnel.name()),
            named => format!("the {} devices here: {}", tunnel.name(), named.join(", ")),
        },
    );
    let mut fitting: Vec<_> = devices.iter().filter(|link| fits(link, &outer)).collect();
    // The kernel has a device without a remote of each kind, whether it is used or not.
    let is_exact = |link: &Link| link.tunnel_remote() == Some(outer.src);
    if fitting.iter().any(|link| is_exact(link)) {
        fitting.retain(|link| is_exact(link));
    }
    if let [link] = fitting.as_slice()
        && !link.up
    {
        let set = |state: &str| Command::new("ip link set dev").arg(&link.name).arg(state);
        finding.fix.push(Fix::change(set("up"), set("down")).noting(
            "if the sender is a node of this network; then have the CNI set its routes again",
        ));
    }
}

fn in_words(link: &Link, outer: &Flow) -> String {
    let state = match (link.up, link.tunnel_remote()) {
        (false, _) => "is down".to_owned(),
        (true, Some(remote)) if remote != outer.src => format!("is for {remote}"),
        (true, _) => "is up".to_owned(),
    };
    format!("{} {state}", link.name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        net::IpTunnel,
        verdict::{drop::judge, drops::tests::facts},
    };

    fn dropped(proto: u8, function: &str) -> DropFacts {
        DropFacts {
            outer: Some(Flow {
                proto: proto.into(),
                src: [192, 0, 2, 1].into(),
                sport: None,
                dst: [192, 0, 2, 2].into(),
                dport: None,
            }),
            ..facts("NOT_SPECIFIED", function)
        }
    }

    fn device(name: &str, up: bool, remote: Option<[u8; 4]>) -> Link {
        Link {
            name: name.to_owned(),
            up,
            kind: Kind::IpTunnel(IpTunnel {
                tunnel: Tunnel::Gre,
                kind: "gre",
                local: None,
                remote: remote.map(IpAddr::from),
                options: 0,
                external: false,
            }),
            ..Link::default()
        }
    }

    fn node(devices: &[Link]) -> NodeFacts {
        let mut node = NodeFacts::default();
        node.around.alike = Some(devices.to_vec());
        node.around.knows_vtep = Some(true);
        node
    }

    #[test]
    fn a_device_that_is_down_is_named_and_taken_up() {
        let verdict = judge(
            &dropped(4, "tunnel4_rcv"),
            &node(&[device("tunl0", false, None)]),
        );
        assert_eq!(verdict.why, NONE);
        assert_eq!(
            verdict.evidence[0],
            "the IP-in-IP devices here: tunl0 is down"
        );
        assert!(verdict.fix[0].text().contains("ip link set dev tunl0 up"));
        let none = judge(&dropped(4, "tunnel4_rcv"), &node(&[]));
        assert_eq!(none.evidence[0], "this namespace has no IP-in-IP device");
        assert!(none.fix.is_empty());
    }

    #[test]
    fn of_several_the_one_with_that_remote_is_taken_up() {
        let fixes = |devices: &[Link]| judge(&dropped(47, "gre_rcv"), &node(devices)).fix;
        let (spare, used) = (
            device("gre0", false, None),
            device("gre1", false, Some([192, 0, 2, 1])),
        );
        let fix = fixes(&[spare.clone(), used]);
        assert!(fix[0].text().contains("ip link set dev gre1 up"));
        let other = device("gre2", false, None);
        assert!(fixes(&[spare, other]).is_empty());
    }

    #[test]
    fn a_device_for_another_remote_does_not_take_it() {
        let others = [
            device("gre0", false, None),
            device("gre1", true, Some([192, 0, 2, 9])),
        ];
        let verdict = judge(&dropped(47, "gre_rcv"), &node(&others));
        assert_eq!(verdict.why, NONE);
        assert_eq!(
            verdict.evidence[0],
            "the GRE devices here: gre0 is down, gre1 is for 192.0.2.9"
        );
    }

    /// It may be the packet itself.
    #[test]
    fn gre_that_a_device_would_take_was_dropped_for_something_else() {
        let takes = [device("gre1", true, Some([192, 0, 2, 1]))];
        let verdict = judge(&dropped(47, "gre_rcv"), &node(&takes));
        assert_ne!(verdict.why, NONE);
    }
}
