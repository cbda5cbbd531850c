//! The largest packet that passes.

use std::{net::IpAddr, time::Duration};

use anyhow::Result;
use futures_util::future::try_join_all;

use super::Walk;
use crate::probe::{
    layers::mtu::{Found, Next, Path, Search},
    plan::MOST_ECHOES,
    send::{Echo, Round},
    target::{Destination, Role},
};

/// How long the first replies are waited for.
const FIRST: Duration = Duration::from_millis(500);
/// How long later ones are at least, and at most.
const LATER: [Duration; 2] = [Duration::from_millis(100), Duration::from_millis(500)];
/// How long the trace's word about a dropped request is waited for.
const JUDGED: Duration = Duration::from_secs(1);
/// The MTU where the interface is not known.
const USUAL: u32 = 1500;
/// The largest packet of IP.
const LARGEST: u32 = 65_535;
/// How many addresses are asked.
const MOST: usize = 3;

impl Walk {
    /// Searches on the way to each address: the endpoints', where there are any.
    pub(super) async fn paths(&self, all: &[Destination]) -> Result<Vec<Path>> {
        let behind = all.iter().any(|one| one.role == Role::Endpoint);
        let asked = all
            .iter()
            .filter(|one| !behind || one.role == Role::Endpoint);
        let mut asked: Vec<IpAddr> = asked.map(|one| one.socket.ip()).collect();
        asked.dedup();
        asked.truncate(MOST);
        try_join_all(asked.into_iter().map(|dst| self.path(dst))).await
    }

    async fn path(&self, dst: IpAddr) -> Result<Path> {
        let from = self.plan.source.address_for(dst);
        let local = self.sockets.local_address(from, dst).await;
        let interface = local.ok().and_then(|local| {
            let mut all = self.interfaces.iter();
            all.find(|interface| interface.addresses.contains(&local))
        });
        let link = interface.map_or(USUAL, |interface| interface.mtu.min(LARGEST));
        let mut path = Path {
            dst,
            ifname: interface.map(|interface| interface.name.clone()),
            found: Err(String::new()),
            dropped: None,
            reached: false,
            source: self.site.clone(),
        };
        let mut echo = match Echo::new(&self.sockets, &self.observed, from, dst).await {
            Ok(echo) => echo,
            Err(error) => {
                path.found = Err(format!("no echo request can be sent: {error:#}"));
                return Ok(path);
            }
        };
        let mut search = Search::new(link);
        let mut wait = FIRST;
        while let Next::Try(sizes) = search.next()
            && echo.sent() + 16 < MOST_ECHOES
        {
            let round = echo.round(&sizes, wait).await?;
            search.learn(&round);
            if let Some(fastest) = search.fastest {
                wait = (fastest * 4).clamp(LATER[0], LATER[1]);
            }
        }
        let mut found = search.found(0);
        if let Some([passes, fails]) = search.confirmation() {
            let round = echo
                .round(&[passes, fails, fails, passes, fails], wait)
                .await?;
            found = confirmed(&search, &round);
            path.dropped = self
                .observed
                .dropped_echo(dst, JUDGED)
                .await
                .map(|drop| drop.verdict);
        }
        found.sent = echo.sent();
        path.found = Ok(found);
        Ok(path)
    }
}

/// What was found, and whether it was so again.
fn confirmed(search: &Search, round: &Round) -> Found {
    let mut found = search.found(0);
    let (passes, fails) = (
        found.passes.unwrap_or_default(),
        found.fails.unwrap_or_default(),
    );
    found.is_steady = round.passed.contains(&passes) && !round.passed.contains(&fails);
    found
}
