use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::SendRequest;
use hyper::header::{CONNECTION, CONTENT_TYPE, HOST};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use rustls::client::Resumption;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::shops::MASTER_KEY;
use crate::{AT_ONCE, Job, SETTLE};

/// The argument that makes this program the bare client: then come the job, the file with the addresses, the one with
/// the authority, and the key.
pub(crate) const FLOOR: &str = "floor";

/// What all workers share.
struct Client {
    addresses: Vec<SocketAddr>,
    key: String,
    connector: TlsConnector,
}

/// Sends what the job sends, with nothing around it: no store, no states, no words, no retries.
pub(crate) async fn run(job: Job, addresses: &Path, ca: &Path, key: &str) -> anyhow::Result<()> {
    let lines = std::fs::read_to_string(addresses)?;
    let addresses: Vec<SocketAddr> = lines.lines().map(str::parse).collect::<Result<_, _>>()?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(ca)? {
        roots.add(certificate?)?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut tls = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    // rustls counts eight a server.
    tls.resumption = Resumption::in_memory_sessions(8 * addresses.len());
    let client = Arc::new(Client {
        addresses,
        key: key.to_owned(),
        connector: TlsConnector::from(Arc::new(tls)),
    });
    let begin = Instant::now();
    let first = move |client: Arc<Client>, site| async move { client.first(job, site).await };
    at_once(&client, first).await?;
    if job == Job::PushAndLook {
        tokio::time::sleep(SETTLE.saturating_sub(begin.elapsed())).await;
        at_once(&client, |client, site| async move { client.last(site).await }).await?;
    }
    Ok(())
}

/// Workers that each take the next site.
async fn at_once<Done>(
    client: &Arc<Client>,
    one: impl Fn(Arc<Client>, SocketAddr) -> Done + Copy + Send + 'static,
) -> anyhow::Result<()>
where
    Done: Future<Output = anyhow::Result<()>> + Send,
{
    let next = Arc::new(AtomicUsize::new(0));
    let mut workers = tokio::task::JoinSet::new();
    for _ in 0..AT_ONCE {
        let (client, next) = (Arc::clone(client), Arc::clone(&next));
        workers.spawn(async move {
            while let Some(site) = client.addresses.get(next.fetch_add(1, Ordering::Relaxed)) {
                one(Arc::clone(&client), *site).await?;
            }
            Ok(())
        });
    }
    workers.join_all().await.into_iter().collect()
}

impl Client {
    async fn first(&self, job: Job, site: SocketAddr) -> anyhow::Result<()> {
        let mut line = self.connect(site).await?;
        if job != Job::Verify {
            get(&mut line, site, false).await?;
            self.put(&mut line, site).await?;
        }
        let served = get(&mut line, site, true).await?;
        self.judge(&served)
    }

    async fn last(&self, site: SocketAddr) -> anyhow::Result<()> {
        let mut line = self.connect(site).await?;
        let served = get(&mut line, site, true).await?;
        self.judge(&served)
    }

    fn judge(&self, served: &[u8]) -> anyhow::Result<()> {
        #[derive(serde::Deserialize)]
        struct Served<'a> {
            publishable_key: &'a str,
        }
        let served: Served<'_> = serde_json::from_slice(served)?;
        ensure!(served.publishable_key == self.key, "another key is served");
        Ok(())
    }

    async fn connect(&self, site: SocketAddr) -> anyhow::Result<SendRequest<Full<Bytes>>> {
        let stream = TcpStream::connect(site).await.context("connecting")?;
        stream.set_nodelay(true)?;
        let name = ServerName::from(site.ip());
        let stream = self.connector.connect(name, stream).await.context("TLS")?;
        let (line, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(line)
    }

    async fn put(&self, line: &mut SendRequest<Full<Bytes>>, site: SocketAddr) -> anyhow::Result<()> {
        let request = Request::builder()
            .method(Method::PUT)
            .uri("/api/export/settings/stripe_publishable_key")
            .header(HOST, site.to_string())
            .header(CONTENT_TYPE, "application/json")
            .header("X-API-Key", MASTER_KEY)
            .body(Full::from(format!(r#"{{"value":"{}"}}"#, self.key)))?;
        let answer = send(line, request).await?;
        ensure!(answer.starts_with(br#"{"success": true"#), "not stored");
        Ok(())
    }
}

async fn get(line: &mut SendRequest<Full<Bytes>>, site: SocketAddr, close: bool) -> anyhow::Result<Bytes> {
    let mut request = Request::builder()
        .uri("/api/stripe-pk")
        .header(HOST, site.to_string());
    if close {
        request = request.header(CONNECTION, "close");
    }
    send(line, request.body(Full::default())?).await
}

async fn send(line: &mut SendRequest<Full<Bytes>>, request: Request<Full<Bytes>>) -> anyhow::Result<Bytes> {
    line.ready().await?;
    let answer = tokio::time::timeout(Duration::from_secs(35), line.send_request(request)).await??;
    ensure!(answer.status().is_success(), "status {}", answer.status());
    Ok(answer.into_body().collect().await?.to_bytes())
}
