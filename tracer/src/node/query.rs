//! What can be asked of the node, and what it answers.
//!
//! A question is data: the code that decides what to ask neither waits nor reads anything. An answer that
//! cannot be had is an answer too, without the facts.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use super::{
    answer_route::AnswerRoute,
    bypass::{Arrival, Destination},
    connect::ConnectFacts,
    datagrams::DatagramSocket,
    facts::{NodeFacts, Wants},
    listener::{ListenerFacts, Reading},
    owner,
    silent_hop::SilentHop,
    translation::LostTranslation,
    tun::TunDevice,
    unread::{Connection, Unread},
    way::{Comparison, Packet, Start, Walked},
    wireguard::Encrypted,
};
use crate::{
    decode::{connect::FailedConnect, drop::DropFacts, untranslated::Untranslated},
    net::{
        RouteKey,
        netns::{Inside, NetnsRef, in_netns_async},
    },
};

/// How long facts about an attempt may take to read; a verdict must not wait for longer.
const LIMIT: Duration = Duration::from_secs(1);

/// How long a process is watched that seems not to read: one that is busy reads something meanwhile.
const WATCHED: Duration = Duration::from_millis(250);

/// A question to the node.
#[derive(Debug, Clone)]
pub(crate) enum Query {
    /// More facts about a dropped packet. `earlier` is what was read before it, of another one like
    /// it.
    Drop {
        facts: Arc<DropFacts>,
        wants: Wants,
        earlier: Option<Arc<NodeFacts>>,
    },
    /// The same about drops of one namespace whose rules take long to read. `generation` is what nf_tables
    /// called its rules when the first of them was dropped.
    Rules {
        drops: Vec<(Arc<DropFacts>, Wants)>,
        generation: Option<u32>,
    },
    /// A reading of a listener's namespace, to compare with later.
    ListenerBaseline(ListenerLocation),
    /// Why an attempt may have got no answer.
    Silence(Box<SilenceQuery>),
    /// Whether the translation of an open connection is gone.
    Translation(Untranslated),
    /// Why connects like this one fail.
    Connect(FailedConnect),
    /// Which of these connections have data that their server has not read.
    Unread(Vec<Connection>),
}

/// What may explain why an attempt got no answer.
#[derive(Debug, Clone, Default)]
pub(crate) struct SilenceQuery {
    /// Why the listener may not have answered.
    pub(crate) listener: Option<(ListenerLocation, Option<ListenerBaseline>)>,
    /// Whether the packet's next hop, in this namespace, answers ARP or ND.
    pub(crate) neighbor: Option<(NetnsRef, RouteKey)>,
    /// The way of the packet through the node.
    pub(crate) walk: Option<(Start, Packet)>,
    /// How it came to the namespaces that it was seen in, and their inode numbers.
    pub(crate) arrivals: Vec<(u32, Arrival)>,
    /// The datagram socket that it may be for: its namespace, and the address that was asked.
    pub(crate) datagrams: Option<(NetnsRef, SocketAddr)>,
    /// The interface that it was last seen to leave through: its namespace and its number.
    pub(crate) left_by: Option<(u32, u32)>,
    /// The answer that left through another interface than the question came by: its namespace, and the
    /// interface.
    pub(crate) answer: Option<(u32, RouteKey, u32)>,
    /// The WireGuard device that it was last seen to leave through: its namespace, its number, and the
    /// packet's destination.
    pub(crate) encrypted: Option<(u32, u32, IpAddr)>,
}

/// What the node says of it.
#[derive(Debug, Default)]
pub(crate) struct SilenceFacts {
    pub(crate) listener: Option<ListenerFacts>,
    pub(crate) silent_hop: Option<SilentHop>,
    pub(crate) walked: Option<Walked>,
    /// What NAT has made of its destination.
    pub(crate) destination: Option<Destination>,
    /// The tun device that it left through.
    pub(crate) tun: Option<TunDevice>,
    /// The datagram socket that it is for.
    pub(crate) datagrams: Option<DatagramSocket>,
    /// What was counted where the packet's way ends, since an earlier look.
    pub(crate) compared: Option<Comparison>,
    /// What has become of the translation that the connection began with, if that is gone.
    pub(crate) lost_translation: Option<LostTranslation>,
    /// The route of the answer, if it leads to where that left.
    pub(crate) answer_route: Option<AnswerRoute>,
    /// The peer that it was encrypted for, and the way of the encrypted packets.
    pub(crate) encrypted: Option<Encrypted>,
}

/// The answer to the [`Query`] of the same name.
#[derive(Debug)]
pub(crate) enum Answer {
    Drop(Box<NodeFacts>),
    /// In the same order.
    Rules(Vec<NodeFacts>),
    ListenerBaseline(Option<ListenerBaseline>),
    Silence(Box<SilenceFacts>),
    Translation(Option<LostTranslation>),
    Connect(Box<ConnectFacts>),
    Unread(Vec<Unread>),
}

/// Where a listener is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ListenerLocation {
    pub(crate) netns: ListenerNetns,
    /// The address of the listener, as its namespace knows it.
    pub(crate) address: SocketAddr,
}

/// The namespace of a listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ListenerNetns {
    Known(NetnsRef),
    /// The one that has the address, behind the veth whose other end has this index.
    Behind(Option<u32>),
}

/// A listener's namespace, and what was read there.
#[derive(Debug, Clone)]
pub(crate) struct ListenerBaseline {
    pub(crate) netns: NetnsRef,
    pub(crate) reading: Option<Arc<Reading>>,
}

