//! Many rules at other hooks, or of another engine, hide none.

use std::fmt::Write as _;

use anyhow::Result;

use super::{field::Field, firewall};

/// Rules for other addresses.
fn others(count: usize, rule: impl Fn(&str, usize) -> String) -> String {
    let mut text = String::new();
    for n in 0..count {
        let address = format!("172.16.{}.{}", n / 250 % 250, n % 250 + 1);
        let _ = writeln!(text, "{}", rule(&address, n % 60_000 + 1));
    }
    text
}

/// Loads what a tool reads from its standard input.
fn load(field: &Field, tool: &str, rules: &str) -> Result<()> {
    let path = tempfile::NamedTempFile::new()?;
    std::fs::write(path.path(), rules)?;
    let script = format!("{tool} < {}", path.path().display());
    field.stage().exec("node", &script).map(drop)
}

fn names(field: &Field, why: &str) -> Result<()> {
    field.serve("10.30.2.2:80")?;
    field
        .dropped("client", "10.30.2.2:80")?
        .is(&firewall().why(why))?
        .mends(&["10.30.2.2:81"])
}

#[test]
fn translations_by_iptables() -> Result<()> {
    let field = Field::of("none")?;
    let rules = others(50_000, |address, port| {
        format!("-A BIG -d {address}/32 -p tcp --dport {port} -j DNAT --to 10.30.2.2:80")
    });
    let rules = format!(
        "*nat\n:BIG - [0:0]\n-A PREROUTING -m addrtype --dst-type LOCAL -j BIG\n{rules}COMMIT\n"
    );
    load(&field, "iptables-nft-restore", &rules)?;
    field.stage().exec(
        "node",
        "iptables-nft -A FORWARD -p tcp --dport 80:81 -j DROP",
    )?;
    names(&field, "rule 1 of chain FORWARD")
}

#[test]
fn accepts_by_nft_at_another_hook() -> Result<()> {
    let field = Field::of("none")?;
    let rules = others(20_000, |address, port| {
        format!("ip daddr {address} tcp dport {port} counter accept")
    });
    load(
        &field,
        "nft -f -",
        &format!(
            "table inet large {{\nchain out {{\ntype filter hook output priority 0;\n{rules}}}\n}}\n
             table inet small {{\nchain fw {{\ntype filter hook forward priority 0;
             tcp dport {{ 80, 81 }} drop\n}}\n}}\n"
        ),
    )?;
    names(&field, "table inet small")
}

/// The same hook has both.
#[test]
fn rules_of_the_other_engine() -> Result<()> {
    let field = Field::of("none")?;
    let rules = others(2_000, |address, port| {
        format!("-A FORWARD -s {address}/32 -p tcp --dport {port} -j DROP")
    });
    let rules = format!("*filter\n:FORWARD ACCEPT [0:0]\n{rules}COMMIT\n");
    load(&field, "iptables-legacy-restore", &rules)?;
    load(
        &field,
        "nft -f -",
        "table inet small { chain fw { type filter hook forward priority 0;
         tcp dport { 80, 81 } drop; }; }",
    )?;
    names(&field, "table inet small")
}
