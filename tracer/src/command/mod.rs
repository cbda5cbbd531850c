//! The commands, which put it all together.

pub mod check;
mod ending;
pub mod explain;
pub mod generate;
mod log;
mod node_queries;
mod setup;
mod shell;
pub mod trace;
mod wait;
mod watchdog;
