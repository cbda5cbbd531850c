//! What is refused before anything is created, or cannot begin.

use std::process::Command;

use anyhow::{Result, ensure};
use serde_json::json;
use tracer_model::Confidence;
use whydrop_tests::{apiserver::Image, plugin::Ended};

use super::{Cluster, PORT, path_of, place_node};

/// Runs it to its end, which is a failure; nothing was created, if that is `expected`.
fn refused(cluster: &Cluster, arguments: &[&str], created: usize) -> Result<Ended> {
    let ended = cluster.laptop.start(arguments)?.ended()?;
    ensure!(!ended.success, "{}", ended.stderr);
    let jobs = cluster.server.kubelets().created();
    ensure!(jobs.len() == created, "{jobs:?} {}", ended.stderr);
    cluster.expect_nothing_left()?;
    Ok(ended)
}

fn says(ended: &Ended, words: &[&str]) -> Result<()> {
    for word in words {
        ensure!(
            ended.stderr.contains(word),
            "no `{word}` in: {}",
            ended.stderr
        );
    }
    Ok(())
}

/// Admission's own message is shown, with the command that helps.
#[test]
fn admission_is_quoted() -> Result<()> {
    let cluster = Cluster::build()?;
    let message = "pods \"x\" is forbidden: violates PodSecurity \"baseline:latest\": host namespaces \
                   (hostNetwork=true)\u{1b}[2J";
    cluster.server.kubelets().refuse(message);
    let ended = refused(&cluster, &["prod/server"], 0)?;
    says(
        &ended,
        &["violates PodSecurity", "kubectl create namespace whydrop"],
    )?;
    ensure!(!ended.stderr.contains('\u{1b}'), "{:?}", ended.stderr);
    Ok(())
}

/// A user who may not try a pod out learns it from the Job's events.
#[test]
fn admission_is_quoted_from_events() -> Result<()> {
    let cluster = Cluster::build()?;
    let kubelets = cluster.server.kubelets();
    kubelets.forbid("create pods");
    kubelets.refuse("admission webhook \"policy.example\" denied the request");
    let mut plugin = cluster.laptop.start(&["prod/server"])?;
    plugin.wait_for(&["node-2: admission webhook \"policy.example\" denied the request"])?;
    plugin.interrupt()?;
    let ended = plugin.ended()?;
    ensure!(!ended.success, "{}", ended.stderr);
    cluster.expect_nothing_left()
}

#[test]
fn missing_permissions_come_with_the_role() -> Result<()> {
    let cluster = Cluster::build()?;
    cluster.server.kubelets().forbid("create jobs");
    let ended = refused(&cluster, &["prod/server"], 0)?;
    says(
        &ended,
        &[
            "you may not create jobs.batch",
            "kubectl create role whydrop",
        ],
    )
}

#[test]
fn nodes_without_a_kernel_of_their_own_are_refused() -> Result<()> {
    let cluster = Cluster::build()?;
    let host = &cluster.lab.nodes[1].node;
    for (labels, word) in [
        (
            json!({"eks.amazonaws.com/compute-type": "fargate"}),
            "Fargate",
        ),
        (json!({"type": "virtual-kubelet"}), "virtual kubelet"),
        (json!({"kubernetes.io/os": "windows"}), "Windows"),
    ] {
        place_node(&cluster.server, "node-2", host, &labels)?;
        let ended = refused(&cluster, &["prod/server"], 0)?;
        says(&ended, &[word, "--node"])?;
    }
    Ok(())
}

/// An image that cannot be pulled is said at once, with what else can be done; nothing is left. No node
/// has an image that could be used instead.
#[test]
fn an_image_that_cannot_be_pulled() -> Result<()> {
    let cluster = Cluster::build()?;
    let why = "failed to pull image: dial tcp 203.0.113.9:443: i/o timeout";
    cluster.server.kubelets().withhold_images(why);
    let ended = refused(&cluster, &["prod/server"], 1)?;
    says(&ended, &["node-2: the image", "i/o timeout", "--image"])?;
    // What can be pasted is a line of its own.
    let command = "  scp whydrop node-2: && ssh node-2 sudo ./whydrop TO -o json > node-2.jsonl";
    ensure!(
        ended.stderr.lines().any(|line| line == command),
        "{}",
        ended.stderr
    );
    Ok(())
}