impl Query {
    /// Asks the node. Takes no longer than a second or so, but for what is known to take long.
    pub(crate) async fn answer(self) -> Answer {
        match self {
            Self::Drop {
                facts,
                wants,
                earlier,
            } => Answer::Drop(Box::new(NodeFacts::gather(facts, wants, earlier).await)),
            Self::Rules { drops, generation } => {
                Answer::Rules(NodeFacts::gather_late(drops, generation).await)
            }
            Self::ListenerBaseline(location) => {
                Answer::ListenerBaseline(ListenerBaseline::read(&location).await)
            }
            Self::Silence(query) => Answer::Silence(Box::new(query.answer().await)),
            Self::Translation(of) => {
                let read = LostTranslation::read(of, LIMIT).await;
                Answer::Translation(read.ok().flatten())
            }
            Self::Connect(of) => Answer::Connect(Box::new(ConnectFacts::read(of, LIMIT).await)),
            Self::Unread(of) => Answer::Unread(Unread::read(of, LIMIT).await),
        }
    }
}

impl SilenceQuery {
    /// Whether nothing is asked.
    pub(crate) fn is_empty(&self) -> bool {
        let is_asked = self.walk.is_some()
            || self.datagrams.is_some()
            || self.answer.is_some()
            || self.encrypted.is_some()
            || !self.arrivals.is_empty();
        !is_asked && !self.may_change()
    }

    /// Whether a retransmission may change the answer.
    pub(crate) fn may_change(&self) -> bool {
        self.listener.is_some() || self.neighbor.is_some()
    }

    async fn answer(self) -> SilenceFacts {
        let Self {
            listener,
            neighbor,
            walk,
            arrivals,
            datagrams,
            left_by,
            answer,
            encrypted,
        } = self;
        let listener = async {
            let (location, baseline) = listener?;
            location.facts(baseline).await
        };
        let silent_hop = async {
            let (netns, packet) = neighbor?;
            SilentHop::of(&netns, packet, LIMIT).await.ok().flatten()
        };
        let walked = async {
            let (start, packet) = walk?;
            Some(Walked::of(start, packet, LIMIT).await)
        };
        let tun = async {
            let (netns, ifindex) = left_by?;
            let netns = NetnsRef::Inode(netns);
            let read = TunDevice::watch(&netns, ifindex, WATCHED, LIMIT).await;
            read.ok().flatten()
        };
        let datagrams = async {
            let (netns, address) = datagrams?;
            let read = DatagramSocket::watch(&netns, address, WATCHED, LIMIT).await;
            read.ok().flatten()
        };
        let answer_route = async {
            let (netns, key, ifindex) = answer?;
            let read = AnswerRoute::read(netns, key, LIMIT).await.ok()?;
            let output = read.lookup.answer.as_ref().ok()?.output;
            (output == Some(ifindex)).then_some(read)
        };
        let encrypted = async {
            let (netns, ifindex, dst) = encrypted?;
            let read = Encrypted::of(netns, ifindex, dst, LIMIT).await;
            read.ok().flatten()
        };
        let (listener, silent_hop, walked, destination, tun, datagrams, answer_route, encrypted) = tokio::join!(
            listener,
            silent_hop,
            walked,
            destination(arrivals),
            tun,
            datagrams,
            answer_route,
            encrypted
        );
        SilenceFacts {
            listener,
            silent_hop,
            walked,
            destination,
            tun,
            datagrams,
            compared: None,
            lost_translation: None,
            answer_route,
            encrypted,
        }
    }
}

/// What becomes of the destination on the whole way: nothing only if no namespace translates it.
async fn destination(arrivals: Vec<(u32, Arrival)>) -> Option<Destination> {
    let mut all = None;
    for (netns, arrival) in arrivals {
        let netns = NetnsRef::Inode(netns);
        let read = move |inside: Inside| Destination::read(&inside, &arrival);
        let here = in_netns_async(&netns, LIMIT, read).await.ok()?;
        match here? {
            kept @ Destination::Kept(_) => return Some(kept),
            Destination::Untranslated => all = Some(Destination::Untranslated),
        }
    }
    all
}

impl Answer {
    /// What the node says about a drop, if that was the question.
    pub(crate) fn about_drop(self) -> Option<Box<NodeFacts>> {
        match self {
            Self::Drop(facts) => Some(facts),
            _ => None,
        }
    }

    /// What the node says about drops whose rules took long to read, if that was the question.
    pub(crate) fn about_rules(self) -> Vec<NodeFacts> {
        match self {
            Self::Rules(facts) => facts,
            _ => Vec::new(),
        }
    }
}

impl ListenerBaseline {
    async fn read(location: &ListenerLocation) -> Option<Self> {
        let netns = location.find().await?;
        let reading = Reading::of(&netns, LIMIT).await.ok().map(Arc::new);
        Some(Self { netns, reading })
    }
}

impl ListenerLocation {
    async fn find(&self) -> Option<NetnsRef> {
        match &self.netns {
            ListenerNetns::Known(netns) => Some(netns.clone()),
            ListenerNetns::Behind(peer) => {
                let (address, peer): (IpAddr, _) = (self.address.ip(), *peer);
                let search = move || owner::of_address(address, peer, LIMIT);
                tokio::task::spawn_blocking(search).await.ok()?.ok()?
            }
        }
    }

    async fn facts(self, baseline: Option<ListenerBaseline>) -> Option<ListenerFacts> {
        let (netns, reading) = match baseline {
            Some(ListenerBaseline { netns, reading }) => (netns, reading),
            None => (self.find().await?, None),
        };
        let facts = ListenerFacts::of(&netns, self.address, reading, LIMIT).await;
        facts.ok()
    }
}
