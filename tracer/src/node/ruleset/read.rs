//! Reads the ruleset of a network namespace, with the tools there are.
//!
//! Nothing is changed by reading: `iptables-legacy-save` would make the tables that it is asked
//! for, and load their modules, so it is asked only for those that the kernel says there are. nft is
//! asked only where nf_tables is in the kernel: elsewhere it has no rules.
//!
//! Rulesets can be large, and a drop is about one hook: of tables that have no chain there, only
//! the chains are read, which is quick. Tables of iptables-nft are read by its own tool alone, which
//! shows what nft does not; other large tables are listed by the kernel itself.

use std::{
    fs,
    time::{Duration, Instant},
};

use super::{
    Ruleset,
    command::{Failure, run},
    condition::{Condition, Field, Values},
    ebtables, fix, ipset, iptables,
    iptables_listing::{by_iptables, refine},
    model::{Backend, Base, Family, Rule, Statement, Table},
    nft, nft_kernel,
    packet::HookPacket,
};
use crate::net::{Subsystem, netns::Inside, nft_rules};

/// What is kept of the time for turning text into rules.
const FOR_PARSING: Duration = Duration::from_millis(50);

impl Ruleset {
    /// The ruleset of the network namespace that this thread is in. What could not be read is in
    /// [`Ruleset::gaps`].
    pub(crate) fn read(inside: &Inside) -> Self {
        let all = |_, _: &str| true;
        let (mut ruleset, deadline) = Self::begin(inside);
        ruleset.read_nft(deadline);
        for family in [Family::Ip, Family::Ip6] {
            ruleset.read_xtables_of_nft(family, deadline);
            ruleset.read_legacy(family, &all, deadline);
        }
        ruleset.read_ipsets(deadline);
        ruleset.note_translation();
        ruleset
    }

    /// What could have dropped the packet, and its answers: the rules of tables that have a chain at
    /// their hooks.
    pub(crate) fn read_for(inside: &Inside, packet: &HookPacket) -> Self {
        let is_wanted = Self::is_wanted(packet);
        let (mut ruleset, deadline) = Self::begin(inside);
        ruleset.read_nft_at(&is_wanted, deadline);
        for family in [Family::Ip, Family::Ip6] {
            ruleset.read_legacy(family, &is_wanted, deadline);
        }
        ruleset.read_ipsets(deadline);
        ruleset.note_translation();
        ruleset
    }

    /// Whether the packet, or its answers, can meet chains of a family at a hook.
    pub(super) fn is_wanted(packet: &HookPacket) -> impl Fn(Family, &str) -> bool {
        let answer = fix::answer_to(packet);
        move |family, hook| {
            let answer = answer.as_ref();
            packet.meets(family, hook) || answer.is_some_and(|answer| answer.meets(family, hook))
        }
    }

    fn begin(inside: &Inside) -> (Self, Instant) {
        let deadline = inside
            .deadline
            .checked_sub(FOR_PARSING)
            .unwrap_or(inside.deadline);
        let ruleset = Self {
            nft_read: true,
            legacy_read: true,
            ..Self::default()
        };
        (ruleset, deadline)
    }

    /// Whether some rule that was read asks for conntrack's state, so that the kernel keeps it.
    pub(super) fn asks_for_states(&self) -> bool {
        let chains = self.tables.iter().flat_map(|table| &table.chains);
        let mut rules = chains.flat_map(|chain| &chain.rules);
        self.translates || rules.any(|rule| rule.statements.iter().any(asks_for_state))
    }

    /// Notes whether the tables that were read translate, and whether they use zones.
    fn note_translation(&mut self) {
        let chains = self.tables.iter().flat_map(|table| &table.chains);
        let mut bases = chains.filter_map(|chain| chain.base.as_ref());
        self.translates |= bases.any(|base| base.is_nat);
        let chains = self.tables.iter().flat_map(|table| &table.chains);
        let mut statements = chains
            .flat_map(|chain| &chain.rules)
            .flat_map(|rule| &rule.statements);
        self.has_zones = statements.any(|statement| matches!(statement, Statement::Zone(_)));
    }

    /// The chains of all tables of nf_tables, and the rules of those with a wanted hook.
    fn read_nft_at(&mut self, is_wanted: Wanted<'_>, deadline: Instant) {
        if !Subsystem::NfTables.is_in_kernel() {
            return;
        }
        let chains = match run("nft", &["-j", "list", "chains"], deadline) {
            Ok(json) => nft::parse_chains(&json).map_err(|error| format!("{error:#}")),
            Err(failure) => Err(failure.of_nft()),
        };
        let mut tables = match chains {
            Ok(tables) => tables,
            Err(gap) => {
                self.nft_read = false;
                self.gaps.push(gap);
                return;
            }
        };
        // Where time runs out, it should be over what drops least.
        tables.sort_by_key(|table| bases(table).any(|base| base.is_nat));
        for table in tables {
            let wanted = bases(&table).any(|base| is_wanted(table.family, &base.hook));
            match wanted {
                true => self.read_table(table, deadline),
                false => self.tables.push(table),
            }
        }
        if nft::lacks_devices(&self.tables)
            && let Ok(text) = run("nft", &["list", "chains"], deadline)
        {
            nft::add_devices(&mut self.tables, &text);
        }
    }

