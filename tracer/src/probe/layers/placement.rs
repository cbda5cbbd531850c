//! Same node against cross node: which endpoints answer, by the node that they are on.

use super::tcp::Tried;
use crate::probe::target::Role;

/// How many endpoints answer on the source's own node, and on the others.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Placement {
    /// Those that answer, and all.
    pub(crate) same: (usize, usize),
    pub(crate) cross: (usize, usize),
}

impl Placement {
    /// `None` where the nodes are not known.
    pub(crate) fn of(tried: &[Tried], node: Option<&str>) -> Option<Self> {
        let node = node?;
        let mut placement = Self::default();
        let endpoints = tried.iter().filter(|one| {
            // An address that is asked for may itself be a pod's.
            one.to.role == Role::Endpoint || one.to.node.is_some()
        });
        for one in endpoints {
            let at = one.to.node.as_deref()?;
            let side = match at == node {
                true => &mut placement.same,
                false => &mut placement.cross,
            };
            side.0 += usize::from(one.is_connected());
            side.1 += 1;
        }
        (placement.same.1 + placement.cross.1 > 0).then_some(placement)
    }

    /// Whether the node's boundary is what divides the endpoints that answer from the others.
    pub(crate) fn divides(&self) -> bool {
        let ((same_up, same), (cross_up, cross)) = (self.same, self.cross);
        same > 0 && same_up == same && cross > 0 && cross_up == 0
    }

    /// The conclusion in one sentence; `fails` says whether what was seen leaves the path as the cause.
    pub(crate) fn sentence(&self, fails: bool) -> String {
        let ((same_up, same), (cross_up, cross)) = (self.same, self.cross);
        let figures = format!(
            "{same_up} of {same} on the same node and {cross_up} of {cross} on other nodes answer"
        );
        match (same, cross) {
            (0, _) => format!(
                "{cross_up} of {cross} endpoints on other nodes answer; none is on the same node"
            ),
            (_, 0) => format!(
                "{same_up} of {same} endpoints on the same node answer; none is on another node"
            ),
            _ if fails => format!("{figures}: the path between the nodes fails"),
            _ if same_up == same && cross_up == cross => {
                format!("{figures}: placement makes no difference")
            }
            _ if same_up == 0 && cross_up == cross => {
                format!("{figures}: only the same node fails")
            }
            _ => format!("{figures}: placement does not explain it"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_clean_cut_at_the_node_divides() {
        let of = |same, cross| Placement { same, cross };
        assert!(of((1, 1), (0, 2)).divides());
        for other in [
            of((0, 1), (0, 2)),
            of((1, 1), (1, 2)),
            of((0, 0), (0, 2)),
            of((1, 1), (0, 0)),
        ] {
            assert!(!other.divides(), "{other:?}");
        }
        // The endpoints of the other nodes may refuse: then packets cross, both ways.
        let refused = of((1, 1), (0, 2));
        assert!(!refused.sentence(false).contains("between the nodes"));
        assert!(refused.sentence(true).contains("between the nodes"));
    }
}
