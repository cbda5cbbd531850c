//! Models of small nodes, and what they answer.

mod holders;
mod live;
