//! What to do about a rule of an agent's: it makes its rules anew, so its own setting is named.

use super::{Mending, calico};
use crate::{
    model::{Fix, Hook, Protocol, shell::Command},
    node::ruleset::{
        Ruleset,
        model::{Statement, Verdict},
        owner::Owner,
        packet::HookPacket,
        suspects::Suspect,
    },
};

/// The agent's own setting.
pub(super) fn of_owner(ruleset: &Ruleset, suspect: &Suspect, packet: &HookPacket) -> Mending {
    let advice = |sentence: &str| vec![Fix::advice(sentence)];
    let src = packet.ends.src;
    if suspect.owner == Owner::Firewalld && suspect.text.contains("fib saddr") {
        return reverse_path(packet);
    }
    if suspect.owner == Owner::Calico {
        return calico::of_no_policy(suspect, packet);
    }
    let fixes = match suspect.owner {
        Owner::Firewalld => firewalld(ruleset, suspect, packet),
        Owner::Ufw => ufw(packet).into_iter().collect(),
        Owner::Fail2ban => fail2ban(suspect, packet),
        Owner::CrowdSec => vec![Fix::command(
            Command::new("cscli decisions delete --ip").arg(src),
        )],
        Owner::Docker => advice(
            "Docker keeps its networks apart: publish the port (`docker run -p`), or attach both \
             containers to one network",
        ),
        Owner::Podman => {
            advice("Podman keeps its networks apart: attach both containers to one network")
        }
        Owner::CniPlugin => advice(
            "set `ingressPolicy` in the configuration of the CNI firewall plugin: `same-bridge` \
             keeps bridges apart, `open` does not",
        ),
        Owner::Tailscale => advice(
            "Tailscale drops what comes from its own addresses through another interface: use other \
             addresses for that network, or `tailscale set --netfilter-mode=nodivert`",
        ),
        Owner::Neutron => advice("add a security group rule, or an FWaaS rule, in OpenStack"),
        Owner::Lxd => {
            advice("add an ACL rule to the network (`lxc network acl`, `incus network acl`)")
        }
        Owner::Libvirt => advice(
            "libvirt admits no one to a NAT network: use a routed or open network \
             (`virsh net-edit`, `<forward mode=\"open\"/>`)",
        ),
        Owner::Istio => {
            advice("change the traffic redirection of the Istio sidecar, by its annotations")
        }
        Owner::Aws => advice(
            "change the settings of the AWS VPC CNI (`kubectl -n kube-system set env daemonset aws-node`)",
        ),
        _ => Vec::new(),
    };
    Mending {
        fixes,
        remarks: Vec::new(),
    }
}

/// No matter who made the rule, it was not meant for these.
pub(super) fn of_neighbor_discovery(suspect: &Suspect) -> Mending {
    let place = match suspect.number {
        None => "in that chain",
        Some(_) => "in front of that rule",
    };
    Mending {
        fixes: vec![Fix::advice(format!(
            "accept ICMPv6 types 135 and 136 (neighbor discovery) {place}"
        ))],
        remarks: Vec::new(),
    }
}

/// firewalld's own reverse-path check of IPv6.
fn reverse_path(packet: &HookPacket) -> Mending {
    let src = packet.ends.src;
    let remark = match packet.input.name() {
        Some(name) => format!(
            "it is firewalld's reverse-path check (IPv6_rpfilter): {src} is not routed back by {name}"
        ),
        None => "it is firewalld's reverse-path check (IPv6_rpfilter)".to_owned(),
    };
    Mending {
        fixes: vec![Fix::advice(
            "set IPv6_rpfilter=loose in /etc/firewalld/firewalld.conf, then `firewall-cmd --reload`",
        )],
        remarks: vec![remark],
    }
}

/// A rich rule in the zone of the interface, where the zone is known and the packet is for the host.
fn firewalld(ruleset: &Ruleset, suspect: &Suspect, packet: &HookPacket) -> Vec<Fix> {
    let zone =
        zone_of_chain(&suspect.chain).or_else(|| zone_of_interface(ruleset, suspect, packet));
    let proto = Protocol::from(packet.proto);
    let (true, Some(port), Some(zone)) =
        (packet.hook == Some(Hook::Input), packet.ends.dport, zone)
    else {
        return vec![Fix::advice(
            "add a rich rule to the zone, or a policy between the zones, in firewalld \
             (`firewall-cmd --list-all-zones`, `firewall-cmd --list-all-policies`)",
        )];
    };
    let family = match packet.ends.src.is_ipv4() {
        true => "ipv4",
        false => "ipv6",
    };
    let rule = format!(
        "rule family={family} source address={} port port={port} protocol={proto} accept",
        packet.ends.src
    );
    let command = |action: &str| {
        Command::new("firewall-cmd")
            .arg(format!("--zone={zone}"))
            .arg(format!("--{action}-rich-rule={rule}"))
    };
    vec![Fix::change(command("add"), command("remove"))]
}

