//! Whether a namespace forwards packets for others.

use anyhow::Result;

use crate::{
    model::Fix,
    node::{change, sysctl},
};

/// The settings, 0 is off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Forwarding {
    /// IP version, 4 or 6.
    pub(crate) version: u8,
    /// The interface that packets come in through.
    pub(crate) ifname: String,
    /// `conf/all/forwarding`, for IPv4 the same as `ip_forward`.
    pub(crate) all: u64,
    /// That of the interface.
    pub(crate) interface: u64,
}

impl Forwarding {
    /// Reads that of an interface. `None` if it does not have this version of IP.
    ///
    /// # Errors
    ///
    /// A setting cannot be read.
    pub(crate) fn read(version: u8, ifname: &str) -> Result<Option<Self>> {
        let read = |which| {
            sysctl::number(&format!(
                "/proc/sys/net/ipv{version}/conf/{which}/forwarding"
            ))
        };
        let (Some(all), Some(interface)) = (read("all")?, read(ifname)?) else {
            return Ok(None);
        };
        Ok(Some(Self {
            version,
            ifname: ifname.to_owned(),
            all,
            interface,
        }))
    }

    /// Whether packets that come in through the interface are forwarded. IPv4 asks the interface's
    /// setting, IPv6 that of all.
    pub(crate) fn is_on(&self) -> bool {
        if self.version == 4 {
            self.interface != 0
        } else {
            self.all != 0
        }
    }

    /// Turns it on, if it is off.
    pub(crate) fn fix(&self) -> Option<Fix> {
        let one = || format!("net/ipv4/conf/{}/forwarding", self.ifname);
        match (self.is_on(), self.version, self.all) {
            (true, ..) => None,
            (false, 4, 0) => Some(change::sysctl("net/ipv4/ip_forward", 0, 1)),
            (false, 4, _) => Some(change::sysctl(&one(), 0, 1)),
            (false, ..) => Some(change::sysctl("net/ipv6/conf/all/forwarding", 0, 1)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fix(version: u8, all: u64, interface: u64) -> Option<String> {
        let forwarding = Forwarding {
            version,
            ifname: "eth0".to_owned(),
            all,
            interface,
        };
        Some(forwarding.fix()?.line())
    }

    #[test]
    fn the_fix_is_where_it_is_off() {
        let line = |fix: Option<String>| fix.unwrap_or_default();
        assert_eq!(line(fix(4, 0, 0)), "sysctl -w net.ipv4.ip_forward=1");
        assert_eq!(
            line(fix(4, 1, 0)),
            "sysctl -w net.ipv4.conf.eth0.forwarding=1"
        );
        assert_eq!(
            line(fix(6, 0, 1)),
            "sysctl -w net.ipv6.conf.all.forwarding=1"
        );
        assert_eq!([fix(4, 0, 1), fix(6, 1, 0)], [None, None]);
    }
}
