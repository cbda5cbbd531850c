//! The stories: what is broken, and how.

use std::{
    any::Any,
    net::{IpAddr, SocketAddr},
};

use anyhow::Result;
use whydrop_tests::{
    fault::{Chain, Iptables, XdpDrop, XdpMode, nft},
    kube::{enforce, refuse_service},
    lab::{Family, Host},
    traffic::{TcpAttempt, UdpClient},
};

use crate::stage::{NODE, Stage};

/// One way to break a connection.
pub(crate) struct Story {
    /// What happens, in a line.
    pub(crate) headline: &'static str,
    /// The point that the verdict must name.
    pub(crate) verdict: &'static str,
    /// Makes it happen.
    pub(crate) play: fn(&Stage) -> Result<Broken>,
}

/// A connection that cannot succeed.
pub(crate) struct Broken {
    /// Its source, which whydrop's record of it must contain.
    pub(crate) source: SocketAddr,
    /// Text that only the final record of it contains.
    pub(crate) marker: &'static str,
    /// What has to live until the drop has been shown.
    _held: Box<dyn Any>,
}

impl Broken {
    fn tcp(from: &Host, to: SocketAddr) -> Result<Self> {
        let attempt = TcpAttempt::start(from, None, to)?;
        Ok(Self {
            source: attempt.flow().src,
            marker: "✗",
            _held: Box::new(attempt),
        })
    }

    fn udp(from: &Host, to: SocketAddr, bytes: usize) -> Result<Self> {
        let client = UdpClient::connect(from, None, to)?;
        client.probe_mtu()?;
        client.send(bytes)?;
        Ok(Self {
            source: client.flow().src,
            marker: "udp",
            _held: Box::new(client),
        })
    }

    /// Keeps something else alive as long.
    fn holding(self, more: impl Any) -> Self {
        Self {
            source: self.source,
            marker: self.marker,
            _held: Box::new((self._held, more)),
        }
    }
}

/// All of them, in the order in which they are played. Each has its own port, so that leftovers of
/// one do not affect the next.
pub(crate) fn all() -> Vec<Story> {
    vec![
        Story {
            headline: "a firewall drops the SYN in FORWARD",
            verdict: "firewall",
            play: |stage| {
                let lab = &stage.node;
                nft(&lab.node, Chain::inet("forward"), "tcp dport 8001 drop")?;
                Broken::tcp(&lab.outside, lab.pod_a.socket(Family::V4, 8001))
            },
        },
        Story {
            headline: "a rule in INPUT rejects the connection",
            verdict: "firewall",
            play: |stage| {
                let lab = &stage.node;
                let input = Iptables {
                    table: "filter",
                    chain: "INPUT",
                };
                let rule = "-p tcp --dport 8002 -j REJECT";
                input.append(&lab.node, Family::V4, rule)?;
                Broken::tcp(&lab.outside, lab.node.socket(Family::V4, 8002))
            },
        },
        Story {
            headline: "a Service selects app=carts, and the pod has app=cart",
            verdict: "endpoint",
            play: |stage| {
                let (node, outside) = (&stage.node.node, &stage.node.outside);
                // The route for what no kube-proxy rule matches.
                let uplink = outside.address(Family::V4);
                node.run(&format!("ip route add {} via {uplink}", stage.cart))?;
                refuse_service(node, "shop/cart", stage.cart)?;
                Broken::tcp(&stage.node.pod_a, SocketAddr::new(stage.cart, 80))
            },
        },
        of_policy(),
        Story {
            headline: "an XDP program on the uplink drops incoming IPv6 packets",
            verdict: "firewall",
            play: |stage| {
                let lab = &stage.node;
                let program =
                    XdpDrop::attach(&lab.node, "eth0", XdpMode::Native, Family::V6, 8005)?;
                let to = lab.pod_a.socket(Family::V6, 8005);
                Ok(Broken::tcp(&lab.outside, to)?.holding(program))
            },
        },
        Story {
            headline: "nothing listens on the port",
            verdict: "socket",
            play: |stage| {
                let lab = &stage.node;
                Broken::tcp(&lab.outside, lab.pod_b.socket(Family::V4, 8006))
            },
        },
        Story {
            headline: "the node has a blackhole route",
            verdict: "route",
            play: |stage| {
                let lab = &stage.node;
                let nowhere: IpAddr = lab.cluster_ip(Family::V4);
                lab.node.run(&format!("ip route add blackhole {nowhere}"))?;
                Broken::tcp(&lab.pod_a, SocketAddr::new(nowhere, 8007))
            },
        },
        Story {
            headline: "the pod's end of a veth has a smaller MTU than the node's",
            verdict: "mtu",
            play: |stage| {
                let lab = &stage.node;
                lab.pod_a.run("ip link set dev eth0 mtu 1300")?;
                Broken::udp(&lab.outside, lab.pod_a.socket(Family::V4, 8008), 1400)
            },
        },
        Story {
            headline: "the pod is gone: its address does not answer ARP",
            verdict: "endpoint",
            play: |stage| {
                let lab = &stage.node;
                // One ARP probe instead of three, which are a second apart.
                lab.node.sysctl("ipv4/neigh/cni0/mcast_solicit", "1")?;
                lab.pod_b.run("ip address flush dev eth0")?;
                lab.node.run("ip neighbor flush dev cni0")?;
                Broken::tcp(&lab.outside, lab.pod_b.socket(Family::V4, 8009))
            },
        },
        Story {
            headline: "the two nodes use different VXLAN network identifiers",
            verdict: "overlay",
            play: |stage| {
                let lab = &stage.overlay;
                lab.overlay(1, 11)?;
                let [first, second] = &lab.nodes;
                Broken::tcp(&first.pod, second.pod.socket(Family::V4, 8010))
            },
        },
    ]
}

/// The story of a NetworkPolicy.
pub(crate) fn of_policy() -> Story {
    Story {
        headline: "a NetworkPolicy admits one app, and another one connects",
        verdict: "policy",
        play: |stage| {
            enforce(&stage.node.node, NODE, &stage.objects)?;
            Broken::tcp(&stage.node.pod_b, stage.pay.socket(Family::V4, 8004))
        },
    }
}
