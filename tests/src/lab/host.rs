//! A namespace that has addresses and talks.

use std::{
    net::{IpAddr, SocketAddr},
    ops::Deref,
};

use anyhow::Result;

use super::{AddressPlan, Family, Namespace};
use crate::poll_until;

/// An end of conversations: a namespace, and the address it is known by.
pub struct Host {
    namespace: Namespace,
    v4: IpAddr,
    v6: IpAddr,
}

impl Host {
    /// Makes `namespace` known by host number `host` of `subnet`, on its interface `ifname`.
    pub fn new(
        namespace: Namespace,
        ifname: &str,
        plan: AddressPlan,
        subnet: u8,
        host: u8,
    ) -> Result<Self> {
        namespace.add_addresses(ifname, plan, subnet, host)?;
        Ok(Self {
            namespace,
            v4: plan.address(Family::V4, subnet, host),
            v6: plan.address(Family::V6, subnet, host),
        })
    }

    /// A namespace that already has these addresses.
    pub(crate) fn known_as(namespace: Namespace, v4: IpAddr, v6: IpAddr) -> Self {
        Self { namespace, v4, v6 }
    }

    /// Its address.
    pub fn address(&self, family: Family) -> IpAddr {
        family.pick(self.v4, self.v6)
    }

    /// Its address with a port.
    pub fn socket(&self, family: Family, port: u16) -> SocketAddr {
        SocketAddr::new(self.address(family), port)
    }

    /// Its namespace.
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// Sends what it has no route for to `gateway`.
    pub fn default_route(&self, gateway: impl Fn(Family) -> IpAddr) -> Result<()> {
        for family in Family::BOTH {
            let gateway = gateway(family);
            self.run(&format!(
                "ip {} route add default via {gateway}",
                family.flag()
            ))?;
        }
        Ok(())
    }
}

impl Deref for Host {
    type Target = Namespace;

    fn deref(&self) -> &Namespace {
        &self.namespace
    }
}

impl Namespace {
    /// Gives an interface its addresses of both families.
    pub fn add_addresses(
        &self,
        ifname: &str,
        plan: AddressPlan,
        subnet: u8,
        host: u8,
    ) -> Result<()> {
        for family in Family::BOTH {
            let address = plan.address(family, subnet, host);
            let len = family.prefix_len();
            let nodad = family.pick("", "nodad");
            self.run(&format!(
                "ip address add {address}/{len} dev {ifname} {nodad}"
            ))?;
        }
        Ok(())
    }

    /// Waits until every address can be used and every interface carries packets.
    ///
    /// Polls: IPv6 comes up from the kernel's link watch, some moments after both ends of a veth
    /// are up, and only netlink listeners that are already connected are notified.
    pub fn settle(&self) -> Result<()> {
        poll_until(&format!("the addresses in {}", self.name()), || {
            let tentative = self.run("ip -6 -oneline address show tentative").ok()?;
            let down = self.run("ip -oneline link show up").ok()?;
            let ready = tentative.trim().is_empty()
                && !down
                    .lines()
                    .any(|line| line.contains("state DOWN") || line.contains("LOWERLAYERDOWN"));
            ready.then_some(())
        })
    }
}
