//! Asks the kernel for the route of a packet, and makes sense of a refusal.

use std::{fmt, io, net::IpAddr};

use anyhow::Result;

use super::{
    Route, RouteKind,
    read::{self, FIXED},
};
use crate::node::{
    link,
    rtnetlink::{Message, Rtnetlink, family},
};

/// `RTA_IP_PROTO` (include/uapi/linux/rtnetlink.h).
const IP_PROTO: u16 = 27;

/// The packet that a route is looked up for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Where it goes.
    pub dst: IpAddr,
    /// Where it comes from, if that is to be taken into account.
    pub src: Option<IpAddr>,
    /// The interface it came in by; `None` for one that is sent from here.
    pub iif: Option<u32>,
    /// Its mark, which rules may ask for.
    pub mark: u32,
    /// Its protocol, which rules may ask for.
    pub proto: Option<u8>,
}

impl Packet {
    /// Just to an address, sent from here.
    pub fn to(dst: IpAddr) -> Self {
        Self {
            dst,
            src: None,
            iif: None,
            mark: 0,
            proto: None,
        }
    }
}

/// Why there is no route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// No route matches.
    NoRoute,
    /// A route, or a rule, says blackhole.
    Blackhole,
    /// A route, or a rule, says unreachable.
    Unreachable,
    /// A route, or a rule, says prohibit.
    Prohibit,
    /// There is a route, but the interface does not forward.
    NotForwarding,
    /// There is a route, but not for this source by this interface: the reverse-path filter, or
    /// a martian.
    Source,
    /// Something else, an error number.
    Other(i32),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoRoute => "no route",
            Self::Blackhole => "blackhole",
            Self::Unreachable => "unreachable",
            Self::Prohibit => "prohibited",
            Self::NotForwarding => "not forwarded",
            Self::Source => "refused for its source",
            Self::Other(errno) => {
                return write!(f, "{}", io::Error::from_raw_os_error(*errno));
            }
        })
    }
}

/// What the kernel says to a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lookup {
    /// The packet.
    pub packet: Packet,
    /// What would happen to it.
    pub answer: Result<Route, Refusal>,
    /// The route that decides, with the addresses it is for; `None` where nothing matches, or the
    /// kernel does not say (it does not for the routes of [`Lookup::blocking`]).
    pub matched: Option<Route>,
    /// Routes that refuse packets to this destination, the most exact first. Others may be still
    /// more exact.
    pub blocking: Vec<Route>,
}

impl Lookup {
    /// Asks the kernel.
    ///
    /// # Errors
    ///
    /// It cannot be asked. That it knows no route is no error.
    pub(in crate::node) fn read(rtnetlink: &Rtnetlink, packet: Packet) -> Result<Self> {
        let mut answer = ask(rtnetlink, packet, 0)?;
        if let Err(refusal) = answer
            && packet.iif.is_some()
        {
            // The same errors mean something else for a packet that came in.
            let from_here = Packet {
                src: None,
                iif: None,
                ..packet
            };
            let exists = ask(rtnetlink, from_here, 0)?.is_ok_and(|route| !route.kind.is_blocking());
            answer = Err(of_incoming(refusal, exists, packet.src.is_some()));
        }
        if let Ok(route) = &mut answer {
            name(rtnetlink, route);
            if route.kind.is_blocking() {
                answer = Err(match route.kind {
                    RouteKind::Blackhole => Refusal::Blackhole,
                    RouteKind::Prohibit => Refusal::Prohibit,
                    _ => Refusal::Unreachable,
                });
            }
        }
        // Kernels before 4.13 do not know the flag, and answer as without it.
        let whole = if answer.is_ok() {
            packet
        } else {
            Packet {
                src: None,
                iif: None,
                ..packet
            }
        };
        let matched = ask(rtnetlink, whole, libc::RTM_F_FIB_MATCH)?.ok();
        let matched = matched.map(|mut route| {
            name(rtnetlink, &mut route);
            route
        });
        let blocking = match answer {
            Ok(_) => Vec::new(),
            Err(_) => blocking(rtnetlink, packet.dst)?,
        };
        let answer = answer.map_err(|refusal| believed(refusal, &blocking));
        Ok(Self {
            packet,
            answer,
            matched,
            blocking,
        })
    }

