//! Values of options, as they are typed.

use std::{ops::RangeInclusive, time::Duration};

use super::endpoint::{Endpoint, EndpointError};
use crate::{
    cluster::resolve::Socket,
    probe::{resolv::is_name, target::Target},
};

/// Bytes of the smallest and the largest ring buffer.
const RING_SIZES: RangeInclusive<u32> = 4 << 10..=1 << 30;

/// Bytes of the smallest and the largest memory for maps and tables.
const MEMORY_SIZES: RangeInclusive<u64> = 8 << 20..=16 << 30;

/// Longer times are typing errors, and would overflow a clock.
const LONGEST: Duration = Duration::from_hours(24 * 365);

/// After an option, clap takes a subcommand for an endpoint.
pub(super) fn to(text: &str) -> Result<Endpoint, String> {
    text.parse().map_err(|error: EndpointError| match text {
        "check" | "explain" | "probe" | "join" | "completions" | "man" => {
            format!("options follow the subcommand: whydrop {text} [OPTIONS]")
        }
        _ => error.to_string(),
    })
}

/// One address, perhaps with a port.
pub(super) fn socket(text: &str) -> Result<Socket, String> {
    match text.parse() {
        Ok(Endpoint::Net { net, port }) if net.prefix_len() == net.max_prefix_len() => Ok(Socket {
            ip: net.addr(),
            port,
        }),
        Ok(_) => Err("expected one address, such as 10.244.3.17:443".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// The destination of a probe.
pub(super) fn target(text: &str) -> Result<Target, String> {
    text.parse()
        .map_err(|error: EndpointError| error.to_string())
}

/// The path of a request, which goes into its first line as it is.
pub(super) fn http_path(text: &str) -> Result<String, &'static str> {
    let is_plain = text.starts_with('/') && text.bytes().all(|b| b.is_ascii_graphic());
    match is_plain {
        true => Ok(text.to_owned()),
        false => Err("expected a path such as /healthz, without blanks"),
    }
}

/// A name for SNI and the header `Host`.
pub(super) fn server_name(text: &str) -> Result<String, &'static str> {
    match is_name(text) {
        true => Ok(text.trim_end_matches('.').to_ascii_lowercase()),
        false => Err("expected a DNS name"),
    }
}

pub(super) fn at_least_one(text: &str) -> Result<u64, &'static str> {
    text.parse()
        .ok()
        .filter(|n| *n > 0)
        .ok_or("must be at least 1")
}

/// A size that the kernel accepts for a ring buffer, in bytes: a power of two, and whole pages.
pub(super) fn ring_size(text: &str) -> Result<u32, &'static str> {
    bytes(text)
        .and_then(|size| size.try_into().ok())
        .filter(|size: &u32| size.is_power_of_two() && RING_SIZES.contains(size))
        .ok_or("expected a power of two from 4K to 1024M, such as 16M")
}

/// What maps and tables may take together, in bytes.
pub(super) fn memory_size(text: &str) -> Result<u64, &'static str> {
    bytes(text)
        .filter(|size| MEMORY_SIZES.contains(size))
        .ok_or("expected a size from 8M to 16G, such as 64M")
}

/// A number with a unit, of 1,024 each; `Mi` is the same as `M`.
fn bytes(text: &str) -> Option<u64> {
    let text = text.strip_suffix(['i']).unwrap_or(text);
    let (number, unit) = match text.as_bytes().last()? {
        b'K' | b'k' => (&text[..text.len() - 1], 1 << 10),
        b'M' | b'm' => (&text[..text.len() - 1], 1 << 20),
        b'G' | b'g' => (&text[..text.len() - 1], 1 << 30),
        _ => (text, 1),
    };
    number.parse::<u64>().ok()?.checked_mul(unit)
}

pub(super) fn duration(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(duration) if duration.is_zero() => Err("must be greater than zero".to_owned()),
        Ok(duration) if duration > LONGEST => Err("must be at most one year".to_owned()),
        Ok(duration) => Ok(duration),
        Err(_) => Err("expected a number with a unit, such as 500ms, 3s or 2m".to_owned()),
    }
}
