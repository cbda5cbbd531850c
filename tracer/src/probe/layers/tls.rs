//! TLS: the handshake, the versions and the certificate.

use std::{net::SocketAddr, time::Duration};

use jiff::Timestamp;

use super::{report, took, verdict};
use crate::{
    model::{
        AttemptReport, Confidence, Fix, Layer, LayerReport, LayerResult, LayerTest, Point, Site,
        Verdict,
    },
    probe::send::{Broken, Certificate, Offer},
};

/// A handshake, without its connection.
#[derive(Debug, Clone)]
pub(crate) struct Shaken {
    pub(crate) offer: Offer,
    pub(crate) took: Duration,
    pub(crate) result: Result<Agreed, Broken>,
    pub(crate) attempt: Option<AttemptReport>,
}

/// What both sides have agreed on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Agreed {
    pub(crate) version: &'static str,
    pub(crate) alpn: Option<String>,
    pub(crate) chain: Vec<Certificate>,
}

/// The layer, by the handshakes that were tried in this order.
pub(crate) fn layer(
    test: String,
    at: SocketAddr,
    name: Option<&str>,
    shaken: &[Shaken],
    now: i64,
) -> LayerReport {
    let done: Vec<(&Shaken, &Agreed)> = shaken
        .iter()
        .filter_map(|one| Some((one, one.result.as_ref().ok()?)))
        .collect();
    let Some((first, agreed)) = done.first() else {
        return refused(at, test, shaken);
    };
    if let Some(found) = by_offer(at, shaken) {
        return failed(test, found);
    }
    let mut versions: Vec<&str> = done.iter().map(|(_, agreed)| agreed.version).collect();
    versions.sort_unstable();
    versions.dedup();
    versions.reverse();
    // Of a server that can, the highest version is had.
    let only = match versions.as_slice() {
        ["1.2"] => " only",
        _ => "",
    };
    let mut evidence = format!(
        "TLS {}{only} after {}, {}",
        versions.join(" and "),
        took(first.took),
        match &agreed.alpn {
            Some(alpn) => format!("ALPN {alpn}"),
            None => "no ALPN".to_owned(),
        }
    );
    match agreed.chain.first() {
        None => evidence += "; the certificate could not be read",
        Some(own) => {
            evidence += &format!(
                "; {} by {}, until {}",
                own.subject,
                own.issuer,
                date(own.not_after)
            );
            if let Some(found) = by_certificate(at, name, &agreed.chain, now) {
                return failed(test, found);
            }
        }
    }
    let ok = LayerTest {
        test,
        result: LayerResult::Ok,
        evidence: Some(evidence),
        verdict: None,
    };
    report(Layer::Tls, vec![ok], None)
}

fn failed(test: String, verdict: Verdict) -> LayerReport {
    let test = LayerTest {
        test,
        result: LayerResult::Failed,
        evidence: Some(verdict.why.clone()),
        verdict: Some(verdict),
    };
    report(Layer::Tls, vec![test], None)
}

/// No offer was accepted.
fn refused(at: SocketAddr, test: String, shaken: &[Shaken]) -> LayerReport {
    let Some(first) = shaken.first() else {
        return failed(test, unknown(at, "no handshake was tried".to_owned()));
    };
    let Err(broken) = &first.result else {
        return failed(test, unknown(at, "the handshake was done".to_owned()));
    };
    // The trace may have seen more than the client.
    let traced = first.attempt.as_ref().and_then(|one| one.verdict.clone());
    let own = match broken {
        Broken::Connect(kind) => unknown(at, format!("TCP does not connect this time: {kind}")),
        Broken::Reset => verdict(
            "probe-tls-reset",
            Point::Tls,
            Confidence::Confirmed,
            format!("{at} accepts TCP and answers the ClientHello with a RST, whatever it offers"),
            at.to_string(),
        ),
        Broken::Closed => verdict(
            "probe-tls-closed",
            Point::Tls,
            Confidence::Confirmed,
            format!("{at} accepts TCP and closes the connection after the ClientHello"),
            at.to_string(),
        ),
        Broken::Alert(alert) => verdict(
            "probe-tls-alert",
            Point::Tls,
            Confidence::Confirmed,
            format!("{at} refuses TLS 1.2 and 1.3 with the alert {alert}"),
            at.to_string(),
        ),
        Broken::NotTls(how) => verdict(
            "probe-not-tls",
            Point::Tls,
            Confidence::Confirmed,
            format!("{at} answers the ClientHello with something else than TLS: {how}"),
            at.to_string(),
        ),
        Broken::Silent => verdict(
            "probe-tls-silent",
            Point::Tls,
            Confidence::Likely,
            format!(
                "{at} accepts TCP and answers nothing to the ClientHello within {}",
                took(first.took)
            ),
            at.to_string(),
        ),
    };
    let is_better = |traced: &Verdict| {
        matches!(broken, Broken::Silent | Broken::Connect(_)) && traced.point != Point::Unknown
    };
    failed(test, traced.filter(is_better).unwrap_or(own))
}

