//! Who made a rule, and what to do about it.

use super::*;

/// Owner and meaning of the one rule, and the lines that are proposed.
#[track_caller]
fn owned(name: &str, packet: &HookPacket, owner: Owner, meaning: Meaning) -> Vec<String> {
    let ruleset = case(name);
    let rule = convicted(&ruleset, packet);
    assert_eq!(
        (rule.owner, rule.meaning),
        (owner, meaning),
        "{}",
        rule.describe()
    );
    fixes(&ruleset, packet)
        .into_iter()
        .map(|(line, _)| line)
        .collect()
}

/// What is proposed is for reading, not for pasting.
#[track_caller]
fn advises(name: &str, packet: &HookPacket, owner: Owner, words: &str) {
    let lines = owned(name, packet, owner, Meaning::Plain);
    let is_command = |line: &&String| line.starts_with("iptables") || line.starts_with("nft");
    assert_eq!(lines.iter().find(is_command), None);
    assert!(lines.iter().any(|line| line.contains(words)), "{lines:#?}");
}

fn through(input: &str, output: &str) -> HookPacket {
    HookPacket {
        input: device(input),
        output: device(output),
        ..forwarded(80)
    }
}

#[test]
fn an_agents_block_in_forward_is_a_policy() {
    let packet = through("eth0", "weave");
    assert_eq!(
        owned("5a", &packet, Owner::Weave, Meaning::PolicyEnforcement),
        [""; 0]
    );
    // The same on the way out of a pod.
    let packet = through("weave", "eth0");
    let lines = owned(
        "weave-egress",
        &packet,
        Owner::Weave,
        Meaning::PolicyEnforcement,
    );
    assert_eq!(lines, [""; 0]);
    // What stands behind the block, or for another interface, is the user's.
    let packet = through("eth1", "eth0");
    owned("weave-egress", &packet, Owner::User, Meaning::Plain);
}

#[test]
fn agents_are_known_by_their_chains() {
    advises(
        "5b",
        &delivered(80),
        Owner::Tailscale,
        "netfilter-mode=nodivert",
    );
    advises(
        "5c",
        &through("podman1", "podman2"),
        Owner::Podman,
        "one network",
    );
    advises(
        "5d",
        &through("cni1", "cni2"),
        Owner::CniPlugin,
        "ingressPolicy",
    );
    advises(
        "5e",
        &through("va", "qr-30"),
        Owner::Neutron,
        "security group",
    );
    advises("owners", &through("va", "lxdbr0"), Owner::Lxd, "acl");
    advises(
        "owners",
        &through("va", "virbr0"),
        Owner::Libvirt,
        "net-edit",
    );
    let lines = owned("owners", &delivered(81), Owner::CrowdSec, Meaning::Plain);
    assert_eq!(lines, ["cscli decisions delete --ip 10.30.1.2"]);
    let lines = owned("owners", &delivered(22), Owner::Fail2ban, Meaning::Plain);
    assert_eq!(lines, ["fail2ban-client set sshd unbanip 10.30.1.2"]);
}

#[test]
fn agents_are_known_by_comments() {
    advises(
        "comments",
        &through("cni1", "cni9"),
        Owner::CniPlugin,
        "ingressPolicy",
    );
    // In no chain of Calico's own, it is taken for what most of its rules are.
    let lines = owned(
        "comments",
        &through("va", "cali7"),
        Owner::Calico,
        Meaning::PolicyEnforcement,
    );
    assert_eq!(lines, [""; 0]);
}

#[test]
fn chains_for_the_users_rules_are_the_users() {
    let packet = through("eth0", "vb");
    let lines = owned("5f", &packet, Owner::User, Meaning::Plain);
    assert_eq!(
        lines,
        [
            "iptables-nft -t filter -I DOCKER-USER 1 -s 10.30.1.2 -d 10.30.2.2 -i eth0 -p tcp --dport \
          80 -j ACCEPT"
        ]
    );
    owned(
        "owners",
        &through("va", "cniuser"),
        Owner::User,
        Meaning::Plain,
    );
}

#[test]
fn firewalls_take_their_own_commands() {
    let lines = owned("5g", &delivered(80), Owner::Firewalld, Meaning::Plain);
    assert_eq!(
        lines,
        [
            "firewall-cmd --zone=work '--add-rich-rule=rule family=ipv4 source address=10.30.1.2 port \
          port=80 protocol=tcp accept'"
        ]
    );
    advises("6b", &forwarded(80), Owner::Firewalld, "firewall-cmd");
    let lines = owned("ufw", &delivered(8080), Owner::Ufw, Meaning::Plain);
    assert_eq!(
        lines,
        ["ufw insert 1 allow proto tcp from 10.30.1.2 to 10.30.1.1 port 8080"]
    );
    let lines = owned("ufw", &forwarded(8080), Owner::Ufw, Meaning::Plain);
    assert_eq!(
        lines,
        ["ufw route insert 1 allow proto tcp from 10.30.1.2 to 10.30.2.2 port 8080"]
    );
}

/// The interface that the packet came in through is not the one that its sender is routed to.
#[test]
fn firewalld_s_reverse_path_check_is_named() {
    let from_elsewhere = |reverse_path| HookPacket {
        hook: Some(Hook::Prerouting),
        output: Device::None,
        ends: ends("2001:db8:77::7", 40000, "2001:db8:1::1", 80),
        tracked: Tracked::Nothing,
        header: None,
        host: Arc::new(Host {
            reverse_path: Some(reverse_path),
            ..(*node()).clone()
        }),
        ..forwarded(80)
    };
    let packet = from_elsewhere(false);
    advises(
        "firewalld-rpfilter",
        &packet,
        Owner::Firewalld,
        "IPv6_rpfilter=loose",
    );
    let ruleset = case("firewalld-rpfilter");
    names(
        &ruleset,
        &packet,
        "filter_PREROUTING",
        "fib saddr . mark . iif oif missing drop",
    );
    let found = suspects(&ruleset, &packet);
    let remarks = ruleset.mend(&found, &packet).remarks;
    assert!(
        remarks[0].contains("2001:db8:77::7 is not routed back by va"),
        "{remarks:?}"
    );
    clears(&ruleset, &from_elsewhere(true));
}
