//! One HTTP request, as far as its status line.

use std::{
    io,
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    time::timeout,
};

/// The beginning of a response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Response {
    /// The first line, without its end.
    pub(crate) status_line: String,
    /// From the request to the first byte.
    pub(crate) first_byte: Duration,
}

/// A longer first line is none.
const LONGEST: usize = 512;

/// Asks for a path, and reads the status line.
///
/// # Errors
///
/// The connection breaks, or nothing comes in time (`TimedOut`).
pub(crate) async fn request(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    host: &str,
    path: &str,
    limit: Duration,
) -> io::Result<Response> {
    let text = format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: whydrop-probe\r\nAccept: */*\r\n\
         Connection: close\r\n\r\n"
    );
    let exchange = async {
        stream.write_all(text.as_bytes()).await?;
        stream.flush().await?;
        let begun = Instant::now();
        let mut first_byte = None;
        let mut read = Vec::new();
        let mut buffer = [0; 256];
        while !read.contains(&b'\n') && read.len() < LONGEST {
            let count = stream.read(&mut buffer).await?;
            if count == 0 {
                break;
            }
            first_byte.get_or_insert_with(|| begun.elapsed());
            read.extend_from_slice(&buffer[..count]);
        }
        let first_byte = first_byte.ok_or(io::ErrorKind::UnexpectedEof)?;
        let line = read.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let line = &line[..line.len().min(LONGEST)];
        Ok(Response {
            status_line: String::from_utf8_lossy(line).trim_end().to_owned(),
            first_byte,
        })
    };
    let result = timeout(limit, exchange).await;
    result.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}
