//! What many incidents stand on.

use anyhow::Result;

use super::Stage;

impl Stage {
    /// Makes the bridge `br0` of the `node`, without an address, and puts hosts behind its ports: the
    /// role of each, its port, and the address of its `eth0`.
    pub fn bridge<const N: usize>(&self, hosts: [(&str, &str, &str); N]) -> Result<()> {
        self.ip(
            "node",
            "link add br0 type bridge mcast_snooping 0; link set br0 up",
        )?;
        for (role, port, address) in hosts {
            self.veth((role, "eth0"), ("node", port))?;
            self.ip("node", &format!("link set {port} master br0"))?;
            let dad = if address.contains(':') { " nodad" } else { "" };
            self.ip(role, &format!("addr add {address} dev eth0{dad}"))?;
        }
        Ok(())
    }

    /// The MAC address of a host's `eth0`.
    pub fn mac(&self, role: &str) -> Result<String> {
        let text = self.exec(role, "cat /sys/class/net/eth0/address")?;
        Ok(text.trim().to_owned())
    }

    /// Two pods and the node that routes between them: `a` has 10.20.1.2 behind the node's `va`,
    /// `b` has 10.20.2.3 behind its `vb`.
    pub fn routed_pods() -> Result<Self> {
        let stage = Self::new(["a", "b", "node"])?;
        stage.veth(("a", "eth0"), ("node", "va"))?;
        stage.veth(("b", "eth0"), ("node", "vb"))?;
        stage.ip(
            "node",
            "addr add 10.20.1.1/24 dev va; addr add 10.20.2.1/24 dev vb",
        )?;
        stage.ip(
            "a",
            "addr add 10.20.1.2/24 dev eth0; route add default via 10.20.1.1",
        )?;
        stage.ip(
            "b",
            "addr add 10.20.2.3/24 dev eth0; route add default via 10.20.2.1",
        )?;
        stage.sysctl("node", "net.ipv4.ip_forward=1")?;
        Ok(stage)
    }
}
