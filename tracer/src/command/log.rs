//! Debug output, for `--debug`.

use std::{future::pending, io::Write as _};

use anyhow::Result;
use env_logger::Target;
use log::LevelFilter;

use crate::kernel::probes::LogStream;

/// Sends log messages to stderr, including those of the kernel programs.
pub(super) fn to_stderr() {
    let logger = env_logger::Builder::new()
        // Every step that a library takes would hide our own.
        .filter_level(LevelFilter::Info)
        .filter_module("whydrop", LevelFilter::Debug)
        .filter_module("tracer", LevelFilter::Debug)
        .format(|out, record| {
            let level = record.level().as_str().to_ascii_lowercase();
            writeln!(out, "{level}: {}", record.args())
        })
        .target(Target::Stderr)
        .try_init();
    // It fails only if there is a logger already, as in a program that embeds this one.
    drop(logger);
}

/// Forwards what the kernel programs log, until that fails; waits forever if they do not log.
pub(super) async fn forward(log: &mut Option<LogStream>) -> Result<()> {
    match log {
        Some(log) => log.forward().await,
        None => pending().await,
    }
}
