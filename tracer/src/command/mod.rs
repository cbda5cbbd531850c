//! The commands, which put it all together.

pub mod check;
pub mod explain;
pub mod trace;
mod wait;
pub(crate) mod watchdog;
