use std::convert::Infallible;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use anyhow::Context;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::NoServerSessionStorage;
use rustls::{HandshakeKind, ServerConfig};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::key;

/// The argument that makes this program serve shops: then comes how many.
pub(crate) const SERVE: &str = "serve-shops";
/// The master key of the shops: it opens nothing.
pub(crate) const MASTER_KEY: &str = "bench-master-key-of-no-worth";

/// The address of the first shop; the others follow it. One port of all of them is one listener: a process may open far
/// fewer files than there are sites. TLS sessions belong to addresses, so each shop has one of its own.
const FIRST: Ipv4Addr = Ipv4Addr::new(127, 1, 0, 1);
/// Connections that wait to be accepted.
const BACKLOG: u32 = 4096;

/// What the shops saw since they were asked last.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Seen {
    pub(crate) connections: usize,
    /// Connections whose TLS was resumed.
    pub(crate) resumed: usize,
    pub(crate) gets: usize,
    /// PUTs with the master key and a value.
    pub(crate) puts: usize,
    /// Requests that no shop understands.
    pub(crate) others: usize,
    /// Shops that serve the key that was asked about.
    pub(crate) serving: usize,
}

/// All that one must know to reach the shops.
#[derive(serde::Serialize, serde::Deserialize)]
struct Offer {
    addresses: Vec<SocketAddr>,
    ca_pem: String,
}

struct Fleet {
    shops: Vec<Shop>,
    authority: CertifiedIssuer<'static, KeyPair>,
    /// All shops have the same, which takes nothing of what is measured: the client sees certificates of their own.
    key: KeyPair,
    connections: AtomicUsize,
    resumed: AtomicUsize,
    gets: AtomicUsize,
    puts: AtomicUsize,
    others: AtomicUsize,
}

struct Shop {
    /// What it serves.
    stored: Mutex<Arc<str>>,
    /// Made when somebody comes.
    acceptor: OnceLock<TlsAcceptor>,
}

/// Serves so many healthy shops until standard input ends. Each line of that is a key: answers what was seen since.
pub(crate) async fn serve(sites: usize) -> anyhow::Result<()> {
    let old: Arc<str> = key(0)?.as_str().into();
    let shop = |_| Shop {
        stored: Mutex::new(Arc::clone(&old)),
        acceptor: OnceLock::new(),
    };
    let fleet = Arc::new(Fleet {
        shops: (0..sites).map(shop).collect(),
        authority: authority()?,
        key: KeyPair::generate()?,
        connections: AtomicUsize::default(),
        resumed: AtomicUsize::default(),
        gets: AtomicUsize::default(),
        puts: AtomicUsize::default(),
        others: AtomicUsize::default(),
    });
    let socket = TcpSocket::new_v4()?;
    socket.bind((Ipv4Addr::UNSPECIFIED, 0).into())?;
    let listener = socket.listen(BACKLOG).context("opening a port")?;
    let port = listener.local_addr()?.port();
    let offer = Offer {
        addresses: (FIRST.to_bits()..)
            .take(sites)
            .map(|address| (Ipv4Addr::from_bits(address), port).into())
            .collect(),
        ca_pem: fleet.authority.pem(),
    };
    println!("{}", serde_json::to_string(&offer)?);
    std::io::stdout().flush()?;
    tokio::spawn(accept(Arc::clone(&fleet), listener));
    let told = move || -> anyhow::Result<()> {
        for line in std::io::stdin().lines() {
            println!("{}", serde_json::to_string(&fleet.seen(line?.trim()))?);
            std::io::stdout().flush()?;
        }
        Ok(())
    };
    tokio::task::spawn_blocking(told).await?
}

impl Fleet {
    fn seen(&self, key: &str) -> Seen {
        let take = |count: &AtomicUsize| count.swap(0, Ordering::Relaxed);
        let serves = |shop: &&Shop| **lock(&shop.stored) == *key;
        Seen {
            connections: take(&self.connections),
            resumed: take(&self.resumed),
            gets: take(&self.gets),
            puts: take(&self.puts),
            others: take(&self.others),
            serving: self.shops.iter().filter(serves).count(),
        }
    }

    async fn connection(&self, stream: TcpStream) {
        // The port is open on all addresses of the machine: who comes to another one finds nobody.
        let Ok(SocketAddr::V4(here)) = stream.local_addr() else {
            return;
        };
        let site = here.ip().to_bits().wrapping_sub(FIRST.to_bits()) as usize;
        let Some(shop) = self.shops.get(site) else { return };
        let Ok(acceptor) = self.acceptor(shop, *here.ip()) else {
            return;
        };
        let _as_it_is = stream.set_nodelay(true);
        let Ok(stream) = acceptor.accept(stream).await else {
            return;
        };
        let resumed = stream.get_ref().1.handshake_kind() == Some(HandshakeKind::Resumed);
        self.connections.fetch_add(1, Ordering::Relaxed);
        self.resumed.fetch_add(usize::from(resumed), Ordering::Relaxed);
        let service = service_fn(|request| self.answer(request, shop));
        // The client may cut it at any time.
        let _ended = hyper::server::conn::http1::Builder::new()
            .serve_connection(TokioIo::new(stream), service)
            .await;
    }

