//! The programs that the labs are made with, and those that look at them.

use crate::run;

/// A program, the Debian package that has it, and what for.
pub(crate) struct Tool {
    pub(super) program: &'static str,
    pub(super) package: &'static str,
    purpose: &'static str,
}

const fn tool(program: &'static str, package: &'static str, purpose: &'static str) -> Tool {
    Tool {
        program,
        package,
        purpose,
    }
}

pub(super) const LAB_TOOLS: [Tool; 18] = [
    tool("ip", "iproute2", "network namespaces, links, routes"),
    tool("tc", "iproute2", "queues and packet filters"),
    tool("bridge", "iproute2", "forwarding entries"),
    tool("nft", "nftables", "rules that drop"),
    tool(
        "iptables-legacy",
        "iptables",
        "rules that drop, the old way",
    ),
    tool("ip6tables-legacy", "iptables", "the same for IPv6"),
    tool("ipset", "ipset", "sets that recorded rules ask"),
    tool("nfacct", "nfacct", "counters that recorded rules name"),
    tool(
        "bpftool",
        "bpftool",
        "to see that nothing of ours is left in the kernel",
    ),
    tool("conntrack", "conntrack", "connection tracking"),
    tool("ethtool", "ethtool", "offloads and checksums"),
    tool(
        "tcpdump",
        "tcpdump",
        "a second opinion on what a link carried",
    ),
    tool("ping", "iputils-ping", "ICMP traffic"),
    tool(
        "nc",
        "netcat-openbsd",
        "connections by hand, as the labs suggest",
    ),
    tool("sysctl", "procps", "kernel settings of a namespace"),
    tool("modprobe", "kmod", "kernel modules that a lab needs"),
    tool("unshare", "util-linux", "namespaces of time and users"),
    tool(
        "setpriv",
        "util-linux",
        "other users, and fewer capabilities",
    ),
];

/// What the labs with a container runtime need besides. Virtual machines have none.
pub(super) const RUNTIME_TOOLS: [Tool; 6] = [
    tool("containerd", "containerd", "a container runtime"),
    tool("ctr", "containerd", "to give it an image"),
    tool("runc", "runc", "what it runs containers with"),
    tool(
        "/usr/lib/cni/bridge",
        "containernetworking-plugins",
        "the network of its pods",
    ),
    tool("busybox", "busybox-static", "what runs in them"),
    tool("findmnt", "util-linux", "to keep its mounts apart"),
];

/// What the virtual machines need besides: only `vm-test` asks for it.
pub(super) const VM_TOOLS: [Tool; 5] = [
    tool("qemu-system-x86_64", "qemu-system-x86", "virtual machines"),
    tool("busybox", "busybox-static", "the shell inside"),
    tool("depmod", "kmod", "to order kernel modules"),
    tool("ldd", "libc-bin", "to find what the tools inside need"),
    tool("dpkg", "dpkg", "to unpack kernels"),
];

/// What it takes to build for ARM besides, and to run what was built.
pub(super) const ARM_TOOLS: [Tool; 3] = [
    tool(
        "aarch64-linux-gnu-gcc",
        "gcc-aarch64-linux-gnu",
        "a compiler and linker for aarch64",
    ),
    // The compiler's package only recommends it.
    tool(
        "/usr/aarch64-linux-gnu/lib/libc.a",
        "libc6-dev-arm64-cross",
        "the C library for aarch64, with its headers",
    ),
    tool(
        "qemu-aarch64-static",
        "qemu-user-static",
        "to run programs for aarch64",
    ),
];

/// What the packages of a release are installed with, to see that they can be.
pub(super) const PACKAGE_TOOLS: [Tool; 2] = [
    tool("dpkg", "dpkg", "to install a deb"),
    tool("rpm", "rpm", "to install an rpm"),
];

/// What the benchmarks compare with; they do without.
pub(super) const BENCH_TOOLS: [Tool; 1] = [tool(
    "bpftrace",
    "bpftrace",
    "the same question asked with a one-liner",
)];

/// The programs of the labs.
pub(super) fn of_labs() -> impl Iterator<Item = &'static str> {
    LAB_TOOLS.iter().map(|tool| tool.program)
}

/// Those of the tools that are not here.
pub(super) fn missing(tools: &'static [Tool]) -> Vec<&'static Tool> {
    tools
        .iter()
        .filter(|tool| run::find(tool.program).is_none())
        .collect()
}

/// The packages that have these tools, each once.
pub(super) fn packages(tools: &[&Tool]) -> Vec<&'static str> {
    let mut packages: Vec<_> = tools.iter().map(|tool| tool.package).collect();
    packages.dedup();
    packages
}

/// One line for each tool.
pub(super) fn list(tools: &[&Tool]) -> String {
    let line = |tool: &&Tool| {
        let Tool {
            program,
            package,
            purpose,
        } = tool;
        format!("  {program:<16} {purpose} (Debian package {package})")
    };
    tools.iter().map(line).collect::<Vec<_>>().join("\n")
}
