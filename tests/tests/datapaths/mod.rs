//! Ways through a node that are neither a plain route nor a tunnel between pods: VRFs, ipvlan, a flowtable
//! that passes the hooks by, IPVS, queues that lose packets on purpose, and rate limits.
//!
//! A kernel without one of them skips its scenarios, and says so. Debian's kernels have them all.

mod flowtable;
mod ipvlan;
mod ipvs;
mod shaping;
mod stage;
mod vrf;
mod vxlan_over_ipv6;
