//! What reaches the user, before it is rendered: the records of the JSON contract, and the report of
//! layers.

#[cfg(feature = "trace")]
pub(crate) mod accounts;
#[cfg(feature = "trace")]
pub(crate) mod layers;
#[cfg(test)]
mod tests;

pub(crate) use crate::model::record;
