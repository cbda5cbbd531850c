//! Values, verdicts and answers as nft's JSON has them.

use serde_json::{Value, json};

/// An address, or a prefix.
pub(super) fn address(value: &[u8], mask: Option<&[u8]>, full: usize) -> Option<Value> {
    let mut bytes = value.to_vec();
    bytes.resize(full, 0);
    let text = match full {
        4 => std::net::Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?).to_string(),
        _ => std::net::Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?).to_string(),
    };
    let Some(mask) = mask else {
        return (value.len() == full).then(|| text.into());
    };
    let ones: u32 = mask.iter().map(|byte| byte.leading_ones()).sum();
    let is_prefix = {
        let total: u32 = mask.iter().map(|byte| byte.count_ones()).sum();
        let leading = mask
            .iter()
            .position(|byte| *byte != 0xff)
            .unwrap_or(mask.len());
        let behind = mask.get(leading + 1..).unwrap_or_default();
        total == ones && behind.iter().all(|byte| *byte == 0)
    };
    (is_prefix && mask.len() == full).then(|| json!({"prefix": {"addr": text, "len": ones}}))
}

pub(super) fn protocol(number: u8) -> Value {
    match number {
        1 => "icmp".into(),
        6 => "tcp".into(),
        17 => "udp".into(),
        58 => "ipv6-icmp".into(),
        132 => "sctp".into(),
        number => number.into(),
    }
}

pub(super) fn version(number: u8) -> Option<Value> {
    match i32::from(number) {
        libc::NFPROTO_IPV4 => Some("ipv4".into()),
        libc::NFPROTO_IPV6 => Some("ipv6".into()),
        _ => None,
    }
}

/// The names of `NF_CT_STATE_BIT` and `NF_CT_STATE_UNTRACKED_BIT`.
pub(super) fn states(bits: u32) -> Option<Value> {
    const NAMES: [(u32, &str); 5] = [
        (2, "established"),
        (4, "related"),
        (8, "new"),
        (1, "invalid"),
        (64, "untracked"),
    ];
    let known: u32 = NAMES.iter().map(|(bit, _)| bit).sum();
    (bits != 0 && bits & !known == 0).then_some(())?;
    let names: Vec<_> = NAMES
        .iter()
        .filter(|(bit, _)| bits & bit != 0)
        .map(|(_, name)| *name)
        .collect();
    Some(match names.as_slice() {
        [one] => (*one).into(),
        several => several.into(),
    })
}

/// `NF_…` of include/uapi/linux/netfilter.h and `NFT_…` of nf_tables.h.
pub(super) fn verdict(code: i32, chain: Option<&str>) -> Option<Value> {
    let to = |kind: &str| Some(json!({kind: {"target": chain?}}));
    match code {
        0 => Some(json!({"drop": null})),
        1 => Some(json!({"accept": null})),
        -1 => Some(json!({"continue": null})),
        -3 => to("jump"),
        -4 => to("goto"),
        -5 => Some(json!({"return": null})),
        _ => None,
    }
}

/// `NFT_REJECT_…`; the errors that nft writes without a word, and a reset.
pub(super) fn reject(kind: u32, code: u8) -> Option<Value> {
    match (kind, code) {
        (1, _) => Some(json!({"reject": {"type": "tcp reset"}})),
        // Port unreachable, of ICMP and of both versions.
        (0, 3) => Some(json!({"reject": {"type": "icmp", "expr": "port-unreachable"}})),
        (2, 1) => Some(json!({"reject": {"type": "icmpx", "expr": "port-unreachable"}})),
        _ => None,
    }
}
