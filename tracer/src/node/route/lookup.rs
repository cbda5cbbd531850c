//! Asks the kernel for the route of a packet, and makes sense of a refusal.

use std::{fmt, io, net::IpAddr};

use crate::net::{Route, RouteKey, RouteKind, Rtnetlink};

/// Why there is no route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
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
            Self::Source => "refused because of its source address",
            // As a blackhole does, or for a source that is not accepted.
            Self::Other(libc::EINVAL) => "refused (EINVAL)",
            Self::Other(errno) => {
                return write!(f, "{}", io::Error::from_raw_os_error(*errno));
            }
        })
    }
}

/// What the kernel says to a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Lookup {
    /// The packet.
    pub(crate) packet: RouteKey,
    /// What would happen to it.
    pub(crate) answer: Result<Route, Refusal>,
    /// The route that decides, with the addresses it is for; `None` where nothing matches, or the
    /// kernel does not say (it does not for the routes of [`Lookup::blocking`]).
    pub(crate) matched: Option<Route>,
    /// Routes that refuse packets to this destination or end the search in their table, the most exact
    /// first. Others may be still more exact.
    pub(crate) blocking: Vec<Route>,
}

impl Lookup {
    /// Asks the kernel.
    ///
    /// # Errors
    ///
    /// It cannot be asked. That it knows no route is no error.
    pub(in crate::node) fn read(rtnetlink: &Rtnetlink, packet: RouteKey) -> io::Result<Self> {
        let mut answer = ask(rtnetlink, packet)?;
        if let Err(refusal) = answer
            && packet.iif.is_some()
        {
            // The same errors mean something else for a packet that came in.
            let exists =
                ask(rtnetlink, packet.sent_here())?.is_ok_and(|route| !route.kind.is_blocking());
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
        let whole = if answer.is_ok() {
            packet
        } else {
            packet.sent_here()
        };
        let matched = rtnetlink.matching_route(whole)?.ok().flatten();
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

    /// The route that ends the search in the table main, where no other table has one for the packet.
    pub(crate) fn thrown_by(&self) -> Option<&Route> {
        let mut of_main = self.blocking.iter().filter(|route| route.table == MAIN);
        let first = of_main.next()?;
        let is_thrown = self.answer == Err(Refusal::NoRoute) && first.kind == RouteKind::Throw;
        is_thrown.then_some(first)
    }

    /// The route that refuses the packet, if one does.
    pub(crate) fn culprit(&self) -> Option<&Route> {
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

/// `RT_TABLE_MAIN`
const MAIN: u32 = libc::RT_TABLE_MAIN as u32;

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

fn ask(rtnetlink: &Rtnetlink, packet: RouteKey) -> io::Result<Result<Route, Refusal>> {
    Ok(match rtnetlink.route(packet)? {
        Ok(route) => route.ok_or(Refusal::NoRoute),
        Err(error) => Err(refusal(error.raw_os_error().unwrap_or(libc::EIO))),
    })
}

/// The routes that refuse packets to an address, the most exact first.
fn blocking(rtnetlink: &Rtnetlink, dst: IpAddr) -> io::Result<Vec<Route>> {
    let mut found = rtnetlink.blocking_routes(dst)?;
    for route in &mut found {
        name(rtnetlink, route);
    }
    found.sort_by_key(|route| std::cmp::Reverse(route.to.prefix_len()));
    Ok(found)
}

/// A name says more than a number, but is not worth failing for.
fn name(rtnetlink: &Rtnetlink, route: &mut Route) {
    let link = route.output.and_then(|output| rtnetlink.link(output).ok()?);
    route.ifname = link.map(|link| link.name);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::tests::route;

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
    fn the_refusing_route_is_named() {
        let dst = "10.1.2.3".parse().unwrap();
        let refusing = |to: &str, kind| Route {
            kind,
            ifname: None,
            output: None,
            ..route(to, "")
        };
        let lookup = Lookup {
            packet: RouteKey::to(dst),
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
        let packet = RouteKey::to("127.0.0.1".parse().unwrap());
        let lookup = Lookup::read(&rtnetlink, packet).unwrap();
        if let Ok(route) = &lookup.answer {
            assert_eq!(route.kind, RouteKind::Local);
            assert_eq!(route.ifname.as_deref(), Some("lo"));
        }
    }
}
