//! The namespaces of an incident, and what is done in them before anything happens.

use std::{any::Any, cell::RefCell, fs, process::Command};

use anyhow::{Context, Result};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    lab::{Lab, Namespace, VethPair, output},
    poll_until,
};

/// One end of a link: the role of its namespace, and the interface.
pub type LinkEnd<'a> = (&'a str, &'a str);

/// Network namespaces that go by their roles. Their true names are unique, so that any number of
/// stages stand side by side; all of it vanishes with the stage.
pub struct Stage {
    /// Ends before the namespaces that it is in.
    pub(super) servers: RefCell<Vec<Box<dyn Any>>>,
    namespaces: Vec<(String, Namespace)>,
    lab: Lab,
    directory: TempDir,
    ipv6: bool,
}

impl Stage {
    /// Namespaces with these roles, which speak IPv4 only: nothing but the incident's own traffic
    /// is on their links.
    pub fn new<const N: usize>(roles: [&str; N]) -> Result<Self> {
        Self::build(&roles, false)
    }

    /// Namespaces that speak IPv6 too.
    pub fn with_ipv6<const N: usize>(roles: [&str; N]) -> Result<Self> {
        Self::build(&roles, true)
    }

    fn build(roles: &[&str], ipv6: bool) -> Result<Self> {
        let mut stage = Self {
            servers: RefCell::default(),
            namespaces: Vec::new(),
            lab: Lab::new()?,
            directory: tempfile::tempdir()?,
            ipv6,
        };
        roles.iter().try_for_each(|role| stage.add(role))?;
        Ok(stage)
    }

    /// Another namespace.
    pub fn add(&mut self, role: &str) -> Result<()> {
        let namespace = self.lab.namespace(role)?;
        if !self.ipv6 {
            for place in ["all", "default"] {
                namespace.sysctl(&format!("ipv6/conf/{place}/disable_ipv6"), "1")?;
            }
        }
        self.namespaces.push((role.to_owned(), namespace));
        Ok(())
    }

    /// Takes a namespace away, with all that is in it.
    pub fn remove(&mut self, role: &str) {
        self.namespaces.retain(|(name, _)| name != role);
    }

    /// The namespace of a role.
    ///
    /// # Panics
    ///
    /// Panics if there is no namespace with that role.
    pub fn namespace(&self, role: &str) -> &Namespace {
        let mut all = self.namespaces.iter();
        let found = all.find(|(name, _)| name == role);
        &found.unwrap_or_else(|| panic!("no namespace {role}")).1
    }

    /// The name of a role's namespace, as `ip netns` knows it and verdicts give it.
    pub fn name(&self, role: &str) -> &str {
        self.namespace(role).name()
    }

    /// Two interfaces with a cable between them, up.
    pub fn veth(&self, a: LinkEnd<'_>, b: LinkEnd<'_>) -> Result<()> {
        VethPair {
            a: (self.namespace(a.0), a.1),
            b: (self.namespace(b.0), b.1),
        }
        .create()
    }

    /// Runs `ip` in a namespace, once for each of the commands, which semicolons or lines separate:
    /// `addr add 10.20.1.2/24 dev eth0; route add default via 10.20.1.1`. `$role` is the name of
    /// another role's namespace.
    pub fn ip(&self, role: &str, commands: &str) -> Result<()> {
        let name = self.name(role);
        let lines = commands.split([';', '\n']).map(str::trim);
        let script: Vec<String> = lines
            .filter(|line| !line.is_empty())
            .map(|line| format!("ip -n {name} {line}"))
            .collect();
        let mut shell = Command::new("sh");
        shell.args(["-euc", &script.join("\n")]);
        output(shell.envs(self.names()))
            .map(drop)
            .with_context(|| format!("ip in {role}"))
    }

    /// Runs shell commands in a namespace, to the first that fails, and returns what they print.
    /// `$role` is the name of another role's namespace.
    pub fn exec(&self, role: &str, script: &str) -> Result<String> {
        // `ip netns exec` mounts the namespace's own /sys, which bridges and queues are set by.
        let mut ip = Command::new("ip");
        ip.args(["netns", "exec", self.name(role), "sh", "-euc", script]);
        output(ip.envs(self.names())).with_context(|| format!("in {role}"))
    }

    /// Sets kernel settings of a namespace: `net.ipv4.ip_forward=1 net.ipv4.conf.va.rp_filter=0`. As
    /// for sysctl(8), the name of an interface may have dots in it if slashes separate the rest.
    pub fn sysctl(&self, role: &str, settings: &str) -> Result<()> {
        for setting in settings.split_whitespace() {
            let (key, value) = setting.split_once('=').context("key=value")?;
            let path = if key.contains('/') {
                key.to_owned()
            } else {
                key.replace('.', "/")
            };
            let path = path
                .strip_prefix("net/")
                .context("a setting of the network")?;
            self.namespace(role).sysctl(path, value)?;
        }
        Ok(())
    }

    /// Runs `work` on a thread inside a namespace: sockets that are made there stay there.
    pub fn enter<T: Send>(&self, role: &str, work: impl FnOnce() -> T + Send) -> T {
        self.namespace(role).enter(work)
    }

    /// Writes Kubernetes objects to a file as `kubectl get -o json` does, and returns its path, for
    /// `--cluster`.
    pub fn objects(&self, items: &[Value]) -> Result<String> {
        let list = json!({"apiVersion": "v1", "kind": "List", "items": items});
        let path = self.directory.path().join("objects.json");
        fs::write(&path, list.to_string())?;
        Ok(path.to_str().context("a path is text")?.to_owned())
    }

    fn names(&self) -> impl Iterator<Item = (&str, &str)> {
        let all = self.namespaces.iter();
        all.map(|(role, namespace)| (role.as_str(), namespace.name()))
    }

    /// The namespaces, with their roles.
    pub(super) fn roles(&self) -> impl Iterator<Item = (&str, &Namespace)> {
        let all = self.namespaces.iter();
        all.map(|(role, namespace)| (role.as_str(), namespace))
    }

    /// Waits until every link that has a carrier also takes packets.
    ///
    /// Polls: that happens a moment after the carrier comes, and until then whatever is sent is
    /// lost without a drop reason of its own. A link without a carrier may be what the incident is.
    pub(super) fn settle(&self) -> Result<()> {
        for (role, namespace) in self.roles() {
            poll_until(&format!("the links in {role}"), || {
                let links = namespace.run("ip -oneline link show up").ok()?;
                let waits = |line: &str| line.contains("LOWER_UP") && line.contains("state DOWN");
                (!links.lines().any(waits)).then_some(())
            })?;
        }
        Ok(())
    }
}
