//! A rule that lets a flow pass: in the model, and as a command.

use super::{
    flow::{Flow, Port},
    name::NftName,
};
use crate::{
    model::{Fix, Protocol, shell::Command},
    node::ruleset::{
        Ruleset,
        model::{Backend, Chain, Family, Rule, Statement, Table, Verdict},
    },
};

/// A rule that accepts a flow, and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Admission {
    pub(super) table: usize,
    pub(super) chain: usize,
    /// In front of the rule with this index; behind all of them if it is their number.
    pub(super) position: usize,
    pub(super) flow: Flow,
}

impl Admission {
    /// Puts the rule into the model.
    pub(super) fn apply(&self, ruleset: &mut Ruleset) {
        let mut statements = self.flow.conditions();
        statements.push(Statement::Verdict(Verdict::Accept));
        let chain = &mut ruleset.tables[self.table].chains[self.chain];
        let rule = Rule {
            handle: None,
            statements,
            counter: None,
            comment: None,
            log_prefix: None,
            text: String::new(),
        };
        chain.rules.insert(self.position, rule);
    }

    /// Takes it out again.
    pub(super) fn revert(&self, ruleset: &mut Ruleset) {
        let chain = &mut ruleset.tables[self.table].chains[self.chain];
        chain.rules.remove(self.position);
    }

    /// The command that makes it, before it is in the model.
    pub(super) fn fix(&self, ruleset: &Ruleset) -> Option<Fix> {
        let table = &ruleset.tables[self.table];
        let chain = &table.chains[self.chain];
        match table.is_iptables() {
            true => self.iptables(table, chain),
            false => self.nft(table, chain),
        }
    }

    fn nft(&self, table: &Table, chain: &Chain) -> Option<Fix> {
        let names = [&table.name, &chain.name].map(|name| NftName::new(name));
        let [Some(table_name), Some(chain_name)] = names else {
            return None;
        };
        let at = |command: Command| command.arg(table.family).arg(&table_name).arg(&chain_name);
        let behind = chain.rules.get(self.position..)?;
        // Rules of the model's own have no handle yet.
        let next = behind.iter().find_map(|rule| rule.handle);
        let place = match next {
            Some(handle) => at(Command::new("nft insert rule"))
                .words("position")
                .arg(handle),
            None if behind.is_empty() => at(Command::new("nft add rule")),
            None => return None,
        };
        // By its comment, the rule is found again: only the kernel knows the handle it gets.
        let comment = format!(
            "whydrop-{}-{:04x}",
            self.flow.name(),
            self.number(table, chain)
        );
        let find = format!("/ comment \"{comment}\" # handle /{{s/.* # handle //p;q;}}");
        let handle = at(Command::new("nft -a list chain")).pipe(Command::new("sed -n").arg(find));
        Some(Fix::change(
            self.nft_matches(place)?
                .words("accept comment")
                .arg(comment),
            at(Command::new("nft delete rule"))
                .words("handle")
                .output_of(handle),
        ))
    }

    fn nft_matches(&self, mut command: Command) -> Option<Command> {
        let flow = &self.flow;
        for (field, device) in [("iifname", &flow.input), ("oifname", &flow.output)] {
            if let Some(device) = device {
                // nft takes a `*` at its end for any rest, and so would the shell.
                command = command.words(field).arg(NftName::new(device)?);
            }
        }
        if flow.is_neighbor_discovery() {
            return Some(command.words("icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert }"));
        }
        let version = match flow.ends.src.is_ipv4() {
            true => "ip",
            false => "ip6",
        };
        command = command
            .words(version)
            .words("saddr")
            .arg(flow.ends.src)
            .words(version)
            .words("daddr")
            .arg(flow.ends.dst);
        let proto = Protocol::from(flow.proto);
        command = match (flow.port, flow.icmp_type) {
            (Some(Port::Source(port)), _) => command.arg(proto).words("sport").arg(port),
            (Some(Port::Destination(port)), _) => command.arg(proto).words("dport").arg(port),
            (None, Some(kind)) if flow.proto == 1 => command.words("icmp type").arg(kind),
            (None, Some(kind)) => command.words("icmpv6 type").arg(kind),
            (None, None) => command.words("meta l4proto").arg(flow.proto),
        };
        if let Some((mask, value)) = flow.mark {
            command = command
                .words("meta mark and")
                .arg(format!("{mask:#x}"))
                .words("==")
                .arg(format!("{value:#x}"));
        }
        if flow.established {
            command = command.words("ct state established");
        }
        Some(command)
    }

    fn iptables(&self, table: &Table, chain: &Chain) -> Option<Fix> {
        let tool = match (table.family, table.backend) {
            (Family::Ip, Backend::Nft) => "iptables-nft",
            (Family::Ip, Backend::Legacy) => "iptables-legacy",
            (Family::Ip6, Backend::Nft) => "ip6tables-nft",
            (Family::Ip6, Backend::Legacy) => "ip6tables-legacy",
            _ => return None,
        };
        let at = |action| {
            Command::new(tool)
                .words("-t")
                .arg(&table.name)
                .arg(action)
                .arg(&chain.name)
        };
        let place = match self.position {
            last if last == chain.rules.len() => at("-A"),
            position => at("-I").arg(position + 1),
        };
        if self.flow.is_neighbor_discovery() {
            let each = |command: Command, kind: u8| {
                command
                    .words("-p ipv6-icmp --icmpv6-type")
                    .arg(kind)
                    .words("-j ACCEPT")
            };
            let both = |command: Command| each(command.clone(), 135).and(each(command, 136));
            return Some(Fix::change(both(place), both(at("-D"))));
        }
        Some(Fix::change(
            self.iptables_matches(place).words("-j ACCEPT"),
            self.iptables_matches(at("-D")).words("-j ACCEPT"),
        ))
    }

    fn iptables_matches(&self, command: Command) -> Command {
        let flow = &self.flow;
        let proto = Protocol::from(flow.proto);
        let mut command = command
            .words("-s")
            .arg(flow.ends.src)
            .words("-d")
            .arg(flow.ends.dst);
        for (option, device) in [("-i", &flow.input), ("-o", &flow.output)] {
            if let Some(device) = device {
                command = command.words(option).arg(device);
            }
        }
        command = match (flow.proto, flow.icmp_type) {
            (58, _) => command.words("-p ipv6-icmp"),
            _ => command.words("-p").arg(proto),
        };
        command = match (flow.port, flow.icmp_type) {
            (Some(Port::Source(port)), _) => command.words("--sport").arg(port),
            (Some(Port::Destination(port)), _) => command.words("--dport").arg(port),
            (None, Some(kind)) if flow.proto == 58 => command.words("--icmpv6-type").arg(kind),
            (None, Some(kind)) => command.words("--icmp-type").arg(kind),
            (None, None) => command,
        };
        if let Some((mask, value)) = flow.mark {
            command = command
                .words("-m mark --mark")
                .arg(format!("{value:#x}/{mask:#x}"));
        }
        if flow.established {
            command = command.words("-m conntrack --ctstate ESTABLISHED");
        }
        command
    }

    /// Identifies it among other admissions, reproducibly: FNV-1a over all of its parts.
    fn number(&self, table: &Table, chain: &Chain) -> u16 {
        let text = format!(
            "{} {} {} {:?}",
            table.family, table.name, chain.name, self.flow
        );
        let hash = text.bytes().fold(0x811c_9dc5_u32, |hash, byte| {
            (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
        });
        (hash ^ (hash >> 16)) as u16
    }
}
