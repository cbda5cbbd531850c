use std::net::IpAddr;

use tracer_common::{
    event::StackPolicy,
    filter::{Filter, Side, Watched, kind, ports},
};

use super::{load::MEMBERS, *};
use crate::kernel::{
    btf::KernelBtf,
    budget::{self, Budget},
};

#[test]
#[ignore = "needs root"]
fn both_ends_can_be_sets_that_change() {
    let set = Side {
        kind: kind::SET,
        ..Side::default()
    };
    let settings = Settings {
        filter: Filter {
            to: set,
            from: set,
            ..Filter::default()
        },
        budget: Budget::of(budget::LEAST),
        watched: Watched::NOTHING,
        stacks: StackPolicy::default(),
        answered_rate: u64::MAX,
        debug: false,
        at_once: true,
    };
    let mut programs = Programs::load(
        &settings,
        Plan::of(&KernelBtf::of_running_kernel().unwrap()).unwrap(),
    )
    .unwrap();
    let mut probes = Probes::of(&mut programs).unwrap();
    let member = |host: u32, side| Member {
        address: IpAddr::from(host.to_be_bytes()).into(),
        port: 0,
        side,
    };
    let [kept, gone] = [member(1, Member::TO), member(2, Member::FROM)];
    let both = [(kept, ports::ALL), (gone, ports::LISTED)];
    probes.change_members(both, []).unwrap();
    probes
        .change_members([(kept, ports::LISTED)], [gone, member(3, Member::TO)])
        .unwrap();
    let entries: Vec<_> = probes.members.iter().flatten().collect();
    assert_eq!(entries, [(kept, ports::LISTED)]);
    let more = (0..=MEMBERS).map(|host| (member(host, Member::TO), ports::ALL));
    let error = probes.change_members(more, []).unwrap_err();
    assert!(error.to_string().contains("room for 65536"), "{error:#}");
}
