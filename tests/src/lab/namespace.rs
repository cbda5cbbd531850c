//! One network namespace.

use std::{
    fs::{self, File},
    os::{fd::AsFd, unix::fs::MetadataExt},
    path::{Path, PathBuf},
    process::Command,
    thread,
};

use anyhow::{Context, Result};
use nix::sched::{CloneFlags, setns};

use super::command::{output, output_with_input};

/// A named network namespace, deleted on drop.
pub struct Namespace {
    name: String,
    file: File,
    inode: u32,
    keep: bool,
}

impl Namespace {
    pub(crate) fn create(name: &str, keep: bool) -> Result<Self> {
        output(Command::new("ip").args(["netns", "add", name]))?;
        let namespace = Self::named(name, keep)?;
        // Addresses are usable at once, and nothing is sent that a test did not ask for.
        for key in ["default/accept_dad", "default/router_solicitations"] {
            namespace.sysctl(&format!("ipv6/conf/{key}"), "0")?;
        }
        // On a Kubernetes node, each pod forwards: a new namespace has the node's settings of IPv4
        // (net.core.devconf_inherit_init_net).
        namespace.sysctl("ipv4/ip_forward", "1")?;
        namespace.run("ip link set lo up")?;
        Ok(namespace)
    }

    /// Gives a name to a namespace that is mounted somewhere else, as that of a container is.
    pub(crate) fn adopt(path: &Path, name: &str) -> Result<Self> {
        let named = Self::path_of(name);
        File::create_new(&named).with_context(|| named.display().to_string())?;
        let mut mount = Command::new("mount");
        output(mount.arg("--bind").args([path, &named]))?;
        Self::named(name, false)
    }

    fn named(name: &str, keep: bool) -> Result<Self> {
        // From here on `drop` takes it away again, whatever fails.
        let file = File::open(Self::path_of(name))
            .with_context(|| format!("cannot open the new namespace {name}"))?;
        let inode = u32::try_from(file.metadata()?.ino()).context("namespace inodes are 32 bit")?;
        Ok(Self {
            name: name.to_owned(),
            file,
            inode,
            keep,
        })
    }

    fn path_of(name: &str) -> PathBuf {
        Path::new("/run/netns").join(name)
    }

    /// Its name, as `ip netns` and `whydrop --netns` take it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its inode number, as records show it.
    pub fn inode(&self) -> u32 {
        self.inode
    }

    /// Runs `work` on a thread of its own inside the namespace.
    ///
    /// A socket made in there stays in the namespace, wherever it is used later, and so does a
    /// process started in there.
    pub fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        thread::scope(|scope| {
            let inside = scope.spawn(|| {
                setns(self.file.as_fd(), CloneFlags::CLONE_NEWNET)
                    .unwrap_or_else(|error| panic!("cannot enter {}: {error}", self.name));
                work()
            });
            inside
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Runs a command line, split at white space, and returns what it printed.
    pub fn run(&self, line: &str) -> Result<String> {
        self.run_with_input(line, "")
    }

    /// Like [`run`](Self::run), with something to read on stdin.
    pub fn run_with_input(&self, line: &str, input: &str) -> Result<String> {
        let mut words = line.split_whitespace();
        let program = words.next().context("an empty command line")?;
        // A child is born into the namespace of the thread that starts it. `ip netns exec` would
        // also give it another /sys, which nothing here needs.
        self.enter(|| output_with_input(Command::new(program).args(words), input))
            .with_context(|| format!("in namespace {}", self.name))
    }

    /// Sets `/proc/sys/net/<key>`.
    pub fn sysctl(&self, key: &str, value: &str) -> Result<()> {
        let path = Path::new("/proc/sys/net").join(key);
        // Which namespace's value this file shows depends on who opens it.
        self.enter(|| fs::write(&path, value))
            .with_context(|| format!("cannot set {} in {}", path.display(), self.name))
    }

    /// The tc filters at an interface as `tc` shows them: ingress, then egress. Programs attached
    /// by TCX are not among them.
    pub fn tc_filters(&self, ifname: &str) -> Result<[String; 2]> {
        let [ingress, egress] = ["ingress", "egress"]
            .map(|direction| self.run(&format!("tc filter show dev {ifname} {direction}")));
        Ok([ingress?, egress?])
    }

    /// Lets it forward packets, as a router or a node does.
    pub fn forward(&self) -> Result<()> {
        self.sysctl("ipv4/ip_forward", "1")?;
        self.sysctl("ipv6/conf/all/forwarding", "1")
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        if !self.keep
            && let Err(error) = delete(&self.name)
        {
            eprintln!("{error:#}");
        }
    }
}

/// Deletes a namespace by its name.
pub(crate) fn delete(name: &str) -> Result<()> {
    output(Command::new("ip").args(["netns", "delete", name])).map(drop)
}
