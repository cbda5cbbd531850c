//! What a process says on a stream, also while it says it.

use std::{
    io::Read,
    sync::{Arc, Mutex, PoisonError},
    thread::{self, JoinHandle},
};

/// A stream that is being read.
pub(crate) struct Said {
    bytes: Arc<Mutex<Vec<u8>>>,
    reader: JoinHandle<()>,
}

impl Said {
    /// Reads a stream to its end.
    pub(crate) fn follow(mut stream: impl Read + Send + 'static) -> Self {
        let bytes = Arc::<Mutex<Vec<u8>>>::default();
        let said = Arc::clone(&bytes);
        let reader = thread::spawn(move || {
            let mut buffer = [0; 4096];
            // A broken pipe ends it as an ordinary end does.
            while let Ok(read @ 1..) = stream.read(&mut buffer) {
                let mut said = said.lock().unwrap_or_else(PoisonError::into_inner);
                said.extend(&buffer[..read]);
            }
        });
        Self { bytes, reader }
    }

    /// What was said by now.
    pub(crate) fn so_far(&self) -> String {
        let bytes = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// All of it, once the stream has ended.
    pub(crate) fn all(self) -> String {
        let Self { bytes, reader } = self;
        // It does not panic.
        let _ = reader.join();
        let bytes = bytes.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&bytes).into_owned()
    }
}
