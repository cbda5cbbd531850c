//! What goes wrong between here and the API server, in the kinds that differ for the user.

use kube::{Error, core::Status};

use super::session::NoAnswer;
use crate::cluster::item::printable;

/// Why a request to the API server failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Failure {
    /// What was asked for is too old: all must be listed again (410).
    Expired,
    /// It knows us, and we may not (403). Who we are, in its words.
    Forbidden(Option<String>),
    /// It does not know us (401), or we could not even get the credentials to show.
    Unauthorized(String),
    /// It was not reached, did not answer in time, or cannot answer now.
    Unreachable(String),
    /// It answered something else than was asked.
    Refused(String),
    /// It answers more than this many bytes.
    TooLarge(usize),
}

impl Failure {
    /// What a `Status` of the API means.
    pub(super) fn from_status(status: &Status) -> Self {
        let Status { code, message, .. } = status;
        match code {
            // A list that goes on where the store has moved on, or a watch from too long ago.
            410 => Self::Expired,
            403 => Self::Forbidden(who(message)),
            401 => Self::Unauthorized("401 Unauthorized".to_owned()),
            // Overload and restarts: it is there, and not there for us.
            429 | 500.. => Self::Unreachable(printable(&format!("{code} {message}"))),
            _ => Self::Refused(printable(&format!("{code} {message}"))),
        }
    }

    /// Its answer is not what it should be.
    pub(super) fn not_json(error: &serde_json::Error) -> Self {
        let place = format!("line {}, column {}", error.line(), error.column());
        Self::Refused(format!(
            "its answer is not the JSON that was asked for: {place}"
        ))
    }

    /// What is too large, in words.
    pub(super) fn too_large(limit: usize) -> String {
        format!(
            "its answer is larger than {} MiB, and was given up",
            limit >> 20
        )
    }

    /// It did not answer within this time.
    pub(super) fn silent(limit: std::time::Duration) -> Self {
        Self::Unreachable(format!("no answer within {} s", limit.as_secs()))
    }
}

impl From<NoAnswer> for Failure {
    fn from(why: NoAnswer) -> Self {
        match why {
            NoAnswer::Refused(status) => Self::from_status(&status),
            NoAnswer::Redirected(why) => Self::Refused(why),
            NoAnswer::Broken(why) => Self::Unreachable(printable(&why)),
            NoAnswer::TooLarge(limit) => Self::TooLarge(limit),
        }
    }
}

/// Who the API server takes us for: `pods is forbidden: User "jane" cannot list …`. Only names that
/// can be given to a shell.
fn who(message: &str) -> Option<String> {
    let (_, rest) = message.split_once("User \"")?;
    let (user, _) = rest.split_once('"')?;
    let plain = |c: char| c.is_ascii_alphanumeric() || ":-._@/".contains(c);
    (!user.is_empty() && user.chars().all(plain)).then(|| user.to_owned())
}

/// The first cause of an error: what is above it says only which library passed it on.
pub(super) fn root(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(below) = cause.source() {
        cause = below;
    }
    cause.to_string()
}

/// Why no client can be made of a configuration, in words of ours where the library would quote it.
pub(super) fn unusable(error: &Error) -> String {
    match error {
        Error::Auth(_) => "its token file or credentials cannot be read".to_owned(),
        error => printable(&root(error)),
    }
}
