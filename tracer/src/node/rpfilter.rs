//! The reverse-path filter of IPv4: a packet must come in through the interface that a packet back to
//! its source would leave through.

use std::net::IpAddr;

use anyhow::Result;

use super::{change, route::Lookup, sysctl};
use crate::{
    model::Fix,
    net::{RouteKey, RouteKind, Rtnetlink},
};

/// How strict it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Mode {
    /// No check.
    Off,
    /// The way back must lead through the same interface.
    Strict,
    /// There must be a way back, through any interface.
    Loose,
}

impl Mode {
    fn new(setting: u64) -> Self {
        match setting {
            0 => Self::Off,
            1 => Self::Strict,
            _ => Self::Loose,
        }
    }
}

/// What it says to packets from one address by one interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RpFilter {
    /// The interface that packets came in through.
    pub(crate) ifname: String,
    /// Its number.
    pub(crate) ifindex: u32,
    /// `conf/all/rp_filter`
    pub(crate) all: u64,
    /// `conf/IF/rp_filter`. The larger of the two holds.
    pub(crate) interface: u64,
    /// The way back to the source.
    pub(crate) back: Lookup,
    /// The way back by the packet's mark, where the filter leaves that out.
    pub(crate) by_mark: Option<Lookup>,
}

impl RpFilter {
    /// Reads it. `None` for IPv6, which has no such filter outside of netfilter, and for an
    /// interface that has no IPv4.
    pub(super) fn read(
        rtnetlink: &Rtnetlink,
        (ifindex, ifname): (u32, &str),
        src: IpAddr,
        mark: u32,
        (dst, towards): (IpAddr, Option<u32>),
    ) -> Result<Option<Self>> {
        let read =
            |which, setting| sysctl::number(&format!("/proc/sys/net/ipv4/conf/{which}/{setting}"));
        let of_interface = read(ifname, "rp_filter")?;
        let (true, Some(all), Some(interface)) =
            (src.is_ipv4(), read("all", "rp_filter")?, of_interface)
        else {
            return Ok(None);
        };
        // The filter looks up routes without the packet's mark, unless `src_valid_mark` is set.
        let marked = [
            read("all", "src_valid_mark")?,
            read(ifname, "src_valid_mark")?,
        ];
        let takes_mark = marked.into_iter().flatten().any(|setting| setting != 0);
        let back = RouteKey {
            mark: if takes_mark { mark } else { 0 },
            ..RouteKey::to(src)
        };
        // The filter looks the way back up as an answer would take it: from the destination, which
        // policy rules may ask for.
        let answer = RouteKey {
            src: Some(dst),
            iif: towards,
            ..back
        };
        let as_answered = Lookup::read(rtnetlink, answer)?;
        let is_left_out = mark != 0 && !takes_mark;
        let marked = is_left_out.then(|| Lookup::read(rtnetlink, RouteKey { mark, ..back }));
        Ok(Some(Self {
            by_mark: marked.transpose()?,
            ifname: ifname.to_owned(),
            ifindex,
            all,
            interface,
            back: match as_answered.answer {
                Ok(_) => as_answered,
                Err(_) => Lookup::read(rtnetlink, back)?,
            },
        }))
    }

    /// What holds.
    pub(crate) fn mode(&self) -> Mode {
        Mode::new(self.all.max(self.interface))
    }

    /// Whether it refuses the packets.
    pub(crate) fn refuses(&self) -> bool {
        match (self.mode(), &self.back.answer) {
            (Mode::Off, _) => false,
            (_, Err(_)) => true,
            (_, Ok(route)) if route.kind == RouteKind::Local => true,
            (Mode::Strict, Ok(route)) => {
                let mut outputs = route.output.into_iter().collect::<Vec<_>>();
                let all = self.back.matched.iter().flat_map(|matched| &matched.hops);
                outputs.extend(all.map(|(output, _)| *output));
                !outputs.contains(&self.ifindex)
            }
            (Mode::Loose, Ok(_)) => false,
        }
    }

    /// What contradicts, in a sentence without an end; `None` if nothing does.
    pub(crate) fn contradiction(&self) -> Option<String> {
        let (src, ifname) = (self.back.packet.dst, &self.ifname);
        if !self.refuses() {
            return None;
        }
        let Ok(route) = &self.back.answer else {
            return Some(format!(
                "src {src} came in through {ifname}, but there is no route back ({})",
                self.back
            ));
        };
        if route.kind == RouteKind::Local {
            return Some(format!(
                "src {src} came in through {ifname}, but is an address of this namespace itself"
            ));
        }
        let output = route.ifname.as_deref().unwrap_or("another interface");
        let by = self.back.matched.as_ref().unwrap_or(route);
        let mark = self.right_mark().map_or_else(String::new, |mark| {
            format!(
                "; by its mark {mark:#x}, it leaves through {ifname}, and src_valid_mark is 0: the \
                 filter does not look at marks"
            )
        });
        Some(format!(
            "src {src} came in through {ifname}, but the route back leaves through {output} ({by}{}){mark}",
            self.source_in_words()
        ))
    }