fn unknown(at: SocketAddr, why: String) -> Verdict {
    verdict(
        "probe-tls-unknown",
        Point::Unknown,
        Confidence::Possible,
        why,
        at.to_string(),
    )
}

/// What an offer fails by that another one does not.
fn by_offer(at: SocketAddr, shaken: &[Shaken]) -> Option<Verdict> {
    // The one just before the first that passed: an earlier one differs from it in more than one way.
    let at_pass = shaken.iter().position(|one| one.result.is_ok())?;
    let passed = &shaken[at_pass];
    let full = shaken[..at_pass].last()?;
    let broken = full.result.as_ref().err()?;
    let how = match broken {
        Broken::Reset => "answered with a RST".to_owned(),
        Broken::Closed => "answered by closing the connection".to_owned(),
        Broken::Alert(alert) => format!("refused with the alert {alert}"),
        Broken::Silent => "not answered".to_owned(),
        // That says nothing of the offer.
        Broken::NotTls(_) | Broken::Connect(_) => return None,
    };
    let confidence = match broken {
        // A single packet that was lost looks the same.
        Broken::Silent => Confidence::Likely,
        _ => Confidence::Confirmed,
    };
    let (offered, without, advice) = match (full.offer.alpn, passed.offer.alpn) {
        (true, false) => (
            "ALPN h2,http/1.1",
            "without ALPN",
            "let whatever resets it (the server, or a middlebox that inspects TLS) accept ALPN, or have \
             the client offer none",
        ),
        _ if full.offer.tls13 && !passed.offer.tls13 => (
            "TLS 1.3",
            "with TLS 1.2 only",
            "let whatever resets it accept a ClientHello of TLS 1.3, or limit the client to TLS 1.2",
        ),
        _ => return None,
    };
    let mut found = verdict(
        "probe-tls-offer",
        Point::Tls,
        confidence,
        format!("{at}: a ClientHello with {offered} is {how}, and one {without} is accepted"),
        at.to_string(),
    );
    found.evidence = vec![format!(
        "the handshake {without} was done after {}",
        took(passed.took)
    )];
    found.fix = vec![Fix::advice(advice).at(Site::Beyond)];
    Some(found)
}

/// What is wrong with the certificate.
fn by_certificate(
    at: SocketAddr,
    name: Option<&str>,
    chain: &[Certificate],
    now: i64,
) -> Option<Verdict> {
    let own = chain.first()?;
    let expired = chain.iter().find(|one| one.not_after < now);
    let early = chain.iter().find(|one| one.not_before > now);
    let (rule, why, advice) = if let Some(one) = expired {
        let days = (now - one.not_after) / 86_400;
        (
            "probe-certificate-expired",
            format!(
                "the certificate of {} at {at} expired on {} ({days} days ago)",
                one.subject,
                date(one.not_after)
            ),
            "renew the certificate, and have the server load it",
        )
    } else if let Some(one) = early {
        (
            "probe-certificate-early",
            format!(
                "the certificate of {} at {at} is not valid before {}",
                one.subject,
                date(one.not_before)
            ),
            "compare the clocks of this node and of whatever issued the certificate",
        )
    } else if let Some(name) = name.filter(|name| !own.is_for(name)) {
        (
            "probe-certificate-name",
            format!(
                "the certificate at {at} is not for {name}, but for {}",
                names(own)
            ),
            "ask for a name of the certificate, or issue one with this name as subjectAltName",
        )
    } else {
        return None;
    };
    let mut found = verdict(rule, Point::Tls, Confidence::Confirmed, why, at.to_string());
    found.evidence = vec![
        format!("subject {}, issuer {}", own.subject, own.issuer),
        format!("subjectAltName: {}", names(own)),
        format!(
            "valid from {} to {}",
            date(own.not_before),
            date(own.not_after)
        ),
    ];
    found.fix = vec![Fix::advice(advice).at(Site::Beyond)];
    Some(found)
}

fn names(certificate: &Certificate) -> String {
    let addresses = certificate.addresses.iter().map(ToString::to_string);
    let all: Vec<_> = certificate.names.iter().cloned().chain(addresses).collect();
    match all.len() {
        0 => "no name at all".to_owned(),
        1..=5 => all.join(", "),
        more => format!("{} and {} more", all[..5].join(", "), more - 5),
    }
}

fn date(seconds: i64) -> String {
    Timestamp::from_second(seconds).map_or_else(
        |_| seconds.to_string(),
        |at| at.strftime("%Y-%m-%d %H:%M UTC").to_string(),
    )
}
