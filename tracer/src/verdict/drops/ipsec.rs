//! IPsec keeps a packet back: a policy refuses it, or wants it encrypted, and nothing encrypts it.

use super::{Concern, Finding, function, place};
use crate::{
    decode::drop::DropFacts,
    model::{
        Confidence::{Confirmed, Likely},
        Fix, Point, Protocol,
    },
    net::{IpsecDirection, IpsecPolicy},
    node::{
        facts::NodeFacts,
        ipsec::{Ipsec, IpsecRefusal, selector},
    },
};

/// What the kernel counts where a policy has no SA, and the packet is sent or forwarded.
const NO_STATES: &str = "XfrmOutNoStates";

pub(super) fn is_refused(facts: &DropFacts) -> Concern {
    Concern::surely(facts.reason.is("XFRM_POLICY"))
}

/// A policy of IPsec that blocks, or that asks for an encryption which the packet has not.
pub(super) fn refused(facts: &DropFacts, node: &NodeFacts) -> Option<Finding> {
    let found = node.around.ipsec.as_ref();
    let explained = found.and_then(|ipsec| explained(facts, ipsec));
    Some(explained.unwrap_or_else(|| {
        let why = format!(
            "an IPsec policy refuses it{}: `ip xfrm policy` shows it",
            place(facts)
        );
        Finding::new(Point::Firewall, Confirmed, why).about(&[&place(facts)])
    }))
}

/// The policies that the kernel asks where it drops with this reason, in its order. Forwarded packets
/// meet two: by where they come from, and by where they go.
fn directions(facts: &DropFacts) -> &'static [IpsecDirection] {
    match function(facts) {
        "ip_forward" | "ip6_forward" => &[IpsecDirection::Forward, IpsecDirection::Out],
        _ => &[IpsecDirection::In],
    }
}

fn explained(facts: &DropFacts, ipsec: &Ipsec) -> Option<Finding> {
    let all = directions(facts).iter();
    let mut all = all.filter_map(|direction| {
        let direction = *direction;
        if let Some((policy, refusal)) = ipsec.refusal(direction) {
            return by_policy(facts, ipsec, policy, &refusal);
        }
        let refused = ipsec.is_refused_by_default(direction);
        refused.then(|| {
            let why = format!(
                "no IPsec policy fits it{}, and the default is to block (`ip xfrm policy getdefault`)",
                place(facts)
            );
            let finding = Finding::new(Point::Firewall, Confirmed, why);
            with_counters(finding.about(&[&place(facts)]), ipsec, &["XfrmInNoPols", "XfrmOutPolError"])
        })
    });
    all.next()
}

fn by_policy(
    facts: &DropFacts,
    ipsec: &Ipsec,
    policy: &IpsecPolicy,
    refusal: &IpsecRefusal,
) -> Option<Finding> {
    let name = selector(policy);
    let is_out = policy.direction == IpsecDirection::Out;
    let (why, counters): (_, &[&str]) = match refusal {
        IpsecRefusal::Blocks => (
            format!("an IPsec policy blocks it{}: `{name}`", place(facts)),
            &["XfrmInPolBlock", "XfrmOutPolBlock"],
        ),
        IpsecRefusal::Demands(protocols) if is_out => {
            return unencrypted(facts, ipsec, policy, protocols);
        }
        IpsecRefusal::Demands(protocols) => (
            format!(
                "it came in without {}, which an IPsec policy demands{}: `{name}`",
                in_words(protocols),
                place(facts)
            ),
            &["XfrmInTmplMismatch"],
        ),
    };
    let finding = Finding::new(Point::Firewall, Confirmed, why).about(&[&name, &place(facts)]);
    let mut finding = with_counters(finding, ipsec, counters);
    finding.fix.push(Fix::advice(match refusal {
        IpsecRefusal::Blocks => format!(
            "let the program that made the policy remove it (an IKE daemon, or the CNI's agent), or a \
             policy with a lower priority number allow this traffic (`ip xfrm policy`); it is: {name}"
        ),
        IpsecRefusal::Demands(_) => format!(
            "let the sender encrypt it, with a policy and an SA of its own for {} to {}, or remove the \
             policy here that the sender knows nothing of",
            policy.src, policy.dst
        ),
    }));
    Some(finding)
}

