//! What is said of the API server: each thing once, and when it is over.

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

/// How it stands with the API server, as the user has been told.
pub(super) struct Health {
    /// The server, for the user: its address and how that is known.
    server: String,
    /// The kinds of which nothing has been heard yet.
    awaited: BTreeSet<Kind>,
    /// Whether it is yet to be heard if there are policies of other kinds.
    awaits_foreign: bool,
    settled: bool,
    /// The kinds that fail in a way that concerns them all.
    failing: BTreeSet<Kind>,
    /// Such a failure has been told, and it has not been told that it is over.
    told: bool,
    /// Kinds that may not be listed or watched: to be told together.
    forbidden: BTreeMap<Kind, (Verb, Option<String>)>,
    /// Kinds that failed for a reason of their own, by that reason: to be reported together.
    refused: BTreeMap<(String, &'static str), BTreeSet<Kind>>,
    /// The kinds of whose own failure the user knows.
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
            told: false,
            forbidden: BTreeMap::new(),
            refused: BTreeMap::new(),
            said: BTreeSet::new(),
        }
    }

    /// Whether everybody has been told not to wait any longer.
    pub(super) fn is_settled(&self) -> bool {
        self.settled
    }

    /// What is to be told when this has been heard of a kind.
    pub(super) fn heard(&mut self, kind: Kind, state: State) -> Vec<Change> {
        let mut notes = Vec::new();
        self.awaited.remove(&kind);
        match state {
            State::Known => {
                self.failing.remove(&kind);
                if self.told && self.failing.is_empty() && self.awaited.is_empty() {
                    self.told = false;
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
                return self.heard(kind, State::Failed(verb, Failure::Refused(why)));
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
                if !mem::replace(&mut self.told, true) {
                    notes.push(format!(
                        "{} does not accept these credentials ({why}): cluster objects {}; the \
                         token may have expired: give a kubeconfig with which `kubectl get pods` \
                         works by --kubeconfig, or ask nobody with --no-kube",
                        self.server,
                        unknown(verb),
                    ));
                }
            }
            State::Failed(verb, Failure::Unreachable(why)) => {
                self.failing.insert(kind);
                if !mem::replace(&mut self.told, true) {
                    notes.push(format!(
                        "{} does not answer ({why}): cluster objects {}; it is asked again",
                        self.server,
                        unknown(verb),
                    ));
                }
            }
        }
        self.and_settle(notes)
    }

    /// What is to be told when policies of other kinds have been looked for.
    pub(super) fn heard_of_foreign(&mut self) -> Vec<Change> {
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

    /// What is to be told when nobody should wait any longer, `seconds` after the start.
    pub(super) fn overdue(&mut self, seconds: u64) -> Vec<Change> {
        if mem::replace(&mut self.settled, true) {
            return Vec::new();
        }
        let mut notes = Vec::from_iter(self.forbidden_note());
        notes.extend(self.refusal_notes());
        if !self.awaited.is_empty() && !mem::replace(&mut self.told, true) {
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

    /// Whether there is more to be told as soon as no more can be expected to come with it.
    pub(super) fn is_collecting(&self) -> bool {
        self.settled && !self.refused.is_empty()
    }

    /// What is to be told then.
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

    /// All kinds that are forbidden and of which the user does not know yet.
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
            // Not a role that anybody should widen.
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

/// What a failure means for what is known.
fn unknown(verb: Verb) -> &'static str {
    match verb {
        Verb::List => "come from elsewhere or not at all",
        Verb::Watch => "stay as they were last seen",
    }
}

fn names(kinds: &BTreeSet<Kind>, name: impl Fn(Kind) -> &'static str) -> String {
    let names: Vec<&str> = kinds.iter().copied().map(name).collect();
    names.join(", ")
}

#[cfg(test)]
mod tests;
