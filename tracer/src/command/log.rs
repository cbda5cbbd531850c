//! What `--debug` says.

use std::future::pending;

use anyhow::Result;

use crate::kernel::probes::LogStream;

/// Sends what the `log` crate gets to stderr, the kernel programs' messages included.
pub(super) fn to_stderr() {
    struct Stderr;
    impl log::Log for Stderr {
        /// What libraries do in each step is of no use to anybody here.
        fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
            let target = metadata.target();
            let ours = ["whydrop", "tracer"]
                .iter()
                .any(|own| target.starts_with(own));
            ours || metadata.level() <= log::Level::Info
        }
        fn log(&self, record: &log::Record<'_>) {
            if !self.enabled(record.metadata()) {
                return;
            }
            eprintln!(
                "{}: {}",
                record.level().as_str().to_ascii_lowercase(),
                record.args()
            );
        }
        fn flush(&self) {}
    }
    if log::set_logger(&Stderr).is_ok() {
        log::set_max_level(log::LevelFilter::Debug);
    }
}

/// Forwards what the kernel programs log, until that fails; waits forever if they do not log.
pub(super) async fn forward(log: &mut Option<LogStream>) -> Result<()> {
    match log {
        Some(log) => log.forward().await,
        None => pending().await,
    }
}
