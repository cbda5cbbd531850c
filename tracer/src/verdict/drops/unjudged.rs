//! Drop reasons that no rule judges, on purpose: the kernel's word is clear, and names no point.
//!
//! What the kernel means by each is in the verdict's sentence. Meanings are those of
//! include/net/dropreason-core.h and of the code that gives the reason.

/// Each reason with what it means.
pub(crate) const UNJUDGED: &[(&str, &str)] = &[
    (
        "NOT_SPECIFIED",
        "the kernel gives no reason; the function that freed the packet leads to a rule, or does not",
    ),
    (
        "PKT_TOO_SMALL",
        "it is shorter than its headers say: cut off on its way, or malformed",
    ),
    ("HDR_TRUNC", "its headers are cut off"),
    (
        "IP_INHDR",
        "its IP header is malformed, or an option in it is refused; where it was to be forwarded, a \
         rule judges it",
    ),
    (
        "INVALID_PROTO",
        "an ICMP message of a kind that is not answered, such as a timestamp request to a broadcast \
         address",
    ),
    (
        "UNICAST_IN_L2_MULTICAST",
        "a packet for one host, in a frame for many, which the sysctl drop_unicast_in_l2_multicast \
         refuses",
    ),
    (
        "IPV6_BAD_EXTHDR",
        "an IPv6 extension header is malformed, or of a kind that is not accepted",
    ),
    (
        "FRAG_TOO_FAR",
        "too many fragments of other packets came between its own (the sysctl ipfrag_max_dist)",
    ),
    (
        "TCP_FLAGS",
        "its TCP flags have no meaning in the state of the connection",
    ),
    ("TCP_CLOSE", "its socket is closed already"),
    (
        "TCP_FASTOPEN",
        "the socket of a connection that TCP Fast Open began does not take it yet",
    ),
    (
        "TCP_INVALID_ACK_SEQUENCE",
        "it acknowledges what was never sent: an answer to another connection of the same addresses \
         and ports, or numbers that a device on the way has changed",
    ),
    (
        "TCP_RFC7323_TSECR",
        "it echoes a TCP timestamp that was never sent: a device on the way changes timestamps, or \
         it belongs to an earlier connection of the same addresses and ports",
    ),
    (
        "TCP_TOO_OLD_ACK",
        "it acknowledges what was acknowledged long ago: a segment of an earlier connection, or a \
         forged one (RFC 5961)",
    ),
    (
        "TCP_ACK_UNSENT_DATA",
        "it acknowledges data that was not sent yet: a segment of an earlier connection, or a forged \
         one (RFC 5961)",
    ),
    (
        "NEIGH_HH_FILLFAIL",
        "the link-layer header could not be written",
    ),
    ("SKB_GSO_SEG", "it could not be cut into segments"),
    (
        "SKB_UCOPY_FAULT",
        "its data could not be copied from the sending process",
    ),
    (
        "DEV_HDR",
        "the device's own header or metadata is not valid",
    ),
    (
        "ARP_PVLAN_DISABLE",
        "an ARP request that would be answered by the port it came from, which proxy_arp_pvlan is \
         for",
    ),
    (
        "MAC_IEEE_MAC_CONTROL",
        "a frame for an address that bridges keep to the link (IEEE 802.1D)",
    ),
    (
        "PSP_INPUT",
        "the PSP encryption of its connection refuses it",
    ),
    (
        "PSP_OUTPUT",
        "the PSP encryption of its connection could not be applied",
    ),
];

/// Reasons that no packet of IP has.
#[cfg(test)]
pub(in crate::verdict) const NO_PACKET: &[&str] = &[
    "SKB_NOT_DROPPED_YET",
    "SKB_CONSUMED",
    "UNIX_DISCONNECT",
    "UNIX_SKIP_OOB",
    "CAN_RX_INVALID_FRAME",
    "CANFD_RX_INVALID_FRAME",
    "CANXL_RX_INVALID_FRAME",
    "MAX",
    "SUBSYS_MASK",
];

/// What a reason means that no rule judges.
pub(in crate::verdict) fn meaning(reason: &str) -> Option<&'static str> {
    let found = UNJUDGED.iter().find(|(name, _)| *name == reason);
    found.map(|(_, meaning)| *meaning)
}
