//! Packets, their addresses, and whose these are.

use std::{collections::BTreeMap, net::IpAddr};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{as_text, shaped};
use crate::{Direction, Flow, Hook, Outer, Packet, Pod, Protocol, Reason, TcpFlags};

#[derive(Serialize, Deserialize)]
#[serde(remote = "Flow")]
struct FlowShape {
    proto: Protocol,
    src: IpAddr,
    sport: Option<u16>,
    dst: IpAddr,
    dport: Option<u16>,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Outer")]
struct OuterShape {
    #[serde(flatten)]
    flow: Flow,
    vni: Option<u32>,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Packet")]
struct PacketShape {
    len: u32,
    tcp_flags: Option<TcpFlags>,
    seq: Option<u32>,
    gso_size: Option<u32>,
    icmp: Option<(u8, u8)>,
    #[serde(default)]
    echo: Option<(u16, u16)>,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Pod")]
struct PodShape {
    namespace: String,
    name: String,
    node: Option<String>,
    labels: BTreeMap<String, String>,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Direction", rename_all = "lowercase")]
enum DirectionShape {
    In,
    Out,
}

shaped!(
    Flow as FlowShape,
    Outer as OuterShape,
    Packet as PacketShape,
    Pod as PodShape,
    Direction as DirectionShape,
);
as_text!(Protocol, TcpFlags, Hook);

impl Serialize for Reason {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for Reason {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from).map(Self::from)
    }
}

/// An address with its port: `192.0.2.1:443`, `[2001:db8::1]:443`; without one, the address alone.
pub(super) mod address {
    use std::{
        borrow::Cow,
        net::{IpAddr, SocketAddr},
    };

    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    use crate::SocketAddress;

    pub(in crate::record) fn serialize<S: Serializer>(
        address: &Option<SocketAddress>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match address {
            Some((ip, Some(port))) => serializer.collect_str(&SocketAddr::new(*ip, *port)),
            Some((ip, None)) => serializer.collect_str(ip),
            None => serializer.serialize_none(),
        }
    }

    pub(in crate::record) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<SocketAddress>, D::Error> {
        let Some(text) = Option::<Cow<'de, str>>::deserialize(from)? else {
            return Ok(None);
        };
        if let Ok(address) = text.parse::<SocketAddr>() {
            return Ok(Some((address.ip(), Some(address.port()))));
        }
        let ip = text.parse::<IpAddr>().map_err(D::Error::custom)?;
        Ok(Some((ip, None)))
    }
}
