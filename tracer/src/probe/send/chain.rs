//! What a server's certificate says.

use std::net::IpAddr;

use x509_parser::{
    extensions::GeneralName,
    prelude::{FromDer as _, X509Certificate},
};

/// A certificate, in the few fields that matter here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Certificate {
    pub(crate) subject: String,
    pub(crate) issuer: String,
    /// Seconds since the epoch.
    pub(crate) not_before: i64,
    /// Seconds since the epoch.
    pub(crate) not_after: i64,
    /// The DNS names that it is for.
    pub(crate) names: Vec<String>,
    /// The addresses that it is for.
    pub(crate) addresses: Vec<IpAddr>,
}

/// Longer texts are of no use to a reader, and come from a stranger.
const LONGEST: usize = 200;
/// More names than are read.
const MOST_NAMES: usize = 100;

/// Reads the certificates of a chain; those that cannot be read are left out.
pub(crate) fn read_chain(chain: &[Vec<u8>]) -> Vec<Certificate> {
    chain.iter().filter_map(|der| certificate(der)).collect()
}

fn certificate(der: &[u8]) -> Option<Certificate> {
    let (_, parsed) = X509Certificate::from_der(der).ok()?;
    let mut read = Certificate {
        subject: short(&parsed.subject().to_string()),
        issuer: short(&parsed.issuer().to_string()),
        not_before: parsed.validity().not_before.timestamp(),
        not_after: parsed.validity().not_after.timestamp(),
        ..Certificate::default()
    };
    let alternatives = parsed.subject_alternative_name().ok().flatten();
    let names = alternatives
        .iter()
        .flat_map(|found| &found.value.general_names);
    for name in names.take(MOST_NAMES) {
        match name {
            GeneralName::DNSName(name) => read.names.push(short(name)),
            GeneralName::IPAddress(bytes) => read.addresses.extend(address(bytes)),
            _ => {}
        }
    }
    Some(read)
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from))
        .ok()
}

fn short(text: &str) -> String {
    text.chars().take(LONGEST).collect()
}

impl Certificate {
    /// Whether it is for this name, or this address (RFC 6125: a star stands for one whole label).
    pub(crate) fn is_for(&self, name: &str) -> bool {
        if let Ok(ip) = name.parse::<IpAddr>() {
            return self.addresses.contains(&ip);
        }
        let name = name.trim_end_matches('.');
        self.names.iter().any(|pattern| {
            let same = pattern.eq_ignore_ascii_case(name);
            let starred = || {
                let parent = pattern.strip_prefix("*.")?;
                let (_, rest) = name.split_once('.')?;
                Some(rest.eq_ignore_ascii_case(parent))
            };
            same || starred().unwrap_or(false)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_is_one_label() {
        let certificate = Certificate {
            names: vec!["*.example.com".to_owned(), "plain.org".to_owned()],
            addresses: vec![IpAddr::from([10, 0, 0, 1])],
            ..Certificate::default()
        };
        for good in [
            "api.example.com",
            "API.example.com.",
            "plain.org",
            "10.0.0.1",
        ] {
            assert!(certificate.is_for(good), "{good}");
        }
        for bad in ["example.com", "a.b.example.com", "a.plain.org", "10.0.0.2"] {
            assert!(!certificate.is_for(bad), "{bad}");
        }
    }
}
