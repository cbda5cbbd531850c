//! Which of Calico's rules enforce policies, and what its log rules say of the drops behind them.
//!
//! With flow logs (Calico 3.30), felix puts an NFLOG rule in front of each rule that denies, whose prefix
//! names the decision (felix/rules/nflogprefix.go): action, owner and direction, a rule's number, and
//! the name of a policy or tier.

use super::{
    model::{Chain, Rule},
    owner::Owner,
};

/// Starts of the names of its chains that hold policies and profiles, or lead to those of one endpoint
/// (felix/rules/rule_defs.go).
const OF_POLICIES: [&str; 13] = [
    "cali-pi-",
    "cali-po-",
    "cali-pri-",
    "cali-pro-",
    "cali-gi-",
    "cali-go-",
    "cali-tw-",
    "cali-fw-",
    "cali-sm-",
    "cali-th-",
    "cali-fh-",
    "cali-thfw-",
    "cali-fhfw-",
];

/// What an endpoint's chain drops no matter the policies, by the comment.
const OF_ENDPOINTS: [&str; 2] = [
    "encapped packets originating in workloads",
    "Endpoint admin disabled",
];

/// Prefixes of this length have a hash in the middle of the name: the kernel keeps 63 bytes.
const HASHED: usize = 63;

/// Whether a rule is there for network policies, and not for the way that Calico routes pods.
pub(super) fn is_of_policies(chain: &Chain, rule: Option<&Rule>) -> bool {
    // In nftables mode, all of its chains are in one table.
    let starts = ["filter-", "mangle-", "raw-"].into_iter();
    let name = starts
        .filter_map(|start| chain.name.strip_prefix(start))
        .next()
        .unwrap_or(&chain.name);
    let comment = rule.and_then(|rule| rule.comment.as_deref());
    let is_of_endpoint = |comment: &str| OF_ENDPOINTS.iter().any(|part| comment.contains(part));
    // A rule that is known by its comment alone may stand in any chain.
    let is_elsewhere = !name.starts_with("cali-");
    let is_in_place = is_elsewhere || OF_POLICIES.iter().any(|start| name.starts_with(start));
    is_in_place && !comment.is_some_and(is_of_endpoint)
}

/// Which tier, policy and rule has denied, as the log rule in front of a rule says.
pub(super) fn decision(owner: Owner, chain: &Chain, rule: Option<usize>) -> Option<String> {
    (owner == Owner::Calico).then_some(())?;
    let in_front = chain.rules.get(rule?.checked_sub(1)?)?;
    read(in_front.log_prefix.as_deref()?)
}

fn read(prefix: &str) -> Option<String> {
    let (decided, name) = match prefix.split_once('|') {
        Some((decided, name)) => (decided, Some(name)),
        None => (prefix, None),
    };
    let (kind, number) = decided.split_at_checked(3)?;
    let direction = match kind.as_bytes() {
        [b'D', b'P' | b'R', b'I'] => "ingress",
        [b'D', b'P' | b'R', b'E'] => "egress",
        _ => return None,
    };
    let is_policy = kind.as_bytes()[1] == b'P';
    let name = name.filter(|name| !name.is_empty());
    if prefix.len() >= HASHED {
        return None;
    }
    Some(match (is_policy, number, name) {
        (true, "", Some(tier)) if !tier.contains(['.', '/', ':']) => {
            format!("no policy of tier {tier} admits it ({direction}): its end denies")
        }
        (true, "", Some(policy)) => format!("no rule of policy {policy} matches it ({direction})"),
        (true, number, Some(policy)) => {
            let number: u32 = number.parse().ok()?;
            format!("{direction} rule {number} of policy {policy} denies it")
        }
        (false, "", None) => format!("no profile of the endpoint admits it ({direction})"),
        (false, number, Some(profile)) => {
            let number: u32 = number.parse().ok()?;
            format!("{direction} rule {number} of profile {profile} denies it")
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::read;

    #[test]
    fn a_prefix_names_tier_policy_and_rule() {
        let said = |prefix: &str| read(prefix).unwrap_or_default();
        assert_eq!(
            said("DPI|default"),
            "no policy of tier default admits it (ingress): its end denies"
        );
        assert_eq!(
            said("DPE2|default.deny-metadata"),
            "egress rule 2 of policy default.deny-metadata denies it"
        );
        assert_eq!(
            said("DPI|shop/knp.default.cart"),
            "no rule of policy shop/knp.default.cart matches it (ingress)"
        );
        assert_eq!(
            said("DRI"),
            "no profile of the endpoint admits it (ingress)"
        );
    }

    #[test]
    fn what_is_no_decision_of_calico_s_is_not_read() {
        let hashed = format!("DPI0|{}", "x".repeat(58));
        for prefix in [
            "",
            "D",
            "DPI",
            "API0|default.allow",
            "DPX|default",
            "DPI0x|default.deny",
            "DPI|",
            "DROP by policy shop/cart",
            "Dé|default",
            &hashed,
        ] {
            assert_eq!(read(prefix), None, "{prefix}");
        }
    }
}