/// A policy wants what leaves encrypted, and there is nothing to do that with. If there are SAs, but none
/// for it, the kernel's counter says so.
fn unencrypted(
    facts: &DropFacts,
    ipsec: &Ipsec,
    policy: &IpsecPolicy,
    protocols: &[u8],
) -> Option<Finding> {
    let has_none = ipsec.associations == Some(0);
    (has_none || ipsec.counter(NO_STATES) != Some(0)).then_some(())?;
    let name = selector(policy);
    let why = format!(
        "an IPsec policy wants it sent in {}, and there is no security association (SA) for that: \
         `{name}`",
        in_words(protocols)
    );
    // The counter may have moved for another packet, and SAs may be for this one.
    let confidence = if has_none { Confirmed } else { Likely };
    let finding = Finding::new(Point::Firewall, confidence, why).about(&[&name, &place(facts)]);
    let mut finding = with_counters(finding, ipsec, &[NO_STATES]);
    finding
        .evidence
        .extend(ipsec.associations.map(|count| match count {
            0 => "there is no SA in this network namespace (`ip xfrm state`)".to_owned(),
            1 => "there is one SA in this network namespace (`ip xfrm state`)".to_owned(),
            count => format!("there are {count} SAs in this network namespace (`ip xfrm state`)"),
        }));
    finding.fix.push(Fix::advice(
        "look why the SA is missing: the IKE daemon is not running or cannot agree with its peer \
         (`swanctl --list-sas`), or the CNI's agent has not set the keys; without IPsec, the policy \
         has to go, too",
    ));
    Some(finding)
}

fn with_counters(mut finding: Finding, ipsec: &Ipsec, names: &[&str]) -> Finding {
    let counted = names
        .iter()
        .filter_map(|name| Some((name, ipsec.counter(name)?)));
    let counted = counted.filter(|(_, value)| *value > 0);
    finding
        .evidence
        .extend(counted.map(|(name, value)| format!("{name} is {value} (`/proc/net/xfrm_stat`)")));
    finding
}

fn in_words(protocols: &[u8]) -> String {
    let names = protocols.iter().map(|number| match number {
        50 => "ESP".to_owned(),
        51 => "AH".to_owned(),
        108 => "IPComp".to_owned(),
        number => Protocol::from(*number).to_string(),
    });
    names.collect::<Vec<_>>().join(" and ")
}

/// What is sent from here, and lacks an SA, gets a route that discards it (`make_blackhole`).
pub(super) fn may_lack_association(facts: &DropFacts) -> Concern {
    let discards = !facts.reason.is_specified() && function(facts) == "dst_discard_out";
    Concern::maybe(discards && facts.iif == 0)
}

pub(super) fn lacks_association(facts: &DropFacts, node: &NodeFacts) -> Option<Finding> {
    let ipsec = node.around.ipsec.as_ref()?;
    let route = node.around.route.as_ref()?.answer.as_ref().ok()?;
    let (policy, refusal) = ipsec.refusal(IpsecDirection::Out)?;
    let IpsecRefusal::Demands(protocols) = refusal else {
        return None;
    };
    (ipsec.counter(NO_STATES)? > 0).then_some(())?;
    let mut finding = unencrypted(facts, ipsec, policy, &protocols)?;
    finding.confidence = Likely;
    finding.fact(format!("a route leads to its destination: {route}"));
    Some(finding)
}

pub(super) fn needs_no_association(_: &DropFacts, node: &NodeFacts) -> Option<String> {
    let ipsec = node.around.ipsec.as_ref()?;
    match ipsec.refusal(IpsecDirection::Out) {
        Some((_, IpsecRefusal::Demands(_))) => {
            (ipsec.counter(NO_STATES) == Some(0)).then(|| format!("{NO_STATES} is 0"))
        }
        _ => Some("no IPsec policy wants it encrypted".to_owned()),
    }
}
