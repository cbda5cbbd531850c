//! The address plan: which lab uses which addresses.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    thread,
};

use anyhow::{Context, Result};

/// IPv4 or IPv6.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// Both, in the order in which scenarios go through them.
    pub const BOTH: [Self; 2] = [Self::V4, Self::V6];

    /// Does the same for both, and stops at the first failure.
    pub fn each(run: impl Fn(Self) -> Result<()>) -> Result<()> {
        Self::BOTH.into_iter().try_for_each(run)
    }

    /// Does the same for both at once, for what consists of waiting.
    pub fn at_once(run: impl Fn(Self) -> Result<()> + Sync) -> Result<()> {
        thread::scope(|scope| {
            let running = Self::BOTH.map(|family| {
                scope.spawn({
                    let run = &run;
                    move || run(family).with_context(|| format!("over {family}"))
                })
            });
            running.into_iter().try_for_each(|running| {
                let ended = running.join();
                ended.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            })
        })
    }

    /// The one value that belongs to this family.
    pub fn pick<T>(self, v4: T, v6: T) -> T {
        match self {
            Self::V4 => v4,
            Self::V6 => v6,
        }
    }

    /// The option that makes `ip` speak this family: `-4` or `-6`.
    pub fn flag(self) -> &'static str {
        self.pick("-4", "-6")
    }

    /// The prefix length of every subnet in a lab.
    pub fn prefix_len(self) -> u8 {
        self.pick(24, 64)
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.pick("IPv4", "IPv6"))
    }
}

/// The addresses of one lab: `10.<lab>.<subnet>.<host>` and `fd00:<lab>:<subnet>::<host>`.
///
/// Labs are apart because their namespaces are; different addresses in each make it visible, in
/// the output of any tool, whose packet one is looking at.
#[derive(Debug, Clone, Copy)]
pub struct AddressPlan {
    lab: u8,
}

impl AddressPlan {
    pub(crate) fn of(pid: u32, number: u32) -> Self {
        // Neighbouring process ids start far apart, so that two test processes seldom meet.
        let lab = pid.wrapping_mul(37).wrapping_add(number) % 250 + 1;
        Self {
            lab: u8::try_from(lab).expect("a number modulo 250, plus one"),
        }
    }

    /// The addresses of a lab with this number: `10.<lab>.…`, which recordings may ask for.
    pub(crate) fn numbered(lab: u8) -> Self {
        Self { lab }
    }

    /// A host's address.
    pub fn address(self, family: Family, subnet: u8, host: u8) -> IpAddr {
        match family {
            Family::V4 => Ipv4Addr::new(10, self.lab, subnet, host).into(),
            Family::V6 => Ipv6Addr::new(
                0xfd00,
                self.lab.into(),
                subnet.into(),
                0,
                0,
                0,
                0,
                host.into(),
            )
            .into(),
        }
    }

    /// A subnet, as `ip route` wants it.
    pub fn subnet(self, family: Family, subnet: u8) -> String {
        format!(
            "{}/{}",
            self.address(family, subnet, 0),
            family.prefix_len()
        )
    }
}
