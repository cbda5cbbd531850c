//! The real kernel: rules drop a packet, and the rule that is found is the one that counted it.

use std::{
    io::Write as _,
    net::{IpAddr, SocketAddr, TcpStream},
    path::PathBuf,
    process::{Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use super::{super::*, *};
use crate::model::Fix;
use crate::net::netns::{Inside, NetnsRef, in_netns};

const LIMIT: Duration = Duration::from_secs(5);

/// A client and a server with a router, or with a bridge between them.
struct Lab {
    name: String,
    server: &'static str,
}

impl Lab {
    fn new(is_bridge: bool) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let lab = Self {
            name: format!("wdrules-{}-{count}", std::process::id()),
            server: if is_bridge { "10.77.1.3" } else { "10.77.2.2" },
        };
        let n = &lab.name;
        lab.shell(&format!(
            "ip netns add {n}; ip netns add {n}-c; ip netns add {n}-s
             ip -n {n} link add c type veth peer name eth0 netns {n}-c
             ip -n {n} link add s type veth peer name eth0 netns {n}-s
             ip -n {n} link set c up; ip -n {n} link set s up
             ip -n {n}-c link set eth0 up; ip -n {n}-s link set eth0 up
             ip -n {n}-c addr add 10.77.1.2/24 dev eth0
             ip -n {n}-s addr add {}/24 dev eth0",
            lab.server
        ));
        lab.shell(&if is_bridge {
            format!(
                "ip -n {n} link add br0 type bridge; ip -n {n} link set br0 up
                 ip netns exec {n} sysctl -qw net.bridge.bridge-nf-call-iptables=0 || true
                 ip -n {n} link set c master br0; ip -n {n} link set s master br0"
            )
        } else {
            format!(
                "ip netns exec {n} sysctl -qw net.ipv4.ip_forward=1
                 ip -n {n} addr add 10.77.1.1/24 dev c; ip -n {n} addr add 10.77.2.1/24 dev s
                 ip -n {n}-c route add default via 10.77.1.1
                 ip -n {n}-s route add default via 10.77.2.1"
            )
        });
        lab
    }

    fn shell(&self, script: &str) {
        let shell = Command::new("sh").args(["-e", "-c", script]).status();
        assert!(shell.unwrap().success(), "{script}");
    }

    /// Runs commands in the namespace of the router or bridge.
    fn inside(&self, script: &str) {
        let shell = ["netns", "exec", &self.name, "sh", "-e", "-c", script];
        let status = Command::new("ip").args(shell).status().unwrap();
        assert!(status.success(), "{script}");
    }

    fn nft(&self, rules: &str) {
        let mut nft = Command::new("ip")
            .args(["netns", "exec", &self.name, "nft", "-f", "-"])
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        nft.stdin
            .take()
            .unwrap()
            .write_all(rules.as_bytes())
            .unwrap();
        assert!(nft.wait().unwrap().success(), "{rules}");
    }

    fn netns(&self, suffix: &str) -> NetnsRef {
        NetnsRef::Path(PathBuf::from(format!("/run/netns/{}{suffix}", self.name)))
    }

    /// Reads it all.
    fn read(&self) -> Ruleset {
        self.read_by(Ruleset::read)
    }

    /// Reads what could have dropped a packet.
    fn read_for(&self, packet: &HookPacket) -> Ruleset {
        let packet = packet.clone();
        self.read_by(move |inside| Ruleset::read_for(inside, &packet))
    }

    fn read_by(&self, read: impl FnOnce(&Inside) -> Ruleset + Send + 'static) -> Ruleset {
        let ruleset = in_netns(&self.netns(""), LIMIT, move |i| Ok(read(&i))).unwrap();
        assert_eq!(ruleset.gaps, [""; 0]);
        ruleset
    }

    /// Whether anything comes back; nothing listens, so what gets through is refused.
    fn gets_through(&self, port: u16) -> bool {
        let server: IpAddr = self.server.parse().unwrap();
        let to = SocketAddr::new(server, port);
        in_netns(&self.netns("-c"), LIMIT, move |_| {
            let error = TcpStream::connect_timeout(&to, Duration::from_millis(300)).unwrap_err();
            Ok(error.kind() == std::io::ErrorKind::ConnectionRefused)
        })
        .unwrap()
    }

    fn packet(&self, hook: Hook, port: u16) -> HookPacket {
        HookPacket {
            hook: Some(hook),
            ..syn("10.77.1.2", self.server, port)
        }
    }

    /// Sends the packet; the one rule found must be the culprit, before counters are looked at and
    /// after, and its counter must have moved.
    fn convict(&self, packet: &HookPacket, hint: Hint) -> Suspect {
        let before = self.read_for(packet);
        assert!(!self.gets_through(packet.ends.dport.unwrap()));
        let after = self.read_for(packet);
        let whole = self.read().suspects(packet, hint);
        let mut suspects = after.suspects(packet, hint);
        let found: Vec<_> = suspects.rules.iter().map(Suspect::describe).collect();
        println!("{found:#?}");
        assert!(suspects.certain, "{found:#?}");
        let by_all: Vec<_> = whole.rules.iter().map(Suspect::describe).collect();
        assert_eq!(found, by_all, "what hangs elsewhere makes no difference");
        let mut earlier = before.suspects(packet, hint);
        earlier.narrow_by_counters(&before);
        suspects.narrow_by_counters(&after);
        suspects.narrow_since(&earlier);
        assert!(suspects.certain, "the counters contradict {found:#?}");
        suspects.rules.remove(0)
    }

    /// The fix lets the packet pass, until it is undone.
    fn prove_fix(&self, packet: &HookPacket, hint: Hint) {
        let ruleset = self.read_for(packet);
        let suspects = ruleset.suspects(packet, hint);
        let fixes = ruleset.mend(&suspects, packet).fixes;
        let port = packet.ends.dport.unwrap();
        assert!(!fixes.is_empty());
        fixes.iter().for_each(|fix| self.inside(&fix.line()));
        assert!(self.gets_through(port), "{fixes:#?}");
        let undos = fixes.iter().rev().filter_map(Fix::undo_line);
        undos.for_each(|undo| self.inside(&undo));
        assert!(!self.gets_through(port), "{fixes:#?}");
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for suffix in ["", "-c", "-s"] {
            let name = format!("{}{suffix}", self.name);
            let _ = Command::new("ip").args(["netns", "del", &name]).status();
        }
    }
}

#[test]
#[ignore = "needs root, nft"]
fn nft_rules_and_sets() {
    let lab = Lab::new(false);
    lab.nft(
        "table inet fw {
           set bad { type ipv4_addr; flags interval; elements = { 10.77.1.0/30, 192.0.2.1 } }
           chain early {
             type filter hook forward priority -10; policy accept;
             tcp dport 444 counter drop
             ct state new tcp flags syn / fin,syn,rst,ack ip saddr @bad tcp dport { 500-600 } counter jump sub
           }
           chain sub {
             iifname \"s\" counter drop
             tcp dport 555 return
             oifname \"s*\" meta mark 0 ip daddr 10.77.2.0/24 counter reject comment \"culprit\"
           }
           chain forward {
             type filter hook forward priority 0; policy accept;
             udp dport 443 counter drop
             tcp dport 443 counter drop comment \"culprit\"
             tcp dport 443 counter drop
             ip daddr . tcp dport vmap { 10.77.2.2 . 700 : jump verdicts }
           }
           chain verdicts { counter drop comment \"culprit\"; }
         }",
    );
    for port in [443, 501, 700] {
        let packet = HookPacket {
            input: Device::Named("c".to_owned()),
            output: Device::Named("s".to_owned()),
            ..lab.packet(Hook::Forward, port)
        };
        if port == 501 {
            // A reject is answered at once; what matters here is which rule rejected.
            lab.nft("insert rule inet fw sub tcp dport 501 oifname \"s\" meta mark 0 counter drop comment \"culprit\"");
        }
        let rule = lab.convict(&packet, Hint::Nft);
        assert!(rule.text.contains("culprit"), "{}", rule.describe());
        lab.prove_fix(&packet, Hint::Nft);
    }
    assert!(lab.gets_through(555));
    let passing = HookPacket {
        input: Device::Named("c".to_owned()),
        ..lab.packet(Hook::Forward, 555)
    };
    assert!(lab.read().suspects(&passing, Hint::Nft).rules.is_empty());
}

#[test]
#[ignore = "needs root, nft"]
fn nft_policy() {
    let lab = Lab::new(false);
    lab.nft(
        "table ip fw {
           chain forward {
             type filter hook forward priority 0; policy drop;
             ct state established,related accept
             ct state invalid drop
             tcp dport { 22, 80 } accept
           }
         }",
    );
    let packet = lab.packet(Hook::Forward, 81);
    let rule = lab.convict(&packet, Hint::Nft);
    assert_eq!(
        rule.describe(),
        "the drop policy of chain forward in table ip fw"
    );
    lab.prove_fix(&packet, Hint::Nft);
}

