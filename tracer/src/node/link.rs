//! An interface of the namespace this thread is in, as far as verdicts ask about it.

use std::net::IpAddr;

use anyhow::Result;

use super::rtnetlink::{Attributes, Message, Rtnetlink, u16_at};
use crate::kernel::interfaces::Vxlan;

/// Length of `struct ifinfomsg`.
const FIXED: usize = 16;

/// Numbers of include/uapi/linux/if_link.h.
mod ifla {
    pub(super) const XDP: u16 = 43;
    pub(super) const TARGET_NETNSID: u16 = 46;
    pub(super) const INFO_KIND: u16 = 1;
    pub(super) const INFO_DATA: u16 = 2;
    pub(super) const INFO_SLAVE_KIND: u16 = 4;
    pub(super) const INFO_SLAVE_DATA: u16 = 5;
    pub(super) const BRPORT_ISOLATED: u16 = 33;
    pub(super) const XDP_PROG_ID: u16 = 4;
    pub(super) const XDP_DRV_PROG_ID: u16 = 5;
    pub(super) const XDP_SKB_PROG_ID: u16 = 6;
    pub(super) const XDP_HW_PROG_ID: u16 = 7;
    pub(super) const XDP_ATTACHED: u16 = 2;
    pub(super) const VXLAN_ID: u16 = 1;
    pub(super) const VXLAN_LINK: u16 = 3;
    pub(super) const VXLAN_LOCAL: u16 = 4;
    pub(super) const VXLAN_PORT: u16 = 15;
    pub(super) const VXLAN_LOCAL6: u16 = 17;
    pub(super) const VXLAN_COLLECT_METADATA: u16 = 25;
}

/// An interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LinkFacts {
    /// Its number.
    pub ifindex: u32,
    /// Its name.
    pub name: String,
    /// The kernel's name for what it is, such as `veth`; empty for one with a driver.
    pub kind: String,
    /// The largest packet it takes, in bytes from the network header up.
    pub mtu: u32,
    /// Whether it is administratively up.
    pub up: bool,
    /// Whether it is up and has a carrier.
    pub running: bool,
    /// Of a VXLAN tunnel.
    pub vxlan: Option<Vxlan>,
    /// Whether each packet brings its own VXLAN network and remote (`external`, as of Cilium).
    pub external: bool,
    /// A port of a bridge that exchanges no packets with others like it.
    pub isolated: bool,
    /// Of one end of a veth pair: the other end's number, and the kernel's number for its namespace,
    /// if that is another one.
    pub peer: Option<(u32, Option<u32>)>,
    /// XDP programs: where they run, and their numbers.
    pub xdp: Vec<(XdpMode, u32)>,
}

/// Where an XDP program runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum XdpMode {
    /// In the driver, before there is an skb.
    Native,
    /// In the kernel's core, on an skb.
    Generic,
    /// On the device itself.
    Offloaded,
}

