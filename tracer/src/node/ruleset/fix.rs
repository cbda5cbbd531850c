//! The smallest change that lets a packet pass a user's rule.

use super::{
    model::{Backend, Family, Verdict},
    owner::Owner,
    packet::HookPacket,
    suspects::{Suspect, Suspects},
};
use crate::model::{self, Protocol, shell::Command};

impl Suspects {
    /// The fix, where one rule of the user's is left. What others made they would make again.
    pub fn fix(&self, packet: &HookPacket) -> Option<model::Fix> {
        match self.rules.as_slice() {
            [suspect] if self.certain && suspect.owner == Owner::User => {
                // What fits no connection is refused for good reason: the connection is to be
                // mended, not the rule.
                (!packet.is_invalid()).then(|| fix(suspect, packet))?
            }
            _ => None,
        }
    }
}

fn fix(suspect: &Suspect, packet: &HookPacket) -> Option<model::Fix> {
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
    proto: Option<Protocol>,
    src: String,
    dst: String,
    port: Option<(&'static str, u16)>,
}

impl Flow {
    fn of(packet: &HookPacket) -> Self {
        let with_ports = [Protocol::Tcp, Protocol::Udp, Protocol::Sctp];
        let proto = Some(Protocol::from(packet.proto)).filter(|proto| with_ports.contains(proto));
        // An answer's source is the server: SYN-ACK, or from a well-known port to an ephemeral one.
        let is_answer = packet.tcp_flags.is_some_and(|flags| flags & 0x12 == 0x12)
            || matches!(
                (packet.ends.sport, packet.ends.dport),
                (Some(..1024), Some(32768..))
            );
        let port = match is_answer {
            true => packet.ends.sport.map(|port| ("sport", port)),
            false => packet.ends.dport.map(|port| ("dport", port)),
        };
        Self {
            proto,
            src: packet.ends.src.to_string(),
            dst: packet.ends.dst.to_string(),
            port: port.filter(|_| proto.is_some()),
        }
    }
}

fn nft(suspect: &Suspect, flow: &Flow, packet: &HookPacket) -> Option<model::Fix> {
    let version = if packet.ends.src.is_ipv4() {
        "ip"
    } else {
        "ip6"
    };
    let chain = |command: Command| {
        command
            .arg(suspect.family)
            .arg(&suspect.table)
            .arg(&suspect.chain)
    };
    let place = match (suspect.number, suspect.handle) {
        (None, _) => chain(Command::new("nft add rule")),
        (Some(_), Some(handle)) => chain(Command::new("nft insert rule"))
            .words("position")
            .arg(handle),
        (Some(_), None) => return None,
    };
    let addresses = place
        .arg(version)
        .words("saddr")
        .arg(&flow.src)
        .arg(version)
        .words("daddr")
        .arg(&flow.dst);
    let transport = match (flow.proto, flow.port) {
        (Some(proto), Some((side, port))) => addresses.arg(proto).arg(side).arg(port),
        _ => addresses.words("meta l4proto").arg(packet.proto),
    };
    // By its comment, the rule is found again: only the kernel knows the handle it gets.
    let handle = chain(Command::new("nft -a list chain"))
        .pipe(Command::new("sed -n").arg(r#"s/.* comment "whydrop" # handle //p"#));
    Some(model::Fix::change(
        transport.words("accept comment whydrop"),
        chain(Command::new("nft delete rule"))
            .words("handle")
            .output_of(handle),
    ))
}

fn iptables(suspect: &Suspect, flow: &Flow) -> Option<model::Fix> {
    let tool = match (suspect.family, suspect.backend) {
        (Family::Ip, Backend::Nft) => "iptables-nft",
        (Family::Ip, Backend::Legacy) => "iptables-legacy",
        (Family::Ip6, Backend::Nft) => "ip6tables-nft",
        (Family::Ip6, Backend::Legacy) => "ip6tables-legacy",
        _ => return None,
    };
    let at = |action| {
        Command::new(tool)
            .words("-t")
            .arg(&suspect.table)
            .arg(action)
            .arg(&suspect.chain)
    };
    let rule = |command: Command| {
        let mut command = command
            .words("-s")
            .arg(&flow.src)
            .words("-d")
            .arg(&flow.dst);
        if let Some(proto) = flow.proto {
            command = command.words("-p").arg(proto);
            if let Some((side, port)) = flow.port {
                command = command.arg(format!("--{side}")).arg(port);
            }
        }
        command.words("-j ACCEPT")
    };
    let apply = match suspect.number {
        Some(number) => at("-I").arg(number),
        None => at("-A"),
    };
    Some(model::Fix::change(rule(apply), rule(at("-D"))))
}
