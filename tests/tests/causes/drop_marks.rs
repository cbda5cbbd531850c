//! A packet is dropped for its mark: the rule that set the mark says why (kubernetes/kubernetes#85572,
//! kubernetes/kubernetes#110289).

use anyhow::Result;
use whydrop_tests::{
    expected::ExpectedVerdict,
    incident::{End, Report, Stage},
};

const BALANCER: &str = "10.20.9.9:80";

/// kube-proxy's and the kubelet's rules of Kubernetes before 1.26: `in_nat` is what kube-proxy has for the
/// balancer's address, which the node takes in.
fn stage(in_nat: &str) -> Result<Stage> {
    let stage = Stage::routed_pods()?;
    stage.ip("node", "route add local 10.20.9.9/32 dev lo")?;
    let rules = format!(
        "*nat
:KUBE-SERVICES - [0:0]
:KUBE-FW-CART - [0:0]
:KUBE-XLB-CART - [0:0]
:KUBE-SVC-CART - [0:0]
:KUBE-MARK-DROP - [0:0]
:KUBE-MARK-MASQ - [0:0]
-A PREROUTING -j KUBE-SERVICES
{in_nat}
-A KUBE-SVC-CART -p tcp -m comment --comment \"shop/cart:http\" -m tcp -j DNAT --to-destination 10.20.2.3:8080
-A KUBE-MARK-DROP -j MARK --set-xmark 0x8000/0x8000
-A KUBE-MARK-MASQ -j MARK --set-xmark 0x4000/0x4000
COMMIT
*filter
:KUBE-FIREWALL - [0:0]
-A INPUT -j KUBE-FIREWALL
-A KUBE-FIREWALL -m comment --comment \"kubernetes firewall for dropping marked packets\" -m mark --mark 0x8000/0x8000 -j DROP
COMMIT
"
    );
    stage.exec("node", &format!("iptables-restore <<'X'\n{rules}X"))?;
    stage.serve("b", "10.20.2.3:8080")?;
    Ok(stage)
}

fn with_ranges(admitted: &str) -> Result<Stage> {
    stage(&format!(
        "-A KUBE-SERVICES -d 10.20.9.9/32 -p tcp -m comment --comment \"shop/cart:http loadbalancer IP\" -m tcp --dport 80 -j KUBE-FW-CART
-A KUBE-FW-CART -m comment --comment \"shop/cart:http loadbalancer IP\" -j KUBE-MARK-MASQ
-A KUBE-FW-CART -s {admitted} -m comment --comment \"shop/cart:http loadbalancer IP\" -j KUBE-SVC-CART
-A KUBE-FW-CART -m comment --comment \"shop/cart:http loadbalancer IP\" -j KUBE-MARK-DROP"
    ))
}

fn dial(stage: &Stage, end: End) -> Result<Report> {
    stage.trace(["node", "a", "b"], BALANCER, |watch| {
        watch.dial("a", BALANCER)?.ends(end)
    })
}

#[test]
fn source_is_not_admitted_to_the_load_balancer() -> Result<()> {
    let stage = with_ranges("192.0.2.0/24")?;
    dial(&stage, End::Silent)?.outcome("unanswered")?.verdict(
        &ExpectedVerdict::new("firewall", "confirmed")
            .why("a rule of kube-proxy marks it to be dropped")
            .why("rule 3 of chain KUBE-FW-CART in table nat")
            .why("the mark 0x8000 is dropped by rule 1 of chain KUBE-FIREWALL")
            .evidence("shop/cart:http admits 192.0.2.0/24 (loadBalancerSourceRanges)")
            .evidence("the source is 10.20.1.2")
            .fix("loadBalancerSourceRanges of the Service shop/cart:http"),
    )?;
    Ok(())
}

#[test]
fn no_endpoint_is_on_this_node() -> Result<()> {
    let stage = stage(
        "-A KUBE-SERVICES -d 10.20.9.9/32 -p tcp -m tcp --dport 80 -j KUBE-XLB-CART
-A KUBE-XLB-CART -m comment --comment \"shop/cart:http has no local endpoints\" -j KUBE-MARK-DROP",
    )?;
    dial(&stage, End::Silent)?.outcome("unanswered")?.verdict(
        &ExpectedVerdict::new("endpoint", "confirmed")
            .why("the Service shop/cart:http has no endpoint on this node")
            .why("rule 1 of chain KUBE-XLB-CART in table nat")
            .fix("traffic policy"),
    )?;
    Ok(())
}

/// A firewall of the user's that marks in one table and drops in another.
#[test]
fn rule_of_the_user_marks() -> Result<()> {
    let stage = with_ranges("10.20.0.0/16")?;
    stage.exec(
        "node",
        "iptables -t mangle -A PREROUTING -i va -p tcp --dport 80 -j MARK --set-xmark 0x7/0x7
         iptables -t mangle -A PREROUTING -i vb -p tcp --dport 80 -j MARK --set-xmark 0x7/0x7
         iptables -A FORWARD -m mark --mark 0x7/0x7 -j DROP",
    )?;
    dial(&stage, End::Silent)?.outcome("unanswered")?.verdict(
        &ExpectedVerdict::new("firewall", "confirmed")
            .why("rule 1 of chain PREROUTING in table mangle")
            .why("is dropped by rule 1 of chain FORWARD")
            .fix("-I FORWARD 1"),
    )?;
    Ok(())
}

#[test]
fn healthy() -> Result<()> {
    dial(&with_ranges("10.20.0.0/16")?, End::Answered)?
        .silent()
        .map(drop)
}
