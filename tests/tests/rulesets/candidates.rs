//! Several rules could have dropped a packet: counters that are read again after the next drop, and
//! the answer that was sent, say which.

use anyhow::Result;
use whydrop_tests::expected::ExpectedVerdict;

use super::field::Field;

/// What counted it is known by the second drop.
fn by_growth(why: &str) -> [ExpectedVerdict; 2] {
    let several = ExpectedVerdict::any_of(["firewall"])
        .at_least("likely")
        .at_most("likely")
        .evidence("rules could have dropped it");
    let one = ExpectedVerdict::any_of(["firewall"])
        .at_least("confirmed")
        .why(why)
        .evidence("only this one has counted it");
    [several, one]
}

/// A case whose rule the first SYN leaves open, and the second one shows.
fn is_shown_by_the_second(case: &str, prepare: &str, to: &str, why: &str) -> Result<()> {
    let field = Field::of(case)?;
    field.stage().exec("node", prepare)?;
    field.serve(to)?;
    let [several, one] = by_growth(why);
    field
        .dropped_twice("client", to)?
        .first_is(&several)?
        .attempt_is(&one)?
        .last_is(&one)?
        .mends(&[])
}

#[test]
fn counter_that_grew_with_the_second_drop() -> Result<()> {
    is_shown_by_the_second("8", "", "10.30.2.2:80", "rule 3 of chain FORWARD")
}

#[test]
fn all_conditions_of_one_are_known() -> Result<()> {
    is_shown_by_the_second("9", "", "10.30.2.2:80", "rule 5 of chain FORWARD")
}

/// The rule of which least is known is the one: the source is among the recent ones.
#[test]
fn opaque_match_that_did_match() -> Result<()> {
    is_shown_by_the_second(
        "recent-source",
        "echo +10.30.1.2 > /proc/self/net/xt_recent/scanners",
        "10.30.2.2:80",
        "rule 1 of chain FORWARD",
    )
}

/// Rules of nft, in two chains.
#[test]
fn counters_of_nft_in_two_chains() -> Result<()> {
    is_shown_by_the_second("random-chains", "", "10.30.2.2:80", "chain late")
}

/// What healthy packets count is no sign.
#[test]
fn healthy() -> Result<()> {
    for case in ["8", "9", "random-chains", "10", "reject-codes"] {
        let field = Field::of(case)?;
        field.serve("10.30.1.1:22")?;
        let report = field.stage().trace(["node"], "--all", |watch| {
            watch.dial("client", "10.30.1.1:22")
        })?;
        report.silent()?;
    }
    Ok(())
}

/// The one rule that answers like this.
fn by_answer(why: &str) -> ExpectedVerdict {
    ExpectedVerdict::any_of(["firewall"])
        .at_least("confirmed")
        .why(why)
        .evidence("only this one answers as was seen")
}

#[test]
fn reset_is_of_the_rule_that_resets() -> Result<()> {
    let field = Field::of("10")?;
    field.serve("10.30.1.1:80")?;
    field
        .dropped("client", "10.30.1.1:80")?
        .is(&by_answer("reject with tcp reset"))?
        .mends(&[])
}

/// Each of several rules rejects with another code.
#[test]
fn code_of_the_error_is_of_one_rule() -> Result<()> {
    let field = Field::of("reject-codes")?;
    field.serve("10.30.2.2:80")?;
    field
        .dropped("client", "10.30.2.2:80")?
        .is(&by_answer("admin-prohibited"))?
        .mends(&[])?;
    // Those of iptables, for a datagram.
    let field = Field::of("reject-targets")?;
    field
        .dropped_query("client", "10.30.2.2:53")?
        .is(&by_answer("icmp-host-prohibited"))
        .map(drop)
}
