//! The filters of tc at an interface (`RTM_GETTFILTER`), and those of BPF that are added to clsact.

use std::{io, os::fd::RawFd};

use super::{
    message::{Attributes, Message, Request, u32_at},
    netlink::Rtnetlink,
};

/// Length of `struct tcmsg`.
const FIXED: usize = 20;

/// Numbers of include/uapi/linux/{rtnetlink,pkt_cls,gen_stats,pkt_sched}.h and
/// include/uapi/linux/tc_act/{tc_gact,tc_police}.h.
mod tca {
    pub(super) const KIND: u16 = 1;
    pub(super) const OPTIONS: u16 = 2;
    pub(super) const BPF_FD: u16 = 6;
    pub(super) const BPF_NAME: u16 = 7;
    pub(super) const BPF_FLAGS: u16 = 8;
    /// `TCA_BPF_FLAG_ACT_DIRECT`: what the program returns is the verdict.
    pub(super) const BPF_DIRECT: u32 = 1;
    pub(super) const BPF_ID: u16 = 11;
    pub(super) const ACT_KIND: u16 = 1;
    pub(super) const ACT_OPTIONS: u16 = 2;
    pub(super) const ACT_STATS: u16 = 4;
    pub(super) const STATS_QUEUE: u16 = 3;
    /// `TCA_GACT_PARMS`, after which `tc_gact` has the action as its third number.
    pub(super) const GACT_PARMS: u16 = 2;
    pub(super) const SHOT: u32 = 2;
    /// `TCA_MIRRED_PARMS`: `struct tc_mirred` has `eaction` as its sixth number and `ifindex` as its
    /// seventh.
    pub(super) const MIRRED_PARMS: u16 = 2;
    /// `TCA_EGRESS_REDIR` and `TCA_INGRESS_REDIR`.
    pub(super) const REDIRECTIONS: [u32; 2] = [1, 3];
    /// `TC_H_CLSACT`, and the handle that the qdisc has there.
    pub(super) const CLSACT: u32 = 0xffff_fff1;
    pub(super) const CLSACT_HANDLE: u32 = 0xffff_0000;
}

/// What filters of the clsact qdisc at ingress hang on.
pub(crate) const CLSACT_INGRESS: u32 = 0xffff_fff2;
/// What filters of the clsact qdisc at egress hang on.
pub(crate) const CLSACT_EGRESS: u32 = 0xffff_fff3;

/// A filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TcFilter {
    /// By what it is found at its place.
    pub(crate) id: FilterId,
    /// The kernel's name for its kind, such as `bpf`.
    pub(crate) kind: String,
    /// Of a BPF filter: the name it was given.
    pub(crate) name: Option<String>,
    /// Of a BPF filter: the number of its program.
    pub(crate) program: Option<u32>,
    /// What it does with a packet; `None` where it is of a kind whose actions cannot be read.
    pub(crate) actions: Option<FilterActions>,
}

/// By what tc(8) finds a filter at its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FilterId {
    /// Its priority (`pref`).
    pub(crate) priority: u16,
    /// The EtherType of the packets that it sees, in host byte order; 3 (`ETH_P_ALL`) for all.
    pub(crate) protocol: u16,
    /// Its number among those of its priority.
    pub(crate) handle: u32,
    /// Whether what a program of BPF returns is the verdict.
    pub(crate) is_direct: bool,
}

/// What a filter does with a packet that it matches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct FilterActions {
    /// The one that matters most.
    pub(crate) action: Option<FilterAction>,
    /// The interface that it sends packets to, 0 if that has gone.
    pub(crate) redirect: Option<u32>,
    /// How often that interface could not take one.
    pub(crate) overlimits: u32,
    /// How many packets they have dropped so far.
    pub(crate) drops: Option<u32>,
}

/// One action of a filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FilterAction {
    /// Drops it.
    Drop,
    /// Drops what is above a rate.
    Police,
    /// Whatever a classic BPF program says, which has no number and no name.
    Classic,
    /// Something else.
    Other,
}

impl Rtnetlink {
    /// The filters of an interface that hang on this qdisc.
    pub(crate) fn filters(&self, ifindex: u32, parent: u32) -> io::Result<Vec<TcFilter>> {
        let question = Request::new(libc::RTM_GETTFILTER, &header(ifindex, 0, parent, 0));
        self.0.dump(&question, filter)
    }

    /// The interfaces that have the clsact qdisc.
    pub(crate) fn clsact_interfaces(&self) -> io::Result<Vec<u32>> {
        let question = Request::new(libc::RTM_GETQDISC, &header(0, 0, 0, 0));
        self.0.dump(&question, |message| {
            let kind = message.attributes(FIXED).text(tca::KIND)?;
            (kind == "clsact").then(|| message.u32_at(4))?
        })
    }

