//! `whydrop explain` as its user runs it: without root, without a kernel, from files and from the
//! API server.

use std::{fs, process::Command};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tempfile::NamedTempFile;
use whydrop_tests::{
    apiserver::{ApiServer, Manner},
    binary,
    tracer::run_to_end,
};

/// What kubectl wrote of a real cluster.
const DUMP: &str = include_str!("../../tracer/testdata/cluster-dump.json");

/// The same in a file.
fn dump() -> Result<NamedTempFile> {
    let file = NamedTempFile::new()?;
    fs::write(file.path(), DUMP)?;
    Ok(file)
}

fn name(file: &NamedTempFile) -> Result<&str> {
    file.path().to_str().context("the path is text")
}

struct Ran {
    status: Option<i32>,
    stdout: String,
    stderr: String,
}

fn explain(arguments: &[&str]) -> Result<Ran> {
    // A cluster that this machine may have is not the test's.
    let mut command = Command::new(binary());
    command.env_remove("KUBECONFIG").env("HOME", "/nonexistent");
    let output = run_to_end(command.arg("explain").args(arguments))?;
    Ok(Ran {
        status: output.status.code(),
        stdout: String::from_utf8(output.stdout)?,
        stderr: String::from_utf8(output.stderr)?,
    })
}

fn answer(from: &str, to: &str, more: &[&str]) -> Result<Value> {
    let dump = dump()?;
    let cluster = ["--cluster", name(&dump)?];
    let mut arguments = vec!["-o", "json", "--from", from, "--to", to];
    arguments.extend(cluster);
    arguments.extend(more);
    let ran = explain(&arguments)?;
    ensure!(ran.status == Some(0), "{}", ran.stderr);
    ensure!(ran.stdout.lines().count() == 1, "{}", ran.stdout);
    Ok(serde_json::from_str(&ran.stdout)?)
}

#[test]
fn the_answer_has_the_names_of_the_contract() -> Result<()> {
    let answer = answer("10.244.2.2", "prod/server:8080", &[])?;
    ensure!(answer["allowed"] == false, "{answer}");
    let egress = &answer["egress"];
    ensure!(
        egress["pod"] == "prod/client-ok" && egress["isolated"] == true,
        "{egress}"
    );
    ensure!(
        egress["allowed"] == false && egress["missing"].is_string(),
        "{egress}"
    );
    ensure!(egress["undecidable_because"].is_null(), "{egress}");
    let ingress = &answer["ingress"];
    ensure!(
        ingress["allowed"] == true && ingress["missing"].is_null(),
        "{ingress}"
    );
    ensure!(
        ingress["admitted_by"][0] == "prod/server-allow-ok-8080",
        "{ingress}"
    );
    let verdict = &answer["verdict"];
    ensure!(verdict["point"] == "policy", "{verdict}");
    ensure!(verdict["policy"]["direction"] == "egress", "{verdict}");
    ensure!(verdict["policy"]["pod"] == "prod/client-ok", "{verdict}");
    Ok(())
}

#[test]
fn the_manifest_in_the_answer_admits_the_flow() -> Result<()> {
    let before = answer("prod/client-ok", "prod/server:8080", &[])?;
    let manifest = before["verdict"]["fix"][0].as_str().context("a manifest")?;
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("allow.yaml");
    fs::write(&file, manifest)?;
    let file = file.to_str().context("UTF-8")?;
    let after = answer("prod/client-ok", "prod/server:8080", &["--cluster", file])?;
    ensure!(
        after["allowed"] == true && after["verdict"].is_null(),
        "{after}"
    );
    // And no other.
    let other = answer("prod/client-ok", "prod/server:8081", &["--cluster", file])?;
    ensure!(other["allowed"] == false, "{other}");
    Ok(())
}

#[test]
fn what_cannot_be_decided_is_null_and_says_why() -> Result<()> {
    let answer = answer("prod/client-ok", "prod/server:8080", &["--proto", "udp"])?;
    ensure!(answer["allowed"] == false, "{answer}");
    let directory = tempfile::tempdir()?;
    let pods = directory.path().join("pods.yaml");
    fs::write(
        &pods,
        "---\napiVersion: v1\nkind: Pod\nmetadata: {name: a, namespace: shop}\nstatus: {podIP: \
         10.0.0.1}\n",
    )?;
    let pods = pods.to_str().context("UTF-8")?;
    let ran = explain(&[
        "--cluster",
        pods,
        "--from",
        "192.0.2.1",
        "--to",
        "shop/a:80",
    ])?;
    ensure!(ran.status == Some(0), "{}", ran.stderr);
    ensure!(ran.stdout.contains("undecidable"), "{}", ran.stdout);
    ensure!(
        ran.stdout.contains("no NetworkPolicies are known"),
        "{}",
        ran.stdout
    );
    Ok(())
}

