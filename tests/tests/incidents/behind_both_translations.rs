//! A filter by a Service's address finds what happens behind DNAT and masquerading, in namespaces
//! where no packet has that address (kubernetes/kubernetes#20475, cloudnativelabs/kube-router#189).

use anyhow::Result;
use whydrop_tests::{
    expected::ExpectedVerdict,
    incident::{Report, Stage},
};

const CLUSTER_IP: &str = "10.20.96.10:80";

/// A Service whose endpoint is this one; `masqueraded` are the sources that it does not see.
fn service(endpoint: &str, masqueraded: &str) -> Result<Stage> {
    let stage = Stage::routed_pods()?;
    stage.sysctl(
        "node",
        "net.ipv4.conf.all.send_redirects=0 net.ipv4.conf.va.send_redirects=0",
    )?;
    stage.exec(
        "node",
        &format!(
            "iptables -t nat -A PREROUTING -d 10.20.96.10/32 -p tcp --dport 80 \
                -m comment --comment 'shop/cart cluster IP' -j DNAT --to-destination {endpoint}
             {masqueraded}"
        ),
    )?;
    stage.serve("a", "10.20.1.2:8080")?;
    stage.serve("b", "10.20.2.3:8080")?;
    Ok(stage)
}

const MASQUERADE: &str = "iptables -t nat -A POSTROUTING -j MASQUERADE";

fn trace(stage: &Stage) -> Result<Report> {
    stage.trace(["node", "a", "b"], CLUSTER_IP, |watch| {
        watch.dial("a", CLUSTER_IP)
    })
}

#[test]
fn a_pod_asks_itself_and_is_a_martian() -> Result<()> {
    let report = trace(&service("10.20.1.2:8080", "")?)?;
    let expected = ExpectedVerdict::any_of(["rpfilter"]).names("10.20.1.2");
    report.outcome("unanswered")?.verdict(&expected)?;
    Ok(())
}

#[test]
fn a_pod_asks_itself_masqueraded() -> Result<()> {
    trace(&service("10.20.1.2:8080", MASQUERADE)?)?
        .silent()
        .map(drop)
}

#[test]
fn the_endpoint_has_a_firewall_of_its_own() -> Result<()> {
    let stage = service("10.20.2.3:8080", MASQUERADE)?;
    stage.exec("b", "iptables -A INPUT -p tcp --dport 8080 -j DROP")?;
    let report = trace(&stage)?;
    let expected = ExpectedVerdict::any_of(["firewall"])
        .names("INPUT")
        .fix(stage.name("b"));
    report.outcome("unanswered")?.verdict(&expected)?;
    Ok(())
}

#[test]
fn the_endpoint_has_no_listener() -> Result<()> {
    let report = trace(&service("10.20.2.3:8081", MASQUERADE)?)?;
    let expected = ExpectedVerdict::any_of(["socket"]).names("8081");
    report.outcome("refused")?.verdict(&expected)?;
    Ok(())
}

#[test]
fn the_endpoint_answers() -> Result<()> {
    trace(&service("10.20.2.3:8080", MASQUERADE)?)?
        .silent()
        .map(drop)
}
