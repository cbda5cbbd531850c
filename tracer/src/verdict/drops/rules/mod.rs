//! The tables of rules on drops, in the order in which they are tried.

mod filter;
mod packet;
mod path;
mod socket;

use super::OnDrop;
use crate::verdict::rule::Rule;

/// All rules, in the order in which they are tried.
pub(in crate::verdict) fn rules() -> impl Iterator<Item = &'static Rule<OnDrop>> {
    let tables = [packet::RULES, filter::RULES, path::RULES, socket::RULES];
    tables.into_iter().flatten()
}
