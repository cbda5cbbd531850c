//! Why the kernel refuses a connect: its error numbers.

use std::{fmt, io};

/// The error that a process gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum ConnectError {
    /// `EPERM`
    NotPermitted,
    /// `EACCES`: a route, or a rule, says prohibit.
    Prohibited,
    /// `EINVAL`: a route, or a rule, says blackhole; or the source address is not one of the namespace.
    Invalid,
    /// `ENETUNREACH`: no route matches.
    NoRoute,
    /// `EHOSTUNREACH`: a route, or a rule, says unreachable.
    Unreachable,
    /// `EADDRNOTAVAIL`: no local port is left or, with IPv6, there is no source address.
    NoAddress,
    /// Another number of errno(3).
    Other(i32),
}

impl ConnectError {
    /// By its number.
    pub(crate) fn new(errno: i32) -> Self {
        match errno {
            libc::EPERM => Self::NotPermitted,
            libc::EACCES => Self::Prohibited,
            libc::EINVAL => Self::Invalid,
            libc::ENETUNREACH => Self::NoRoute,
            libc::EHOSTUNREACH => Self::Unreachable,
            libc::EADDRNOTAVAIL => Self::NoAddress,
            other => Self::Other(other),
        }
    }

    fn number(self) -> i32 {
        match self {
            Self::NotPermitted => libc::EPERM,
            Self::Prohibited => libc::EACCES,
            Self::Invalid => libc::EINVAL,
            Self::NoRoute => libc::ENETUNREACH,
            Self::Unreachable => libc::EHOSTUNREACH,
            Self::NoAddress => libc::EADDRNOTAVAIL,
            Self::Other(number) => number,
        }
    }

    /// The name of the number, if it is a usual one.
    pub(crate) fn name(self) -> Option<&'static str> {
        Some(match self {
            Self::NotPermitted => "EPERM",
            Self::Prohibited => "EACCES",
            Self::Invalid => "EINVAL",
            Self::NoRoute => "ENETUNREACH",
            Self::Unreachable => "EHOSTUNREACH",
            Self::NoAddress => "EADDRNOTAVAIL",
            Self::Other(libc::ENETDOWN) => "ENETDOWN",
            Self::Other(libc::ENODEV) => "ENODEV",
            Self::Other(libc::ENOBUFS) => "ENOBUFS",
            Self::Other(libc::ENOMEM) => "ENOMEM",
            Self::Other(libc::ECONNREFUSED) => "ECONNREFUSED",
            Self::Other(libc::ETIMEDOUT) => "ETIMEDOUT",
            Self::Other(_) => return None,
        })
    }
}

/// As the process prints it.
impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", io::Error::from_raw_os_error(self.number()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_keeps_its_number() {
        for number in 1..133 {
            assert_eq!(ConnectError::new(number).number(), number);
        }
        assert_eq!(
            ConnectError::new(libc::ENETUNREACH).name(),
            Some("ENETUNREACH")
        );
        assert!(
            ConnectError::new(libc::EPERM)
                .to_string()
                .contains("not permitted")
        );
    }
}
