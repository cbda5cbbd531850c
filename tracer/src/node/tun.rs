//! Who reads a tun device: what leaves by it goes to a process of this node, and no further if that
//! does not read.

use std::{fs, time::Instant};

use anyhow::Result;

use super::process::{self, Process};
use crate::net::{Kind, Rtnetlink, netns::Inside};

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
}

impl TunDevice {
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
            process: process::of_tun(&link.name, inside.inode, deadline(inside)),
            name: link.name,
            read,
            dropped,
            waiting,
        }))
    }

    /// Whether its process leaves packets in the ring.
    pub(crate) fn is_stuck(&self) -> bool {
        self.waiting.is_some_and(|waiting| waiting > 0)
    }

    /// The process in words.
    pub(crate) fn reader(&self) -> String {
        match &self.process {
            Some(process) => format!("its process {} (pid {})", process.comm, process.pid),
            None => "its process".to_owned(),
        }
    }
}

/// Half of the time that is left: what was read is worth more than a name.
fn deadline(inside: &Inside) -> Instant {
    let now = Instant::now();
    now + inside.deadline.saturating_duration_since(now) / 2
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
    fn a_ring_that_empties_is_not_stuck() {
        let device = |waiting| TunDevice {
            name: "tun0".to_owned(),
            process: None,
            read: 3,
            dropped: 0,
            waiting,
        };
        assert!(device(Some(2)).is_stuck());
        assert!(!device(Some(0)).is_stuck());
        assert!(!device(None).is_stuck());
    }
}
