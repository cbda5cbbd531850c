//! Parts of the kernel that a question would load, because it has them as modules: a question is
//! asked only of what is in the kernel already.
//!
//! A netlink message for a subsystem that is not there makes the kernel call `request_module`
//! (`nfnetlink_rcv_msg`, `sock_diag_lock_handler`), also when it comes from a tool such as nft, and
//! the module stays. What is not in the kernel cannot have dropped a packet either.

use std::{collections::BTreeSet, fs, io, path::Path, sync::OnceLock};

/// A part of the kernel that answers questions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Subsystem {
    /// nf_tables: the rules of nft and of iptables-nft.
    NfTables,
    /// ctnetlink: entries and counters of connection tracking.
    Conntrack,
    /// sock_diag for TCP: listeners with their queues.
    TcpSockets,
    /// sock_diag for UDP: which interface a socket is bound to.
    UdpSockets,
    /// WireGuard's devices and peers.
    Wireguard,
    /// The policies and states of IPsec.
    Xfrm,
}

impl Subsystem {
    const ALL: [Self; 6] = [
        Self::NfTables,
        Self::Conntrack,
        Self::TcpSockets,
        Self::UdpSockets,
        Self::Wireguard,
        Self::Xfrm,
    ];

    /// The module, where it is one.
    pub(crate) const fn module(self) -> &'static str {
        match self {
            Self::NfTables => "nf_tables",
            Self::Conntrack => "nf_conntrack_netlink",
            Self::TcpSockets => "tcp_diag",
            Self::UdpSockets => "udp_diag",
            Self::Wireguard => "wireguard",
            Self::Xfrm => "xfrm_user",
        }
    }

    /// A function that it alone has, by which built-in code is known.
    const fn function(self) -> &'static str {
        match self {
            Self::NfTables => "nft_do_chain",
            Self::Conntrack => "ctnetlink_dump_table",
            Self::TcpSockets => "tcp_diag_dump",
            Self::UdpSockets => "udp_diag_dump",
            Self::Wireguard => "wg_get_device_dump",
            Self::Xfrm => "xfrm_dump_policy",
        }
    }

    /// Whether it is in the kernel now, loaded or built in, so that asking loads nothing.
    pub(crate) fn is_in_kernel(self) -> bool {
        // Without this file, the kernel has no modules, and asking loads nothing.
        let Ok(loaded) = fs::read_to_string("/proc/modules") else {
            return !Path::new("/proc/modules").exists();
        };
        is_loaded(&loaded, self.module()) || built_in().contains(&self)
    }

    /// The error where it is not in the kernel.
    ///
    /// # Errors
    ///
    /// It is not, and asking would load its module.
    pub(crate) fn require(self) -> io::Result<()> {
        if self.is_in_kernel() {
            return Ok(());
        }
        let what = format!(
            "the kernel module {} is not loaded, and whydrop loads none",
            self.module()
        );
        Err(io::Error::new(io::ErrorKind::Unsupported, what))
    }
}

/// Whether `/proc/modules` lists the module as loaded. Its lines are `name size references users state
/// address`. One that is going would be loaded again, and one that is coming may fail.
fn is_loaded(modules: &str, name: &str) -> bool {
    modules.lines().any(|line| {
        let mut fields = line.split(' ');
        fields.next() == Some(name) && fields.nth(3) == Some("Live")
    })
}

/// Those that are part of the kernel's image, which does not change while it runs.
fn built_in() -> &'static BTreeSet<Subsystem> {
    static BUILT_IN: OnceLock<BTreeSet<Subsystem>> = OnceLock::new();
    BUILT_IN.get_or_init(|| {
        let symbols = fs::read_to_string("/proc/kallsyms").unwrap_or_default();
        in_image(&symbols)
    })
}

/// Lines of `/proc/kallsyms` are `address type name`, and of a module `… [module]`.
fn in_image(symbols: &str) -> BTreeSet<Subsystem> {
    let mut found = BTreeSet::new();
    for line in symbols.lines() {
        let mut fields = line.split_ascii_whitespace().skip(2);
        let (Some(name), None) = (fields.next(), fields.next()) else {
            continue;
        };
        let is_of = |subsystem: &Subsystem| subsystem.function() == name;
        found.extend(Subsystem::ALL.into_iter().filter(is_of));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_are_known_by_their_whole_name() {
        let modules = "nf_tables_set 1 0 - Live 0x0\ntcp_diag 16384 0 - Live 0x0\n";
        assert!(is_loaded(modules, "tcp_diag"));
        assert!(!is_loaded(modules, "nf_tables"));
        assert!(!is_loaded("", "tcp_diag"));
    }

    #[test]
    fn modules_that_come_or_go_are_not_loaded() {
        let modules = "nf_tables 1 0 - Unloading 0x0\ntcp_diag 16384 0 - Loading 0x0\n\
                       inet_diag 24576 2 tcp_diag,udp_diag, Live 0x0 (E)\nudp_diag\n";
        assert!(!is_loaded(modules, "nf_tables"));
        assert!(!is_loaded(modules, "tcp_diag"));
        assert!(is_loaded(modules, "inet_diag"));
        assert!(!is_loaded(modules, "udp_diag"));
    }

    #[test]
    fn built_in_code_is_known_by_a_function() {
        let symbols = "0000000000000000 T nft_do_chain\n\
                       0000000000000000 t tcp_diag_dump\t[tcp_diag]\n\
                       0000000000000000 t ctnetlink_dump_table_else\n";
        assert_eq!(in_image(symbols), BTreeSet::from([Subsystem::NfTables]));
    }

    #[test]
    fn a_kernel_without_modules_can_be_asked_for_everything() {
        if !Path::new("/proc/modules").exists() {
            assert!(Subsystem::ALL.into_iter().all(Subsystem::is_in_kernel));
        }
    }
}
