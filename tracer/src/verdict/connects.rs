//! The verdict on a connect that failed before it sent a packet: the kernel has said why, and what the node
//! says shows what it meant.

use super::{policy_rule, rule::Finding, rule::Rule};
use crate::{
    decode::connect::FailedConnect,
    kernel::connect_error::ConnectError,
    model::{
        Confidence::{Confirmed, Likely, Possible},
        Fix, Point, Verdict, address,
    },
    net::RouteKind,
    node::{
        connect::{ConnectFacts, Ports},
        gather::Fact,
        route::Refusal,
    },
};

/// How a rule is asked about a failed connect.
type OnConnect = fn(&FailedConnect, &ConnectFacts) -> Option<Finding>;

/// All rules, in the order in which they are tried. The last applies to all.
pub(super) const RULES: &[Rule<OnConnect>] = &[
    Rule {
        name: "connect-program",
        points: &[Point::Firewall, Point::Policy],
        needs: &[Fact::CgroupPrograms],
        evidence: "an error of `tcp_v4_pre_connect` or `tcp_v6_pre_connect`, where programs of control groups decide about connects (`BPF_CGROUP_INET4_CONNECT`, `BPF_CGROUP_INET6_CONNECT`); those of the process's control group",
        refuted_by: "such errors that go on with the program detached",
        cannot_tell: "which of several programs it was, and what for: one that balances Services refuses those without backends",
        applies: by_program,
    },
    Rule {
        name: "connect-ipsec",
        points: &[Point::Firewall],
        needs: &[],
        evidence: "`EPERM` of `tcp_v4_connect` or `tcp_v6_connect`: the kernel gives it for an IPsec policy that blocks (`xfrm_lookup`)",
        refuted_by: "a namespace without IPsec policies (`ip xfrm policy`)",
        cannot_tell: "which policy it was, and whether there is one, as policies are not read: `possible` at most",
        applies: by_ipsec,
    },
    Rule {
        name: "connect-no-port",
        points: &[Point::Socket],
        needs: &[Fact::Sockets],
        evidence: "`EADDRNOTAVAIL` of `tcp_v4_connect` or `tcp_v6_connect`; the range of local ports, and the connections to the same address and port that hold one (`ss -tan`)",
        refuted_by: "most ports of the range without a connection to that address and port: then `likely`; no source address for a destination of IPv6",
        cannot_tell: "ports that connections hold from those that bound sockets hold",
        applies: no_port,
    },
    Rule {
        name: "connect-no-source",
        points: &[Point::Route],
        needs: &[Fact::Route],
        evidence: "`EINVAL` or `EADDRNOTAVAIL` of `tcp_v4_connect` or `tcp_v6_connect`, for a socket that is bound to an address which the namespace does not have",
        refuted_by: "that address, at an interface of the namespace",
        cannot_tell: "an address that was never there from one that is gone",
        applies: no_source,
    },
    Rule {
        name: "connect-no-route",
        points: &[Point::Route],
        needs: &[Fact::Route, Fact::World],
        evidence: "`ENETUNREACH`, `EHOSTUNREACH`, `EACCES` or `EINVAL` of `tcp_v4_connect` or `tcp_v6_connect`; the route, or the policy rule, by which the kernel gives the same answer now",
        refuted_by: "a route for such a packet now: then `likely`; a destination of broadcast or multicast",
        cannot_tell: "a route that was missing from one that has come since: `likely` at most",
        applies: no_route,
    },
    Rule {
        name: "connect-failed",
        points: &[Point::Unknown],
        needs: &[],
        evidence: "the error of `tcp_v4_connect` or `tcp_v6_connect`",
        refuted_by: "a SYN of that socket",
        cannot_tell: "what the error stands for: it says its name",
        applies: other,
    },
];

/// Judges one.
pub(crate) fn judge(failed: &FailedConnect, facts: &ConnectFacts) -> Verdict {
    let found = RULES
        .iter()
        .find_map(|rule| Some((rule.name, (rule.applies)(failed, facts)?)));
    let (rule, mut finding) = found.unwrap_or_else(|| ("connect-failed", unknown(failed)));
    finding.evidence.insert(0, refused(failed));
    finding.evidence.extend(facts.gaps.iter().cloned());
    finding.into_verdict(Some(rule))
}

/// The error that the process got.
fn refused(failed: &FailedConnect) -> String {
    let about = &failed.about;
    let name = about.error.name().map(|name| format!("{name}, "));
    format!(
        "{} got {}\"{}\" from connect(2), and no SYN was sent",
        failed.process(),
        name.unwrap_or_default(),
        about.error
    )
}

fn destination(failed: &FailedConnect) -> String {
    address((failed.about.dst, Some(failed.about.dport)))
}

fn by_program(failed: &FailedConnect, facts: &ConnectFacts) -> Option<Finding> {
    failed.about.by_program.then_some(())?;
    let owner = match facts.programs.as_slice() {
        [only] => only.owner(),
        _ => None,
    };
    let whose = owner
        .map(|owner| format!(" of {}", owner.name))
        .unwrap_or_default();
    let why = format!(
        "a cgroup program{whose} refused the connect to {}",
        destination(failed)
    );
    let mut finding = Finding::new(Point::Firewall, Confirmed, why).about(&[&whose]);
    let attached = facts.programs.iter();
    let attached = attached.map(|program| format!("attached there: {program}"));
    finding.evidence.extend(attached);
    if owner.is_some_and(|owner| owner.is_policy_engine) {
        finding.fact(
            "a program that balances Services in the process's control group refuses those without a \
             backend",
        );
    }
    Some(finding)
}

