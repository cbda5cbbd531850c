//! The smallest change that lets a packet pass a user's rule.

use super::{
    condition::protocol,
    model::{Backend, Family, Verdict},
    owner::Owner,
    packet::HookPacket,
    suspects::{Suspect, Suspects},
};
use crate::node::change::{Change, quoted};

impl Suspects {
    /// The fix, where one rule of the user's is left. What others made they would make again.
    pub fn fix(&self, packet: &HookPacket) -> Option<Change> {
        match self.rules.as_slice() {
            [suspect] if self.certain && suspect.owner == Owner::User => fix(suspect, packet),
            _ => None,
        }
    }
}

fn fix(suspect: &Suspect, packet: &HookPacket) -> Option<Change> {
    if suspect.verdict == Verdict::Queue {
        return None;
    }
    let flow = Flow::of(packet);
    if suspect.is_iptables() {
        iptables(suspect, &flow)
    } else {
        nft(suspect, &flow, packet)
    }
}

/// What the new rule is to match: the server's port only, so that new connections of the same
/// client match as well.
struct Flow {
    proto: Option<&'static str>,
    src: String,
    dst: String,
    port: Option<(&'static str, u16)>,
}

impl Flow {
    fn of(packet: &HookPacket) -> Self {
        let names = ["tcp", "udp", "sctp"];
        let proto = names
            .into_iter()
            .find(|name| protocol(name) == Some(packet.proto));
        // An answer's source is the server: SYN-ACK, or from a well-known port to an ephemeral one.
        let is_answer = packet.tcp_flags.is_some_and(|flags| flags & 0x12 == 0x12)
            || matches!((packet.sport, packet.dport), (Some(..1024), Some(32768..)));
        let port = match is_answer {
            true => packet.sport.map(|port| ("sport", port)),
            false => packet.dport.map(|port| ("dport", port)),
        };
        Self {
            proto,
            src: packet.src.to_string(),
            dst: packet.dst.to_string(),
            port: port.filter(|_| proto.is_some()),
        }
    }
}

fn nft(suspect: &Suspect, flow: &Flow, packet: &HookPacket) -> Option<Change> {
    let version = if packet.src.is_ipv4() { "ip" } else { "ip6" };
    let transport = match (flow.proto, flow.port) {
        (Some(proto), Some((side, port))) => format!("{proto} {side} {port}"),
        _ => format!("meta l4proto {}", packet.proto),
    };
    let Flow { src, dst, .. } = flow;
    let matches = format!("{version} saddr {src} {version} daddr {dst} {transport}");
    let (family, table, chain) = (
        suspect.family,
        quoted(&suspect.table),
        quoted(&suspect.chain),
    );
    let place = format!("{family} {table} {chain}");
    let command = match (suspect.number, suspect.handle) {
        (None, _) => format!("add rule {place}"),
        (Some(_), Some(handle)) => format!("insert rule {place} position {handle}"),
        (Some(_), None) => return None,
    };
    Some(Change {
        // By its comment, the rule is found again: only the kernel knows the handle it gets.
        apply: format!("nft {command} {matches} accept comment whydrop"),
        undo: format!(
            "nft delete rule {place} handle $(nft -a list chain {place} | sed -n \
             's/.* comment \"whydrop\" # handle //p')"
        ),
    })
}

fn iptables(suspect: &Suspect, flow: &Flow) -> Option<Change> {
    let tool = match (suspect.family, suspect.backend) {
        (Family::Ip, Backend::Nft) => "iptables-nft",
        (Family::Ip, Backend::Legacy) => "iptables-legacy",
        (Family::Ip6, Backend::Nft) => "ip6tables-nft",
        (Family::Ip6, Backend::Legacy) => "ip6tables-legacy",
        _ => return None,
    };
    let mut matches = format!("-s {} -d {}", flow.src, flow.dst);
    if let Some(proto) = flow.proto {
        matches.push_str(&format!(" -p {proto}"));
        if let Some((side, port)) = flow.port {
            matches.push_str(&format!(" --{side} {port}"));
        }
    }
    let (table, chain) = (quoted(&suspect.table), quoted(&suspect.chain));
    let command = match suspect.number {
        Some(number) => format!("-I {chain} {number}"),
        None => format!("-A {chain}"),
    };
    Some(Change {
        apply: format!("{tool} -t {table} {command} {matches} -j ACCEPT"),
        undo: format!("{tool} -t {table} -D {chain} {matches} -j ACCEPT"),
    })
}