/// The interface with this number.
pub(super) fn by_index(rtnetlink: &Rtnetlink, ifindex: u32) -> Result<Option<LinkFacts>> {
    let mut fixed = [0; FIXED];
    fixed[4..8].copy_from_slice(&ifindex.to_ne_bytes());
    let answer = rtnetlink.ask(&Message::new(libc::RTM_GETLINK, &fixed))?;
    match answer {
        Ok(message) => Ok(message.as_ref().and_then(read)),
        Err(error) if error.raw_os_error() == Some(libc::ENODEV) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The other end of a veth pair, wherever it is. `None` if it is no such pair, or the kernel does not
/// tell (before 4.20 it answers for this namespace only).
pub(super) fn peer(rtnetlink: &Rtnetlink, link: &LinkFacts) -> Result<Option<LinkFacts>> {
    let Some((ifindex, netns)) = link.peer else {
        return Ok(None);
    };
    let mut fixed = [0; FIXED];
    fixed[4..8].copy_from_slice(&ifindex.to_ne_bytes());
    let question = Message::new(libc::RTM_GETLINK, &fixed).with_u32(ifla::TARGET_NETNSID, netns);
    let answer = rtnetlink.ask(&question)?;
    let found = answer.ok().flatten().as_ref().and_then(read);
    // What answers for this namespace instead is not linked to this very interface.
    Ok(found.filter(|found| found.peer.is_some_and(|(back, _)| back == link.ifindex)))
}

/// The VXLAN tunnels there are.
pub(super) fn tunnels(rtnetlink: &Rtnetlink) -> Result<Vec<LinkFacts>> {
    let kind = Message::new(0, &[]).with(ifla::INFO_KIND, b"vxlan\0");
    let question = Message::new(libc::RTM_GETLINK, &[0; FIXED])
        .with(libc::IFLA_LINKINFO | libc::NLA_F_NESTED as u16, &kind.bytes);
    let mut found = rtnetlink.list(&question, read)?;
    found.retain(|link| link.vxlan.is_some());
    Ok(found)
}

fn read(message: &Message) -> Option<LinkFacts> {
    let all = message.attributes(FIXED);
    let info = all.inside(libc::IFLA_LINKINFO);
    let kind = info.text(ifla::INFO_KIND).unwrap_or_default();
    let data = info.inside(ifla::INFO_DATA);
    let flags = message.u32_at(8)?.cast_signed();
    let (is_vxlan, is_veth) = (kind == "vxlan", kind == "veth");
    let external = data.get(ifla::VXLAN_COLLECT_METADATA);
    Some(LinkFacts {
        ifindex: message.u32_at(4)?,
        name: all.text(libc::IFLA_IFNAME)?,
        kind,
        mtu: all.u32(libc::IFLA_MTU).unwrap_or(0),
        up: flags & libc::IFF_UP != 0,
        running: flags & libc::IFF_RUNNING != 0,
        vxlan: is_vxlan.then(|| vxlan(data)),
        external: is_vxlan && external.is_some_and(|value| value.first() == Some(&1)),
        isolated: is_isolated(info),
        peer: all
            .u32(libc::IFLA_LINK)
            .filter(|_| is_veth)
            .map(|peer| (peer, all.u32(libc::IFLA_LINK_NETNSID))),
        xdp: xdp(all.inside(ifla::XDP)),
    })
}

fn is_isolated(info: Attributes<'_>) -> bool {
    let of_bridge = info.text(ifla::INFO_SLAVE_KIND).as_deref() == Some("bridge");
    let flag = info
        .inside(ifla::INFO_SLAVE_DATA)
        .get(ifla::BRPORT_ISOLATED);
    of_bridge && flag.is_some_and(|value| value.first() == Some(&1))
}

fn vxlan(data: Attributes<'_>) -> Vxlan {
    let local = data
        .address(ifla::VXLAN_LOCAL)
        .or_else(|| data.address(ifla::VXLAN_LOCAL6));
    Vxlan {
        vni: data.u32(ifla::VXLAN_ID).unwrap_or(0),
        local: local.filter(|local: &IpAddr| !local.is_unspecified()),
        port: data
            .get(ifla::VXLAN_PORT)
            .and_then(|value| u16_at(value, 0))
            .map_or(0, u16::from_be),
        underlying: data.u32(ifla::VXLAN_LINK).filter(|link| *link != 0),
    }
}

fn xdp(data: Attributes<'_>) -> Vec<(XdpMode, u32)> {
    let by_mode: Vec<_> = [
        (XdpMode::Native, ifla::XDP_DRV_PROG_ID),
        (XdpMode::Generic, ifla::XDP_SKB_PROG_ID),
        (XdpMode::Offloaded, ifla::XDP_HW_PROG_ID),
    ]
    .into_iter()
    .filter_map(|(mode, attribute)| Some((mode, data.u32(attribute)?)))
    .collect();
    if !by_mode.is_empty() {
        return by_mode;
    }
    // Before 4.20 there is one number, and XDP_ATTACHED_… says where.
    let mode = match data.get(ifla::XDP_ATTACHED).and_then(|value| value.first()) {
        Some(1) => XdpMode::Native,
        Some(2) => XdpMode::Generic,
        Some(3) => XdpMode::Offloaded,
        _ => return Vec::new(),
    };
    let id = data.u32(ifla::XDP_PROG_ID);
    id.map(|id| (mode, id)).into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(info: &[u8], more: impl FnOnce(Message) -> Message) -> LinkFacts {
        let mut fixed = [0; FIXED];
        fixed[4] = 9;
        fixed[8] = libc::IFF_UP as u8;
        let message = Message::new(libc::RTM_NEWLINK, &fixed)
            .with(libc::IFLA_IFNAME, b"x\0")
            .with_u32(libc::IFLA_MTU, Some(1450))
            .with(libc::IFLA_LINKINFO, info);
        read(&more(message)).unwrap()
    }

    #[test]
    fn a_tunnels_properties_are_read() {
        let data = Message::new(0, &[])
            .with_u32(ifla::VXLAN_ID, Some(10))
            .with_address(ifla::VXLAN_LOCAL, "192.0.2.1".parse().unwrap())
            .with(ifla::VXLAN_PORT, &8472_u16.to_be_bytes())
            .with(ifla::VXLAN_COLLECT_METADATA, &[0]);
        let info = Message::new(0, &[])
            .with(ifla::INFO_KIND, b"vxlan\0")
            .with(ifla::INFO_DATA, &data.bytes);
        let link = link(&info.bytes, |message| message);
        let vxlan = link.vxlan.unwrap();
        assert_eq!((vxlan.vni, vxlan.port), (10, 8472));
        assert_eq!(vxlan.local, Some("192.0.2.1".parse().unwrap()));
        assert_eq!(vxlan.underlying, None);
        assert!(link.up && !link.running && !link.external);
    }

    #[test]
    fn an_xdp_program_has_a_place() {
        let modern = Message::new(0, &[])
            .with(ifla::XDP_ATTACHED, &[2])
            .with_u32(ifla::XDP_PROG_ID, Some(7))
            .with_u32(ifla::XDP_SKB_PROG_ID, Some(7));
        assert_eq!(xdp(Attributes(&modern.bytes)), [(XdpMode::Generic, 7)]);
        let old = Message::new(0, &[])
            .with(ifla::XDP_ATTACHED, &[1])
            .with_u32(ifla::XDP_PROG_ID, Some(7));
        assert_eq!(xdp(Attributes(&old.bytes)), [(XdpMode::Native, 7)]);
        assert_eq!(xdp(Attributes(&[])), []);
    }
}
