//! What becomes of a packet that a WireGuard device encrypts: the peer that it is for, and the way of the
//! encrypted packets, which no filter for the packet inside matches.

use std::{
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::Result;

use super::{
    route::Lookup,
    way::{Packet, Start, Walked},
};
use crate::{
    model::{Flow, Protocol},
    net::{
        RouteKey, Rtnetlink, WireguardDevice,
        netns::{NetnsRef, in_netns_async},
    },
};

/// The peer of a WireGuard device that a packet is sent to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Peer {
    /// Where encrypted packets to it go.
    pub(crate) endpoint: SocketAddr,
    /// How long ago the last handshake with it was; `None` if there was none.
    pub(crate) handshake: Option<Duration>,
    /// The flow of those packets. `None` if they have no source.
    pub(crate) carrier: Option<Flow>,
    /// Their firewall mark.
    mark: u32,
}

/// What the node says of it.
#[derive(Clone, Debug)]
pub(crate) struct Encrypted {
    pub(crate) peer: Peer,
    /// The way that it has for the encrypted packets.
    pub(crate) walked: Option<Walked>,
}

/// How long keys hold (`REJECT_AFTER_TIME`). After that, packets wait for a handshake.
const KEYS_HOLD: Duration = Duration::from_mins(3);

impl Encrypted {
    /// Asks the node about packets to `dst` that leave through this device, within the limit. `None` if
    /// no peer takes them, or it is not known where that is: then the kernel drops them.
    ///
    /// # Errors
    ///
    /// As of [`in_netns_async`]; or the kernel cannot be asked without loading a module.
    pub(crate) async fn of(
        netns: u32,
        ifindex: u32,
        dst: IpAddr,
        limit: Duration,
    ) -> Result<Option<Self>> {
        let deadline = Instant::now() + limit;
        let namespace = NetnsRef::Inode(netns);
        let read = move |_| Peer::read(ifindex, dst);
        let Some(peer) = in_netns_async(&namespace, limit, read).await? else {
            return Ok(None);
        };
        let left = deadline.saturating_duration_since(Instant::now());
        let walked = match peer.packet() {
            Some(packet) => Some(Walked::of(Start::Sent(netns), packet, left).await),
            None => None,
        };
        Ok(Some(Self { peer, walked }))
    }
}

impl Peer {
    fn read(ifindex: u32, dst: IpAddr) -> Result<Option<Self>> {
        let device = WireguardDevice::read(ifindex)?;
        let found = device.peer_of(dst);
        let Some((peer, endpoint)) = found.and_then(|peer| Some((peer, peer.endpoint?))) else {
            return Ok(None);
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
        let age = |seconds| now.saturating_sub(Duration::from_secs(seconds));
        let source = source(endpoint.ip(), device.mark)?;
        Ok(Some(Self {
            endpoint,
            handshake: peer.last_handshake.map(age),
            carrier: source.map(|src| Flow {
                proto: Protocol::Udp,
                src,
                sport: Some(device.port),
                dst: endpoint.ip(),
                dport: Some(endpoint.port()),
            }),
            mark: device.mark,
        }))
    }

    /// Whether it has answered no handshake for so long that nothing can be sent to it.
    pub(crate) fn is_silent(&self) -> bool {
        self.handshake.is_none_or(|age| age > KEYS_HOLD)
    }

    fn packet(&self) -> Option<Packet> {
        Some(Packet {
            mark: Some(self.mark),
            // The kernel fragments them.
            dont_fragment: false,
            ..Packet::first_of(self.carrier?)
        })
    }
}

/// The source that the kernel chooses for packets to there.
fn source(to: IpAddr, mark: u32) -> Result<Option<IpAddr>> {
    let key = RouteKey {
        mark,
        proto: Some(Protocol::Udp.number()),
        ..RouteKey::to(to)
    };
    let found = Lookup::read(&Rtnetlink::open()?, key)?;
    Ok(found.answer.ok().and_then(|route| route.source))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// With the last handshake so many seconds ago.
    pub(crate) fn peer(handshake: Option<u64>) -> Peer {
        Peer {
            endpoint: ([192, 0, 2, 2], 51820).into(),
            handshake: handshake.map(Duration::from_secs),
            carrier: Some(Flow {
                proto: Protocol::Udp,
                src: [192, 0, 2, 1].into(),
                sport: Some(51820),
                dst: [192, 0, 2, 2].into(),
                dport: Some(51820),
            }),
            mark: 0,
        }
    }

    #[test]
    fn a_peer_is_silent_when_its_keys_do_not_hold_any_more() {
        let is_silent = |handshake| peer(handshake).is_silent();
        assert!(is_silent(None));
        assert!(!is_silent(Some(179)));
        assert!(is_silent(Some(181)));
    }

    #[test]
    fn a_source_is_chosen_by_the_route() {
        let own = [127, 0, 0, 1].into();
        assert_eq!(source(own, 0).unwrap(), Some(own));
    }
}
