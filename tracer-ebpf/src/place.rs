//! Where an skb was dropped: namespace and interface.
//!
//! `skb->dev` is NULL in local output and at the sockets, and its memory is used for other things
//! while an skb waits in a queue. So each pointer is tried in turn, and believed only if it leads
//! to a namespace.

use tracer_common::event::netns_from;

use crate::{
    kernel::{self, Object},
    maps::LAYOUT,
    skb::Skb,
};

/// A namespace, and an interface in it if one is known.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    /// Inode number of the network namespace; 0 if unknown.
    pub(crate) netns: u32,
    /// Which pointer it was found by: [`netns_from`].
    pub(crate) netns_from: u32,
    /// Index of the interface; 0 if unknown.
    pub(crate) ifindex: u32,
    /// The interface's `struct net_device *`; 0 if unknown.
    pub(crate) device: u64,
}

/// The lowest bit of `_skb_refdst` says whether the reference is counted (`SKB_DST_NOREF`).
const REFDST_NOREF: u64 = 1;

impl Place {
    const UNKNOWN: Self = Self {
        netns: 0,
        netns_from: netns_from::NOTHING,
        ifindex: 0,
        device: 0,
    };

    /// Finds the place of `skb`, which the socket `rx_sk` (or 0) was to receive.
    #[inline(always)]
    pub(crate) fn of(skb: &Skb, rx_sk: u64) -> Self {
        let at_device = match skb.object() {
            Some(skb) => Self::typed_device(skb),
            None => Self::device(skb.pointer(&LAYOUT.skb_dev), netns_from::DEVICE),
        };
        if let Some(place) = at_device {
            return place;
        }
        if let Some(place) = Self::device(route_device(skb), netns_from::ROUTE) {
            return place;
        }
        if let Some(place) = Self::socket(skb.pointer(&LAYOUT.skb_sk), netns_from::SOCKET) {
            return place;
        }
        Self::socket(rx_sk, netns_from::RECEIVER).unwrap_or(Self::UNKNOWN)
    }

    /// The index of the interface that the skb's route leads to; 0 if it has no route.
    #[inline(always)]
    pub(crate) fn route(skb: &Skb) -> u32 {
        kernel::read(route_device(skb), &LAYOUT.dev_ifindex).unwrap_or(0)
    }

    /// The device that an skb stands at, where that is certain: at a tc hook.
    #[inline(always)]
    pub(crate) fn at_device(skb: &Skb) -> Option<Self> {
        if let Some(skb) = skb.object() {
            return Self::typed_device(skb);
        }
        Self::device(skb.pointer(&LAYOUT.skb_dev), netns_from::DEVICE)
    }

    /// The same as [`Self::device`] for `skb->dev`, by loads instead of helper calls.
    #[inline(always)]
    fn typed_device(skb: Object) -> Option<Self> {
        let device = skb.follow(&LAYOUT.skb_dev)?;
        let inode: u32 = device.follow(&LAYOUT.dev_net)?.load(&LAYOUT.net_inode)?;
        if inode == 0 {
            return None;
        }
        Some(Self {
            netns: inode,
            netns_from: netns_from::DEVICE,
            ifindex: device.load(&LAYOUT.dev_ifindex)?,
            device: skb.number(&LAYOUT.skb_dev),
        })
    }

    /// The place of a `struct net_device *`.
    #[inline(always)]
    pub(crate) fn device(device: u64, netns_from: u32) -> Option<Self> {
        let netns = inode(kernel::read(device, &LAYOUT.dev_net)?)?;
        let ifindex = kernel::read(device, &LAYOUT.dev_ifindex)?;
        Some(Self {
            netns,
            netns_from,
            ifindex,
            device,
        })
    }

    #[inline(always)]
    fn socket(socket: u64, netns_from: u32) -> Option<Self> {
        let netns = inode(kernel::read(socket, &LAYOUT.sock_net)?)?;
        Some(Self {
            netns,
            netns_from,
            ..Self::UNKNOWN
        })
    }

    /// The device as the verifier knows it, where the place was found by that of a typed skb.
    #[inline(always)]
    fn typed(&self, skb: &Skb) -> Option<Object> {
        if self.netns_from != netns_from::DEVICE {
            return None;
        }
        skb.object()?.follow(&LAYOUT.skb_dev)
    }

    /// The interface's name, NUL-padded.
    #[inline(always)]
    pub(crate) fn ifname(&self, skb: &Skb) -> [u8; 16] {
        if let Some(device) = self.typed(skb) {
            return device.load_16(&LAYOUT.dev_name).unwrap_or([0; 16]);
        }
        kernel::read(self.device, &LAYOUT.dev_name).unwrap_or([0; 16])
    }

    /// The interface's MTU; 0 if there is none.
    #[inline(always)]
    pub(crate) fn mtu(&self, skb: &Skb) -> u32 {
        if let Some(device) = self.typed(skb) {
            return device.load(&LAYOUT.dev_mtu).unwrap_or(0);
        }
        kernel::read(self.device, &LAYOUT.dev_mtu).unwrap_or(0)
    }
}

/// The device of the skb's route; 0 if it has no route.
#[inline(always)]
fn route_device(skb: &Skb) -> u64 {
    let refdst: u64 = skb.scalar(&LAYOUT.skb_refdst).unwrap_or(0);
    kernel::read(refdst & !REFDST_NOREF, &LAYOUT.dst_dev).unwrap_or(0)
}

/// The inode number of a `struct net *`; `None` if the pointer does not lead to a namespace.
#[inline(always)]
fn inode(net: u64) -> Option<u32> {
    kernel::read(net, &LAYOUT.net_inode).filter(|inode| *inode != 0)
}
