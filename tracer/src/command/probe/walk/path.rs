//! The largest packet that passes.

use std::{collections::BTreeSet, net::SocketAddr, time::Duration};

use anyhow::Result;
use futures_util::future::try_join_all;
use tokio::sync::watch;

use super::Walk;
use crate::{
    model::{DropReport, Point},
    probe::{
        layers::mtu::{By, Found, Narrow, Next, Path, Search},
        observed::Own,
        plan::{MOST_SIZES, USUAL_MTU, sized},
        send::{Echo, Round, Segments},
        target::Destination,
    },
};

/// How long the first replies are waited for.
const FIRST: Duration = Duration::from_millis(500);
/// How long later ones are at least, and at most.
const LATER: [Duration; 2] = [Duration::from_millis(250), Duration::from_millis(500)];
/// How long the trace's word about a dropped request is waited for.
const JUDGED: Duration = Duration::from_millis(2500);
/// How long a record waits at most for the rules that can have dropped its packet.
const RULES_READ: Duration = Duration::from_secs(4);
/// The bytes that a veth lets pass above its MTU (`VLAN_HLEN`).
const VLAN_TAG: u32 = 4;
/// The largest packet of IP.
const LARGEST: u32 = 65_535;

/// Which addresses TCP has reached, once that is known.
pub(super) type Reached = watch::Receiver<Option<BTreeSet<SocketAddr>>>;

/// What sends packets of given sizes.
enum Sizes {
    Echo(Echo),
    Segments(Segments),
}

impl Sizes {
    async fn round(&mut self, sizes: &[u32], wait: Duration) -> Result<Round> {
        match self {
            Self::Echo(echo) => echo.round(sizes, wait).await,
            Self::Segments(segments) => segments.round(sizes, wait).await,
        }
    }

    fn sent(&self) -> u32 {
        match self {
            Self::Echo(echo) => echo.sent(),
            Self::Segments(segments) => segments.sent(),
        }
    }

    fn own(&self) -> Own {
        match self {
            Self::Echo(echo) => echo.own(),
            Self::Segments(segments) => segments.own(),
        }
    }
}

impl Walk {
    /// Searches on the way to each address: the endpoints', where there are any.
    pub(super) async fn paths(&self, all: &[Destination], reached: &Reached) -> Result<Vec<Path>> {
        let asked = sized(all).into_iter().map(|one| one.socket);
        try_join_all(asked.map(|to| self.path(to, reached.clone()))).await
    }

    async fn path(&self, to: SocketAddr, mut reached: Reached) -> Result<Path> {
        let dst = to.ip();
        let from = self.plan.source.address_for(dst);
        let local = self.sockets.local_address(from, dst).await;
        let interface = local.ok().and_then(|local| {
            let mut all = self.plan.source.interfaces.iter();
            all.find(|interface| interface.addresses.contains(&local))
        });
        let link = interface.map_or(USUAL_MTU, |interface| interface.mtu.min(LARGEST));
        let mut path = Path {
            to,
            by: By::Echo,
            ifname: interface.map(|interface| interface.name.clone()),
            found: Err(String::new()),
            dropped: None,
            silenced: None,
            narrow: None,
            is_reset: false,
            reached: false,
            source: self.plan.source.site.clone(),
        };
        match Echo::new(&self.sockets, &self.observed, from, dst).await {
            Ok(echo) => self.search(&mut path, Sizes::Echo(echo), link).await?,
            Err(error) => path.found = Err(format!("no echo request can be sent: {error:#}")),
        }
        let is_answered = |path: &Path| {
            path.found
                .as_ref()
                .is_ok_and(|found| found.passes.is_some())
        };
        if is_answered(&path) {
            return Ok(path);
        }
        // The sender is gone where the walk has failed.
        let known = reached.wait_for(Option::is_some).await;
        path.reached = known.is_ok_and(|known| known.as_ref().is_some_and(|up| up.contains(&to)));
        if !path.reached {
            return Ok(path);
        }
        path.by = By::Segments;
        let limit = self.timeout;
        match Segments::new(&self.sockets, &self.observed, from, to, limit).await {
            Ok(segments) => {
                let segments = Sizes::Segments(segments);
                self.search(&mut path, segments, link).await?;
            }
            Err(error) => {
                path.found = Err(format!(
                    "{dst} answers no echo request, and no connection could be used instead: {error:#}"
                ));
            }
        }
        Ok(path)
    }

