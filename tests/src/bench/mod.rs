//! The benchmarks behind `cargo xtask bench`.
//!
//! The machine may be noisy, so what can be a ratio is one: of things measured at the same time
//! (two programs that see the same packets), or else in turn, in several rounds. Of the rounds the
//! median counts, and the middle half of them is shown beside it.
//!
//! | module | what it measures |
//! |---|---|
//! | [`drops`] | the program at `kfree_skb`, beside an empty one, and bpftrace's |
//! | [`classifiers`] | the programs at the interfaces, beside empty ones |
//! | [`throughput`] | what TCP loses by being watched |
//! | [`storm`] | a drop storm from one core |
//! | [`interfaces`] | attaching to many interfaces |
//! | [`start`] | how long the first answers take, and what the program weighs |
//! | [`cluster`] | a large cluster, from a file |
//! | [`rulesets`] | how long it takes to name one rule of many |
//! | [`namespaces`] | how long a verdict takes on a node with many network namespaces |

pub mod bpftrace;
pub mod classifiers;
pub mod cluster;
pub mod drops;
pub mod figure;
pub mod interfaces;
pub mod load;
pub mod namespaces;
pub mod process;
pub mod report;
pub mod rulesets;
pub mod start;
pub mod storm;
pub mod throughput;

use anyhow::Result;

use self::figure::Figure;

/// How much is measured.
#[derive(Debug, Clone, Copy)]
pub struct Effort {
    /// Only enough to see that it works.
    pub quick: bool,
    /// Whether to compare with bpftrace, if it is installed.
    pub bpftrace: bool,
}

impl Effort {
    /// How often each thing is measured.
    pub fn rounds(self, full: usize) -> usize {
        if self.quick { 2 } else { full }
    }

    /// How many of something.
    pub fn amount(self, full: usize) -> usize {
        if self.quick { full / 5 } else { full }
    }
}

/// A benchmark.
pub struct Benchmark {
    /// What it is called on the command line.
    pub name: &'static str,
    /// Its heading in the report.
    pub title: &'static str,
    /// How it is measured, in a few sentences.
    pub method: &'static str,
    /// Measures.
    pub run: fn(Effort) -> Result<Vec<Figure>>,
}

/// All of them, in the order of the report.
pub const ALL: [Benchmark; 9] = [
    drops::BENCHMARK,
    classifiers::BENCHMARK,
    throughput::BENCHMARK,
    storm::BENCHMARK,
    interfaces::BENCHMARK,
    start::BENCHMARK,
    cluster::BENCHMARK,
    rulesets::BENCHMARK,
    namespaces::BENCHMARK,
];
