//! What becomes of the reports of the trace behind a probe: those about its own packets are kept and
//! printed, and all others are left out.

use std::{io, rc::Rc, time::SystemTime};

use super::Output;
use crate::{command::shell::Outlet, model::Report, probe::observed::Observed, sink::Delivery};

/// Takes the reports.
pub(super) struct ProbeOutlet {
    observed: Rc<Observed>,
    output: Output,
}

impl ProbeOutlet {
    pub(super) fn new(observed: Rc<Observed>, output: Output) -> Self {
        Self { observed, output }
    }
}

impl Outlet for ProbeOutlet {
    fn print(&mut self, report: &Report) -> io::Result<Delivery> {
        let is_own = match report {
            Report::Started(_) | Report::Lost(_) => true,
            // The probe's own takes its place.
            Report::Summary(_) => false,
            _ => self.observed.take(report),
        };
        match is_own {
            true => self.output.borrow_mut().print(report),
            false => Ok(Delivery::Written),
        }
    }

    fn tick(&mut self, now: SystemTime) -> io::Result<Delivery> {
        self.output.borrow_mut().tick(now)
    }

    fn interrupted(&mut self) -> io::Result<Delivery> {
        self.output.borrow_mut().interrupted()
    }

    fn resize(&mut self, columns: Option<usize>) {
        self.output.borrow_mut().resize(columns);
    }
}
