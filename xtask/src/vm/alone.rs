//! A machine whose root holds nothing but one program, which the kernel starts as its first process.

use std::{
    fs,
    path::Path,
    sync::mpsc::RecvTimeoutError,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};

use super::{cpio::Archive, kernels, qemu};

/// Emulated, and on a busy machine.
const LIMIT: Duration = Duration::from_secs(300);

/// What the kernel says when its first process ends, and with which status of wait(2).
const END: &str = "Attempted to kill init! exitcode=";

/// What the program wrote, and how it ended.
pub(crate) struct Said {
    /// The kernel's release.
    pub(crate) release: String,
    /// The lines on the console.
    pub(crate) lines: Vec<String>,
    /// Its exit status.
    pub(crate) status: u32,
}

/// Starts `program` with an argument, on the newest kernel of which the version starts with
/// `kernel`. There is no `/proc`, no `/sys`, no library and no other file.
pub(crate) fn start(program: &Path, argument: &str, kernel: &str) -> Result<Said> {
    let directory = super::directory();
    let available = kernels::available()?;
    let kernel = kernels::choose(&available, kernel)?.unpack(&directory.join("kernels"))?;
    let image = directory.join(format!("{}-alone.cpio", kernel.release));
    let mut archive = Archive::create(&image)?;
    archive.copy("whydrop", program)?;
    archive.finish()?;

    let mut command = qemu::command(&kernel.vmlinuz(), &image, false);
    command.args(["-serial", "stdio", "-append"]).arg(format!(
        "console=ttyS0 quiet panic=-1 tsc=reliable rdinit=/whydrop -- {argument}"
    ));
    let running = qemu::boot(&mut command)?;
    let start = Instant::now();
    let mut lines = Vec::new();
    loop {
        match running
            .lines
            .recv_timeout(LIMIT.saturating_sub(start.elapsed()))
        {
            Ok(line) => lines.push(line),
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {
                bail!(
                    "it did not end within {LIMIT:?}; there was\n{}",
                    lines.join("\n")
                )
            }
        }
    }
    drop(running);
    // It can be made again.
    let _ = fs::remove_file(image);
    let ended = lines.iter().find_map(|line| line.split_once(END));
    // `0x00000100`: the status is the second byte, a signal would be the first.
    let code = ended.and_then(|(_, code)| {
        let digits = code.trim().strip_prefix("0x")?.get(..8)?;
        u32::from_str_radix(digits, 16).ok()
    });
    match code {
        Some(code) if code & 0xff == 0 => Ok(Said {
            release: kernel.release,
            lines,
            status: code >> 8,
        }),
        _ => bail!(
            "the program did not run to its end; there was\n{}",
            lines.join("\n")
        ),
    }
}
