//! What many incidents stand on.

use anyhow::Result;

use super::Stage;

impl Stage {
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
