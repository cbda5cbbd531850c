//! Names of network namespaces.

use std::fmt;

use super::shell::Command;

/// What a network namespace is known by.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum NetnsName {
    /// It is the one that whydrop runs in, the host's.
    Own,
    /// Its name in `ip netns`.
    Named(String),
    /// A process in it.
    Process {
        /// The process' name.
        comm: String,
        /// Its number.
        pid: u32,
    },
}

impl NetnsName {
    /// The command, to be run in this namespace.
    pub fn enter(&self, command: &Command) -> Command {
        // `ip netns exec` mounts a /sys of its own, which ends with the command.
        let needs_sys = || command.any_text(&|text| text.starts_with("/sys/"));
        let is_option = |name: &str| name.starts_with('-');
        let net = |path: String| Command::new("nsenter").arg(format!("--net={path}"));
        match self {
            Self::Own => command.clone(),
            Self::Named(name) if is_option(name) || needs_sys() => {
                command.run_by(net(format!("/run/netns/{name}")))
            }
            Self::Named(name) => command.run_by(Command::new("ip netns exec").arg(name)),
            Self::Process { pid, .. } => command.run_by(net(format!("/proc/{pid}/ns/net"))),
        }
    }
}

/// `host`, the name, or `comm[pid]`
impl fmt::Display for NetnsName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Own => f.write_str("host"),
            Self::Named(name) => f.write_str(name),
            Self::Process { comm, pid } => write!(f, "{comm}[{pid}]"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_namespace_has_its_way_in() {
        let command = Command::new("ip route del").arg("10.0.0.0/8");
        let pin = Command::new("bpftool prog pin id 7 /sys/fs/bpf/held-7");
        let named = |name: &str| NetnsName::Named(name.to_owned());
        let process = NetnsName::Process {
            comm: "nginx".to_owned(),
            pid: 42,
        };
        for (name, command, entered) in [
            (&NetnsName::Own, &command, "ip route del 10.0.0.0/8"),
            (
                &named("cni-1"),
                &command,
                "ip netns exec cni-1 ip route del 10.0.0.0/8",
            ),
            (
                &process,
                &command,
                "nsenter --net=/proc/42/ns/net ip route del 10.0.0.0/8",
            ),
            (
                &named("-x"),
                &command,
                "nsenter --net=/run/netns/-x ip route del 10.0.0.0/8",
            ),
            (
                &named("cni-1"),
                &pin,
                "nsenter --net=/run/netns/cni-1 bpftool prog pin id 7 /sys/fs/bpf/held-7",
            ),
        ] {
            assert_eq!(name.enter(command).to_string(), entered);
        }
    }
}
