use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::certificates::Certificates;
use super::counted::Counted;
use super::faults::Handshake;
use super::record::Recorder;
use super::shop::Shop;
use super::template::{Asked, Body, Reply};
use super::{raw, shaken};

/// The longest body that a site reads, in bytes.
const BODY_LIMIT: usize = 64 * 1024;
/// Connections that wait to be accepted.
const BACKLOG: u32 = 1024;
/// How long a client may take for its handshake and its headers.
const CLIENT_LIMIT: Duration = Duration::from_secs(30);

/// Serves shops over TLS, all with one certificate but those whose handshakes are odd.
pub(super) struct Server {
    certificates: Certificates,
    pub(super) recorder: Arc<Recorder>,
    pub(super) stop: CancellationToken,
    /// Ports that are taken and refuse connections.
    dead: Mutex<Vec<(TcpSocket, Arc<Shop>)>>,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Server").finish_non_exhaustive()
    }
}

impl Server {
    pub(super) fn new(
        addresses: &[IpAddr],
        odd: impl Iterator<Item = Handshake>,
        recorder: Arc<Recorder>,
        stop: CancellationToken,
    ) -> anyhow::Result<Self> {
        let certificates = Certificates::make(addresses, odd).context("making the demo's certificates")?;
        Ok(Self {
            certificates,
            recorder,
            stop,
            dead: Mutex::default(),
        })
    }

    pub(super) fn ca_pem(&self) -> &str {
        self.certificates.ca_pem()
    }

    /// Makes the handshakes of a site that is well.
    pub(super) fn acceptor(&self) -> &TlsAcceptor {
        self.certificates.acceptor(None)
    }

    /// Opens a port for `shop` (a dead one takes it and refuses); returns its number.
    pub(super) fn open(self: &Arc<Self>, address: IpAddr, shop: Arc<Shop>) -> anyhow::Result<u16> {
        let socket = if address.is_ipv4() {
            TcpSocket::new_v4()
        } else {
            TcpSocket::new_v6()
        }?;
        socket
            .bind(SocketAddr::new(address, 0))
            .with_context(|| format!("taking a port of {address}"))?;
        let port = socket.local_addr()?.port();
        if shop.is_dead() {
            self.dead
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push((socket, shop));
        } else {
            self.listen(socket, shop)
                .context("opening a port (too many open files? see ulimit -n)")?;
        }
        Ok(port)
    }

    fn listen(self: &Arc<Self>, socket: TcpSocket, shop: Arc<Shop>) -> std::io::Result<()> {
        let listener = socket.listen(BACKLOG)?;
        tokio::spawn(Arc::clone(self).accept(listener, shop));
        Ok(())
    }

    /// Opens the ports of shops that were dead and are mended.
    pub(super) fn open_the_dead(self: &Arc<Self>) {
        let dead = std::mem::take(&mut *self.dead.lock().unwrap_or_else(PoisonError::into_inner));
        for (socket, shop) in dead {
            // Its port is taken already, so that nothing is left that could fail but the descriptor limit.
            if let Err(error) = self.listen(socket, shop) {
                tracing::warn!(%error, "a site of the demo cannot be mended");
            }
        }
    }

    /// Where the redirecting site points: counts who comes, and answers nothing. Returns its address.
    pub(super) async fn redirect_target(self: &Arc<Self>, address: IpAddr) -> anyhow::Result<String> {
        let listener = TcpListener::bind((address, 0)).await.context("opening a port")?;
        let target = format!("https://{}", listener.local_addr()?);
        let server = Arc::clone(self);
        tokio::spawn(async move {
            while let Some(Ok(_)) = server.stop.run_until_cancelled(listener.accept()).await {
                server.recorder.to_redirect_target();
            }
        });
        Ok(target)
    }

