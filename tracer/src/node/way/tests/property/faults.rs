//! What may be wrong with a network.

use super::{
    addresses::Family,
    plan::{Attached, PORT, Plan, Pod, SOURCE_PORT, Target},
    random::Random,
};

#[derive(Clone, Debug)]
pub(super) enum Fault {
    /// A command of ip(8) in a namespace, after everything was made.
    Ip(String, String),
    /// A setting of a namespace.
    Setting(String, String, u64),
    /// A rule that drops, in a namespace.
    Rule(String, String),
    /// A command of bridge(8) in a namespace.
    Bridge(String, String),
    /// A namespace marks what comes in, and a policy rule refuses that mark, or another one.
    Marked(String, u32),
    /// A namespace exempts what comes in from tracking, and so from NAT.
    Untracked(String),
}

impl Fault {
    pub(super) fn random(plan: &Plan, random: &mut Random) -> Self {
        let pod = *random.pick(&plan.pods);
        let node = format!("n{}", pod.node);
        let (port, name) = (pod.port(), pod.name());
        let any = random.pick(&plan.namespaces()).clone();
        let nodes = ["n1".to_owned(), "n2".to_owned()];
        let some_node = random.pick(&nodes).clone();
        let ip = |netns: &str, command: String| Self::Ip(netns.to_owned(), command);
        let family = plan.family;
        let (settings, bits) = (family.settings(), family.bits());
        let setting =
            |netns: &str, path: String, value| Self::Setting(netns.to_owned(), path, value);
        let is_bridged = pod.attached == Attached::Bridge;
        match random.below(30) {
            0 => setting(&some_node, family.forwarding().to_owned(), 0),
            1 if pod.attached == Attached::Route => {
                setting(&node, format!("{settings}/conf/{port}/forwarding"), 0)
            }
            2 => ip(&some_node, route_away(family, &some_node)),
            3 => {
                let to = plan.address(Target::Pod(pod.number.into()));
                ip(&some_node, format!("route replace blackhole {to}/{bits}"))
            }
            4 => ip(&name, "link set eth0 down".to_owned()),
            5 if is_bridged => ip(&node, format!("link set {port} nomaster")),
            6 if is_bridged => isolate(plan, pod),
            7 => Self::Rule(any, rule(plan, random)),
            8 => {
                let hop = plan.address(Target::Pod(pod.number.into()));
                let dev = match pod.attached {
                    Attached::Route => port,
                    _ => "br0".to_owned(),
                };
                let bogus = "02:de:ad:be:ef:01";
                ip(
                    &node,
                    format!("neigh replace {hop} lladdr {bogus} dev {dev} nud permanent"),
                )
            }
            9 => strict_reverse_path(family, &some_node),
            10 if is_bridged => {
                let state = random.below(5);
                Self::Bridge(node, format!("link set dev {port} state {state}"))
            }
            11 => ip(&name, "route del default".to_owned()),
            12 => ip(&any, "rule del pref 0".to_owned()),
            13 if is_bridged => Self::Bridge(node, format!("vlan del dev {port} vid 1")),
            14 => ip(&some_node, "link set w mtu 1280".to_owned()),
            15 => setting(&name, "ipv4/conf/all/arp_ignore".to_owned(), 8),
            16 => ip(&some_node, "link set w down".to_owned()),
            17 => ip(&some_node, "addr flush dev w".to_owned()),
            18 => Self::Rule(any, rule(plan, random)),
            19 => ip(&name, "link set eth0 arp off".to_owned()),
            20 => ip(&some_node, "link set br0 down".to_owned()),
            21 => Self::Marked(any, random.below(2) as u32 + MARK),
            22 => Self::Untracked(some_node),
            23 => setting(&some_node, "ipv4/conf/all/rp_filter".to_owned(), 2),
            24 if is_bridged => {
                let off = *random.pick(&["flood", "bcast_flood", "learning", "mcast_flood"]);
                Self::Bridge(node, format!("link set dev {port} {off} off"))
            }
            25 => {
                let to = plan.address(Target::Pod(pod.number.into()));
                let kind = *random.pick(&["throw", "prohibit", "unreachable"]);
                ip(&any, format!("route replace {kind} {to}/{bits}"))
            }
            26 => {
                // A copy of the address at another place.
                let to = plan.address(Target::Pod(pod.number.into()));
                ip(&any, format!("addr add {to}/{bits} dev lo"))
            }
            27 => ip(&node, format!("link set {port} down")),
            28 if plan.pods[plan.from] != pod => ip(&name, "addr flush dev eth0".to_owned()),
            _ => {
                let to = plan.address(Target::Pod(pod.number.into()));
                ip(&any, format!("rule add pref 10 to {to} unreachable"))
            }
        }
    }
}

/// What a policy rule may refuse.
pub(super) const MARK: u32 = 5;

/// A node's route to the other node's pods goes away.
fn route_away(family: Family, node: &str) -> String {
    let other = if node == "n1" { 2 } else { 1 };
    format!("route del {}", family.pods(other))
}

/// What comes in must come from where its answer would go. IPv6 has no such setting, but firewalls have
/// a rule.
fn strict_reverse_path(family: Family, node: &str) -> Fault {
    let node = node.to_owned();
    match family {
        Family::V4 => Fault::Setting(node, "ipv4/conf/all/rp_filter".to_owned(), 1),
        Family::V6 => {
            let rule = "prerouting fib saddr . iif oif missing drop";
            Fault::Rule(node, rule.to_owned())
        }
    }
}

fn isolate(plan: &Plan, pod: Pod) -> Fault {
    let of_node = plan
        .pods
        .iter()
        .filter(|other| other.node == pod.node && other.attached == Attached::Bridge);
    let commands: Vec<_> = of_node
        .map(|other| format!("link set dev {} isolated on", other.port()))
        .collect();
    Fault::Bridge(format!("n{}", pod.node), commands.join("\n"))
}

/// A rule of nft(8), in the hook of its chain.
fn rule(plan: &Plan, random: &mut Random) -> String {
    let hooks = ["prerouting", "input", "forward", "output", "postrouting"];
    let hook = random.pick(&hooks);
    let protocol = plan.protocol_name();
    let other = if protocol == "udp" { "tcp" } else { "udp" };
    let hops = match plan.family {
        Family::V4 => "ip ttl 1",
        Family::V6 => "ip6 hoplimit 1",
    };
    let matches = [
        format!("{protocol} dport {PORT}"),
        format!("{protocol} sport {SOURCE_PORT}"),
        format!("meta l4proto {protocol}"),
        format!("{other} dport {PORT}"),
        hops.to_owned(),
    ];
    let what = random.pick(&matches);
    let verdict = random.pick(&["drop", "drop", "reject", "accept"]);
    let verdict = match (hook, *verdict) {
        // There it is not supported.
        (&"postrouting", "reject") => "drop",
        (_, verdict) => verdict,
    };
    format!("{hook} {what} {verdict}")
}
