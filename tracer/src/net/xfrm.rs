//! The policies of IPsec, and how many security associations (SAs) there are (`NETLINK_XFRM`).
//!
//! An SA's message holds its keys. None is ever asked for: only how many there are.

use std::{io, net::IpAddr};

use ipnet::IpNet;

use super::{
    message::{Attributes, Message, Request, u16_at, u32_at},
    netlink::Netlink,
    subsystem::Subsystem,
};

/// Numbers of include/uapi/linux/xfrm.h.
mod uapi {
    pub(super) const GET_POLICY: u16 = 0x15;
    pub(super) const GET_SA_INFO: u16 = 0x23;
    pub(super) const GET_DEFAULT: u16 = 0x28;
    pub(super) const SA_COUNT: u16 = 1;
    pub(super) const TEMPLATES: u16 = 5;
    pub(super) const MARK: u16 = 21;
    pub(super) const BLOCK: u8 = 1;
    /// Length of `struct xfrm_userpolicy_id`.
    pub(super) const POLICY_ID: usize = 64;
    /// Length of `struct xfrm_userpolicy_info`.
    pub(super) const POLICY: usize = 168;
    /// Length of `struct xfrm_user_tmpl`.
    pub(super) const TEMPLATE: usize = 64;
}

/// Which packets a policy is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IpsecDirection {
    /// Those that this host takes in.
    In,
    /// Those that leave it, forwarded ones included.
    Out,
    /// Those that it forwards, by where they come from.
    Forward,
}

/// A policy of IPsec.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct IpsecPolicy {
    pub(crate) direction: IpsecDirection,
    pub(crate) src: IpNet,
    pub(crate) dst: IpNet,
    /// IP protocol; 0 for all.
    pub(crate) proto: u8,
    /// The source port with its mask; 0 and 0 for all.
    pub(crate) sport: (u16, u16),
    /// The destination port with its mask.
    pub(crate) dport: (u16, u16),
    /// The interface that it is bound to; 0 for none.
    pub(crate) ifindex: u32,
    /// The mark with its mask.
    pub(crate) mark: (u32, u32),
    /// Of two that fit, the lower one counts.
    pub(crate) priority: u32,
    /// It refuses packets.
    pub(crate) blocks: bool,
    /// The IP protocols of IPsec that it demands, such as ESP (50).
    pub(crate) demands: Vec<u8>,
}

/// What IPsec is set up with in one namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct IpsecSetup {
    pub(crate) policies: Vec<IpsecPolicy>,
    /// How many SAs there are; `None` if the kernel does not say.
    pub(crate) associations: Option<u32>,
    /// Directions in which a packet that no policy fits is refused.
    pub(crate) blocked_by_default: Vec<IpsecDirection>,
}

impl IpsecSetup {
    /// Reads that of the namespace that this thread is in.
    ///
    /// # Errors
    ///
    /// The kernel cannot be asked without loading a module.
    pub(crate) fn read() -> io::Result<Self> {
        Subsystem::Xfrm.require()?;
        let netlink = Netlink::xfrm()?;
        let all = Request::new(uapi::GET_POLICY, &[0; uapi::POLICY_ID]);
        let policies = netlink.dump(&all, policy)?;
        let count = Request::new(uapi::GET_SA_INFO, &[0; 4]);
        let associations =
            netlink.ask(&count, |message| message.attributes(4).u32(uapi::SA_COUNT))?;
        // Since Linux 5.15.
        let default = Request::new(uapi::GET_DEFAULT, &[0; 3]);
        let blocked = netlink.ask(&default, blocked_by_default)?;
        Ok(Self {
            policies,
            associations: associations.ok().flatten(),
            blocked_by_default: blocked.ok().flatten().unwrap_or_default(),
        })
    }
}

/// `struct xfrm_userpolicy_default`: an action each for in, fwd and out.
fn blocked_by_default(message: &Message<'_>) -> Option<Vec<IpsecDirection>> {
    use IpsecDirection::{Forward, In, Out};
    let actions = message.payload.get(..3)?;
    let all = actions.iter().zip([In, Forward, Out]);
    let blocked = all.filter(|(action, _)| **action == uapi::BLOCK);
    Some(blocked.map(|(_, direction)| direction).collect())
}

