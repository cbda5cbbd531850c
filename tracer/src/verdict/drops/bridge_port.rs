//! Frames for which a bridge finds no port to send them by, and ports that let no stranger in.

use super::{Concern, Finding, function, other_host::destination_mac};
use crate::{
    decode::drop::DropFacts,
    model::{Confidence::Likely, Fix, Point, shell::Command},
    node::{
        facts::NodeFacts,
        world::{Link, Mac, PortState, World},
    },
};

/// The same reason of a tunnel device means that it knows no VTEP.
pub(super) fn is_of_bridge(facts: &DropFacts) -> bool {
    function(facts).starts_with("br_")
}

pub(super) fn lacks_target(facts: &DropFacts) -> Concern {
    Concern::surely(facts.reason.is("NO_TX_TARGET") && is_of_bridge(facts))
}

/// The bridge has no FDB entry for the frame, and floods it to no port.
pub(super) fn no_target(facts: &DropFacts, node: &NodeFacts) -> Option<Finding> {
    let seen = node.world.as_deref().and_then(|world| {
        let at = world.link_named(facts.netns?, facts.ifname.as_deref()?)?;
        let bridge = match at.bridge() {
            Some(_) => at,
            None => world.link(at.sibling(at.master?))?,
        };
        Some(Bridged { world, at, bridge })
    });
    let mac = destination_mac(facts);
    let frame = match &mac {
        Some(mac) => format!("the frame for MAC address {mac}"),
        None => "the frame".to_owned(),
    };
    let Some(seen) = seen else {
        let why = format!("a bridge has no port to send {frame} by");
        return Some(Finding::new(Point::Route, Likely, why));
    };
    let is_group = mac
        .as_ref()
        .is_some_and(|mac| mac.0.first().is_some_and(|byte| byte & 1 == 1));
    let (bridge, others) = (&seen.bridge.name, seen.other_ports());
    let name = |link: &&Link| link.name.clone();
    let quiet: Vec<_> = others.iter().filter(|port| is_quiet(port)).collect();
    let entry = mac.as_ref().and_then(|mac| seen.port_of(mac));
    let why = match others.as_slice() {
        [] => format!("the bridge {bridge} has no other port to send {frame} by"),
        _ if !is_group && entry.is_none() && quiet.len() == others.len() => {
            let names: Vec<_> = others.iter().map(name).collect();
            format!(
                "no port of the bridge {bridge} has an FDB entry for {frame}, and flooding is off \
                 at {}",
                names.join(", ")
            )
        }
        _ => format!("the bridge {bridge} sends {frame} by none of its ports"),
    };
    let mut finding = Finding::new(Point::Route, Likely, why).about(&[bridge]);
    finding.evidence = others
        .iter()
        .filter_map(|port| seen.refusal(port))
        .collect();
    if let Some(port) = entry {
        finding.fact(format!("its FDB has an entry for it at {} now", port.name));
    }
    if let Some(lost) = seen.lost_port(facts) {
        finding.fact(format!(
            "{} is behind {lost}, which is no port of {bridge}",
            facts.flow.dst
        ));
    }
    if !is_group && let ([only], None) = (quiet.as_slice(), entry) {
        let flood = |state: &'static str| {
            Command::new("bridge link set dev")
                .arg(&only.name)
                .words("flood")
                .words(state)
        };
        finding.fix.push(Fix::change(flood("on"), flood("off")));
    }
    Some(finding)
}

/// A bridge, and where a frame came to it: one of its ports, or itself.
struct Bridged<'a> {
    world: &'a World,
    at: &'a Link,
    bridge: &'a Link,
}

impl<'a> Bridged<'a> {
    fn other_ports(&self) -> Vec<&'a Link> {
        let Some(namespace) = self.world.namespace(self.bridge.id.netns) else {
            return Vec::new();
        };
        let ports = namespace.links.values();
        ports
            .filter(|link| link.master == Some(self.bridge.id.ifindex) && link.id != self.at.id)
            .collect()
    }

    /// Why a port takes no flooded frame, if its settings show it.
    fn refusal(&self, port: &Link) -> Option<String> {
        let (name, settings) = (&port.name, port.port?);
        let came_by = self.at.port;
        if settings.state != PortState::Forwarding {
            return Some(format!("the port {name} is {}", settings.state));
        }
        if settings.isolated && came_by.is_some_and(|port| port.isolated) {
            return Some(format!("{} and {name} are both isolated", self.at.name));
        }
        (!settings.unicast_flood).then(|| format!("flooding is off at {name}"))
    }

    /// The port that has an FDB entry for an address.
    fn port_of(&self, mac: &Mac) -> Option<&'a Link> {
        let fdb = self.world.namespace(self.bridge.id.netns)?.fdb.as_ref()?;
        let mut entries = fdb.iter();
        let entry =
            entries.find(|entry| entry.bridge == self.bridge.id.ifindex && entry.mac == *mac)?;
        self.world.link(self.bridge.sibling(entry.ifindex))
    }

    /// The link that the destination is behind, if it is beside the bridge and no port of it.
    fn lost_port(&self, facts: &DropFacts) -> Option<&'a str> {
        let holders = self.world.holders(facts.flow.dst);
        let ends = holders
            .iter()
            .filter_map(|holder| self.world.link(self.world.link(holder.link)?.other_end()?));
        let mut beside = ends.filter(|end| end.id.netns == self.bridge.id.netns);
        let end = beside.find(|end| end.master != Some(self.bridge.id.ifindex))?;
        Some(&end.name)
    }
}

fn is_quiet(port: &Link) -> bool {
    port.port.is_some_and(|port| !port.unicast_flood)
}

/// A locked port lets only those in whose MAC address has an entry there (802.1X).
pub(super) fn locked(facts: &DropFacts, node: &NodeFacts) -> Option<Finding> {
    let world = node.world.as_deref()?;
    let port = world.link_named(facts.netns?, facts.ifname.as_deref()?)?;
    port.port?.locked.then_some(())?;
    let mac = Mac(facts.wire.as_deref()?.src_mac?.to_vec());
    let fdb = world.namespace(port.id.netns)?.fdb.as_ref()?;
    let mut entries = fdb.iter();
    if entries.any(|entry| entry.ifindex == port.id.ifindex && entry.mac == mac) {
        return None;
    }
    let name = &port.name;
    let why = format!(
        "the bridge port {name} is locked, and MAC address {mac} of the sender has no FDB entry there"
    );
    Some(Finding {
        fix: vec![Fix::advice(format!(
            "if that sender is to be let in, authorize it at the port (802.1X), or add its entry: \
             `bridge fdb replace {mac} dev {name} master static`"
        ))],
        ..Finding::new(Point::Route, Likely, why).about(&[name])
    })
}
