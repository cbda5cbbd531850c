//! Joined traces.
