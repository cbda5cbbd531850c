//! From a target of iptables' and its options to a rule's last statement.

use std::net::IpAddr;

use super::{
    condition::Mark,
    iptables_rule::masked,
    model::{Answer, MarkChange, Nat, NatPort, Proxy, Statement, Verdict},
    names,
};

/// The statement of a target; `None` for one that lets the rules go on.
pub(super) fn target(option: &str, name: &str, options: &[String]) -> Option<Statement> {
    Some(Statement::Verdict(match name {
        "DROP" => Verdict::Drop,
        "REJECT" => Verdict::Reject(answer(options)),
        "ACCEPT" => Verdict::Accept,
        "MASQUERADE" | "DNAT" | "SNAT" | "REDIRECT" | "NETMAP" => {
            return Some(Statement::Nat(nat(name, options)));
        }
        "TPROXY" => Verdict::Proxy(Proxy {
            address: value(options, "--on-ip")
                .and_then(|text| text.parse().ok())
                .filter(|address: &IpAddr| !address.is_unspecified()),
            port: value(options, "--on-port")
                .and_then(|text| text.parse().ok())
                .filter(|port| *port != 0),
        }),
        "RETURN" => Verdict::Return,
        "QUEUE" | "NFQUEUE" => Verdict::Queue,
        "SYNPROXY" => Verdict::Unknown,
        "MARK" => return Some(Statement::Mark(mark(options))),
        "CONNMARK" => return Some(Statement::Mark(connection_mark(options))),
        "NOTRACK" => return Some(Statement::Untrack),
        "CT" if options.iter().any(|word| word == "--notrack") => return Some(Statement::Untrack),
        "CT" if has_zone(options) => return Some(Statement::Zone(zone(options))),
        "LOG" | "NFLOG" | "ULOG" | "CT" | "TRACE" | "TCPMSS" | "TTL" | "HL" | "TOS" | "DSCP"
        | "CLASSIFY" | "CHECKSUM" | "SET" | "AUDIT" | "TEE" | "SECMARK" | "CONNSECMARK"
        | "TCPOPTSTRIP" | "RATEEST" | "ECN" | "" => return None,
        chain if option == "-g" => Verdict::Goto(chain.to_owned()),
        chain => Verdict::Jump(chain.to_owned()),
    }))
}

/// The word behind an option.
pub(super) fn value<'a>(options: &'a [String], option: &str) -> Option<&'a str> {
    let at = options.iter().position(|word| word == option)?;
    options.get(at + 1).map(String::as_str)
}

fn has_zone(options: &[String]) -> bool {
    options.iter().any(|word| word.starts_with("--zone"))
}

/// The zone of both directions, by its number.
fn zone(options: &[String]) -> Option<u16> {
    value(options, "--zone")?.parse().ok()
}

fn answer(options: &[String]) -> Answer {
    match value(options, "--reject-with") {
        None => Answer::Unreachable(3, 4),
        Some("tcp-reset") => Answer::Reset,
        Some(code) => match (names::icmp_code(code), names::icmpv6_code(code)) {
            (None, None) => Answer::Unknown,
            (v4, v6) => Answer::Unreachable(v4.unwrap_or(u8::MAX), v6.unwrap_or(u8::MAX)),
        },
    }
}

fn nat(name: &str, options: &[String]) -> Nat {
    let is_destination = matches!(name, "DNAT" | "REDIRECT");
    let to = ["--to-destination", "--to-source"]
        .iter()
        .find_map(|option| value(options, option));
    let (address, port) = match to {
        Some(to) => split(to),
        None => (None, value(options, "--to-ports").map(str::to_owned)),
    };
    Nat {
        is_destination,
        address,
        port: match port.map(|port| port.parse()) {
            Some(Ok(port)) => NatPort::To(port),
            None if is_destination => NatPort::Kept,
            _ => NatPort::Unknown,
        },
    }
}

/// `A`, `A:PORT`, `[A]:PORT`; no address where it is a range.
fn split(to: &str) -> (Option<IpAddr>, Option<String>) {
    if let Ok(address) = to.parse() {
        return (Some(address), None);
    }
    let (address, port) = to.rsplit_once(':').unwrap_or((to, ""));
    let address = address.trim_start_matches('[').trim_end_matches(']');
    let port = (!port.is_empty()).then(|| port.to_owned());
    (address.parse().ok(), port)
}

fn mark(options: &[String]) -> MarkChange {
    // `--set-xmark VALUE/MASK` clears the mask's bits, then turns the value's over.
    match options {
        [option, value, ..] if option == "--set-xmark" => match masked(value) {
            Some((value, mask)) => MarkChange::kept(Mark::Packet, !mask, value),
            None => MarkChange::to_anything(Mark::Packet),
        },
        _ => MarkChange::to_anything(Mark::Packet),
    }
}

fn connection_mark(options: &[String]) -> MarkChange {
    let has = |option: &str| options.iter().any(|word| word == option);
    let bits = |option: &str| match value(options, option) {
        Some(text) => masked(text).map(|(value, _)| value),
        None => Some(u32::MAX),
    };
    let copied = |to, from| {
        let (packet, connection) = (bits("--nfmask")?, bits("--ctmask")?);
        let (cleared, taken) = match to {
            Mark::Packet => (packet, connection),
            Mark::Connection => (connection, packet),
        };
        Some(MarkChange {
            from: Some(from),
            mask: taken,
            ..MarkChange::kept(to, !cleared, 0)
        })
    };
    if has("--restore-mark") {
        return copied(Mark::Packet, Mark::Connection)
            .unwrap_or(MarkChange::to_anything(Mark::Packet));
    }
    let change = if has("--save-mark") {
        copied(Mark::Connection, Mark::Packet)
    } else {
        value(options, "--set-xmark")
            .and_then(masked)
            .map(|(value, mask)| MarkChange::kept(Mark::Connection, !mask, value))
    };
    change.unwrap_or(MarkChange::to_anything(Mark::Connection))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(line: &str) -> Vec<String> {
        line.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn translations_are_read_with_address_and_port() {
        let dnat = |line: &str| nat("DNAT", &options(line));
        let to = dnat("--to-destination 10.0.0.1:8080");
        assert_eq!(to.address, "10.0.0.1".parse().ok());
        assert_eq!(to.port, NatPort::To(8080));
        assert_eq!(dnat("--to-destination 10.0.0.1").port, NatPort::Kept);
        let v6 = dnat("--to-destination [fd00::1]:80");
        assert_eq!(
            (v6.address, v6.port),
            ("fd00::1".parse().ok(), NatPort::To(80))
        );
        let range = dnat("--to-destination 10.0.0.1-10.0.0.9");
        assert_eq!(range.address, None);
        let masquerade = nat("MASQUERADE", &options("--random-fully"));
        assert_eq!(
            (masquerade.address, masquerade.port),
            (None, NatPort::Unknown)
        );
    }

    #[test]
    fn marks_are_copied_bit_by_bit() {
        let restored = connection_mark(&options("--restore-mark --nfmask 0xff --ctmask 0xff"));
        assert_eq!(restored.to, Mark::Packet);
        assert_eq!((restored.keep, restored.mask), (!0xff, 0xff));
        let saved = connection_mark(&options(
            "--save-mark --nfmask 0xffffffff --ctmask 0xffffffff",
        ));
        assert_eq!(
            (saved.to, saved.from),
            (Mark::Connection, Some(Mark::Packet))
        );
        let set = connection_mark(&options("--set-xmark 0x1/0xffffffff"));
        assert_eq!((set.keep, set.xor), (0, 1));
    }
}