    /// The route that refuses the packet, if one does.
    pub fn culprit(&self) -> Option<&Route> {
        let wanted = match self.answer {
            Err(Refusal::Blackhole) => RouteKind::Blackhole,
            Err(Refusal::Unreachable) => RouteKind::Unreachable,
            Err(Refusal::Prohibit) => RouteKind::Prohibit,
            _ => return None,
        };
        self.blocking.iter().find(|route| route.kind == wanted)
    }
}

/// In one sentence without an end.
impl fmt::Display for Lookup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.answer, self.culprit(), &self.matched) {
            (Ok(route), _, Some(matched)) if matched.to != route.to => {
                write!(f, "{route} (by the route {matched})")
            }
            (Ok(route), ..) => write!(f, "{route}"),
            (Err(refusal), Some(route), _) => {
                write!(f, "{}: {refusal} (by the route {route})", self.packet.dst)
            }
            (Err(refusal), ..) => write!(f, "{}: {refusal}", self.packet.dst),
        }
    }
}

/// What a refusal means for a packet that came in. `exists` says whether one from here would have a
/// route.
fn of_incoming(refusal: Refusal, exists: bool, has_source: bool) -> Refusal {
    match refusal {
        // EINVAL since 6.13, before it EXDEV where it was the reverse-path filter.
        Refusal::Blackhole | Refusal::Other(libc::EXDEV) if exists && has_source => Refusal::Source,
        Refusal::Blackhole if exists => Refusal::Other(libc::EINVAL),
        Refusal::Unreachable if exists => Refusal::NotForwarding,
        other => other,
    }
}

/// EINVAL may also say that the question makes no sense: only a route makes it a blackhole.
fn believed(refusal: Refusal, blocking: &[Route]) -> Refusal {
    let is_there = blocking
        .iter()
        .any(|route| route.kind == RouteKind::Blackhole);
    if refusal == Refusal::Blackhole && !is_there {
        return Refusal::Other(libc::EINVAL);
    }
    refusal
}

/// The kernel's answers to a lookup that ends without a route.
fn refusal(errno: i32) -> Refusal {
    match errno {
        libc::ENETUNREACH => Refusal::NoRoute,
        libc::EINVAL => Refusal::Blackhole,
        libc::EHOSTUNREACH => Refusal::Unreachable,
        libc::EACCES => Refusal::Prohibit,
        other => Refusal::Other(other),
    }
}

fn ask(rtnetlink: &Rtnetlink, packet: Packet, flags: u32) -> Result<Result<Route, Refusal>> {
    Ok(match rtnetlink.ask(&question(packet, flags))? {
        Ok(message) => {
            let route = message.as_ref().and_then(read::route);
            route.ok_or(Refusal::NoRoute)
        }
        Err(error) => Err(refusal(error.raw_os_error().unwrap_or(libc::EIO))),
    })
}

fn question(packet: Packet, flags: u32) -> Message {
    let length = if packet.dst.is_ipv4() { 32 } else { 128 };
    let src = packet
        .src
        .filter(|src| src.is_ipv4() == packet.dst.is_ipv4());
    let mut fixed = [0; FIXED];
    fixed[0] = family(packet.dst);
    fixed[1] = length;
    fixed[2] = if src.is_some() { length } else { 0 };
    // IPv6 always tells the table, and refuses the flag.
    let flags = if packet.dst.is_ipv4() {
        flags | libc::RTM_F_LOOKUP_TABLE
    } else {
        flags
    };
    fixed[8..].copy_from_slice(&flags.to_ne_bytes());
    let mut message =
        Message::new(libc::RTM_GETROUTE, &fixed).with_address(libc::RTA_DST, packet.dst);
    if let Some(src) = src {
        message = message.with_address(libc::RTA_SRC, src);
    }
    // Other protocols are not accepted here.
    const TCP_UDP_ICMP: [u8; 4] = [6, 17, 1, 58];
    if let Some(proto) = packet.proto.filter(|proto| TCP_UDP_ICMP.contains(proto)) {
        message = message.with(IP_PROTO, &[proto]);
    }
    message
        .with_u32(libc::RTA_IIF, packet.iif)
        .with_u32(libc::RTA_MARK, (packet.mark != 0).then_some(packet.mark))
}

