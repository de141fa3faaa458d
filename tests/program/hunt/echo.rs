//! Sites that give back what they got, in every way that may happen, and what stands beside them: a list of sites on the
//! web, and a webhook. Plain HTTP on loopback: what is asked here is what becomes of an answer.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::canaries::{PROXY, ROW, SHOWN, TOKEN, WEBHOOK, each_escaped, hex, in_url};

/// Status, headers, body.
type Answer = (u16, String, String);

/// What a site answers to a PUT with this master key.
type Echoes = fn(&str) -> Answer;

/// How each echoes.
pub(crate) const ECHOES: &[(&str, Echoes)] = &[
    ("plain", |key| refusal(&format!("bad header X-API-Key: {key}"))),
    ("escaped", |key| {
        let escaped = each_escaped(key, |byte| format!("\\u{byte:04x}"));
        text(&format!("{{\"error\": \"{escaped}\"}}"))
    }),
    ("not-decoded", |key| {
        let escaped = each_escaped(key, |byte| format!("\\x{byte:02x}"));
        text(&format!("KeyError: b'{escaped}'"))
    }),
    ("url", |key| {
        text(&format!(
            "PUT /?key={}&x={}",
            in_url(key),
            each_escaped(key, |byte| format!("%{byte:02x}"))
        ))
    }),
    ("page", |key| {
        let escaped = each_escaped(key, |byte| format!("&#{byte};"));
        text(&format!("<html><title>No access for {escaped}</title>"))
    }),
    ("base64", |key| {
        text(&format!(
            "Authorization: Basic {}",
            STANDARD.encode(format!("ops:{key}"))
        ))
    }),
    ("hex", |key| {
        text(&format!("dump {} {}", hex(key), hex(key).to_uppercase()))
    }),
    ("case", |key| {
        text(&format!("{} or {}", key.to_uppercase(), key.to_lowercase()))
    }),
    ("beginning", |key| text(&format!("unknown key {}", &key[..14]))),
    ("hidden", |key| {
        text(&key.chars().flat_map(|one| [one, '\u{200b}']).collect::<String>())
    }),
    ("cut", |key| text(&format!("{}{key}", " ".repeat(64 * 1024 - 20)))),
    ("long", |key| {
        text(&format!("{key} ").repeat(1024 * 1024 / (key.len() + 1)))
    }),
    ("redirect", |key| {
        let to = format!("Location: https://127.0.0.1/login/{}?key={key}\r\n", in_url(key));
        (302, to, String::new())
    }),
    ("header", |key| {
        (
            200,
            format!("X-Got: {key}\r\n"),
            json!({ "success": true }).to_string(),
        )
    }),
    ("served", |_| {
        (200, String::new(), json!({ "success": true }).to_string())
    }),
    ("looks", |_| {
        (200, String::new(), json!({ "success": true }).to_string())
    }),
    ("drifts", |_| {
        (200, String::new(), json!({ "success": true }).to_string())
    }),
    ("stripe", |_| refusal(&format!("no such key: {SHOWN}"))),
    ("stripe-escaped", |_| {
        text(&format!("{{\"key\": \"\\u0073k_live_{}\"", &SHOWN[8..]))
    }),
    ("row", refusal),
    ("of-source", refusal),
];

fn refusal(error: &str) -> Answer {
    (400, String::new(), json!({ "error": error }).to_string())
}

fn text(body: &str) -> Answer {
    (400, String::new(), body.to_owned())
}

/// A key that each of them serves at first.
const OLD: &str = "pk_test_51EchoEchoEchoEchoEchoEchoEchoEchoEchoEchoEchoEchoEchoEchoEchoEchoEchoEchoEchoEchoEchoEchoEchoE1";

#[derive(Debug, Default)]
struct Shared {
    /// Whether a site serves a key that is made of what it got.
    serves: AtomicBool,
    /// Whether a site has got another key by somebody else.
    drifts: AtomicBool,
    /// Whether somebody asked for a way to another place.
    proxied: AtomicBool,
    master_keys: Mutex<HashMap<String, String>>,
    stored: Mutex<HashMap<String, String>>,
    posted: Mutex<Vec<String>>,
    /// Requests whose secret did not come.
    bare: Mutex<Vec<String>>,
}

#[derive(Debug)]
pub(crate) struct Echo {
    pub(crate) address: String,
    shared: Arc<Shared>,
}

impl Echo {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let shared = Arc::new(Shared::default());
        shared.serves.store(true, Ordering::Relaxed);
        let (for_all, own) = (Arc::clone(&shared), address.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (shared, own) = (Arc::clone(&for_all), own.clone());
                // Who asks may go away at any time.
                std::thread::spawn(move || shared.serve(stream, &own).unwrap_or_default());
            }
        });
        Self { address, shared }
    }

    /// From now on the keys that they serve are clean: who has read no master key cannot find it in one. What they say
    /// beside it echoes still.
    pub(crate) fn serves_clean_keys(&self) {
        self.shared.serves.store(false, Ordering::Relaxed);
    }

    /// Somebody else puts another key on a site.
    pub(crate) fn drift(&self) {
        self.shared.drifts.store(true, Ordering::Relaxed);
    }

    /// What was posted to the webhook.
    pub(crate) fn posted(&self) -> Vec<String> {
        self.shared.posted.lock().unwrap().clone()
    }

    /// Which sites got a master key.
    pub(crate) fn has_master_key(&self, site: &str) -> bool {
        self.shared.master_keys.lock().unwrap().contains_key(site)
    }

    /// Whether it was asked as a proxy.
    pub(crate) fn was_proxy(&self) -> bool {
        self.shared.proxied.load(Ordering::Relaxed)
    }

    /// What came without its secret.
    pub(crate) fn bare(&self) -> Vec<String> {
        self.shared.bare.lock().unwrap().clone()
    }
}

