//! Pods have no network after another tool was installed: one iptables backend has a policy that
//! drops, the rules that accept are in the other (k3s-io/k3s#1114, weaveworks/weave#3465,
//! kubernetes/kubernetes#71305).

use anyhow::Result;
use whydrop_tests::{
    expected::ExpectedVerdict,
    incident::{Report, Stage},
};

fn trace(policy: &str, accepts: &str) -> Result<Report> {
    let stage = Stage::routed_pods()?;
    stage.exec(
        "node",
        &format!(
            "{policy} -N DOCKER-USER
             {policy} -A FORWARD -j DOCKER-USER
             {policy} -A DOCKER-USER -j RETURN
             {policy} -P FORWARD DROP
             for end in -s -d; do
                 {accepts} -A FORWARD $end 10.20.0.0/16 -m comment --comment 'flanneld forward' \
                    -j ACCEPT
             done"
        ),
    )?;
    stage.serve("b", "10.20.2.3:8080")?;
    stage.trace(["node", "a", "b"], "10.20.2.3:8080", |watch| {
        watch.dial("a", "10.20.2.3:8080")
    })
}

fn expected() -> ExpectedVerdict {
    ExpectedVerdict::any_of(["firewall"])
        .at_least("likely")
        .names("FORWARD")
}

#[test]
fn nft_drops_what_legacy_accepts() -> Result<()> {
    let report = trace("iptables-nft", "iptables-legacy")?;
    report
        .outcome("unanswered")?
        .verdict(&expected().fix("iptables-nft -t filter -A FORWARD"))?;
    Ok(())
}

#[test]
fn legacy_drops_what_nft_accepts() -> Result<()> {
    let report = trace("iptables-legacy", "iptables-nft")?;
    report.outcome("unanswered")?.verdict(
        &expected()
            .names("iptables-legacy")
            .fix("iptables-legacy -t filter -A FORWARD"),
    )?;
    Ok(())
}

#[test]
fn healthy_in_one_backend() -> Result<()> {
    trace("iptables-nft", "iptables-nft")?.silent().map(drop)
}
