//! A link that gets the question, and answers none like it.

use std::{collections::BTreeSet, net::IpAddr};

use super::Unanswered;
use crate::{
    model::{
        Confidence::{self, Likely, Possible},
        Fix,
        shell::Command,
    },
    node::{
        change,
        world::{Kind, Link, LinkId, World},
    },
    words,
};

/// Why a link does not answer.
pub(super) struct Silence {
    /// Follows upon the link's name.
    pub(super) why: String,
    pub(super) confidence: Confidence,
    pub(super) fix: Vec<Fix>,
}

impl Unanswered<'_> {
    /// Why a link that the question reaches does not answer it; `None` if it should, or if that is not
    /// known.
    pub(super) fn silence(self, world: &World, from: LinkId, at: LinkId) -> Option<Silence> {
        let link = world.link(at)?;
        if link.noarp && self.address.is_ipv4() && link.kind == Kind::Ipvlan {
            return Some(self.routed_by_its_parent(world, from, link));
        }
        let noarp = match self.address {
            IpAddr::V4(_) => link.noarp.then_some("the interface answers no ARP (NOARP)"),
            IpAddr::V6(_) => link.resolves_to_itself().then_some(
                "the interface sends its Neighbor Advertisements to its own MAC address (NOARP)",
            ),
        };
        if let Some(why) = noarp {
            let set =
                |state: &'static str| Command::new("ip link set dev").arg(&link.name).words(state);
            return Some(Silence {
                why: why.to_owned(),
                confidence: Likely,
                fix: vec![Fix::change(set("arp on"), set("arp off")).at(world.site(at.netns))],
            });
        }
        if self.address.is_ipv6() {
            return (!world.has_address(at, self.address)).then(|| Silence {
                why:
                    "a namespace answers Neighbor Solicitations only at the interface that has the \
                      address"
                        .to_owned(),
                confidence: Likely,
                fix: Vec::new(),
            });
        }
        let mut sources = self.sources(world, from).peekable();
        sources.peek()?;
        if sources.any(|source| world.answers_at(link, self.address, Some(source))) {
            return self.filtered(world, from, link);
        }
        let ignores = world.arp_ignore(link);
        let answers = match ignores {
            1 => "only for addresses of that interface itself",
            2 => "only for addresses of that interface itself, to hosts of the same subnet",
            3 => "for no address of scope host",
            _ => "for no address",
        };
        Some(Silence {
            why: format!("arp_ignore is {ignores} there, so it answers {answers}"),
            confidence: Likely,
            fix: reset(world, link),
        })
    }

    /// An ipvlan interface in the modes L3 and L3S gets no broadcasts: packets for it are routed by the
    /// namespace of the interface that it is on top of (Documentation/networking/ipvlan.rst).
    fn routed_by_its_parent(self, world: &World, from: LinkId, link: &Link) -> Silence {
        let address = self.address;
        let router = || {
            let parent = link.parent()?;
            let held = world.namespace(parent.netns)?.addresses.iter();
            let mut held =
                held.filter(|one| one.ifindex == parent.ifindex && one.address.is_ipv4());
            let asker = world.namespace(from.netns)?.addresses.iter();
            let mut asker = asker.filter(|one| one.ifindex == from.ifindex);
            held.find(|one| asker.any(|own| own.is_in_subnet_with(one.address)))
                .map(|one| one.address)
        };
        let route = |verb: &'static str, router: IpAddr| {
            Command::new("ip route")
                .words(verb)
                .arg(address)
                .words("via")
                .arg(router)
        };
        Silence {
            why: "it is an ipvlan interface in mode L3, which answers no ARP: what is for it has to be \
                  routed by the namespace of the interface that it is on"
                .to_owned(),
            confidence: Likely,
            fix: router()
                .map(|router| Fix::change(route("add", router), route("del", router)))
                .map(|fix| fix.at(world.site(from.netns)))
                .into_iter()
                .collect(),
        }
    }

    /// With `arp_filter`, a link answers only those to whom its namespace would send by it:
    /// `arp_filter()` in net/ipv4/arp.c. Routes are not in the model. Another link with an address in the
    /// subnet of a possible source has one to it, which may be preferred.
    fn filtered(self, world: &World, from: LinkId, link: &Link) -> Option<Silence> {
        let namespace = world.namespace(link.id.netns)?;
        let all = namespace.settings?.arp_filter.unwrap_or(0);
        let own = link.ipv4?.arp_filter;
        (all != 0 || own != 0).then_some(())?;
        let (source, other) = self.sources(world, from).find_map(|source| {
            let others = namespace
                .addresses
                .iter()
                .filter(|held| held.ifindex != link.id.ifindex && held.is_in_subnet_with(source));
            let mut links = others.filter_map(|held| namespace.links.get(&held.ifindex));
            let by = links.find(|by| by.up && by.kind != Kind::Loopback)?;
            Some((source, by))
        })?;
        let get = Command::new("ip route get").arg(source);
        let advice = format!(
            "see whether `{get}` leads by {}; if so, give the addresses of that subnet to one interface \
             only, or set arp_filter to 0",
            other.name
        );
        Some(Silence {
            why: format!(
                "arp_filter is on there, so it answers only those that its routes lead to by that \
                 interface, and {} is in the subnet of {source}, too",
                other.name
            ),
            confidence: Possible,
            fix: vec![Fix::advice(advice).at(world.site(link.id.netns))],
        })
    }

    /// What can refuse the question, and was not asked.
    pub(super) fn unexamined(self, world: &World, from: LinkId, at: LinkId) -> Vec<String> {
        let ends = [from, at].into_iter();
        let other_ends = [from, at]
            .into_iter()
            .filter_map(|end| world.link(end)?.other_end());
        let places: BTreeSet<_> = ends.chain(other_ends).map(|link| link.netns).collect();
        let mut evidence: Vec<_> = places
            .into_iter()
            .filter_map(|netns| world.namespace(netns))
            .filter(|one| one.settings.is_some_and(|all| all.link_tables > Some(0)))
            .map(|one| {
                format!(
                    "{} has netfilter tables of the family arp or bridge, which were not examined",
                    words::namespace(&one.name)
                )
            })
            .collect();
        evidence.extend(self.strict_source(world, from, at));
        evidence
    }

    /// A strict reverse-path filter refuses ARP requests, too: `arp_process()` routes their source.
    fn strict_source(self, world: &World, from: LinkId, at: LinkId) -> Option<String> {
        let (link, namespace) = world.link(at).zip(world.namespace(at.netns))?;
        let all = namespace.settings?.rp_filter.unwrap_or(0);
        let strictest = all.max(link.ipv4?.rp_filter.into());
        let source = self.sources(world, from).next()?;
        let mut addresses = namespace.addresses.iter();
        let is_near =
            addresses.any(|held| held.ifindex == at.ifindex && held.is_in_subnet_with(source));
        (strictest == 1 && !is_near && self.address.is_ipv4()).then(|| {
            format!(
                "rp_filter is 1 at {}, and {source} is in no subnet of it: ARP requests from there \
                 are refused, unless a route leads back by it",
                world.link_name(at, from.netns)
            )
        })
    }

    /// What the source of the question can be: that of the packet, if it is an address of the
    /// namespace that asks; otherwise one of the link.
    fn sources(self, world: &World, from: LinkId) -> impl Iterator<Item = IpAddr> {
        let is_own = world.is_local(from.netns, self.src) == Some(true);
        let namespace = world.namespace(from.netns);
        let addresses = namespace.map(|namespace| namespace.addresses.as_slice());
        let of_link = addresses
            .unwrap_or_default()
            .iter()
            .filter(move |held| !is_own && held.ifindex == from.ifindex && held.address.is_ipv4());
        is_own
            .then_some(self.src)
            .into_iter()
            .chain(of_link.map(|held| held.address))
    }
}

/// Sets `arp_ignore` to 0: the larger one of the link's own and that of all links counts.
fn reset(world: &World, link: &Link) -> Vec<Fix> {
    let namespace = world.namespace(link.id.netns);
    let all = namespace.and_then(|namespace| namespace.settings?.arp_ignore);
    let own = link.ipv4.map(|own| u64::from(own.arp_ignore));
    let settings = [("all", all), (link.name.as_str(), own)];
    let set = settings.into_iter().filter_map(|(name, value)| {
        let value = value.filter(|value| *value > 0)?;
        let path = format!("net/ipv4/conf/{name}/arp_ignore");
        let advice = "not where that setting keeps a virtual address of a load balancer silent on \
                      purpose";
        let fix = change::sysctl(&path, value, 0);
        Some(fix.at(world.site(link.id.netns)).noting(advice))
    });
    set.collect()
}
