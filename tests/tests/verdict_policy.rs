//! Verdicts on rules that Kubernetes' own parts make: policies, Services without endpoints, packets
//! that conntrack calls invalid.

use std::net::SocketAddr;

use anyhow::Result;
use whydrop_tests::{
    judged::Judged,
    lab::{Family, topology::NodeLab},
    scenario::{End, Expected, Scenario},
};

/// Loads iptables rules of the table `filter` into nf_tables, and takes those that were there away.
fn restore(lab: &NodeLab, rules: &str) -> Result<()> {
    let rules = format!("*filter\n{rules}COMMIT\n");
    lab.node
        .run_with_input("iptables-nft-restore", &rules)
        .map(drop)
}

/// Chains as kube-router makes them for one pod, with a policy that admits all but one port.
fn kube_router(lab: &NodeLab, port: u16) -> String {
    let pod = lab.pod_a.address(Family::V4);
    format!(
        r#":FORWARD ACCEPT [0:0]
:KUBE-NWPLCY-COMMON - [0:0]
:KUBE-NWPLCY-LVAVYZ4HFHCE5DJF - [0:0]
:KUBE-NWPLCY-TAIL - [0:0]
:KUBE-POD-FW-TDFRLRE4QCQVYMIA - [0:0]
:KUBE-ROUTER-FORWARD - [0:0]
-A FORWARD -m comment --comment "kube-router netpol - TEMCG2JMHZYE7H7T" -j KUBE-ROUTER-FORWARD
-A KUBE-NWPLCY-COMMON -m comment --comment "rule to drop invalid state for pod" -m conntrack --ctstate INVALID -j DROP
-A KUBE-NWPLCY-COMMON -m comment --comment "rule for stateful firewall for pod" -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A KUBE-NWPLCY-LVAVYZ4HFHCE5DJF -p tcp -m comment --comment "prod/allow ingress pods" -m tcp ! --dport {port} -j MARK --set-xmark 0x10000/0x10000
-A KUBE-NWPLCY-LVAVYZ4HFHCE5DJF -p tcp -m comment --comment "prod/allow ingress pods" -m tcp ! --dport {port} -m mark --mark 0x10000/0x10000 -j RETURN
-A KUBE-NWPLCY-TAIL -m comment --comment "accept netpol-ok" -m mark --mark 0x20000/0x20000 -j ACCEPT
-A KUBE-POD-FW-TDFRLRE4QCQVYMIA -m comment --comment "common netpol rules" -j KUBE-NWPLCY-COMMON
-A KUBE-POD-FW-TDFRLRE4QCQVYMIA -d {pod}/32 -m comment --comment "prod/allow policy" -j KUBE-NWPLCY-LVAVYZ4HFHCE5DJF
-A KUBE-POD-FW-TDFRLRE4QCQVYMIA -m comment --comment "prod/server log-drop" -m mark ! --mark 0x10000/0x10000 -m limit --limit 10/min --limit-burst 10 -j NFLOG --nflog-group 100
-A KUBE-POD-FW-TDFRLRE4QCQVYMIA -m comment --comment "prod/server reject" -m mark ! --mark 0x10000/0x10000 -j REJECT --reject-with icmp-port-unreachable
-A KUBE-POD-FW-TDFRLRE4QCQVYMIA -j MARK --set-xmark 0x0/0x10000
-A KUBE-POD-FW-TDFRLRE4QCQVYMIA -m comment --comment "set netpol-ok mark" -j MARK --set-xmark 0x20000/0x20000
-A KUBE-ROUTER-FORWARD -d {pod}/32 -m comment --comment "prod/server in" -j KUBE-POD-FW-TDFRLRE4QCQVYMIA
-A KUBE-ROUTER-FORWARD -m comment --comment "rule to explicitly handle traffic for network policies ACCEPT/REJECT decision" -j KUBE-NWPLCY-TAIL
"#
    )
}

