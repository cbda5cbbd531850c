//! ICMP redirects that the kernel's NAT drops itself: about a connection that it translates, the
//! client must not learn the other way (`nf_nat_icmp_reply_translation`). Healthy traffic makes these.

use tracer_common::event::ct;

use super::is_netfilter;
use crate::{
    decode::drop::DropFacts,
    model::Protocol,
    node::{facts::NodeFacts, ruleset::Suspects},
};

/// "Redirect" of ICMP and of ICMPv6.
const REDIRECT: [(Protocol, u8); 2] = [(Protocol::Icmp, 5), (Protocol::Icmpv6, 137)];

/// Whether NAT has dropped a redirect: no rule could have.
pub(in crate::verdict) fn is_refused_by_nat(facts: &DropFacts, node: &NodeFacts) -> bool {
    let kind = (facts.flow.proto, facts.key.icmp_type);
    is_netfilter(facts)
        && REDIRECT.contains(&kind)
        && node
            .suspects
            .as_ref()
            .is_some_and(|suspects| is_no_rules(facts, suspects))
}

fn is_no_rules(facts: &DropFacts, suspects: &Suspects) -> bool {
    let is_translated = match facts.wire.as_deref().map(|wire| wire.ct) {
        Some(known) if known & ct::STATUS != 0 => {
            let status = known >> ct::STATUS_SHIFT;
            let done = ct::SRC_NAT_DONE | ct::DST_NAT_DONE;
            status & (ct::SRC_NAT | ct::DST_NAT) != 0 || status & done != done
        }
        // Not known of this connection: then the ruleset says whether any is translated.
        _ => suspects.translates,
    };
    suspects.complete && suspects.rules.is_empty() && is_translated
}
