//! A datagram that has arrived, and waits for a process that does not read it.

use super::{Case, departure::is_silence};
use crate::{
    model::{Confidence::Likely, Fix, Point, Site},
    node::datagrams::Reading,
    verdict::rule::Finding,
    words,
};

/// It waits in a datagram socket: its process does not read.
pub(super) fn unread(case: &Case<'_>) -> Option<Finding> {
    is_silence(case).then_some(())?;
    let socket = case.around.datagrams.as_ref()?;
    (socket.reading == Reading::Stopped).then_some(())?;
    let (reader, local) = (socket.reader(), socket.local);
    let why = format!(
        "it waits in the socket of udp port {}: {reader} does not read",
        local.port()
    );
    let mut finding = Finding::new(Point::Socket, Likely, why).about(&[&local]);
    finding.fact(format!(
        "the socket {local} has {} bytes that wait to be read (Recv-Q), and has dropped {} so far; \
         no datagram was read in its namespace meanwhile (UdpInDatagrams)",
        socket.waiting, socket.dropped
    ));
    let advice = format!("look at {reader}: restart it if it hangs");
    finding.fix.push(Fix::advice(advice).at(Site::Host));
    Some(finding)
}

/// Its process reads, or may do so.
pub(super) fn are_read(case: &Case<'_>) -> Option<String> {
    is_silence(case).then_some(())?;
    let socket = case.around.datagrams.as_ref()?;
    let local = socket.local;
    match socket.reading {
        Reading::Happens if socket.waiting == 0 => {
            Some(format!("no datagram waits in the socket {local} (Recv-Q)"))
        }
        Reading::Happens => Some(format!(
            "the queue of the socket {local} is being read (Recv-Q)"
        )),
        Reading::Somewhere(read) => Some(format!(
            "processes have read {} meanwhile in the namespace of the socket {local} (UdpInDatagrams)",
            words::count(read, "datagram")
        )),
        Reading::Stopped | Reading::Unknown => None,
    }
}
