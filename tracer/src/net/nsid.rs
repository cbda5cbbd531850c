//! The ids by which a namespace knows others (`RTM_GETNSID`).

use std::{fs::File, io, os::fd::AsRawFd as _};

use super::{message::Request, netlink::Rtnetlink};

/// Length of `struct rtgenmsg`, aligned.
const FIXED: usize = 4;

/// `NETNSA_…` of include/uapi/linux/net_namespace.h.
mod netnsa {
    pub(super) const NSID: u16 = 1;
    pub(super) const FD: u16 = 3;
}

impl Rtnetlink {
    /// The id of an open namespace in the socket's namespace, if it has one.
    pub(crate) fn nsid_of(&self, namespace: &File) -> io::Result<Option<i32>> {
        let descriptor = namespace.as_raw_fd().cast_unsigned();
        let question =
            Request::new(libc::RTM_GETNSID, &[0; FIXED]).with_u32(netnsa::FD, Some(descriptor));
        self.0.ask(&question, |message| {
            let id = message.attributes(FIXED).u32(netnsa::NSID)?;
            Some(id.cast_signed()).filter(|id| *id >= 0)
        })?
    }
}
