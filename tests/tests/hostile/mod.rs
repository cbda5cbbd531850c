//! What an outsider, an odd environment or an unlucky operator does to a trace.

mod churn;
mod environment;
mod evidence;
mod memory;
mod one_socket;
mod signals;
mod slow_rules;
mod sources;
