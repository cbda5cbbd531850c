//! What is reported about the API server: each problem once, and when it is over.

use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
};

use super::{
    failure::Failure,
    reflect::{State, Verb},
    resource::{KINDS, in_roles, plural},
};
use crate::cluster::{update::Change, view::Kind};

/// The state of the API server, as reported to the user.
pub(super) struct Health {
    /// The server, as the user sees it: its address and where that comes from.
    server: String,
    /// The kinds without a first answer.
    awaited: BTreeSet<Kind>,
    /// Whether it is still unknown if there are policies of other kinds.
    awaits_foreign: bool,
    settled: bool,
    /// The kinds that fail in a way that concerns them all.
    failing: BTreeSet<Kind>,
    /// Such a failure has been reported, and its end has not.
    reported: bool,
    /// Kinds that may not be listed or watched: to be reported together.
    forbidden: BTreeMap<Kind, (Verb, Option<String>)>,
    /// Kinds that failed for a reason of their own, by that reason: to be reported together.
    refused: BTreeMap<(String, &'static str), BTreeSet<Kind>>,
    /// The kinds whose own failure has been reported.
    said: BTreeSet<Kind>,
}

impl Health {
    /// Nothing is known yet.
    pub(super) fn new(server: String) -> Self {
        Self {
            server,
            awaited: BTreeSet::from(KINDS),
            awaits_foreign: true,
            settled: false,
            failing: BTreeSet::new(),
            reported: false,
            forbidden: BTreeMap::new(),
            refused: BTreeMap::new(),
            said: BTreeSet::new(),
        }
    }

    /// Whether [`Change::Settled`] has been sent.
    pub(super) fn is_settled(&self) -> bool {
        self.settled
    }

    /// Takes a kind's new state, and returns what to report.
    pub(super) fn set_state(&mut self, kind: Kind, state: State) -> Vec<Change> {
        let mut notes = Vec::new();
        self.awaited.remove(&kind);
        match state {
            State::Known => {
                self.failing.remove(&kind);
                if self.reported && self.failing.is_empty() && self.awaited.is_empty() {
                    self.reported = false;
                    notes.push(format!("{} answers now", self.server));
                }
            }
            State::Failed(_, Failure::Expired) => {}
            State::Failed(verb, Failure::Forbidden(user)) => {
                self.failing.remove(&kind);
                if self.said.insert(kind) {
                    self.forbidden.insert(kind, (verb, user));
                }
            }
            State::Failed(verb, Failure::TooLarge(limit)) => {
                let why = Failure::too_large(limit);
                return self.set_state(kind, State::Failed(verb, Failure::Refused(why)));
            }
            State::Failed(verb, Failure::Refused(why)) => {
                self.failing.remove(&kind);
                if self.said.insert(kind) {
                    let key = (why, unknown(verb));
                    self.refused.entry(key).or_default().insert(kind);
                }
            }
            State::Failed(verb, Failure::Unauthorized(why)) => {
                self.failing.insert(kind);
                if !mem::replace(&mut self.reported, true) {
                    notes.push(format!(
                        "{} does not accept these credentials ({why}): cluster objects {}; the \
                         token may have expired: give a kubeconfig with which `kubectl get pods` \
                         works by --kubeconfig, or disable cluster lookups with --no-kube",
                        self.server,
                        unknown(verb),
                    ));
                }
            }
            State::Failed(verb, Failure::Unreachable(why)) => {
                self.failing.insert(kind);
                if !mem::replace(&mut self.reported, true) {
                    notes.push(format!(
                        "{} does not answer ({why}): cluster objects {}; whydrop will retry",
                        self.server,
                        unknown(verb),
                    ));
                }
            }
        }
        self.and_settle(notes)
    }

    /// Takes note that policies of other kinds were looked for, and returns what to report.
    pub(super) fn looked_for_foreign(&mut self) -> Vec<Change> {
        self.awaits_foreign = false;
        self.and_settle(Vec::new())
    }

