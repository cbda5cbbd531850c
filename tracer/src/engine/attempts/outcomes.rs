//! The outcome of an attempt: judged from what was seen of it, and reported once.

use std::net::IpAddr;

use super::{
    Attempts,
    report::{Conclusion, report},
    tunnel_stats::Path,
};
use crate::{
    attempt::{Attempt, Reply, Reported},
    decode::sighting::AttemptKey,
    engine::{
        cluster_context::{Names, attempt_flow},
        knowledge::Context,
    },
    model::Outcome,
    node::{
        query::SilenceFacts,
        way::{Walked, Way},
        world::{Link, World},
    },
    verdict::{
        attempts::{self as judge, AttemptContext},
        cluster::refine,
    },
};

impl Attempts {
    /// Reports the outcome of an attempt, unless the same was reported before.
    pub(super) fn report(
        &mut self,
        key: &AttemptKey,
        outcome: Outcome,
        found: SilenceFacts,
        cx: &mut Context<'_>,
    ) {
        let Some(attempt) = self.table.get(key) else {
            return;
        };
        let is_known = attempt.reported_outcome() == Some(outcome);
        if is_known && !attempt.is_better_explained(outcome) {
            return;
        }
        let path = path(attempt, cx);
        let mut context = self.context(key, attempt, path, found, cx);
        let at = cx.clock.wall(attempt.first_at);
        let mut names = Names::new(
            cx.cluster,
            cx.interfaces,
            cx.node(),
            &mut self.work.name_lookups,
        );
        context.sender_name = match &attempt.reply {
            Some(Reply::Rejection(rejection)) => names.node(rejection.from),
            _ => None,
        };
        let flow = attempt_flow(attempt, at);
        let ends = flow.ends(&mut names);
        self.work.judgements += 1;
        let (mut verdict, is_of_drop) = judge::judge(attempt, outcome, &context);
        // What the node was asked about it is of the last namespace that it reached.
        let netns = attempt.last_hop().map(|hop| hop.place.netns);
        for fix in verdict.iter_mut().flat_map(|verdict| &mut verdict.fix) {
            cx.netns.place(fix, netns);
        }
        // A drop's verdict was sharpened when the drop was judged.
        if !is_of_drop {
            let arrived = context.has_arrived(attempt);
            verdict = verdict
                .map(|verdict| refine(verdict, &flow.scene(&ends, (outcome, arrived), &mut names)));
        }
        let decided_at = match outcome {
            // By the packets: those that wait to be read come later.
            Outcome::Unanswered | Outcome::Stalled => self.read.unwrap_or(cx.now),
            _ => attempt
                .last_reply_hop()
                .map_or(attempt.first_at, |hop| hop.at),
        };
        let conclusion = Conclusion {
            outcome,
            by: judge::sender(attempt, &context),
            verdict,
            at: decided_at,
            ends,
        };
        let report = report(key, attempt, conclusion, cx);
        if let Some(path) = path {
            self.tunnels.count(key, path, outcome, cx.now);
        }
        let reported = Reported {
            outcome,
            verdict: report.verdict.clone(),
            is_of_drop,
        };
        let attempt = self.table.get_mut(key);
        let corrected = attempt.and_then(|attempt| attempt.reported.replace(reported));
        cx.report_attempt(report, is_of_drop, corrected);
    }

    /// What is around the attempt's last hop.
    fn context(
        &self,
        key: &AttemptKey,
        attempt: &Attempt,
        path: Option<Path>,
        found: SilenceFacts,
        cx: &Context<'_>,
    ) -> AttemptContext {
        // The gap is behind the last hop of what came back, if anything did.
        let last = attempt.last_reply_hop().or_else(|| attempt.last_hop());
        let interface = last.and_then(|hop| cx.interfaces.get(hop.place.netns, hop.place.ifindex));
        let SilenceFacts {
            listener,
            silent_hop,
            walked,
            destination,
            tun,
            datagrams,
            compared,
            lost_translation,
            answer_route,
            encrypted,
        } = found;
        let (world, ways, way_back) = match walked {
            Some(Walked {
                world,
                ways,
                way_back,
                ..
            }) => (Some(world), ways, way_back),
            None => (None, Vec::new(), None),
        };
        let hops: Vec<_> = ways.iter().filter_map(Way::waits_for).collect();
        let first_at = cx.clock.wall(attempt.first_at);
        AttemptContext {
            lost_questions: self.lost_questions.since(first_at, &hops),
            blind_spots: cx.visibility.blind_spots(),
            lost: cx.visibility.lost - attempt.lost_before,
            last_interface: interface.map(|interface| judge::Interface {
                kind: interface.link.kind.to_string(),
                leads_off: interface.is_uplink,
                addresses: interface.addresses.clone(),
            }),
            destination_is_local: last
                .is_some_and(|hop| cx.interfaces.is_local(hop.place.netns, hop.flow.dst.into())),
            listener,
            silent_hop,
            destination_holder: last
                .and_then(|hop| holder(hop.flow.dst.into(), world.as_deref(), cx)),
            world,
            ways,
            way_back,
            compared: compared.filter(|_| cx.visibility.lost == attempt.lost_before),
            destination,
            tun,
            datagrams,
            lost_translation,
            answer_route,
            encrypted,
            sender_is_own: match &attempt.reply {
                Some(Reply::Rejection(rejection)) => cx.interfaces.holder(rejection.from).is_some(),
                _ => false,
            },
            sender_name: None,
            watched: cx.interfaces.namespaces(),
            uplinks: cx.interfaces.uplinks(),
            others: match path {
                Some(Path::Tunnel(remote)) => self.tunnels.others(key, remote, cx.now),
                _ => None,
            },
        }
    }
}

/// The path that an attempt took, as far as others may have taken it too.
fn path(attempt: &Attempt, cx: &Context<'_>) -> Option<Path> {
    Path::of(attempt, |netns, ifindex| {
        let interface = cx.interfaces.get(netns, ifindex);
        interface.is_none_or(|interface| interface.is_uplink)
    })
}

/// The name of a namespace of this node that has the address: a watched one, or one that a link
/// ties to a watched one. Behind a link that leads off this node, it is another node's.
fn holder(address: IpAddr, world: Option<&World>, cx: &Context<'_>) -> Option<String> {
    let watched = cx.interfaces.holder(address);
    let watched = watched.map(|netns| cx.netns.text(netns).unwrap_or(netns.to_string()));
    let is_tied = |link: &Link| {
        let end = link.other_end()?;
        let interface = cx.interfaces.get(end.netns, end.ifindex)?;
        (!interface.is_uplink).then_some(())
    };
    let tied = || {
        let world = world?;
        let mut holders = world.holders(address).into_iter();
        let holder = holders.find(|holder| {
            let mut links = world.namespace(holder.netns).into_iter();
            links.any(|namespace| namespace.links.values().any(|link| is_tied(link).is_some()))
        });
        Some(holder?.netns_name)
    };
    watched.or_else(tied)
}
