//! What the records of a trace must say. One vocabulary for every scenario: a verdict, a drop that
//! has one, an attempt that has one.

mod verdict;

pub use verdict::ExpectedVerdict;
