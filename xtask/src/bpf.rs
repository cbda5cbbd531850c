//! Which compiler and which linker can build the kernel programs on this machine.
//!
//! A BPF program needs three things: `core` for [`TARGET`], a compiler of the same version as that
//! `core`, and a `bpf-linker` whose LLVM is not older than the compiler's. There are two ways to
//! have the first two:
//!
//! - **prebuilt**: a distribution's rustc that comes with `core` for BPF
//!   (Debian: `rustc-web` with `libstd-rust-web-dev-bpf`);
//! - **from source**: `rust-src` in the active rustup toolchain, from which cargo builds `core`.
//!
//! Versions alone do not show whether a linker suits a compiler, so [`choose`] lets each pair link
//! a tiny program and takes the first that can.
//!
//! `tracer/build.rs` includes this file too, hence the standard library only.

use std::{
    env,
    ffi::OsString,
    fmt, fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{self, Command, Output, Stdio},
};

/// The target triple of the kernel programs.
pub(crate) const TARGET: &str = "bpfel-unknown-none";

/// Names a rustc with a prebuilt `core` for BPF, tried before all others.
pub(crate) const RUSTC_VARIABLE: &str = "WHYDROP_BPF_RUSTC";

/// Where distributions put their rustc, beside the one of rustup.
const SYSTEM_RUSTC: &str = "/usr/bin/rustc";

/// The smallest program that makes compiler and linker work together. It does without `core`,
/// which need not be built yet.
const TRIAL: &str = r#"
#![feature(no_core, lang_items)]
#![no_core]
#![no_main]
#[lang = "pointee_sized"]
trait PointeeSized {}
#[lang = "meta_sized"]
trait MetaSized: PointeeSized {}
#[lang = "sized"]
trait Sized: MetaSized {}
#[lang = "copy"]
trait Copy {}
#[unsafe(no_mangle)]
#[unsafe(link_section = "socket")]
extern "C" fn trial() -> i32 { 0 }
"#;

/// A compiler that has, or can build, `core` for BPF.
#[derive(Clone, Debug)]
pub(crate) struct Compiler {
    /// The rustc to use.
    pub(crate) rustc: PathBuf,
    /// Whether cargo has to build `core` from source (`-Z build-std=core`).
    pub(crate) build_std: bool,
}

impl fmt::Display for Compiler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let core = if self.build_std {
            "core from rust-src"
        } else {
            "prebuilt core"
        };
        write!(f, "{} ({core})", self.rustc.display())
    }
}

/// A compiler and a linker that were seen working together.
#[derive(Debug)]
pub(crate) struct Toolchain {
    /// The compiler.
    pub(crate) compiler: Compiler,
    /// The absolute path of bpf-linker.
    pub(crate) linker: PathBuf,
}

/// Why no kernel program can be built here.
#[derive(Debug)]
pub(crate) enum Missing {
    /// No compiler has or can build `core` for BPF.
    Core,
    /// There is no bpf-linker.
    Linker,
    /// There are both, and no linker can read what a compiler writes.
    Match(String),
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Core => write!(
                f,
                "no compiler here has Rust's core library for {TARGET}: neither a prebuilt one \
                 ({SYSTEM_RUSTC}, {RUSTC_VARIABLE}) nor rust-src in the active toolchain"
            ),
            Self::Linker => {
                write!(
                    f,
                    "bpf-linker is neither in PATH nor in cargo's bin directory"
                )
            }
            Self::Match(trials) => write!(
                f,
                "bpf-linker cannot link what the compiler emits (its LLVM must not be older than \
                 the compiler's):\n{trials}"
            ),
        }
    }
}

/// The first pair of compiler and linker that links a program. `active_rustc` is the compiler that
/// builds everything else.
pub(crate) fn choose(active_rustc: &Path) -> Result<Toolchain, Missing> {
    let linkers = linkers();
    let mut any_compiler = false;
    let mut failures = String::new();
    // The second way costs two more processes, so it is only looked at when the first fails.
    let ways: [&dyn Fn() -> Vec<Compiler>; 2] = [&prebuilt, &|| {
        from_source(active_rustc).into_iter().collect()
    }];
    for compiler in ways.iter().flat_map(|way| way()) {
        any_compiler = true;
        for linker in &linkers {
            match link_trial(&compiler.rustc, linker) {
                Ok(()) => {
                    return Ok(Toolchain {
                        compiler,
                        linker: linker.clone(),
                    });
                }
                Err(why) => {
                    failures.push_str(&format!("{compiler} with {}: {why}\n", linker.display()));
                }
            }
        }
    }
    Err(match (any_compiler, linkers.is_empty()) {
        (false, _) => Missing::Core,
        (true, true) => Missing::Linker,
        (true, false) => Missing::Match(failures.trim_end().to_owned()),
    })
}

