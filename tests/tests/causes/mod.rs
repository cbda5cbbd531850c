//! Causes that the kernel's reason does not show: each failure has a healthy twin, which must be
//! silent.

mod bridge_ports;
mod bridge_rules;
mod bridge_targets;
mod conntrack_insertion;
mod dead_proxy;
mod exempted_from_nat;
mod low_ttl;
mod mac_addresses;
mod neighbors;
mod next_hops;
mod old_timestamp;
mod overlapping_subnet;
mod queues;
mod routes;
mod shared_source;
mod stale_entry;
mod tcp_signature;
mod tunnel_checksum;
mod tunnel_endpoints;
mod tunnel_to_itself;
mod unread_tun;
mod unroutable_translation;
mod way_back;
