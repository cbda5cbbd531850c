//! whydrop's kernel programs: thin entry points over the modules beside them.
//!
//! | program | kernels | signature of the tracepoint `kfree_skb` |
//! |---|---|---|
//! | `kfree_skb` | before 5.17 | `(skb, location)` |
//! | `kfree_skb_reason` | 5.17 to 6.10 | `(skb, location, reason)` |
//! | `kfree_skb_rx_sk` | from 6.11 | `(skb, location, reason, rx_sk)` |
//!
//! The loader picks one by the running kernel's BTF. All they decide on comes from `.rodata`, which
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
mod conntrack;
#[cfg(target_arch = "bpf")]
mod drops;
#[cfg(target_arch = "bpf")]
mod kernel;
#[cfg(target_arch = "bpf")]
mod maps;
#[cfg(target_arch = "bpf")]
mod place;
#[cfg(target_arch = "bpf")]
mod skb;

#[cfg(target_arch = "bpf")]
mod programs {
    use aya_ebpf::{macros::btf_tracepoint, programs::BtfTracePointContext};

    use crate::{drops, skb::Skb};

    /// `void kfree_skb(struct sk_buff *skb, void *location)`
    #[btf_tracepoint(function = "kfree_skb")]
    pub(crate) fn kfree_skb(ctx: BtfTracePointContext) -> Option<()> {
        drops::observe(&ctx, Skb::new(ctx.arg(0)), ctx.arg(1), 0, 0)
    }

    /// `void kfree_skb(struct sk_buff *skb, void *location, enum skb_drop_reason reason)`
    #[btf_tracepoint(function = "kfree_skb")]
    pub(crate) fn kfree_skb_reason(ctx: BtfTracePointContext) -> Option<()> {
        drops::observe(&ctx, Skb::new(ctx.arg(0)), ctx.arg(1), ctx.arg(2), 0)
    }

    /// `void kfree_skb(struct sk_buff *skb, void *location, enum skb_drop_reason reason,
    /// struct sock *rx_sk)`
    #[btf_tracepoint(function = "kfree_skb")]
    pub(crate) fn kfree_skb_rx_sk(ctx: BtfTracePointContext) -> Option<()> {
        drops::observe(
            &ctx,
            Skb::new(ctx.arg(0)),
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
