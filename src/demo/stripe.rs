use std::collections::HashSet;
use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use anyhow::Context;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::AUTHORIZATION;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};

use super::record::AskedStripe;
use super::server::{Server, response};
use super::template::Reply;
use crate::key::PublishableKey;

/// Plays Stripe: it knows every well-formed key but those that contain `Unknown` or `Expired`; or, once it is told which
/// keys there are, those alone and what contains [`KNOWN`].
#[derive(Debug, Default)]
pub(super) struct Stripe {
    /// Keys that were rolled since.
    rolled: Mutex<HashSet<String>>,
    /// The keys that there are; none where it takes all for one.
    only: OnceLock<HashSet<String>>,
}

/// A key with this in it is one that Stripe knows, of whoever wants to try another one on the demo.
const KNOWN: &str = "Known";

impl Stripe {
    /// From now on this key has expired.
    pub(super) fn roll(&self, key: &str) {
        let mut rolled = self.rolled.lock().unwrap_or_else(PoisonError::into_inner);
        rolled.insert(key.to_owned());
    }

    /// From now on it knows these keys alone, and what contains [`KNOWN`].
    pub(super) fn know_only(&self, keys: HashSet<String>) {
        // Who told it first is believed.
        let _known = self.only.set(keys);
    }

    /// What it answers of a key, as contract.md tells.
    fn answer(&self, key: &str) -> Reply {
        let rolled = self.rolled.lock().unwrap_or_else(PoisonError::into_inner);
        let error = |status, code: &str, message: &str| {
            let error = json!({ "code": code, "message": message, "type": "invalid_request_error" });
            Reply::json(status, &json!({ "error": error }))
        };
        let is_one = |keys: &HashSet<String>| keys.contains(key) || key.contains(KNOWN);
        let is_known = !key.contains("Unknown") && self.only.get().is_none_or(is_one);
        if !is_known || PublishableKey::parse(key).is_err() {
            let message = "Invalid API Key provided: pk_****";
            let error = json!({ "message": message, "type": "invalid_request_error" });
            return Reply::json(401, &json!({ "error": error }));
        }
        if key.contains("Expired") || rolled.contains(key) {
            return error(401, "api_key_expired", "Expired API Key provided: pk_****");
        }
        let message = "This API call cannot be made with a publishable API key. Please use a secret API key.";
        error(403, "secret_key_required", message)
    }

    /// Opens a port for it; returns its address.
    pub(super) async fn open(
        self: &Arc<Self>,
        server: &Arc<Server>,
        address: IpAddr,
    ) -> anyhow::Result<String> {
        let listener = TcpListener::bind((address, 0)).await.context("opening a port")?;
        let url = format!("https://{}", listener.local_addr()?);
        let (server, stripe) = (Arc::clone(server), Arc::clone(self));
        tokio::spawn(async move {
            while let Some(Ok((stream, _))) = server.stop.run_until_cancelled(listener.accept()).await {
                let (server, stripe) = (Arc::clone(&server), Arc::clone(&stripe));
                tokio::spawn(async move {
                    let answers = stripe.connection(&server, stream);
                    // A client that goes away is no fault of the fleet's.
                    let _ended = server.stop.run_until_cancelled(answers).await;
                });
            }
        });
        Ok(url)
    }

    async fn connection(&self, server: &Server, stream: TcpStream) {
        let Ok(stream) = server.acceptor().accept(stream).await else {
            return;
        };
        let service = service_fn(async |request| Ok::<_, Infallible>(self.request(server, &request)));
        let http = hyper::server::conn::http1::Builder::new();
        // The client may cut it at any time.
        let _ended = http.serve_connection(TokioIo::new(stream), service).await;
    }

    fn request(&self, server: &Server, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        let key = key_of(request).unwrap_or_default();
        let is_question = request.method() == "GET" && request.uri().path() == "/v1/customers/cus_A";
        server.recorder.asked_stripe(AskedStripe {
            key: key.clone(),
            is_question,
            had_master_key: request.headers().contains_key("X-API-Key"),
        });
        let reply = if is_question {
            self.answer(&key)
        } else {
            Reply::json(
                404,
                &json!({ "error": { "message": "Unrecognized request URL" } }),
            )
        };
        response(reply.status, reply.headers, reply.body)
    }
}

/// The user name of HTTP basic authentication, where there is no password.
fn key_of(request: &Request<Incoming>) -> Option<String> {
    let header = request.headers().get(AUTHORIZATION)?.to_str().ok()?;
    let pair = STANDARD.decode(header.strip_prefix("Basic ")?).ok()?;
    String::from_utf8(pair).ok()?.strip_suffix(':').map(str::to_owned)
}
