//! What reaches the user, before it is rendered: the records of the JSON contract, and the report of
//! layers.

pub mod layers;
pub mod record;
