//! Links: veth pairs, bridges, VXLAN.

use std::net::IpAddr;

use anyhow::Result;

use super::Namespace;

/// Two interfaces with a cable between them.
pub struct VethPair<'a> {
    /// One end: its namespace and name.
    pub a: (&'a Namespace, &'a str),
    /// The other end.
    pub b: (&'a Namespace, &'a str),
}

impl VethPair<'_> {
    /// Creates both ends where they belong, and takes them up.
    pub fn create(&self) -> Result<()> {
        let ((a, a_name), (b, b_name)) = (self.a, self.b);
        a.run(&format!(
            "ip link add dev {a_name} type veth peer name {b_name} netns {}",
            b.name()
        ))?;
        a.run(&format!("ip link set dev {a_name} up"))?;
        b.run(&format!("ip link set dev {b_name} up")).map(drop)
    }
}

/// Many pairs at once, which go by these names at both ends: `NAME0`, `NAME1`, …
pub struct VethPairs<'a> {
    /// The name, without the number.
    pub name: &'a str,
    /// How many there are.
    pub count: usize,
    /// The group of those in the first namespace: `ip link delete group` deletes them at once.
    pub group: u32,
}

impl VethPairs<'_> {
    /// Creates both ends of all, down.
    pub fn create(&self, one: &Namespace, other: &Namespace) -> Result<()> {
        let (Self { name, group, .. }, other) = (self, other.name());
        let add = (0..self.count).map(|number| {
            format!(
                "link add {name}{number} group {group} type veth peer name {name}{number} netns \
                 {other}\n"
            )
        });
        one.run_with_input("ip -batch -", &add.collect::<String>())
            .map(drop)
    }
}

/// A bridge in a namespace.
pub struct Bridge<'a> {
    /// Where it is.
    pub namespace: &'a Namespace,
    /// What it is called.
    pub name: &'a str,
}

impl Bridge<'_> {
    /// Creates the bridge and takes it up.
    ///
    /// Bridged packets pass iptables too, as on any node that a kubelet has set up.
    pub fn create(&self) -> Result<()> {
        let name = self.name;
        self.namespace
            .run(&format!("ip link add dev {name} type bridge"))?;
        self.namespace.run(&format!("ip link set dev {name} up"))?;
        for families in ["iptables", "ip6tables"] {
            self.namespace
                .sysctl(&format!("bridge/bridge-nf-call-{families}"), "1")?;
        }
        Ok(())
    }

    /// Makes an interface one of its ports.
    pub fn add_port(&self, ifname: &str) -> Result<()> {
        let name = self.name;
        self.namespace
            .run(&format!("ip link set dev {ifname} master {name}"))
            .map(drop)
    }
}

/// A VXLAN device that reaches one other node, configured as Flannel does: a fixed neighbor and
/// a fixed forwarding entry, no learning and no flooding.
pub struct Vxlan<'a> {
    /// Where it is.
    pub namespace: &'a Namespace,
    /// What it is called.
    pub name: &'a str,
    /// The network identifier.
    pub vni: u32,
    /// The outer UDP destination port.
    pub port: u16,
    /// The outer source address.
    pub local: IpAddr,
    /// The device's own MAC address.
    pub mac: &'a str,
}

impl Vxlan<'_> {
    /// Creates the device and takes it up; IPv4 outside leaves 1450 bytes of 1500.
    pub fn create(&self) -> Result<()> {
        let Self {
            namespace,
            name,
            vni,
            port,
            local,
            mac,
        } = self;
        namespace.run(&format!(
            "ip link add dev {name} address {mac} mtu 1450 type vxlan id {vni} local {local} \
             dstport {port} nolearning"
        ))?;
        namespace
            .run(&format!("ip link set dev {name} up"))
            .map(drop)
    }

    /// Says where the other node's device is: its MAC address behind the node's address, and the
    /// gateway addresses (IPv4 and IPv6) it answers to.
    pub fn add_peer(&self, mac: &str, remote: IpAddr, gateways: [IpAddr; 2]) -> Result<()> {
        let Self {
            namespace, name, ..
        } = self;
        namespace.run(&format!("bridge fdb append {mac} dev {name} dst {remote}"))?;
        for gateway in gateways {
            namespace.run(&format!(
                "ip neighbor replace {gateway} lladdr {mac} dev {name} nud permanent"
            ))?;
        }
        Ok(())
    }
}
