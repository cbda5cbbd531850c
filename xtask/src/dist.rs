//! `cargo xtask dist`: whydrop as one file that runs on any distribution, and all that it is released
//! in: archives, packages, images, with their checksums, licenses and bill of materials.

mod archive;
mod artifacts;
mod dependencies;
mod image;
mod krew;
mod package;
mod release;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use clap::Args;

use self::{artifacts::Built, package::Architecture, release::Release};

use crate::{
    executables::{self, AARCH64, Place, Target, X86_64},
    run, setup,
    vm::alone,
};

/// The kernels that it is started on: the newest of each of these.
const KERNELS: [&str; 2] = ["6.1", "6.12"];

/// How large a program should be at most, in bytes.
const LARGEST: u64 = 12 << 20;

/// What runs the other architecture's programs.
const EMULATOR: &str = "qemu-aarch64-static";

/// What is asked for.
#[derive(Args)]
pub(crate) struct Options {
    /// Do not start it in virtual machines that hold nothing else
    #[arg(long)]
    unchecked: bool,

    /// Build everything once more, elsewhere and from nothing: it must be the same bytes
    #[arg(long)]
    twice: bool,

    /// Take what is not committed
    #[arg(long)]
    allow_dirty: bool,

    /// Where the image will be, such as registry.example/net/whydrop; `kubectl whydrop` names it by itself,
    /// with the version as its tag
    #[arg(
        long,
        value_name = "REGISTRY/NAME",
        default_value = "localhost/whydrop"
    )]
    image: String,
}

/// Builds it, checks that it starts alone, and says how large it is.
pub(crate) fn dist(options: &Options) -> Result<()> {
    let release = Release::current(&options.image, options.allow_dirty)?;
    setup::setup()?;
    setup::offer_package_tools();
    let directory = run::workspace().join("target/dist");
    empty(&directory)?;
    let path = put(&X86_64, "strip", &release, &directory, options.twice)?;
    if !options.unchecked {
        eprintln!(
            "dist: starting it alone on Linux {} in virtual machines; --unchecked leaves that out",
            KERNELS.join(" and ")
        );
        setup::require_vm_tools()?;
        for kernel in KERNELS {
            starts_alone(&path, kernel)?;
        }
    }
    let mut built = vec![Built {
        triple: X86_64.triple,
        architecture: "amd64",
        package: Architecture {
            deb: "amd64",
            rpm: "x86_64",
        },
        path: path.clone(),
    }];
    if let Some(there) = aarch64(&path, &release, &directory, options.twice)? {
        built.push(Built {
            triple: AARCH64.triple,
            architecture: "arm64",
            package: Architecture {
                deb: "arm64",
                rpm: "aarch64",
            },
            path: there,
        });
    }
    artifacts::make(&release, &directory, &path, &built)
}

/// All that is in there goes along with a release: what an earlier run has made does not.
fn empty(directory: &Path) -> Result<()> {
    if directory.exists() {
        fs::remove_dir_all(directory)
            .with_context(|| format!("cannot empty {}", directory.display()))?;
    }
    fs::create_dir_all(directory).with_context(|| format!("cannot make {}", directory.display()))
}

/// Builds it for an architecture, and puts it where releases are.
fn put(
    target: &Target,
    strip: &str,
    release: &Release,
    directory: &Path,
    twice: bool,
) -> Result<PathBuf> {
    let path = directory.join(format!("whydrop-{}", target.triple));
    let build = |place: Place| {
        eprintln!(
            "dist: building whydrop for {}, optimized: this takes some minutes",
            target.triple
        );
        let built = executables::whydrop(
            target,
            place,
            &[("WHYDROP_IMAGE", &release.image_and_tag())],
        )?;
        fs::copy(&built, &path).with_context(|| format!("cannot write {}", path.display()))?;
        run::run(Command::new(strip).arg(&path))?;
        fs::read(&path).with_context(|| format!("cannot read {}", path.display()))
    };
    if twice {
        let first = build(Place::Fresh)?;
        ensure!(
            first == build(Place::Kept)?,
            "whydrop for {} is not the same bytes when built again",
            target.triple
        );
        println!("dist: built twice for {}: the same bytes", target.triple);
    } else {
        build(Place::Kept)?;
    }
    let size = fs::metadata(&path)?.len();
    if size > LARGEST {
        println!(
            "dist: larger than {} MiB: docs/benchmarks.md says what it is made of, and what was tried",
            LARGEST >> 20
        );
    }
    println!(
        "dist: {} {}.{} MB",
        path.display(),
        size / 1_000_000,
        size / 100_000 % 10
    );
    Ok(path)
}

