//! `cargo xtask vm-test`: the scenarios on stock kernels, each in a virtual machine.
//!
//! | module | one job |
//! |---|---|
//! | [`kernels`] | which kernels there are; fetching and unpacking their packages |
//! | [`payload`] | whydrop and the test executables |
//! | [`image`] | the root file system: payload, tools, modules, `init.sh` |
//! | [`cpio`] | its format |
//! | [`qemu`] | a machine that boots a kernel |
//! | [`machine`] | one that runs tests, and the protocol on its serial lines |
//! | [`alone`] | one that holds a single program |
//! | [`quick`] | one scenario for each path from the kernel into whydrop |
//! | [`left_out`] | what is not run |
//! | [`results`] | what came of the tests on a kernel |
//! | [`table`] | that, for the terminal |
//! | [`page`] | that, for `docs/kernels.md` |
//!
//! The machines are emulated, so this runs on any machine, inside other virtual ones too; KVM is
//! used only if asked for. The kernels are Debian's packages, unpacked and never installed.

pub(crate) mod alone;
mod cpio;
mod image;
mod kernels;
mod left_out;
mod machine;
mod page;
mod payload;
mod qemu;
mod quick;
mod results;
mod table;

use std::{
    ffi::OsString,
    fs,
    num::NonZero,
    panic::resume_unwind,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::Duration,
};

use anyhow::{Result, bail};
use clap::Args;

use self::{
    kernels::Kernel,
    machine::Machine,
    payload::{Payload, Selection},
    results::Results,
    table::Table,
};
use crate::{run, setup};

/// Kernels that the tests run on where none is named: the newest of each of these.
const DEFAULT: [&str; 2] = ["6.1", "6.12"];

/// What is asked for.
#[derive(Args)]
pub(crate) struct Options {
    /// Kernels: a version, or the start of one (6.12.100, 6.1); the newest 6.1 and 6.12 by default
    kernels: Vec<String>,
    /// Only the scenarios of this module, or `units`; may be given again
    #[arg(long = "test", value_name = "MODULE")]
    tests: Vec<String>,
    /// Only one scenario for each path from the kernel into whydrop, as continuous integration does
    #[arg(long, conflicts_with_all = ["tests", "args", "run"])]
    quick: bool,
    /// Run a shell command inside instead of the tests
    #[arg(long, value_name = "COMMAND")]
    run: Option<String>,
    /// Words for the kernel's command line, such as `lockdown=confidentiality`
    #[arg(long, value_name = "WORDS", default_value = "")]
    append: String,
    /// Minutes after which a machine is given up
    #[arg(long, default_value_t = 120, value_name = "MINUTES")]
    timeout: u64,
    /// Use KVM instead of emulation; a /dev/kvm need not be able to boot these kernels
    #[arg(long)]
    kvm: bool,
    /// A part of a test's name, or an option of the test executables, such as `--nocapture`
    #[arg(last = true)]
    args: Vec<OsString>,
}

impl Options {
    /// What is run on a kernel, by its version.
    fn selection<'a>(&'a self, kernel: &'a str) -> Selection<'a> {
        if self.quick {
            Selection::Quick(kernel)
        } else {
            Selection::Of(&self.tests, &self.args)
        }
    }

    /// Whether whole groups of tests are run, so that their results are worth keeping.
    fn whole(&self) -> bool {
        !self.quick && self.args.is_empty() && self.run.is_none() && self.append.is_empty()
    }
}

/// Runs the tests on each kernel, in as many machines at a time as there are processors.
pub(crate) fn test(options: &Options) -> Result<()> {
    setup::setup()?.require_tools()?;
    setup::require_vm_tools()?;
    let kernels = chosen(options, &directory().join("kernels"))?;
    // Not by the kernel, as far as that is built. A command gets what the tests have built.
    let payload = Payload::build(&match options.run {
        Some(_) => Selection::Quick(""),
        None => options.selection(""),
    })?;
    let files = payload.files();
    let command = |kernel: &Kernel| match &options.run {
        Some(command) => Ok(command.clone()),
        None => payload.commands(&options.selection(&kernel.version)),
    };
    let mut table = Table::default();
    // A machine keeps one processor busy.
    let abreast = thread::available_parallelism().map_or(1, NonZero::get);
    for kernels in kernels.chunks(abreast) {
        let ended: Vec<Result<Results>> = thread::scope(|scope| {
            let running: Vec<_> = kernels
                .iter()
                .map(|kernel| scope.spawn(|| on(kernel, options, &files, &command(kernel)?)))
                .collect();
            let ended = running.into_iter().map(|machine| machine.join());
            ended
                .map(|result| result.unwrap_or_else(|panic| resume_unwind(panic)))
                .collect()
        });
        for (kernel, results) in kernels.iter().zip(ended) {
            table.add(kernel, results?);
        }
    }
    println!("\n{table}");
    if options.whole() {
        let programs = payload::PROGRAMS.into_iter();
        page::write(&programs.chain(payload.names()).collect::<Vec<_>>())?;
    }
    if table.failed() {
        bail!("not all is well on all kernels");
    }
    Ok(())
}

/// Runs the tests on one kernel.
fn on(
    kernel: &Kernel,
    options: &Options,
    files: &[(&str, &Path)],
    command: &str,
) -> Result<Results> {
    let directory = directory();
    let image = directory.join(format!("{}.cpio", kernel.release));
    image::write(&image, kernel, files, command)?;
    let machine = Machine {
        kernel,
        image: &image,
        log: &directory.join(format!("{}.log", kernel.release)),
        kvm: options.kvm,
        append: &options.append,
        timeout: Duration::from_secs(60 * options.timeout),
    };
    let mut results = machine.run(|group, results| {
        if options.whole() {
            keep(&page::kept(), kernel, results, group)?;
        }
        Ok(())
    })?;
    // A hundred megabytes that the next run writes anew.
    let _ = fs::remove_file(&image);
    if options.quick {
        quick::require_all(&kernel.version, &mut results);
    }
    Ok(results)
}

/// Puts the new results of a group of tests into those that are kept of a kernel.
fn keep(directory: &Path, kernel: &Kernel, new: &Results, group: &str) -> Result<()> {
    let today = Command::new("date").args(["-u", "+%F"]).output()?;
    let today = String::from_utf8_lossy(&today.stdout);
    let mut results = Results::load(directory, &kernel.version);
    results.replace(new, group, today.trim());
    results.save(directory, &kernel.version)
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
