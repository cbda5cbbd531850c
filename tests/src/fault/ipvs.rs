//! Services of IPVS, as kube-proxy sets them up in its IPVS mode.

use std::{
    io,
    net::{Ipv4Addr, SocketAddrV4},
    os::fd::AsRawFd as _,
};

use anyhow::{Context, Result};
use socket2::{Domain, Socket, Type};

use crate::lab::Namespace;

/// Numbers of include/uapi/linux/ip_vs.h.
const SET_ADD: i32 = 64 + 1024 + 64 + 2;
const SET_ADD_DESTINATION: i32 = 64 + 1024 + 64 + 7;

/// `struct ip_vs_service_user`
#[repr(C)]
struct Service {
    protocol: u16,
    address: u32,
    port: u16,
    mark: u32,
    scheduler: [u8; 16],
    flags: u32,
    timeout: u32,
    netmask: u32,
}

/// `struct ip_vs_dest_user`, behind its service.
#[repr(C)]
struct Destination {
    service: Service,
    address: u32,
    port: u16,
    flags: u32,
    weight: i32,
    upper: u32,
    lower: u32,
}

fn service(at: SocketAddrV4) -> Service {
    let mut scheduler = [0; 16];
    scheduler[..2].copy_from_slice(b"rr");
    Service {
        protocol: libc::IPPROTO_TCP as u16,
        address: in_network_order(*at.ip()),
        port: at.port().to_be(),
        mark: 0,
        scheduler,
        flags: 0,
        timeout: 0,
        netmask: u32::MAX,
    }
}

fn in_network_order(address: Ipv4Addr) -> u32 {
    u32::from_ne_bytes(address.octets())
}

/// Adds a service of TCP, without a server.
pub fn add_ipvs_service(namespace: &Namespace, at: SocketAddrV4) -> Result<()> {
    set(namespace, SET_ADD, &service(at)).context("cannot add a service of IPVS")
}

/// Adds a server to it, by NAT.
pub fn add_ipvs_server(
    namespace: &Namespace,
    at: SocketAddrV4,
    server: SocketAddrV4,
    weight: i32,
) -> Result<()> {
    let destination = Destination {
        service: service(at),
        address: in_network_order(*server.ip()),
        port: server.port().to_be(),
        flags: 0,
        weight,
        upper: 0,
        lower: 0,
    };
    set(namespace, SET_ADD_DESTINATION, &destination).context("cannot add a server of IPVS")
}

fn set<T: Sync>(namespace: &Namespace, option: i32, value: &T) -> Result<()> {
    namespace.enter(|| {
        let raw = Type::from(libc::SOCK_RAW);
        let socket = Socket::new(Domain::IPV4, raw, Some(libc::IPPROTO_RAW.into()))?;
        // SAFETY: the value is a plain struct of the length that is given, as the option takes it.
        let set = unsafe {
            libc::setsockopt(
                socket.as_raw_fd(),
                libc::IPPROTO_IP,
                option,
                std::ptr::from_ref(value).cast(),
                size_of::<T>() as libc::socklen_t,
            )
        };
        match set {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error().into()),
        }
    })
}
