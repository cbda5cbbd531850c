//! A tc classifier that drops.

use anyhow::Result;

use crate::{
    lab::{Family, Namespace},
    traffic::Protocol,
};

/// Into an interface or out of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Packets that come in.
    Ingress,
    /// Packets that go out.
    Egress,
}

/// Drops what goes to a port, in a `clsact` qdisc that stays until the namespace goes.
///
/// A classic BPF program in direct-action mode: four instructions on the command line, no object
/// file, no pinning.
pub fn drop_in_tc(
    namespace: &Namespace,
    ifname: &str,
    direction: Direction,
    family: Family,
    protocol: Protocol,
    port: u16,
) -> Result<()> {
    // Offsets from the Ethernet header; the lab's packets have neither options nor extensions.
    let next_header = family.pick(23, 20);
    let destination_port = family.pick(36, 56);
    let protocol = match protocol {
        Protocol::Tcp => libc::IPPROTO_TCP,
        Protocol::Udp => libc::IPPROTO_UDP,
    };
    const SHOT: u32 = 2;
    const UNSPEC: u32 = u32::MAX;
    let program = [
        format!("48 0 0 {next_header}"),
        format!("21 0 3 {protocol}"),
        format!("40 0 0 {destination_port}"),
        format!("21 0 1 {port}"),
        format!("6 0 0 {SHOT}"),
        format!("6 0 0 {UNSPEC}"),
    ];

    let direction = match direction {
        Direction::Ingress => "ingress",
        Direction::Egress => "egress",
    };
    let qdiscs = namespace.run(&format!("tc qdisc show dev {ifname}"))?;
    if !qdiscs.contains("clsact") {
        namespace.run(&format!("tc qdisc add dev {ifname} clsact"))?;
    }
    let ether_type = family.pick("ip", "ipv6");
    let priority = family.pick(4, 6);
    let bytecode = format!("{},{}", program.len(), program.join(","));
    // One argument with blanks in it, so it cannot go through `run`.
    namespace.enter(|| {
        crate::lab::output(std::process::Command::new("tc").args([
            "filter",
            "add",
            "dev",
            ifname,
            direction,
            "priority",
            &priority.to_string(),
            "protocol",
            ether_type,
            "bpf",
            "direct-action",
            "bytecode",
            &bytecode,
        ]))
        .map(drop)
    })
}
