//! A router between a client and a server.

use anyhow::Result;

use super::{Hint, Topology};
use crate::lab::{AddressPlan, Family, Host, Lab, Namespace, VethPair};

/// ```text
#[doc = include_str!("router.txt")]
/// ```
pub struct RouterLab {
    /// The router; known by its address on the client's side.
    pub router: Host,
    /// The client.
    pub client: Host,
    /// The server.
    pub server: Host,
    plan: AddressPlan,
}

impl RouterLab {
    const LEFT: u8 = 1;
    const RIGHT: u8 = 2;

    /// Builds it.
    pub fn build() -> Result<Self> {
        Self::build_in(&Lab::new()?)
    }

    /// Builds it in a given lab.
    pub fn build_in(lab: &Lab) -> Result<Self> {
        let plan = lab.plan();
        let router = lab.namespace("router")?;
        router.forward()?;
        let client = lab.namespace("client")?;
        let server = lab.namespace("server")?;
        VethPair {
            a: (&router, "left"),
            b: (&client, "eth0"),
        }
        .create()?;
        VethPair {
            a: (&router, "right"),
            b: (&server, "eth0"),
        }
        .create()?;

        let router = Host::new(router, "left", plan, Self::LEFT, 1)?;
        router.add_addresses("right", plan, Self::RIGHT, 1)?;
        let client = Host::new(client, "eth0", plan, Self::LEFT, 2)?;
        let server = Host::new(server, "eth0", plan, Self::RIGHT, 2)?;
        client.default_route(|family| router.address(family))?;
        server.default_route(|family| plan.address(family, Self::RIGHT, 1))?;

        let lab = Self {
            router,
            client,
            server,
            plan,
        };
        lab.namespaces()
            .into_iter()
            .try_for_each(Namespace::settle)?;
        Ok(lab)
    }

    /// The subnet between router and server, as `ip route` wants it.
    pub fn server_subnet(&self, family: Family) -> String {
        self.plan.subnet(family, Self::RIGHT)
    }

    /// The address of a host in a subnet: 1 is the client's, and 2 the server's.
    pub fn address(&self, family: Family, subnet: u8, host: u8) -> std::net::IpAddr {
        self.plan.address(family, subnet, host)
    }

    /// The router's address on the server's side.
    pub fn router_address(&self, family: Family) -> std::net::IpAddr {
        self.plan.address(family, Self::RIGHT, 1)
    }

    /// Gives the client an address that no router has a route to, and returns it.
    pub fn foreign_address(&self, family: Family) -> Result<std::net::IpAddr> {
        let address = self.plan.address(family, 66, 6);
        self.client
            .run(&format!("ip address add {address} dev lo"))?;
        Ok(address)
    }
}

impl Topology for RouterLab {
    fn drawing(&self) -> &'static str {
        include_str!("router.txt")
    }

    fn namespaces(&self) -> Vec<&Namespace> {
        vec![&self.router, &self.client, &self.server]
    }

    fn hints(&self) -> Vec<Hint> {
        let server = self.server.address(Family::V4);
        vec![
            Hint::connect(&self.client, "a closed port: refused", server),
            Hint::inside(
                &self.router,
                "a way on that takes less",
                "ip link set dev right mtu 1300",
            ),
            Hint::inside(
                &self.client,
                "a packet that is too large for it",
                &format!("sh -c 'head -c 1400 /dev/zero | nc -u -w 1 {server} 8080'"),
            ),
            Hint::inside(
                &self.router,
                "no way on",
                &format!("ip route add blackhole {server}"),
            ),
            Hint::connect(&self.client, "and again", server),
        ]
    }
}