/// No image can be pulled, and both nodes have these. Returns a program that can be streamed: as large as a
/// release, about; a debug build has much that is not needed to run.
fn streamed(cluster: &Cluster, images: &[(&str, Image)]) -> Result<String> {
    let kubelets = cluster.server.kubelets();
    kubelets.withhold_images("failed to pull image: dial tcp 203.0.113.9:443: i/o timeout");
    for (name, image) in images {
        kubelets.image(name, *image);
    }
    let names: Vec<_> = images
        .iter()
        .map(|(name, _)| json!({"names": [name]}))
        .collect();
    for node in ["node-1", "node-2"] {
        let mut node = cluster.server.object("nodes", "", node)?;
        node["status"]["images"] = names.clone().into();
        cluster.server.change("nodes", "MODIFIED", node)?;
    }
    let program = cluster.laptop.path().join("program").display().to_string();
    let stripped = Command::new("strip")
        .args(["-o", &program])
        .arg(whydrop_tests::binary())
        .status()?;
    ensure!(stripped.success(), "strip: {stripped}");
    Ok(program)
}

/// Nodes have other images: the program is streamed into pods of one with a shell and what the shell needs,
/// traces there, gets its signs of life and its order to end; nothing is left.
#[test]
fn without_an_image_the_program_is_streamed() -> Result<()> {
    let cluster = Cluster::build()?;
    let kubelets = cluster.server.kubelets();
    let images = [
        ("registry.example/busybox-static:1", Image::Static),
        ("registry.example/alpine-bare:1", Image::ShellOnly),
        ("registry.example/tools:2", Image::Tools),
    ];
    let program = streamed(&cluster, &images)?;
    let to = format!("server:{PORT}");
    let arguments = [
        &*to,
        "--from",
        "client-ok",
        "-n",
        "prod",
        "--answered",
        "--program",
        &program,
    ];
    let mut plugin = cluster.laptop.start(&arguments)?;
    plugin.wait_for(&[
        "node-1: the image",
        "whydrop can be streamed into a pod of it",
        "node-1: its container cannot be started: exec: \"/bin/sh\"",
        "with the image registry.example/alpine-bare:1",
        "node-1: that image cannot take it (status 97)",
        "with the image registry.example/tools:2",
        "node-1: tracing",
        "node-2: tracing",
    ])?;
    let flow = cluster.blocked(&mut plugin)?;
    let ended = plugin.stop()?;
    ensure!(
        kubelets.orders() == 2,
        "{} orders to end",
        kubelets.orders()
    );
    let verdict = path_of(&ended, flow)?.verdict.as_ref();
    ensure!(
        verdict.is_some_and(|verdict| verdict.confidence == Confidence::Confirmed),
        "{verdict:?}"
    );
    cluster.expect_nothing_left()
}

/// The connection breaks while the program is streamed, and a shell waits for the rest of it: the run ends
/// with that error, and nothing is left.
#[test]
fn an_upload_that_breaks_ends_with_its_error() -> Result<()> {
    let cluster = Cluster::build()?;
    let program = streamed(&cluster, &[("registry.example/tools:2", Image::Tools)])?;
    cluster.server.kubelets().break_uploads(1 << 20);
    let ended = refused(&cluster, &["prod/server", "--program", &program], 2)?;
    says(
        &ended,
        &[
            "node-2: there is no trace: whydrop cannot be streamed into its pod: the \
           connection was closed",
        ],
    )?;
    ensure!(!ended.stderr.contains("broke off"), "{}", ended.stderr);
    Ok(())
}

#[test]
fn what_does_not_exist_is_refused() -> Result<()> {
    let cluster = Cluster::build()?;
    let ended = refused(&cluster, &["prod/sever"], 0)?;
    says(&ended, &["there is no pod prod/sever", "prod/server"])?;
    let ended = refused(&cluster, &["192.0.2.1:443"], 0)?;
    says(&ended, &["--node"])?;
    let ended = refused(&cluster, &["192.0.2.1:443", "--node", "node-9"], 0)?;
    says(&ended, &["there is no node node-9"])
}

/// Without --yes it asks, and without a terminal it creates nothing. --dry-run prints the Jobs.
#[test]
fn nothing_is_created_without_consent() -> Result<()> {
    let cluster = Cluster::build()?;
    let output = cluster.laptop.command(&["prod/server"]).output()?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    ensure!(
        !output.status.success() && stderr.contains("--yes"),
        "{stderr}"
    );

    let output = cluster
        .laptop
        .command(&["prod/server", "--dry-run"])
        .output()?;
    ensure!(output.status.success(), "{output:?}");
    let list: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    let job = &list["items"][0];
    ensure!(
        job["kind"] == "Job" && job["spec"]["template"]["spec"]["nodeName"] == "node-2",
        "{list}"
    );
    ensure!(cluster.server.kubelets().created().is_empty());
    Ok(())
}
