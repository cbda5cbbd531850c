//! The standard input of a pod's container, over a connection that may break.

use std::{pin::Pin, time::Duration};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Status;
use kube::api::AttachedProcess;
use tokio::{
    io::{AsyncWrite, AsyncWriteExt as _},
    time::timeout,
};

use super::client::{RequestError, plain};

/// The standard input of a container.
pub(crate) struct Stdin {
    attached: AttachedProcess,
    stdin: Pin<Box<dyn AsyncWrite + Send>>,
    /// Comes when the connection ends.
    end: Pin<Box<dyn Future<Output = Option<Status>> + Send>>,
}

impl Stdin {
    pub(super) fn of(mut attached: AttachedProcess) -> Result<Self, RequestError> {
        let (Some(stdin), Some(end)) = (attached.stdin(), attached.take_status()) else {
            return Err(failed("it has no standard input"));
        };
        Ok(Self {
            attached,
            stdin: Box::pin(stdin),
            end: Box::pin(end),
        })
    }

    /// Writes all of it. It may go on for long, but not stand still for longer than `stall`.
    pub(crate) async fn write_all(
        &mut self,
        mut bytes: &[u8],
        stall: Duration,
    ) -> Result<(), RequestError> {
        while !bytes.is_empty() {
            let written = tokio::select! {
                biased;
                status = &mut self.end => return Err(ended(status)),
                written = timeout(stall, self.stdin.write(bytes)) => written,
            };
            let written = written
                .map_err(|_| failed(&format!("it took nothing for {} s", stall.as_secs())))?;
            match written {
                Ok(0) => return Err(failed("it takes nothing more")),
                Ok(count) => bytes = &bytes[count..],
                Err(error) => return Err(failed(&error.to_string())),
            }
        }
        Ok(())
    }

    /// Closes it, and takes some time for that: closed at once, what was written might be thrown away.
    pub(crate) async fn close(self, longest: Duration) {
        drop(self.stdin);
        let _ = timeout(longest, self.attached.join()).await;
    }
}

fn failed(why: &str) -> RequestError {
    RequestError::Failed(why.to_owned())
}

/// The connection has ended, with what the kubelet says of it.
fn ended(status: Option<Status>) -> RequestError {
    let message = status.and_then(|status| status.message);
    failed(&match message.filter(|message| !message.is_empty()) {
        Some(message) => format!("the connection was closed: {}", plain(&message)),
        None => "the connection was closed".to_owned(),
    })
}
