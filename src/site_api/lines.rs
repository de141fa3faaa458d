use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::{Request, Response};
use reqwest::Client;
use reqwest::header::HeaderMap;
use rustls::client::Resumption;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;

use super::answer::BODY_LIMIT;
use super::dial::{Dialer, Line};
use super::elsewhere::build;
use super::failure::Broken;
use super::limit::Limit;
use super::trust::{ClientError, HttpSettings, tls};
use crate::rules::outcome::Problem;
use crate::site::SiteUrl;

/// How long a connection may wait for the next request of its site: one that was idle for longer is the one source of
/// doubtful resets. It is closed when that request comes, or with the site's slot.
const IDLE: Duration = Duration::from_secs(1);

/// The connections to sites, and those that are kept between the requests of one site's operation, so that they can be
/// closed the moment that nothing follows on them.
#[derive(Debug)]
pub(super) struct Lines {
    settings: HttpSettings,
    tls: rustls::ClientConfig,
    dialer: Dialer,
    /// With the site's operation that goes on.
    held: Mutex<HashMap<SiteUrl, (Line, Instant)>>,
}

/// On which connection a request goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum On {
    /// The site's, which is kept for its next request.
    Kept,
    /// The site's, for the last time.
    Last,
    /// One of its own.
    Own,
}

/// What came back.
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    /// The body's beginning, of at most [`BODY_LIMIT`] bytes; or why it was cut.
    pub(super) body: Result<Vec<u8>, Problem>,
}

/// A panic elsewhere does not make the connections wrong.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Lines {
    pub(super) fn new(settings: HttpSettings) -> Result<Self, ClientError> {
        let tls = tls(&settings)?;
        let dialer = Dialer::new(tls.clone(), settings.proxy.as_ref(), settings.connect_timeout)
            .map_err(|_| ClientError::Proxy)?;
        Ok(Self {
            settings,
            tls,
            dialer,
            held: Mutex::default(),
        })
    }

    /// A client for another place than a site, which makes its connections in the same way, each within `limit`. The
    /// authorities are loaded already: that takes tens of milliseconds.
    pub(super) fn for_another_place(&self, limit: Duration) -> Result<Client, ClientError> {
        let settings = HttpSettings {
            connect_timeout: limit,
            ..self.settings.clone()
        };
        build(&settings, &self.tls)
    }

    /// Sends `request` to the site, once, and reads the beginning of its answer. All of it has an end at its limit, and
    /// nothing is sent behind that.
    pub(super) async fn ask(
        &self,
        site: &SiteUrl,
        request: Request<Full<Bytes>>,
        on: On,
        limit: Limit,
    ) -> Result<Reply, Broken> {
        let until = limit.until();
        let held = if on == On::Own { None } else { self.take(site) };
        let (line, response) = match timeout_at(until, self.send(site, request, held, limit)).await {
            Ok(sent) => sent?,
            Err(_) => return Err(Broken::Timeout),
        };
        let (parts, body) = response.into_parts();
        let body = match timeout_at(until, beginning(body)).await {
            Ok(read) => read.map_err(|_| Problem::ConnectionLost),
            Err(_) => Err(Problem::Timeout),
        };
        // Of a body that is cut the rest is still to come.
        if on == On::Kept && body.as_ref().is_ok_and(|body| body.len() < BODY_LIMIT) {
            lock(&self.held).insert(site.clone(), (line, Instant::now()));
        }
        Ok(Reply {
            status: parts.status.as_u16(),
            headers: parts.headers,
            body,
        })
    }

    async fn send(
        &self,
        site: &SiteUrl,
        mut request: Request<Full<Bytes>>,
        held: Option<Line>,
        limit: Limit,
    ) -> Result<(Line, Response<Incoming>), Broken> {
        if let Some(mut line) = held
            && line.ready().await.is_ok()
        {
            if limit.is_over() {
                return Err(Broken::Late);
            }
            match line.try_send_request(request).await {
                Ok(response) => return Ok((line, response)),
                // The server has closed it meanwhile: what comes back was not sent.
                Err(mut error) => match error.take_message() {
                    Some(unsent) => request = unsent,
                    None => return Err(Broken::Lost(error.into_error())),
                },
            }
        }
        let mut line = self.dialer.dial(site, limit.until()).await?;
        if limit.is_over() {
            return Err(Broken::Late);
        }
        match line.try_send_request(request).await {
            Ok(response) => Ok((line, response)),
            Err(mut error) => Err(match error.take_message() {
                Some(_unsent) => Broken::Connect(error.into_error().into()),
                None => Broken::Lost(error.into_error()),
            }),
        }
    }

    /// The site's connection, if it has one that is not idle.
    fn take(&self, site: &SiteUrl) -> Option<Line> {
        let (line, since) = lock(&self.held).remove(site)?;
        (since.elapsed() < IDLE).then_some(line)
    }

    /// How sites are reached.
    pub(super) fn settings(&self) -> &HttpSettings {
        &self.settings
    }

    /// Makes handshakes with the clients' own trust, each of them whole: one that is resumed checks no certificate.
    pub(super) fn connector(&self) -> TlsConnector {
        let mut tls = self.tls.clone();
        tls.resumption = Resumption::disabled();
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        TlsConnector::from(Arc::new(tls))
    }

    /// Closes the site's connection, if it has one.
    pub(super) fn hang_up(&self, site: &SiteUrl) {
        drop(lock(&self.held).remove(site));
    }
}