/// Compilers that come with `core` for BPF.
fn prebuilt() -> Vec<Compiler> {
    [
        env::var_os(RUSTC_VARIABLE).map(PathBuf::from),
        Some(PathBuf::from(SYSTEM_RUSTC)),
    ]
    .into_iter()
    .flatten()
    .filter(|rustc| has_prebuilt_core(rustc))
    .map(|rustc| Compiler {
        rustc,
        build_std: false,
    })
    .collect()
}

fn has_prebuilt_core(rustc: &Path) -> bool {
    let Some(directory) = print(rustc, &["--print", "target-libdir", "--target", TARGET]) else {
        return false;
    };
    fs::read_dir(directory).is_ok_and(|entries| {
        entries
            .flatten()
            .any(|entry| entry.file_name().to_string_lossy().starts_with("libcore-"))
    })
}

/// The active compiler, if its toolchain has the standard library's source.
fn from_source(active_rustc: &Path) -> Option<Compiler> {
    let sysroot = print(active_rustc, &["--print", "sysroot"])?;
    Path::new(&sysroot)
        .join("lib/rustlib/src/rust/library/core/Cargo.toml")
        .exists()
        .then(|| Compiler {
            rustc: active_rustc.to_owned(),
            build_std: true,
        })
}

/// What rustc prints for these arguments, without the line's end; `None` if it fails.
pub(crate) fn print(rustc: &Path, args: &[&str]) -> Option<String> {
    let Output { status, stdout, .. } = Command::new(rustc).args(args).output().ok()?;
    status
        .success()
        .then(|| String::from_utf8_lossy(&stdout).trim().to_owned())
}

/// Every bpf-linker in PATH, and the one in cargo's bin directory: that one need not be in PATH
/// when cargo comes from a distribution.
fn linkers() -> Vec<PathBuf> {
    let cargo_home = env::var_os("CARGO_HOME").map(PathBuf::from).or_else(|| {
        let home = env::var_os("HOME")?;
        Some(Path::new(&home).join(".cargo"))
    });
    let path = env::var_os("PATH").unwrap_or_default();
    let mut found: Vec<PathBuf> = Vec::new();
    for directory in env::split_paths(&path).chain(cargo_home.map(|home| home.join("bin"))) {
        let candidate = directory.join("bpf-linker");
        if candidate.is_file() && !found.contains(&candidate) {
            found.push(candidate);
        }
    }
    found
}

/// The compiler flags of every BPF build with this linker, the trial's included.
pub(crate) fn link_flags(linker: &Path) -> Vec<OsString> {
    let mut linker_flag = OsString::from("-Clinker=");
    linker_flag.push(linker);
    // Fat objects would hold machine code; bpf-linker wants bitcode.
    let mut flags = vec![linker_flag, "-Clinker-plugin-lto".into()];
    // BTF carries the names and line numbers that the verifier's log shows.
    flags.extend(["-Clink-arg=--btf", "-Cdebuginfo=2"].map(OsString::from));
    flags
}

fn link_trial(rustc: &Path, linker: &Path) -> Result<(), String> {
    let output = env::temp_dir().join(format!("whydrop-link-trial-{}", process::id()));
    let result = compile_trial(rustc, linker, &output);
    // It is a scratch file: where it cannot be removed, it was not made.
    let _ = fs::remove_file(&output);
    result
}

fn compile_trial(rustc: &Path, linker: &Path, output: &Path) -> Result<(), String> {
    let mut child = Command::new(rustc)
        .args([
            "-",
            "--edition=2024",
            "--crate-name=trial",
            "--crate-type=bin",
            "--target",
            TARGET,
        ])
        .args(["-O", "-Cpanic=abort", "-Ainternal_features"])
        .args(link_flags(linker))
        .arg("-o")
        .arg(output)
        .env("RUSTC_BOOTSTRAP", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| error.to_string())?;
    if let Some(mut stdin) = child.stdin.take() {
        // A compiler that ends before it has read everything says why on stderr.
        let _ = stdin.write_all(TRIAL.as_bytes());
    }
    let Output { status, stderr, .. } = child
        .wait_with_output()
        .map_err(|error| error.to_string())?;
    if status.success() {
        Ok(())
    } else {
        Err(String::from_utf8_lossy(&stderr).trim().to_owned())
    }
}
