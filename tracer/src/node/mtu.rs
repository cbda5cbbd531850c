//! The arithmetic of packets that are too large. All lengths are in bytes, from the network header
//! up, as an MTU counts.

use std::net::IpAddr;

use super::change;
use crate::model::Fix;

/// A place that a packet passes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hop {
    /// Its name.
    pub(crate) ifname: String,
    /// Its MTU.
    pub(crate) mtu: u32,
    /// What tunnels above it add before packets get here, together: 0 for an inner hop.
    pub(crate) overhead: u32,
}

impl Hop {
    /// The largest inner packet that gets through here.
    pub(crate) fn inner_mtu(&self) -> u32 {
        self.mtu.saturating_sub(self.overhead)
    }
}

/// The hop that lets the least through: the first of several.
pub(crate) fn narrowest(hops: &[Hop]) -> Option<&Hop> {
    hops.iter().min_by_key(|hop| hop.inner_mtu())
}

/// The `ping` that gets through with this MTU, and does not with one byte more. Payload of ICMP:
/// without its own 8 bytes, and the 20 or 40 of IP. `None` if there is no room for a payload, or
/// no IP.
pub(crate) fn ping(dst: IpAddr, mtu: u32) -> Option<String> {
    let headers = if dst.is_ipv4() { 28 } else { 48 };
    let payload = mtu.checked_sub(headers)?;
    Some(format!("ping -M do -s {payload} {dst}"))
}

/// The advice for a packet that is too large for a hop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Advice {
    /// The MTU at which inner packets would get through.
    pub(crate) mtu: u32,
    /// The command that proves it.
    pub(crate) ping: Option<String>,
    /// The command that sets it where the packets start from: the interface and its MTU now. `None`
    /// if it is small enough there, so that the packets come from elsewhere.
    pub(crate) change: Option<Fix>,
}

/// The MTU that IP needs at least: IPv6 1280 bytes (RFC 8200), IPv4 68 (RFC 791).
pub(crate) fn least(dst: IpAddr) -> u32 {
    if dst.is_ipv4() { 68 } else { 1280 }
}

/// What would work for packets to `dst` that start out at an interface (name and MTU) and pass this
/// hop. `None` if there is nothing to advise: it is less than IP needs.
pub(crate) fn advise(dst: IpAddr, hop: &Hop, start: (&str, u32)) -> Option<Advice> {
    let mtu = hop.inner_mtu();
    let (ifname, now) = start;
    (mtu >= least(dst)).then(|| Advice {
        mtu,
        ping: ping(dst, mtu),
        change: (now > mtu).then(|| change::mtu(ifname, now, mtu)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hop(ifname: &str, mtu: u32, overhead: u32) -> Hop {
        Hop {
            ifname: ifname.to_owned(),
            mtu,
            overhead,
        }
    }

    #[test]
    fn the_narrowest_hop_is_judged_by_what_is_left_inside() {
        let hops = [
            hop("eth0", 1450, 0),
            hop("vxlan10", 1450, 0),
            hop("ens5", 1480, 50),
        ];
        assert_eq!(narrowest(&hops).unwrap().ifname, "ens5");
        assert_eq!(narrowest(&hops[..2]).unwrap().ifname, "eth0");
        assert_eq!(narrowest(&[]), None);
    }

    #[test]
    fn advice_comes_with_proof_and_undo() {
        let dst = "10.244.1.7".parse().unwrap();
        let advice = advise(dst, &hop("ens5", 1500, 50), ("vxlan10", 1500)).unwrap();
        assert_eq!(advice.mtu, 1450);
        assert_eq!(
            advice.ping.as_deref(),
            Some("ping -M do -s 1422 10.244.1.7")
        );
        let change = advice.change.unwrap();
        assert_eq!(change.line(), "ip link set dev vxlan10 mtu 1450");
        let undo = change.undo_line();
        assert_eq!(undo.as_deref(), Some("ip link set dev vxlan10 mtu 1500"));
        assert_eq!(
            ping("fd00::7".parse().unwrap(), 1450).as_deref(),
            Some("ping -M do -s 1402 fd00::7")
        );
    }

    #[test]
    fn no_advice_where_none_would_help() {
        let v6 = "fd00::7".parse().unwrap();
        assert_eq!(advise(v6, &hop("ens5", 1300, 50), ("eth0", 1500)), None);
        let small = advise(v6, &hop("ens5", 1400, 0), ("eth0", 1400)).unwrap();
        assert_eq!(small.change, None);
        assert_eq!(ping("10.0.0.1".parse().unwrap(), 27), None);
    }
}
