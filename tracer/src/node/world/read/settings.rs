//! Reads the settings that hold for a namespace as a whole (`/proc/sys/net`).

use anyhow::Result;

use crate::node::{sysctl, world::settings::Settings};

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
        src_valid_mark: all("src_valid_mark")?,
        proxy_ndp: all6("proxy_ndp")?,
        disable_ipv6: all6("disable_ipv6")?,
        bridge_nf_call_iptables: bridge("iptables")?,
        bridge_nf_call_ip6tables: bridge("ip6tables")?,
        bridge_nf_call_arptables: bridge("arptables")?,
        tcp_be_liberal: netfilter("nf_conntrack_tcp_be_liberal")?,
        tcp_fwmark_accept: ipv4("tcp_fwmark_accept")?,
        ipfrag_high_thresh: ipv4("ipfrag_high_thresh")?,
        ip6frag_high_thresh: sysctl::number("/proc/sys/net/ipv6/ip6frag_high_thresh")?,
    })
}
