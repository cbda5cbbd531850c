//! What the table looks like.

use unicode_width::UnicodeWidthStr;

use super::{
    super::{Text, tests::ALL},
    *,
};
use crate::sink::fixtures;

fn text(width: Option<usize>, color: bool) -> String {
    let style = Style {
        width,
        color,
        ..Style::plain()
    };
    Text::new(style, ALL).render(&fixtures::reported())
}

#[test]
fn the_table_fits() {
    insta::assert_snapshot!(text(Some(60), false), @"
    09:41:07.312  summary
        drops     6  counted exactly; 6 of them shown
        attempts  5  2 answered, 3 unanswered

        count  verdict   why
            6  firewall  a rule in the chain inet filter forward
                         dropped the SYN

    Layer     Test       Result    Evidence         Verdict
    DNS       answer     ✓ ok      2 answered: A
                                   cart.shop.svc.c
                                   luster.local
                                   after 3 ms
    TCP       handshake  ✗ failed  3 unanswered:    firewall
                                   10.244.1.5 →     (confirmed)
                                   10.244.3.17:443
                                   , 3 SYNs in
                                   1002 ms
    policy    admitted   not
                         observed
    firewall  rules      ✗ failed  a rule in the    firewall
                                   chain inet       (confirmed),
                                   filter forward   3 attempts
                                   dropped the SYN
    overlay   tunnel     blocked                    blocked by
                                                    firewall
    MTU       full size  blocked                    blocked by
                                                    firewall
    listener  accept     blocked                    blocked by
                                                    firewall
    TLS       handshake  blocked                    blocked by
                                                    firewall

        verdict: firewall (confirmed): a rule in the chain inet
                 filter forward dropped the SYN
        fix: nft delete rule inet filter forward handle 12
    ");
    insta::assert_snapshot!(text(Some(80), false), @"
    09:41:07.312  summary
        drops     6  counted exactly; 6 of them shown
        attempts  5  2 answered, 3 unanswered

        count  verdict   why
            6  firewall  a rule in the chain inet filter forward dropped the SYN

        Layer     Test       Result        Evidence                    Verdict
        DNS       answer     ✓ ok          2 answered: A cart.shop.sv
                                           c.cluster.local after 3 ms
        TCP       handshake  ✗ failed      3 unanswered: 10.244.1.5 →  firewall
                                           10.244.3.17:443, 3 SYNs in  (confirmed)
                                           1002 ms
        policy    admitted   not observed
        firewall  rules      ✗ failed      a rule in the chain inet    firewall
                                           filter forward dropped the  (confirmed),
                                           SYN                         3 attempts
        overlay   tunnel     blocked                                   blocked by
                                                                       firewall
        MTU       full size  blocked                                   blocked by
                                                                       firewall
        listener  accept     blocked                                   blocked by
                                                                       firewall
        TLS       handshake  blocked                                   blocked by
                                                                       firewall

        verdict: firewall (confirmed): a rule in the chain inet filter forward
                 dropped the SYN
        fix: nft delete rule inet filter forward handle 12
    ");
    insta::assert_snapshot!(text(Some(120), false), @"
    09:41:07.312  summary
        drops     6  counted exactly; 6 of them shown
        attempts  5  2 answered, 3 unanswered

        count  verdict   why
            6  firewall  a rule in the chain inet filter forward dropped the SYN

        Layer     Test       Result        Evidence                                               Verdict
        DNS       answer     ✓ ok          2 answered: A cart.shop.svc.cluster.local after 3 ms
        TCP       handshake  ✗ failed      3 unanswered: 10.244.1.5 → 10.244.3.17:443, 3 SYNs in  firewall (confirmed)
                                           1002 ms
        policy    admitted   not observed
        firewall  rules      ✗ failed      a rule in the chain inet filter forward dropped the    firewall (confirmed), 3
                                           SYN                                                    attempts
        overlay   tunnel     blocked                                                              blocked by firewall
        MTU       full size  blocked                                                              blocked by firewall
        listener  accept     blocked                                                              blocked by firewall
        TLS       handshake  blocked                                                              blocked by firewall

        verdict: firewall (confirmed): a rule in the chain inet filter forward dropped the SYN
        fix: nft delete rule inet filter forward handle 12
    ");
    for width in [40, 60, 72, 79, 80, 100, 120, 200] {
        for line in text(Some(width), false).lines() {
            let fits =
                line.width() <= width || ["fix:", "undo:"].iter().any(|label| line.contains(label));
            assert!(fits, "{width}: {line}");
            assert_eq!(line.trim_end(), line);
        }
    }
}

#[test]
fn a_pipe_gets_a_line_for_each_layer() {
    insta::assert_snapshot!(text(None, false), @"
    09:41:07.312  summary
        drops     6  counted exactly; 6 of them shown
        attempts  5  2 answered, 3 unanswered

        count  verdict   why
            6  firewall  a rule in the chain inet filter forward dropped the SYN

        Layer     Test       Result        Evidence                                                       Verdict
        DNS       answer     ✓ ok          2 answered: A cart.shop.svc.cluster.local after 3 ms
        TCP       handshake  ✗ failed      3 unanswered: 10.244.1.5 → 10.244.3.17:443, 3 SYNs in 1002 ms  firewall (confirmed)
        policy    admitted   not observed
        firewall  rules      ✗ failed      a rule in the chain inet filter forward dropped the SYN        firewall (confirmed), 3 attempts
        overlay   tunnel     blocked                                                                      blocked by firewall
        MTU       full size  blocked                                                                      blocked by firewall
        listener  accept     blocked                                                                      blocked by firewall
        TLS       handshake  blocked                                                                      blocked by firewall

        verdict: firewall (confirmed): a rule in the chain inet filter forward dropped the SYN
        fix: nft delete rule inet filter forward handle 12
    ");
}

#[test]
fn only_the_result_is_painted() {
    let text = text(Some(120), true);
    assert!(text.contains("\u{1b}[1m\u{1b}[31m✗ failed"), "{text:?}");
    assert!(text.contains("\u{1b}[32m✓ ok"), "{text:?}");
}