fn by_ipsec(failed: &FailedConnect, _: &ConnectFacts) -> Option<Finding> {
    (failed.about.error == ConnectError::NotPermitted).then_some(())?;
    let why = format!(
        "an IPsec policy may block the connect to {}: `ip xfrm policy` shows whether there is one",
        destination(failed)
    );
    Some(Finding::new(Point::Firewall, Possible, why).about(&[&failed.about.dst]))
}

fn no_port(failed: &FailedConnect, facts: &ConnectFacts) -> Option<Finding> {
    let about = &failed.about;
    (about.error == ConnectError::NoAddress && facts.has_source != Some(false)).then_some(())?;
    let dst = destination(failed);
    if let Some(port) = about.sport {
        let why = format!("local port {port} has a connection to {dst} already");
        let mut finding = Finding::new(Point::Socket, Confirmed, why).about(&[&port]);
        finding.fix.push(Fix::advice(format!(
            "let the client choose no local port, or wait until the earlier connection is over: ss -tan \
             'sport = :{port}'"
        )));
        return Some(finding);
    }
    // IPv6 says the same if it finds no source address.
    if about.dst.is_ipv6()
        && about.src.is_none()
        && facts.ports.is_none_or(|ports| !is_used_up(ports))
    {
        return None;
    }
    let confidence = match facts.ports {
        Some(ports) if is_used_up(ports) => Confirmed,
        _ => Likely,
    };
    let why = format!("no local port is left for a connection to {dst}");
    let mut finding = Finding::new(Point::Socket, confidence, why).about(&[&"ports"]);
    if let Some(ports) = facts.ports {
        let (first, last) = ports.range;
        finding.fact(format!(
            "{} of the {} local ports from {first} to {last} have a connection to {dst} (TIME_WAIT counts)",
            ports.connected,
            ports.all()
        ));
    }
    finding.fix.push(Fix::advice(
        "reuse connections (keep-alive, a connection pool), or widen net.ipv4.ip_local_port_range, or use \
         more than one source or destination address",
    ));
    Some(finding)
}

/// Whether so many ports are in use that the kernel may find none. It may choose every second port only.
fn is_used_up(ports: Ports) -> bool {
    2 * ports.connected >= ports.all()
}

fn no_source(failed: &FailedConnect, facts: &ConnectFacts) -> Option<Finding> {
    let src = failed.about.src?;
    let fits = matches!(
        failed.about.error,
        ConnectError::Invalid | ConnectError::NoAddress
    );
    (fits && facts.has_source == Some(false)).then_some(())?;
    let why = format!("the socket is bound to {src}, which this namespace does not have");
    let mut finding = Finding::new(Point::Route, Confirmed, why).about(&[&src]);
    finding.fix.push(Fix::advice(format!(
        "add the address {src} again, or let the client bind to no address"
    )));
    Some(finding)
}

fn no_route(failed: &FailedConnect, facts: &ConnectFacts) -> Option<Finding> {
    let about = &failed.about;
    let said = match about.error {
        ConnectError::NoRoute => Refusal::NoRoute,
        ConnectError::Unreachable => Refusal::Unreachable,
        ConnectError::Prohibited => Refusal::Prohibit,
        ConnectError::Invalid => Refusal::Blackhole,
        _ => return None,
    };
    let dst = about.dst;
    let lookup = facts.route.as_ref();
    let answer = lookup.map(|lookup| &lookup.answer);
    if let Some(Ok(route)) = answer
        && matches!(route.kind, RouteKind::Broadcast | RouteKind::Multicast)
    {
        let why = format!("TCP does not connect to {dst}: it is no single host's address");
        return Some(Finding::new(Point::Route, Confirmed, why).about(&[&dst]));
    }
    // The error may have other causes: a route has to say the same.
    let is_same = matches!(answer, Some(Err(refusal)) if *refusal == said);
    if said == Refusal::Blackhole && !is_same {
        return None;
    }
    let words = match said {
        Refusal::NoRoute => format!("no route to {dst}"),
        _ => format!("the route to {dst} says {said}"),
    };
    let confidence = if is_same { Confirmed } else { Likely };
    let mut finding = Finding::new(Point::Route, confidence, words).about(&[&said, &dst]);
    if let Some(device) = &facts.device {
        finding.fact(format!(
            "the socket is bound to {}, which is {}",
            device.name,
            if device.up { "up" } else { "down" }
        ));
    }
    let Some(lookup) = lookup else {
        return Some(finding);
    };
    finding.fact(format!("the kernel says now: {lookup}"));
    if !is_same {
        return Some(finding);
    }
    let rule = facts.world.as_deref();
    let rule = rule.and_then(|world| lookup.refusing_rule(world, about.netns));
    if let Some(route) = lookup.culprit() {
        finding.why = format!("the route {} refuses what goes to {dst}", route.whole());
        finding.subject = route.to_string();
        finding.fix.push(Fix::advice(format!(
            "add a route to {dst} that is more exact than {}, or delete that one",
            route.whole()
        )));
    } else if let Some(rule) = rule {
        policy_rule::blame(&mut finding, rule, dst);
    } else if let Some(route) = lookup.thrown_by() {
        finding.fact(format!(
            "the route {} ends the search in table main, and no table behind it has one",
            route.whole()
        ));
    }
    Some(finding)
}

fn other(failed: &FailedConnect, _: &ConnectFacts) -> Option<Finding> {
    Some(unknown(failed))
}

fn unknown(failed: &FailedConnect) -> Finding {
    let why = format!(
        "the kernel refused the connect to {}: {}",
        destination(failed),
        failed.about.error
    );
    let name = failed.about.error.name().unwrap_or("an error");
    Finding::new(Point::Unknown, Likely, why).about(&[&name])
}

#[cfg(test)]
mod tests;
