//! Builds a network.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    io::Write as _,
    net::SocketAddr,
    os::unix::fs::MetadataExt as _,
    process::{Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
};

use super::{
    addresses::Family,
    faults::{Fault, MARK},
    plan::{Attached, PORT, Plan},
};

/// Namespaces that vanish with the test.
pub(super) struct Lab {
    pub(super) prefix: String,
    family: Family,
    protocol: &'static str,
    inodes: BTreeMap<String, u32>,
}

impl Lab {
    pub(super) fn build(plan: &Plan) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let prefix = format!("wdway{}-{count}-", std::process::id());
        let mut lab = Self {
            prefix,
            family: plan.family,
            protocol: plan.protocol_name(),
            inodes: BTreeMap::new(),
        };
        let names = plan.namespaces();
        let add: String = names
            .iter()
            .map(|name| format!("netns add {}{name}\n", lab.prefix))
            .collect();
        run("ip", &["-batch", "-"], &add, true);
        for name in names {
            let inode = fs::metadata(lab.path(&name)).unwrap().ino();
            lab.inodes.insert(name, inode as u32);
        }
        for name in lab.inodes.keys() {
            // Links that come later have addresses that can be used at once.
            let no_detection = ["all", "default"].map(|scope| {
                let path = format!("ipv6/conf/{scope}/accept_dad");
                (path, 0)
            });
            lab.settings(name, &no_detection);
        }
        lab.nodes(plan);
        for pod in 0..plan.pods.len() {
            lab.pod(plan, pod);
        }
        lab.rules(plan);
        for fault in &plan.faults {
            lab.fault(fault);
        }
        lab
    }

    pub(super) fn inode(&self, name: &str) -> u32 {
        self.inodes[name]
    }

    pub(super) fn names(&self) -> impl Iterator<Item = (&String, u32)> {
        self.inodes.iter().map(|(name, inode)| (name, *inode))
    }

    pub(super) fn path(&self, name: &str) -> String {
        format!("/run/netns/{}{name}", self.prefix)
    }

    fn nodes(&self, plan: &Plan) {
        let other = format!("{}n2", self.prefix);
        self.ip(
            "n1",
            &format!("link add w type veth peer name w netns {other}"),
        );
        let family = self.family;
        let settings = family.settings();
        for node in [1, 2] {
            let name = format!("n{node}");
            let away = 3 - node;
            let mut batch = format!(
                "link set lo up
                 link set w up
                 addr add {at_wire}/{bits} dev w
                 link add br0 type bridge mcast_snooping 0
                 link set br0 up
                 addr add {at_bridge}/{bits} dev br0
                 route add {pods} via {other}
                 ",
                bits = family.shared_bits(),
                at_wire = family.on_wire(node),
                at_bridge = family.on_bridge(node, 1),
                pods = family.pods(away),
                other = family.on_wire(away),
            );
            if node == 2 {
                let _ = writeln!(batch, "route add default via {}", family.on_wire(1));
            } else if plan.way_out {
                let own = family.at_way_out();
                batch += "tuntap add out mode tun\nlink set out up\n";
                let _ = writeln!(batch, "addr add {own} dev out\nroute add default dev out");
            }
            self.ip(&name, &batch);
            let nf = match family {
                Family::V4 => "bridge/bridge-nf-call-iptables",
                Family::V6 => "bridge/bridge-nf-call-ip6tables",
            };
            let mut values = vec![
                (family.forwarding().to_owned(), 1),
                ("ipv4/conf/all/rp_filter".to_owned(), 0),
                ("ipv4/conf/w/rp_filter".to_owned(), 0),
                (nf.to_owned(), u64::from(plan.bridge_nf)),
            ];
            values.extend(
                quick(settings, "w")
                    .into_iter()
                    .chain(quick(settings, "br0")),
            );
            self.settings(&name, &values);
        }
    }

    fn pod(&self, plan: &Plan, place: usize) {
        let pod = plan.pods[place];
        let (name, port) = (pod.name(), pod.port());
        let node = format!("n{}", pod.node);
        let inside = format!("{}{name}", self.prefix);
        let (family, settings) = (self.family, self.family.settings());
        let (address, gateway) = (plan.pod_address(place), family.gateway());
        let bits = family.bits();
        let mut of_node = Vec::new();
        match pod.attached {
            Attached::Macvlan => {
                let add = format!("link add {port} link br0 type macvlan mode bridge");
                self.ip(
                    &node,
                    &format!("{add}\nlink set {port} netns {inside} name eth0"),
                );
            }
            Attached::Bridge => {
                let hairpin = if pod.hairpin { "on" } else { "off" };
                self.ip(
                    &node,
                    &format!(
                        "link add {port} type veth peer name eth0 netns {inside}
                         link set {port} master br0 up
                         link set {port} type bridge_slave hairpin {hairpin}"
                    ),
                );
            }
            Attached::Route => {
                let mut batch = format!(
                    "link add {port} type veth peer name eth0 netns {inside}
                     link set {port} up
                     route add {address}/{bits} dev {port}
                     "
                );
                match family {
                    _ if !plan.proxy_arp => {
                        let _ = writeln!(batch, "addr add {gateway}/{bits} dev {port}");
                    }
                    Family::V4 => of_node.push((format!("ipv4/conf/{port}/proxy_arp"), 1)),
                    Family::V6 => {
                        let _ = writeln!(batch, "neigh add proxy {gateway} dev {port}");
                        of_node.push((format!("ipv6/conf/{port}/proxy_ndp"), 1));
                    }
                }
                of_node.push((format!("{settings}/neigh/{port}/proxy_delay"), 0));
                self.ip(&node, &batch);
                of_node.push((format!("ipv4/conf/{port}/rp_filter"), 0));
                of_node.extend(quick(settings, &port));
            }
        }
        self.settings(&node, &of_node);
        let (length, default) = match pod.attached {
            Attached::Route => (
                bits,
                format!(
                    "route add {gateway} dev eth0
                     route add default via {gateway} dev eth0"
                ),
            ),
            _ => (
                family.shared_bits(),
                format!("route add default via {}", family.on_bridge(pod.node, 1)),
            ),
        };
        self.ip(
            &name,
            &format!(
                "link set lo up
                 link set eth0 up
                 addr add {address}/{length} dev eth0
                 {default}"
            ),
        );
        self.settings(&name, &quick(settings, "eth0"));
    }

    fn rules(&self, plan: &Plan) {
        let Some(service) = &plan.service else {
            return;
        };
        let (nft, protocol) = (self.family.nft(), self.protocol);
        let to = SocketAddr::from((plan.address(service.to), PORT));
        let address = self.family.service();
        let mut rules = self.chain(
            "svc",
            "type nat hook prerouting priority -100",
            &format!("{nft} daddr {address} {protocol} dport {PORT} dnat to {to}"),
        );
        if service.masquerade {
            let hook = "type nat hook postrouting priority 100";
            rules += &self.chain("masq", hook, "ct status dnat masquerade");
        }
        for node in ["n1", "n2"] {
            self.nft(node, &rules);
        }
    }

    /// A fault that does not fit the network has no effect.
    fn fault(&self, fault: &Fault) {
        match fault {
            Fault::Ip(netns, command) => {
                let name = format!("{}{netns}", self.prefix);
                run(
                    "ip",
                    &[self.family.option(), "-n", &name, "-force", "-batch", "-"],
                    command,
                    false,
                );
            }
            Fault::Bridge(netns, command) => {
                let name = format!("{}{netns}", self.prefix);
                let filtering = "link set br0 type bridge vlan_filtering 1";
                if command.starts_with("vlan") {
                    run("ip", &["-n", &name, "-batch", "-"], filtering, false);
                }
                run(
                    "bridge",
                    &["-n", &name, "-force", "-batch", "-"],
                    command,
                    false,
                );
            }
            Fault::Setting(netns, path, value) => {
                self.settings(netns, &[(path.clone(), *value)]);
            }
            Fault::Marked(netns, mark) => {
                let place = "type filter hook prerouting priority -150";
                let rule = format!("{} dport {PORT} meta mark set {mark}", self.protocol);
                self.nft(netns, &self.chain("marks", place, &rule));
                let refuses = format!("rule add pref 20 fwmark {MARK} unreachable");
                self.ip(netns, &refuses);
            }
            Fault::Untracked(netns) => {
                let place = "type filter hook prerouting priority -300";
                let rule = format!("{} dport {PORT} notrack", self.protocol);
                self.nft(netns, &self.chain("raw", place, &rule));
            }
            Fault::Rule(netns, rule) => {
                let (hook, rule) = rule.split_once(' ').unwrap();
                let place = format!("type filter hook {hook} priority 0");
                self.nft(netns, &self.chain(&format!("f_{hook}"), &place, rule));
            }
        }
    }

    fn ip(&self, netns: &str, batch: &str) {
        let name = format!("{}{netns}", self.prefix);
        let option = self.family.option();
        run("ip", &[option, "-n", &name, "-batch", "-"], batch, true);
    }

    fn nft(&self, netns: &str, rules: &str) {
        let name = format!("{}{netns}", self.prefix);
        run(
            "ip",
            &["netns", "exec", &name, "nft", "-f", "-"],
            rules,
            true,
        );
    }

    /// A table with one chain of one rule.
    fn chain(&self, table: &str, place: &str, rule: &str) -> String {
        let family = self.family.nft();
        format!("table {family} {table} {{\n chain c {{\n {place};\n {rule}\n }}\n}}\n")
    }

    fn settings(&self, netns: &str, settings: &[(String, u64)]) {
        let mut script = String::new();
        for (path, value) in settings {
            let _ = writeln!(
                script,
                "[ ! -e /proc/sys/net/{path} ] || echo {value} > /proc/sys/net/{path}"
            );
        }
        if script.is_empty() {
            return;
        }
        let name = format!("{}{netns}", self.prefix);
        run("ip", &["netns", "exec", &name, "sh"], &script, true);
    }
}

/// A link gives up asking for neighbors quickly.
fn quick(settings: &str, link: &str) -> Vec<(String, u64)> {
    vec![
        (format!("{settings}/neigh/{link}/retrans_time_ms"), 50),
        (format!("{settings}/neigh/{link}/mcast_solicit"), 2),
    ]
}

fn run(tool: &str, arguments: &[&str], input: &str, must: bool) {
    let mut child = Command::new(tool)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(if must {
            Stdio::inherit()
        } else {
            Stdio::null()
        })
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(input.as_bytes())
        .unwrap();
    let status = child.wait().unwrap();
    assert!(status.success() || !must, "{tool} {arguments:?}: {input}");
}

impl Drop for Lab {
    fn drop(&mut self) {
        let names = self.inodes.keys();
        let delete: String = names
            .map(|name| format!("netns del {}{name}\n", self.prefix))
            .collect();
        run("ip", &["-force", "-batch", "-"], &delete, false);
    }
}