    /// Adds the clsact qdisc: false if it is there already.
    pub(crate) fn add_clsact(&self, ifindex: u32) -> io::Result<bool> {
        let request = clsact(libc::RTM_NEWQDISC, ifindex);
        match self
            .0
            .run(&request.flags(libc::NLM_F_CREATE | libc::NLM_F_EXCL))
        {
            Ok(()) => Ok(true),
            Err(error) if error.raw_os_error() == Some(libc::EEXIST) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Removes the clsact qdisc, with all its filters.
    pub(crate) fn remove_clsact(&self, ifindex: u32) -> io::Result<()> {
        self.0.run(&clsact(libc::RTM_DELQDISC, ifindex))
    }

    /// Adds a BPF program that decides itself as a filter for all protocols.
    pub(crate) fn add_bpf_filter(
        &self,
        (ifindex, parent): (u32, u32),
        (priority, handle): (u16, u32),
        name: &str,
        program: RawFd,
    ) -> io::Result<()> {
        let fixed = header(ifindex, handle, parent, info(priority));
        let request = Request::new(libc::RTM_NEWTFILTER, &fixed)
            .flags(libc::NLM_F_CREATE | libc::NLM_F_EXCL)
            .with(tca::KIND, b"bpf\0")
            .nested(tca::OPTIONS, |options| {
                options
                    .with(tca::BPF_FD, &program.to_ne_bytes())
                    .with(tca::BPF_NAME, &[name.as_bytes(), b"\0"].concat())
                    .with_u32(tca::BPF_FLAGS, Some(tca::BPF_DIRECT))
            });
        self.0.run(&request)
    }

    /// Removes a BPF filter for all protocols.
    pub(crate) fn remove_bpf_filter(
        &self,
        (ifindex, parent): (u32, u32),
        (priority, handle): (u16, u32),
    ) -> io::Result<()> {
        let fixed = header(ifindex, handle, parent, info(priority));
        let request = Request::new(libc::RTM_DELTFILTER, &fixed);
        self.0.run(&request.with(tca::KIND, b"bpf\0"))
    }
}

fn clsact(kind: u16, ifindex: u32) -> Request {
    let fixed = header(ifindex, tca::CLSACT_HANDLE, tca::CLSACT, 0);
    Request::new(kind, &fixed).with(tca::KIND, b"clsact\0")
}

/// `struct tcmsg`
fn header(ifindex: u32, handle: u32, parent: u32, info: u32) -> [u8; FIXED] {
    let mut bytes = [0; FIXED];
    for (field, value) in [ifindex, handle, parent, info].into_iter().enumerate() {
        bytes[4 * (field + 1)..][..4].copy_from_slice(&value.to_ne_bytes());
    }
    bytes
}

/// Priority and protocol of a filter for all protocols (`TC_H_MAKE()` of tc_fill_node in
/// net/sched/cls_api.c): the lower half is in network byte order.
fn info(priority: u16) -> u32 {
    u32::from(priority) << 16 | u32::from((libc::ETH_P_ALL as u16).to_be())
}

pub(super) fn filter(message: &Message<'_>) -> Option<TcFilter> {
    let all = message.attributes(FIXED);
    let kind = all.text(tca::KIND)?;
    // Each priority is reported once more by itself, without a handle; u32 also reports its hash
    // tables, whose handles have no number of a filter.
    let handle = message.u32_at(8)?;
    if (handle == 0 && kind != "cgroup") || (kind == "u32" && handle & 0xfff == 0) {
        return None;
    }
    let options = all.inside(tca::OPTIONS);
    let is_bpf = kind == "bpf";
    let program = options.u32(tca::BPF_ID).filter(|_| is_bpf);
    let is_direct = options
        .u32(tca::BPF_FLAGS)
        .is_some_and(|flags| flags & tca::BPF_DIRECT != 0);
    let mut actions = actions_at(&kind).map(|at| actions(options.inside(at)));
    if let Some(actions) = &mut actions
        && is_bpf
        && is_direct
        && program.is_none()
    {
        actions.action = Some(FilterAction::Classic);
    }
    let info = message.u32_at(16)?;
    Some(TcFilter {
        id: FilterId {
            priority: (info >> 16) as u16,
            protocol: u16::from_be(info as u16),
            handle,
            is_direct,
        },
        name: options.text(tca::BPF_NAME).filter(|_| is_bpf),
        program,
        actions,
        kind,
    })
}

/// The number of the attribute with the actions, which each kind has at another place.
fn actions_at(kind: &str) -> Option<u16> {
    Some(match kind {
        "bpf" | "cgroup" => 1,
        "matchall" => 2,
        "flower" | "basic" => 3,
        "fw" => 4,
        "route" => 6,
        "u32" => 7,
        "flow" => 9,
        _ => return None,
    })
}

fn actions(all: Attributes<'_>) -> FilterActions {
    let mut found = FilterActions::default();
    for (_, bytes) in all.iter() {
        let one = Attributes(bytes);
        let options = one.inside(tca::ACT_OPTIONS);
        let action = match one.text(tca::ACT_KIND).as_deref() {
            Some("gact") => {
                let parameters = options.get(tca::GACT_PARMS).unwrap_or_default();
                match u32_at(parameters, 8) {
                    Some(tca::SHOT) => FilterAction::Drop,
                    _ => FilterAction::Other,
                }
            }
            Some("mirred") => {
                let parameters = options.get(tca::MIRRED_PARMS).unwrap_or_default();
                let redirects = u32_at(parameters, 20)
                    .is_some_and(|action| tca::REDIRECTIONS.contains(&action));
                if redirects && found.redirect.is_none() {
                    found.redirect = u32_at(parameters, 24);
                    let queue = one.inside(tca::ACT_STATS).get(tca::STATS_QUEUE);
                    found.overlimits = queue.and_then(|queue| u32_at(queue, 16)).unwrap_or(0);
                }
                FilterAction::Other
            }
            Some("police") => FilterAction::Police,
            Some(_) => FilterAction::Other,
            None => continue,
        };
        let is_news = found.action.is_none() || action != FilterAction::Other;
        if found.action != Some(FilterAction::Drop) && is_news {
            found.action = Some(action);
        }
        // `struct gnet_stats_queue`: the third number is `drops`, the fifth `overlimits`.
        let queue = one.inside(tca::ACT_STATS).get(tca::STATS_QUEUE);
        if let Some(drops) = queue.and_then(|queue| u32_at(queue, 8)) {
            found.drops = Some(found.drops.unwrap_or(0).saturating_add(drops));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(handle: u32, kind: &str, fill: impl FnOnce(Request) -> Request) -> Option<TcFilter> {
        let request = Request::new(libc::RTM_NEWTFILTER, &header(1, handle, 0, info(1)))
            .with(tca::KIND, format!("{kind}\0").as_bytes())
            .nested(tca::OPTIONS, fill);
        filter(&request.message())
    }

    fn words(numbers: [u32; 5]) -> Vec<u8> {
        numbers.into_iter().flat_map(u32::to_ne_bytes).collect()
    }

    #[test]
    fn a_bpf_filter_has_a_program() {
        let found = read(1, "bpf", |options| {
            options
                .with(tca::BPF_NAME, b"drop_all\0")
                .with_u32(tca::BPF_ID, Some(42))
        });
        let found = found.unwrap();
        assert_eq!(found.name.as_deref(), Some("drop_all"));
        assert_eq!(found.program, Some(42));
        assert_eq!(found.actions.unwrap().action, None);
        assert_eq!((found.id.priority, found.id.protocol), (1, 3));
        assert_eq!(read(0, "bpf", |head| head), None);
        assert_eq!(read(1, "flower2", |options| options).unwrap().actions, None);
    }

    #[test]
    fn a_classic_program_decides_itself() {
        let with = |flags| {
            read(1, "bpf", |options| {
                options.with_u32(tca::BPF_FLAGS, Some(flags))
            })
            .unwrap()
            .actions
            .unwrap()
            .action
        };
        assert_eq!(with(tca::BPF_DIRECT), Some(FilterAction::Classic));
        assert_eq!(with(0), None);
    }

    #[test]
    fn a_redirection_names_its_interface() {
        let mirred = |eaction, ifindex: u32| {
            let numbers = [0, 0, 4, 1, 1, eaction, ifindex];
            let parameters: Vec<_> = numbers.into_iter().flat_map(u32::to_ne_bytes).collect();
            let found = read(1, "matchall", |options| {
                options.nested(2, |actions| {
                    actions.nested(1, |action| {
                        action
                            .with(tca::ACT_KIND, b"mirred\0")
                            .nested(tca::ACT_OPTIONS, |options| {
                                options.with(tca::MIRRED_PARMS, &parameters)
                            })
                            .nested(tca::ACT_STATS, |stats| {
                                stats.with(tca::STATS_QUEUE, &words([0, 0, 0, 0, 5]))
                            })
                    })
                })
            });
            let found = found.unwrap().actions.unwrap();
            (found.redirect, found.overlimits)
        };
        assert_eq!(mirred(1, 7), (Some(7), 5));
        assert_eq!(mirred(3, 0), (Some(0), 5));
        // A mirror passes the packet on.
        assert_eq!(mirred(2, 7), (None, 0));
    }

    #[test]
    fn a_dropping_action_is_found_among_others() {
        let action = |kind: &'static str, verdict| {
            move |action: Request| {
                action
                    .with(tca::ACT_KIND, format!("{kind}\0").as_bytes())
                    .nested(tca::ACT_OPTIONS, |options| {
                        options.with(tca::GACT_PARMS, &words([1, 0, verdict, 1, 1]))
                    })
                    .nested(tca::ACT_STATS, |stats| {
                        stats.with(tca::STATS_QUEUE, &words([0, 0, 3, 0, 0]))
                    })
            }
        };
        let both = read(1, "matchall", |options| {
            options.nested(2, |actions| {
                actions
                    .nested(1, action("gact", tca::SHOT))
                    .nested(2, action("mirred", 0))
            })
        });
        let both = both.unwrap().actions.unwrap();
        assert_eq!(
            (both.action, both.drops),
            (Some(FilterAction::Drop), Some(6))
        );
        let of = |kind| {
            let one = Request::new(0, &[]).nested(1, action(kind, 0));
            actions(one.message().attributes(0)).action
        };
        assert_eq!(of("police"), Some(FilterAction::Police));
        assert_eq!(of("gact"), Some(FilterAction::Other));
    }
}
