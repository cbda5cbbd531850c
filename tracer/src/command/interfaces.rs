//! The probes at interfaces that come and go during a trace.

use std::{io, time::Instant};

use anyhow::Result;

use super::shell::Shell;
use crate::{
    engine::Input,
    kernel::probes::{Attachment, Churn, Followed, Follower, Programs, TcProbes},
    net::Change,
};

/// The probes at the interfaces.
pub(super) struct InterfaceProbes {
    follower: Follower,
    churn: Churn,
    /// Whether they are at each interface.
    is_at_each: bool,
    /// Whether the tracepoints could take over.
    may_change: bool,
}

impl InterfaceProbes {
    /// From what is attached already.
    ///
    /// # Errors
    ///
    /// No thread can be had.
    pub(super) fn new(tc: TcProbes, programs: Programs) -> io::Result<Self> {
        let is_at_each = !matches!(
            tc.attachment(),
            Attachment::Tracepoints | Attachment::Nowhere
        );
        Ok(Self {
            is_at_each,
            may_change: is_at_each,
            follower: Follower::start(tc, programs)?,
            churn: Churn::default(),
        })
    }

    /// Follows changes of the interfaces. `present` is how many there are now.
    ///
    /// # Errors
    ///
    /// The output cannot be written to.
    pub(super) fn follow(
        &mut self,
        shell: &mut Shell,
        changes: Vec<Change>,
        present: usize,
    ) -> Result<()> {
        let appeared = changes
            .iter()
            .filter(|change| matches!(change, Change::Appeared(_)));
        let appeared = appeared.count();
        if self.may_change && self.churn.is_too_much(Instant::now(), appeared, present) {
            self.may_change = false;
            self.follower.everywhere();
        }
        let unwatched = self.follower.follow(&changes);
        shell.feed(Input::Interfaces(changes))?;
        if self.is_at_each && appeared > 0 {
            shell.feed(Input::Unwatched(Some(unwatched)))?;
        }
        Ok(())
    }

    /// Waits until the probes are attached. Can be canceled without loss.
    pub(super) async fn next(&mut self) -> Followed {
        self.follower.next().await
    }

    /// Takes what was attached.
    ///
    /// # Errors
    ///
    /// The output cannot be written to.
    pub(super) fn followed(&mut self, shell: &mut Shell, followed: Followed) -> Result<()> {
        let takes_over = self.is_at_each && followed.is_everywhere;
        self.is_at_each &= !followed.is_everywhere;
        shell.feed(Input::Unwatched(followed.unwatched))?;
        if takes_over {
            shell.note(
                "interfaces come and go in numbers: tracepoints watch them from now on, and TLS is \
                 followed only where the payload is in a packet's linear part"
                    .to_owned(),
            );
        }
        Ok(())
    }
}
