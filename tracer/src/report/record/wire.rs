//! How times and addresses are written.

use std::{net::IpAddr, time::SystemTime};

use serde::Serializer;

pub(super) fn rfc3339<S: Serializer>(time: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&humantime::format_rfc3339_nanos(*time))
}

pub(super) fn rfc3339_or_null<S: Serializer>(
    time: &Option<SystemTime>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match time {
        Some(time) => rfc3339(time, serializer),
        None => serializer.serialize_none(),
    }
}

pub(super) fn endpoint_string<S: Serializer>(
    endpoint: &Option<(IpAddr, Option<u16>)>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match endpoint {
        Some((address, Some(port))) => {
            serializer.collect_str(&std::net::SocketAddr::new(*address, *port))
        }
        Some((address, None)) => serializer.collect_str(address),
        None => serializer.serialize_none(),
    }
}
