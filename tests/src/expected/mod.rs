//! What the records of a trace must say. One vocabulary for every scenario: a verdict, a drop that
//! has one, an attempt that has one.

mod attempt;
mod drop;
mod verdict;

use std::fmt::Debug;

pub use self::{
    attempt::{ExpectedAttempt, Ladder, ladder},
    drop::ExpectedDrop,
    verdict::ExpectedVerdict,
};

fn differs<T: PartialEq + Debug>(key: &str, is: &T, should: &T) -> Option<String> {
    (is != should).then(|| format!("{key} is {is:?} and should be {should:?}"))
}
