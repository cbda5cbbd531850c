//! The rule that led a packet to an address which no host has: it may be left from a container, or from an
//! endpoint of a Service, that is gone.

use crate::{
    model::{Fix, address},
    node::{bypass::Leads, ruleset::Owner},
};

/// The rule, and the one that it keeps the packet from.
pub(super) fn in_words(leads: &Leads) -> Vec<String> {
    let mut facts = vec![format!(
        "the rule that leads there: {}",
        leads.rule.describe()
    )];
    facts.extend(leads.instead.as_ref().map(|(other, rule)| {
        let other = address(*other);
        format!(
            "without it, another one leads to {other}: {}",
            rule.describe()
        )
    }));
    facts
}

/// Removes the rule, where another one would do. Who made it may make it anew otherwise.
pub(super) fn repair(leads: &Leads) -> Option<Fix> {
    let (other, _) = leads.instead.as_ref()?;
    let whose = match leads.rule.owner {
        Owner::User => String::new(),
        owner => format!(" of {}", owner.name()),
    };
    Some(Fix::advice(format!(
        "if that rule{whose} is left from a container or an endpoint that is gone, remove it: what comes \
         next leads to {}",
        address(*other)
    )))
}