fn policy(message: &Message<'_>) -> Option<IpsecPolicy> {
    let fixed = message.payload.get(..uapi::POLICY)?;
    let family = i32::from(u16_at(fixed, 40)?);
    let network = |at: usize, prefix: u8| {
        let address = match family {
            libc::AF_INET => IpAddr::from(<[u8; 4]>::try_from(fixed.get(at..at + 4)?).ok()?),
            libc::AF_INET6 => IpAddr::from(<[u8; 16]>::try_from(fixed.get(at..at + 16)?).ok()?),
            _ => return None,
        };
        IpNet::new(address, prefix).ok()
    };
    let port = |at| u16_at(fixed, at).map(u16::from_be);
    let attributes = message.attributes(uapi::POLICY);
    let mark = attributes.get(uapi::MARK);
    Some(IpsecPolicy {
        direction: match fixed[160] {
            0 => IpsecDirection::In,
            1 => IpsecDirection::Out,
            2 => IpsecDirection::Forward,
            _ => return None,
        },
        dst: network(0, fixed[42])?,
        src: network(16, fixed[43])?,
        dport: (port(32)?, port(34)?),
        sport: (port(36)?, port(38)?),
        proto: fixed[44],
        ifindex: u32_at(fixed, 48)?,
        priority: u32_at(fixed, 152)?,
        blocks: fixed[161] == uapi::BLOCK,
        mark: mark
            .and_then(|mark| Some((u32_at(mark, 0)?, u32_at(mark, 4)?)))
            .unwrap_or_default(),
        demands: demands(attributes),
    })
}

/// Templates that are not optional: what a packet must have been, or must become.
fn demands(attributes: Attributes<'_>) -> Vec<u8> {
    let all = attributes.get(uapi::TEMPLATES).unwrap_or_default();
    let templates = all.chunks_exact(uapi::TEMPLATE);
    templates
        .filter(|template| template[50] == 0)
        .map(|template| template[20])
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `ip xfrm policy add src 10.1.0.0/16 dst 10.2.0.0/16 dir fwd priority 7 mark 3 tmpl proto esp`
    fn recorded() -> Request {
        let mut fixed = [0; uapi::POLICY];
        fixed[..2].copy_from_slice(&[10, 2]);
        fixed[16..18].copy_from_slice(&[10, 1]);
        fixed[40..42].copy_from_slice(&(libc::AF_INET as u16).to_ne_bytes());
        (fixed[42], fixed[43]) = (16, 16);
        fixed[152] = 7;
        fixed[160] = 2;
        let mut templates = [0; 2 * uapi::TEMPLATE];
        templates[20] = 50;
        templates[uapi::TEMPLATE + 20] = 108;
        templates[uapi::TEMPLATE + 50] = 1;
        let mark: Vec<_> = [3_u32, 255]
            .into_iter()
            .flat_map(u32::to_ne_bytes)
            .collect();
        Request::new(0x13, &fixed)
            .with(uapi::TEMPLATES, &templates)
            .with(uapi::MARK, &mark)
    }

    #[test]
    fn reads_a_policy() {
        let request = recorded();
        let expected = IpsecPolicy {
            direction: IpsecDirection::Forward,
            src: "10.1.0.0/16".parse().unwrap(),
            dst: "10.2.0.0/16".parse().unwrap(),
            proto: 0,
            sport: (0, 0),
            dport: (0, 0),
            ifindex: 0,
            mark: (3, 255),
            priority: 7,
            blocks: false,
            demands: vec![50],
        };
        assert_eq!(policy(&request.message()), Some(expected));
    }

    #[test]
    fn what_is_cut_off_is_no_policy() {
        let request = recorded();
        let mut message = request.message();
        message.payload = &message.payload[..uapi::POLICY - 1];
        assert_eq!(policy(&message), None);
    }
}
