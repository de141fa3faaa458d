use std::error::Error;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::http::uri::{InvalidUri, Uri};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::proxy::{SocksV5, Tunnel};
use hyper_util::client::proxy::matcher::Matcher;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::lookup_host;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tower_service::Service;

use super::bounded::Bounded;
use super::failure::Broken;
use crate::secret::ProxyUrl;
use crate::site::SiteUrl;

/// A connection that takes requests. It is closed when this is dropped.
pub(super) type Line = SendRequest<Full<Bytes>>;

type AnyError = Box<dyn Error + Send + Sync>;
type Connecting<T> = Pin<Box<dyn Future<Output = Result<T, AnyError>> + Send>>;

/// Connects to sites: DNS, TCP, the proxy where there is one, TLS.
pub(super) struct Dialer {
    tcp: HttpConnector,
    tls: TlsConnector,
    proxy: Option<Proxy>,
    /// For all of it together.
    limit: Duration,
}

impl fmt::Debug for Dialer {
    /// Without the proxy: a password may stand in its address.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Dialer").finish_non_exhaustive()
    }
}

impl Dialer {
    /// # Errors
    /// The proxy's address is none that can be used.
    pub(super) fn new(
        mut tls: ClientConfig,
        proxy: Option<&ProxyUrl>,
        limit: Duration,
    ) -> Result<Self, BadProxy> {
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        let tls = TlsConnector::from(Arc::new(tls));
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        // Each address of a host gets its share of it.
        tcp.set_connect_timeout(Some(limit));
        let proxy = proxy.map(|url| Proxy::new(url, &tcp, &tls)).transpose()?;
        Ok(Self {
            tcp,
            tls,
            proxy,
            limit,
        })
    }

    /// A new connection to the site, within the limit and before `until`.
    pub(super) async fn dial(&self, site: &SiteUrl, until: Instant) -> Result<Line, Broken> {
        let until = until.min(Instant::now() + self.limit);
        match timeout_at(until, self.connect(site)).await {
            Ok(connected) => connected.map_err(Broken::Connect),
            Err(_) => Err(Broken::ConnectTimeout),
        }
    }

    async fn connect(&self, site: &SiteUrl) -> Result<Line, AnyError> {
        let host = site.host().trim_matches(['[', ']']);
        match &self.proxy {
            // The master key of a loopback site would pass the proxy in the clear.
            _ if !site.is_encrypted() => {
                let tcp = self.tcp.clone().call(address(site)?).await?;
                shake_hands(tcp.into_inner()).await
            }
            None => {
                let tcp = self.tcp.clone().call(address(site)?).await?;
                shake_hands(encrypted(&self.tls, host, tcp.into_inner()).await?).await
            }
            Some(proxy) => {
                let way = proxy.dial(site).await?;
                shake_hands(encrypted(&self.tls, host, way).await?).await
            }
        }
    }
}

/// Host and port, as connectors take them.
fn address(site: &SiteUrl) -> Result<Uri, InvalidUri> {
    format!("http://{}:{}", site.host(), site.port()).parse()
}

async fn encrypted<Way: AsyncRead + AsyncWrite + Unpin>(
    tls: &TlsConnector,
    host: &str,
    way: Way,
) -> Result<TlsStream<Way>, AnyError> {
    let name = ServerName::try_from(host.to_owned())?;
    Ok(tls.connect(name, way).await?)
}

