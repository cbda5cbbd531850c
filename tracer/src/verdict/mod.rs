//! Judging: from facts to a verdict. Plain code, without I/O.

use crate::{
    drops::decode::DropFacts,
    record::{Confidence, Point, Verdict},
};

/// What can be said of a drop that no rule explains: where it happened, as evidence.
pub fn unexplained(facts: &DropFacts) -> Verdict {
    let function = facts.function.as_deref().unwrap_or("an unknown function");
    let mut evidence = vec![format!(
        "the kernel freed the packet in {function}, reason {}",
        facts.reason
    )];
    if let Some(hook) = facts.hook {
        evidence.push(format!("the stack shows the netfilter hook {hook}"));
    }
    if let (Some(packet), Some(ifname), Some(mtu)) = (&facts.packet, &facts.ifname, facts.mtu) {
        let bytes = packet.len;
        evidence.push(format!(
            "{bytes} bytes from the network header up; MTU of {ifname} is {mtu}"
        ));
    }
    Verdict {
        point: Point::Unknown,
        confidence: Confidence::Possible,
        why: format!("dropped by this kernel in {function} ({})", facts.reason),
        evidence,
        fix: Vec::new(),
        policy: None,
    }
}
