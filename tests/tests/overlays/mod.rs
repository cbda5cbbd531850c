//! Tunnels between two nodes' pods: IP in IP, as Calico has it, GRE, Geneve and WireGuard. Each in the same
//! ways: a rule drops its packets, they are swallowed on the way, the other node has no tunnel, packets are
//! too large for it. VXLAN has scenarios of its own, `verdict_overlay`.
//!
//! A kernel without that kind of tunnel skips them, and says so. Debian's kernels have them all.

mod cases;
mod encrypted;
mod geneve;
mod gre;
mod ip_in_ip;
mod kind;
mod stage;
mod wireguard;
