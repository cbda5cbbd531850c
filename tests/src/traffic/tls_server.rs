//! A TLS server with a certificate that is made for it.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    sync::Arc,
};

use anyhow::Result;
use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use socket2::SockRef;
use tokio_rustls::rustls::{
    ServerConfig, ServerConnection, StreamOwned,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer},
    version::{TLS12, TLS13},
};

use super::TcpServer;
use crate::lab::Namespace;

/// What is special about a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Nothing.
    Good,
    /// Its certificate has expired.
    Expired,
    /// It speaks TLS 1.2 only.
    Only12,
    /// It resets a connection whose ClientHello offers ALPN.
    ResetsAlpn,
    /// It resets a connection whose ClientHello offers TLS 1.3.
    ResetsTls13,
}

/// Serves TLS, and answers any request with a status line. The certificate is for this name.
pub fn serve(
    namespace: &Namespace,
    address: SocketAddr,
    name: &str,
    kind: Kind,
) -> Result<TcpServer> {
    let mut params = CertificateParams::new(vec![name.to_owned()])?;
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = match kind {
        Kind::Expired => date_time_ymd(2021, 1, 1),
        _ => date_time_ymd(2099, 1, 1),
    };
    let key = KeyPair::generate()?;
    let certificate: CertificateDer<'static> = params.self_signed(&key)?.into();
    let versions: &[_] = match kind {
        Kind::Only12 => &[&TLS12],
        _ => &[&TLS13, &TLS12],
    };
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(versions)?
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate],
            PrivateKeyDer::try_from(key.serialize_der()).map_err(anyhow::Error::msg)?,
        )?;
    let mut config = config;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    // Until the end of the test: each connection has a thread of its own.
    let config: &'static Arc<ServerConfig> = Box::leak(Box::new(Arc::new(config)));
    TcpServer::serve(namespace, address, move |stream| talk(stream, config, kind))
}

fn talk(stream: TcpStream, config: &Arc<ServerConfig>, kind: Kind) {
    let resets = match kind {
        Kind::ResetsAlpn => offers(&stream, b"http/1.1"),
        // The extension `supported_versions` (43) with two versions, of which the first is 1.3.
        Kind::ResetsTls13 => offers(&stream, &[0, 43, 0, 5, 4, 3, 4]),
        Kind::Good | Kind::Expired | Kind::Only12 => false,
    };
    if resets {
        // With nothing left to linger for, closing resets.
        let _ = SockRef::from(&stream).set_linger(Some(std::time::Duration::ZERO));
        return;
    }
    let Ok(connection) = ServerConnection::new(Arc::clone(config)) else {
        return;
    };
    let mut stream = StreamOwned::new(connection, stream);
    let mut buffer = [0; 4096];
    while let Ok(1..) = stream.read(&mut buffer) {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    }
}

/// Whether the ClientHello has these bytes in it.
fn offers(stream: &TcpStream, needle: &[u8]) -> bool {
    let mut buffer = [0; 4096];
    let count = stream.peek(&mut buffer).unwrap_or_default();
    buffer[..count]
        .windows(needle.len())
        .any(|window| window == needle)
}