    /// Searches, and confirms what was found.
    async fn search(&self, path: &mut Path, mut by: Sizes, link: u32) -> Result<()> {
        let mut search = Search::new(link);
        let (mut wait, mut least) = (FIRST, LATER[0]);
        let mut found;
        // On a busy node, answers are late: what was found is confirmed, or else searched for again.
        loop {
            while let Next::Try(sizes) = search.next()
                && has_room(&by)
                && !path.is_reset
            {
                let round = by.round(&sizes, wait).await?;
                search.learn(&round);
                path.is_reset = round.is_reset;
                if let Some(fastest) = search.fastest {
                    wait = (fastest * 4).clamp(least, LATER[1]);
                }
            }
            found = search.found(0);
            let confirmation = search.confirmation().filter(|_| !path.is_reset);
            let Some([passes, fails]) = confirmation else {
                break;
            };
            let round = by
                .round(&[passes, fails, fails, passes, fails], wait)
                .await?;
            found = confirmed(&search, &round);
            path.is_reset = round.is_reset;
            search.learn(&round);
            if found.is_steady || !has_room(&by) {
                break;
            }
            (wait, least) = (LATER[1], LATER[1]);
        }
        if found.fails.is_some() && !found.is_reported() || path.is_reset {
            let passes = found.passes.unwrap_or_default();
            let dropped = self.observed.dropped(by.own(), passes, JUDGED).await;
            // Whatever else has been dropped is known by now.
            let limit = match &dropped {
                Some(dropped) if is_answered(dropped) => RULES_READ,
                _ => Duration::ZERO,
            };
            let silenced = self.observed.silenced(path.to.ip(), limit).await;
            path.narrow = dropped.as_ref().and_then(|drop| self.narrow(drop, passes));
            path.dropped = dropped.map(|drop| drop.verdict);
            path.silenced = silenced;
        }
        found.sent = by.sent();
        path.found = Ok(found);
        Ok(())
    }
}

impl Walk {
    /// The end of a veth pair that was too narrow for a packet. It lets a little more than its MTU pass.
    fn narrow(&self, drop: &DropReport, passes: u32) -> Option<Narrow> {
        let near = self
            .world
            .link_named(drop.netns?, drop.ifname.as_deref()?)?;
        let far = self.world.link(near.other_end()?)?;
        let is_it = (far.mtu..=far.mtu + VLAN_TAG).contains(&passes) && far.mtu < near.mtu;
        is_it.then(|| Narrow {
            name: self.world.link_name(far.id, self.plan.source.inode),
            mtu: far.mtu,
        })
    }
}

/// Whether what has dropped a packet answers that it is too large, other than a veth.
fn is_answered(drop: &DropReport) -> bool {
    let function = drop.function.as_deref().unwrap_or_default();
    drop.verdict.point == Point::Mtu && !function.starts_with("__dev_forward_skb")
}

/// What was found, and whether it was so again.
fn confirmed(search: &Search, round: &Round) -> Found {
    let mut found = search.found(0);
    let (passes, fails) = (
        found.passes.unwrap_or_default(),
        found.fails.unwrap_or_default(),
    );
    let largest = round.passed.last().copied().unwrap_or_default();
    found.is_steady = round.passed.contains(&passes) && largest < fails;
    found
}

/// Whether one more round, and what confirms it, are within what the plan has.
fn has_room(by: &Sizes) -> bool {
    by.sent() + 16 < MOST_SIZES
}
