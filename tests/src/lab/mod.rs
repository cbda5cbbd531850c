//! A lab: some network namespaces that belong together and vanish together.

mod address;
mod command;
mod host;
mod link;
mod memory_limit;
mod namespace;
mod sweep;
pub mod topology;
mod tun;
mod wireguard;

use std::{
    process,
    sync::{
        Once,
        atomic::{AtomicU32, Ordering},
    },
};

use anyhow::Result;

pub use address::{AddressPlan, Family};
pub use command::{output, output_with_input};
pub use host::Host;
pub use link::{Bridge, VethPair, VethPairs, Vxlan};
pub use memory_limit::MemoryLimit;
pub use namespace::Namespace;
pub use sweep::sweep;
pub use topology::{Hint, Topology};
pub use tun::tun_device;
pub use wireguard::{Wireguard, WireguardPeer};

/// Hands out namespaces with names of their own and addresses of their own.
///
/// Namespaces are called `wd-<pid>-<lab>-<role>`: the process ID shows later runs which of them
/// were left behind by a process that died before it could clean up.
pub struct Lab {
    prefix: String,
    plan: AddressPlan,
    keep: bool,
}

impl Lab {
    /// A new lab of this process. The first one sweeps up what dead processes left behind.
    pub fn new() -> Result<Self> {
        static SWEPT: Once = Once::new();
        static NUMBER: AtomicU32 = AtomicU32::new(0);

        SWEPT.call_once(sweep);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        Ok(Self {
            prefix: format!("wd-{}-{number}", process::id()),
            plan: AddressPlan::of(process::id(), number),
            keep: false,
        })
    }

    /// A lab that stays when the process ends; its namespaces are called `<name>-<role>`.
    pub fn kept(name: &str) -> Self {
        Self {
            prefix: name.to_owned(),
            plan: AddressPlan::of(0, 0),
            keep: true,
        }
    }

    /// Creates the namespace for one role in the lab.
    pub fn namespace(&self, role: &str) -> Result<Namespace> {
        Namespace::create(&format!("{}-{role}", self.prefix), self.keep)
    }

    /// Which addresses this lab uses.
    pub fn plan(&self) -> AddressPlan {
        self.plan
    }
}
