//! whydrop's kernel programs: thin entry points over the modules beside them.
//!
//! | program | kernels | signature of the tracepoint `kfree_skb` |
//! |---|---|---|
//! | `kfree_skb` | before 5.17 | `(skb, location)` |
//! | `kfree_skb_reason` | 5.17 to 6.10 | `(skb, location, reason)` |
//! | `kfree_skb_rx_sk` | from 6.11 | `(skb, location, reason, rx_sk)` |
//!
//! and, on every kernel: `tc_ingress` and `tc_egress` at the interfaces, or, where there are many of
//! them, `netif_receive_skb` and `net_dev_queue`; `tcp_retransmit_skb` for segments that are sent
//! again; and four programs at the end of functions, for connects that fail before they send a packet.
//!
//! The loader picks one of the first three by the running kernel's BTF. All they decide on comes from `.rodata`, which
//! the loader fills before the load: see `tracer_common::{filter, layout}`.
#![cfg_attr(target_arch = "bpf", no_std, no_main)]
// For `atomic`: the BPF target has no stable atomics. The build sets RUSTC_BOOTSTRAP in any case.
#![cfg_attr(
    target_arch = "bpf",
    feature(core_intrinsics),
    allow(internal_features, reason = "see above")
)]

#[cfg(target_arch = "bpf")]
mod atomic;
#[cfg(target_arch = "bpf")]
mod connects;
#[cfg(target_arch = "bpf")]
mod conntrack;
#[cfg(target_arch = "bpf")]
mod drops;
#[cfg(target_arch = "bpf")]
mod early;
#[cfg(target_arch = "bpf")]
mod first_look;
#[cfg(target_arch = "bpf")]
mod frame;
#[cfg(target_arch = "bpf")]
mod held;
#[cfg(target_arch = "bpf")]
mod kernel;
#[cfg(target_arch = "bpf")]
mod maps;
#[cfg(target_arch = "bpf")]
mod place;
#[cfg(target_arch = "bpf")]
mod retransmits;
#[cfg(target_arch = "bpf")]
mod sightings;
#[cfg(target_arch = "bpf")]
mod skb;
#[cfg(target_arch = "bpf")]
mod wake;

#[cfg(target_arch = "bpf")]
mod programs {
    use aya_ebpf::{
        bindings::TC_ACT_UNSPEC,
        macros::{btf_tracepoint, classifier, fexit},
        programs::{BtfTracePointContext, FExitContext, TcContext},
    };
    use tracer_common::event::{connect_stage, direction};

    use crate::{connects, drops, retransmits, sightings, skb::Skb};

    /// Packets that come in through an interface. Looks only: the next program decides.
    #[classifier]
    pub(crate) fn tc_ingress(ctx: TcContext) -> i32 {
        let _ = sightings::observe(&ctx, direction::IN);
        TC_ACT_UNSPEC
    }

    /// Packets that leave through an interface. Looks only: the next program decides.
    #[classifier]
    pub(crate) fn tc_egress(ctx: TcContext) -> i32 {
        let _ = sightings::observe(&ctx, direction::OUT);
        TC_ACT_UNSPEC
    }

    /// Packets that come in through any interface: `void netif_receive_skb(struct sk_buff *skb)`
    #[btf_tracepoint(function = "netif_receive_skb")]
    pub(crate) fn netif_receive_skb(ctx: BtfTracePointContext) -> Option<()> {
        sightings::observe_everywhere(Skb::typed(ctx.arg(0)), direction::IN)
    }

    /// Packets that leave through any interface: `void net_dev_queue(struct sk_buff *skb)`
    #[btf_tracepoint(function = "net_dev_queue")]
    pub(crate) fn net_dev_queue(ctx: BtfTracePointContext) -> Option<()> {
        sightings::observe_everywhere(Skb::typed(ctx.arg(0)), direction::OUT)
    }

    /// `void tcp_retransmit_skb(const struct sock *sk, const struct sk_buff *skb)`, since 6.15 with
    /// a third argument, which is not needed here.
    #[btf_tracepoint(function = "tcp_retransmit_skb")]
    pub(crate) fn tcp_retransmit_skb(ctx: BtfTracePointContext) -> Option<()> {
        retransmits::observe(ctx.arg(0), Skb::typed(ctx.arg(1)))
    }

    /// `int tcp_v4_pre_connect(struct sock *sk, struct sockaddr *uaddr, int addr_len)`
    #[fexit(function = "tcp_v4_pre_connect")]
    pub(crate) fn tcp_v4_pre_connect(ctx: FExitContext) -> Option<()> {
        connects::observe(&ctx, connect_stage::PROGRAMS)
    }

    /// `int tcp_v6_pre_connect(struct sock *sk, struct sockaddr *uaddr, int addr_len)`
    #[fexit(function = "tcp_v6_pre_connect")]
    pub(crate) fn tcp_v6_pre_connect(ctx: FExitContext) -> Option<()> {
        connects::observe(&ctx, connect_stage::PROGRAMS)
    }

    /// `int tcp_v4_connect(struct sock *sk, struct sockaddr *uaddr, int addr_len)`
    #[fexit(function = "tcp_v4_connect")]
    pub(crate) fn tcp_v4_connect(ctx: FExitContext) -> Option<()> {
        connects::observe(&ctx, connect_stage::CONNECT)
    }

    /// `int tcp_v6_connect(struct sock *sk, struct sockaddr *uaddr, int addr_len)`
    #[fexit(function = "tcp_v6_connect")]
    pub(crate) fn tcp_v6_connect(ctx: FExitContext) -> Option<()> {
        connects::observe(&ctx, connect_stage::CONNECT)
    }

    /// `void kfree_skb(struct sk_buff *skb, void *location)`
    #[btf_tracepoint(function = "kfree_skb")]
    pub(crate) fn kfree_skb(ctx: BtfTracePointContext) -> Option<()> {
        drops::observe(&ctx, Skb::typed(ctx.arg(0)), ctx.arg(1), 0, 0)
    }

    /// `void kfree_skb(struct sk_buff *skb, void *location, enum skb_drop_reason reason)`
    #[btf_tracepoint(function = "kfree_skb")]
    pub(crate) fn kfree_skb_reason(ctx: BtfTracePointContext) -> Option<()> {
        drops::observe(&ctx, Skb::typed(ctx.arg(0)), ctx.arg(1), ctx.arg(2), 0)
    }

    /// `void kfree_skb(struct sk_buff *skb, void *location, enum skb_drop_reason reason,
    /// struct sock *rx_sk)`
    #[btf_tracepoint(function = "kfree_skb")]
    pub(crate) fn kfree_skb_rx_sk(ctx: BtfTracePointContext) -> Option<()> {
        drops::observe(
            &ctx,
            Skb::typed(ctx.arg(0)),
            ctx.arg(1),
            ctx.arg(2),
            ctx.arg(3),
        )
    }
}

#[cfg(target_arch = "bpf")]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

// Tracing programs that call GPL-only helpers (bpf_probe_read_kernel, bpf_get_stack) must say so.
#[cfg(target_arch = "bpf")]
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 4] = *b"GPL\0";

#[cfg(not(target_arch = "bpf"))]
fn main() {
    eprintln!("These are kernel programs; `cargo build` of whydrop compiles them for BPF.");
}
