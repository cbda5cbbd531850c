//! Who reads a tun device: what leaves through it goes to a process of this node, and no further if that
//! does not read.

use std::{fs, time::Duration};

use anyhow::Result;
use tokio::time::sleep;

use super::process::{self, Process};
use crate::net::{
    Kind, Rtnetlink,
    netns::{Inside, NetnsRef, in_netns_async},
};

/// A tun or tap device, and how much of what was sent by it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TunDevice {
    /// Its name.
    pub(crate) name: String,
    /// The process that has it open; `None` if it was not found.
    pub(crate) process: Option<Process>,
    /// Packets that the process has read so far.
    pub(crate) read: u64,
    /// Packets that found its ring full so far.
    pub(crate) dropped: u64,
    /// Packets that wait in its ring, as far as its queues show.
    pub(crate) waiting: Option<u64>,
    /// How many it has read while it was watched; `None` if it was looked at only once.
    pub(crate) read_meanwhile: Option<u64>,
}

impl TunDevice {
    /// Watches for a moment whether what waits in its ring is read. `None` if there is no such device.
    ///
    /// # Errors
    ///
    /// As of [`TunDevice::read`].
    pub(super) async fn watch(
        netns: &NetnsRef,
        ifindex: u32,
        watched: Duration,
        limit: Duration,
    ) -> Result<Option<Self>> {
        let read = move |inside: Inside| Self::read(&inside, ifindex);
        let first = match in_netns_async(netns, limit, read).await? {
            Some(first) if first.has_waiting() => first,
            done => return Ok(done),
        };
        sleep(watched).await;
        let second = in_netns_async(netns, limit, read).await?;
        Ok(second.map(|second| Self {
            read_meanwhile: second.read.checked_sub(first.read),
            ..second
        }))
    }

    /// Reads it in the namespace that this thread is in. `None` if there is no such device.
    ///
    /// # Errors
    ///
    /// A file cannot be read, or the kernel cannot be asked.
    pub(super) fn read(inside: &Inside, ifindex: u32) -> Result<Option<Self>> {
        let rtnetlink = Rtnetlink::open()?;
        let Some(link) = rtnetlink.link(ifindex)?.filter(|link| link.kind.is_tun()) else {
            return Ok(None);
        };
        // What a queue has sent is read, waits in the ring, or found that full. The queue is asked
        // first: what is sent and read meanwhile must not seem to wait.
        let queues = rtnetlink.qdiscs(ifindex)?;
        let text = fs::read_to_string("/proc/thread-self/net/dev")?;
        let Some((read, dropped)) = counters(&text, &link.name) else {
            return Ok(None);
        };
        // A segment larger than the MTU counts as many packets in the queue, and as one when it is
        // read (`bstats_update`, `tun_ring_recv`).
        let comparable = link.kind == Kind::Tun { vnet_hdr: false };
        let mut roots = queues.iter().filter(|qdisc| qdisc.parent.is_none());
        let sent = roots
            .next()
            .filter(|qdisc| comparable && qdisc.kind != "noqueue" && qdisc.packets > 0)
            .map(|qdisc| u64::from(qdisc.packets));
        let waiting = sent.map(|sent| sent.saturating_sub(read).saturating_sub(dropped));
        Ok(Some(Self {
            process: process::of_tun(&link.name, inside.inode, inside.half_time()),
            name: link.name,
            read,
            dropped,
            waiting,
            read_meanwhile: None,
        }))
    }

    /// Whether its process leaves packets in the ring: one that is busy reads some meanwhile.
    pub(crate) fn is_stuck(&self) -> bool {
        self.has_waiting() && self.read_meanwhile == Some(0)
    }

    fn has_waiting(&self) -> bool {
        self.waiting.is_some_and(|waiting| waiting > 0)
    }

    /// The process in words.
    pub(crate) fn reader(&self) -> String {
        match &self.process {
            Some(process) => format!("its process {process}"),
            None => "its process".to_owned(),
        }
    }
}

/// Packets that were sent by an interface, and those that it dropped on their way out, of the table
/// in `/proc/net/dev`.
fn counters(text: &str, ifname: &str) -> Option<(u64, u64)> {
    /// Eight columns of what was received come first.
    const SENT: usize = 9;
    const DROPPED: usize = 11;
    let line = text.lines().find_map(|line| {
        let (name, values) = line.split_once(':')?;
        (name.trim() == ifname).then_some(values)
    })?;
    let values: Vec<u64> = line
        .split_whitespace()
        .map_while(|value| value.parse().ok())
        .collect();
    Some((*values.get(SENT)?, *values.get(DROPPED)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_of_one_interface() {
        let text = "Inter-|   Receive                                                |  Transmit\n \
             face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs \
             drop fifo colls carrier compressed\n    lo:       0       0    0    0    0     0          0         \
             0        0       0    0    0    0     0       0          0\n  tun0:       1       2    3    4    5     6          7         \
             8        9      10   11   12   13    14      15         16\n";
        assert_eq!(counters(text, "tun0"), Some((10, 12)));
        assert_eq!(counters(text, "tun1"), None);
    }

    #[test]
    fn only_a_ring_that_is_not_read_is_stuck() {
        let device = |waiting, read_meanwhile| TunDevice {
            name: "tun0".to_owned(),
            process: None,
            read: 3,
            dropped: 0,
            waiting,
            read_meanwhile,
        };
        assert!(device(Some(2), Some(0)).is_stuck());
        assert!(!device(Some(2), Some(7)).is_stuck());
        assert!(!device(Some(2), None).is_stuck());
        assert!(!device(Some(0), None).is_stuck());
        assert!(!device(None, None).is_stuck());
    }
}