    /// The packet's mark, if the way back by it is the right one.
    fn right_mark(&self) -> Option<u32> {
        let marked = self.by_mark.as_ref()?;
        let route = marked.answer.as_ref().ok()?;
        (route.output == Some(self.ifindex)).then_some(marked.packet.mark)
    }

    /// How the route back is asked for, where its source decides.
    fn source_in_words(&self) -> String {
        let packet = &self.back.packet;
        let source = packet.src.filter(|_| packet.iif.is_some());
        source.map_or_else(String::new, |from| {
            format!("; `ip route get {} from {from}` shows it", packet.dst)
        })
    }

    /// Has the filter look at marks, if that helps; otherwise makes it loose: there is a way back, by
    /// another interface.
    pub(crate) fn fix(&self) -> Option<Fix> {
        let elsewhere = matches!(&self.back.answer, Ok(route) if route.kind != RouteKind::Local);
        let helps = self.mode() == Mode::Strict && self.refuses() && elsewhere;
        helps.then(|| {
            if self.right_mark().is_some() {
                return change::sysctl("net/ipv4/conf/all/src_valid_mark", 0, 1);
            }
            let path = format!("net/ipv4/conf/{}/rp_filter", self.ifname);
            change::sysctl(&path, self.interface, 2)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        net::{Route, tests::route},
        node::route::Refusal,
    };

    fn filter(all: u64, interface: u64, answer: Result<Route, Refusal>) -> RpFilter {
        RpFilter {
            ifname: "eth1".to_owned(),
            ifindex: 3,
            all,
            interface,
            back: Lookup {
                packet: RouteKey::to("10.1.2.3".parse().unwrap()),
                matched: answer.is_ok().then(|| route("10.1.0.0/16", "eth0")),
                answer,
                blocking: Vec::new(),
            },
            by_mark: None,
        }
    }

    fn by_eth0() -> Result<Route, Refusal> {
        Ok(route("10.1.2.3/32", "eth0"))
    }

    #[test]
    fn strict_wants_the_same_interface() {
        let strict = filter(0, 1, by_eth0());
        assert_eq!(
            strict.contradiction().unwrap(),
            "src 10.1.2.3 came in through eth1, but the route back leaves through eth0 (10.1.0.0/16 dev \
             eth0)"
        );
        let fix = strict.fix().unwrap();
        assert_eq!(fix.line(), "sysctl -w net.ipv4.conf.eth1.rp_filter=2");
        let undo = fix.undo_line();
        assert_eq!(
            undo.as_deref(),
            Some("sysctl -w net.ipv4.conf.eth1.rp_filter=1")
        );
        let mut same = strict;
        same.ifindex = 2;
        assert_eq!((same.contradiction(), same.fix()), (None, None));
    }

    #[test]
    fn a_mark_that_leads_back_is_to_be_looked_at() {
        let mut filter = filter(0, 1, by_eth0());
        let mut marked = filter.back.clone();
        marked.packet.mark = 0x8_0000;
        marked.answer.as_mut().unwrap().output = Some(3);
        filter.by_mark = Some(marked);
        let why = filter.contradiction().unwrap();
        assert!(why.contains("by its mark 0x80000, it leaves through eth1"));
        let fix = filter.fix().unwrap();
        assert_eq!(fix.line(), "sysctl -w net.ipv4.conf.all.src_valid_mark=1");
        // It leads elsewhere, too.
        let marked = filter.by_mark.as_mut().unwrap();
        marked.answer.as_mut().unwrap().output = Some(2);
        let fix = filter.fix().unwrap();
        assert_eq!(fix.line(), "sysctl -w net.ipv4.conf.eth1.rp_filter=2");
    }

    #[test]
    fn the_larger_setting_holds() {
        assert_eq!(filter(1, 0, by_eth0()).mode(), Mode::Strict);
        assert_eq!(
            filter(1, 0, by_eth0()).fix().unwrap().undo_line(),
            Some("sysctl -w net.ipv4.conf.eth1.rp_filter=0".to_owned())
        );
        assert!(!filter(1, 2, by_eth0()).refuses());
        assert!(!filter(2, 1, by_eth0()).refuses());
        assert!(!filter(0, 0, by_eth0()).refuses());
    }

    #[test]
    fn loose_cannot_help_without_a_way_back() {
        for mode in [1, 2] {
            let lost = filter(0, mode, Err(Refusal::NoRoute));
            assert!(lost.refuses());
            assert_eq!(lost.fix(), None);
            assert_eq!(
                lost.contradiction().unwrap(),
                "src 10.1.2.3 came in through eth1, but there is no route back (10.1.2.3: no route)"
            );
        }
        let mut own = route("10.1.2.3/32", "lo");
        own.kind = RouteKind::Local;
        assert_eq!(filter(0, 1, Ok(own)).fix(), None);
    }

    #[test]
    fn any_of_several_next_hops_will_do() {
        let mut several = filter(0, 1, by_eth0());
        several.back.matched.as_mut().unwrap().hops = vec![(2, None), (3, None)];
        assert!(!several.refuses());
    }
}
