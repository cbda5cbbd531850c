//! The independent evaluator's corpus, and every point of the API by hand.

mod cluster;
mod corpus;
mod hosts;
mod laws;
mod peers;
mod ports;
mod selection;
