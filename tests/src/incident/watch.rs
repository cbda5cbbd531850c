//! A trace beside an incident.

use std::fs;

use anyhow::Result;

use super::{Report, Stage};
use crate::{
    lab::Namespace,
    poll_until,
    record::{Attempt, Outcome, Record},
    tracer::{Tracer, watching},
    traffic::Flow,
};

/// whydrop, while the traffic of an incident passes.
pub struct Watch<'a> {
    stage: &'a Stage,
    tracer: Tracer,
}

impl Stage {
    /// Runs whydrop with these arguments in the namespaces of these roles, and `traffic` beside it.
    /// Ends the trace when that has returned.
    pub fn trace<T>(
        &self,
        roles: impl IntoIterator<Item = &'static str>,
        arguments: &str,
        traffic: impl FnOnce(&mut Watch<'_>) -> Result<T>,
    ) -> Result<Report> {
        self.settle()?;
        let roles = roles.into_iter().map(|role| self.namespace(role));
        let mut all = watching(&roles.collect::<Vec<_>>());
        all.extend(arguments.split_whitespace().map(str::to_owned));
        let mut watch = Watch {
            stage: self,
            tracer: Tracer::start(all)?,
        };
        traffic(&mut watch)?;
        Ok(Report::new(watch.tracer.stop()?))
    }
}

impl Watch<'_> {
    /// The stage.
    pub fn stage(&self) -> &Stage {
        self.stage
    }

    /// Waits for such a record, which may have come already.
    pub fn until(&mut self, what: &str, wanted: impl FnMut(&Record) -> bool) -> Result<()> {
        self.tracer.wait_for(what, wanted).map(drop)
    }

    /// Has something happen before whydrop looks at the node.
    pub fn before_it_looks<T>(&self, happens: impl FnOnce(&Stage) -> Result<T>) -> Result<T> {
        self.tracer.paused(|| happens(self.stage))
    }

    /// Whether there was such a record so far.
    pub fn has_seen(&mut self, wanted: impl FnMut(&Record) -> bool) -> Result<bool> {
        self.tracer.has_seen(wanted)
    }

    /// Waits for a dropped packet.
    pub fn until_drop(&mut self) -> Result<()> {
        self.until("a drop", |record| record.as_drop().is_some())
    }

    /// Waits until all connections between the namespaces are closed, and their last packets
    /// through.
    ///
    /// Polls, because the kernel finishes closed connections on its own and notifies no process.
    pub fn until_all_closed(&self) -> Result<()> {
        poll_until("all connections to close", || {
            let mut all = self
                .stage
                .roles()
                .flat_map(|(_, namespace)| tcp_sockets(namespace));
            (!all.any(|socket| socket.is_open())).then_some(())
        })
    }

    /// Waits until whydrop has said what became of an attempt.
    pub fn until_reported(&mut self, flow: Flow) -> Result<()> {
        self.until(&format!("the outcome of {flow}"), |record| {
            record
                .as_attempt()
                .is_some_and(|attempt| is_of(attempt, flow))
        })
    }

    /// Whether it has said that an attempt failed.
    pub(super) fn has_failed(&mut self, flow: Flow) -> Result<bool> {
        self.tracer.has_seen(|record| {
            record
                .as_attempt()
                .is_some_and(|attempt| is_of(attempt, flow) && attempt.outcome != Outcome::Answered)
        })
    }
}

/// Whether a record is about a client's call. An address may have been translated where the packet
/// was first seen, and is unknown if the call failed before it had one.
fn is_of(attempt: &Attempt, flow: Flow) -> bool {
    let seen = [Some(&attempt.flow), attempt.translated.as_ref()];
    let (port, protocol) = (Some(flow.src.port()), flow.protocol.into());
    seen.into_iter()
        .flatten()
        .any(|seen| seen.sport == port && seen.proto == protocol)
}

/// A socket of `/proc/net/tcp`.
pub(super) struct TcpSocket {
    local: u16,
    remote: u16,
    state: u8,
}

impl TcpSocket {
    /// Numbers of include/net/tcp_states.h.
    const TIME_WAIT: u8 = 6;
    const LISTEN: u8 = 10;

    /// Whether packets of it may still come.
    pub(super) fn is_open(&self) -> bool {
        !matches!(self.state, Self::TIME_WAIT | Self::LISTEN)
    }

    /// Whether one of its ends has this port.
    pub(super) fn has_port(&self, port: u16) -> bool {
        [self.local, self.remote].contains(&port)
    }

    /// `  0: 0100007F:1F90 00000000:0000 0A …`
    fn parse(line: &str) -> Option<Self> {
        let mut words = line.split_whitespace().skip(1);
        let port = |word: &str| u16::from_str_radix(word.rsplit(':').next()?, 16).ok();
        Some(Self {
            local: port(words.next()?)?,
            remote: port(words.next()?)?,
            state: u8::from_str_radix(words.next()?, 16).ok()?,
        })
    }
}

/// The TCP sockets of a namespace.
pub(super) fn tcp_sockets(namespace: &Namespace) -> Vec<TcpSocket> {
    let tables = namespace.enter(|| {
        // `/proc/net` is the namespace of the process, this one that of the thread.
        ["tcp", "tcp6"].map(|table| fs::read_to_string(format!("/proc/thread-self/net/{table}")))
    });
    let tables = tables.into_iter().flatten();
    let sockets = tables.flat_map(|table| {
        let lines = table.lines().skip(1);
        lines.filter_map(TcpSocket::parse).collect::<Vec<_>>()
    });
    sockets.collect()
}
