//! An API server that replays what a real one has sent: lists, watches, and the ways in which both
//! fail. Needs no root.
//!
//! - `store`: the objects, the recorded events that change them, and who watches
//! - `answers`: what a request is answered; `workloads`: what one about Jobs and their pods is
//! - [`kubelet`]: the nodes, which run the pods of Jobs as processes
//!
//! It speaks TLS with a certificate of its own and asks for a token, as real ones do.

mod answers;
mod kubelet;
mod store;
mod workloads;

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
};

use anyhow::{Context, Result, bail};
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use rcgen::{CertifiedKey, KeyPair, generate_simple_self_signed};
use serde_json::Value;
use socket2::{Domain, Socket, Type};
use tokio::{
    net::TcpListener,
    runtime,
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{ServerConfig, crypto::ring, pki_types::PrivatePkcs8KeyDer},
};

use self::store::Store;
pub use self::{
    kubelet::{Image, Kubelets},
    store::Manner,
};

const TOKEN: &str = "a-token-of-the-lab";

/// A request that the server has got.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// The path.
    pub path: String,
    /// What comes after `?`.
    pub query: String,
}

impl Asked {
    /// A parameter of the query.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.query
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .find_map(|(key, value)| (key == name).then_some(value))
    }

    /// The version from which objects of a kind are to be watched, if that was asked for.
    pub fn watch_of(&self, plural: &str) -> Option<&str> {
        let watch = self.path.ends_with(&format!("/{plural}")) && self.parameter("watch").is_some();
        watch.then(|| self.parameter("resourceVersion").unwrap_or_default())
    }
}

/// The server. It ends with the test.
pub struct ApiServer {
    address: SocketAddr,
    certificate: CertifiedKey<KeyPair>,
    socket: Option<Socket>,
    store: Arc<Mutex<Store>>,
    kubelets: Kubelets,
    asked: UnboundedReceiver<Asked>,
    asking: UnboundedSender<Asked>,
}

