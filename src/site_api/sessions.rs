use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustls::NamedGroup;
use rustls::client::{ClientSessionStore, Tls12ClientSessionValue, Tls13ClientSessionValue};
use rustls::pki_types::ServerName;

/// The TLS sessions of the sites that were reached last, the newest of each.
///
/// Why not rustls's own: it keeps room for eight tickets a server from the first on, and its numbers cannot be told
/// apart from its servers. A site gets one connection at a time here, so that one ticket is enough; a ticket takes
/// about a kilobyte, since the server's certificates are in it.
#[derive(Debug)]
pub(super) struct Sessions {
    most: usize,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    servers: HashMap<ServerName<'static>, Server>,
    /// Who was added first stands first.
    oldest: VecDeque<ServerName<'static>>,
}

/// What is remembered of a server.
#[derive(Default)]
struct Server {
    group: Option<NamedGroup>,
    session: Option<Session>,
}

/// Boxed, so that a server without any takes little.
enum Session {
    Tls12(Box<Tls12ClientSessionValue>),
    Tls13(Box<Tls13ClientSessionValue>),
}

impl std::fmt::Debug for Known {
    /// Sessions are secrets.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Known")
            .field("servers", &self.servers.len())
            .finish_non_exhaustive()
    }
}

impl Sessions {
    /// Remembers so many servers at most: who was added first is forgotten first.
    pub(super) fn of(most: usize) -> Self {
        Self {
            most: most.max(1),
            known: Mutex::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        // A panic elsewhere does not make what is in it wrong.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn edit(&self, name: ServerName<'static>, edit: impl FnOnce(&mut Server)) {
        let mut known = self.lock();
        if let Some(server) = known.servers.get_mut(&name) {
            return edit(server);
        }
        if known.servers.len() >= self.most
            && let Some(oldest) = known.oldest.pop_front()
        {
            known.servers.remove(&oldest);
        }
        known.oldest.push_back(name.clone());
        edit(known.servers.entry(name).or_default());
    }
}

impl ClientSessionStore for Sessions {
    fn set_kx_hint(&self, name: ServerName<'static>, group: NamedGroup) {
        self.edit(name, |server| server.group = Some(group));
    }

    fn kx_hint(&self, name: &ServerName<'_>) -> Option<NamedGroup> {
        self.lock().servers.get(&name.to_owned())?.group
    }

    fn set_tls12_session(&self, name: ServerName<'static>, value: Tls12ClientSessionValue) {
        self.edit(name, |server| {
            server.session = Some(Session::Tls12(Box::new(value)));
        });
    }

    fn tls12_session(&self, name: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        match &self.lock().servers.get(&name.to_owned())?.session {
            Some(Session::Tls12(value)) => Some(Tls12ClientSessionValue::clone(value)),
            _ => None,
        }
    }

    fn remove_tls12_session(&self, name: &ServerName<'static>) {
        if let Some(server) = self.lock().servers.get_mut(name)
            && matches!(server.session, Some(Session::Tls12(_)))
        {
            server.session = None;
        }
    }

    fn insert_tls13_ticket(&self, name: ServerName<'static>, value: Tls13ClientSessionValue) {
        self.edit(name, |server| {
            server.session = Some(Session::Tls13(Box::new(value)));
        });
    }

    fn take_tls13_ticket(&self, name: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        let mut known = self.lock();
        let server = known.servers.get_mut(name)?;
        match server.session.take() {
            Some(Session::Tls13(value)) => Some(*value),
            other => {
                server.session = other;
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, KeyPair};
    use rustls::client::Resumption;
    use rustls::crypto::aws_lc_rs::{Ticketer, default_provider};
    use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
    use rustls::{
        ClientConfig, ClientConnection, HandshakeKind, RootCertStore, ServerConfig, ServerConnection,
        SupportedProtocolVersion,
    };
    use std::sync::Arc;

    const NAMES: [&str; 3] = ["a.example.com", "b.example.com", "c.example.com"];

    fn both(
        version: &'static SupportedProtocolVersion,
        most: usize,
    ) -> (Arc<ClientConfig>, Arc<ServerConfig>) {
        let key = KeyPair::generate().unwrap();
        let names = NAMES.map(str::to_owned);
        let certificate = CertificateParams::new(names).unwrap().self_signed(&key).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(certificate.der().clone()).unwrap();
        let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = Arc::new(default_provider());
        let mut server = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[version])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], private)
            .unwrap();
        server.ticketer = Ticketer::new().unwrap();
        let mut client = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        client.resumption = Resumption::store(Arc::new(Sessions::of(most)));
        (Arc::new(client), Arc::new(server))
    }

    fn connect((client, server): &(Arc<ClientConfig>, Arc<ServerConfig>), name: &str) -> HandshakeKind {
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let mut client = ClientConnection::new(Arc::clone(client), name).unwrap();
        let mut server = ServerConnection::new(Arc::clone(server)).unwrap();
        while client.wants_write() || server.wants_write() {
            let mut bytes = Vec::new();
            while client.wants_write() {
                client.write_tls(&mut bytes).unwrap();
            }
            server.read_tls(&mut bytes.as_slice()).unwrap();
            server.process_new_packets().unwrap();
            let mut bytes = Vec::new();
            while server.wants_write() {
                server.write_tls(&mut bytes).unwrap();
            }
            let mut bytes = bytes.as_slice();
            while !bytes.is_empty() {
                client.read_tls(&mut bytes).unwrap();
                client.process_new_packets().unwrap();
            }
        }
        client.handshake_kind().unwrap()
    }

    #[test]
    fn who_comes_again_resumes_as_often_as_that_is() {
        for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
            let both = both(version, 2);
            assert_eq!(connect(&both, NAMES[0]), HandshakeKind::Full);
            for _ in 0..3 {
                assert_eq!(connect(&both, NAMES[0]), HandshakeKind::Resumed, "{version:?}");
            }
            assert_eq!(connect(&both, NAMES[1]), HandshakeKind::Full, "its own session");
        }
    }

    #[test]
    fn who_was_added_first_is_forgotten_first() {
        for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
            let both = both(version, 2);
            for name in NAMES {
                assert_eq!(connect(&both, name), HandshakeKind::Full);
            }
            assert_eq!(connect(&both, NAMES[2]), HandshakeKind::Resumed, "{version:?}");
            assert_eq!(connect(&both, NAMES[1]), HandshakeKind::Resumed, "{version:?}");
            assert_eq!(connect(&both, NAMES[0]), HandshakeKind::Full, "{version:?}");
        }
    }
}