async fn shake_hands(way: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Result<Line, AnyError> {
    let (line, connection) = http1::handshake(TokioIo::new(Bounded::new(way))).await?;
    // It ends with its line, or with the server; what it dies of is told to the request that waits.
    tokio::spawn(connection);
    Ok(line)
}

/// The proxy's address is none that can be used.
#[derive(Debug)]
pub(super) struct BadProxy;

/// What stands between here and the sites.
enum Proxy {
    /// By CONNECT.
    Tunnel(Tunnel<ToProxy>),
    /// By SOCKS 5, which resolves names itself or has them resolved here.
    Socks { way: SocksV5<ToProxy>, resolves: bool },
}

impl Proxy {
    fn new(url: &ProxyUrl, tcp: &HttpConnector, tls: &TlsConnector) -> Result<Self, BadProxy> {
        let any = Uri::from_static("https://shop.example.com");
        // Reads what stands before the host, too.
        let found = Matcher::builder().all(url.expose()).build().intercept(&any);
        let found = found.ok_or(BadProxy)?;
        let scheme = found.uri().scheme_str().unwrap_or_default();
        let port = match (found.uri().port_u16(), scheme) {
            (Some(port), _) => port,
            (None, "http") => 80,
            (None, "https") => 443,
            (None, _) => 1080,
        };
        let host = found.uri().host().unwrap_or_default();
        let place: Uri = format!("http://{host}:{port}").parse().map_err(|_| BadProxy)?;
        let to_proxy = ToProxy {
            tcp: tcp.clone(),
            tls: (scheme == "https").then(|| tls.clone()),
        };
        Ok(if scheme.starts_with("http") {
            let way = Tunnel::new(place, to_proxy);
            Self::Tunnel(match found.basic_auth() {
                Some(auth) => way.with_auth(auth.clone()),
                None => way,
            })
        } else {
            let way = SocksV5::new(place, to_proxy);
            Self::Socks {
                way: match found.raw_auth() {
                    Some((user, password)) => way.with_auth(user.to_owned(), password.to_owned()),
                    None => way,
                },
                resolves: scheme == "socks5h",
            }
        })
    }

    async fn dial(&self, site: &SiteUrl) -> Result<ProxyWay, AnyError> {
        let way = match self {
            Self::Tunnel(way) => way.clone().call(address(site)?).await?,
            Self::Socks { way, resolves: true } => way.clone().call(address(site)?).await?,
            Self::Socks { way, resolves: false } => {
                let host = site.host().trim_matches(['[', ']']);
                let found = lookup_host((host, site.port())).await;
                let found = found.map_err(|error| NoName(error.to_string()))?.next();
                let found = found.ok_or_else(|| NoName("no address".to_owned()))?;
                way.clone().call(format!("http://{found}").parse()?).await?
            }
        };
        Ok(way.into_inner())
    }
}

/// Told as hyper-util tells it: what a request died of is found by these words.
#[derive(Debug, thiserror::Error)]
#[error("dns error: {0}")]
struct NoName(String);

/// Both ways, encrypted or not.
trait Both: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Both for T {}
type ProxyWay = Box<dyn Both>;

/// Connects to the proxy itself.
#[derive(Clone)]
struct ToProxy {
    tcp: HttpConnector,
    tls: Option<TlsConnector>,
}

impl Service<Uri> for ToProxy {
    type Response = TokioIo<ProxyWay>;
    type Error = AnyError;
    type Future = Connecting<Self::Response>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), AnyError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, place: Uri) -> Self::Future {
        let host = place
            .host()
            .unwrap_or_default()
            .trim_matches(['[', ']'])
            .to_owned();
        let tcp = self.tcp.call(place);
        let tls = self.tls.clone();
        Box::pin(async move {
            let tcp = tcp.await?.into_inner();
            let way: ProxyWay = match tls {
                Some(tls) => Box::new(encrypted(&tls, &host, tcp).await?),
                None => Box::new(tcp),
            };
            Ok(TokioIo::new(way))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    use crate::rules::outcome::Problem;
    use crate::site_api::failure::classify;
    use rustls::pki_types::PrivatePkcs8KeyDer;

    /// The first bytes of a TLS handshake.
    const CLIENT_HELLO: [u8; 2] = [0x16, 0x03];

    fn trusts_nobody() -> ClientConfig {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(rustls::RootCertStore::empty())
            .with_no_client_auth()
    }

    /// Dials `site` by a proxy of `scheme` that behaves as `proxy` says; returns the words of what came of it.
    async fn dialled<Behaves: Future<Output = ()>>(
        scheme: &str,
        site: &str,
        proxy: impl FnOnce(TcpStream) -> Behaves,
    ) -> (Problem, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("{scheme}://ada:p%40ss@{}", listener.local_addr().unwrap());
        let limit = Duration::from_secs(20);
        let dialer = Dialer::new(trusts_nobody(), Some(&ProxyUrl::parse(&url).unwrap()), limit).unwrap();
        let site = SiteUrl::parse(site).unwrap();
        let plays = async { proxy(listener.accept().await.unwrap().0).await };
        let (line, ()) = tokio::join!(dialer.dial(&site, Instant::now() + limit), plays);
        let (problem, words) = classify(&line.expect_err("nobody answers as a site"));
        (problem, words.to_string())
    }

    async fn takes(stream: &mut TcpStream, expected: &[u8]) {
        let mut taken = vec![0; expected.len()];
        stream.read_exact(&mut taken).await.unwrap();
        assert_eq!(taken, expected);
    }

    async fn head(stream: &mut TcpStream) -> String {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        String::from_utf8(head).unwrap()
    }

    #[tokio::test]
    async fn a_site_is_reached_by_connect_with_the_name_that_the_proxy_asks_for() {
        dialled(
            "http",
            "https://shop.example.com:8443/fr",
            |mut stream| async move {
                let head = head(&mut stream).await;
                assert!(
                    head.starts_with("CONNECT shop.example.com:8443 HTTP/1.1\r\n"),
                    "{head}"
                );
                // ada:p@ss
                assert!(
                    head.contains("Proxy-Authorization: Basic YWRhOnBAc3M=\r\n"),
                    "{head}"
                );
                stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
                takes(&mut stream, &CLIENT_HELLO).await;
            },
        )
        .await;
    }

    #[tokio::test]
    async fn what_the_proxy_refuses_is_told_as_its_word() {
        let words = dialled("http", "https://shop.example.com", |mut stream| async move {
            head(&mut stream).await;
            let refused = b"HTTP/1.1 407 Who are you\r\n\r\n";
            stream.write_all(refused).await.unwrap();
        });
        let refused = (
            Problem::Connect,
            "at the proxy: proxy authorization required".to_owned(),
        );
        assert_eq!(words.await, refused);
    }

    #[tokio::test]
    async fn a_proxy_that_is_encrypted_is_told_nothing_in_the_clear_and_its_certificate_is_not_the_sites() {
        let issued = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        let key = PrivatePkcs8KeyDer::from(issued.signing_key.serialize_der());
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let server = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![issued.cert.der().clone()], key.into())
            .unwrap();
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(server));
        let (problem, words) = dialled("https", "https://shop.example.com", |stream| async move {
            acceptor.accept(stream).await.expect_err("nobody trusts it");
        })
        .await;
        assert_eq!(problem, Problem::Connect);
        let expected = "at the proxy: its certificate cannot be trusted: its authority is unknown";
        assert_eq!(words, expected);
    }

    #[tokio::test]
    async fn a_proxy_without_an_address_is_not_the_sites_fault() {
        let url = ProxyUrl::parse("http://proxy.invalid:3128").unwrap();
        let limit = Duration::from_secs(20);
        let dialer = Dialer::new(trusts_nobody(), Some(&url), limit).unwrap();
        let site = SiteUrl::parse("https://shop.example.com").unwrap();
        let failed = dialer.dial(&site, Instant::now() + limit).await;
        let (problem, words) = classify(&failed.expect_err("there is no such host"));
        assert_eq!(problem, Problem::Connect);
        assert_eq!(words.as_str(), "at the proxy: its host name was not found");
    }

    #[tokio::test]
    async fn a_socks_proxy_gets_a_name_or_an_address_as_its_scheme_says() {
        let asked: [(&str, &str, &[u8]); 2] = [
            (
                "socks5h",
                "https://shop.example.com",
                b"\x05\x01\x00\x03\x10shop.example.com\x01\xbb",
            ),
            (
                "socks5",
                "https://127.0.0.9:444",
                b"\x05\x01\x00\x01\x7f\x00\x00\x09\x01\xbc",
            ),
        ];
        for (scheme, site, request) in asked {
            dialled(scheme, site, |mut stream| async move {
                takes(&mut stream, b"\x05\x01\x02").await;
                stream.write_all(b"\x05\x02").await.unwrap();
                takes(&mut stream, b"\x01\x03ada\x04p@ss").await;
                stream.write_all(b"\x01\x00").await.unwrap();
                takes(&mut stream, request).await;
                stream
                    .write_all(b"\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00")
                    .await
                    .unwrap();
                takes(&mut stream, &CLIENT_HELLO).await;
            })
            .await;
        }
    }
}
