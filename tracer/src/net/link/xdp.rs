//! The XDP programs of an interface.

use crate::net::message::Attributes;

/// Numbers of include/uapi/linux/if_link.h.
mod ifla {
    pub(super) const XDP_ATTACHED: u16 = 2;
    pub(super) const XDP_PROG_ID: u16 = 4;
    pub(super) const XDP_DRV_PROG_ID: u16 = 5;
    pub(super) const XDP_SKB_PROG_ID: u16 = 6;
    pub(super) const XDP_HW_PROG_ID: u16 = 7;
}

/// Where an XDP program runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum XdpMode {
    /// In the driver, before there is an skb.
    Native,
    /// In the kernel's core, on an skb.
    Generic,
    /// On the device itself.
    Offloaded,
}

pub(super) fn programs(data: Attributes<'_>) -> Vec<(XdpMode, u32)> {
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
    let mode = match data.u8(ifla::XDP_ATTACHED) {
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
    use crate::net::message::Request;

    #[test]
    fn an_xdp_program_has_a_place() {
        let modern = Request::new(0, &[])
            .with(ifla::XDP_ATTACHED, &[2])
            .with_u32(ifla::XDP_PROG_ID, Some(7))
            .with_u32(ifla::XDP_SKB_PROG_ID, Some(7));
        let read = |request: &Request| programs(request.message().attributes(0));
        assert_eq!(read(&modern), [(XdpMode::Generic, 7)]);
        let old = Request::new(0, &[])
            .with(ifla::XDP_ATTACHED, &[1])
            .with_u32(ifla::XDP_PROG_ID, Some(7));
        assert_eq!(read(&old), [(XdpMode::Native, 7)]);
        assert_eq!(read(&Request::new(0, &[])), []);
    }
}