    /// One table of nf_tables, of which the chains are known.
    fn read_table(&mut self, chains: Table, deadline: Instant) {
        let (family, name) = (chains.family, chains.name.as_str());
        let mut gap = None;
        if chains.has_names_of_iptables() {
            match by_iptables(family, name, deadline) {
                Ok(Some(table)) => {
                    self.tables.push(iptables::with_bases(table, &chains));
                    return;
                }
                // It has rules that only nft can show.
                Ok(None) => {}
                Err(reason) => gap = Some(reason),
            }
        }
        if let Some(table) = by_kernel(&chains) {
            self.tables.push(table);
            return;
        }
        let listed = run(
            "nft",
            &["-j", "list", "table", family.name(), name],
            deadline,
        );
        let parsed = match listed {
            Ok(json) => nft::parse(&json).map_err(|error| format!("{error:#}")),
            Err(failure) => Err(failure.of_nft()),
        };
        match parsed {
            Ok(mut tables) => {
                // Its own tool was not able to show it, which matters only for its own rules.
                let is_foreign = tables.iter().any(Table::has_opaque_rules);
                self.gaps.extend(gap.filter(|_| is_foreign));
                for table in &mut tables {
                    if !is_named_by_ebtables(table, deadline) {
                        table.name_opaque_rules();
                    }
                }
                self.tables.extend(tables);
            }
            Err(reason) => {
                self.nft_read = false;
                self.gaps.push(format!("table {family} {name}: {reason}"));
                self.tables.push(chains);
            }
        }
    }

    fn read_nft(&mut self, deadline: Instant) {
        if !Subsystem::NfTables.is_in_kernel() {
            return;
        }
        let parsed = match run("nft", &["-j", "list", "ruleset"], deadline) {
            Ok(json) => nft::parse(&json).map_err(|error| format!("{error:#}")),
            Err(failure) => Err(failure.of_nft()),
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
            let has_rules = table.chains.iter().any(|chain| !chain.rules.is_empty());
            if table.family != family
                || table.backend != Backend::Nft
                || !(table.has_opaque_rules() || table.has_names_of_iptables() && has_rules)
            {
                continue;
            }
            let shown = by_iptables(family, &table.name, deadline);
            self.gaps.extend(refine(table, shown));
        }
    }

    fn read_legacy(&mut self, family: Family, is_wanted: Wanted<'_>, deadline: Instant) {
        let (names, tool) = match family {
            Family::Ip6 => ("ip6_tables_names", "ip6tables-legacy-save"),
            _ => ("ip_tables_names", "iptables-legacy-save"),
        };
        // Without the module, there is no such file, and there are no tables.
        let names = fs::read_to_string(format!("/proc/thread-self/net/{names}"));
        for name in names.unwrap_or_default().split_whitespace() {
            if name == "nat" {
                self.translates = true;
            }
            if !iptables::hooks(name).any(|hook| is_wanted(family, hook)) {
                continue;
            }
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
    /// The first was not printed by nft.
    #[cfg(test)]
    pub(crate) fn from_texts(json: &str, iptables_nft: &str, ipsets: &str) -> anyhow::Result<Self> {
        let mut ruleset = Self {
            tables: nft::parse(json)?,
            ipsets: ipset::parse(ipsets),
            gaps: Vec::new(),
            nft_read: true,
            legacy_read: true,
            translates: false,
            has_zones: false,
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

/// Whether chains of a family at a hook are looked at.
type Wanted<'a> = &'a dyn Fn(Family, &str) -> bool;

fn bases(table: &Table) -> impl Iterator<Item = &Base> {
    table.chains.iter().filter_map(|chain| chain.base.as_ref())
}

/// From this many rules on, nft takes longer than the kernel's own listing is worth.
const MANY: usize = 1000;

/// A table with many rules, all of them plain, as the kernel lists it.
fn by_kernel(chains: &Table) -> Option<Table> {
    let rules = nft_rules(nft_kernel::number(chains.family), &chains.name).ok()?;
    (rules.len() >= MANY).then_some(())?;
    nft_kernel::fill(chains.clone(), &rules)
}

/// Gives the rules of ebtables their own texts. Returns whether all have them that need them.
fn is_named_by_ebtables(table: &mut Table, deadline: Instant) -> bool {
    if !table.has_opaque_rules() || !ebtables::is_its(table) {
        return false;
    }
    let saved = run("ebtables-nft-save", &[], deadline);
    saved.is_ok_and(|saved| ebtables::name_rules(table, &saved))
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
