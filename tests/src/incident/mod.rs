//! The dialect of incidents: failures that people have reported in public, each rebuilt in a few
//! lines, with its healthy twin.
//!
//! A [`Stage`] is some network namespaces, links and servers. [`Stage::trace`] runs whydrop beside
//! traffic; what it returns, a [`Report`], is held against what must be said. CONTRIBUTING.md builds
//! one step by step.

mod client;
mod report;
mod server;
mod stage;
mod topology;
mod watch;

pub use self::{
    client::{Call, End},
    report::Report,
    stage::{LinkEnd, Stage},
    watch::Watch,
};
