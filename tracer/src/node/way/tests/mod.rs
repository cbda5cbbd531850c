//! Walks through small models, with a kernel that answers from a table.

mod bridged;
mod routed;
mod table;
