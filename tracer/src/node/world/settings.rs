//! Settings that hold for a namespace as a whole.

/// The settings (`net.…`), as far as this kernel has them: `None` where a module is not loaded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Settings {
    /// `ipv4.ip_forward`
    pub(crate) ip_forward: Option<u64>,
    /// `ipv6.conf.all.forwarding`
    pub(crate) ipv6_forwarding: Option<u64>,
    /// `ipv4.conf.all.rp_filter`
    pub(crate) rp_filter: Option<u64>,
    /// `ipv4.conf.all.route_localnet`
    pub(crate) route_localnet: Option<u64>,
    /// `ipv4.conf.all.proxy_arp`
    pub(crate) proxy_arp: Option<u64>,
    /// `ipv4.conf.all.accept_local`
    pub(crate) accept_local: Option<u64>,
    /// `ipv4.conf.all.arp_ignore`
    pub(crate) arp_ignore: Option<u64>,
    /// `ipv4.conf.all.arp_filter`
    pub(crate) arp_filter: Option<u64>,
    /// `ipv4.conf.all.src_valid_mark`
    pub(crate) src_valid_mark: Option<u64>,
    /// `ipv6.conf.all.proxy_ndp`
    pub(crate) proxy_ndp: Option<u64>,
    /// `ipv6.conf.all.disable_ipv6`
    pub(crate) disable_ipv6: Option<u64>,
    /// `bridge.bridge-nf-call-iptables`
    pub(crate) bridge_nf_call_iptables: Option<u64>,
    /// `bridge.bridge-nf-call-ip6tables`
    pub(crate) bridge_nf_call_ip6tables: Option<u64>,
    /// `bridge.bridge-nf-call-arptables`
    pub(crate) bridge_nf_call_arptables: Option<u64>,
    /// `netfilter.nf_conntrack_tcp_be_liberal`
    pub(crate) tcp_be_liberal: Option<u64>,
    /// `ipv4.tcp_fwmark_accept`, for IPv6 too
    pub(crate) tcp_fwmark_accept: Option<u64>,
    /// Tables of the families arp and bridge, whose rules are not read.
    pub(crate) link_tables: Option<u64>,
    /// `ipv4.ipfrag_high_thresh`
    pub(crate) ipfrag_high_thresh: Option<u64>,
    /// `ipv6.ip6frag_high_thresh`
    pub(crate) ip6frag_high_thresh: Option<u64>,
}

impl Settings {
    /// Whether bridges hand their frames of this IP version to iptables and nftables.
    pub(crate) fn bridges_call_iptables(&self, is_ipv4: bool) -> Option<u64> {
        match is_ipv4 {
            true => self.bridge_nf_call_iptables,
            false => self.bridge_nf_call_ip6tables,
        }
    }
}

/// The setting that has bridges hand their frames of this IP version to iptables, below `net/bridge`.
pub(crate) fn bridge_setting(is_ipv4: bool) -> &'static str {
    match is_ipv4 {
        true => "bridge-nf-call-iptables",
        false => "bridge-nf-call-ip6tables",
    }
}
