//! Programs that drop all that they see: at a netfilter hook, and in a control group.

use std::{
    fs::{self, File},
    io,
    os::fd::{AsRawFd, OwnedFd},
    path::{Path, PathBuf},
    process,
    sync::atomic::{AtomicU32, Ordering},
};

use anyhow::{Context, Result};

use super::{
    bpf::{self, Instruction},
    classifier::Direction,
};
use crate::lab::Namespace;

/// `return 0`: to drop.
const RETURN_ZERO: [Instruction; 2] = [(0xb7, 0x00, 0, 0), (0x95, 0x00, 0, 0)];

/// Types of programs (`enum bpf_prog_type`).
const CGROUP_SKB: u32 = 8;
const CGROUP_SOCK_ADDR: u32 = 18;
const NETFILTER: u32 = 32;

/// Places for them (`enum bpf_attach_type`).
const AT_CGROUP_INGRESS: u32 = 0;
const AT_CGROUP_EGRESS: u32 = 1;
const AT_CGROUP_CONNECT4: u32 = 10;
const AT_NETFILTER: u32 = 45;

/// A hook of netfilter, by its number (`enum nf_inet_hooks`).
#[derive(Debug, Clone, Copy)]
pub enum NetfilterHook {
    /// `NF_INET_PRE_ROUTING`
    Prerouting = 0,
    /// `NF_INET_FORWARD`
    Forward = 2,
    /// `NF_INET_POST_ROUTING`
    Postrouting = 4,
}

/// Drops whatever IPv4 packet comes to a hook, until this value goes.
pub struct NetfilterDrop {
    _link: OwnedFd,
}

impl NetfilterDrop {
    /// Loads the program and attaches it to a hook of a namespace.
    pub fn attach(namespace: &Namespace, hook: NetfilterHook) -> Result<Self> {
        /// `NFPROTO_IPV4`
        const IPV4: u32 = 2;
        const PRIORITY: u32 = 10;
        let program = bpf::load_for(NETFILTER, AT_NETFILTER, &RETURN_ZERO)
            .context("cannot load the netfilter program")?;
        let hook = [IPV4, hook as u32, PRIORITY, 0];
        let link = namespace.enter(|| bpf::link_with(&program, 0, AT_NETFILTER, 0, hook));
        Ok(Self {
            _link: link.context("cannot attach the netfilter program")?,
        })
    }
}

/// A control group of its own, whose processes' packets are dropped from [`CgroupDrop::strike`] on.
pub struct CgroupDrop {
    path: PathBuf,
    link: Option<OwnedFd>,
}

impl CgroupDrop {
    /// Makes the control group.
    pub fn create() -> Result<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let mounts = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"].map(Path::new);
        let mount = mounts
            .into_iter()
            .find(|mount| mount.join("cgroup.procs").exists())
            .context("no control groups of version 2 are mounted")?;
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = mount.join(format!("wd-{}-{number}", process::id()));
        fs::create_dir(&path).with_context(|| path.display().to_string())?;
        Ok(Self { path, link: None })
    }

    /// Its name.
    pub fn name(&self) -> String {
        let name = self.path.file_name().unwrap_or_default();
        name.to_string_lossy().into_owned()
    }

    /// The file that takes a process' id, to have it in the group.
    pub fn procs(&self) -> PathBuf {
        self.path.join("cgroup.procs")
    }

    /// Attaches the program that drops what its processes get, or send.
    pub fn strike(&mut self, direction: Direction) -> Result<()> {
        let at = match direction {
            Direction::Ingress => AT_CGROUP_INGRESS,
            Direction::Egress => AT_CGROUP_EGRESS,
        };
        self.attach(CGROUP_SKB, at)
    }

    /// Attaches a program that refuses the connects of its processes over IPv4.
    pub fn refuse_connects(&mut self) -> Result<()> {
        self.attach(CGROUP_SOCK_ADDR, AT_CGROUP_CONNECT4)
    }

    fn attach(&mut self, kind: u32, at: u32) -> Result<()> {
        let program =
            bpf::load_for(kind, at, &RETURN_ZERO).context("cannot load the cgroup program")?;
        let attach = || -> io::Result<OwnedFd> {
            let group = File::open(&self.path)?;
            bpf::link(&program, group.as_raw_fd().cast_unsigned(), at, 0)
        };
        self.link = Some(attach().context("cannot attach the cgroup program")?);
        Ok(())
    }
}

impl Drop for CgroupDrop {
    fn drop(&mut self) {
        self.link = None;
        if let Err(error) = fs::remove_dir(&self.path) {
            eprintln!("{}: {error}", self.path.display());
        }
    }
}
