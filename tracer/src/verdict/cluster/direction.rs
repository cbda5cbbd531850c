//! Who opened the flow that a single packet belongs to.

use crate::model::{Flow, TcpFlags};

/// Where Linux takes the ports of clients from, by default (`ip_local_port_range`).
const FIRST_CLIENT_PORT: u16 = 32768;

/// The flow in the direction in which it was opened, and whether that is certain enough to ask
/// policies about it: replies need no rule.
pub(crate) fn opened(flow: &Flow, tcp_flags: Option<TcpFlags>) -> (Flow, bool) {
    match tcp_flags {
        Some(flags) if flags.is_syn_ack() => return (flow.reversed(), true),
        Some(flags) if flags.syn() => return (*flow, true),
        _ => {}
    }
    let is_client = |port: Option<u16>| port.is_some_and(|port| port >= FIRST_CLIENT_PORT);
    match (is_client(flow.sport), is_client(flow.dport)) {
        (true, false) => (*flow, flow.dport.is_some()),
        (false, true) => (flow.reversed(), flow.sport.is_some()),
        _ => (*flow, false),
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    fn flow(sport: u16, dport: u16) -> Flow {
        Flow {
            proto: crate::model::Protocol::Tcp,
            src: IpAddr::from([10, 0, 0, 1]),
            sport: Some(sport),
            dst: IpAddr::from([10, 0, 0, 2]),
            dport: Some(dport),
        }
    }

    fn flags(text: &str) -> Option<TcpFlags> {
        text.parse().ok()
    }

    #[test]
    fn a_reply_is_turned_round_and_what_could_be_either_is_not_judged() {
        let ends = |(flow, certain): (Flow, bool)| (flow.sport, flow.dport, certain);
        let syn = ends(opened(&flow(1000, 2000), flags("S")));
        assert_eq!(syn, (Some(1000), Some(2000), true));
        let syn_ack = ends(opened(&flow(443, 40000), flags("SA")));
        assert_eq!(syn_ack, (Some(40000), Some(443), true));
        let data = ends(opened(&flow(443, 40000), flags("PA")));
        assert_eq!(data, (Some(40000), Some(443), true));
        assert!(!opened(&flow(40000, 50000), flags("A")).1);
        assert!(!opened(&flow(1000, 2000), None).1);
    }
}
