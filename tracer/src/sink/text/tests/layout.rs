//! Colors, widths, times, and no command for the terminal.

use jiff::tz::TimeZone;
use proptest::prelude::*;
use unicode_width::UnicodeWidthStr;

use super::*;

#[test]
fn color_marks_what_words_already_say() {
    insta::assert_snapshot!(colored(&fixtures::judged()), @"
    ‹[2m09:41:07.312‹[0m  ‹[1m‹[31mpolicy (confirmed)‹[0m  shop/web-7d9f8b6c5-x2x4z:43210 →
        shop/cart-0:443  tcp SYN
        ‹[2maddresses 10.244.1.5:43210 → 10.244.3.17:443‹[0m
        why: the policy shop/deny-all isolates shop/cart-0, and no rule admits
             shop/web on port 443
        ‹[2m- 1 packet was dropped in FORWARD by the chain KUBE-POD-FW-XYZ‹[0m
        ‹[2m- 10.244.3.17 belongs to shop/cart-0 since 08:12:44‹[0m
        ‹[2m- the counter of the rule rose by 1‹[0m
        policy: shop/deny-all isolates shop/cart-0 for ingress; missing: from pods
                with app=web, port 443/TCP
        ‹[36mfix: kubectl -n shop apply -f - <<EOF‹[0m
        ‹[36m     kind: NetworkPolicy‹[0m
        ‹[36m     EOF‹[0m
        ‹[2mNETFILTER_DROP · hook FORWARD · nf_hook_slow · dev veth7a1c · netns node‹[0m
    ");
    insta::assert_snapshot!(colored(&fixtures::syn()), @"
    ‹[2m09:41:07.312‹[0m  ‹[1m‹[31mNETFILTER_DROP‹[0m  10.244.1.5:43210 → 10.244.3.17:443  tcp SYN
        ‹[2mhook FORWARD · nf_hook_slow · dev veth7a1c · netns node‹[0m
    ");
    insta::assert_snapshot!(colored(&fixtures::started()), @"
    ‹[2m2026-03-01 09:41:07 UTC‹[0m  watching ‹[1many → 10.244.3.17:443 (tcp), both directions‹[0m
        ‹[2mkernel 6.1.0-28-amd64 · kfree_skb, tcp_retransmit_skb · 12 interfaces‹[0m
    ‹[33m! this kernel does not label drops of VXLAN, bridge and veth: their reason is‹[0m
      ‹[33mNOT_SPECIFIED‹[0m
    ");
    for record in fixtures::all() {
        let style = Style {
            width: Some(80),
            color: true,
            ..Style::plain()
        };
        let with = Text::new(style, ALL).render(&record);
        assert_eq!(uncolored(&with), text(80, &record));
    }
}

fn uncolored(text: &str) -> String {
    let mut parts = text.split('\u{1b}');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| {
        text + part.split_once('m').map_or("", |(_, rest)| rest)
    })
}

#[test]
fn a_pipe_gets_whole_lines() {
    let mut text = Text::new(Style::plain(), ALL);
    let lines = text.render(&fixtures::ipv6());
    assert_eq!(lines.lines().count(), 2, "{lines}");
}

#[test]
fn times_are_local() {
    let zone = TimeZone::fixed(jiff::tz::offset(2));
    let mut text = Text::new(
        Style {
            zone,
            ..Style::plain()
        },
        ALL,
    );
    assert!(text.render(&fixtures::syn()).starts_with("11:41:07.312  "));
    assert!(
        text.render(&fixtures::started())
            .starts_with("2026-03-01 11:41:07 +02  ")
    );
}

#[test]
fn lines_fit_except_for_what_is_to_be_copied() {
    for width in [60, 80, 120] {
        for record in fixtures::all() {
            for line in text(width, &record).lines() {
                assert!(
                    line.width() <= width
                        || ["fix:", "undo:"].iter().any(|label| line.contains(label)),
                    "{width}: {line}"
                );
            }
        }
    }
}

proptest! {
    #[test]
    fn no_name_reaches_the_terminal_as_a_command(name in ".*", width in 0..200usize) {
        let text = text(width, &fixtures::drop_on(&name));
        prop_assert!(!text.chars().any(|c| c.is_control() && c != '\n'), "{text:?}");
    }
}
