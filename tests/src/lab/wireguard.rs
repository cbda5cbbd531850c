//! WireGuard devices, set up by generic netlink: the tool wg(8) is not needed, nor any arithmetic, as the
//! kernel makes a public key of each private one.

use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddrV4},
};

use anyhow::{Context, Result, ensure};
use socket2::{Domain, Protocol, Socket, Type};

use super::Namespace;
use crate::fault::netlink::{attribute, nested};

/// `GENL_ID_CTRL`
const CONTROLLER: u16 = 16;
/// `CTRL_CMD_GETFAMILY`
const GET_FAMILY: u8 = 3;
/// `WG_CMD_GET_DEVICE` and `WG_CMD_SET_DEVICE`
const GET_DEVICE: u8 = 0;
const SET_DEVICE: u8 = 1;
/// Length of a header of netlink and one of generic netlink.
const HEADERS: usize = 16 + 4;

/// Numbers of include/uapi/linux/{genetlink,wireguard}.h.
mod attr {
    pub(super) const FAMILY_ID: u16 = 1;
    pub(super) const FAMILY_NAME: u16 = 2;
    pub(super) const DEVICE_IFNAME: u16 = 2;
    pub(super) const DEVICE_PRIVATE_KEY: u16 = 3;
    pub(super) const DEVICE_PUBLIC_KEY: u16 = 4;
    pub(super) const DEVICE_LISTEN_PORT: u16 = 6;
    pub(super) const DEVICE_PEERS: u16 = 8;
    pub(super) const PEER_PUBLIC_KEY: u16 = 1;
    pub(super) const PEER_ENDPOINT: u16 = 4;
    pub(super) const PEER_ALLOWED_IPS: u16 = 9;
    pub(super) const ALLOWED_FAMILY: u16 = 1;
    pub(super) const ALLOWED_IP: u16 = 2;
    pub(super) const ALLOWED_PREFIX: u16 = 3;
}

/// A WireGuard device.
pub struct Wireguard<'a> {
    /// Where it is.
    pub namespace: &'a Namespace,
    /// What it is called.
    pub name: &'a str,
}

/// What a device knows of another one.
pub struct WireguardPeer {
    /// That one's public key.
    pub key: [u8; 32],
    /// Where it is reached, if that is known.
    pub endpoint: Option<SocketAddrV4>,
    /// What is behind it.
    pub allowed: (Ipv4Addr, u8),
}

impl Wireguard<'_> {
    /// Creates the device with a private key that is made of this byte, and returns its public key.
    pub fn create(&self, secret: u8, port: u16) -> Result<[u8; 32]> {
        let add = format!("ip link add dev {} type wireguard", self.name);
        self.namespace.run(&add)?;
        self.set(&[
            attribute(attr::DEVICE_PRIVATE_KEY, &[secret; 32]),
            attribute(attr::DEVICE_LISTEN_PORT, &port.to_ne_bytes()),
        ])?;
        let answer = self.namespace.enter(|| -> Result<Vec<u8>> {
            let mut kernel = Generic::open()?;
            let name = attribute(attr::DEVICE_IFNAME, &terminated(self.name));
            kernel.ask(GET_DEVICE, libc::NLM_F_DUMP, &name)
        })?;
        let key = find(&answer[HEADERS..], attr::DEVICE_PUBLIC_KEY).context("a public key")?;
        Ok(key.try_into()?)
    }

    /// Adds a peer.
    pub fn add_peer(&self, peer: &WireguardPeer) -> Result<()> {
        let (address, prefix) = peer.allowed;
        let allowed = [
            attribute(attr::ALLOWED_FAMILY, &(libc::AF_INET as u16).to_ne_bytes()),
            attribute(attr::ALLOWED_IP, &address.octets()),
            attribute(attr::ALLOWED_PREFIX, &[prefix]),
        ];
        let mut about = attribute(attr::PEER_PUBLIC_KEY, &peer.key);
        if let Some(endpoint) = peer.endpoint {
            let mut socket_address = [0; 16];
            socket_address[..2].copy_from_slice(&(libc::AF_INET as u16).to_ne_bytes());
            socket_address[2..4].copy_from_slice(&endpoint.port().to_be_bytes());
            socket_address[4..8].copy_from_slice(&endpoint.ip().octets());
            about.extend(attribute(attr::PEER_ENDPOINT, &socket_address));
        }
        let allowed = nested(0, &allowed.concat());
        about.extend(nested(attr::PEER_ALLOWED_IPS, &allowed));
        self.set(&[nested(attr::DEVICE_PEERS, &nested(0, &about))])
    }

    fn set(&self, attributes: &[Vec<u8>]) -> Result<()> {
        let name = attribute(attr::DEVICE_IFNAME, &terminated(self.name));
        let all = [vec![name], attributes.to_vec()].concat().concat();
        self.namespace.enter(|| {
            let mut kernel = Generic::open()?;
            kernel.ask(SET_DEVICE, libc::NLM_F_ACK, &all).map(drop)
        })
    }
}

/// A socket for WireGuard's messages.
struct Generic {
    socket: Socket,
    family: u16,
}

impl Generic {
    fn open() -> Result<Self> {
        let domain = Domain::from(libc::AF_NETLINK);
        let protocol = Protocol::from(libc::NETLINK_GENERIC);
        let socket = Socket::new(domain, Type::RAW, Some(protocol))?;
        let mut kernel = Self {
            socket,
            family: CONTROLLER,
        };
        let name = attribute(attr::FAMILY_NAME, &terminated("wireguard"));
        let answer = kernel.ask(GET_FAMILY, 0, &name)?;
        let id = find(&answer[HEADERS..], attr::FAMILY_ID).context("WireGuard's number")?;
        kernel.family = u16::from_ne_bytes(id.try_into()?);
        Ok(kernel)
    }

    /// The first message of the answer.
    fn ask(&mut self, command: u8, flags: i32, attributes: &[u8]) -> Result<Vec<u8>> {
        let len = u32::try_from(HEADERS + attributes.len())?;
        let flags = u16::try_from(libc::NLM_F_REQUEST | flags)?;
        let mut message = len.to_ne_bytes().to_vec();
        message.extend(self.family.to_ne_bytes());
        message.extend(flags.to_ne_bytes());
        message.extend([0; 8]);
        message.extend([command, 1, 0, 0]);
        message.extend(attributes);
        self.socket.write_all(&message)?;
        let mut answer = vec![0; 1 << 16];
        let count = self.socket.read(&mut answer)?;
        answer.truncate(count);
        ensure!(count >= HEADERS, "{count} bytes");
        if answer[4..6] == (libc::NLMSG_ERROR as u16).to_ne_bytes() {
            let errno = i32::from_ne_bytes(answer[16..20].try_into()?);
            ensure!(errno == 0, std::io::Error::from_raw_os_error(-errno));
        }
        Ok(answer)
    }
}

/// The value of the first attribute of a kind.
fn find(mut attributes: &[u8], kind: u16) -> Option<&[u8]> {
    loop {
        let (header, _) = attributes.split_first_chunk::<4>()?;
        let len = usize::from(u16::from_ne_bytes([header[0], header[1]]));
        if u16::from_ne_bytes([header[2], header[3]]) == kind {
            return attributes.get(4..len);
        }
        attributes = attributes.get(len.max(4).next_multiple_of(4)..)?;
    }
}

fn terminated(name: &str) -> Vec<u8> {
    [name.as_bytes(), &[0]].concat()
}
