//! `docs/kernels.md`: kernel × module of scenarios, and what differs between kernels.

use std::{fs, path::PathBuf, process::Command};

use anyhow::{Context as _, Result, bail};

use super::{
    left_out, quick,
    results::{Outcome, Results},
};
use crate::{executables, run};

const PAGE: &str = "docs/kernels.md";

/// The page's columns: the oldest and the newest that Debian has of 6.1 and 6.12.
pub(super) const KERNELS: [&str; 4] = ["6.1.170", "6.1.192", "6.12.100", "6.12.117"];

/// Where the results are that the page shows: beside it, so that a run of some tests or on some
/// kernels leaves the others as they are.
pub(super) fn kept() -> PathBuf {
    run::workspace().join("docs/kernels")
}

/// Writes the page.
pub(super) fn write(groups: &[&str]) -> Result<()> {
    let columns = KERNELS.map(|kernel| {
        let mut results = Results::load(&kept(), kernel);
        results.keep(groups);
        (kernel, results)
    });
    let text = page(&columns, groups, &differences()?);
    fs::write(run::workspace().join(PAGE), text).with_context(|| format!("cannot write {PAGE}"))?;
    eprintln!("vm-test: wrote {PAGE}");
    Ok(())
}

/// The rows of what differs, from the tests themselves.
fn differences() -> Result<String> {
    let package = ["build", "--package", "whydrop-tests"];
    let args = [&package[..], &["--bin", "kernel-differences"]].concat();
    let built = executables::build(&executables::X86_64, &args, &[])?;
    let (_, program) = built.into_iter().next().context("cargo built nothing")?;
    let output = Command::new(program).output()?;
    if !output.status.success() {
        bail!("kernel-differences failed");
    }
    Ok(String::from_utf8(output.stdout)?)
}

fn page(columns: &[(&str, Results)], groups: &[&str], differences: &str) -> String {
    let [without_tcx, with_tcx] = quick::count();
    let mut page = format!(
        "# Kernels\n\n\
         The scenarios of `tests/tests` on stock Debian kernels (cloud flavor), each in a virtual \
         machine that QEMU emulates. They make real failures with the parts of that kernel and \
         compare whydrop's JSON. `cargo xtask test` runs all of them on the kernel of its machine, \
         too; development happens on 6.18.\n\n\
         `cargo xtask vm-test {}` regenerates this page, in a few hours; `cargo xtask vm-test \
         6.1.192 --test netfilter` updates one cell. Continuous integration runs `cargo xtask \
         vm-test --quick`: `check`, `load` and one scenario for each path from the kernel into whydrop, \
         {without_tcx} on the newest 6.1 and {with_tcx} on the newest 6.12.\n\n\
         ## Scenarios\n\n\
         Passed / failed / skipped; a dash means not run yet. {}\n\n",
        KERNELS.join(" "),
        left_out::sentence()
    );
    row(&mut page, "", columns, |(kernel, _)| (*kernel).to_owned());
    row(&mut page, "---", columns, |_| "---".to_owned());
    for name in groups {
        row(&mut page, &format!("`{name}`"), columns, |(_, results)| {
            cell(results, Some(name))
        });
    }
    row(&mut page, "all", columns, |(_, results)| {
        cell(results, None)
    });
    row(&mut page, "run since", columns, |(_, results)| {
        results.oldest_day().unwrap_or("–").to_owned()
    });
    page += &failures(columns);
    page += "\n## What differs\n\n\
             The tests expect the same results on all kernels, with these exceptions on older ones \
             (`tests/src/kernel.rs`).\n\n";
    page += differences;
    page += &findings(columns);
    page
}

fn row<'a>(
    page: &mut String,
    head: &str,
    columns: &'a [(&str, Results)],
    cell: impl Fn(&'a (&str, Results)) -> String,
) {
    *page += &format!("| {head} |");
    for column in columns {
        *page += &format!(" {} |", cell(column));
    }
    *page += "\n";
}

fn cell(results: &Results, group: Option<&str>) -> String {
    let has_run = match group {
        Some(name) => results.has_run(name),
        None => results.oldest_day().is_some(),
    };
    if !has_run {
        return "–".to_owned();
    }
    let counts = Outcome::ALL.map(|outcome| results.count(group, outcome).to_string());
    counts.join(" / ")
}

fn failures(columns: &[(&str, Results)]) -> String {
    let mut text = String::new();
    for (kernel, results) in columns {
        for (test, outcome) in results.tests() {
            if outcome == Outcome::Failed {
                text += &format!("- {kernel}: `{test}`\n");
            }
        }
    }
    if text.is_empty() {
        text
    } else {
        format!("\nFailed:\n\n{text}")
    }
}

/// What `whydrop check` says there. Kernels with the same output share a block.
fn findings(columns: &[(&str, Results)]) -> String {
    let mut groups: Vec<(Vec<&str>, String)> = Vec::new();
    for (kernel, results) in columns {
        // The first line is the kernel's name.
        let lines = results.findings().iter().skip(1);
        let lines: Vec<&str> = lines.map(|line| line.trim_end()).collect();
        let said = lines.join("\n").trim().to_owned();
        if said.is_empty() {
            continue;
        }
        match groups.iter_mut().find(|(_, text)| *text == said) {
            Some((kernels, _)) => kernels.push(kernel),
            None => groups.push((vec![kernel], said)),
        }
    }
    let mut text = "\n## What `whydrop check` says there\n".to_owned();
    for (kernels, said) in groups {
        text += &format!("\n{}:\n\n```text\n{said}\n```\n", kernels.join(", "));
    }
    text
}
