//! All files of a release, and the checks that they hold what they should.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};

use super::{
    archive::{File, gzip, sha256, tar},
    dependencies, image, krew,
    package::{self, Architecture},
    release::{self, Release},
};
use crate::run;

/// A program for an architecture.
pub(super) struct Built {
    pub(super) triple: &'static str,
    /// As images and Go have it.
    pub(super) architecture: &'static str,
    pub(super) package: Architecture,
    pub(super) path: PathBuf,
}

/// Makes all files of a release, and checks them. `here` is a program that runs on this machine.
pub(super) fn make(
    release: &Release,
    directory: &Path,
    here: &Path,
    built: &[Built],
) -> Result<()> {
    let files = files(release, here, built)?;
    // Whatever depends on the time or on an order by chance differs the second time.
    let again = self::files(release, here, built)?;
    for (name, bytes) in &files {
        ensure!(
            again.get(name) == Some(bytes),
            "{name} is not the same bytes when made again"
        );
    }
    if release.homepage.is_none() {
        println!(
            "dist: no krew manifest: it names where the archives are, and tracer/Cargo.toml has neither \
             `homepage` nor `repository`"
        );
    }
    for path in dependencies::missing_licenses()? {
        println!("dist: not among the licenses: {}", path.display());
    }
    let mut sums = String::new();
    for (name, bytes) in &files {
        fs::write(directory.join(name), bytes).with_context(|| format!("cannot write {name}"))?;
        sums += &format!("{}  {name}\n", sha256(bytes));
        println!("dist: {name}, {} kB", bytes.len().div_ceil(1000));
    }
    for one in built {
        let name = one.path.file_name().context("a program has a name")?;
        sums += &format!(
            "{}  {}\n",
            sha256(&fs::read(&one.path)?),
            name.to_string_lossy()
        );
    }
    fs::write(directory.join("SHA256SUMS"), sums)?;
    println!("dist: SHA256SUMS; all files are the same bytes when made twice");
    for one in built.iter().filter(|one| one.path == here) {
        installs(directory, release, one.package)?;
    }
    Ok(())
}

/// The files of a release by name.
fn files(release: &Release, here: &Path, built: &[Built]) -> Result<BTreeMap<String, Vec<u8>>> {
    let mut files = BTreeMap::new();
    let texts = release.texts(here)?;
    let (version, tag) = (&release.version, release.tag());
    let mut programs = Vec::new();
    let mut platforms = Vec::new();
    let mut dependencies = Vec::new();
    for one in built {
        dependencies.push(dependencies::linked(one.triple)?);
    }
    let all = dependencies.iter().flatten().cloned().collect();
    let licenses = dependencies::licenses(release, &all)?;
    let standard_library = dependencies::standard_library()?;
    for (one, dependencies) in built.iter().zip(&dependencies) {
        let program = fs::read(&one.path)?;
        let top = format!("whydrop-{tag}-linux-{}", one.architecture);
        let mut unpacked = vec![
            File::program(format!("{top}/whydrop"), program.clone()),
            File::plain(format!("{top}/LICENSE"), release.licenses()?),
            File::plain(format!("{top}/THIRD-PARTY-LICENSES"), licenses.clone()),
        ];
        let bill = dependencies::sbom(release, &program, dependencies)?;
        files.insert(format!("{top}.cdx.json"), bill.into());
        if let Some(notice) = &standard_library {
            unpacked.push(notice.at(format!("{top}/{}", notice.path)));
        }
        for text in &texts {
            let name = text.path.rsplit('/').next().unwrap_or_default();
            let below = match name {
                "copyright" => continue,
                "README.md" => name.to_owned(),
                page if text.path.contains("/man/") => format!("man/{page}"),
                "whydrop" => "completions/whydrop.bash".to_owned(),
                script => format!("completions/{script}"),
            };
            unpacked.push(text.at(format!("{top}/{below}")));
        }
        let archive = gzip(&tar(&unpacked, release.time)?)?;
        platforms.push((one.architecture, format!("{top}.tar.gz"), archive));

        let mut installed = vec![File::program("usr/bin/whydrop", program.clone())];
        installed.extend(texts.iter().cloned());
        let path = "usr/share/doc/whydrop/THIRD-PARTY-LICENSES";
        installed.push(File::plain(path, licenses.clone()));
        if let Some(notice) = &standard_library {
            installed.push(notice.at(format!("usr/share/doc/whydrop/{}", notice.path)));
        }
        let deb = package::deb(release, one.package, &installed)?;
        files.insert(format!("whydrop_{version}_{}.deb", one.package.deb), deb);
        let rpm = package::rpm(release, one.package, &installed)?;
        files.insert(format!("whydrop-{version}-1.{}.rpm", one.package.rpm), rpm);
        programs.push((one.architecture, program));
    }
    let krew: Vec<krew::Platform<'_>> = platforms
        .iter()
        .map(|(architecture, name, archive)| krew::Platform {
            os: "linux",
            architecture,
            name: name.clone(),
            archive,
        })
        .collect();
    if let Some(manifest) = krew::manifest(release, &krew) {
        files.insert("whydrop-krew.yaml".to_owned(), manifest.into());
    }
    files.insert(
        "whydrop-oci.tar".to_owned(),
        image::oci_layout(release, &programs)?,
    );
    files.insert(
        "whydrop-docker.tar".to_owned(),
        image::docker(release, &programs)?,
    );
    files.insert("THIRD-PARTY-LICENSES.txt".to_owned(), licenses.into());
    let rbac = release::file("packaging/whydrop-rbac.yaml")?;
    files.insert("whydrop-rbac.yaml".to_owned(), rbac);
    files.extend(
        platforms
            .into_iter()
            .map(|(_, name, archive)| (name, archive)),
    );
    Ok(files)
}

