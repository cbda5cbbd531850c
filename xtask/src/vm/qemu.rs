//! QEMU: a machine that boots a kernel, and what it says on its first line to us.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc::{self, Receiver},
    thread,
};

use anyhow::{Context as _, Result};

use crate::setup;

const PROGRAM: &str = "qemu-system-x86_64";
/// Debian's package of the machine, and where its firmware is: QEMU's own and the BIOS.
const PACKAGE: &str = "qemu-system-x86";
const FIRMWARE: [&str; 2] = ["usr/share/qemu", "usr/share/seabios"];

/// A machine without devices; serial lines and the kernel's command line are the caller's.
///
/// An emulated machine's clock counts its instructions, two nanoseconds each, and leaps ahead when
/// it waits. So nothing in it is late because the real machine is slow or busy, and waiting takes
/// no time. It has one processor: Linux 6.1 does not boot with two that share such a clock.
pub(super) fn command(vmlinuz: &Path, image: &Path, kvm: bool) -> Command {
    let mut qemu = setup::command(PROGRAM, PACKAGE);
    if let Some(files) = setup::files(PROGRAM, PACKAGE) {
        for directory in FIRMWARE {
            qemu.arg("-L").arg(files.join(directory));
        }
    }
    let machine: &[&str] = if kvm {
        &["-accel", "kvm", "-cpu", "host", "-smp", "2"]
    } else {
        &[
            "-accel",
            "tcg,thread=single",
            "-cpu",
            "max",
            "-smp",
            "1",
            "-icount",
            "shift=1,sleep=off",
        ]
    };
    qemu.args(["-M", "pc", "-m", "2048"])
        .args(machine)
        .args(["-nodefaults", "-display", "none", "-no-reboot", "-kernel"])
        .arg(vmlinuz)
        .arg("-initrd")
        .arg(image);
    qemu
}

/// A machine that runs. It ends with this value.
pub(super) struct Running {
    child: Child,
    /// What comes on the serial line that is QEMU's stdout; closed when the machine ends.
    pub(super) lines: Receiver<String>,
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail only when it has ended and been waited for already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts it.
pub(super) fn boot(qemu: &mut Command) -> Result<Running> {
    let mut child = qemu
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot run qemu-system-x86_64")?;
    let stdout = child.stdout.take().context("stdout is piped")?;
    let (sender, lines) = mpsc::channel();
    thread::spawn(move || {
        let mut reader = BufReader::new(stdout);
        let mut line = Vec::new();
        while reader
            .read_until(b'\n', &mut line)
            .is_ok_and(|read| read > 0)
        {
            let text = String::from_utf8_lossy(&line).trim_end().to_owned();
            if sender.send(text).is_err() {
                return;
            }
            line.clear();
        }
    });
    Ok(Running { child, lines })
}
