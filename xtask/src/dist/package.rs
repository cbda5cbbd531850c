//! Packages for Debian and Red Hat, and their likes.

use anyhow::Result;
use rpm::{BuildConfig, CompressionType, FileOptions, PackageBuilder};

use super::{
    archive::{File, gzip, tar},
    release::{DESCRIPTION, LICENSES, Release, SUMMARY},
};

/// A package's architecture has a name of its own in each world.
#[derive(Debug, Clone, Copy)]
pub(super) struct Architecture {
    pub(super) deb: &'static str,
    pub(super) rpm: &'static str,
}

/// A Debian package: `ar` of two archives.
pub(super) fn deb(
    release: &Release,
    architecture: Architecture,
    files: &[File],
) -> Result<Vec<u8>> {
    let size: usize = files
        .iter()
        .map(|file| file.bytes.len().div_ceil(1024))
        .sum();
    let homepage = release.homepage.as_ref();
    let homepage = homepage.map(|homepage| format!("Homepage: {homepage}\n"));
    let control = format!(
        "Package: whydrop\nVersion: {}\nArchitecture: {}\nMaintainer: the whydrop authors\n\
         Installed-Size: {size}\nSection: net\nPriority: optional\n{}Description: {SUMMARY}\n \
         {DESCRIPTION}\n",
        release.version,
        architecture.deb,
        homepage.unwrap_or_default()
    );
    let control = [File::plain("./control", control)];
    let data: Vec<File> = files
        .iter()
        .map(|file| file.at(format!("./{}", file.path)))
        .collect();
    let members = [
        ("debian-binary", b"2.0\n".to_vec()),
        ("control.tar.gz", gzip(&tar(&control, release.time)?)?),
        ("data.tar.gz", gzip(&tar(&data, release.time)?)?),
    ];
    let mut archive = ar::Builder::new(Vec::new());
    for (name, bytes) in members {
        let mut header = ar::Header::new(name.as_bytes().to_vec(), bytes.len() as u64);
        header.set_mode(0o100_644);
        header.set_mtime(release.time);
        archive.append(&header, bytes.as_slice())?;
    }
    Ok(archive.into_inner()?)
}

/// A package for RPM.
pub(super) fn rpm(
    release: &Release,
    architecture: Architecture,
    files: &[File],
) -> Result<Vec<u8>> {
    let time = u32::try_from(release.time)?;
    let config = BuildConfig::default()
        .source_date(time)
        .compression(CompressionType::Gzip);
    let mut builder = PackageBuilder::new(
        "whydrop",
        &release.version,
        LICENSES,
        architecture.rpm,
        SUMMARY,
    );
    builder
        .using_config(config)
        .release("1")
        .description(DESCRIPTION)
        .build_host("localhost");
    if let Some(homepage) = &release.homepage {
        builder.url(homepage);
    }
    for file in files {
        let mode = u16::try_from(file.mode)?;
        let options = FileOptions::new(format!("/{}", file.path)).permissions(mode);
        builder.with_file_contents(file.bytes.clone(), options)?;
    }
    let mut bytes = Vec::new();
    builder.build()?.write(&mut bytes)?;
    Ok(bytes)
}
