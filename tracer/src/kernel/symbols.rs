//! Code addresses to function names, from `/proc/kallsyms`.

use std::{
    fs::File,
    io::{self, BufRead, BufReader},
    thread,
};

use anyhow::{Context as _, Result};

const PATH: &str = "/proc/kallsyms";

/// The kernel's functions by address.
#[derive(Debug, Default)]
pub(crate) struct Symbols {
    /// Where each begins, and where its name begins in `names`. Sorted by address.
    functions: Vec<(u64, u32)>,
    /// All names, a line each, in the order of the file.
    names: String,
}

/// A table of symbols that is being read in the background: it has some hundred thousand lines.
#[derive(Debug)]
pub(crate) struct Reading(thread::JoinHandle<Result<Symbols>>);

impl Reading {
    /// Starts to read.
    pub(crate) fn start() -> Self {
        Self(thread::spawn(Symbols::read))
    }

    /// Waits for the table.
    ///
    /// # Errors
    ///
    /// As [`Symbols::read`].
    pub(crate) fn finish(self) -> Result<Symbols> {
        self.0
            .join()
            .unwrap_or_else(|_| Err(anyhow::anyhow!("reading {PATH} panicked")))
    }
}

impl Symbols {
    /// Reads the running kernel's symbols.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or shows no addresses (`kernel.kptr_restrict`, or no CAP_SYSLOG).
    pub(crate) fn read() -> Result<Self> {
        let file = File::open(PATH).with_context(|| format!("cannot read {PATH}"))?;
        let symbols = Self::parse(BufReader::with_capacity(1 << 16, file))
            .with_context(|| format!("cannot read {PATH}"))?;
        if symbols.functions.is_empty() {
            let hidden = io::Error::from(io::ErrorKind::PermissionDenied);
            return Err(hidden).with_context(|| {
                format!(
                    "{PATH} shows no addresses: needs CAP_SYSLOG, and kernel.kptr_restrict below 2"
                )
            });
        }
        Ok(symbols)
    }

    fn parse(mut lines: impl BufRead) -> io::Result<Self> {
        let mut symbols = Self::default();
        let mut line = Vec::new();
        while lines.read_until(b'\n', &mut line)? > 0 {
            let known = str::from_utf8(&line).ok().and_then(function);
            if let Some((address, name)) = known {
                symbols
                    .functions
                    .push((address, symbols.names.len() as u32));
                symbols.names.push_str(name);
                symbols.names.push('\n');
            }
            line.clear();
        }
        symbols.functions.sort_by_key(|(address, _)| *address);
        symbols.functions.shrink_to_fit();
        symbols.names.shrink_to_fit();
        Ok(symbols)
    }

    /// The function that holds `address`, without the suffixes that compilers add. The address may
    /// be a return address: those lie behind the call, and a call that never returns ends its
    /// function.
    pub(crate) fn function(&self, address: u64) -> Option<&str> {
        let behind = self
            .functions
            .partition_point(|(start, _)| *start < address);
        let (_, at) = self.functions.get(behind.checked_sub(1)?)?;
        let name = self.names.get(*at as usize..)?.lines().next()?;
        Some(without_suffix(name))
    }
}

/// One line: address, type, name, and `[module]` where it is not in vmlinux.
fn function(line: &str) -> Option<(u64, &str)> {
    let mut words = line.split_ascii_whitespace();
    let address = u64::from_str_radix(words.next()?, 16)
        .ok()
        .filter(|address| *address != 0)?;
    let is_text = matches!(words.next()?, "t" | "T" | "w" | "W");
    is_text.then(|| Some((address, words.next()?)))?
}

/// `tcp_v4_rcv.cold`, `foo.isra.0`, `foo.constprop.0`, `foo.part.0`, `foo.llvm.123` are `foo`.
fn without_suffix(name: &str) -> &str {
    name.split_once('.')
        .map_or(name, |(base, _)| if base.is_empty() { name } else { base })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLE: &str = "\
0000000000000000 A fixed_percpu_data
ffffffff81000200 T nf_hook_slow
ffffffff81000100 t ip_rcv_finish_core.isra.0
ffffffff81000300 D not_a_function
ffffffffc0000000 t nft_do_chain\t[nf_tables]
";

    #[test]
    fn an_address_belongs_to_the_function_that_starts_before_it() {
        let symbols = Symbols::parse(SAMPLE.as_bytes()).unwrap();
        assert_eq!(
            symbols.function(0xffff_ffff_8100_0150),
            Some("ip_rcv_finish_core")
        );
        assert_eq!(
            symbols.function(0xffff_ffff_8100_0250),
            Some("nf_hook_slow")
        );
        assert_eq!(
            symbols.function(0xffff_ffff_8100_0350),
            Some("nf_hook_slow")
        );
        assert_eq!(
            symbols.function(0xffff_ffff_c000_0010),
            Some("nft_do_chain")
        );
        assert_eq!(symbols.function(1), None);
    }

    #[test]
    fn a_return_address_at_a_functions_start_belongs_to_the_one_before() {
        let symbols = Symbols::parse(SAMPLE.as_bytes()).unwrap();
        assert_eq!(
            symbols.function(0xffff_ffff_8100_0200),
            Some("ip_rcv_finish_core")
        );
    }

    #[test]
    fn hidden_addresses_are_no_functions() {
        assert!(
            Symbols::parse("0000000000000000 T nf_hook_slow\n".as_bytes())
                .unwrap()
                .functions
                .is_empty()
        );
    }
}
