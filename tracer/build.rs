//! Builds the kernel programs and puts them into `$OUT_DIR/whydrop-ebpf`, from where the loader
//! includes them.
//!
//! This is what `aya-build` is for, but that insists on `rustup run` and on building `core` from
//! `rust-src`. Here a distribution's compiler with a prebuilt `core` serves as well, so that the
//! set-up does not depend on rustup's server.

use std::{
    env,
    ffi::{OsStr, OsString},
    fs,
    path::{Path, PathBuf},
    process::{self, Command},
};

use anyhow::{Context as _, Result, bail, ensure};

#[path = "../xtask/src/bpf.rs"]
mod bpf;

const PACKAGE: &str = "tracer-ebpf";
const BINARY: &str = "whydrop-ebpf";

/// What an outer cargo, clippy or rustdoc sets for its own compiler and would confuse the inner
/// one.
const FOREIGN: [&str; 8] = [
    "RUSTFLAGS",
    "RUSTC_WRAPPER",
    "RUSTC_WORKSPACE_WRAPPER",
    "RUSTDOC",
    "CARGO_BUILD_TARGET",
    "CARGO_BUILD_RUSTC",
    "CARGO_BUILD_RUSTC_WRAPPER",
    "CARGO_BUILD_RUSTC_WORKSPACE_WRAPPER",
];

fn main() {
    // The laptop's half has no kernel programs, and needs no compiler for them.
    if env::var_os("CARGO_FEATURE_TRACE").is_none() {
        return;
    }
    if let Err(error) = build() {
        eprintln!("cannot build whydrop's kernel programs: {error:#}");
        process::exit(1);
    }
}

fn build() -> Result<()> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .context("this package lies in no workspace")?;
    for input in [
        "tracer-ebpf",
        "tracer-common",
        "Cargo.lock",
        "Cargo.toml",
        "xtask/src/bpf.rs",
    ] {
        println!(
            "cargo::rerun-if-changed={}",
            workspace.join(input).display()
        );
    }
    println!("cargo::rerun-if-env-changed={}", bpf::RUSTC_VARIABLE);

    ensure!(
        variable("CARGO_CFG_TARGET_ENDIAN")? == "little",
        "only little-endian machines are supported"
    );
    let active_rustc = PathBuf::from(variable("RUSTC")?);
    let toolchain = match bpf::choose(&active_rustc) {
        Ok(toolchain) => toolchain,
        Err(missing) => bail!("{missing}\nThe way out: run `cargo xtask setup` once."),
    };
    println!("cargo::rerun-if-changed={}", toolchain.linker.display());
    if !toolchain.compiler.build_std {
        println!(
            "cargo::rerun-if-changed={}",
            toolchain.compiler.rustc.display()
        );
    }

    let out_dir = PathBuf::from(variable("OUT_DIR")?);
    let object = compile(&toolchain, workspace, &out_dir.join("bpf"))?;
    let copy = out_dir.join(BINARY);
    let programs = fs::read(&object).with_context(|| format!("reading {}", object.display()))?;
    let programs = without_debug_sections(&programs).context("removing debug sections")?;
    fs::write(&copy, programs).with_context(|| format!("writing {}", copy.display()))?;
    Ok(())
}

/// Runs the inner cargo, in a target directory of its own: the outer cargo holds the lock of the
/// other one.
fn compile(toolchain: &bpf::Toolchain, workspace: &Path, target_dir: &Path) -> Result<PathBuf> {
    let mut cargo = Command::new(variable("CARGO")?);
    // Quiet leaves only diagnostics on stderr, which are passed on below.
    cargo
        .current_dir(workspace)
        .args(["build", "--quiet", "--locked", "--release"])
        .args(["--package", PACKAGE, "--bin", BINARY])
        .args(["--target", bpf::TARGET])
        .arg("--target-dir")
        .arg(target_dir);
    if toolchain.compiler.build_std {
        cargo.args(["-Z", "build-std=core"]);
    }
    for name in FOREIGN {
        cargo.env_remove(name);
    }
    cargo
        .env("RUSTC", &toolchain.compiler.rustc)
        // BPF is a target without a promise of stability; aya-ebpf uses unstable features for it.
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_ENCODED_RUSTFLAGS", rustflags(&toolchain.linker)?)
        // A build directory set from outside would be the outer cargo's, and locked.
        .env("CARGO_BUILD_BUILD_DIR", target_dir)
        // bpf-linker optimises the whole program; a second LTO by rustc gets in its way.
        .env("CARGO_PROFILE_RELEASE_LTO", "off")
        .env("CARGO_TERM_COLOR", "never");

    let output = cargo
        .output()
        .with_context(|| format!("running {cargo:?}"))?;
    let diagnostics = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "{PACKAGE} does not compile with {}, {}:\n{diagnostics}",
        toolchain.compiler,
        toolchain.linker.display(),
    );
    for line in diagnostics.lines().filter(|line| !line.is_empty()) {
        println!("cargo::warning={line}");
    }
    Ok(target_dir.join(bpf::TARGET).join("release").join(BINARY))
}

/// The programs without what only a debugger reads, nine tenths of the file. The BTF stays, with the
/// lines for the verifier's log.
#[cfg(feature = "trace")]
fn without_debug_sections(programs: &[u8]) -> Result<Vec<u8>> {
    let mut elf = object::build::elf::Builder::read(programs)?;
    for section in &mut elf.sections {
        let name = section.name.as_slice();
        section.delete |= name.starts_with(b".debug_") || name.starts_with(b".rel.debug_");
    }
    elf.delete_orphans();
    // LLVM keeps the names of sections and of symbols in one table, and the builder in two.
    let names = elf.sections.add();
    names.name = b".shstrtab"[..].into();
    names.sh_type = object::elf::SHT_STRTAB;
    names.data = object::build::elf::SectionData::SectionString;
    let mut written = Vec::new();
    elf.write(&mut written)?;
    Ok(written)
}

/// The laptop's half has no programs.
#[cfg(not(feature = "trace"))]
fn without_debug_sections(programs: &[u8]) -> Result<Vec<u8>> {
    Ok(programs.to_vec())
}

/// The compiler's flags, in the encoding that allows any character in them.
fn rustflags(linker: &Path) -> Result<OsString> {
    let architecture = variable("CARGO_CFG_TARGET_ARCH")?;
    // aya-ebpf knows the registers of a probed function by this.
    let mut architecture_flag = OsString::from("--cfg=bpf_target_arch=\"");
    architecture_flag.push(&architecture);
    architecture_flag.push("\"");
    let mut flags = bpf::link_flags(linker);
    flags.push(architecture_flag);
    Ok(flags.join(OsStr::new("\x1f")))
}

fn variable(name: &str) -> Result<OsString> {
    env::var_os(name).with_context(|| format!("cargo did not set {name}"))
}