    fn and_settle(&mut self, mut notes: Vec<String>) -> Vec<Change> {
        let settles = self.awaited.is_empty() && !self.awaits_foreign && !self.settled;
        if settles || self.settled {
            notes.extend(self.forbidden_note());
        }
        if settles {
            notes.extend(self.refusal_notes());
        }
        let mut changes: Vec<Change> = notes.into_iter().map(Change::Note).collect();
        if settles {
            self.settled = true;
            changes.push(Change::Settled);
        }
        changes
    }

    /// Ends the wait for the server, `seconds` after the start, and returns what to report.
    pub(super) fn overdue(&mut self, seconds: u64) -> Vec<Change> {
        if mem::replace(&mut self.settled, true) {
            return Vec::new();
        }
        let mut notes = Vec::from_iter(self.forbidden_note());
        notes.extend(self.refusal_notes());
        if !self.awaited.is_empty() && !mem::replace(&mut self.reported, true) {
            let late = if self.awaited.len() == KINDS.len() {
                "cluster objects".to_owned()
            } else {
                names(&self.awaited, plural)
            };
            notes.push(format!(
                "{} has not answered within {seconds} s: until it does, {late} {}",
                self.server,
                unknown(Verb::List),
            ));
        }
        let notes = notes.into_iter().map(Change::Note);
        notes.chain([Change::Settled]).collect()
    }

    /// Whether failures are being collected, to be reported together.
    pub(super) fn is_collecting(&self) -> bool {
        self.settled && !self.refused.is_empty()
    }

    /// Returns the report on the collected failures.
    pub(super) fn collected(&mut self) -> Vec<Change> {
        self.refusal_notes().into_iter().map(Change::Note).collect()
    }

    fn refusal_notes(&mut self) -> Vec<String> {
        let note = |((why, known), kinds): ((String, &str), BTreeSet<Kind>)| {
            let kinds = names(&kinds, plural);
            format!("{}: {kinds}: {why}: they {known}", self.server)
        };
        mem::take(&mut self.refused).into_iter().map(note).collect()
    }

    /// A note on all forbidden kinds that have not been reported.
    fn forbidden_note(&mut self) -> Option<String> {
        let forbidden = mem::take(&mut self.forbidden);
        let kinds: BTreeSet<Kind> = forbidden.keys().copied().collect();
        let (verb, user) = forbidden.into_values().next()?;
        let what = names(&kinds, plural);
        let who = user.as_deref().unwrap_or("this user");
        let verb_name = match verb {
            Verb::List => "list",
            Verb::Watch => "watch",
        };
        let resources: Vec<String> = kinds.iter().copied().map(in_roles).collect();
        let way_out = match user.as_deref() {
            // Not a role that should be extended.
            Some(user) if user.starts_with("system:node:") => {
                "use --kubeconfig with credentials that may list them".to_owned()
            }
            user => {
                let subject =
                    match user.and_then(|user| user.strip_prefix("system:serviceaccount:")) {
                        Some(account) => format!("--serviceaccount={account}"),
                        None => format!("--user={}", user.unwrap_or("NAME")),
                    };
                format!(
                    "allow it: kubectl create clusterrole whydrop-extra --verb=list,watch \
                     --resource={} && kubectl create clusterrolebinding whydrop-extra \
                     --clusterrole=whydrop-extra {subject}",
                    resources.join(","),
                )
            }
        };
        Some(format!(
            "{} forbids {who} to {verb_name} {what} (403): they {}; {way_out}",
            self.server,
            unknown(verb),
        ))
    }
}

/// What a failure means for the objects.
fn unknown(verb: Verb) -> &'static str {
    match verb {
        Verb::List => "come from other sources, if any",
        Verb::Watch => "stay as last seen",
    }
}

fn names(kinds: &BTreeSet<Kind>, name: impl Fn(Kind) -> &'static str) -> String {
    let names: Vec<&str> = kinds.iter().copied().map(name).collect();
    names.join(", ")
}

#[cfg(test)]
mod tests;
