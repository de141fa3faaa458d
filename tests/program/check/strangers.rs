//! Sites that are none of the fleet's: each serves a fixed answer, with a certificate of any name and end.

use std::path::Path;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio_rustls::TlsAcceptor;

const ANSWER: &str =
    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 87\r\nConnection: close\r\n\r\n";
const BODY: &str =
    r#"{"success": true, "publishable_key": "pk_test_51ExampleExampleExampleExampleAbCdEfGhi"}"#;

/// They serve until it is dropped.
pub(crate) struct Strangers {
    authority: CertifiedIssuer<'static, KeyPair>,
    serves: Runtime,
}

impl Strangers {
    /// Their authority is trusted, besides those in this file.
    pub(crate) fn new(ca_file: &Path) -> Self {
        let mut authority = CertificateParams::default();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        authority
            .distinguished_name
            .push(DnType::CommonName, "strangers' CA");
        let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
        let trusted = std::fs::read_to_string(ca_file).unwrap();
        std::fs::write(ca_file, trusted + &authority.pem()).unwrap();
        Self {
            authority,
            serves: Runtime::new().unwrap(),
        }
    }

    /// Serves with a certificate for `name`, which ends at the midnight that so many days lie before: between this
    /// many days from now and one less. Returns the address.
    pub(crate) fn serve(&self, name: &str, days: i64) -> String {
        let end = Timestamp::now() + SignedDuration::from_hours(24 * days);
        let [year, month, day] =
            ["%Y", "%m", "%d"].map(|part| end.strftime(part).to_string().parse().unwrap());
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let [month, day] = [month, day].map(|part| u8::try_from(part).unwrap());
        params.not_after = date_time_ymd(year, month, day);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.authority).unwrap();
        let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], private)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = self.serves.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        self.serves.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    // A client may break off at any time: a preflight does so behind its handshake.
                    let Ok(mut stream) = acceptor.accept(stream).await else {
                        return;
                    };
                    let mut asked = [0; 4096];
                    if stream.read(&mut asked).await.is_ok_and(|read| read > 0) {
                        let _written = stream.write_all(format!("{ANSWER}{BODY}").as_bytes()).await;
                        let _closed = stream.shutdown().await;
                    }
                });
            }
        });
        format!("https://{address}")
    }
}