/// `IN_work_allow`, `filter_IN_work`.
fn zone_of_chain(chain: &str) -> Option<String> {
    let name = chain.strip_prefix("filter_").unwrap_or(chain);
    let name = name.strip_prefix("IN_")?;
    let parts = ["_pre", "_log", "_deny", "_allow", "_post"];
    let zone = parts.iter().find_map(|part| name.strip_suffix(part));
    let zone = zone.unwrap_or(name);
    // Policies have chains of the same form.
    (!zone.starts_with("policy_")).then(|| zone.to_owned())
}

/// The zone that the jump for the interface leads to.
fn zone_of_interface(ruleset: &Ruleset, suspect: &Suspect, packet: &HookPacket) -> Option<String> {
    let table = &ruleset.tables[suspect.at.table];
    let zones = ["INPUT_ZONES", "filter_INPUT_ZONES"];
    let chain = zones.iter().find_map(|name| table.chain(name))?;
    let name = packet.input.name()?;
    let rules = table.chains[chain].rules.iter();
    let mut targets = rules.filter_map(|rule| {
        let target = rule
            .statements
            .iter()
            .find_map(|statement| match statement {
                Statement::Verdict(Verdict::Jump(target) | Verdict::Goto(target)) => Some(target),
                _ => None,
            })?;
        let mut words = rule.text.split([' ', '"']);
        words.any(|word| word == name).then_some(target)
    });
    targets.find_map(|target| zone_of_chain(target))
}

/// `ufw allow`, or `ufw route allow` for what is forwarded.
fn ufw(packet: &HookPacket) -> Option<Fix> {
    let port = packet.ends.dport?;
    let start = |words: &[&'static str]| {
        let route = match packet.hook {
            Some(Hook::Forward) => Command::new("ufw route"),
            _ => Command::new("ufw"),
        };
        words
            .iter()
            .fold(route, |command, word| command.words(word))
    };
    let rule = |command: Command| {
        command
            .words("allow proto")
            .arg(Protocol::from(packet.proto))
            .words("from")
            .arg(packet.ends.src)
            .words("to")
            .arg(packet.ends.dst)
            .words("port")
            .arg(port)
    };
    (matches!(packet.proto, 6 | 17) && packet.hook != Some(Hook::Output))
        .then(|| Fix::change(rule(start(&["insert 1"])), rule(start(&["delete"]))))
}

/// `f2b-JAIL`, and `addr-set-JAIL` in nft.
fn fail2ban(suspect: &Suspect, packet: &HookPacket) -> Vec<Fix> {
    let src = packet.ends.src;
    let by_set = || {
        let (_, rest) = suspect
            .text
            .split_once("addr-set-")
            .or(suspect.text.split_once("addr6-set-"))?;
        rest.split(|c: char| !c.is_ascii_alphanumeric() && c != '-' && c != '_')
            .next()
    };
    let by_chain = suspect
        .chain
        .strip_prefix("f2b-")
        .filter(|name| *name != "chain");
    let Some(jail) = by_chain.or_else(by_set).filter(|jail| !jail.is_empty()) else {
        return vec![Fix::advice(format!(
            "fail2ban has banned {src}: `fail2ban-client banned {src}` says in which jail"
        ))];
    };
    let command = |action: &'static str| {
        Command::new("fail2ban-client set")
            .arg(jail)
            .words(action)
            .arg(src)
    };
    vec![Fix::change(command("unbanip"), command("banip"))]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zone_is_known_by_its_chains() {
        assert_eq!(zone_of_chain("IN_work_allow").as_deref(), Some("work"));
        assert_eq!(zone_of_chain("filter_IN_public").as_deref(), Some("public"));
        assert_eq!(
            zone_of_chain("filter_IN_policy_allow-host").as_deref(),
            None
        );
        assert_eq!(zone_of_chain("FWDO_dmz"), None);
    }
}
