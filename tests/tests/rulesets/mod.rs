//! Rulesets from the field, through the real kernel: which rule dropped the packet, and a fix that
//! lets it pass and nothing else. `src/node/ruleset/tests/cases` has more of each kind.

mod candidates;
mod facts;
mod field;
mod large;
mod mends;
mod nat;
mod owners;
mod texts;

use whydrop_tests::expected::ExpectedVerdict;

/// The one rule is known.
fn firewall() -> ExpectedVerdict {
    ExpectedVerdict::any_of(["firewall"])
        .at_least("confirmed")
        .evidence("no other rule at this hook could have dropped it")
}
