//! Kinds of tunnels, and what is particular to each.

/// A kind of tunnel.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Kind {
    IpInIp,
    Gre,
    Geneve,
    Wireguard,
}

/// What is particular to a kind.
pub(super) struct Facts {
    /// As verdicts have it.
    pub(super) name: &'static str,
    /// As the kernel has it, to create one.
    pub(super) link: &'static str,
    /// The tunnel's device on both nodes.
    pub(super) device: &'static str,
    /// Bytes that it adds to each packet.
    pub(super) overhead: u32,
    /// Its packets, in a rule of nftables.
    pub(super) packets: &'static str,
    /// They, in a rule that is proposed for them.
    pub(super) admitted: &'static str,
    /// What is to be opened for them between the nodes: the protocol, and the port behind the addresses.
    pub(super) opened: (&'static str, &'static str),
    /// What is said of packets that no device takes.
    pub(super) untaken: &'static str,
}

impl Kind {
    pub(super) const fn facts(self) -> Facts {
        match self {
            Self::IpInIp => Facts {
                name: "IP-in-IP",
                link: "ipip remote 192.0.2.1",
                device: "tunl0",
                overhead: 20,
                packets: "ip protocol 4",
                admitted: "meta l4proto 4",
                opened: ("IP-in-IP (protocol 4)", ""),
                untaken: "no tunnel device takes the encapsulated packet here",
            },
            Self::Gre => Facts {
                name: "GRE",
                link: "gre remote 192.0.2.1",
                device: "gre1",
                overhead: 24,
                packets: "ip protocol 47",
                admitted: "meta l4proto 47",
                opened: ("GRE (protocol 47)", ""),
                untaken: "no tunnel device takes the encapsulated packet here",
            },
            Self::Geneve => Facts {
                name: "Geneve",
                link: "geneve id 7 remote 192.0.2.1",
                device: "gnv1",
                overhead: 50,
                packets: "udp dport 6081",
                admitted: "udp dport 6081",
                opened: ("udp", " port 6081"),
                untaken: "no tunnel device listens for the encapsulated packet here",
            },
            Self::Wireguard => Facts {
                name: "WireGuard",
                link: "wireguard",
                device: "wg0",
                overhead: 60,
                packets: "udp dport 51820",
                admitted: "udp dport 51820",
                opened: ("udp", " port 51820"),
                untaken: "",
            },
        }
    }
}
