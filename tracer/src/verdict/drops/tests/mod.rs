//! Drops with what the node says of them, and the verdict that they must lead to.

mod connections;
mod filters;
mod points;
mod redirects;
mod table;
mod tunnel_mtu;
mod tunnels;

use std::{collections::HashSet, sync::Arc, time::SystemTime};

use tracer_common::{
    event::{DropKey, ct},
    packet::{Tcp, protocol},
    tuple::Tuple,
};

use super::*;
use crate::{
    decode::drop::Decoder,
    kernel::clock,
    model::{Confidence, Flow, Hook, Point, Protocol, Verdict},
    node::{
        conntrack::Conntrack,
        gather::Fact,
        overlay,
        queue_program::QueueProgram,
        route::Refusal,
        ruleset::{Hint, HookPacket, Ruleset, Suspect, Suspects, packet::Ends},
        world::{
            self,
            build::{Build, id},
        },
    },
    verdict::drop::{is_noise, judge, wants},
};

pub(in crate::verdict) fn facts(reason: &str, function: &str) -> DropFacts {
    let key = DropKey {
        flow: Tuple {
            proto: protocol::TCP,
            ..Tuple::default()
        },
        location: 0,
        reason: 0,
        netns: 0,
        ifindex: 0,
        tcp_flags: Tcp::SYN,
        has_payload: 0,
        icmp_type: 0,
        reserved: 0,
    };
    DropFacts {
        reason: reason.into(),
        function: Some(function.to_owned()),
        ..Decoder::new(Default::default(), Default::default(), clock::now())
            .key(&key, SystemTime::UNIX_EPOCH)
    }
}

fn tunnelled(reason: &str, function: &str) -> DropFacts {
    let outer = Flow {
        proto: Protocol::Udp,
        src: [192, 0, 2, 1].into(),
        sport: Some(50000),
        dst: [192, 0, 2, 2].into(),
        dport: Some(8472),
    };
    DropFacts {
        outer: Some(outer),
        ..facts(reason, function)
    }
}
