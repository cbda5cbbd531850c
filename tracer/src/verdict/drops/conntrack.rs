//! Connection tracking itself dropped it.

use super::{Concern, Finding, is_netfilter, unruled::no_rule_can};
use crate::{
    decode::{drop::DropFacts, tracked::Tracked},
    model::{
        Confidence::{Confirmed, Likely},
        Fix, Hook, Point, Site,
    },
    node::{change, conntrack::Conntrack, facts::NodeFacts, ruleset::Suspect},
    words,
};

/// Chains with a lower priority come before conntrack (`NF_IP_PRI_CONNTRACK` of
/// include/uapi/linux/netfilter_ipv4.h).
const CONNTRACK: i64 = -200;

/// Conntrack drops new connections itself, where it first sees them.
pub(super) fn may_be_full(facts: &DropFacts) -> Concern {
    let is_first_seen = matches!(facts.hook, Some(Hook::Prerouting | Hook::Output));
    let may_be_new = matches!(facts.tracked, Tracked::Nothing | Tracked::Unknown);
    Concern::maybe(is_netfilter(facts) && is_first_seen && may_be_new)
}

/// New connections find no room.
pub(super) fn table_full(facts: &DropFacts, node: &NodeFacts) -> Option<Finding> {
    let table = node.conntrack.as_ref()?;
    if !table.is_full() {
        return was_full(facts, node, table);
    }
    let rules = node.suspects.as_ref().map(|suspects| &suspects.rules);
    let comes_first = |rule: &Suspect| rule.priority < CONNTRACK;
    if rules.is_some_and(|rules| rules.iter().any(comes_first)) {
        return None;
    }
    let is_only = node
        .suspects
        .as_ref()
        .is_some_and(|suspects| suspects.complete && suspects.rules.is_empty());
    let refused = table.stats.get("drop").copied();
    let is_seen = is_only && facts.tracked == Tracked::Nothing && refused != Some(0);
    let mut finding = Finding::new(
        Point::Conntrack,
        if is_seen { Confirmed } else { Likely },
        "the conntrack table is full: new connections are dropped",
    );
    finding.evidence.push(format!(
        "{} of {} entries are in use",
        table.count, table.max
    ));
    if let Some(refused) = refused {
        finding.evidence.push(format!(
            "conntrack has refused {} so far",
            words::count(refused, "packet")
        ));
    }
    finding.evidence.push(match rules.map(Vec::as_slice) {
        Some([]) => "no rule at this hook could have dropped it".to_owned(),
        Some([rule, ..]) => format!("it can also have been {}", rule.describe()),
        None => "the ruleset was not read".to_owned(),
    });
    finding.fix.push(larger(table));
    Some(finding)
}

/// The table has room again, and has refused packets since the trace began.
fn was_full(facts: &DropFacts, node: &NodeFacts, table: &Conntrack) -> Option<Finding> {
    let refused = *table.moved.as_ref()?.get("drop")?;
    let failed = table.counted("insert_failed").unwrap_or_default();
    // What could not be inserted is counted as dropped, too.
    // Which packets were counted is not known: a BPF program may have dropped this one.
    let is_sure = facts.tracked == Tracked::Nothing
        && no_rule_can(node)
        && node.netfilter_programs.is_empty()
        && refused > failed;
    is_sure.then_some(())?;
    let why = format!(
        "conntrack had no room or no memory for a new connection (drop grew by {})",
        refused - failed
    );
    let mut finding = Finding::new(Point::Conntrack, Likely, why);
    finding.evidence.push(format!(
        "{} of {} entries are in use now",
        table.count, table.max
    ));
    finding.fact("no rule at this hook could have dropped it");
    finding.fix.push(larger(table));
    Some(finding)
}

/// The table has room.
pub(super) fn has_room(_: &DropFacts, node: &NodeFacts) -> Option<String> {
    let table = node.conntrack.as_ref().filter(|table| !table.is_full())?;
    Some(match table.max {
        0 => format!("{} entries are in use, and there is no limit", table.count),
        max => format!("{} of {max} entries are in use", table.count),
    })
}

/// A larger table. The limit of all namespaces is the host's.
fn larger(table: &Conntrack) -> Fix {
    let path = "net/netfilter/nf_conntrack_max";
    let larger = change::sysctl(path, table.max, table.max * 2);
    if table.is_settable {
        larger
    } else {
        larger.at(Site::Host)
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        decode::tracked::Tracked,
        kernel::probes::query::LoadedProgram,
        model::{Hook, Point},
        node::{
            conntrack::{Conntrack, Stats},
            facts::NodeFacts,
            ruleset::Suspects,
        },
        verdict::{drop::judge, drops::tests},
    };

    /// A namespace in which no rule drops, with these counts ever, and these since the trace began.
    fn node(stats: &[(&str, u64)], moved: &[(&str, u64)]) -> NodeFacts {
        let counted = |of: &[(&str, u64)]| -> Stats {
            of.iter()
                .map(|(name, count)| ((*name).to_owned(), *count))
                .collect()
        };
        NodeFacts {
            suspects: Some(Suspects {
                complete: true,
                translates: true,
                ..Suspects::default()
            }),
            conntrack: Some(Conntrack {
                max: 65_536,
                stats: counted(stats),
                moved: Some(counted(moved)),
                ..Conntrack::default()
            }),
            ..NodeFacts::default()
        }
    }

    fn point(hook: Hook, tracked: Tracked, node: &NodeFacts) -> Point {
        let mut facts = tests::facts("NETFILTER_DROP", "nf_hook_slow");
        facts.hook = Some(hook);
        facts.tracked = tracked;
        judge(&facts, node).point
    }

    fn with_program(node: NodeFacts) -> NodeFacts {
        let program = LoadedProgram {
            id: 1,
            name: "drops".to_owned(),
            is_ours: false,
        };
        NodeFacts {
            netfilter_programs: vec![program],
            ..node
        }
    }

    #[test]
    fn only_a_count_that_grew_in_the_trace_is_a_cause() {
        let at_first = |node: &NodeFacts| point(Hook::Prerouting, Tracked::Nothing, node);
        let none = [("drop", 0), ("insert_failed", 0)];
        let one = [("drop", 1), ("insert_failed", 0)];
        let failed = [("drop", 1), ("insert_failed", 1)];
        assert_eq!(at_first(&node(&one, &one)), Point::Conntrack);
        assert_ne!(at_first(&node(&one, &none)), Point::Conntrack);
        // What could not be inserted is dropped somewhere else.
        assert_ne!(at_first(&node(&failed, &failed)), Point::Conntrack);
        let at_last = |node: &NodeFacts| point(Hook::Postrouting, Tracked::New, node);
        assert_eq!(at_last(&node(&failed, &failed)), Point::Conntrack);
        assert_ne!(at_last(&node(&failed, &none)), Point::Conntrack);
    }

    #[test]
    fn a_count_is_no_cause_where_a_program_can_be() {
        let one = [("drop", 1), ("insert_failed", 0)];
        let failed = [("drop", 1), ("insert_failed", 1)];
        let full = with_program(node(&one, &one));
        assert_eq!(
            point(Hook::Prerouting, Tracked::Nothing, &full),
            Point::Firewall
        );
        let uninserted = with_program(node(&failed, &failed));
        assert_eq!(
            point(Hook::Postrouting, Tracked::New, &uninserted),
            Point::Firewall
        );
    }
}