/// `whydrop check` where there is no other file. It finds that nothing can be traced without /sys,
/// reports that, and ends with 1 as it should.
fn starts_alone(path: &Path, kernel: &str) -> Result<()> {
    let said = alone::start(path, "check --color never", kernel)?;
    let release = &said.release;
    let text = said.lines.join("\n");
    let expected = [
        format!("kernel {release}"),
        "A trace cannot run here.".to_owned(),
    ];
    for expected in expected {
        ensure!(
            said.lines.iter().any(|line| line.trim() == expected),
            "on {release}, alone, `whydrop check` does not say `{expected}`:\n{text}"
        );
    }
    ensure!(
        said.status == 1,
        "on {release}, alone, `whydrop check` ends with {}:\n{text}",
        said.status
    );
    println!("dist: starts on {release} in a root without any other file");
    Ok(())
}

/// The same for the other architecture, as far as this machine can: what that takes is not to be had
/// everywhere, which is no failure of whydrop's. The kernel programs are the same bytes for both.
fn aarch64(
    here: &Path,
    release: &Release,
    directory: &Path,
    twice: bool,
) -> Result<Option<PathBuf>> {
    let triple = AARCH64.triple;
    if let Some(why) = lacking()? {
        println!("dist: not built for {triple}: {why}");
        return Ok(None);
    }
    let there = put(
        &AARCH64,
        "aarch64-linux-gnu-strip",
        release,
        directory,
        twice,
    )?;
    let alike = answer(&mut Command::new(here))? == answer(Command::new(EMULATOR).arg(&there))?;
    ensure!(
        alike,
        "{} answers otherwise than {}",
        there.display(),
        here.display()
    );
    println!("dist: whydrop for {triple}, emulated, explains a flow of a real cluster as here");
    Ok(Some(there))
}

/// What `whydrop explain` answers: all of userspace but the probes.
fn answer(whydrop: &mut Command) -> Result<Vec<u8>> {
    let dump = run::workspace().join("tracer/testdata/cluster-dump.json");
    whydrop
        .args(["explain", "-o", "json", "--cluster"])
        .arg(dump)
        .args(["--from", "prod/client-ok", "--to", "prod/server:8080"]);
    let output = whydrop
        .output()
        .with_context(|| format!("cannot run {whydrop:?}"))?;
    ensure!(
        output.status.success() && !output.stdout.is_empty(),
        "{whydrop:?} failed: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(output.stdout)
}

/// What is missing to build for [`AARCH64`], after an attempt to get it.
fn lacking() -> Result<Option<String>> {
    if let Some(missing) = setup::offer_arm_tools() {
        return Ok(Some(format!("without\n{missing}")));
    }
    if has_std()? {
        return Ok(None);
    }
    let triple = AARCH64.triple;
    // It says itself what goes wrong; there may be no rustup at all.
    let _ = Command::new("rustup")
        .args(["target", "add", triple])
        .status();
    Ok((!has_std()?).then(|| {
        format!(
            "its standard library is not here; `rustup target add {triple}` gets it where rustup's \
             server is reached, and no package of Debian's has it for this compiler"
        )
    }))
}

/// Whether the compiler has the standard library for [`AARCH64`].
fn has_std() -> Result<bool> {
    let output = Command::new("rustc")
        .args(["--print", "target-libdir", "--target", AARCH64.triple])
        .output()
        .context("cannot run rustc")?;
    ensure!(
        output.status.success(),
        "rustc does not know {}",
        AARCH64.triple
    );
    Ok(Path::new(String::from_utf8_lossy(&output.stdout).trim()).is_dir())
}