    /// The shop's TLS, with a certificate for its address.
    fn acceptor<'a>(&self, shop: &'a Shop, address: Ipv4Addr) -> anyhow::Result<&'a TlsAcceptor> {
        if let Some(acceptor) = shop.acceptor.get() {
            return Ok(acceptor);
        }
        let params = CertificateParams::new(vec![address.to_string()])?;
        let certificate = params.signed_by(&self.key, &self.authority)?;
        let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.key.serialize_der()));
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], private)?;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.ticketer = rustls::crypto::aws_lc_rs::Ticketer::new()?;
        Ok(shop.acceptor.get_or_init(|| TlsAcceptor::from(Arc::new(config))))
    }

    async fn answer(
        &self,
        request: Request<Incoming>,
        shop: &Shop,
    ) -> Result<Response<Full<Bytes>>, Infallible> {
        let (head, body) = request.into_parts();
        let body = body.collect().await.map(http_body_util::Collected::to_bytes);
        let has_key = head.headers.get("x-api-key").is_some_and(|key| key == MASTER_KEY);
        let value = body
            .ok()
            .and_then(|body| serde_json::from_slice::<Value>(&body).ok());
        let (status, text) = match (head.method, head.uri.path(), value) {
            (Method::GET, "/api/stripe-pk", None) if !has_key => {
                self.gets.fetch_add(1, Ordering::Relaxed);
                let stored = Arc::clone(&lock(&shop.stored));
                (
                    StatusCode::OK,
                    format!(r#"{{"success": true, "publishable_key": "{stored}"}}"#),
                )
            }
            (Method::PUT, "/api/export/settings/stripe_publishable_key", Some(value)) if has_key => {
                self.puts.fetch_add(1, Ordering::Relaxed);
                *lock(&shop.stored) = value.value;
                (
                    StatusCode::OK,
                    r#"{"success": true, "message": "stored"}"#.to_owned(),
                )
            }
            _ => {
                self.others.fetch_add(1, Ordering::Relaxed);
                (StatusCode::NOT_FOUND, String::new())
            }
        };
        let mut response = Response::new(Full::new(Bytes::from(text)));
        *response.status_mut() = status;
        let json = hyper::header::HeaderValue::from_static("application/json");
        response.headers_mut().insert(hyper::header::CONTENT_TYPE, json);
        Ok(response)
    }
}

#[derive(serde::Deserialize)]
struct Value {
    value: Arc<str>,
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn accept(fleet: Arc<Fleet>, listener: TcpListener) {
    loop {
        if let Ok((stream, _)) = listener.accept().await {
            let fleet = Arc::clone(&fleet);
            tokio::spawn(async move { fleet.connection(stream).await });
        }
    }
}

fn authority() -> anyhow::Result<CertifiedIssuer<'static, KeyPair>> {
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority
        .distinguished_name
        .push(DnType::CommonName, "stripe-propagate benchmark CA");
    Ok(CertifiedIssuer::self_signed(authority, KeyPair::generate()?)?)
}

/// Shops that another process serves until this is dropped.
pub(crate) struct Shops {
    pub(crate) addresses: Vec<SocketAddr>,
    pub(crate) ca_pem: String,
    child: Child,
    /// Its end is the child's.
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
}

impl Shops {
    pub(crate) fn open(sites: usize) -> anyhow::Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .args([SERVE, &sites.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let stdin = child.stdin.take();
        let mut stdout = BufReader::new(child.stdout.take().context("the shops have no output")?);
        let mut line = String::new();
        stdout.read_line(&mut line)?;
        let offer: Offer = serde_json::from_str(&line).context("the shops did not open")?;
        Ok(Self {
            addresses: offer.addresses,
            ca_pem: offer.ca_pem,
            child,
            stdin,
            stdout,
        })
    }

    /// What the shops saw since they were asked last.
    pub(crate) fn seen(&mut self, key: &str) -> anyhow::Result<Seen> {
        let stdin = self.stdin.as_mut().context("the shops are closed")?;
        writeln!(stdin, "{key}")?;
        stdin.flush()?;
        let mut line = String::new();
        self.stdout.read_line(&mut line)?;
        serde_json::from_str(&line).context("the shops did not answer")
    }
}

impl Drop for Shops {
    fn drop(&mut self) {
        self.stdin = None;
        let _ended = self.child.wait();
    }
}
