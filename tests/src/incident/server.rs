//! Servers of an incident: they serve until the stage is gone.

use std::{
    any::Any,
    io::{self, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
};

use anyhow::{Context, Result};
use socket2::Socket;

use super::Stage;
use crate::traffic::{DnsServer, TcpServer, UdpServer};

impl Stage {
    /// A TCP server that answers whatever it reads with 200 bytes.
    pub fn serve(&self, role: &str, address: &str) -> Result<()> {
        self.serve_with(role, address, |_| Ok(()), answer)
    }

    /// A TCP server with a socket of its own kind, which is set up before it is bound, and with its
    /// own way to serve a connection.
    pub fn serve_with(
        &self,
        role: &str,
        address: &str,
        set_up: impl FnOnce(&Socket) -> io::Result<()> + Send,
        serve: impl Fn(TcpStream) + Copy + Send + 'static,
    ) -> Result<()> {
        let (namespace, address) = (self.namespace(role), parse(address)?);
        self.keep(TcpServer::set_up(namespace, address, set_up)?.accepting(serve)?);
        Ok(())
    }

    /// A UDP server that sends every datagram back.
    pub fn serve_udp(&self, role: &str, address: &str) -> Result<()> {
        self.keep(UdpServer::echo(self.namespace(role), parse(address)?)?);
        Ok(())
    }

    /// A DNS server over UDP.
    pub fn serve_dns(&self, role: &str, address: &str) -> Result<()> {
        self.keep(DnsServer::start(self.namespace(role), parse(address)?)?);
        Ok(())
    }

    /// Keeps something for as long as the stage stands, such as a server or an open connection.
    pub fn keep(&self, thing: impl Any) {
        self.servers.borrow_mut().push(Box::new(thing));
    }
}

fn answer(mut connection: TcpStream) {
    // A client that hangs up or resets is part of the game; the connection ends with this thread.
    while let Ok(1..) = connection.read(&mut [0; 1 << 16]) {
        if connection.write_all(&[b'x'; 200]).is_err() {
            return;
        }
    }
}

fn parse(address: &str) -> Result<SocketAddr> {
    address.parse().with_context(|| address.to_owned())
}
