//! What the kernel would do with a packet: the route it would take, or why it would take none.
//!
//! - [`Lookup`]: the question to the kernel, and its answer
//! - `policy_rule`: the rule that refuses it
//! - [`Forwarding`]: whether packets for others are forwarded at all

mod forwarding;
mod lookup;
mod policy_rule;

pub(crate) use self::{
    forwarding::Forwarding,
    lookup::{Lookup, Refusal},
};
