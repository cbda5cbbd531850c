//! Models of small nodes, and what they answer.

mod build;
mod holders;
mod live;
