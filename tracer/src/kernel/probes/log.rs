//! Debug messages of the kernel programs.

use anyhow::{Context as _, Result};
use aya::Ebpf;
use aya_log::EbpfLogger;
use log::Log;
use tokio::io::{Interest, unix::AsyncFd};

/// Messages on their way to the `log` crate. Keep it alive while the programs are attached.
pub(crate) struct LogStream {
    messages: AsyncFd<EbpfLogger<&'static dyn Log>>,
}

impl LogStream {
    pub(super) fn new(ebpf: &mut Ebpf) -> Result<Self> {
        let logger = EbpfLogger::init(ebpf).context("the kernel programs do not log")?;
        // SAFETY: the logger keeps its descriptor open for as long as it lives.
        let messages = unsafe { AsyncFd::register_with_interest(logger, Interest::READABLE) }
            .context("cannot poll the messages of the kernel programs")?;
        Ok(Self { messages })
    }

    /// Waits for messages and logs them, for as long as it is polled.
    ///
    /// # Errors
    ///
    /// The messages cannot be polled any more.
    pub(crate) async fn forward(&mut self) -> Result<()> {
        loop {
            let mut guard = self
                .messages
                .readable_mut()
                .await
                .context("cannot poll the messages of the kernel programs")?;
            guard.get_inner_mut().flush();
            guard.clear_ready();
        }
    }
}
