//! What the kernel's messages are read as. Made ones here, and the running kernel's as root:
//! `cargo test -- --ignored interfaces::`.

use std::{net::IpAddr, process::Command};

use super::{
    Interface, Kind, Namespace, Watch, address, link,
    netlink::{Message, Request, messages},
    route,
};

fn read<T>(request: &Request, read: impl Fn(&Message<'_>) -> T) -> T {
    let bytes = request.finished(0);
    let message = messages(&bytes).next().unwrap();
    read(&message)
}

/// `struct ifinfomsg` of interface 7.
fn ifinfo(family: i32) -> [u8; 16] {
    let mut fixed = [0; 16];
    fixed[0] = family as u8;
    fixed[2] = 1;
    fixed[4] = 7;
    fixed[8] = (libc::IFF_UP | libc::IFF_RUNNING) as u8;
    fixed
}

#[test]
fn a_link_is_read() {
    let request = Request::new(libc::RTM_NEWLINK, 0, &ifinfo(libc::AF_UNSPEC))
        .attribute(libc::IFLA_IFNAME, b"flannel.1\0")
        .attribute(libc::IFLA_MTU, &1450_u32.to_ne_bytes())
        .attribute(libc::IFLA_MASTER, &9_u32.to_ne_bytes())
        .attribute(9999, b"from a later kernel")
        .nested(libc::IFLA_LINKINFO, |info| {
            info.attribute(1, b"vxlan\0").nested(2, |data| {
                data.attribute(1, &1_u32.to_ne_bytes())
                    .attribute(3, &2_u32.to_ne_bytes())
                    .attribute(4, &[10, 0, 0, 11])
                    .attribute(15, &8472_u16.to_be_bytes())
            })
        });
    let Some(link::Said::Is(found)) = read(&request, |message| link::read(1, message)) else {
        panic!("not read");
    };
    assert_eq!((found.ifindex, found.mtu, found.master), (7, 1450, Some(9)));
    assert_eq!(found.name, "flannel.1");
    assert!(found.up && found.running);
    let Kind::Vxlan(vxlan) = found.kind else {
        panic!("{:?}", found.kind);
    };
    assert_eq!(
        (vxlan.vni, vxlan.port, vxlan.underlying),
        (1, 8472, Some(2))
    );
    assert_eq!(vxlan.local, Some(IpAddr::from([10, 0, 0, 11])));
}

#[test]
fn a_port_that_leaves_its_bridge_has_not_gone() {
    let said = |family| {
        let request = Request::new(libc::RTM_DELLINK, 0, &ifinfo(family));
        read(&request, |message| link::read(1, message))
    };
    assert_eq!(said(libc::AF_BRIDGE), None);
    assert_eq!(said(libc::AF_UNSPEC), Some(link::Said::Gone(7)));
}

#[test]
fn ones_own_address_is_not_the_other_ends() {
    let request = Request::new(libc::RTM_DELADDR, 0, &[2, 32, 0, 0, 7, 0, 0, 0])
        .attribute(libc::IFA_ADDRESS, &[10, 0, 0, 2])
        .attribute(libc::IFA_LOCAL, &[10, 0, 0, 1]);
    let found = read(&request, address::read).unwrap();
    assert_eq!((found.ifindex, found.present), (7, false));
    assert_eq!(found.address, IpAddr::from([10, 0, 0, 1]));
}

#[test]
fn gateways_are_found_in_routes() {
    let unicast = [2, 0, 0, 0, 254, 0, 0, libc::RTN_UNICAST, 0, 0, 0, 0];
    let new = || Request::new(libc::RTM_NEWROUTE, 0, &unicast);
    let output = 7_u32.to_ne_bytes();
    let connected = new().attribute(libc::RTA_OIF, &output);
    assert!(read(&connected, route::gateways).is_empty());
    let routed = new()
        .attribute(libc::RTA_GATEWAY, &[10, 0, 0, 1])
        .attribute(libc::RTA_OIF, &output);
    assert_eq!(read(&routed, route::gateways), [7]);
    // Two hops of `struct rtnexthop`: one with a gateway, one without.
    let mut hops = vec![16, 0, 0, 0, 8, 0, 0, 0, 8, 0, libc::RTA_GATEWAY as u8, 0];
    hops.extend([10, 0, 0, 1, 8, 0, 0, 0, 9, 0, 0, 0]);
    let multipath = new().attribute(libc::RTA_MULTIPATH, &hops);
    assert_eq!(read(&multipath, route::gateways), [8]);
}

#[tokio::test]
#[ignore = "needs root"]
async fn the_running_kernels_interfaces_are_read() {
    let name = format!("whydrop-kinds-{}", std::process::id());
    let ip = |arguments: &str| {
        let status = Command::new("ip").args(arguments.split(' ')).status();
        assert!(status.unwrap().success(), "ip {arguments}");
    };
    let inside = |arguments: &str| ip(&format!("-n {name} {arguments}"));
    ip(&format!("netns add {name}"));
    ip(&format!("netns add {name}-far"));
    let namespace = Namespace::named(&name).unwrap();
    let mut watch = Watch::start(&[namespace]).unwrap();
    inside("link add br0 type bridge");
    inside("link add up0 type veth peer name up1");
    inside("link set up0 mtu 1400 up");
    inside(&format!("link set up1 netns {name}-far"));
    inside("address add 10.9.0.1/24 dev up0");
    inside("route add default via 10.9.0.2");
    inside("link add pod0 master br0 type veth peer name pod1");
    inside("link add vx0 type vxlan id 42 local 10.9.0.1 dev up0 dstport 8472");
    let mut told = 0;
    let uplink = |watch: &Watch| {
        let mut all = watch.inventory().iter();
        all.find(|one| one.is_uplink).map(|one| one.name.clone())
    };
    let wait = std::time::Duration::from_secs(1);
    while let Ok(changes) = tokio::time::timeout(wait, watch.next()).await {
        told += changes.unwrap().len();
    }
    let uplink = uplink(&watch);
    let find = |name: &str| -> Interface {
        let mut all = watch.inventory().iter();
        all.find(|one| one.name == name).cloned().unwrap()
    };
    let (up0, pod0, pod1, bridge, vxlan) = (
        find("up0"),
        find("pod0"),
        find("pod1"),
        find("br0"),
        find("vx0"),
    );
    ip(&format!("netns del {name}"));
    ip(&format!("netns del {name}-far"));
    assert!(told >= 5);
    assert_eq!(uplink.as_deref(), Some("up0"));
    assert_eq!((up0.mtu, &up0.kind), (1400, &Kind::Veth));
    assert!(up0.addresses.contains(&IpAddr::from([10, 9, 0, 1])));
    assert!(up0.peer().is_some_and(|peer| peer.nsid.is_some()));
    assert_eq!(bridge.kind, Kind::Bridge);
    assert_eq!(pod0.master, Some(bridge.ifindex));
    assert_eq!(pod0.peer().unwrap().ifindex, pod1.ifindex);
    let Kind::Vxlan(tunnel) = vxlan.kind else {
        panic!("{vxlan:?}");
    };
    assert_eq!((tunnel.vni, tunnel.port), (42, 8472));
    assert_eq!(tunnel.underlying, Some(up0.ifindex));
}
