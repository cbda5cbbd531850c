//! Questions to the node about drops: asked once for alike ones, answered off the path of events.
//!
//! A drop whose verdict the node can sharpen waits for the answer, a fraction of a second at most.
//! Under a storm of unlike drops the questions are limited; what is not asked is judged as it is.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::task::JoinSet;

use crate::{
    decode::drop::DropFacts,
    engine::fold::Folded,
    node::facts::{NodeFacts, Subject, Wants},
    verdict,
};

/// Questions that may be open at once.
const MAX_OPEN: usize = 16;
/// How long an answer holds. Rules and routes change, and retransmissions come seconds apart.
const HOLDS: Duration = Duration::from_secs(10);
/// Answers that are kept.
const MAX_KEPT: usize = 1024;

/// What waits for an answer.
pub(crate) enum Waiting {
    /// A drop that its attempt must hear of.
    Event(Box<DropFacts>),
    /// A record to be shown.
    Folded(Folded),
}

/// An answer, and all that has waited for it.
pub(crate) struct Answered {
    pub(crate) facts: Arc<NodeFacts>,
    pub(crate) waiting: Vec<Waiting>,
}

/// The questions of a running trace.
#[derive(Default)]
pub(crate) struct Inquiries {
    open: JoinSet<(Subject, NodeFacts)>,
    known: HashMap<Subject, Known>,
}

enum Known {
    Asked(Vec<Waiting>),
    Answered(Instant, Arc<NodeFacts>),
}

impl Inquiries {
    /// The node's facts about a drop, if they are known or there is nothing to ask. Otherwise `None`:
    /// the drop waits, and comes back by [`Inquiries::next`].
    pub(crate) fn facts_or_wait(&mut self, waiting: Waiting) -> Option<(Waiting, Arc<NodeFacts>)> {
        let facts = match &waiting {
            Waiting::Event(facts) => facts,
            Waiting::Folded(folded) => &folded.facts,
        };
        let wants = verdict::drop::wants(facts);
        let subject = Subject::of(facts).filter(|_| wants != Wants::default());
        let Some(subject) = subject else {
            return Some((waiting, Arc::default()));
        };
        match self.known.get_mut(&subject) {
            Some(Known::Answered(at, answer)) if at.elapsed() < HOLDS => {
                return Some((waiting, Arc::clone(answer)));
            }
            Some(Known::Asked(others)) => {
                others.push(waiting);
                return None;
            }
            _ => {}
        }
        if self.open.len() >= MAX_OPEN {
            return Some((waiting, Arc::default()));
        }
        if self.known.len() >= MAX_KEPT {
            self.known
                .retain(|_, known| matches!(known, Known::Asked(_)));
        }
        let question = (subject.clone(), (**facts).clone());
        self.open.spawn(async move {
            let (subject, facts) = question;
            (subject, NodeFacts::gather(facts, wants).await)
        });
        self.known.insert(subject, Known::Asked(vec![waiting]));
        None
    }

    /// The next answer; never if nothing was asked.
    pub(crate) async fn next(&mut self) -> Answered {
        loop {
            match self.open.join_next().await {
                Some(Ok((subject, facts))) => return self.answered(subject, facts),
                // A task that panicked: its drops come back at the end.
                Some(Err(_)) => {}
                None => std::future::pending().await,
            }
        }
    }

    /// All that still waits, at the end.
    pub(crate) async fn rest(&mut self) -> Vec<Answered> {
        let mut rest = Vec::new();
        while let Some(done) = self.open.join_next().await {
            if let Ok((subject, facts)) = done {
                rest.push(self.answered(subject, facts));
            }
        }
        let unanswered = self.known.drain().filter_map(|(_, known)| match known {
            Known::Asked(waiting) => Some(Answered {
                facts: Arc::default(),
                waiting,
            }),
            Known::Answered(..) => None,
        });
        rest.extend(unanswered);
        rest
    }

    fn answered(&mut self, subject: Subject, facts: NodeFacts) -> Answered {
        let facts = Arc::new(facts);
        let answer = Known::Answered(Instant::now(), Arc::clone(&facts));
        let waiting = match self.known.insert(subject, answer) {
            Some(Known::Asked(waiting)) => waiting,
            _ => Vec::new(),
        };
        Answered { facts, waiting }
    }
}
