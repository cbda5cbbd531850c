//! What is reported of a judged drop.

use super::judge::JudgedDrop;
use crate::{
    decode::drop::DropFacts,
    engine::knowledge::Context,
    model::{DropReport, Outer},
};

/// The report on `count` drops of this kind; `noise` says that healthy traffic makes them, too.
pub(super) fn report(
    facts: &DropFacts,
    judged: &JudgedDrop,
    (count, noise): (u64, bool),
    stack: bool,
    cx: &Context<'_>,
) -> DropReport {
    let JudgedDrop { verdict, src, dst } = judged;
    DropReport {
        ts: facts.at,
        flow: facts.flow,
        original_dst: facts.original_dst,
        outer: Outer::new(facts.outer, facts.vni()),
        quoted: facts.quoted,
        packet: facts.packet,
        reason: facts.reason.clone(),
        function: facts.function.clone(),
        hook: facts.hook,
        ifname: facts.ifname.clone(),
        netns: facts.netns,
        netns_name: facts.netns.and_then(|inode| cx.netns.text(inode)),
        count,
        noise,
        corrects: None,
        src_pod: src.pod(),
        dst_pod: dst.pod(),
        src_owner: src.words(),
        dst_owner: dst.words(),
        stack: stack.then(|| facts.stack.clone()),
        verdict: verdict.clone(),
    }
}