#[test]
fn wrong_names_and_files_are_refused_clearly() -> Result<()> {
    let refused = |arguments: &[&str], status, words: &[&str]| -> Result<()> {
        let ran = explain(arguments)?;
        ensure!(
            ran.status == Some(status),
            "{:?}: {}",
            ran.status,
            ran.stderr
        );
        ensure!(ran.stdout.is_empty(), "on stdout: {}", ran.stdout);
        for word in words {
            ensure!(ran.stderr.contains(word), "no {word:?} in: {}", ran.stderr);
        }
        Ok(())
    };
    let ends = ["--from", "prod/sever", "--to", "10.244.1.2:80"];
    let dump = dump()?;
    refused(
        &[&ends[..], &["--cluster", name(&dump)?]].concat(),
        1,
        &["prod/sever", "prod/server"],
    )?;
    refused(&ends, 2, &["--cluster", "kubectl get"])?;
    refused(
        &[&ends[..], &["--cluster", "/no/such"]].concat(),
        1,
        &["/no/such"],
    )?;
    let directory = tempfile::tempdir()?;
    let cut = directory.path().join("cut.json");
    fs::write(&cut, &DUMP[..DUMP.len() / 2])?;
    let cut = cut.to_str().context("UTF-8")?;
    refused(
        &[&ends[..], &["--cluster", cut]].concat(),
        1,
        &["cut.json:", "cut off"],
    )
}

/// The answer of a cluster that is asked, and what is said beside it.
fn answer_of(server: &ApiServer) -> Result<(Value, String)> {
    let directory = tempfile::tempdir()?;
    let kubeconfig = server.kubeconfig(directory.path())?;
    let kubeconfig = kubeconfig.to_str().context("UTF-8")?;
    let (from, to) = ("prod/client-ok", "prod/server:8080");
    let arguments = [
        "-o",
        "json",
        "--kubeconfig",
        kubeconfig,
        "--from",
        from,
        "--to",
        to,
    ];
    let ran = explain(&arguments)?;
    ensure!(ran.status == Some(0), "{}", ran.stderr);
    Ok((serde_json::from_str(&ran.stdout)?, ran.stderr))
}

#[test]
fn the_api_server_is_asked_for_the_policies_of_now() -> Result<()> {
    let server = ApiServer::up()?;
    let (answer, said) = answer_of(&server)?;
    ensure!(
        answer["allowed"] == true && said.is_empty(),
        "{answer}\n{said}"
    );
    ensure!(
        answer["ingress"]["admitted_by"][0] == "prod/server-allow-ok-8080",
        "{answer}"
    );

    // Two policies are created: nothing may go out any more but DNS.
    server.replay("networkpolicies")?;
    let (answer, said) = answer_of(&server)?;
    ensure!(
        answer["allowed"] == false && said.is_empty(),
        "{answer}\n{said}"
    );
    ensure!(
        answer["egress"]["policies"][1] == "prod/default-deny",
        "{answer}"
    );
    Ok(())
}

#[test]
fn policies_that_may_not_be_listed_leave_the_answer_open() -> Result<()> {
    let server = ApiServer::up()?;
    server.answer("networkpolicies", Manner::Forbidden);
    let (answer, said) = answer_of(&server)?;
    ensure!(answer["allowed"].is_null(), "{answer}");
    ensure!(said.contains("to list networkpolicies (403)"), "{said}");
    Ok(())
}

#[test]
fn a_cluster_that_cannot_be_asked_is_an_error_with_a_way_out() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let server = ApiServer::down()?;
    let kubeconfig = server.kubeconfig(directory.path())?;
    let missing = directory.path().join("missing");
    let flow = ["--from", "prod/client-ok", "--to", "prod/server:8080"];
    for (kubeconfig, said) in [
        (
            kubeconfig,
            ["does not answer (Connection refused", "--cluster"],
        ),
        (missing, ["missing: it cannot be read", "--kubeconfig out"]),
    ] {
        let kubeconfig = kubeconfig.to_str().context("UTF-8")?;
        let ran = explain(&[&["--kubeconfig", kubeconfig][..], &flow].concat())?;
        ensure!(
            ran.status == Some(1) && ran.stdout.is_empty(),
            "{}",
            ran.stdout
        );
        for said in said {
            ensure!(ran.stderr.contains(said), "{}", ran.stderr);
        }
    }
    Ok(())
}
