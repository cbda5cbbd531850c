//! `cargo xtask vm-test`: the scenarios on stock kernels, each in a virtual machine.
//!
//! | module | one job |
//! |---|---|
//! | [`kernels`] | which kernels there are; fetching and unpacking their packages |
//! | [`payload`] | whydrop and the test executables, built statically |
//! | [`image`] | the root file system: payload, tools, modules, `init.sh` |
//! | [`cpio`] | its format |
//! | [`machine`] | QEMU, and the protocol on its serial lines |
//! | [`table`] | what came of it |
//!
//! The machines are emulated, so this runs on any machine, inside other virtual ones too; KVM is
//! used only if asked for. The kernels are Debian's packages, unpacked and never installed.

mod cpio;
mod image;
mod kernels;
mod machine;
mod payload;
mod table;

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use clap::Args;

use self::{kernels::Kernel, machine::Machine, payload::Payload, table::Table};
use crate::{run, setup};

/// Kernels that the tests run on where none is named: the newest of each of these.
const DEFAULT: [&str; 2] = ["6.1", "6.12"];

/// What is asked for.
#[derive(Args)]
pub(crate) struct Options {
    /// Kernels: a version, or the start of one (6.12.100, 6.1); the newest 6.1 and 6.12 by default
    kernels: Vec<String>,
    /// Only this test executable, as in `cargo test --test`; may be given again
    #[arg(long = "test", value_name = "NAME")]
    tests: Vec<String>,
    /// Run a shell command inside instead of the tests
    #[arg(long, value_name = "COMMAND")]
    run: Option<String>,
    /// Minutes after which a machine is given up
    #[arg(long, default_value_t = 40, value_name = "MINUTES")]
    timeout: u64,
    /// Use KVM instead of emulation; a /dev/kvm need not be able to boot these kernels
    #[arg(long)]
    kvm: bool,
    /// Arguments of the test executables, such as a part of a test's name
    #[arg(last = true)]
    args: Vec<OsString>,
}

/// Runs the tests on each kernel, one machine after the other.
pub(crate) fn test(options: &Options) -> Result<()> {
    setup::setup()?.require_tools()?;
    setup::require_vm_tools()?;
    let directory = directory();
    fs::create_dir_all(&directory)
        .with_context(|| format!("cannot make {}", directory.display()))?;
    let kernels = chosen(options, &directory.join("kernels"))?;
    let payload = Payload::build(&directory.join("build"), &options.tests)?;
    let command = options
        .run
        .clone()
        .unwrap_or_else(|| payload.commands(&options.args));

    let mut table = Table::default();
    for kernel in &kernels {
        let image = directory.join(format!("{}.cpio", kernel.release));
        image::write(&image, kernel, &payload, &command)?;
        let machine = Machine {
            kernel,
            image: &image,
            log: &directory.join(format!("{}.log", kernel.release)),
            kvm: options.kvm,
            timeout: Duration::from_secs(60 * options.timeout),
        };
        table.add(kernel, machine.run()?);
        // A hundred megabytes that the next run writes anew.
        let _ = fs::remove_file(&image);
    }
    println!("\n{table}");
    if table.failed() {
        bail!("not all is well on all kernels");
    }
    Ok(())
}

/// The kernels that are asked for, unpacked in `cache`.
fn chosen(options: &Options, cache: &Path) -> Result<Vec<Kernel>> {
    let available = kernels::available()?;
    let wanted: Vec<&str> = if options.kernels.is_empty() {
        DEFAULT.to_vec()
    } else {
        options.kernels.iter().map(String::as_str).collect()
    };
    wanted
        .into_iter()
        .map(|wanted| kernels::choose(&available, wanted)?.unpack(cache))
        .collect()
}

/// Where everything is that can be made again.
fn directory() -> PathBuf {
    run::workspace().join("target/vm")
}
