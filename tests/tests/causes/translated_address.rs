//! A rule translates to an address that no host has: it was left behind when a container went, and comes
//! before the rule for the one that took its place (podman-container-tools/podman#27516, moby/moby#32048).

use anyhow::Result;
use whydrop_tests::{
    expected::ExpectedVerdict,
    incident::{End, Report, Stage},
};

const PUBLISHED: &str = "10.20.1.1:3001";

fn published(rules: &str) -> Result<Stage> {
    let stage = Stage::routed_pods()?;
    stage.exec("node", rules)?;
    stage.serve("b", "10.20.2.3:3001")?;
    Ok(stage)
}

fn dial(stage: &Stage) -> Result<Report> {
    stage.trace(["node", "a", "b"], PUBLISHED, |watch| {
        watch.dial("a", PUBLISHED)?;
        watch.until_drop()
    })
}

fn stale() -> ExpectedVerdict {
    ExpectedVerdict::new("endpoint", "likely")
        .why("no host answers for 10.20.2.20")
        .why("a rule translates 10.20.1.1:3001 to it")
        .evidence("10.20.2.20")
}

/// The table of netavark, with the containers' chains in this order.
fn netavark(chains: [&str; 2]) -> String {
    let [first, second] = chains;
    format!(
        "nft -f - <<'END'
table inet netavark {{
  chain PREROUTING {{ type nat hook prerouting priority dstnat; fib daddr type local jump HOSTPORT; }}
  chain HOSTPORT {{ tcp dport 3001 jump {first}; tcp dport 3001 jump {second}; }}
  chain old {{ tcp dport 3001 dnat ip to 10.20.2.20:3001; }}
  chain new {{ tcp dport 3001 dnat ip to 10.20.2.3:3001; }}
}}
END"
    )
}

#[test]
fn rule_of_a_container_that_is_gone() -> Result<()> {
    dial(&published(&netavark(["old", "new"]))?)?.verdict(
        &stale()
            .evidence("chain old in table inet netavark")
            .evidence("without it, another one leads to 10.20.2.3:3001")
            .fix("that rule of Podman"),
    )?;
    Ok(())
}

/// Docker's, where no other rule is left.
#[test]
fn only_rule() -> Result<()> {
    let rules = "iptables -t nat -N DOCKER; iptables -t nat -A PREROUTING -m addrtype --dst-type LOCAL -j \
                 DOCKER; iptables -t nat -A DOCKER ! -i vb -p tcp --dport 3001 -j DNAT --to-destination \
                 10.20.2.20:3001";
    dial(&published(rules)?)?.verdict(
        &stale()
            .evidence("rule 1 of chain DOCKER in table nat")
            .never_says(["another one leads"]),
    )?;
    Ok(())
}

/// kube-proxy was switched from iptables to nftables, and its old rules come first.
#[test]
fn rules_of_the_mode_that_kube_proxy_had_before() -> Result<()> {
    let rules = "iptables-legacy -t nat -N KUBE-SEP-OLD
        iptables-legacy -t nat -A PREROUTING -d 10.20.1.1 -p tcp --dport 3001 -j KUBE-SEP-OLD
        iptables-legacy -t nat -A KUBE-SEP-OLD -p tcp -m comment --comment shop/web:http -j DNAT \
        --to-destination 10.20.2.20:3001
        nft 'table ip kube-proxy { chain nat-prerouting { type nat hook prerouting priority -99; ip daddr \
        10.20.1.1 tcp dport 3001 dnat to 10.20.2.3:3001; }; }'";
    dial(&published(rules)?)?.verdict(
        &stale()
            .evidence("chain KUBE-SEP-OLD in table nat (iptables-legacy)")
            .evidence("chain nat-prerouting in table ip kube-proxy")
            .fix("that rule of kube-proxy"),
    )?;
    Ok(())
}

#[test]
fn healthy() -> Result<()> {
    let stage = published(&netavark(["new", "old"]))?;
    let report = stage.trace(["node", "a", "b"], PUBLISHED, |watch| {
        watch.dial("a", PUBLISHED)?.ends(End::Answered)
    })?;
    report.silent().map(drop)
}
