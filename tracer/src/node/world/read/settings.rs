//! Reads the settings that hold for a namespace as a whole (`/proc/sys/net`).

use std::fs;

use anyhow::Result;

use crate::{
    net::{Subsystem, nft_link_tables},
    node::{sysctl, world::settings::Settings},
};

/// Of the namespace that this thread is in.
pub(super) fn read() -> Result<Settings> {
    let ipv4 = |name| sysctl::number(&format!("/proc/sys/net/ipv4/{name}"));
    let all = |name| sysctl::number(&format!("/proc/sys/net/ipv4/conf/all/{name}"));
    let all6 = |name| sysctl::number(&format!("/proc/sys/net/ipv6/conf/all/{name}"));
    let bridge = |name| sysctl::number(&format!("/proc/sys/net/bridge/bridge-nf-call-{name}"));
    let netfilter = |name| sysctl::number(&format!("/proc/sys/net/netfilter/{name}"));
    Ok(Settings {
        ip_forward: ipv4("ip_forward")?,
        ipv6_forwarding: all6("forwarding")?,
        rp_filter: all("rp_filter")?,
        route_localnet: all("route_localnet")?,
        proxy_arp: all("proxy_arp")?,
        accept_local: all("accept_local")?,
        arp_ignore: all("arp_ignore")?,
        arp_filter: all("arp_filter")?,
        src_valid_mark: all("src_valid_mark")?,
        proxy_ndp: all6("proxy_ndp")?,
        disable_ipv6: all6("disable_ipv6")?,
        bridge_nf_call_iptables: bridge("iptables")?,
        bridge_nf_call_ip6tables: bridge("ip6tables")?,
        bridge_nf_call_arptables: bridge("arptables")?,
        tcp_be_liberal: netfilter("nf_conntrack_tcp_be_liberal")?,
        tcp_fwmark_accept: ipv4("tcp_fwmark_accept")?,
        link_tables: Some(link_tables()?),
        ipfrag_high_thresh: ipv4("ipfrag_high_thresh")?,
        ip6frag_high_thresh: sysctl::number("/proc/sys/net/ipv6/ip6frag_high_thresh")?,
    })
}

/// The tables of nftables, and those of the older arptables; the older ebtables lists its own nowhere.
fn link_tables() -> Result<u64> {
    let nft = match Subsystem::NfTables.is_in_kernel() {
        true => nft_link_tables()?,
        false => 0,
    };
    // It is there only where the module is, and names what was used in this namespace.
    let older = fs::read_to_string("/proc/thread-self/net/arp_tables_names");
    let older = older.map_or(0, |names| names.lines().count());
    Ok((nft + older) as u64)
}