/// Installs the packages into an empty root each, and starts what is installed.
fn installs(directory: &Path, release: &Release, architecture: Architecture) -> Result<()> {
    let version = &release.version;
    let deb = directory.join(format!("whydrop_{version}_{}.deb", architecture.deb));
    let rpm = directory.join(format!("whydrop-{version}-1.{}.rpm", architecture.rpm));
    let root = directory.join("root");
    let _ = fs::remove_dir_all(&root);
    if run::find("dpkg").is_some() && run::is_root() {
        let database = root.join("var/lib/dpkg");
        for part in ["info", "updates"] {
            fs::create_dir_all(database.join(part))?;
        }
        for part in ["status", "available"] {
            fs::write(database.join(part), "")?;
        }
        let mut dpkg = Command::new("dpkg");
        dpkg.arg(format!("--root={}", root.display()));
        dpkg.args([
            "--force-depends",
            "--force-bad-path",
            "--log=/dev/null",
            "--install",
        ])
        .arg(&deb);
        release::said(&mut dpkg)?;
        starts(&root, version)?;
        println!("dist: the deb installs into an empty root, and whydrop runs there");
        fs::remove_dir_all(&root)?;
    } else {
        println!("dist: the deb was not installed: that takes dpkg, and root");
    }
    if run::find("rpm").is_some() && run::is_root() {
        fs::create_dir_all(&root)?;
        let mut install = Command::new("rpm");
        install.arg(format!("--root={}", root.display()));
        install
            .args(["--install", "--nodeps", "--nosignature"])
            .arg(&rpm);
        release::said(&mut install)?;
        starts(&root, version)?;
        println!("dist: the rpm installs into an empty root, and whydrop runs there");
        fs::remove_dir_all(&root)?;
    } else {
        println!("dist: the rpm was not installed: that takes rpm, and root");
    }
    Ok(())
}

fn starts(root: &Path, version: &str) -> Result<()> {
    let mut command = Command::new("chroot");
    let said = release::said(command.arg(root).args(["/usr/bin/whydrop", "--version"]))?;
    ensure!(
        said.trim() == format!("whydrop {version}"),
        "it says {said}"
    );
    Ok(())
}
