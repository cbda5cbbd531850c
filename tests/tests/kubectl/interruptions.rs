//! What goes wrong in the midst of a run.

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use tracer_model::{Confidence, Point};
use whydrop_tests::{deadline, poll_until};

use super::{Cluster, path_of};

/// All log streams break in the midst of a line, twice: no record is lost or doubled, as the join counts
/// them by their numbers, and what was lost would lower the verdict.
#[test]
fn a_log_that_is_cut_is_resumed() -> Result<()> {
    let cluster = Cluster::build()?;
    let _server = cluster.listen()?;
    let mut plugin = cluster.traced()?;
    for _ in 0..2 {
        let attempt = cluster.connect()?;
        attempt.outcome(deadline())?;
        let reads = cluster.server.kubelets().reads();
        cluster.server.kubelets().cut_logs();
        poll_until("both logs to be read again", || {
            (cluster.server.kubelets().reads() >= reads + 2).then_some(())
        })?;
    }
    let flow = cluster.blocked(&mut plugin)?;
    let ended = plugin.stop()?;
    ensure!(ended.paths.len() == 3, "{:?}", ended.paths);
    let verdict = path_of(&ended, flow)?
        .verdict
        .as_ref()
        .context("a verdict")?;
    ensure!(
        (verdict.point, verdict.confidence) == (Point::Firewall, Confidence::Confirmed),
        "{verdict:?}"
    );
    ensure!(
        ended.stderr.contains("its log broke off"),
        "{}",
        ended.stderr
    );
    cluster.expect_nothing_left()
}

/// Who may not attach cannot order the traces to end: deleting their Jobs does, and their summaries come
/// all the same.
#[test]
fn without_attach_the_traces_end_with_their_jobs() -> Result<()> {
    let cluster = Cluster::build()?;
    cluster.server.kubelets().forbid("create pods/attach");
    let plugin = cluster.traced()?;
    ensure!(
        plugin.said().contains("may not attach"),
        "{}",
        plugin.said()
    );
    let ended = plugin.stop()?;
    ensure!(
        !ended.stderr.contains("without a summary"),
        "{}",
        ended.stderr
    );
    cluster.expect_nothing_left()
}

/// The laptop dies: the traces end by themselves, and the next run deletes their Jobs.
#[test]
fn a_killed_laptop_leaves_nothing_for_long() -> Result<()> {
    let cluster = Cluster::build()?;
    let plugin = cluster.traced()?;
    plugin.kill()?;
    let kubelets = cluster.server.kubelets();
    let left = kubelets.jobs();
    ensure!(left.len() == 2, "{left:?}");
    let plugin = cluster.traced()?;
    for job in &left {
        ensure!(
            plugin.said().contains(&format!("deletes Job {job}")),
            "{}",
            plugin.said()
        );
        ensure!(!kubelets.jobs().contains(job), "{job}");
    }
    plugin.stop()?;
    cluster.expect_nothing_left()
}

/// Another user's Jobs, and those of a run that goes on, are left alone.
#[test]
fn what_is_not_its_own_is_left_alone() -> Result<()> {
    let cluster = Cluster::build()?;
    let first = cluster.traced()?;
    let kubelets = cluster.server.kubelets();
    let others = json!({"metadata": {"name": "theirs", "labels": {
        "app.kubernetes.io/managed-by": "kubectl-whydrop",
        "whydrop/owner": "somebody-else",
        "whydrop/process": "999999999",
    }}});
    kubelets.leave(&others);
    let before = kubelets.jobs();
    let second = cluster.traced()?;
    ensure!(!second.said().contains("deletes Job"), "{}", second.said());
    second.stop()?;
    ensure!(
        kubelets.jobs() == before,
        "{before:?} {:?}",
        kubelets.jobs()
    );
    first.stop()?;
    ensure!(kubelets.jobs() == ["theirs"], "{:?}", kubelets.jobs());
    Ok(())
}

