//! How the packets at the interfaces are seen.

use anyhow::Result;

/// Interfaces beyond which the tracepoints are taken: a second's worth of attaching.
pub(super) const MANY: usize = 50;

/// How the packets at the interfaces are seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Attachment {
    /// By classifiers, attached by TCX where the kernel has it, and else by clsact.
    Automatic,
    /// By TCX: what [`Attachment::Automatic`] finds to work.
    Tcx,
    /// By clsact, even if the kernel has TCX.
    Clsact,
    /// By tracepoints, which the packets of all interfaces pass.
    Tracepoints,
    /// Not at all: the kernel takes neither.
    Nowhere,
}

impl Attachment {
    /// What suits this number of interfaces, if the kernel takes the classifiers (`at_each`), and the
    /// programs at the tracepoints (`everywhere`, asked only where it matters).
    ///
    /// # Errors
    ///
    /// Those of `everywhere`.
    pub(in crate::kernel::probes) fn suitable(
        interfaces: usize,
        at_each: bool,
        everywhere: impl FnOnce() -> Result<bool>,
    ) -> Result<Self> {
        let is_slow = interfaces > MANY;
        Ok(if (is_slow || !at_each) && everywhere()? {
            Self::Tracepoints
        } else if at_each {
            Self::Automatic
        } else {
            Self::Nowhere
        })
    }

    /// What the classifiers are attached to, as the record `started` names it.
    pub(crate) fn hook(self) -> Option<&'static str> {
        match self {
            Self::Clsact => Some("tc/clsact"),
            Self::Automatic | Self::Tcx => Some("tc/tcx"),
            Self::Tracepoints | Self::Nowhere => None,
        }
    }
}

#[test]
fn what_the_kernel_takes_decides() {
    let suitable = |interfaces, at_each, everywhere| {
        Attachment::suitable(interfaces, at_each, || Ok(everywhere)).expect("an attachment")
    };
    assert_eq!(suitable(1, true, true), Attachment::Automatic);
    assert_eq!(suitable(MANY + 1, true, true), Attachment::Tracepoints);
    assert_eq!(suitable(MANY + 1, true, false), Attachment::Automatic);
    assert_eq!(suitable(1, false, true), Attachment::Tracepoints);
    assert_eq!(suitable(1, false, false), Attachment::Nowhere);
}

#[test]
fn tracepoints_are_not_tried_where_they_do_not_matter() {
    let found = Attachment::suitable(1, true, || panic!("tried"));
    assert_eq!(found.expect("an attachment"), Attachment::Automatic);
}
