//! Walks through small models, with a kernel that answers from a table.

mod bridged;
mod property;
mod routed;
mod table;
