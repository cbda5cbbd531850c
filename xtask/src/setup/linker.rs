//! bpf-linker, built against an LLVM that fits the compiler.

use std::{
    env, fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process,
};

use anyhow::{Context as _, Result, bail};

use super::{apt, step};
use crate::{bpf, progress, run};

/// The release that is known to work with the pinned compiler.
const VERSION: &str = "0.13.0";

/// Builds bpf-linker and puts it where cargo puts programs.
pub(super) fn install(rustc: &Path) -> Result<()> {
    let llvm = Llvm::of_compiler(rustc)?;
    step(&format!(
        "building bpf-linker {VERSION} against LLVM {} in {}",
        llvm.major,
        llvm.prefix.display()
    ));
    let mut cargo = run::cargo();
    cargo
        .args([
            "install",
            "bpf-linker",
            "--version",
            VERSION,
            "--locked",
            "--force",
            // Less than half the time to build; nearly all the work of linking is LLVM's.
            "--debug",
            "--config",
            "profile.dev.debug=false",
        ])
        .args([
            "--no-default-features",
            "--features",
            &format!("llvm-{}", llvm.major),
        ])
        .env("LLVM_PREFIX", &llvm.prefix);
    if let Some(shim) = &llvm.shim {
        cargo.env(
            "CARGO_ENCODED_RUSTFLAGS",
            format!("-L\x1f{}", shim.display()),
        );
    }
    let built = progress::cargo("setup: building bpf-linker", cargo);
    if let Some(shim) = &llvm.shim {
        // A scratch directory; a leftover does no harm.
        let _ = fs::remove_dir_all(shim);
    }
    built.context("cannot build bpf-linker")
}

/// An LLVM to link against.
struct Llvm {
    major: String,
    /// What has `lib/` with the library in it.
    prefix: PathBuf,
    /// Where the library has the name that a linker looks for, if not in `prefix`.
    shim: Option<PathBuf>,
}

impl Llvm {
    /// The compiler's own LLVM, where its toolchain has one: no package is needed then, and no
    /// version can differ. Otherwise the distribution's of the same number.
    fn of_compiler(rustc: &Path) -> Result<Self> {
        let version = bpf::print(rustc, &["-vV"]).context("`rustc -vV` failed")?;
        let major = version
            .lines()
            .find_map(|line| line.strip_prefix("LLVM version: ")?.split('.').next())
            .context("rustc does not say which LLVM it has")?
            .to_owned();
        let sysroot = bpf::print(rustc, &["--print", "sysroot"])
            .map(PathBuf::from)
            .context("`rustc --print sysroot` failed")?;
        match shared_library(&sysroot, &major) {
            Some(library) => {
                let shim = Some(shim(&library)?);
                Ok(Self {
                    major,
                    prefix: sysroot,
                    shim,
                })
            }
            None => Self::of_distribution(major),
        }
    }

    fn of_distribution(major: String) -> Result<Self> {
        let prefix = PathBuf::from(format!("/usr/lib/llvm-{major}"));
        if !prefix.join("lib/libLLVM.so").exists() {
            let packages = [format!("llvm-{major}-dev"), format!("libpolly-{major}-dev")];
            step("bpf-linker needs LLVM's library, and the compiler brings none of its own");
            apt::install(&packages.each_ref().map(String::as_str))?;
        }
        if !prefix.join("lib/libLLVM.so").exists() {
            bail!(
                "there is no LLVM {major} in {}: install it, or put a bpf-linker {VERSION} that \
                 was built with it into PATH",
                prefix.display()
            );
        }
        Ok(Self {
            major,
            prefix,
            shim: None,
        })
    }
}

/// `libLLVM.so.22.1-rust-1.95.0-stable` and the like. rustup's `libLLVM-22-rust-….so` beside it is
/// a linker script, that refers to it by name.
fn shared_library(sysroot: &Path, major: &str) -> Option<PathBuf> {
    let start = format!("libLLVM.so.{major}.");
    fs::read_dir(sysroot.join("lib"))
        .ok()?
        .flatten()
        .find(|entry| entry.file_name().to_string_lossy().starts_with(&start))
        .map(|entry| entry.path())
}

/// A directory in which the library is called `libLLVM.so`, for the time of linking. Afterwards it
/// is found by its own name in the toolchain.
fn shim(library: &Path) -> Result<PathBuf> {
    let directory = env::temp_dir().join(format!("whydrop-llvm-{}", process::id()));
    fs::create_dir_all(&directory)
        .and_then(|()| symlink(library, directory.join("libLLVM.so")))
        .with_context(|| format!("cannot make {}", directory.display()))?;
    Ok(directory)
}
