//! The netfilter hook, from the kernel stack.
//!
//! No kernel object that a drop shows names the hook, but the caller of `nf_hook_slow` does: each
//! hook is run from functions of its own (net/ipv4, net/ipv6, net/bridge, net/core/dev.c).

use crate::model::Hook;

/// The hook that a drop was made in; `None` if it was not made in a hook.
///
/// `stack` holds function names, innermost first, from the function that freed the skb. That must
/// be netfilter's own: with br_netfilter, a hook is further out on the stack of any bridged packet.
/// IP hooks that br_netfilter runs on bridged packets are IP hooks, since it is the IP rules that
/// decide.
pub(crate) fn from_stack<S: AsRef<str>>(stack: &[S]) -> Option<Hook> {
    let dropper = stack.first()?.as_ref();
    let is_netfilter = [
        "nf_hook_slow",
        "nft_do_chain",
        "ipt_do_table",
        "ip6t_do_table",
    ]
    .iter()
    .any(|function| dropper.starts_with(function));
    if !is_netfilter {
        return None;
    }
    let runner = stack
        .iter()
        .position(|f| f.as_ref().starts_with("nf_hook_slow"))?;
    stack[runner + 1..]
        .iter()
        .take(3)
        .find_map(|function| hook_run_by(function.as_ref()))
}

fn hook_run_by(function: &str) -> Option<Hook> {
    Some(match function {
        "ip_rcv"
        | "ip_list_rcv"
        | "ip_sublist_rcv"
        | "ipv6_rcv"
        | "ipv6_list_rcv"
        | "ip6_sublist_rcv"
        | "br_nf_pre_routing"
        | "br_nf_pre_routing_ipv6" => Hook::Prerouting,
        "ip_local_deliver" | "ip6_input" => Hook::Input,
        "ip_forward" | "ip6_forward" | "ip_mr_forward" | "ip6mr_forward2" | "br_nf_forward_ip"
        | "br_nf_forward" => Hook::Forward,
        "__ip_local_out"
        | "ip_local_out"
        | "__ip6_local_out"
        | "ip6_local_out"
        | "ip6_xmit"
        | "raw_sendmsg"
        | "raw_send_hdrinc"
        | "rawv6_sendmsg"
        | "rawv6_send_hdrinc"
        | "ndisc_send_skb"
        | "mld_sendpack"
        | "igmp6_send"
        | "ip_build_and_send_pkt" => Hook::Output,
        "ip_output" | "ip_mc_output" | "ip6_output" | "ip6_finish_output"
        | "br_nf_post_routing" | "xfrm4_output" | "xfrm6_output" => Hook::Postrouting,
        "br_handle_frame" | "nf_hook_bridge_pre" => Hook::BridgePrerouting,
        "br_pass_frame_up" => Hook::BridgeInput,
        "__br_forward" => Hook::BridgeForward,
        "br_forward_finish" => Hook::BridgePostrouting,
        "__br_deliver" | "br_dev_xmit" => Hook::BridgeOutput,
        "__netif_receive_skb_core" | "nf_hook_ingress" | "nf_ingress" => Hook::Ingress,
        "__dev_queue_xmit" | "nf_hook_egress" => Hook::Egress,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_caller_of_nf_hook_slow_names_the_hook() {
        for (stack, hook) in [
            (
                &[
                    "nft_do_chain",
                    "nft_do_chain_inet",
                    "nf_hook_slow",
                    "ip_forward",
                ][..],
                Hook::Forward,
            ),
            (&["nf_hook_slow", "ip_local_deliver", "ip_rcv"], Hook::Input),
            (
                &["nf_hook_slow", "__ip_local_out", "ip_push_pending_frames"],
                Hook::Output,
            ),
            (
                &[
                    "nft_do_chain",
                    "nf_hook_slow",
                    "br_nf_forward_ip",
                    "nf_hook_slow",
                    "__br_forward",
                ],
                Hook::Forward,
            ),
            (
                &[
                    "nft_do_chain",
                    "nft_do_chain_bridge",
                    "nf_hook_slow",
                    "__br_forward",
                ],
                Hook::BridgeForward,
            ),
        ] {
            assert_eq!(from_stack(stack), Some(hook), "{stack:?}");
        }
    }

    #[test]
    fn a_drop_outside_of_netfilter_has_no_hook() {
        assert_eq!(
            from_stack(&["tcp_v4_rcv", "ip_protocol_deliver_rcu", "ip_local_deliver"]),
            None
        );
        let bridged = [
            "ip_error",
            "ip_rcv_finish",
            "br_nf_pre_routing",
            "nf_hook_slow",
            "br_handle_frame",
        ];
        assert_eq!(from_stack(&bridged), None);
        assert_eq!(from_stack::<&str>(&[]), None);
    }
}
