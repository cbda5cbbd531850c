//! Names that can stand in a command of nft's.
//!
//! nft joins its arguments with blanks and parses them again, so that quoting for the shell is not
//! enough: in a name that came by netlink, anything may be a second command.

use std::fmt;

/// A name that nft's parser takes for one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NftName(String);

/// Words of nft's language that a name might be and that its parser takes for themselves in front
/// of or behind a table's or chain's name. The list need not be complete: a keyword makes a syntax
/// error, nothing else.
const KEYWORDS: [&str; 34] = [
    "accept", "add", "chain", "comment", "continue", "counter", "create", "ct", "delete",
    "destroy", "drop", "ether", "flush", "goto", "handle", "index", "inet", "insert", "ip", "ip6",
    "jump", "list", "map", "meta", "position", "quota", "reject", "rename", "reset", "return",
    "rule", "set", "table", "tcp",
];

impl NftName {
    /// The name, if nft's parser takes it for one.
    pub(super) fn new(name: &str) -> Option<Self> {
        let starts = |first: char| first.is_ascii_alphabetic() || first == '_';
        let continues = |c: char| c.is_ascii_alphanumeric() || "_./-".contains(c);
        let is_one =
            name.starts_with(starts) && name.chars().all(continues) && !KEYWORDS.contains(&name);
        is_one.then(|| Self(name.to_owned()))
    }
}

impl fmt::Display for NftName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nft_would_parse_as_more_is_no_name() {
        for name in ["filter", "KUBE-POD-FW-A4", "kube-proxy", "_x", "a.b/c"] {
            assert!(NftName::new(name).is_some(), "{name}");
        }
        for name in [
            "ok accept; add table inet pasted; #",
            "",
            "1st",
            "-x",
            "a\"b",
            "a b",
            "ä",
            "drop",
            "x\n",
            "$x",
        ] {
            assert!(NftName::new(name).is_none(), "{name}");
        }
    }
}
