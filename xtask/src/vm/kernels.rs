//! Debian's kernels for x86-64 clouds: the smallest, and they have what a node needs as modules.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail};

use crate::{run, setup};

/// What apt-cache knows to match: names with a full version in them, unlike the metapackages'.
const PACKAGES: &str = "^linux-image-[0-9]+\\.[0-9]+\\.[0-9]+.*-cloud-amd64$";

/// A kernel that can be had.
#[derive(Debug)]
pub(super) struct Package {
    /// `linux-image-6.1.0-56-cloud-amd64`, which has the release in it.
    name: String,
    /// The package's version: `6.1.192-2`.
    version: String,
    /// The kernel's: `[6, 1, 192]`.
    numbers: Vec<u32>,
}

/// A kernel that is here.
#[derive(Debug)]
pub(super) struct Kernel {
    /// What `uname -r` prints on it.
    pub(super) release: String,
    /// What it is called here: `6.1.192`.
    pub(super) version: String,
    /// The unpacked package.
    root: PathBuf,
}

impl Kernel {
    /// The unpacked package.
    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// What boots.
    pub(super) fn vmlinuz(&self) -> PathBuf {
        self.root.join(format!("boot/vmlinuz-{}", self.release))
    }

    /// The directory of its modules.
    pub(super) fn modules(&self) -> PathBuf {
        self.root.join("lib/modules").join(&self.release)
    }
}

/// All kernels that the distribution has.
pub(super) fn available() -> Result<Vec<Package>> {
    let mut packages = listed()?;
    if packages.is_empty() {
        setup::update_package_lists();
        packages = listed()?;
    }
    if packages.is_empty() {
        bail!(
            "no kernels to run the tests on: apt knows no packages linux-image-…-cloud-amd64, as \
             Debian 12 has them (or its server cannot be reached)"
        );
    }
    Ok(packages)
}

/// The newest kernel of which the version starts like this.
pub(super) fn choose<'a>(available: &'a [Package], wanted: &str) -> Result<&'a Package> {
    let start = numbers(wanted);
    let fitting = available
        .iter()
        .filter(|package| package.numbers.starts_with(&start));
    fitting
        .max_by(|a, b| a.numbers.cmp(&b.numbers))
        .with_context(|| {
            let mut versions: Vec<_> = available.iter().map(|package| &package.numbers).collect();
            versions.sort();
            versions.dedup();
            let versions: Vec<_> = versions
                .into_iter()
                .map(|version| dotted(version))
                .collect();
            format!(
                "there is no kernel {wanted}; there are {}",
                versions.join(" ")
            )
        })
}

impl Package {
    fn of_line(line: &str) -> Option<Self> {
        let mut columns = line.split('|').map(str::trim);
        let (name, version) = (columns.next()?, columns.next()?);
        Some(Self {
            name: name.to_owned(),
            version: version.to_owned(),
            numbers: numbers(version.split('-').next()?),
        })
    }

    /// Fetches and unpacks it, unless it is in `cache` already.
    pub(super) fn unpack(&self, cache: &Path) -> Result<Kernel> {
        let release = self.name.trim_start_matches("linux-image-").to_owned();
        let kernel = Kernel {
            version: dotted(&self.numbers),
            root: cache.join(format!("{release}_{}", self.version)),
            release,
        };
        if kernel.root.is_dir() {
            return Ok(kernel);
        }
        eprintln!("vm-test: fetching {} {}", self.name, self.version);
        // Complete or not there at all.
        let partial = cache.join("partial");
        if partial.exists() {
            fs::remove_dir_all(&partial)?;
        }
        fs::create_dir_all(&partial)?;
        run::run(
            Command::new("apt-get")
                .args(["download", "-qq"])
                .arg(format!("{}={}", self.name, self.version))
                .current_dir(&partial),
        )
        .context(
            "a kernel could not be fetched, so nothing is known of whydrop on it: this needs \
             Debian's packages, over the network or from a mirror",
        )?;
        let archive = fs::read_dir(&partial)?
            .next()
            .context("apt-get has downloaded nothing")??
            .path();
        run::run(Command::new("dpkg").arg("-x").args([&archive, &partial]))?;
        fs::remove_file(archive)?;
        fs::rename(&partial, &kernel.root)?;
        Ok(kernel)
    }
}

fn listed() -> Result<Vec<Package>> {
    let names = apt_cache(&["search", "--names-only", PACKAGES])?;
    let names: Vec<&str> = names
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let listing = apt_cache(&[&["madison"], &names[..]].concat())?;
    Ok(listing.lines().filter_map(Package::of_line).collect())
}

fn apt_cache(args: &[&str]) -> Result<String> {
    let output = Command::new("apt-cache")
        .args(args)
        .stderr(Stdio::inherit())
        .output()
        .context("there is no apt-cache here, which knows the kernels' packages")?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The numbers of a version.
fn numbers(version: &str) -> Vec<u32> {
    version
        .split('.')
        .map_while(|number| number.parse().ok())
        .collect()
}

fn dotted(numbers: &[u32]) -> String {
    let numbers: Vec<_> = numbers.iter().map(u32::to_string).collect();
    numbers.join(".")
}
