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
        .evidence("accepted in another table")
        .evidence("flanneld forward")
}

/// Docker accepts by iptables what firewalld rejects in a table of its own (moby/libnetwork#2496).
#[test]
fn firewalld_rejects_what_docker_accepts() -> Result<()> {
    let stage = Stage::routed_pods()?;
    stage.exec(
        "node",
        "iptables -N DOCKER; iptables -A FORWARD -o vb -j DOCKER
         iptables -A DOCKER -d 10.20.2.3 -p tcp --dport 8080 -j ACCEPT
         nft 'table inet firewalld { chain filter_FORWARD { type filter hook forward priority filter + \
         10; ct state established,related accept; jump filter_FORWARD_IN_ZONES; }; \
         chain filter_FORWARD_IN_ZONES { iifname va goto filter_FWDI_public; }; \
         chain filter_FWDI_public { reject with icmpx admin-prohibited; }; }'",
    )?;
    stage.serve("b", "10.20.2.3:8080")?;
    let report = stage.trace(["node", "a", "b"], "10.20.2.3:8080", |watch| {
        watch.dial("a", "10.20.2.3:8080")
    })?;
    report.verdict(
        &ExpectedVerdict::new("firewall", "confirmed")
            .why("firewalld")
            .evidence("accepted in another table")
            .evidence("chain DOCKER in table filter")
            .fix("firewall-cmd"),
    )?;
    Ok(())
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
