//! The table of a probe, narrow and wide.

use super::*;

fn table(width: usize) -> String {
    let style = Style {
        width: Some(width),
        ..Style::plain()
    };
    let mut text = Text::new(style, ALL);
    fixtures::probe()
        .iter()
        .map(|one| text.render(one))
        .collect()
}

#[test]
fn a_probe_at_80_columns() {
    insta::assert_snapshot!(table(80), @"
    probe  shop/web → svc/shop/cart:443  sends from network namespace cni-5c2f8a5e:
        TCP at most 1 × tcp to 10.96.3.7:443
            $ ip netns exec cni-5c2f8a5e nc -zv -w 3 10.96.3.7 443
        MTU at most 64 × icmp to 10.244.3.17
            $ ip netns exec cni-5c2f8a5e ping -M do -c 3 -s 1472 10.244.3.17
        MTU at most 1 × tcp to 10.244.3.17:8443, with at most 64 segments of all
            sizes, where echo requests are not answered
            $ ip netns exec cni-5c2f8a5e nping --tcp --df -c 3 -p 8443 --data-length 1460 10.244.3.17
        TLS at most 3 × tcp to the first address that TCP reaches
            $ ip netns exec cni-5c2f8a5e openssl s_client -connect 10.96.3.7:443 -servername cart.shop.svc.cluster.local -alpn h2,http/1.1
        application nothing: not asked for; --http PATH asks
    ! this kernel does not label drops of VXLAN, bridge and veth: their reason is
      NOT_SPECIFIED

    Layer        Result    Evidence                                  Verdict
    DNS          skipped   no search domain
    TCP          ✗ failed  1 of 2 endpoints answered directly        socket
                                                                     (confirmed)
                 ✓ ok      svc/shop/cart: answered by
                           10.244.3.17:8443 after 0.4 ms, through 4
                           interfaces
                 $ ip netns exec cni-5c2f8a5e nc -zv -w 3 10.96.3.7 443
                 ✗ failed  shop/cart-1: refused by 10.244.3.18       socket
                           after 0.3 ms                              (confirmed)
                 $ ip netns exec cni-5c2f8a5e nc -zv -w 3 10.244.3.18 8443
    MTU          ✓ ok      1450 bytes, the MTU of eth0, pass to
                           10.244.3.17:8443 in TCP segments, round
                           trip 0.5 ms; echo requests are not
                           answered
                 $ ip netns exec cni-5c2f8a5e nping --tcp --df -c 3 -p 8443 --data-length 1410 10.244.3.17

    socket (confirmed)  TCP
        why: no socket listens on 10.244.3.18:8443
        advice: start the server, or correct the port
    result: TCP fails
    ");
}

#[test]
fn a_probe_at_160_columns() {
    insta::assert_snapshot!(table(160), @"
    probe  shop/web → svc/shop/cart:443  sends from network namespace cni-5c2f8a5e:
        TCP at most 1 × tcp to 10.96.3.7:443
            $ ip netns exec cni-5c2f8a5e nc -zv -w 3 10.96.3.7 443
        MTU at most 64 × icmp to 10.244.3.17
            $ ip netns exec cni-5c2f8a5e ping -M do -c 3 -s 1472 10.244.3.17
        MTU at most 1 × tcp to 10.244.3.17:8443, with at most 64 segments of all sizes, where echo requests are not answered
            $ ip netns exec cni-5c2f8a5e nping --tcp --df -c 3 -p 8443 --data-length 1460 10.244.3.17
        TLS at most 3 × tcp to the first address that TCP reaches
            $ ip netns exec cni-5c2f8a5e openssl s_client -connect 10.96.3.7:443 -servername cart.shop.svc.cluster.local -alpn h2,http/1.1
        application nothing: not asked for; --http PATH asks
    ! this kernel does not label drops of VXLAN, bridge and veth: their reason is NOT_SPECIFIED

    Layer        Test                                          Result    Evidence                                                            Verdict
    DNS                                                        skipped   no search domain
    TCP                                                        ✗ failed  1 of 2 endpoints answered directly                                  socket (confirmed)
                                                               ✓ ok      svc/shop/cart: answered by 10.244.3.17:8443 after 0.4 ms, through
                                                                         4 interfaces
                 $ ip netns exec cni-5c2f8a5e nc -zv -w 3 10.96.3.7 443
                                                               ✗ failed  shop/cart-1: refused by 10.244.3.18 after 0.3 ms                    socket (confirmed)
                 $ ip netns exec cni-5c2f8a5e nc -zv -w 3 10.244.3.18 8443
    MTU                                                        ✓ ok      1450 bytes, the MTU of eth0, pass to 10.244.3.17:8443 in TCP
                                                                         segments, round trip 0.5 ms; echo requests are not answered
                 $ ip netns exec cni-5c2f8a5e nping --tcp --df -c 3 -p 8443 --data-length 1410 10.244.3.17

    socket (confirmed)  TCP
        why: no socket listens on 10.244.3.18:8443
        advice: start the server, or correct the port
    result: TCP fails
    ");
}

#[test]
fn no_line_but_a_command_is_too_long() {
    for width in [80, 160] {
        for line in table(width).lines() {
            // A command is pasted as one line.
            let is_command = line.trim_start().starts_with('$') || line.contains("fix:");
            assert!(is_command || line.chars().count() <= width, "{line}");
        }
    }
}