#[test]
#[ignore = "needs root, nft"]
fn nft_netdev() {
    let lab = Lab::new(false);
    lab.nft(
        "table netdev fw {
           chain other { type filter hook ingress device \"s\" priority 0; tcp dport 443 counter drop; }
           chain in { type filter hook ingress device \"c\" priority 0; ip daddr 10.77.2.2 tcp dport 443 counter drop comment \"culprit\"; }
         }",
    );
    let packet = HookPacket {
        input: Device::Named("c".to_owned()),
        ..lab.packet(Hook::Ingress, 443)
    };
    let rule = lab.convict(&packet, Hint::Nft);
    assert!(rule.text.contains("culprit"));
    lab.prove_fix(&packet, Hint::Nft);
}

#[test]
#[ignore = "needs root, nft"]
fn nft_bridge() {
    let lab = Lab::new(true);
    lab.nft(
        "table bridge fw {
           chain forward {
             type filter hook forward priority 0;
             ether type arp accept
             ip saddr 10.77.1.2 tcp dport 443 counter drop comment \"culprit\"
           }
         }
         table inet fw { chain forward { type filter hook forward priority 0; policy drop; }; }",
    );
    let packet = lab.packet(Hook::BridgeForward, 443);
    let rule = lab.convict(&packet, Hint::Nft);
    assert!(rule.text.contains("culprit"));
    lab.prove_fix(&packet, Hint::Nft);
}

