//! Where the running kernel keeps the fields that the programs read.
//!
//! Rust emits no CO-RE relocations. Instead the loader resolves each field from the running kernel's
//! BTF and writes one [`Layout`] into the programs' `.rodata`; the verifier sees constants.

use crate::patched;

/// Byte offset of one field in its kernel struct, or [`Field::ABSENT`].
#[repr(transparent)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field(u32);

impl Field {
    /// The running kernel has no such field (or its module is not loaded).
    pub const ABSENT: Self = Self(u32::MAX);

    /// A field at this byte offset.
    pub const fn at(offset: u32) -> Self {
        Self(offset)
    }

    /// The offset in bytes; `None` where the running kernel has no such field.
    #[inline(always)]
    pub fn offset(&self) -> Option<usize> {
        let offset = patched(&self.0);
        (offset != Self::ABSENT.0).then_some(offset as usize)
    }
}

/// Declares [`Layout`] and the kernel path of each of its fields, so that the two cannot differ.
macro_rules! layout {
    ($($(#[$doc:meta])* $field:ident: $kernel:literal $need:ident;)*) => {
        /// The kernel fields that the programs read.
        #[repr(C)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct Layout {
            $($(#[$doc])* #[doc = concat!("\n\nKernel path: `", $kernel, "`.")] pub $field: Field,)*
        }

        impl Layout {
            /// No field is known yet.
            pub const UNRESOLVED: Self = Self { $($field: Field::ABSENT,)* };

            /// Resolves every field with `find`, which gets the kernel path (`struct.field.field`).
            ///
            /// # Errors
            ///
            /// The kernel path of the first required field that `find` does not know.
            pub fn resolve(mut find: impl FnMut(&str) -> Option<u32>) -> Result<Self, &'static str> {
                let mut layout = Self::UNRESOLVED;
                $(match (find($kernel), Need::$need) {
                    (Some(offset), _) => layout.$field = Field::at(offset),
                    (None, Need::Required) => return Err($kernel),
                    (None, Need::Optional) => {}
                })*
                Ok(layout)
            }
        }
    };
}

enum Need {
    Required,
    Optional,
}

layout! {
    /// Start of the buffer.
    skb_head: "sk_buff.head" Required;
    /// Start of what the current layer calls the packet.
    skb_data: "sk_buff.data" Required;
    /// End of the linear part, from `head`.
    skb_tail: "sk_buff.tail" Required;
    /// End of the buffer, from `head`; `skb_shared_info` follows.
    skb_end: "sk_buff.end" Required;
    /// Bytes from `data` up, paged ones included.
    skb_len: "sk_buff.len" Required;
    /// Network header, from `head`.
    skb_network_header: "sk_buff.network_header" Required;
    /// MAC header, from `head`; all ones where there is none.
    skb_mac_header: "sk_buff.mac_header" Optional;
    /// EtherType, network byte order.
    skb_protocol: "sk_buff.protocol" Required;
    /// The device; NULL in local output and at the sockets.
    skb_dev: "sk_buff.dev" Required;
    /// The owning socket, which may belong to another namespace.
    skb_sk: "sk_buff.sk" Required;
    /// The route, lowest bit: not counted.
    skb_refdst: "sk_buff._skb_refdst" Required;
    /// The firewall mark.
    skb_mark: "sk_buff.mark" Required;
    /// Ifindex of the interface the packet came in through.
    skb_iif: "sk_buff.skb_iif" Required;
    /// The conntrack entry; the lowest three bits are its `ctinfo`.
    skb_nfct: "sk_buff._nfct" Optional;
    /// Payload of each segment.
    gso_size: "skb_shared_info.gso_size" Required;
    /// The device's name.
    dev_name: "net_device.name" Required;
    /// The device's index, unique within its namespace.
    dev_ifindex: "net_device.ifindex" Required;
    /// The device's MTU.
    dev_mtu: "net_device.mtu" Required;
    /// The device's namespace.
    dev_net: "net_device.nd_net.net" Required;
    /// The namespace's inode number.
    net_inode: "net.ns.inum" Required;
    /// The route's output device.
    dst_dev: "dst_entry.dev" Required;
    /// The socket's namespace.
    sock_net: "sock_common.skc_net.net" Required;
    /// Private area of the current layer.
    skb_cb: "sk_buff.cb" Required;
    /// The socket's address family.
    sock_family: "sock_common.skc_family" Required;
    /// The socket's state.
    sock_state: "sock_common.skc_state" Required;
    /// The socket's own port, host byte order.
    sock_sport: "sock_common.skc_num" Required;
    /// The peer's port, network byte order.
    sock_dport: "sock_common.skc_dport" Required;
    /// The socket's own IPv4 address.
    sock_src_v4: "sock_common.skc_rcv_saddr" Required;
    /// The peer's IPv4 address.
    sock_dst_v4: "sock_common.skc_daddr" Required;
    /// The socket's own IPv6 address.
    sock_src_v6: "sock_common.skc_v6_rcv_saddr" Optional;
    /// The peer's IPv6 address.
    sock_dst_v6: "sock_common.skc_v6_daddr" Optional;
    /// The firewall mark of what the socket sends.
    sock_mark: "sock.sk_mark" Optional;
    /// Ifindex of the interface that the socket is bound to.
    sock_bound_to: "sock_common.skc_bound_dev_if" Optional;
    /// Payload of a full segment, by the current path MTU.
    tcp_mss: "tcp_sock.mss_cache" Required;
    /// First sequence number, in TCP's private area of the skb, host byte order.
    tcp_cb_seq: "tcp_skb_cb.seq" Required;
    /// Conntrack's bits of what has become of the connection.
    ct_status: "nf_conn.status" Optional;
    /// Conntrack's original tuple.
    ct_original: "nf_conn.tuplehash.tuple" Optional;
    /// Conntrack's tuple of the answers.
    ct_reply: "nf_conn.tuplehash[1].tuple" Optional;
    /// Source address, in the tuple.
    tuple_src_address: "nf_conntrack_tuple.src.u3" Optional;
    /// Source port, in the tuple.
    tuple_src_port: "nf_conntrack_tuple.src.u" Optional;
    /// Address family, in the tuple.
    tuple_family: "nf_conntrack_tuple.src.l3num" Optional;
    /// Destination address, in the tuple.
    tuple_dst_address: "nf_conntrack_tuple.dst.u3" Optional;
    /// Destination port, in the tuple.
    tuple_dst_port: "nf_conntrack_tuple.dst.u" Optional;
    /// IP protocol, in the tuple.
    tuple_protocol: "nf_conntrack_tuple.dst.protonum" Optional;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_required_field_is_named_a_missing_optional_one_is_absent() {
        assert_eq!(Layout::resolve(|_| None), Err("sk_buff.head"));
        let layout = Layout::resolve(|path| (path != "sk_buff._nfct").then_some(8)).unwrap();
        assert_eq!(layout.skb_nfct.offset(), None);
        assert_eq!(layout.skb_head.offset(), Some(8));
    }
}
