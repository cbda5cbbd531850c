//! kube-proxy drops what comes to a load balancer's address from a source that the Service does not admit
//! (since Kubernetes 1.26, kubernetes/kubernetes#110289).

use anyhow::Result;
use whydrop_tests::{
    expected::ExpectedVerdict,
    incident::{End, Report, Stage},
};

const BALANCER: &str = "10.20.9.9:80";

fn trace(admitted: &str, end: End) -> Result<Report> {
    let stage = Stage::routed_pods()?;
    stage.ip("node", "route add local 10.20.9.9/32 dev lo")?;
    let rules = format!(
        "*nat
:KUBE-SERVICES - [0:0]
:KUBE-FW-CART - [0:0]
:KUBE-SVC-CART - [0:0]
-A PREROUTING -j KUBE-SERVICES
-A KUBE-SERVICES -d 10.20.9.9/32 -p tcp -m comment --comment \"shop/cart:http loadbalancer IP\" -m tcp --dport 80 -j KUBE-FW-CART
-A KUBE-FW-CART -s {admitted} -m comment --comment \"shop/cart:http loadbalancer IP\" -j KUBE-SVC-CART
-A KUBE-FW-CART -m comment --comment \"other traffic to shop/cart:http will be dropped by KUBE-PROXY-FIREWALL\"
-A KUBE-SVC-CART -p tcp -m comment --comment \"shop/cart:http\" -m tcp -j DNAT --to-destination 10.20.2.3:8080
COMMIT
*filter
:KUBE-PROXY-FIREWALL - [0:0]
-A INPUT -m conntrack --ctstate NEW -m comment --comment \"kubernetes load balancer firewall\" -j KUBE-PROXY-FIREWALL
-A FORWARD -m conntrack --ctstate NEW -m comment --comment \"kubernetes load balancer firewall\" -j KUBE-PROXY-FIREWALL
-A KUBE-PROXY-FIREWALL -d 10.20.9.9/32 -p tcp -m comment --comment \"shop/cart:http traffic not accepted by KUBE-FW-CART\" -m tcp --dport 80 -j DROP
COMMIT
"
    );
    stage.exec("node", &format!("iptables-restore <<'X'\n{rules}X"))?;
    stage.serve("b", "10.20.2.3:8080")?;
    stage.trace(["node", "a", "b"], BALANCER, |watch| {
        watch.dial("a", BALANCER)?.ends(end)
    })
}

#[test]
fn source_is_not_admitted() -> Result<()> {
    trace("192.0.2.0/24", End::Silent)?
        .outcome("unanswered")?
        .verdict(
            &ExpectedVerdict::new("firewall", "confirmed")
                .why("rule 1 of chain KUBE-PROXY-FIREWALL")
                .evidence("shop/cart:http admits 192.0.2.0/24 (loadBalancerSourceRanges)")
                .fix("loadBalancerSourceRanges of the Service shop/cart:http"),
        )?;
    Ok(())
}

#[test]
fn healthy() -> Result<()> {
    trace("10.20.1.0/24", End::Answered)?.silent().map(drop)
}
