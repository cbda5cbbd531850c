//! `docs/verdicts.md`, made of the rules themselves, so that it cannot drift from them.

use std::fmt::Write as _;

use super::{attempts, cluster, connects, drops, explain, rule::Rule};
use crate::{model::Point, node::gather::Fact};

/// All points, in the order of the contract, each with what it means.
const POINTS: &[(Point, &str)] = &[
    (Point::Policy, "NetworkPolicy enforcement"),
    (
        Point::Firewall,
        "another netfilter, tc, XDP, cgroup or socket filter rule",
    ),
    (
        Point::Overlay,
        "the encapsulation, or the path between nodes under it",
    ),
    (Point::Mtu, "a packet larger than a hop takes"),
    (Point::Listener, "accept queue or SYN queue full"),
    (
        Point::Endpoint,
        "no host at that address, or a Service without endpoints",
    ),
    (
        Point::Route,
        "no, blackhole or forbidden route; forwarding off",
    ),
    (Point::Conntrack, "table full, or state invalid"),
    (Point::Rpfilter, "reverse-path or martian source check"),
    (Point::Queue, "qdisc, backlog or ring overflow"),
    (Point::Socket, "closed port, socket buffer"),
    (Point::Checksum, "corrupt packet"),
    (
        Point::OffNode,
        "left this node, no drop seen here, nothing came back",
    ),
    (Point::Unknown, "none of these can be shown"),
];

/// In what order rules are asked that give a verdict.
const FIRST: &str = "Tried in this order; the first that applies gives the verdict.";

/// The document.
#[must_use]
pub(crate) fn markdown() -> String {
    let mut text = String::from(
        "# Verdicts\n\n\
         A verdict names the point where a packet was lost, how sure that is, and the evidence. It \
         is `confirmed` only if it was seen happening, `likely` if the evidence leaves one good \
         explanation, `possible` if it leaves several.\n\n\
         This file is made of the rules in `tracer/src/verdict`; a test fails if the two differ \
         (`UPDATE_DOCS=1 cargo test -p whydrop verdict` writes it anew).\n\n\
         ## Points\n\n| point | the packet was lost because of | rules |\n|---|---|---|\n",
    );
    for (point, meaning) in POINTS {
        let rules: Vec<_> = rows()
            .filter(|row| row.points.contains(point))
            .map(|row| format!("`{}`", row.name))
            .collect();
        let _ = writeln!(
            text,
            "| `{}` | {meaning} | {} |",
            point.name(),
            rules.join(", ")
        );
    }
    section(
        &mut text,
        "Rules on dropped packets",
        FIRST,
        drops::rules().map(Row::of),
    );
    text.push_str(
        "\nReasons of the kernel that no rule judges, on purpose: their meaning is clear, and names no \
         point. The verdict is `unknown`, and says what the kernel means.\n\n| reason | meaning \
         |\n|---|---|\n",
    );
    for (reason, meaning) in drops::unjudged::UNJUDGED {
        let _ = writeln!(text, "| `{reason}` | {meaning} |");
    }
    section(
        &mut text,
        "Rules on connection attempts",
        FIRST,
        attempts::RULES.iter().map(Row::of),
    );
    text.push_str(
        "\nBefore all of them comes a drop of one of the attempt's own packets, recognised by its \
         sequence number: its verdict is the attempt's.\n\nWhere an attempt was lost in or behind a \
         tunnel, the evidence says how many others of the last minutes were lost by the same tunnel, \
         and how many within this node. The point does not depend on it.\n",
    );
    section(
        &mut text,
        "Rules on connects that fail without a packet",
        FIRST,
        connects::RULES.iter().map(Row::of),
    );
    section(
        &mut text,
        "What Kubernetes objects add",
        "Asked one after the other; each may sharpen the verdict that the node's own evidence has \
         given.",
        cluster::RULES.iter().map(Row::of),
    );
    section(
        &mut text,
        "Rules of `whydrop explain`",
        "Nothing was seen: the objects alone give the verdict.",
        explain::RULES.iter().map(Row::of),
    );
    text
}

/// What the document says of one rule.
struct Row {
    name: &'static str,
    points: &'static [Point],
    needs: &'static [Fact],
    evidence: &'static str,
    refuted_by: &'static str,
    cannot_tell: &'static str,
}

impl Row {
    fn of<Test>(rule: &Rule<Test>) -> Self {
        Self {
            name: rule.name,
            points: rule.points,
            needs: rule.needs,
            evidence: rule.evidence,
            refuted_by: rule.refuted_by,
            cannot_tell: rule.cannot_tell,
        }
    }
}

fn rows() -> impl Iterator<Item = Row> {
    let of_drops = drops::rules().map(Row::of);
    let of_attempts = attempts::RULES.iter().map(Row::of);
    let of_connects = connects::RULES.iter().map(Row::of);
    let of_objects = cluster::RULES.iter().map(Row::of);
    of_drops
        .chain(of_attempts)
        .chain(of_connects)
        .chain(of_objects)
        .chain(explain::RULES.iter().map(Row::of))
}

fn section(text: &mut String, title: &str, order: &str, rules: impl Iterator<Item = Row>) {
    let _ = write!(
        text,
        "\n## {title}\n\n{order}\n\n\
         | rule | points | evidence | asks the node for | refuted by | cannot tell apart |\n\
         |---|---|---|---|---|---|\n"
    );
    for row in rules {
        let points = row.points.iter().map(|point| format!("`{}`", point.name()));
        let needs = row.needs.iter().map(|fact| fact.name().to_owned());
        let _ = writeln!(
            text,
            "| `{}` | {} | {} | {} | {} | {} |",
            row.name,
            list(points),
            row.evidence,
            list(needs),
            row.refuted_by,
            row.cannot_tell
        );
    }
}

fn list(parts: impl Iterator<Item = String>) -> String {
    let parts: Vec<_> = parts.collect();
    match parts.as_slice() {
        [] => "-".to_owned(),
        parts => parts.join(", "),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/verdicts.md");

    #[test]
    fn the_document_is_made_of_the_rules() {
        if std::env::var_os("UPDATE_DOCS").is_some() {
            fs::write(PATH, markdown()).unwrap();
        }
        let written = fs::read_to_string(PATH).unwrap_or_default();
        assert!(
            written == markdown(),
            "docs/verdicts.md differs from the rules: run this with UPDATE_DOCS=1"
        );
    }

    #[test]
    fn each_point_is_explained_once() {
        let mut points: Vec<_> = POINTS.iter().map(|(point, _)| *point).collect();
        points.dedup();
        assert_eq!(points.len(), 14);
        for row in rows() {
            assert!(
                row.points.iter().all(|point| points.contains(point)),
                "{}",
                row.name
            );
        }
    }
}
