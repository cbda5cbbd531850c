//! Finds the link that another is tied to, where that is in another namespace.
//!
//! A namespace knows others by ids of its own (`IFLA_LINK_NETNSID`). Which one an id means, the
//! kernel says of a namespace that it is shown: each candidate is shown to it, and the candidates
//! are those where the other link can be.

use std::{
    collections::{BTreeMap, HashMap},
    fs::File,
    os::unix::fs::MetadataExt as _,
};

use super::Visit;
use crate::{
    net::{OtherLink, Rtnetlink, netns::NetnsRef},
    node::world::{
        World,
        link::{LinkId, Tie},
    },
};

/// Puts the namespaces together, and ties their links to each other.
pub(super) fn tie(world: &mut World, visits: Vec<Visit>) {
    let mut asked = Asked::default();
    let mut open = Vec::new();
    for visit in visits {
        let netns = visit.namespace.inode;
        asked.sockets.insert(netns, visit.rtnetlink);
        let reference = visit.namespace.reference.clone();
        asked.references.insert(netns, reference);
        world.gaps.extend(visit.gaps);
        world.namespaces.insert(netns, visit.namespace);
        let ties = visit.ties.into_iter();
        open.extend(ties.map(|(ifindex, raw)| (LinkId { netns, ifindex }, raw)));
    }
    let raw: HashMap<_, _> = open.iter().copied().collect();
    for (id, tied) in open {
        let tie = match tied.nsid {
            None => Tie::To(LinkId {
                netns: id.netns,
                ifindex: tied.ifindex,
            }),
            Some(nsid) => find(world, &raw, &mut asked, id, tied.ifindex, nsid),
        };
        // A number that leads nowhere is no tie: kernels give one for links that are gone.
        let leads = tie.link().is_none_or(|to| world.link(to).is_some());
        let link = world.namespaces.get_mut(&id.netns);
        if let Some(link) = link.and_then(|found| found.links.get_mut(&id.ifindex)) {
            link.tie = if leads {
                tie
            } else {
                Tie::Hidden(tied.ifindex)
            };
        }
    }
}

/// The link with this number in the namespace that has this id in the link's namespace.
fn find(
    world: &World,
    raw: &HashMap<LinkId, OtherLink>,
    asked: &mut Asked,
    id: LinkId,
    ifindex: u32,
    nsid: i32,
) -> Tie {
    if let Some(netns) = asked.known.get(&(id.netns, nsid)) {
        return Tie::To(LinkId {
            netns: *netns,
            ifindex,
        });
    }
    let is_pair = world.link(id).is_some_and(|link| link.kind.is_pair());
    let candidates = world.namespaces.keys().copied().filter(|netns| {
        let other = LinkId {
            netns: *netns,
            ifindex,
        };
        let points_back = || raw.get(&other).is_some_and(|raw| raw.ifindex == id.ifindex);
        *netns != id.netns && world.link(other).is_some() && (!is_pair || points_back())
    });
    for netns in candidates {
        if asked.id_of(netns, id.netns) == Some(nsid) {
            asked.known.insert((id.netns, nsid), netns);
            let other = LinkId { netns, ifindex };
            // Both ends of a pair refer to each other: one query is enough.
            if let Some(back) = raw.get(&other).and_then(|raw| raw.nsid).filter(|_| is_pair) {
                asked.known.insert((netns, back), id.netns);
            }
            return Tie::To(other);
        }
    }
    Tie::Hidden(ifindex)
}

/// What was asked, and how to ask on.
#[derive(Default)]
struct Asked {
    sockets: HashMap<u32, Rtnetlink>,
    references: BTreeMap<u32, NetnsRef>,
    files: HashMap<u32, Option<File>>,
    /// The namespace with an id in a namespace.
    known: HashMap<(u32, i32), u32>,
}

impl Asked {
    /// The id of one namespace in another, if it has one.
    fn id_of(&mut self, netns: u32, within: u32) -> Option<i32> {
        let reference = self.references.get(&netns)?;
        let file = self
            .files
            .entry(netns)
            .or_insert_with(|| open(reference, netns));
        let namespace = file.as_ref()?;
        self.sockets.get(&within)?.nsid_of(namespace).ok()?
    }
}

fn open(reference: &NetnsRef, inode: u32) -> Option<File> {
    let path = match reference {
        NetnsRef::Own => "/proc/self/ns/net".as_ref(),
        NetnsRef::Path(path) => path.as_path(),
        NetnsRef::Inode(_) => return None,
    };
    let file = File::open(path).ok()?;
    let is_it = file.metadata().ok()?.ino() == u64::from(inode);
    is_it.then_some(file)
}
