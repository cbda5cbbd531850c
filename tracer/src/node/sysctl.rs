//! Numbers from `/proc/sys`, of the network namespace the thread is in.

use anyhow::{Context as _, Result};

use super::netns::read_if_there;

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