/// Chains as Calico makes them for one workload, with a policy that admits all but one port.
fn calico(port: u16) -> String {
    format!(
        r#":FORWARD ACCEPT [0:0]
:cali-FORWARD - [0:0]
:cali-to-wl-dispatch - [0:0]
:cali-tw-cali1234567890a - [0:0]
:cali-pi-_prod_allow - [0:0]
-A FORWARD -m comment --comment "cali:wUHhoiAYhphO9Mso" -j cali-FORWARD
-A cali-FORWARD -o cni0 -m comment --comment "cali:8ZoYfO5HKXWbB3pk" -j cali-to-wl-dispatch
-A cali-to-wl-dispatch -m comment --comment "cali:Z9Xmhr-6DFUYUDpa" -j cali-tw-cali1234567890a
-A cali-tw-cali1234567890a -m comment --comment "cali:pEnIw4pBG0dGhjWs" -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A cali-tw-cali1234567890a -m comment --comment "cali:WGCOGyDOfAIxYqaD" -j MARK --set-xmark 0x0/0x10000
-A cali-tw-cali1234567890a -m comment --comment "cali:pJIgFLvVaVYVbZOt" -j cali-pi-_prod_allow
-A cali-tw-cali1234567890a -m comment --comment "cali:YCGbHKeYHRxQyLFM" -m mark --mark 0x10000/0x10000 -j RETURN
-A cali-tw-cali1234567890a -m comment --comment "cali:3Zxi33ZNNFBWDMiC" -j DROP
-A cali-pi-_prod_allow -p tcp -m comment --comment "cali:kYFmUTpWyVjwOD2u" -m tcp ! --dport {port} -j MARK --set-xmark 0x10000/0x10000
"#
    )
}

fn policy(lab: &NodeLab, rules: impl Fn(u16) -> String, end: End, verdict: &Judged) -> Result<()> {
    Scenario::new(lab, &lab.outside, &lab.pod_a, Family::V4)
        .fault_on_port(|port| restore(lab, &rules(port)))
        .ends(end)
        .drops(
            &Expected::new("NETFILTER_DROP", "nft_do_chain")
                .hook("FORWARD")
                .at(&lab.node, "eth0")
                .judged(verdict.clone()),
        )
}

#[test]
fn refused_by_kube_router() -> Result<()> {
    let lab = NodeLab::build()?;
    policy(
        &lab,
        |port| kube_router(&lab, port),
        End::Refused,
        &Judged::new("policy", "confirmed")
            .why("kube-router")
            .why("for the pod prod/server")
            .why("chain KUBE-POD-FW-TDFRLRE4QCQVYMIA in table filter (iptables-nft)"),
    )
}

#[test]
fn dropped_by_calico() -> Result<()> {
    let lab = NodeLab::build()?;
    policy(
        &lab,
        calico,
        End::Silent,
        &Judged::new("policy", "confirmed")
            .why("Calico")
            .why("chain cali-tw-cali1234567890a in table filter (iptables-nft)"),
    )
}

/// kube-proxy rejects what is for a Service that lost its last endpoint.
#[test]
fn service_without_endpoints() -> Result<()> {
    let lab = NodeLab::build()?;
    let service = SocketAddr::new(lab.cluster_ip(Family::V4), 80);
    let address = service.ip();
    let backend = lab.outside.socket(Family::V4, Scenario::port(Family::V4));
    let nat = format!(
        "*nat\n-A PREROUTING -d {address}/32 -p tcp -m tcp --dport 80 -j DNAT --to-destination {backend}\nCOMMIT\n"
    );
    lab.node.run_with_input("iptables-nft-restore", &nat)?;
    let empty = format!(
        r#":FORWARD ACCEPT [0:0]
:KUBE-SERVICES - [0:0]
-A FORWARD -m conntrack --ctstate NEW -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A KUBE-SERVICES -d {address}/32 -p tcp -m comment --comment "prod/empty has no endpoints" -m tcp --dport 80 -j REJECT --reject-with icmp-port-unreachable
"#
    );
    Scenario::new(&lab, &lab.pod_a, &lab.outside, Family::V4)
        .dial(service)
        .fault(|| {
            lab.node.run("iptables-nft -t nat -F")?;
            // The first connection's entry lives on, but is of no use to another.
            let route = format!("ip route add {address} via {} dev eth0", backend.ip());
            lab.node.run(&route)?;
            restore(&lab, &empty)
        })
        .ends(End::Refused)
        .drops(
            &Expected::new("NETFILTER_DROP", "nft_do_chain")
                .hook("FORWARD")
                .at(&lab.node, "cni0")
                .judged(
                    Judged::new("endpoint", "confirmed")
                        .why("the Service prod/empty has no endpoints"),
                ),
        )
}