impl ApiServer {
    /// A server that has an address and does not listen yet. It has the cluster as it was when the
    /// watches were recorded.
    pub fn down() -> Result<Self> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())?;
        let address = socket.local_addr()?.as_socket();
        let (asking, asked) = unbounded_channel();
        Ok(Self {
            address: address.context("no address")?,
            certificate: generate_simple_self_signed([Ipv4Addr::LOCALHOST.to_string()])?,
            socket: Some(socket),
            store: Arc::new(Mutex::new(Store::recorded()?)),
            kubelets: Kubelets::default(),
            asked,
            asking,
        })
    }

    /// A server that listens.
    pub fn up() -> Result<Self> {
        let mut server = Self::down()?;
        server.listen()?;
        Ok(server)
    }

    /// Listens from now on.
    pub fn listen(&mut self) -> Result<()> {
        let Some(socket) = self.socket.take() else {
            bail!("it listens already");
        };
        socket.listen(16)?;
        socket.set_nonblocking(true)?;
        let key = PrivatePkcs8KeyDer::from(self.certificate.signing_key.serialize_der());
        let tls = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![self.certificate.cert.der().clone()], key.into())?;
        let tls = TlsAcceptor::from(Arc::new(tls));
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let (store, asking) = (Arc::clone(&self.store), self.asking.clone());
        let kubelets = self.kubelets.clone();
        thread::Builder::new()
            .name("apiserver".to_owned())
            .spawn(move || runtime.block_on(serve(socket, tls, store, asking, kubelets)))?;
        Ok(())
    }

    /// Writes a kubeconfig for it, and the certificate that this names.
    pub fn kubeconfig(&self, dir: &Path) -> Result<PathBuf> {
        self.kubeconfig_for(dir, &format!("{{token: {TOKEN}}}"))
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The token that it takes.
    pub fn token(&self) -> &'static str {
        TOKEN
    }

    /// The same for another user, as YAML.
    pub fn kubeconfig_for(&self, dir: &Path, user: &str) -> Result<PathBuf> {
        let config = dir.join("kubeconfig");
        fs::write(dir.join("ca.crt"), self.certificate.cert.pem())?;
        let text = format!(
            "apiVersion: v1\n\
             kind: Config\n\
             current-context: lab\n\
             contexts: [{{name: lab, context: {{cluster: lab, user: lab}}}}]\n\
             clusters: [{{name: lab, cluster: {{server: 'https://{}', \
             certificate-authority: ca.crt}}}}]\n\
             users: [{{name: lab, user: {user}}}]\n",
            self.address
        );
        fs::write(&config, text)?;
        Ok(config)
    }

    /// The nodes that run Jobs.
    pub fn kubelets(&self) -> &Kubelets {
        &self.kubelets
    }

    /// The next request that it gets.
    pub async fn next_request(&mut self) -> Result<Asked> {
        self.asked.recv().await.context("the server has ended")
    }

    /// The version from which objects of a kind are watched next.
    pub async fn next_watch(&mut self, plural: &str) -> Result<String> {
        loop {
            if let Some(version) = self.next_request().await?.watch_of(plural) {
                return Ok(version.to_owned());
            }
        }
    }

    /// Returns once objects of a kind are watched: a client that watches has listed them.
    pub fn wait_for_watch(&mut self, plural: &str) -> Result<()> {
        loop {
            let asked = self.asked.blocking_recv().context("the server has ended")?;
            if asked.watch_of(plural).is_some() {
                return Ok(());
            }
        }
    }

    /// Answers requests for a kind like this from now on.
    pub fn answer(&self, plural: &str, manner: Manner) {
        self.store().set_manner(plural, manner);
    }

    /// Answers every request like this from now on.
    pub fn answer_all(&self, manner: Manner) {
        self.store().set_manner_of_all(manner);
    }

    /// Answers this path with this, once and for all.
    pub fn page(&self, path: &str, answer: Value) {
        self.store().set_page(path, answer);
    }

    /// Lists no more objects at once than this.
    pub fn page_size(&self, size: usize) {
        self.store().page_size = size;
    }

    /// Sends the watchers of a kind what was recorded after its beginning. Returns the number of
    /// events.
    pub fn replay(&self, plural: &str) -> Result<usize> {
        self.store().replay(plural)
    }

    /// Changes an object and notifies its watchers: `ADDED`, `MODIFIED` or `DELETED`. It gets a
    /// version of its own, which is returned.
    pub fn change(&self, plural: &str, what: &str, object: Value) -> Result<String> {
        self.store().change(plural, what, object)
    }

    /// Sends the watchers of a kind a bookmark, and returns its version.
    pub fn bookmark(&self, plural: &str) -> Result<String> {
        self.store().bookmark(plural)
    }

    /// Breaks the connections of the watchers of a kind.
    pub fn cut(&self, plural: &str) {
        self.store().cut(plural);
    }

    /// Sends the watchers of a kind these bytes, whatever they are.
    pub fn send(&self, plural: &str, bytes: impl Into<Vec<u8>>) -> Result<()> {
        self.store().send(plural, &bytes.into().into())
    }

    /// Whether it has got a request that no one has asked about yet.
    pub fn was_asked(&mut self) -> bool {
        self.asked.try_recv().is_ok()
    }

    /// Forgets what has happened to a kind: its watchers must list it again.
    pub fn expire(&self, plural: &str) -> Result<()> {
        self.store().expire(plural)
    }

    /// An object as the server has it.
    pub fn object(&self, plural: &str, namespace: &str, name: &str) -> Result<Value> {
        self.store().object(plural, namespace, name)
    }

    fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn serve(
    socket: Socket,
    tls: TlsAcceptor,
    store: Arc<Mutex<Store>>,
    asking: UnboundedSender<Asked>,
    kubelets: Kubelets,
) -> Result<()> {
    let listener = TcpListener::from_std(socket.into())?;
    loop {
        let (connection, _) = listener.accept().await?;
        let (tls, store, asking) = (tls.clone(), Arc::clone(&store), asking.clone());
        let kubelets = kubelets.clone();
        tokio::spawn(async move {
            let connection = TokioIo::new(tls.accept(connection).await?);
            let service =
                service_fn(|request| answers::answer(request, &store, &asking, &kubelets));
            http1::Builder::new()
                .serve_connection(connection, service)
                .with_upgrades()
                .await?;
            anyhow::Ok(())
        });
    }
}
