//! Several causes in one trace: the end names each, and credits each with its own attempts.

use anyhow::{Result, ensure};
use tracer_model::{Layer, LayerResult, Summary};
use whydrop_tests::incident::{End, Stage};

const ONE: &str = "10.20.2.3:8080";
const OTHER: &str = "10.20.2.3:8081";

fn summary(rules: &str, end: End) -> Result<Summary> {
    let stage = Stage::routed_pods()?;
    stage.serve("b", ONE)?;
    stage.serve("b", OTHER)?;
    if !rules.is_empty() {
        stage.exec("node", rules)?;
    }
    let report = stage.trace(["node"], "10.20.2.3", |watch| {
        watch.dial("a", ONE)?.ends(end)?;
        watch.dial("a", OTHER)?.ends(end)?;
        watch.dial("a", OTHER)?.ends(end).map(drop)
    })?;
    Ok(report.trace().summary.clone())
}

#[test]
fn two_rules() -> Result<()> {
    let summary = summary(
        "iptables -A FORWARD -p tcp --dport 8080 -j DROP; iptables -A FORWARD -p tcp --dport 8081 -j DROP",
        End::Silent,
    )?;
    let main = summary.verdict.as_ref().map(|main| main.why.as_str());
    let main = main.unwrap_or_default();
    ensure!(main.contains("--dport 8081"), "{main}");
    ensure!(summary.verdict_count == 2, "{}", summary.verdict_count);
    let [also] = summary.also.as_slice() else {
        anyhow::bail!("{:?}", summary.also);
    };
    ensure!(also.verdict.why.contains("--dport 8080"), "{also:?}");
    ensure!(also.attempts == 1, "{also:?}");
    let mut rows = summary.layers.iter();
    let firewall = rows.find(|row| row.layer == Layer::Firewall);
    let evidence = firewall
        .and_then(|row| row.evidence.as_deref())
        .unwrap_or_default();
    let (first, second) = evidence.split_once("; ").unwrap_or_default();
    ensure!(
        first.contains("8081") && first.ends_with("(2 attempts)"),
        "{evidence}"
    );
    ensure!(
        second.contains("8080") && second.ends_with("(1 attempt)"),
        "{evidence}"
    );
    // There is no tunnel on this stage that a rule could keep packets from.
    let overlay = summary
        .layers
        .iter()
        .find(|row| row.layer == Layer::Overlay);
    ensure!(
        overlay.is_some_and(|row| row.result == LayerResult::NotObserved),
        "{overlay:?}"
    );
    Ok(())
}

#[test]
fn healthy() -> Result<()> {
    let summary = summary("", End::Answered)?;
    ensure!(summary.verdict.is_none(), "{:?}", summary.verdict);
    ensure!(summary.also.is_empty(), "{:?}", summary.also);
    Ok(())
}
