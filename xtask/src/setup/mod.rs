//! What building and testing whydrop needs beyond plain cargo: a look at what is missing, and its
//! installation.
//!
//! Only packages are needed, those of the distribution and of cargo. rustup's server is one way
//! among others, because a machine may not reach it. Looking costs a few processes; installing
//! happens once.

mod apt;
mod core;
mod linker;
mod tools;
mod unpacked;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use self::tools::Tool;
pub(crate) use self::unpacked::{command, files};
use crate::{
    bpf::{self, Missing, Toolchain},
    run,
};

/// What there is after the set-up.
pub(crate) struct Setup {
    toolchain: Toolchain,
    missing_tools: Vec<&'static Tool>,
}

impl Setup {
    /// Fails where the labs would: without the programs that they are made with.
    pub(crate) fn require_tools(&self) -> Result<()> {
        if self.missing_tools.is_empty() {
            return Ok(());
        }
        bail!(
            "the labs cannot run without these programs:\n{}",
            tools::list(&self.missing_tools)
        )
    }
}

/// The task `setup`: does what is needed and says what there is.
pub(crate) fn setup_and_report() -> Result<()> {
    let setup = setup()?;
    let Toolchain { compiler, linker } = &setup.toolchain;
    println!(
        "setup: kernel programs: {compiler}, linked by {}",
        linker.display()
    );
    if setup.missing_tools.is_empty() {
        println!("setup: tools of the labs: all here");
        println!("setup: nothing is missing");
    } else {
        println!("setup: building works; the labs and their tests do not, without:");
        println!("{}", tools::list(&setup.missing_tools));
    }
    Ok(())
}

/// Installs everything that the tests need. Fails if whydrop cannot be built afterwards; missing
/// tools of the labs are the caller's to judge.
pub(crate) fn setup() -> Result<Setup> {
    prepare(&[&tools::LAB_TOOLS, &tools::RUNTIME_TOOLS])
}

/// Installs what building whydrop and running it in a lab need, and nothing else.
pub(crate) fn setup_for_labs() -> Result<Setup> {
    prepare(&[&tools::LAB_TOOLS])
}

fn prepare(groups: &[&'static [Tool]]) -> Result<Setup> {
    let missing_tools = || groups.iter().flat_map(|tools| tools::missing(tools));
    let missing: Vec<_> = missing_tools().collect();
    let mut packages = tools::packages(&missing);
    if !missing.is_empty() {
        step("the labs need these programs:");
        eprintln!("{}", tools::list(&missing));
    }
    let rustc = active_rustc();
    let toolchain = bpf::choose(&rustc);
    // In one installation: each of them ends with half a minute of other packages' triggers.
    if run::is_root() && matches!(toolchain, Err(Missing::Core)) {
        packages.extend(core::PACKAGES);
    }
    if !packages.is_empty()
        && let Err(error) = apt::install(&packages)
    {
        step(&format!("{error:#}"));
    }
    let toolchain = match toolchain {
        Ok(toolchain) => toolchain,
        Err(_) => install_toolchain(&rustc)?,
    };
    Ok(Setup {
        toolchain,
        missing_tools: missing_tools().collect(),
    })
}

/// Installs what virtual machines need, or unpacks what cannot be installed. Fails if neither works.
pub(crate) fn require_vm_tools() -> Result<()> {
    let here = |tool: &&Tool| unpacked::has(tool);
    if tools::missing(&tools::VM_TOOLS).iter().all(here) {
        return Ok(());
    }
    let mut missing = install_tools("the virtual machines", &tools::VM_TOOLS);
    for tool in &missing {
        if let Err(error) = unpacked::provide(tool) {
            step(&format!("{error:#}"));
        }
    }
    missing.retain(|tool| !here(tool));
    if missing.is_empty() {
        return Ok(());
    }
    bail!(
        "no virtual machine can be made without these programs:\n{}",
        tools::list(&missing)
    )
}

/// Installs what building for ARM needs besides, if available. Returns what is still missing.
pub(crate) fn offer_arm_tools() -> Option<String> {
    let missing = install_tools("builds for ARM", &tools::ARM_TOOLS);
    (!missing.is_empty()).then(|| tools::list(&missing))
}

/// Installs what the packages of a release are tried out with, if available.
pub(crate) fn offer_package_tools() {
    let missing = install_tools("trials of packages", &tools::PACKAGE_TOOLS);
    if !missing.is_empty() {
        step("not every package is tried out");
    }
}

/// Installs what benchmarks compare with, if available.
pub(crate) fn offer_bench_tools() {
    let missing = install_tools("the benchmarks", &tools::BENCH_TOOLS);
    if !missing.is_empty() {
        step("the benchmarks run without a comparison with bpftrace");
    }
}

/// The programs that the labs are made with.
pub(crate) fn lab_tools() -> impl Iterator<Item = &'static str> {
    tools::of_labs()
}

/// Fetches the distribution's lists of packages, once.
pub(crate) fn update_package_lists() {
    apt::update_once();
}

/// Returns those that are still missing afterwards.
fn install_tools(who: &str, tools: &'static [Tool]) -> Vec<&'static Tool> {
    let missing = tools::missing(tools);
    if missing.is_empty() {
        return missing;
    }
    step(&format!("{who} lack these programs:"));
    eprintln!("{}", tools::list(&missing));
    if let Err(error) = apt::install(&tools::packages(&missing)) {
        step(&format!("{error:#}"));
    }
    tools::missing(tools)
}

fn install_toolchain(rustc: &Path) -> Result<Toolchain> {
    let mut missing = match bpf::choose(rustc) {
        Ok(toolchain) => return Ok(toolchain),
        Err(missing) => missing,
    };
    if matches!(missing, Missing::Core) {
        step(&missing.to_string());
        core::install().context(missing.to_string())?;
        missing = match bpf::choose(rustc) {
            Ok(toolchain) => return Ok(toolchain),
            Err(missing) => missing,
        };
    }
    if matches!(missing, Missing::Linker | Missing::Match(_)) {
        step(&missing.to_string());
        linker::install(rustc)?;
    }
    match bpf::choose(rustc) {
        Ok(toolchain) => Ok(toolchain),
        Err(missing) => bail!("the set-up ran, and still: {missing}"),
    }
}

/// The compiler that cargo uses for everything but the kernel programs.
fn active_rustc() -> PathBuf {
    std::env::var_os("RUSTC").map_or_else(|| Path::new("rustc").to_owned(), PathBuf::from)
}

/// A line that says what the set-up does and why.
fn step(text: &str) {
    eprintln!("setup: {text}");
}
