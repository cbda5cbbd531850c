//! The verdict on a drop: once, when it is known what the node says, or that it is not asked.
//!
//! A drop may be wanted by a record, by its attempt, or by both, at different times. All of them
//! share one [`TrackedDrop`], which keeps what was found out about it.

use std::{
    cell::{Cell, OnceCell},
    sync::Arc,
};

use crate::{
    cluster::naming::Name,
    decode::{drop::DropFacts, noise},
    engine::{
        cluster_context::{Names, dropped_packet},
        knowledge::Context,
        work::Work,
    },
    model::{Confidence, Verdict},
    node::facts::{NodeFacts, Wants},
    verdict::{self, cluster::DropScene},
};

/// One drop, and what was found out about it so far.
#[derive(Debug)]
pub(crate) struct TrackedDrop {
    pub(crate) facts: Arc<DropFacts>,
    /// Whether healthy traffic makes such drops too, as far as the drop shows.
    is_usual: bool,
    /// The same, with what is known by now.
    is_noise: Cell<bool>,
    /// Whether it was awaited again, and did not come: its connection may have got over it.
    came_once: Cell<bool>,
    judged: OnceCell<JudgedDrop>,
}

/// The final verdict, and who was at both ends.
#[derive(Debug)]
pub(crate) struct JudgedDrop {
    pub(crate) verdict: Verdict,
    pub(crate) src: Name,
    pub(crate) dst: Name,
}

/// The verdict on a drop, for the attempt that the packet belongs to.
#[derive(Debug)]
pub(crate) struct DropVerdict {
    pub(crate) facts: Arc<DropFacts>,
    pub(crate) verdict: Verdict,
    /// Whether it was in a tunnel whose sender is not known here.
    pub(crate) is_from_stranger: bool,
}

/// Judges drops, and counts what that takes.
#[derive(Debug, Default)]
pub(crate) struct Judge {
    pub(crate) work: Work,
}

impl TrackedDrop {
    /// Whether healthy traffic makes such drops too.
    pub(crate) fn is_noise(&self) -> bool {
        self.is_noise.get()
    }

    /// Whether its verdict is final and sure.
    pub(super) fn is_confirmed(&self) -> bool {
        let judged = self.judged.get();
        judged.is_some_and(|judged| judged.verdict.confidence == Confidence::Confirmed)
    }

    /// Counts it as what healthy traffic drops too.
    pub(super) fn disregard(&self) {
        self.is_noise.set(true);
    }

    /// Takes that the same packet was not dropped again when its sender would have sent it again.
    pub(super) fn came_once(&self) {
        self.came_once.set(true);
    }
}

impl Judge {
    /// A drop that nothing is known of yet but what was seen.
    pub(crate) fn track(&mut self, facts: DropFacts) -> TrackedDrop {
        self.work.noise_checks += 1;
        let is_usual = noise::explain(&facts).is_some();
        TrackedDrop {
            // Where its connection may lack its translation, the node's answer decides.
            is_noise: Cell::new(is_usual && facts.untranslated.is_none()),
            is_usual,
            came_once: Cell::new(false),
            facts: Arc::new(facts),
            judged: OnceCell::new(),
        }
    }

    /// What the node could say of a drop; nothing where its verdict is final.
    pub(crate) fn wants(drop: &TrackedDrop) -> Wants {
        match drop.judged.get() {
            Some(_) => Wants::default(),
            None => verdict::drop::wants(&drop.facts),
        }
    }

    /// What the node could say of a drop, whether or not it was judged before.
    pub(crate) fn all_wants(drop: &TrackedDrop) -> Wants {
        verdict::drop::wants(&drop.facts)
    }

    /// Tracks a drop anew that was judged before the node said this of it. Returns it with its verdict so
    /// far, if there is to be another.
    pub(crate) fn again(
        &mut self,
        drop: &TrackedDrop,
        node: &NodeFacts,
        cx: &Context<'_>,
    ) -> Option<(TrackedDrop, Verdict)> {
        let before = &drop.judged.get()?.verdict;
        let again = TrackedDrop {
            facts: Arc::clone(&drop.facts),
            is_usual: drop.is_usual,
            is_noise: Cell::new(false),
            came_once: drop.came_once.clone(),
            judged: OnceCell::new(),
        };
        self.reconsider(&again, Some(node));
        if again.is_noise() {
            return None;
        }
        let verdict = &self.conclude(&again, Some(node), cx).verdict;
        let is_other = verdict.cause() != before.cause() || verdict.confidence > before.confidence;
        // Another rule's verdict takes the place of one only if it is as sure.
        let is_as_sure = verdict.rule == before.rule || verdict.confidence >= before.confidence;
        let says_more = node.suspects.is_some() && is_other && is_as_sure;
        let before = before.clone();
        says_more.then_some((again, before))
    }

    /// Takes what the node says of a drop that may be noise after all.
    pub(crate) fn reconsider(&mut self, drop: &TrackedDrop, node: Option<&NodeFacts>) {
        if drop.is_noise() {
            return;
        }
        let lacks_translation = node.is_some_and(|node| node.lost_translation.is_some());
        if drop.is_usual && !lacks_translation {
            drop.disregard();
        } else if let Some(node) = node.filter(|_| !lacks_translation) {
            self.work.noise_checks += 1;
            drop.is_noise
                .set(verdict::drop::is_noise(&drop.facts, node));
        }
    }

    /// The final verdict on a drop: the one there is, or that with what the node says, if it was
    /// asked.
    pub(crate) fn conclude<'d>(
        &mut self,
        drop: &'d TrackedDrop,
        node: Option<&NodeFacts>,
        cx: &Context<'_>,
    ) -> &'d JudgedDrop {
        if let Some(judged) = drop.judged.get() {
            return judged;
        }
        self.work.judgements += 1;
        let mut verdict = match node {
            Some(node) => verdict::drop::judge(&drop.facts, node),
            None => verdict::drop::judge(&drop.facts, &NodeFacts::default()),
        };
        for fix in &mut verdict.fix {
            cx.netns.place(fix, drop.facts.netns);
        }
        if drop.came_once.get() {
            verdict.confidence = verdict.confidence.min(Confidence::Possible);
            let once = "the same segment was not dropped again: its sender may have learned to send smaller ones";
            verdict.evidence.push(once.to_owned());
        }
        let mut names = Names::new(
            cx.cluster,
            cx.interfaces,
            cx.node(),
            &mut self.work.name_lookups,
        );
        let mut context = DropScene::of(&dropped_packet(&drop.facts), &mut names);
        let program = node.and_then(|node| node.queue_program.as_ref());
        context.scene.program_pod = program.and_then(|program| program.pod_uid.clone());
        let verdict = verdict::cluster::refine(verdict, &context.scene);
        let (src, dst) = context.into_ends();
        drop.judged.get_or_init(|| JudgedDrop { verdict, src, dst })
    }
}
