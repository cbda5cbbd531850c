//! What decided that a rule drops a packet, where the rule itself does not say it: a mark that another one
//! has set, or the state that conntrack gives the packet.

use super::{
    Finding,
    firewall::{LISTED, one_sentence, point},
};
use crate::{
    decode::drop::DropFacts,
    model::{Confidence, Fix, Point},
    node::{
        change,
        facts::NodeFacts,
        ruleset::{Marking, Meaning, SourceRanges, Suspect, Unestablished},
    },
};

/// It is dropped for its mark, so the rule that has given it the mark says why.
pub(super) fn for_its_mark(
    suspect: &Suspect,
    marking: &Marking,
    confidence: Confidence,
) -> Finding {
    let (dropping, deciding) = (suspect.describe(), marking.rule.describe());
    let why = match marking.rule.meaning {
        Meaning::Plain => format!(
            "a rule of {} marks it to be dropped: {deciding}",
            marking.rule.owner.name()
        ),
        _ => one_sentence(&marking.rule, &deciding),
    };
    let why = format!(
        "{why}; what has the mark {:#x} is dropped by {dropping}",
        marking.bits
    );
    Finding::new(point(marking.rule.meaning), confidence, why).about(&[&deciding, &dropping])
}

/// Linux sends the first keepalive after as many seconds without a packet (`tcp_keepalive_time`).
const KEEPALIVE: u64 = 7200;
/// What conntrack begins with: five days.
const USUAL_IDLE_TIMEOUT: u64 = 432_000;

/// It would be accepted if conntrack called it established.
pub(super) fn for_its_state(
    node: &NodeFacts,
    state: &Unestablished,
    rule: &str,
    confidence: Confidence,
) -> Finding {
    let but_for_that = "were it ESTABLISHED for conntrack, no rule at this hook would drop it";
    match state {
        Unestablished::Unknown => {
            let why = format!(
                "conntrack takes it for the first packet of a connection (NEW), though it is a later \
                 one, and no rule accepts that: dropped by {rule}"
            );
            let mut finding = Finding::new(Point::Conntrack, confidence, why).about(&[&rule]);
            finding.fact(but_for_that);
            finding.fact(
                "its entry has expired while the connection was idle, or was flushed, or the first \
                 packets did not pass here",
            );
            let short = node.idle_timeout.filter(|timeout| *timeout <= KEEPALIVE);
            match short {
                Some(timeout) => {
                    finding.fact(format!(
                        "entries of idle connections are kept for {timeout} s here, and keepalives \
                         begin after {KEEPALIVE} s by default"
                    ));
                    let path = "net/netfilter/nf_conntrack_tcp_timeout_established";
                    let fix = change::sysctl(path, timeout, USUAL_IDLE_TIMEOUT);
                    finding
                        .fix
                        .push(fix.noting("or let the application send keepalives sooner"));
                }
                None => finding.fix.push(Fix::advice(
                    "let the connection be opened anew; if it was idle, let the application send \
                     keepalives sooner than conntrack forgets it, and if it was not, look for what \
                     flushed the table, or for a way that its first packets took past this node",
                )),
            }
            finding
        }
        Unestablished::Invalid => {
            let why = format!(
                "conntrack calls the packet invalid, and no rule accepts that: dropped by {rule}"
            );
            let mut finding = Finding::new(Point::Conntrack, confidence, why).about(&[&rule]);
            finding.fact(but_for_that);
            finding
        }
        Unestablished::Untracked(by) => {
            let by = by
                .as_ref()
                .map_or_else(String::new, |by| format!(" ({by})"));
            let why = format!(
                "a rule exempts it from tracking{by}, so that it is not ESTABLISHED for conntrack, and no \
                 rule accepts that: dropped by {rule}"
            );
            let mut finding = Finding::new(Point::Conntrack, confidence, why).about(&[&rule, &by]);
            finding.fact(but_for_that);
            finding.fix.push(Fix::advice(
                "have it tracked in both directions (remove the notrack rule), or exempt both, and \
                 accept UNTRACKED packets where it is dropped",
            ));
            finding
        }
    }
}

/// A Service admits some sources only.
pub(super) fn add_sources(finding: &mut Finding, sources: &SourceRanges, facts: &DropFacts) {
    let SourceRanges { service, admitted } = sources;
    let networks = match admitted.as_slice() {
        [] => "no network".to_owned(),
        some => some
            .iter()
            .take(LISTED)
            .cloned()
            .collect::<Vec<_>>()
            .join(", "),
    };
    finding.fact(format!(
        "the Service {service} admits {networks} (loadBalancerSourceRanges), and the source is {}",
        facts.flow.src
    ));
    finding.fix.push(Fix::advice(format!(
        "add the client's network to loadBalancerSourceRanges of the Service {service}; if {} is a \
         load balancer or a node, the client's address was lost on the way (externalTrafficPolicy: \
         Local keeps it)",
        facts.flow.src
    )));
}
