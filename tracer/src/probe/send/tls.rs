//! The beginning of a TLS connection. Nothing is verified here: what the server presents is read, so
//! that the test goes on whatever it is.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Result;
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        self, ClientConfig, DigitallySignedStruct, ProtocolVersion, SignatureScheme,
        SupportedProtocolVersion,
        client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        crypto::{CryptoProvider, ring},
        pki_types::{CertificateDer, ServerName, UnixTime},
        version::{TLS12, TLS13},
    },
};

use super::{Sockets, tcp};
use crate::probe::observed::{Observed, Own};

/// What a ClientHello offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Offer {
    /// The application protocols `h2` and `http/1.1`.
    pub(crate) alpn: bool,
    /// TLS 1.3, besides 1.2.
    pub(crate) tls13: bool,
}

impl Offer {
    /// All that a client of today offers.
    pub(crate) const ALL: Self = Self {
        alpn: true,
        tls13: true,
    };
}

/// A handshake.
#[derive(Debug)]
pub(crate) struct Greeted {
    pub(crate) offer: Offer,
    pub(crate) own: Own,
    /// From the ClientHello on.
    pub(crate) took: Duration,
    pub(crate) result: Result<Session, Broken>,
}

/// A handshake that was done.
#[derive(Debug)]
pub(crate) struct Session {
    /// `1.2` or `1.3`.
    pub(crate) version: &'static str,
    pub(crate) alpn: Option<String>,
    /// The chain, the server's own certificate first.
    pub(crate) chain: Vec<Vec<u8>>,
    pub(crate) stream: TlsStream<TcpStream>,
}

/// How a handshake ended that was not done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Broken {
    /// TCP does not connect.
    Connect(io::ErrorKind),
    /// A RST.
    Reset,
    /// The server closed the connection.
    Closed,
    /// The server has sent an alert.
    Alert(String),
    /// It answered something else.
    NotTls(String),
    /// It answered nothing.
    Silent,
}

/// Connects and begins TLS.
///
/// # Errors
///
/// No socket can be made in the namespace, or the name cannot be sent.
pub(crate) async fn greet(
    sockets: &Sockets,
    observed: &Observed,
    from: Option<IpAddr>,
    to: SocketAddr,
    (name, offer): (Option<&str>, Offer),
    limit: Duration,
) -> Result<Greeted> {
    let connector = TlsConnector::from(Arc::new(config(offer)?));
    let name = match name {
        Some(name) => ServerName::try_from(name.to_owned())?,
        // No name is sent for an address.
        None => ServerName::from(to.ip()),
    };
    let connected = tcp::connect(sockets, observed, from, to, limit).await?;
    let begun = Instant::now();
    let result = match connected.result {
        Err(error) => Err(Broken::Connect(error.kind())),
        Ok(stream) => match timeout(limit, connector.connect(name, stream)).await {
            Err(_) => Err(Broken::Silent),
            Ok(Err(error)) => Err(broken(&error)),
            Ok(Ok(stream)) => Ok(session(stream)),
        },
    };
    Ok(Greeted {
        offer,
        own: connected.own,
        took: begun.elapsed(),
        result,
    })
}

fn session(stream: TlsStream<TcpStream>) -> Session {
    let (_, connection) = stream.get_ref();
    let alpn = connection.alpn_protocol();
    let certificates = connection.peer_certificates().unwrap_or_default();
    Session {
        version: match connection.protocol_version() {
            Some(ProtocolVersion::TLSv1_3) => "1.3",
            _ => "1.2",
        },
        alpn: alpn.map(|alpn| String::from_utf8_lossy(alpn).into_owned()),
        chain: certificates.iter().map(|one| one.to_vec()).collect(),
        stream,
    }
}

fn broken(error: &io::Error) -> Broken {
    let of_tls = error.get_ref().and_then(|inner| inner.downcast_ref());
    match (of_tls, error.kind()) {
        (Some(rustls::Error::AlertReceived(alert)), _) => {
            Broken::Alert(alert.as_str().unwrap_or("unknown").to_owned())
        }
        (Some(rustls::Error::InvalidMessage(_)), _) => {
            Broken::NotTls("the answer is no TLS record".to_owned())
        }
        (Some(other), _) => Broken::NotTls(other.to_string()),
        (None, io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe) => Broken::Reset,
        (None, io::ErrorKind::UnexpectedEof) => Broken::Closed,
        (None, kind) => Broken::NotTls(kind.to_string()),
    }
}

fn config(offer: Offer) -> Result<ClientConfig> {
    let provider = Arc::new(ring::default_provider());
    let versions: &[&SupportedProtocolVersion] = match offer.tls13 {
        true => &[&TLS13, &TLS12],
        false => &[&TLS12],
    };
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider));
    let mut config = builder
        .with_protocol_versions(versions)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anything(provider)))
        .with_no_client_auth();
    if offer.alpn {
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    }
    Ok(config)
}

/// Takes any certificate: nothing secret is ever sent over these connections.
#[derive(Debug)]
struct Anything(Arc<CryptoProvider>);

impl ServerCertVerifier for Anything {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
