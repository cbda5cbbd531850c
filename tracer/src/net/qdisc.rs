//! The queues in front of an interface, and what they have dropped.

use std::{fmt, io};

use super::{
    message::{Attributes, Message, Request, u32_at, u64_at},
    netlink::Rtnetlink,
};

/// Length of `struct tcmsg`.
pub(super) const FIXED: usize = 20;

/// Numbers of include/uapi/linux/{rtnetlink,gen_stats,pkt_sched}.h.
mod tca {
    pub(super) const KIND: u16 = 1;
    pub(super) const OPTIONS: u16 = 2;
    pub(super) const STATS2: u16 = 7;
    pub(super) const STATS_BASIC: u16 = 1;
    pub(super) const STATS_QUEUE: u16 = 3;
    pub(super) const TBF_PARMS: u16 = 1;
    pub(super) const TBF_RATE64: u16 = 4;
    pub(super) const FQ_PLIMIT: u16 = 1;
    pub(super) const FQ_CODEL_LIMIT: u16 = 2;
    /// Of a qdisc that hangs directly on the interface.
    pub(super) const ROOT: u32 = 0xffff_ffff;
}

/// A queueing discipline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Qdisc {
    /// The kernel's name for its kind, such as `tbf`.
    pub(crate) kind: String,
    /// Its number, as `major:minor`; 0 for the ones that are there by themselves.
    pub(crate) handle: u32,
    /// What it hangs on; `None` for the interface itself.
    pub(crate) parent: Option<u32>,
    /// Packets that it sent so far.
    pub(crate) packets: u32,
    /// Packets that it dropped so far.
    pub(crate) drops: u32,
    /// How often it could not send a packet at once, for its rate.
    pub(crate) overlimits: u32,
    /// Packets that wait in it now.
    pub(crate) waiting: u32,
    /// Bytes that wait in it now.
    pub(crate) backlog: u32,
    /// Its limits, where they are known how to be read.
    pub(crate) limits: Option<Limits>,
}

/// When a queueing discipline drops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Limits {
    /// More packets than these wait.
    Packets(u32),
    /// More bytes than these wait.
    Bytes(u32),
    /// tbf: more bytes wait than `limit`, sent at `rate` bits in a second.
    Rate {
        /// Bits in a second.
        rate: u64,
        /// Bytes that may wait.
        limit: u32,
        /// The largest frame that it ever sends, in bytes with the link-layer header; `None` if the
        /// kernel does not say.
        burst: Option<u32>,
    },
    /// netem: this share of the packets is lost on purpose, in 1/1000 of a percent, and those
    /// above the limit.
    Netem {
        /// In 1/1000 of a percent.
        loss: u32,
        /// Packets that may wait.
        limit: u32,
    },
}

impl Qdisc {
    /// What it hangs on, as tc(8) prints it; `None` for the interface itself.
    pub(crate) fn parent_name(&self) -> Option<String> {
        self.parent.map(handle)
    }
}

/// The handle as tc(8) prints it.
fn handle(number: u32) -> String {
    let (major, minor) = (number >> 16, number & 0xffff);
    if minor == 0 {
        format!("{major:x}:")
    } else {
        format!("{major:x}:{minor:x}")
    }
}

/// In words without an end.
impl fmt::Display for Qdisc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, handle(self.handle))?;
        match self.limits {
            Some(Limits::Packets(limit)) => write!(f, " limit {limit} packets")?,
            Some(Limits::Bytes(limit)) => write!(f, " limit {limit} bytes")?,
            Some(Limits::Rate { rate, limit, burst }) => {
                write!(f, " rate {rate} bit/s limit {limit} bytes")?;
                if let Some(burst) = burst {
                    write!(f, " burst {burst} bytes")?;
                }
            }
            Some(Limits::Netem { loss, limit }) => {
                let (whole, part) = (loss / 1000, loss % 1000);
                write!(f, " loss {whole}.{part:03}% limit {limit} packets")?;
            }
            None => {}
        }
        write!(
            f,
            ", {} dropped of {}, {} over limits, {} waiting",
            self.drops,
            u64::from(self.packets) + u64::from(self.drops),
            self.overlimits,
            self.waiting
        )
    }
}

impl Rtnetlink {
    /// The queueing disciplines of an interface, in the kernel's order.
    pub(crate) fn qdiscs(&self, ifindex: u32) -> io::Result<Vec<Qdisc>> {
        let mut fixed = [0; FIXED];
        fixed[4..8].copy_from_slice(&ifindex.to_ne_bytes());
        // The list is of all interfaces, whatever is asked for.
        let question = Request::new(libc::RTM_GETQDISC, &fixed);
        self.0.dump(&question, |message| {
            (message.u32_at(4)? == ifindex).then(|| qdisc(message))?
        })
    }
}

