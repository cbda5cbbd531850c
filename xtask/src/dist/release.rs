//! What is released: its version, its time, and the texts that go with it.

use std::{fs, process::Command};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use super::archive::File;
use crate::run;

pub(super) const SUMMARY: &str = "Name who dropped a pod's packets";
pub(super) const LICENSES: &str = "MIT OR Apache-2.0 OR GPL-2.0-only";
pub(super) const DESCRIPTION: &str = "Follows one connection through the kernels of Kubernetes nodes and \
names what dropped it: the policy, the rule, the route, the tunnel, the queue, with evidence and a fix.";

/// What is released.
pub(super) struct Release {
    pub(super) version: String,
    /// The commit.
    pub(super) revision: String,
    /// Of the commit, in seconds since the epoch: no file has the time at which it was made.
    pub(super) time: u64,
    /// `homepage` or `repository` of the package, if it has one.
    pub(super) homepage: Option<String>,
    /// What the image is called, without a tag.
    pub(super) image: String,
}

impl Release {
    /// The commit that is checked out. What is not committed may be part of it only if `allow_dirty`: no
    /// one else could build the same.
    pub(super) fn current(image: &str, allow_dirty: bool) -> Result<Self> {
        let metadata = said(run::cargo().args(["metadata", "--no-deps", "--format-version", "1"]))?;
        let metadata: Value = serde_json::from_str(&metadata)?;
        let mut packages = metadata["packages"].as_array().into_iter().flatten();
        let package = packages
            .find(|package| package["name"] == "whydrop")
            .context("whydrop is not a package")?;
        let text = |key: &str| package[key].as_str().map(str::to_owned);
        let git = |arguments: &[&str]| {
            let mut git = Command::new("git");
            said(git.current_dir(run::workspace()).args(arguments))
        };
        let changes = git(&["status", "--porcelain"])?;
        let mut revision = git(&["log", "-1", "--format=%H"])?.trim().to_owned();
        if !changes.is_empty() {
            if !allow_dirty {
                bail!(
                    "not committed, and so not part of a release (--allow-dirty to try):\n{changes}"
                );
            }
            revision += "-dirty";
        }
        Ok(Self {
            version: text("version").context("whydrop has no version")?,
            revision,
            time: git(&["log", "-1", "--format=%ct"])?.trim().parse()?,
            homepage: text("homepage").or_else(|| text("repository")),
            image: image.to_owned(),
        })
    }

    /// The version as a tag.
    pub(super) fn tag(&self) -> String {
        format!("v{}", self.version)
    }

    /// The image with its tag: what `kubectl whydrop` names by itself.
    pub(super) fn image_and_tag(&self) -> String {
        format!("{}:{}", self.image, self.tag())
    }

    /// One without anything, for tests.
    #[cfg(test)]
    pub(super) fn example(time: u64, homepage: Option<&str>) -> Self {
        Self {
            version: "1.2.3".to_owned(),
            revision: String::new(),
            time,
            homepage: homepage.map(str::to_owned),
            image: "registry.example/whydrop".to_owned(),
        }
    }

    /// The time, for JSON.
    pub(super) fn rfc3339(&self) -> String {
        // Days since the epoch as a date: Howard Hinnant's civil_from_days.
        let (days, seconds) = (self.time / 86_400, self.time % 86_400);
        let z = days + 719_468;
        let (era, day) = (z / 146_097, z % 146_097);
        let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
        let of_year = day - (365 * year + year / 4 - year / 100);
        let month = (5 * of_year + 2) / 153;
        let date = of_year - (153 * month + 2) / 5 + 1;
        let month = if month < 10 { month + 3 } else { month - 9 };
        let year = year + era * 400 + u64::from(month <= 2);
        format!(
            "{year:04}-{month:02}-{date:02}T{:02}:{:02}:{:02}Z",
            seconds / 3600,
            seconds / 60 % 60,
            seconds % 60
        )
    }

    /// The texts of all three licenses.
    pub(super) fn licenses(&self) -> Result<Vec<u8>> {
        let mut text = format!("whydrop {}: {LICENSES}, at your option.\n", self.version);
        for name in ["LICENSE-MIT", "LICENSE-APACHE", "LICENSE-GPL-2.0"] {
            text += &format!("\n==== {name}\n\n{}", String::from_utf8(file(name)?)?);
        }
        Ok(text.into_bytes())
    }

    /// Completions, manual pages and licenses, by their usual paths below `usr/`. `whydrop` is one that
    /// runs here.
    pub(super) fn texts(&self, whydrop: &std::path::Path) -> Result<Vec<File>> {
        let mut files = Vec::new();
        for (shell, path) in [
            ("bash", "share/bash-completion/completions/whydrop"),
            ("zsh", "share/zsh/site-functions/_whydrop"),
            ("fish", "share/fish/vendor_completions.d/whydrop.fish"),
        ] {
            let script = said(Command::new(whydrop).args(["completions", shell]))?;
            files.push(File::plain(format!("usr/{path}"), script));
        }
        for subcommand in ["", "check", "explain", "join", "probe"] {
            let arguments = ["man", subcommand];
            let arguments = arguments.iter().filter(|word| !word.is_empty());
            let page = said(Command::new(whydrop).args(arguments))?;
            let name = match subcommand {
                "" => "whydrop".to_owned(),
                name => format!("whydrop-{name}"),
            };
            files.push(File::plain(format!("usr/share/man/man1/{name}.1"), page));
        }
        files.push(File::plain(
            "usr/share/doc/whydrop/copyright",
            self.licenses()?,
        ));
        files.push(File::plain(
            "usr/share/doc/whydrop/README.md",
            file("README.md")?,
        ));
        Ok(files)
    }
}

/// A file of the repository.
pub(super) fn file(name: &str) -> Result<Vec<u8>> {
    let path = run::workspace().join(name);
    fs::read(&path).with_context(|| format!("cannot read {}", path.display()))
}

/// What a program says.
pub(super) fn said(command: &mut Command) -> Result<String> {
    let output = command
        .output()
        .with_context(|| format!("cannot run {command:?}"))?;
    ensure!(
        output.status.success(),
        "{command:?} failed: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8(output.stdout)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_dates() {
        for (time, date) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_772_358_067, "2026-03-01T09:41:07Z"),
        ] {
            assert_eq!(Release::example(time, None).rfc3339(), date);
        }
    }
}
