//! The list of what will be sent.

use std::net::SocketAddr;

use super::{
    DNS, MOST_ANSWERS, MOST_SIZED, MOST_SIZES, Plan, USUAL_MTU,
    command::{connect, connect_to, dig, hello, ping, ping_to, segment, segment_to},
    sized,
};
use crate::{
    model::{Layer, Protocol, Sending, shell::Command},
    probe::target::{Destination, Target},
};

impl Plan {
    /// Everything that will be sent, in the order of the layers.
    pub(super) fn sends(&self) -> Vec<Sending> {
        let mut sends = self.queries();
        match &self.target {
            Target::Host { name, port } => self.to_a_name(&mut sends, name, *port),
            Target::Endpoint(_) => self.to_addresses(&mut sends),
        }
        sends
    }

    fn queries(&self) -> Vec<Sending> {
        let Ok(dns) = &self.dns else {
            return Vec::new();
        };
        let Some(name) = dns.candidates.first() else {
            return Vec::new();
        };
        let walk = u32::try_from(2 * dns.candidates.len()).unwrap_or(u32::MAX);
        let query = |server: &Destination, most, by_tcp| {
            let command = dig(server.socket, name, false, by_tcp);
            let proto = if by_tcp { Protocol::Tcp } else { Protocol::Udp };
            self.sending(Layer::Dns, proto, server.socket, most, &command)
        };
        let mut sends = Vec::new();
        for (n, server) in dns.servers.iter().enumerate() {
            sends.push(query(server, if n == 0 { walk } else { 1 }, false));
        }
        sends.extend(dns.replicas.iter().map(|replica| query(replica, 1, false)));
        if let Some(first) = dns.servers.first() {
            let at = SocketAddr::new(first.socket.ip(), DNS);
            let first = Destination {
                socket: at,
                ..first.clone()
            };
            sends.push(query(&first, 1, true));
        }
        sends
    }

    /// To addresses that are known.
    fn to_addresses(&self, sends: &mut Vec<Sending>) {
        let all = &self.destinations.all;
        for one in all {
            let command = connect_to(one.socket);
            sends.push(self.sending(Layer::Tcp, Protocol::Tcp, one.socket, 1, &command));
        }
        for one in sized(all) {
            let (ip, mtu) = (one.socket.ip(), self.source.mtu());
            let echo = match ip.is_ipv4() {
                true => Protocol::Icmp,
                false => Protocol::Icmpv6,
            };
            let to = (Layer::Mtu, echo);
            let command = ping_to(ip, mtu);
            sends.push(Sending {
                dport: None,
                ..self.sending(to.0, to.1, one.socket, MOST_SIZES, &command)
            });
            let command = segment_to(one.socket, mtu);
            sends.push(Sending {
                segments: Some(MOST_SIZES),
                ..self.sending(Layer::Mtu, Protocol::Tcp, one.socket, 1, &command)
            });
        }
        // One is asked: the first that TCP reaches.
        let (Some(first), is_only) = (all.first(), all.len() == 1) else {
            return;
        };
        for (layer, most, command) in self.on_top(Some(first.socket)) {
            let sending = self.sending(layer, Protocol::Tcp, first.socket, most, &command);
            sends.push(match is_only {
                true => sending,
                false => Sending {
                    dst: None,
                    addresses: Some(1),
                    dport: None,
                    ..sending
                },
            });
        }
    }

    /// To addresses that DNS has to say first.
    fn to_a_name(&self, sends: &mut Vec<Sending>, name: &str, port: u16) {
        let count = |count: usize| Some(u32::try_from(count).unwrap_or(u32::MAX));
        let mut push = |layer, proto, addresses, most, command: Command| {
            sends.push(Sending {
                layer,
                proto,
                dst: None,
                addresses,
                dport: (proto == Protocol::Tcp).then_some(port),
                most,
                segments: (layer == Layer::Mtu && proto == Protocol::Tcp).then_some(MOST_SIZES),
                test: self.source.shown(&command),
            });
        };
        push(
            Layer::Tcp,
            Protocol::Tcp,
            count(MOST_ANSWERS),
            1,
            connect(name, port),
        );
        let (mtu, is_v6) = (self.source.mtu(), !self.source.families[0]);
        let echo = match is_v6 {
            true => Protocol::Icmpv6,
            false => Protocol::Icmp,
        };
        let sizes = count(MOST_SIZED);
        let command = ping(name, mtu, is_v6);
        push(Layer::Mtu, echo, sizes, MOST_SIZES, command);
        let command = segment(name, port, mtu, is_v6);
        push(Layer::Mtu, Protocol::Tcp, sizes, 1, command);
        for (layer, most, command) in self.on_top(None) {
            push(layer, Protocol::Tcp, Some(1), most, command);
        }
    }

    /// TLS and the application: connections each, and the command.
    fn on_top(&self, to: Option<SocketAddr>) -> Vec<(Layer, u32, Command)> {
        let target = self.target.to_string();
        let at = to.map_or_else(|| target.clone(), |to| to.to_string());
        let mut all = Vec::new();
        if let Ok(name) = &self.tls {
            all.push((Layer::Tls, 3, hello(&at, name.as_deref())));
        }
        if let Ok(http) = &self.http {
            all.push((Layer::Application, 1, http.command(to, &target)));
        }
        all
    }

    fn sending(
        &self,
        layer: Layer,
        proto: Protocol,
        to: SocketAddr,
        most: u32,
        command: &Command,
    ) -> Sending {
        Sending {
            layer,
            proto,
            dst: Some(to.ip()),
            addresses: None,
            dport: Some(to.port()),
            most,
            segments: None,
            test: self.source.shown(command),
        }
    }
}

impl super::Source {
    /// The largest MTU that it may send with.
    fn mtu(&self) -> u32 {
        let all = self.interfaces.iter();
        let sending = all.filter(|one| one.addresses.iter().any(|ip| !ip.is_loopback()));
        let mtus = sending.map(|one| one.mtu.min(LARGEST));
        mtus.max().unwrap_or(USUAL_MTU)
    }
}

/// The largest packet of IP.
const LARGEST: u32 = 65_535;