impl Shared {
    fn serve(&self, stream: TcpStream, own: &str) -> std::io::Result<()> {
        let mut stream = BufReader::new(stream);
        let mut line = String::new();
        stream.read_line(&mut line)?;
        let mut words = line.split_whitespace().map(str::to_owned);
        let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let mut headers = HashMap::new();
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line)? <= 2 {
                break;
            }
            if let Some((name, value)) = line.trim_end().split_once(": ") {
                headers.insert(name.to_lowercase(), value.to_owned());
            }
        }
        let length = headers
            .get("content-length")
            .and_then(|length| length.parse().ok());
        let mut body = vec![0; length.unwrap_or_default()];
        stream.read_exact(&mut body)?;
        let (status, more, said) =
            self.answer(&method, &path, &headers, &String::from_utf8_lossy(&body), own);
        let mut head = format!(
            "HTTP/1.1 {status} Echo\r\nContent-Length: {}\r\nConnection: close\r\n",
            said.len()
        );
        write!(head, "{more}\r\n").unwrap();
        stream.get_mut().write_all(head.as_bytes())?;
        stream.get_mut().write_all(said.as_bytes())
    }

    fn answer(
        &self,
        method: &str,
        path: &str,
        headers: &HashMap<String, String>,
        body: &str,
        own: &str,
    ) -> Answer {
        // Who only wants to know that somebody listens asks for nothing.
        let path = path.strip_prefix('/').unwrap_or_default();
        let (site, _) = path.split_once('/').unwrap_or((path, ""));
        match (method, site) {
            ("GET", "list") => {
                if headers
                    .get("authorization")
                    .is_none_or(|value| !value.contains(TOKEN))
                {
                    self.bare.lock().unwrap().push(path.to_owned());
                }
                let row = json!({ "url": format!("{own}/row"), "name": "row", "backend": "row", "master_key": ROW });
                let of_source =
                    json!({ "url": format!("{own}/of-source"), "name": "of-source", "backend": "source" });
                (200, String::new(), json!([row, of_source]).to_string())
            }
            ("POST", "hook") => {
                if !path.contains(WEBHOOK) {
                    self.bare.lock().unwrap().push(path.to_owned());
                }
                self.posted.lock().unwrap().push(body.to_owned());
                refusal(&format!("POST {path}"))
            }
            // It is asked as a proxy, and says what it was told.
            ("CONNECT", _) => {
                let told = headers.get("proxy-authorization").map_or("", String::as_str);
                self.proxied.store(true, Ordering::Relaxed);
                let said = STANDARD
                    .decode(told.trim_start_matches("Basic "))
                    .unwrap_or_default();
                let said = String::from_utf8_lossy(&said).into_owned();
                if !said.contains(PROXY) {
                    self.bare.lock().unwrap().push(said.clone());
                }
                let (_, _, body) = refusal(&said);
                (407, format!("X-Got: {told} {said}\r\n"), body)
            }
            ("PUT", _) => self.take(site, headers.get("x-api-key").map_or("", String::as_str), body),
            _ => self.look(site),
        }
    }

    fn take(&self, site: &str, key: &str, body: &str) -> Answer {
        self.master_keys
            .lock()
            .unwrap()
            .insert(site.to_owned(), key.to_owned());
        let body: Value = serde_json::from_str(body).unwrap_or_default();
        let Some(value) = body["value"].as_str() else {
            // The question of a preflight.
            return refusal("Missing value");
        };
        let (_, echo) = ECHOES.iter().find(|(name, _)| *name == site).unwrap();
        let answer = echo(key);
        if answer.0 == 200 {
            self.stored
                .lock()
                .unwrap()
                .insert(site.to_owned(), value.to_owned());
        }
        answer
    }

    fn look(&self, site: &str) -> Answer {
        let master_key = self.master_keys.lock().unwrap().get(site).cloned();
        let serves_it = self.serves.load(Ordering::Relaxed);
        let stored = self.stored.lock().unwrap().get(site).cloned();
        let served = match (site, master_key) {
            ("looks", Some(key)) => {
                return (500, String::new(), json!({ "error": key }).to_string());
            }
            ("served", Some(key)) if serves_it => format!("pk_live_{key}"),
            ("stripe", _) => SHOWN.to_owned(),
            ("drifts", _) if self.drifts.load(Ordering::Relaxed) => OLD.replace("E1", "E2"),
            _ => stored.unwrap_or_else(|| OLD.to_owned()),
        };
        (
            200,
            String::new(),
            json!({ "success": true, "publishable_key": served }).to_string(),
        )
    }
}
