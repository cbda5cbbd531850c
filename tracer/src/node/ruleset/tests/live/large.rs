//! Large rulesets: what is read of them, and by what.

use super::*;

/// Of a table that hangs at another hook, only the chains are read, and what it may translate.
#[test]
#[ignore = "needs root, nft, iptables-nft"]
fn rules_at_other_hooks_are_left_alone() {
    let lab = Lab::new(false);
    lab.nft(
        "table ip elsewhere {
           chain pre { type nat hook prerouting priority dstnat; ip daddr 10.1.1.1 accept; }
         }
         table inet here {
           chain forward { type filter hook forward priority 0; tcp dport 80 drop; }
         }",
    );
    lab.inside("iptables-nft -A FORWARD -p tcp --dport 81 -j DROP");
    let ruleset = lab.read_for(&lab.packet(Hook::Forward, 80));
    let rules = |name: &str| {
        let mut tables = ruleset.tables.iter();
        let table = tables.find(|table| table.name == name).unwrap();
        let rules = table.chains.iter().map(|chain| chain.rules.len());
        rules.sum::<usize>()
    };
    assert_eq!(
        [rules("elsewhere"), rules("here"), rules("filter")],
        [0, 1, 1]
    );
    assert!(ruleset.translates && ruleset.nft_read);
    let rule = lab.convict(&lab.packet(Hook::Forward, 80), Hint::Nft);
    assert_eq!(rule.table, "here");
    let rule = lab.convict(&lab.packet(Hook::Forward, 81), Hint::Nft);
    assert!(
        rule.describe()
            .starts_with("rule 1 of chain FORWARD in table filter")
    );
}

/// Rules that nft has put into a table of iptables' name are read by nft.
#[test]
#[ignore = "needs root, nft, iptables-nft"]
fn a_table_that_iptables_cannot_show_is_read_by_nft() {
    let lab = Lab::new(false);
    lab.nft(
        "table ip filter {
           chain FORWARD {
             type filter hook forward priority filter; policy accept;
             ct state new tcp dport 80 counter drop comment \"by nft\"
           }
         }",
    );
    let rule = lab.convict(&lab.packet(Hook::Forward, 80), Hint::Nft);
    assert!(rule.text.contains("by nft"), "{}", rule.describe());
}

/// Plain rules are the same by the kernel's own listing as by nft.
#[test]
#[ignore = "needs root, nft"]
fn the_kernels_own_listing_says_what_nft_says() {
    let rules = "ip saddr 10.1.0.0/16 tcp dport 80 counter drop comment \"sixteen\"
         ip saddr 10.1.2.0/23 ip daddr 10.9.9.9 accept
         ip saddr != 10.1.2.3 udp dport 53 counter drop
         ip6 daddr fd00::1 tcp sport 8080 drop
         ip6 saddr fd00:1::/32 counter jump other
         tcp dport >= 1024 tcp dport <= 2048 counter reject with tcp reset
         iifname \"eth0\" oifname \"veth*\" counter accept
         iifname != \"lo\" meta mark 0x00000012 drop
         meta mark & 0x00ff0000 == 0x00010000 goto other
         ct state established,related counter accept
         ct state invalid drop
         ct state new tcp dport 22 return
         counter reject";
    let lab = Lab::new(false);
    for family in ["inet", "ip"] {
        let lines = rules
            .lines()
            .filter(|line| family == "inet" || !line.contains("ip6"));
        let lines: Vec<_> = lines.collect();
        lab.nft(&format!(
            "table {family} plain {{
               chain other {{ }}
               chain forward {{ type filter hook forward priority 0; {}
               }}
             }}",
            lines.join("\n")
        ));
        let by_both = move |_: &Inside| {
            let name = if family == "inet" {
                model::Family::Inet
            } else {
                model::Family::Ip
            };
            let json = Command::new("nft")
                .args(["-j", "list", "table", family, "plain"])
                .output()
                .unwrap();
            let json = String::from_utf8(json.stdout).unwrap();
            let by_nft = nft::parse(&json).unwrap().remove(0);
            let mut empty = by_nft.clone();
            empty
                .chains
                .iter_mut()
                .for_each(|chain| chain.rules.clear());
            let rules = crate::net::nft_rules(nft_kernel::number(name), "plain").unwrap();
            let by_kernel = nft_kernel::fill(empty, &rules).expect("plain rules");
            (by_nft, by_kernel)
        };
        let (by_nft, by_kernel) =
            in_netns(&lab.netns(""), LIMIT, move |i| Ok(by_both(&i))).unwrap();
        for (left, right) in by_nft.chains.iter().zip(&by_kernel.chains) {
            assert_eq!(left.rules.len(), right.rules.len());
            for (left, right) in left.rules.iter().zip(&right.rules) {
                assert_eq!(
                    (
                        &left.text,
                        &left.statements,
                        left.handle,
                        left.counter,
                        &left.comment
                    ),
                    (
                        &right.text,
                        &right.statements,
                        right.handle,
                        right.counter,
                        &right.comment
                    )
                );
            }
        }
    }
    // What is not plain is left to nft.
    lab.nft("table ip other {\n chain c {\n tcp dport { 80, 443 } drop;\n }\n}");
    let is_plain = move |_: &Inside| {
        let rules = crate::net::nft_rules(nft_kernel::number(model::Family::Ip), "other").unwrap();
        let mut table = model::Table::new(model::Backend::Nft, model::Family::Ip, "other");
        table.add(model::Chain {
            name: "c".to_owned(),
            base: None,
            comment: None,
            rules: Vec::new(),
        });
        (rules.len(), nft_kernel::fill(table, &rules).is_some())
    };
    let found = in_netns(&lab.netns(""), LIMIT, move |i| Ok(is_plain(&i))).unwrap();
    assert_eq!(found, (1, false));
}

/// Of many rules, the one that drops is found without nft.
#[test]
#[ignore = "needs root, nft"]
fn one_of_many_rules_is_found() {
    let lab = Lab::new(false);
    let mut rules = String::new();
    for n in 0..1500 {
        rules += &format!(
            "ip saddr 172.16.{}.{} tcp dport 80 counter drop\n",
            n / 250,
            n % 250
        );
    }
    lab.nft(&format!(
        "table inet many {{ chain forward {{ type filter hook forward priority 0;
           {rules} tcp dport 80 counter drop comment \"this one\"
           }}
         }}"
    ));
    let rule = lab.convict(&lab.packet(Hook::Forward, 80), Hint::Nft);
    assert!(rule.text.contains("this one"), "{}", rule.describe());
    assert_eq!(rule.number, Some(1501));
}