/// The body's beginning; what is left of a longer one is dropped with its connection.
async fn beginning(mut body: Incoming) -> hyper::Result<Vec<u8>> {
    let mut read = Vec::new();
    while let Some(frame) = body.frame().await {
        if let Some(data) = frame?.data_ref() {
            read.extend_from_slice(&data[..data.len().min(BODY_LIMIT - read.len())]);
        }
        if read.len() >= BODY_LIMIT {
            break;
        }
    }
    Ok(read)
}

#[cfg(test)]
mod tests {
    use super::super::limit::Began;
    use super::*;
    use crate::secret::ProxyUrl;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    const LIMIT: Duration = Duration::from_secs(20);

    fn settings(proxy: Option<ProxyUrl>) -> HttpSettings {
        HttpSettings {
            connect_timeout: LIMIT,
            timeout: LIMIT,
            proxy,
            ca_pem: None,
            sites: 1,
            per_backend: 2,
        }
    }

    async fn listening() -> (TcpListener, SiteUrl) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        (listener, SiteUrl::parse(&url).unwrap())
    }

    /// Reads a request and answers it.
    async fn answers(stream: &mut TcpStream) {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
        stream.write_all(answer).await.unwrap();
    }

    async fn asks(lines: &Lines, site: &SiteUrl, on: On) {
        let request = Request::new(Full::default());
        let reply = lines.ask(site, request, on, Limit::of(LIMIT)).await;
        let reply = reply.expect("an answer");
        assert_eq!((reply.status, reply.body), (200, Ok(b"ok".to_vec())));
    }

    #[tokio::test]
    async fn what_is_not_encrypted_does_not_go_to_the_proxy() {
        let (proxy, proxy_url) = listening().await;
        let (site, url) = listening().await;
        let proxy_url = ProxyUrl::parse(proxy_url.as_str()).unwrap();
        let lines = Lines::new(settings(Some(proxy_url))).unwrap();
        let plays = async {
            let accepted = tokio::select! {
                accepted = site.accept() => accepted,
                _ = proxy.accept() => panic!("the proxy got it"),
            };
            answers(&mut accepted.unwrap().0).await;
        };
        tokio::join!(asks(&lines, &url, On::Own), plays);
    }

    #[tokio::test]
    async fn requests_of_an_operation_share_a_connection_until_nothing_follows() {
        let (site, url) = listening().await;
        let lines = Lines::new(settings(None)).unwrap();
        let plays = async {
            let (mut stream, _) = site.accept().await.unwrap();
            answers(&mut stream).await;
            answers(&mut stream).await;
            assert_eq!(stream.read(&mut [0]).await.unwrap(), 0, "it is closed");
            answers(&mut site.accept().await.unwrap().0).await;
        };
        let asking = async {
            asks(&lines, &url, On::Kept).await;
            asks(&lines, &url, On::Kept).await;
            lines.hang_up(&url);
            asks(&lines, &url, On::Last).await;
        };
        tokio::join!(asking, plays);
    }

    #[tokio::test]
    async fn a_connection_that_the_server_has_closed_meanwhile_costs_no_request() {
        let (site, url) = listening().await;
        let lines = Lines::new(settings(None)).unwrap();
        let plays = async {
            for _ in 0..2 {
                let (mut stream, _) = site.accept().await.unwrap();
                answers(&mut stream).await;
            }
        };
        let asking = async {
            asks(&lines, &url, On::Kept).await;
            asks(&lines, &url, On::Kept).await;
        };
        tokio::join!(asking, plays);
    }

    #[tokio::test]
    async fn what_was_begun_before_the_machine_was_suspended_is_not_sent_behind_its_limit() {
        let (site, url) = listening().await;
        let lines = Lines::new(settings(None)).unwrap();
        let late = async || {
            let began = Began::now().before_a_sleep_of(LIMIT);
            let request = Request::new(Full::default());
            let reply = lines
                .ask(&url, request, On::Kept, Limit::since(began, LIMIT))
                .await;
            assert!(matches!(reply, Err(Broken::Late)));
        };
        let plays = async {
            // It has come to the connection, and no further.
            let (mut stream, _) = site.accept().await.unwrap();
            assert_eq!(stream.read(&mut [0]).await.unwrap(), 0, "nothing is sent");
            let (mut stream, _) = site.accept().await.unwrap();
            answers(&mut stream).await;
            assert_eq!(
                stream.read(&mut [0]).await.unwrap(),
                0,
                "nor on one that is there"
            );
        };
        let asking = async {
            late().await;
            asks(&lines, &url, On::Kept).await;
            late().await;
        };
        tokio::join!(asking, plays);
    }

    #[tokio::test]
    async fn a_connection_that_was_idle_for_long_takes_no_request() {
        let (site, url) = listening().await;
        let lines = Lines::new(settings(None)).unwrap();
        let plays = async {
            let (mut first, _) = site.accept().await.unwrap();
            answers(&mut first).await;
            let (mut second, _) = site.accept().await.unwrap();
            answers(&mut second).await;
        };
        let asking = async {
            asks(&lines, &url, On::Kept).await;
            tokio::time::pause();
            tokio::time::advance(IDLE).await;
            tokio::time::resume();
            asks(&lines, &url, On::Kept).await;
        };
        tokio::join!(asking, plays);
    }
}