    async fn accept(self: Arc<Self>, listener: TcpListener, shop: Arc<Shop>) {
        while let Some(accepted) = self.stop.run_until_cancelled(listener.accept()).await {
            match accepted {
                Ok((stream, _)) => {
                    self.recorder.accepted(shop.index);
                    let (server, shop) = (Arc::clone(&self), Arc::clone(&shop));
                    tokio::spawn(async move {
                        let _at_work = server.recorder.at_work();
                        // A client that goes away is no fault of the fleet's.
                        let _ended = server
                            .stop
                            .run_until_cancelled(server.connection(stream, &shop))
                            .await;
                    });
                }
                // Out of descriptors: wait for some to be freed.
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    }

    /// One connection, bound to one of the site's processes for its life.
    async fn connection(self: &Arc<Self>, stream: TcpStream, shop: &Arc<Shop>) {
        let process = shop.process();
        // An answer in one packet needs no delay to gather more.
        let _as_it_is = stream.set_nodelay(true);
        let handshake = shop.handshake();
        match handshake {
            Some(Handshake::Reset) => return shaken::reset(&stream),
            Some(Handshake::Hangs) => return Box::pin(shaken::hang(stream)).await,
            Some(Handshake::OldVersion) => return Box::pin(shaken::old_version(stream)).await,
            _ => {}
        }
        let accepted = self.certificates.acceptor(handshake).accept(stream);
        let Ok(Ok(stream)) = tokio::time::timeout(CLIENT_LIMIT, accepted).await else {
            return;
        };
        // Counted from here on: at its first packet the one that it follows may still be being torn down.
        let Ok(_open) = self.recorder.connection(stream.get_ref().0) else {
            return;
        };
        let stream = Counted::new(stream, shop.index, &self.recorder);
        if shop.speaks() {
            return Box::pin(raw::serve(stream, shop, process, &self.recorder)).await;
        }
        let service = service_fn(|request| self.request(request, shop, process));
        let mut http = hyper::server::conn::http1::Builder::new();
        http.timer(TokioTimer::new()).header_read_timeout(CLIENT_LIMIT);
        // The client may cut it at any time.
        let _ended = http.serve_connection(TokioIo::new(stream), service).await;
    }

    async fn request(
        self: &Arc<Self>,
        request: Request<Incoming>,
        shop: &Arc<Shop>,
        process: usize,
    ) -> Result<Response<Full<Bytes>>, Infallible> {
        let call = shop.call();
        let (head, body) = request.into_parts();
        let body = Limited::new(body, BODY_LIMIT)
            .collect()
            .await
            .map(http_body_util::Collected::to_bytes)
            .unwrap_or_default();
        let master_key = head
            .headers
            .get("X-API-Key")
            .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
        let asked = Asked {
            method: head.method.to_string(),
            path: head.uri.path().to_owned(),
            master_key,
            body: String::from_utf8_lossy(&body).into_owned(),
        };
        if let Some(backend) = &shop.backend {
            self.recorder.of_backend(backend, call.now);
        }
        let reply = match (shop.gate(&asked), shop.on_its_way(&asked)) {
            (Some(gate), _) => self.take_late(gate, shop, process, asked).await,
            (None, Some(way)) => self.take_later(way, shop, process, asked).await,
            (None, None) => self.take(shop, process, asked),
        };
        if !reply.after.is_zero() {
            tokio::time::sleep(reply.after).await;
        }
        Ok(response(reply.status, reply.headers, reply.body))
    }

    /// The request arrives at the shop.
    fn take(&self, shop: &Shop, process: usize, asked: Asked) -> Reply {
        let reply = shop.answer(process, &asked);
        self.recorder.took(asked, shop.index, process, reply.status);
        reply
    }

    /// The request arrives when so much time has passed, whether or not its client still waits for the answer.
    async fn take_later(
        self: &Arc<Self>,
        way: Duration,
        shop: &Arc<Shop>,
        process: usize,
        asked: Asked,
    ) -> Reply {
        let gate = CancellationToken::new();
        let opens = gate.clone();
        tokio::spawn(async move {
            tokio::time::sleep(way).await;
            opens.cancel();
        });
        self.take_late(gate, shop, process, asked).await
    }

    /// The request arrives when `gate` opens, whether or not its client still waits for the answer.
    async fn take_late(
        self: &Arc<Self>,
        gate: CancellationToken,
        shop: &Arc<Shop>,
        process: usize,
        asked: Asked,
    ) -> Reply {
        let (server, shop) = (Arc::clone(self), Arc::clone(shop));
        let arrives = tokio::spawn(async move {
            let held = server.recorder.held(shop.index);
            server.stop.run_until_cancelled(gate.cancelled()).await;
            let reply = server.take(&shop, process, asked);
            drop(held);
            reply
        });
        arrives
            .await
            .unwrap_or_else(|_| Reply::json(503, &serde_json::json!({ "error": "the fleet ends" })))
    }
}

pub(super) fn response(
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Body,
) -> Response<Full<Bytes>> {
    let mut builder = Response::builder().status(status);
    for (name, value) in headers {
        builder = builder.header(name, value);
    }
    let bytes = match body {
        Body::Empty => Bytes::new(),
        Body::Text(text) => Bytes::from(text),
        Body::Bytes(bytes) => Bytes::from(bytes),
    };
    // Only a fault with an illegal header could fail here; it then answers an empty 200.
    builder.body(Full::new(bytes)).unwrap_or_default()
}
