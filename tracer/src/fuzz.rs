//! Mutated input for every parser of what comes from outside, for as long as one likes.
//!
//! Each target is a test beside its parser, named `fuzz_…`. Plain `cargo test` gives each a moment;
//! `cargo xtask fuzz --seconds N` gives each N seconds. Its corpus is what real tools and servers wrote,
//! and `testdata/fuzz/TARGET`: inputs that once broke something, or that reach what the others do not.
//! An input that makes a target panic is written to `target/fuzz`, and belongs into the corpus.
//!
//! Not coverage-guided: that needs a nightly compiler, and this one stays on the pinned one.

use std::{
    env, fs,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    path::{Path, PathBuf},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// How long a target runs, without `WHYDROP_FUZZ_SECONDS`.
const MOMENT: Duration = Duration::from_millis(300);
/// Inputs grow by this much at most.
const GROWTH: usize = 4096;

/// What parsers look for: half-right input gets further into them than noise does.
const TOKENS: [&[u8]; 34] = [
    b"\"",
    b"{",
    b"}",
    b"[",
    b"]",
    b"[]",
    b"{}",
    b":",
    b",",
    b"null",
    b"true",
    b"-1",
    b"\n",
    b"\n---\n",
    b"- ",
    b"&a [*a]",
    b"!!",
    b"\\",
    b"\0",
    b"\xff\xfe",
    b"\xef\xbb\xbf",
    b" -j ",
    b" ! ",
    b"-A ",
    b"*",
    b"/",
    b"0-4294967295",
    b"18446744073709551616",
    b"1e999",
    b"::",
    b"[::]:1",
    b"\xf3\xa0\x81\x81",
    b"\\u0000",
    b"\\ud800",
];

/// Runs a target on its corpus, and then on mutations of it until its time is over.
///
/// # Panics
///
/// The target does; the input is in `target/fuzz`.
pub(crate) fn run(target: &str, corpus: &[&[u8]], parse: impl Fn(&[u8])) {
    let mut corpus: Vec<Vec<u8>> = corpus.iter().map(|input| input.to_vec()).collect();
    corpus.extend(kept(target));
    assert!(!corpus.is_empty(), "{target} has no corpus");
    for input in &corpus {
        attempt(target, input, &parse);
    }
    let seconds = env::var("WHYDROP_FUZZ_SECONDS").ok();
    let time = seconds.map_or(MOMENT, |text| {
        Duration::from_secs(text.parse().expect("a number of seconds"))
    });
    let seed = SystemTime::now().duration_since(UNIX_EPOCH);
    let mut random = Random(seed.map_or(1, |time| time.as_nanos() as u64) | 1);
    let end = Instant::now() + time;
    let mut count = 0_u64;
    while Instant::now() < end {
        let input = mutated(&corpus, &mut random);
        attempt(target, &input, &parse);
        count += 1;
    }
    println!("figure: {target}: {count} inputs in {time:?}");
}

fn attempt(target: &str, input: &[u8], parse: &impl Fn(&[u8])) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| parse(input))) {
        let folder = folder("../target/fuzz");
        let path = folder.join(format!("{target}-{}", input.len()));
        fs::create_dir_all(&folder)
            .and_then(|()| fs::write(&path, input))
            .ok();
        eprintln!("{target} fails at {}", path.display());
        resume_unwind(panic);
    }
}

/// The inputs of `testdata/fuzz/TARGET`.
fn kept(target: &str) -> Vec<Vec<u8>> {
    let Ok(entries) = fs::read_dir(folder("testdata/fuzz").join(target)) else {
        return Vec::new();
    };
    let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    paths.iter().flat_map(fs::read).collect()
}

fn folder(below: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(below)
}

/// Marsaglia's xorshift: what is random here has to be fast, and nothing else.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit.max(1) as u64) as usize
    }
}

/// One input of the corpus with up to eight changes.
fn mutated(corpus: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let mut input = corpus[random.below(corpus.len())].clone();
    let longest = input.len() + GROWTH;
    for _ in 0..=random.below(8) {
        let at = random.below(input.len() + 1);
        let end = (at + 1 + random.below(64)).min(input.len());
        match random.below(7) {
            0 if at < input.len() => input[at] ^= 1 << random.below(8),
            1 if at < input.len() => input[at] = [0, 1, 0x7f, 0x80, 0xff][random.below(5)],
            2 => drop(input.drain(at.min(end)..end)),
            3 => input.truncate(at),
            4 => {
                let again = input[at.min(end)..end].to_vec();
                splice(&mut input, at, &again);
            }
            5 => splice(&mut input, at, TOKENS[random.below(TOKENS.len())]),
            _ => {
                let other = &corpus[random.below(corpus.len())];
                let from = random.below(other.len() + 1);
                let to = (from + random.below(256)).min(other.len());
                splice(&mut input, at, &other[from..to]);
            }
        }
        input.truncate(longest);
    }
    input
}

fn splice(input: &mut Vec<u8>, at: usize, more: &[u8]) {
    input.splice(at..at, more.iter().copied());
}

/// As text, which most parsers take.
pub(crate) fn text(input: &[u8]) -> String {
    String::from_utf8_lossy(input).into_owned()
}

/// What whydrop has written itself, and reads again to join or replay traces.
#[test]
fn fuzz_records() {
    let records: [&[u8]; 4] = [
        br#"{"kind":"started","ts":"2026-11-29T05:48:06.030610559Z","kernel":"6.18.44","interfaces":4,"hooks":["tp_btf/kfree_skb","tc/tcx"],"degraded":[],"filter":"any"}"#,
        br#"{"kind":"lost","ts":"2026-11-29T05:48:06.030610559Z","events":7,"where":"ring buffer"}"#,
        br#"{"kind":"summary","ts":"2026-11-29T05:48:07.470383933Z","drops":0,"shown":0,"lost":0,"noise":0,"malformed":0,"attempts":{},"untracked":0,"verdicts":[],"layers":[]}"#,
        br#"{"kind":"drop","ts":"2026-11-29T05:48:06.030610559Z","flow":{"proto":"tcp","src":"10.0.0.1","sport":1,"dst":"10.0.0.2","dport":443}}"#,
    ];
    use crate::model::record;
    run("records", &records, |input| {
        if let Ok(report) = record::read(&text(input)) {
            let written = record::write(&report, 1).expect("what was read can be written");
            record::read(&written).expect("what was written can be read");
        }
    });
}