/// The same rules, by either of iptables' engines.
fn iptables(tool: &str, hint: Hint) {
    let lab = Lab::new(false);
    let t = tool;
    lab.inside(&format!(
        "{t} -N sub; {t} -A FORWARD -i x -j DROP
         {t} -A FORWARD -p tcp -m comment --comment \"to sub\" -m conntrack --ctstate NEW -j sub
         {t} -A sub -p tcp -m multiport --dports 80,443 -m comment --comment \"the culprit\" -j DROP
         {t} -A sub -p tcp --dport 443 -j DROP
         {t} -A FORWARD -m mark --mark 0x1/0x1 -j DROP
         {t} -t mangle -A PREROUTING -p tcp --dport 82 -j DROP"
    ));
    let packet = HookPacket {
        input: Device::Named("c".to_owned()),
        ..lab.packet(Hook::Forward, 443)
    };
    let rule = lab.convict(&packet, hint);
    assert!(rule.text.contains("the culprit"), "{}", rule.describe());
    lab.prove_fix(&packet, hint);
    let rule = lab.convict(&lab.packet(Hook::Prerouting, 82), hint);
    assert_eq!((rule.table.as_str(), rule.number), ("mangle", Some(1)));
    lab.inside(&format!("{t} -P FORWARD DROP"));
    let packet = HookPacket {
        input: Device::Named("c".to_owned()),
        ..lab.packet(Hook::Forward, 83)
    };
    let rule = lab.convict(&packet, hint);
    assert!(
        rule.describe()
            .starts_with("the drop policy of chain FORWARD")
    );
}

#[test]
#[ignore = "needs root, iptables-nft"]
fn iptables_by_nft() {
    iptables("iptables-nft", Hint::Nft);
}

#[test]
#[ignore = "needs root, iptables-legacy"]
fn iptables_by_legacy() {
    iptables("iptables-legacy", Hint::Legacy);
}

#[test]
#[ignore = "needs root"]
fn reading_makes_no_tables() {
    let lab = Lab::new(false);
    lab.read();
    in_netns(&lab.netns(""), LIMIT, |_| {
        let names = std::fs::read_to_string("/proc/thread-self/net/ip_tables_names")?;
        assert_eq!(names, "");
        Ok(())
    })
    .unwrap();
    assert!(lab.read().tables.is_empty());
}

mod large;
