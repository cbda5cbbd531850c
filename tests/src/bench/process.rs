//! What a process uses.

use std::{fs, time::Duration};

use anyhow::{Context, Result};

/// Bytes in a KiB, and KiB in a MiB.
const KIB: f64 = 1024.0;

/// The most memory that a process ever had, in MiB.
///
/// # Errors
///
/// There is no such process.
pub fn peak_memory(pid: u32) -> Result<f64> {
    memory(pid, "VmHWM:")
}

/// The memory that a process has now, in MiB.
///
/// # Errors
///
/// There is no such process.
pub fn resident_memory(pid: u32) -> Result<f64> {
    memory(pid, "VmRSS:")
}

fn memory(pid: u32, key: &str) -> Result<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let value = status.lines().find_map(|line| line.strip_prefix(key));
    let kib: f64 = value
        .context("a process has memory")?
        .trim()
        .trim_end_matches(" kB")
        .parse()?;
    Ok(kib / KIB)
}

/// The processor time of a process so far, in the kernel and out of it.
///
/// # Errors
///
/// There is no such process.
pub fn processor_time(pid: u32) -> Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // Behind the name, which may hold anything: the state is field 3, utime and stime 14 and 15.
    let (_, fields) = stat.rsplit_once(')').context("a process has a name")?;
    let ticks: u64 = fields
        .split_whitespace()
        .skip(11)
        .take(2)
        .map(str::parse::<u64>)
        .sum::<Result<u64, _>>()?;
    // SAFETY: sysconf has no preconditions.
    let per_second = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
    Ok(Duration::from_secs_f64(ticks as f64 / per_second as f64))
}