pub(super) fn qdisc(message: &Message<'_>) -> Option<Qdisc> {
    let all = message.attributes(FIXED);
    let kind = all.text(tca::KIND)?;
    let stats = all.inside(tca::STATS2);
    let basic = stats.get(tca::STATS_BASIC).unwrap_or_default();
    let queue = stats.get(tca::STATS_QUEUE).unwrap_or_default();
    // `struct gnet_stats_queue`: qlen, backlog, drops, requeues, overlimits.
    let queued = |field: usize| u32_at(queue, 4 * field).unwrap_or(0);
    Some(Qdisc {
        limits: limits(&kind, all.get(tca::OPTIONS).unwrap_or_default()),
        kind,
        handle: message.u32_at(8)?,
        parent: message.u32_at(12).filter(|parent| *parent != tca::ROOT),
        packets: u32_at(basic, 8).unwrap_or(0),
        drops: queued(2),
        overlimits: queued(4),
        waiting: queued(0),
        backlog: queued(1),
    })
}

/// The burst of a token bucket in bytes. The kernel says how long it takes to send one at `rate`
/// bytes a second, in ticks of `PSCHED_SHIFT` (include/net/pkt_sched.h): 64 ns each.
fn burst(rate: u64, ticks: u32) -> Option<u32> {
    let nanos = u128::from(ticks) << 6;
    u32::try_from(u128::from(rate) * nanos / 1_000_000_000).ok()
}

fn limits(kind: &str, options: &[u8]) -> Option<Limits> {
    let all = Attributes(options);
    Some(match kind {
        "pfifo" => Limits::Packets(u32_at(options, 0)?),
        "bfifo" => Limits::Bytes(u32_at(options, 0)?),
        "fq" => Limits::Packets(all.u32(tca::FQ_PLIMIT)?),
        "fq_codel" => Limits::Packets(all.u32(tca::FQ_CODEL_LIMIT)?),
        "tbf" => {
            // `struct tc_tbf_qopt`: two `tc_ratespec` of 12 bytes with the rate at the end, in
            // bytes a second, then the limit.
            let parameters = all.get(tca::TBF_PARMS)?;
            let large = all.get(tca::TBF_RATE64).and_then(|rate| u64_at(rate, 0));
            let rate = large.or(u32_at(parameters, 8).map(u64::from))?;
            Limits::Rate {
                rate: rate.saturating_mul(8),
                limit: u32_at(parameters, 24)?,
                burst: u32_at(parameters, 28).and_then(|ticks| burst(rate, ticks)),
            }
        }
        "netem" => {
            // `struct tc_netem_qopt`: latency, limit, loss (of 2^32), …
            let share = u64::from(u32_at(options, 8)?);
            Limits::Netem {
                loss: u32::try_from((share * 100_000).div_ceil(1 << 32)).ok()?,
                limit: u32_at(options, 4)?,
            }
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(numbers: &[u32]) -> Vec<u8> {
        numbers.iter().flat_map(|word| word.to_ne_bytes()).collect()
    }

    #[test]
    fn a_token_bucket_shows_its_rate_and_drops() {
        let parameters = words(&[0, 0, 125_000, 0, 0, 0, 3000, 1600, 0]);
        let fixed = words(&[0, 7, 0x8001_0000, tca::ROOT, 0]);
        let request = Request::new(libc::RTM_NEWQDISC, &fixed)
            .with(tca::KIND, b"tbf\0")
            .nested(tca::OPTIONS, |options| {
                options.with(tca::TBF_PARMS, &parameters)
            })
            .nested(tca::STATS2, |stats| {
                stats
                    .with(tca::STATS_BASIC, &words(&[900, 0, 6, 0]))
                    .with(tca::STATS_QUEUE, &words(&[1, 1442, 14, 0, 20]))
            });
        let found = qdisc(&request.message()).unwrap();
        assert_eq!(
            found.to_string(),
            "tbf 8001: rate 1000000 bit/s limit 3000 bytes burst 12 bytes, 14 dropped of 20, 20 over limits, 1 \
             waiting"
        );
        assert_eq!(found.parent, None);
    }

    #[test]
    fn limits_of_other_kinds() {
        assert_eq!(limits("pfifo", &words(&[10])), Some(Limits::Packets(10)));
        let tenth = words(&[0, 1000, u32::MAX / 10, 0, 0, 0]);
        let netem = limits("netem", &tenth);
        assert_eq!(
            netem,
            Some(Limits::Netem {
                loss: 10_000,
                limit: 1000
            })
        );
        assert_eq!(limits("noqueue", &[]), None);
        assert_eq!(handle(0x0001_0010), "1:10");
    }
}
