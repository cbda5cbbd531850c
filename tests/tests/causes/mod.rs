//! Causes that the kernel's reason does not tell: each failure has a healthy twin, which must be
//! silent.

mod conntrack_insertion;
mod dead_proxy;
mod unroutable_translation;
