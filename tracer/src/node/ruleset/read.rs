//! Reads the ruleset of a network namespace, with the tools there are.
//!
//! Nothing is changed by reading: `iptables-legacy-save` would make the tables that it is asked
//! for, and load their modules, so it is asked only for those that the kernel says there are.

use std::{
    fs,
    time::{Duration, Instant},
};

use super::{
    Ruleset,
    command::{Failure, run},
    condition::{Condition, Field, Values},
    ipset, iptables,
    model::{Backend, Family, Rule, Statement},
    nft,
};
use crate::net::netns::Inside;

/// What is kept of the time for turning text into rules.
const FOR_PARSING: Duration = Duration::from_millis(50);

impl Ruleset {
    /// The ruleset of the network namespace that this thread is in. What could not be read is in
    /// [`Ruleset::gaps`].
    pub fn read(inside: &Inside) -> Self {
        let deadline = inside
            .deadline
            .checked_sub(FOR_PARSING)
            .unwrap_or(inside.deadline);
        let mut ruleset = Self {
            nft_read: true,
            legacy_read: true,
            ..Self::default()
        };
        ruleset.read_nft(deadline);
        for family in [Family::Ip, Family::Ip6] {
            ruleset.read_xtables_of_nft(family, deadline);
            ruleset.read_legacy(family, deadline);
        }
        ruleset.read_ipsets(deadline);
        ruleset.note_translation();
        ruleset
    }

    /// Whether some rule that was read asks for conntrack's state, so that the kernel keeps it.
    pub(super) fn asks_for_states(&self) -> bool {
        let chains = self.tables.iter().flat_map(|table| &table.chains);
        let mut rules = chains.flat_map(|chain| &chain.rules);
        self.translates || rules.any(|rule| rule.statements.iter().any(asks_for_state))
    }

    /// Notes whether the tables that were read translate.
    fn note_translation(&mut self) {
        let chains = self.tables.iter().flat_map(|table| &table.chains);
        let mut bases = chains.filter_map(|chain| chain.base.as_ref());
        self.translates |= bases.any(|base| base.is_nat);
    }

    fn read_nft(&mut self, deadline: Instant) {
        let parsed = match run("nft", &["-j", "list", "ruleset"], deadline) {
            Ok(json) => nft::parse(&json).map_err(|error| format!("{error:#}")),
            Err(Failure::Missing) => Err("there is no nft to read nf_tables with".to_owned()),
            Err(Failure::Because(reason)) => Err(reason),
        };
        match parsed {
            Ok(mut tables) => {
                if nft::lacks_devices(&tables)
                    && let Ok(text) = run("nft", &["list", "chains"], deadline)
                {
                    nft::add_devices(&mut tables, &text);
                }
                self.tables.extend(tables);
            }
            Err(gap) => {
                self.nft_read = false;
                self.gaps.push(gap);
            }
        }
    }

    /// nft shows what iptables-nft made without the details of iptables' own matches.
    fn read_xtables_of_nft(&mut self, family: Family, deadline: Instant) {
        for table in &mut self.tables {
            let mut rules = table.chains.iter().flat_map(|chain| &chain.rules);
            let is_foreign = rules.clone().any(|rule| rule.text.contains("xt "));
            if table.family != family
                || table.backend != Backend::Nft
                || !(is_foreign || table.has_names_of_iptables() && rules.next().is_some())
            {
                continue;
            }
            let tool = match family {
                Family::Ip6 => "ip6tables-nft-save",
                _ => "iptables-nft-save",
            };
            let refined = match run(tool, &["-c", "-t", &table.name], deadline) {
                Ok(text) => {
                    let by_iptables = iptables::parse(&text, Backend::Nft, family);
                    iptables::refine(table, &by_iptables)
                }
                Err(Failure::Missing) => Err(format!(
                    "there is no {tool} to read all of the rules in table {family} {} with",
                    table.name
                )),
                Err(Failure::Because(reason)) => Err(reason),
            };
            self.gaps.extend(refined.err());
        }
    }

    fn read_legacy(&mut self, family: Family, deadline: Instant) {
        let (names, tool) = match family {
            Family::Ip6 => ("ip6_tables_names", "ip6tables-legacy-save"),
            _ => ("ip_tables_names", "iptables-legacy-save"),
        };
        // Without the module, there is no such file, and there are no tables.
        let names = fs::read_to_string(format!("/proc/thread-self/net/{names}"));
        for name in names.unwrap_or_default().split_whitespace() {
            match run(tool, &["-c", "-t", name], deadline) {
                Ok(text) => self
                    .tables
                    .extend(iptables::parse(&text, Backend::Legacy, family)),
                Err(failure) => {
                    self.legacy_read = false;
                    self.gaps.push(match failure {
                        Failure::Missing => format!("there is no {tool} to read table {name} with"),
                        Failure::Because(reason) => reason,
                    });
                }
            }
        }
    }

    fn read_ipsets(&mut self, deadline: Instant) {
        let rules = self.tables.iter().flat_map(|table| &table.chains);
        if !rules.flat_map(|chain| &chain.rules).any(asks_an_ipset) {
            return;
        }
        match run("ipset", &["list"], deadline) {
            Ok(text) => self.ipsets = ipset::parse(&text),
            Err(Failure::Missing) => {
                let gap = "there is no ipset to read the sets with that rules ask";
                self.gaps.push(gap.to_owned());
            }
            Err(Failure::Because(reason)) => self.gaps.push(reason),
        }
    }

    /// A ruleset from texts that were read before: nft's JSON, `iptables-nft-save -c` and `ipset
    /// list`.
    ///
    /// # Errors
    ///
    /// The first is no JSON of nft's.
    #[cfg(test)]
    pub fn from_texts(json: &str, iptables_nft: &str, ipsets: &str) -> anyhow::Result<Self> {
        let mut ruleset = Self {
            tables: nft::parse(json)?,
            ipsets: ipset::parse(ipsets),
            gaps: Vec::new(),
            nft_read: true,
            legacy_read: true,
            translates: false,
        };
        ruleset.note_translation();
        let by_iptables = iptables::parse(iptables_nft, Backend::Nft, Family::Ip);
        for table in &mut ruleset.tables {
            if table.family == Family::Ip && by_iptables.iter().any(|t| t.name == table.name) {
                ruleset
                    .gaps
                    .extend(iptables::refine(table, &by_iptables).err());
            }
        }
        Ok(ruleset)
    }
}

fn asks_for_state(statement: &Statement) -> bool {
    match statement {
        Statement::Match(Condition::State { .. }) => true,
        Statement::VerdictMap { key, .. } => key.contains(&Field::State),
        _ => false,
    }
}

fn asks_an_ipset(rule: &Rule) -> bool {
    rule.statements.iter().any(|statement| {
        matches!(
            statement,
            Statement::Match(Condition::In {
                values: Values::IpSet { .. },
                ..
            })
        )
    })
}