/// The routes that refuse packets to an address, in all tables, the most exact first.
fn blocking(rtnetlink: &Rtnetlink, dst: IpAddr) -> Result<Vec<Route>> {
    let mut found = Vec::new();
    for kind in [
        libc::RTN_BLACKHOLE,
        libc::RTN_UNREACHABLE,
        libc::RTN_PROHIBIT,
    ] {
        let mut fixed = [0; FIXED];
        fixed[0] = family(dst);
        // The kernel lists only these, so that many other routes cost nothing.
        fixed[7] = kind;
        let question = Message::new(libc::RTM_GETROUTE, &fixed);
        found.extend(rtnetlink.list(&question, |message| {
            let route = read::route(message)?;
            let concerns = route.kind.is_blocking() && route.to.contains(&dst);
            (concerns && message.bytes.get(7) == Some(&kind)).then_some(route)
        })?);
    }
    for route in &mut found {
        name(rtnetlink, route);
    }
    found.sort_by_key(|route| std::cmp::Reverse(route.to.prefix_len()));
    Ok(found)
}

/// A name says more than a number, but is not worth failing for.
fn name(rtnetlink: &Rtnetlink, route: &mut Route) {
    let link = route
        .output
        .and_then(|output| link::by_index(rtnetlink, output).ok()?);
    route.ifname = link.map(|link| link.name);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::route::tests::route;

    #[test]
    fn errors_mean_something_else_for_packets_that_came_in() {
        assert_eq!(refusal(libc::EINVAL), Refusal::Blackhole);
        let came_in = |errno, exists| of_incoming(refusal(errno), exists, true);
        assert_eq!(came_in(libc::EINVAL, false), Refusal::Blackhole);
        assert_eq!(came_in(libc::EINVAL, true), Refusal::Source);
        assert_eq!(came_in(libc::EXDEV, true), Refusal::Source);
        assert_eq!(came_in(libc::EHOSTUNREACH, true), Refusal::NotForwarding);
        assert_eq!(came_in(libc::EHOSTUNREACH, false), Refusal::Unreachable);
        let unknown = of_incoming(Refusal::Blackhole, true, false);
        assert_eq!(unknown, Refusal::Other(libc::EINVAL));
        assert_eq!(refusal(libc::ENETUNREACH).to_string(), "no route");
        assert_eq!(refusal(libc::EACCES), Refusal::Prohibit);
    }

    #[test]
    fn a_blackhole_takes_a_route() {
        let hole = Route {
            kind: RouteKind::Blackhole,
            ..route("10.0.0.0/8", "")
        };
        assert_eq!(believed(Refusal::Blackhole, &[hole]), Refusal::Blackhole);
        let unproven = believed(Refusal::Blackhole, &[]);
        assert_eq!(unproven, Refusal::Other(libc::EINVAL));
    }

    #[test]
    fn the_question_says_all_that_rules_ask_for() {
        let packet = Packet {
            src: Some("10.0.0.2".parse().unwrap()),
            iif: Some(3),
            mark: 0x4000,
            proto: Some(6),
            ..Packet::to("10.1.2.3".parse().unwrap())
        };
        let question = question(packet, 0);
        assert_eq!(&question.bytes[..3], [2, 32, 32]);
        let all = question.attributes(FIXED);
        assert_eq!(all.address(libc::RTA_SRC), packet.src);
        assert_eq!(all.u32(libc::RTA_IIF), Some(3));
        assert_eq!(all.u32(libc::RTA_MARK), Some(0x4000));
        assert_eq!(all.get(IP_PROTO), Some([6].as_slice()));
    }

    #[test]
    fn the_refusing_route_is_named() {
        let dst = "10.1.2.3".parse().unwrap();
        let refusing = |to: &str, kind| Route {
            kind,
            ifname: None,
            output: None,
            ..route(to, "")
        };
        let lookup = Lookup {
            packet: Packet::to(dst),
            answer: Err(Refusal::Prohibit),
            matched: None,
            blocking: vec![
                refusing("10.1.2.0/24", RouteKind::Blackhole),
                refusing("10.1.0.0/16", RouteKind::Prohibit),
            ],
        };
        assert_eq!(
            lookup.to_string(),
            "10.1.2.3: prohibited (by the route prohibit 10.1.0.0/16)"
        );
    }

    #[test]
    fn the_kernel_knows_its_own_address() {
        let rtnetlink = Rtnetlink::open().unwrap();
        let packet = Packet::to("127.0.0.1".parse().unwrap());
        let lookup = Lookup::read(&rtnetlink, packet).unwrap();
        if let Ok(route) = &lookup.answer {
            assert_eq!(route.kind, RouteKind::Local);
            assert_eq!(route.ifname.as_deref(), Some("lo"));
        }
    }
}
