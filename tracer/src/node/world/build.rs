//! Makes a model by hand.

use crate::{
    net::{self, Bridge, BridgePort, Neighbor, netns::NetnsRef},
    node::world::{
        Address, AddressFlags, FdbEntry, Kind, Link, LinkId, Mac, Namespace, PortState, Rule,
        Settings, World, link::Tie,
    },
};

/// A model in the making. Namespaces are numbers, links have numbers in them.
#[derive(Clone, Default)]
pub(crate) struct Build {
    pub(crate) world: World,
}

pub(crate) fn id(netns: u32, ifindex: u32) -> LinkId {
    LinkId { netns, ifindex }
}

impl Build {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    fn namespace(&mut self, inode: u32) -> &mut Namespace {
        let new = || Namespace {
            inode,
            name: format!("n{inode}"),
            reference: NetnsRef::Inode(inode),
            links: Default::default(),
            addresses: Vec::new(),
            fdb: Some(Vec::new()),
            vlans: Some(Vec::new()),
            neighbors: Some(Vec::new()),
            proxy_entries: Some(Vec::new()),
            rules: Some(Vec::new()),
            settings: None,
        };
        self.world.namespaces.entry(inode).or_insert_with(new)
    }

    pub(crate) fn link(&mut self, id: LinkId, name: &str, kind: Kind) -> &mut Link {
        let link = Link {
            id,
            reported: net::Link {
                ifindex: id.ifindex,
                name: name.to_owned(),
                kind,
                mtu: 1500,
                mac: Some(Mac(vec![2, 0, 0, id.netns as u8, 0, id.ifindex as u8])),
                up: true,
                carrier: true,
                ..net::Link::default()
            },
            tie: Tie::None,
        };
        let links = &mut self.namespace(id.netns).links;
        links.insert(id.ifindex, link);
        links.get_mut(&id.ifindex).unwrap()
    }

    pub(crate) fn bridge(&mut self, id: LinkId, name: &str) {
        self.link(id, name, Kind::Bridge(Bridge::default()));
    }

    pub(crate) fn pair(&mut self, one: (LinkId, &str), other: (LinkId, &str)) {
        self.link(one.0, one.1, Kind::Veth).tie = Tie::To(other.0);
        self.link(other.0, other.1, Kind::Veth).tie = Tie::To(one.0);
    }

    pub(crate) fn on(&mut self, id: LinkId, name: &str, parent: LinkId, kind: Kind) {
        self.link(id, name, kind).tie = Tie::To(parent);
    }

    pub(crate) fn at(&mut self, id: LinkId) -> &mut Link {
        let namespace = self.world.namespaces.get_mut(&id.netns).unwrap();
        namespace.links.get_mut(&id.ifindex).unwrap()
    }

    /// Makes a link a port that forwards.
    pub(crate) fn port(&mut self, id: LinkId, bridge: u32) -> &mut BridgePort {
        let link = self.at(id);
        link.master = Some(bridge);
        link.port.insert(BridgePort {
            state: PortState::Forwarding,
            hairpin: false,
            isolated: false,
            learning: true,
            unicast_flood: true,
            broadcast_flood: true,
            multicast_flood: true,
            neigh_suppress: false,
            locked: false,
            forward_delay_timer: 0,
        })
    }

    pub(crate) fn address(&mut self, id: LinkId, address: &str) -> &mut AddressFlags {
        let addresses = &mut self.namespace(id.netns).addresses;
        addresses.push(Address {
            address: address.parse().unwrap(),
            prefix_len: 24,
            ifindex: id.ifindex,
            scope: 0,
            flags: AddressFlags::default(),
        });
        &mut addresses.last_mut().unwrap().flags
    }

    pub(crate) fn settings(&mut self, netns: u32) -> &mut Settings {
        let settings = &mut self.namespace(netns).settings;
        settings.get_or_insert_default()
    }

    pub(crate) fn neighbor(&mut self, netns: u32, entry: Neighbor) {
        let neighbors = self.namespace(netns).neighbors.as_mut();
        neighbors.unwrap().push(entry);
    }

    /// Gives the newest address of a namespace another scope.
    pub(crate) fn scope(&mut self, netns: u32, scope: u8) {
        self.namespace(netns).addresses.last_mut().unwrap().scope = scope;
    }

    pub(crate) fn rules(&mut self, netns: u32, rules: &[Rule]) {
        self.namespace(netns).rules = Some(rules.to_vec());
    }

    pub(crate) fn fdb(&mut self, netns: u32, entry: FdbEntry) {
        self.namespace(netns).fdb.as_mut().unwrap().push(entry);
    }

    /// Two pods behind a bridge: namespaces 2 and 3, and namespace 1 with the bridge 1 and its ports
    /// 2 and 3.
    pub(crate) fn two_pods() -> Self {
        let mut build = Self::new();
        build.bridge(id(1, 1), "cni0");
        for pod in [2, 3] {
            let port = (id(1, pod), if pod == 2 { "va" } else { "vb" });
            build.pair(port, (id(pod, 2), "eth0"));
            build.port(port.0, 1);
            build.address(id(pod, 2), &format!("10.0.1.{pod}"));
        }
        build.address(id(1, 1), "10.0.1.1");
        build
    }
}
