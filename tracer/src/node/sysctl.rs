//! Numbers from `/proc/sys`, of the network namespace the thread is in.

use std::{fs, io};

use anyhow::{Context as _, Result, anyhow};

/// A number, or `None` if this kernel has no such setting (or its module is not loaded).
pub(super) fn number(path: &str) -> Result<Option<u64>> {
    let Some(text) = read_if_there(path)? else {
        return Ok(None);
    };
    let text = text.trim();
    let number = text
        .parse()
        .with_context(|| format!("{path} says '{text}', which is not a number"))?;
    Ok(Some(number))
}

/// Reads a file; one that is not there is not an error.
pub(super) fn read_if_there(path: &str) -> Result<Option<String>> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(anyhow!(error).context(format!("cannot read {path}"))),
    }
}
