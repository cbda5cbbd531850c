//! Causes that the kernel's reason does not tell: each failure has a healthy twin, which must be
//! silent.

mod conntrack_insertion;
mod dead_proxy;
mod shared_source;
mod stale_entry;
mod unread_tun;
mod unroutable_translation;
