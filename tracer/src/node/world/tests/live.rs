//! The model of namespaces that are really there.

use std::{
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use crate::node::world::{Between, Link, LinkId, Part, Parts, World};

const LIMIT: Duration = Duration::from_secs(10);

/// Namespaces that vanish with the test.
struct Lab {
    prefix: String,
    roles: Vec<String>,
}

impl Lab {
    fn new(roles: &[&str]) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let lab = Self {
            prefix: format!("wdworld-{}-{count}", std::process::id()),
            roles: roles.iter().map(|role| (*role).to_owned()).collect(),
        };
        for role in roles {
            lab.shell(&format!(
                "ip netns add @{role}; ip -n @{role} link set lo up"
            ));
        }
        lab
    }

    /// Runs a script, in which `@role` is a namespace's name.
    fn shell(&self, script: &str) {
        let script = script.replace('@', &format!("{}-", self.prefix));
        let shell = Command::new("sh").args(["-e", "-c", &script]).status();
        assert!(shell.unwrap().success(), "{script}");
    }

    fn link<'a>(&self, world: &'a World, role: &str, name: &str) -> &'a Link {
        let wanted = format!("{}-{role}", self.prefix);
        let mut namespaces = world.namespaces.values();
        let namespace = namespaces.find(|one| one.name == wanted).unwrap();
        world.link_named(namespace.inode, name).unwrap()
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for role in &self.roles {
            let name = format!("{}-{role}", self.prefix);
            let _ = Command::new("ip").args(["netns", "del", &name]).status();
        }
    }
}

#[test]
#[ignore = "needs root, ip"]
fn pods_behind_a_bridge_are_tied_to_it() {
    let lab = Lab::new(&["node", "a", "b"]);
    lab.shell(
        "ip -n @node link add cni0 type bridge; ip -n @node link set cni0 up
         ip -n @node addr add 10.79.1.1/24 dev cni0
         for p in a b; do
           ip link add eth0 netns @$p type veth peer name v$p netns @node
           ip -n @$p link set eth0 up; ip -n @node link set v$p up
           ip -n @node link set v$p master cni0
         done
         ip -n @a addr add 10.79.1.2/24 dev eth0; ip -n @b addr add 10.79.1.3/24 dev eth0
         ip -n @b link add link eth0 name m0 type macvlan mode bridge
         ip -n @node link set va type bridge_slave hairpin on isolated on",
    );
    let world = World::read(&Part::all(), LIMIT);
    let eth0 = lab.link(&world, "a", "eth0");
    let va = lab.link(&world, "node", "va");
    assert_eq!(eth0.other_end(), Some(va.id));
    assert_eq!(va.other_end(), Some(eth0.id));
    assert!(va.port.unwrap().hairpin && va.port.unwrap().isolated);
    let cni0 = lab.link(&world, "node", "cni0");
    assert!(cni0.bridge().is_some_and(|bridge| !bridge.stp));
    let b = lab.link(&world, "b", "eth0");
    assert_eq!(lab.link(&world, "b", "m0").parent(), Some(b.id));
    assert_eq!(b.ipv4.unwrap().forwarding, 0);

    let holders = world.holders("10.79.1.3".parse().unwrap());
    let holder = holders.iter().find(|holder| holder.netns == b.id.netns);
    assert_eq!(world.between(eth0.id, holder.unwrap()), Between::Nothing);
    let node = world.namespace(cni0.id.netns).unwrap();
    let own = |link: &Link| {
        let mut entries = node.fdb.as_ref().unwrap().iter();
        entries.any(|entry| Some(&entry.mac) == link.mac.as_ref())
    };
    assert!(own(va));
    assert_eq!(world.lookup_local_missing(cni0.id.netns, true), Some(false));
    assert_eq!(node.settings.unwrap().ip_forward, Some(0));

    lab.shell("ip -n @node link set vb nomaster; ip -n @node rule del pref 0");
    let world = World::read(&Part::all(), LIMIT);
    let apart = world.between(eth0.id, holder.unwrap());
    let outer = lab.link(&world, "node", "vb").id;
    let expected = Between::Apart {
        outer,
        bridge: None,
        beside: Some(lab.link(&world, "node", "cni0").id),
    };
    assert_eq!(apart, expected);
    assert_eq!(world.lookup_local_missing(cni0.id.netns, true), Some(true));
}

#[test]
#[ignore = "needs root, ip; prints how long it takes"]
fn many_namespaces_are_read_at_once() {
    let roles: Vec<_> = (0..50).map(|number| format!("p{number}")).collect();
    let mut all: Vec<_> = roles.iter().map(String::as_str).collect();
    all.push("node");
    let lab = Lab::new(&all);
    lab.shell(&format!(
        "ip -n @node link add cni0 type bridge; ip -n @node link set cni0 up
         for p in {}; do
           ip link add eth0 netns @$p type veth peer name v$p netns @node
           ip -n @$p link set eth0 up; ip -n @node link set v$p up
           ip -n @node link set v$p master cni0
         done",
        roles.join(" ")
    ));
    for parts in [Parts::new(), Part::all()] {
        let mut best = Duration::MAX;
        for _ in 0..10 {
            let start = Instant::now();
            let world = World::read(&parts, LIMIT);
            best = best.min(start.elapsed());
            let cni0 = lab.link(&world, "node", "cni0").id;
            let tied = roles.iter().filter(|role| {
                let other: Option<LinkId> = lab.link(&world, role, "eth0").other_end();
                other.is_some_and(|other| other.netns == cni0.netns)
            });
            assert_eq!(tied.count(), 50);
        }
        println!("{} parts: {best:?}", parts.len());
    }
}
