//! What breaks traffic: netfilter rules, tc classifiers, XDP programs, a full conntrack table.
//!
//! Routes, neighbors and MTUs need no helper: scenarios break them with `ip`.

pub(crate) mod bpf;
mod classifier;
mod conntrack;
mod firewall;
mod ipvs;
pub(crate) mod netlink;
mod nfqueue;
mod program;
mod socket_filter;
mod tcx;
mod xdp;

pub use classifier::{Direction, drop_in_tc};
pub use conntrack::fill_conntrack;
pub use firewall::{Chain, Iptables, counted_packets, nft};
pub use ipvs::{add_ipvs_server, add_ipvs_service};
pub use nfqueue::Refuser;
pub use program::{CgroupDrop, NetfilterDrop, NetfilterHook};
pub use socket_filter::refuse_all;
pub use tcx::{Position, TcxDrop, tcx_programs};
pub use xdp::{XdpDrop, XdpMode};
