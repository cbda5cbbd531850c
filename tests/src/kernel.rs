//! The running kernel, and what older ones do otherwise than the newest that the tests run on.
//!
//! Scenarios say what the newest kernel does. Where an older one truly differs, [`DIFFERENCES`]
//! says how and why, and nothing else may. `docs/kernels.md` shows the same table.

use std::{fs, sync::OnceLock};

/// A release: version, patch level, and number in its stable series.
pub type Release = (u32, u32, u32);

/// What kernels before a release do otherwise.
#[derive(Debug, Clone, Copy)]
pub struct Difference {
    /// The first release that is like the newest.
    pub before: Release,
    /// What differs.
    pub what: What,
    /// Why it does, with the kernel source.
    pub why: &'static str,
}

/// What can differ.
#[derive(Debug, Clone, Copy)]
pub enum What {
    /// A drop shows with another reason or in another function.
    Drop {
        /// On the newest kernel.
        newest: Place,
        /// On the older ones.
        older: Place,
    },
    /// Something else, in words.
    Behavior(&'static str),
}

/// A drop reason, and the function that drops.
pub type Place = (&'static str, &'static str);

/// What is left of a trace that was killed.
pub const KILLED: Difference = Difference {
    before: (6, 6, 0),
    what: What::Behavior("a killed trace leaves its tc filters until the next start removes them"),
    why: "there are no TCX links, which go with their process; a clsact filter has no owner",
};

/// The chain of tc programs that several tools share.
pub const NO_TCX: Difference = Difference {
    before: (6, 6, 0),
    what: What::Behavior(
        "tc programs are filters of a qdisc; there is no chain of links that tools share",
    ),
    why: "TCX came with 6.6 (kernel/bpf/tcx.c)",
};

/// The BPF programs that netfilter itself runs.
pub const NO_BPF_NETFILTER: Difference = Difference {
    before: (6, 4, 0),
    what: What::Behavior("there are no BPF programs at netfilter's hooks"),
    why: "BPF_PROG_TYPE_NETFILTER came with 6.4 (net/netfilter/nf_bpf_link.c)",
};

/// What is said of a tunnel's drop that has no reason.
pub const VXLAN_WITHOUT_REASONS: Difference = Difference {
    before: (6, 12, 0),
    what: What::Behavior(
        "a wrong VNI is a drop by the tunnel code, confirmed, without the cause inside it",
    ),
    why: "vxlan_rcv frees with no reason for each of its causes (drivers/net/vxlan/vxlan_core.c)",
};

/// Everything that differs.
pub const DIFFERENCES: &[Difference] = &[
    KILLED,
    NO_TCX,
    NO_BPF_NETFILTER,
    VXLAN_WITHOUT_REASONS,
    Difference {
        before: (6, 12, 0),
        what: What::Drop {
            newest: ("VXLAN_VNI_NOT_FOUND", "vxlan_rcv"),
            older: ("NOT_SPECIFIED", "vxlan_rcv"),
        },
        why: "VXLAN has no drop reasons yet (drivers/net/vxlan/vxlan_core.c)",
    },
    Difference {
        before: (6, 12, 0),
        what: What::Drop {
            newest: ("IP_TUNNEL_ECN", "vxlan_rcv"),
            older: ("NOT_SPECIFIED", "vxlan_rcv"),
        },
        why: "VXLAN has no drop reasons yet (drivers/net/vxlan/vxlan_core.c)",
    },
    Difference {
        before: (6, 12, 0),
        what: What::Drop {
            newest: ("VXLAN_ENTRY_EXISTS", "vxlan_rcv"),
            older: ("NOT_SPECIFIED", "vxlan_rcv"),
        },
        why: "VXLAN has no drop reasons yet (drivers/net/vxlan/vxlan_core.c)",
    },
    Difference {
        before: (6, 12, 0),
        what: What::Drop {
            newest: ("NO_TX_TARGET", "vxlan_xmit"),
            older: ("NOT_SPECIFIED", "vxlan_xmit"),
        },
        why: "VXLAN has no drop reasons yet (drivers/net/vxlan/vxlan_core.c)",
    },
    Difference {
        before: (6, 12, 0),
        what: What::Drop {
            newest: ("NOT_SPECIFIED", "nfqnl_reinject"),
            older: ("NOT_SPECIFIED", "nf_reinject"),
        },
        why: "netfilter's core takes packets back for all queues (net/netfilter/nf_queue.c): as seen \
              on 6.1.192 and 6.12.117",
    },
    Difference {
        before: (6, 12, 0),
        what: What::Drop {
            newest: ("FRAG_REASM_TIMEOUT", "ip_expire"),
            older: ("NOT_SPECIFIED", "ip_expire"),
        },
        why: "giving up on fragments has no reason yet: as seen on 6.1.192 and 6.12.117 \
              (net/ipv4/ip_fragment.c)",
    },
    Difference {
        before: (6, 12, 0),
        what: What::Drop {
            newest: ("QDISC_DROP", "__dev_queue_xmit"),
            older: ("QDISC_DROP", "kfree_skb_list_reason"),
        },
        why: "a list of skbs is freed by a call for each, which shows as the place: as seen on \
              6.1.192 and 6.12.117 (net/core/skbuff.c)",
    },
    Difference {
        before: (6, 18, 0),
        what: What::Drop {
            newest: ("TCP_RFC7323_TW_PAWS", "tcp_v4_rcv"),
            older: ("NOT_SPECIFIED", "tcp_v4_rcv"),
        },
        why: "tcp_timewait_state_process gives no reason yet (net/ipv4/tcp_minisocks.c)",
    },
    Difference {
        before: (6, 18, 0),
        what: What::Drop {
            newest: ("IP_OUTNOROUTES", "vxlan_xmit_one"),
            older: ("NOT_SPECIFIED", "vxlan_xmit_one"),
        },
        why: "a failed lookup of the VTEP's route is not distinguished from other errors yet \
              (drivers/net/vxlan/vxlan_core.c)",
    },
    Difference {
        before: (6, 18, 0),
        what: What::Drop {
            newest: ("IP_INNOROUTES", "ip6_pkt_discard"),
            older: ("IP_INNOROUTES", "ip6_pkt_drop"),
        },
        why: "ip6_pkt_discard calls ip6_pkt_drop, which frees: inlined in 6.18 as seen, not in \
              Debian's 6.1.192 and 6.12.117 (net/ipv6/route.c)",
    },
    Difference {
        before: (6, 18, 0),
        what: What::Drop {
            newest: ("IP_INNOROUTES", "ip6_pkt_prohibit"),
            older: ("IP_INNOROUTES", "ip6_pkt_drop"),
        },
        why: "likewise (net/ipv6/route.c)",
    },
];

impl Difference {
    /// Whether the running kernel is one of the older ones.
    pub fn applies(&self) -> bool {
        running() < self.before
    }
}

/// How the running kernel shows a drop that the newest one shows like this.
pub fn shown(newest: Place) -> Place {
    shown_by(running(), newest)
}

fn shown_by(release: Release, newest: Place) -> Place {
    // The change that came last is the first to be undone.
    let mut known: Vec<_> = DIFFERENCES
        .iter()
        .filter(|difference| release < difference.before)
        .collect();
    known.sort_by_key(|difference| difference.before);
    known
        .iter()
        .rev()
        .fold(newest, |place, difference| match difference.what {
            What::Drop { newest, older } if newest == place => older,
            _ => place,
        })
}

fn running() -> Release {
    static RUNNING: OnceLock<Release> = OnceLock::new();
    *RUNNING.get_or_init(|| {
        let release = fs::read_to_string("/proc/sys/kernel/osrelease")
            .unwrap_or_else(|error| panic!("the kernel does not say its release: {error}"));
        // Debian's 6.1 keeps the release of its first build there, and the true one here:
        // `#1 SMP PREEMPT_DYNAMIC Debian 6.1.192-2 (2026-…)`.
        let version = fs::read_to_string("/proc/sys/kernel/version").unwrap_or_default();
        debian(&version)
            .or_else(|| parse(&release))
            .unwrap_or_else(|| panic!("no version: {release}"))
    })
}

fn debian(version: &str) -> Option<Release> {
    let mut words = version.split_whitespace();
    words.find(|word| *word == "Debian")?;
    parse(words.next()?)
}

/// The first numbers of a release; the third may be missing.
fn parse(release: &str) -> Option<Release> {
    let mut numbers = release
        .split(|c: char| !c.is_ascii_digit())
        .map(|number| number.parse().ok());
    Some((
        numbers.next()??,
        numbers.next()??,
        numbers.next().flatten().unwrap_or(0),
    ))
}

#[test]
fn releases() {
    assert_eq!(parse("6.12.117+deb12-cloud-amd64\n"), Some((6, 12, 117)));
    assert_eq!(parse("7.0-rc1"), Some((7, 0, 0)));
    let version = "#1 SMP PREEMPT_DYNAMIC Debian 6.1.192-2 (2026-07-24)";
    assert_eq!(debian(version), Some((6, 1, 192)));
    assert_eq!(debian("#1 SMP Wed Jul 1 12:00:00 UTC 2026"), None);
}

#[test]
fn an_older_kernel_shows_it_otherwise() {
    let newest = ("VXLAN_VNI_NOT_FOUND", "vxlan_rcv");
    assert_eq!(shown_by((6, 18, 0), newest), newest);
    assert_eq!(
        shown_by((6, 1, 192), newest),
        ("NOT_SPECIFIED", "vxlan_rcv")
    );
    let same_everywhere = ("NETFILTER_DROP", "nft_do_chain");
    assert_eq!(shown_by((6, 1, 192), same_everywhere), same_everywhere);
}
