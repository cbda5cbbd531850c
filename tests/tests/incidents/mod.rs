//! Failures that people have reported in public, rebuilt in a few lines, and healthy traffic that
//! has been taken for one. Each has its healthy twin, which must be silent.

mod answer_by_another_way;
mod answer_from_another_address;
mod behind_both_translations;
mod broadcasts;
mod client_hangs_up;
mod flooded_copies;
mod forwarding_off_on_one_interface;
mod half_translated_answers;
mod icmp_redirect;
mod late_datagrams;
mod listener_elsewhere;
mod path_mtu;
mod path_mtu_behind_nat;
mod question_refused;
mod server_does_not_read;
mod tunnel_rejected;
mod two_iptables_backends;