/// The token ends during a run: what is refused with it is asked for again with a new one.
#[test]
fn an_expired_token_is_renewed() -> Result<()> {
    let cluster = Cluster::build()?;
    let directory = cluster.laptop.path();
    cluster
        .server
        .kubeconfig_for(directory, "{tokenFile: token}")?;
    std::fs::write(directory.join("token"), cluster.server.token())?;
    let plugin = cluster.traced()?;
    std::fs::write(directory.join("token"), "the-next-one")?;
    cluster.server.kubelets().renew_token("the-next-one");
    let ended = plugin.stop()?;
    ensure!(!ended.stderr.contains("cannot delete"), "{}", ended.stderr);
    cluster.expect_nothing_left()
}

/// What has ended is not attached to again, while the trace of the other node goes on.
#[test]
fn a_trace_that_has_ended_gets_no_sign_of_life() -> Result<()> {
    let cluster = Cluster::build()?;
    let kubelets = cluster.server.kubelets();
    let mut plugin = cluster.traced()?;
    kubelets.kill("node-2");
    plugin.wait_for(&["node-2: the trace ended without a summary"])?;
    // The connection to it was lost by the second beat.
    let (beats, late) = (kubelets.beats(), kubelets.late_attaches());
    poll_until("two more signs of life", || {
        (kubelets.beats() >= beats + 2).then_some(())
    })?;
    ensure!(kubelets.late_attaches() <= late + 1, "it is attached to");
    plugin.stop()?;
    cluster.expect_nothing_left()
}

/// A pod gets another address during a run: no trace matches it, which is said with its name.
#[test]
fn what_is_new_during_a_run_is_named() -> Result<()> {
    let cluster = Cluster::build()?;
    let mut plugin = cluster.traced()?;
    let mut pod = cluster.server.object("pods", "prod", "server")?;
    pod["status"]["podIP"] = "10.244.77.7".into();
    pod["status"]["podIPs"] = json!([{"ip": "10.244.77.7"}]);
    cluster.server.change("pods", "MODIFIED", pod)?;
    plugin.wait_for(&["not traced, because new since the start: prod/server (10.244.77.7)"])?;
    plugin.stop()?;
    cluster.expect_nothing_left()
}

/// The API server falls silent before the traces run. The first Ctrl-C is answered at once, though a
/// request is open, and it is said what is waited for then; the second does not wait for the Jobs to be
/// deleted.
#[test]
fn a_silent_api_server_does_not_hold_up_the_end() -> Result<()> {
    let cluster = Cluster::build()?;
    let kubelets = cluster.server.kubelets();
    kubelets.make_pods_wait();
    let mut plugin = cluster.begun()?;
    poll_until("both Jobs to be there", || {
        (kubelets.jobs().len() == 2).then_some(())
    })?;
    kubelets.fall_silent();
    poll_until("a question without an answer", || {
        (kubelets.open_questions() > 0).then_some(())
    })?;
    plugin.interrupt()?;
    plugin.wait_for(&[
        "ending the traces",
        "waiting for the API server to delete the Jobs",
    ])?;
    plugin.interrupt()?;
    plugin.wait_for(&["not waiting until the Jobs are deleted"])?;
    let ended = plugin.ended()?;
    ensure!(
        !ended.stderr.contains("no answer within"),
        "{}",
        ended.stderr
    );
    Ok(())
}

/// A node vanishes: its half is missing, which is said, and the other half is reported.
#[test]
fn a_node_that_vanishes_is_missing() -> Result<()> {
    let cluster = Cluster::build()?;
    let mut plugin = cluster.traced()?;
    cluster.server.kubelets().vanish("node-2");
    plugin.wait_for(&["node-2: its log broke off", "no route to host"])?;
    let ended = plugin.stop()?;
    ensure!(
        ended.stderr.contains("node-2: its end did not come"),
        "{}",
        ended.stderr
    );
    ensure!(
        !ended.stderr.contains("node-1: its end"),
        "{}",
        ended.stderr
    );
    cluster.expect_nothing_left()
}
